use proptest::prelude::*;

use super::*;
use crate::app::transcript::{Step, client, cut, expect, hostile, lines, play, server};

/// Documented bound of a conversation's heap memory.
const BOUND: usize = 32 << 10;

#[test]
fn a_message_is_told_from_greeting_to_goodbye() {
    expect(
        Smtp::new,
        &[
            server("220 mx.example ESMTP\r\n", 0),
            client("EHLO client.example\r\n", 10),
            server("250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n", 12),
            client("MAIL FROM:<ann@a.example> SIZE=5 AUTH=<>\r\n", 20),
            server("250 2.1.0 ok\r\n", 23),
            client("rcpt to: <bob@b.example>\r\n", 30),
            server("550 5.1.1 no such user\r\n", 34),
            client("RCPT TO:<@relay:carl@b.example>\r\n", 40),
            server("250 ok\r\n", 41),
            client("DATA\r\n", 50),
            server("354 go ahead\r\n", 55),
            client("Subject: secret\r\n\r\nQUIT\r\n..\r\n.x\r\nbye\r\n.\r\n", 60),
            server("250 queued\r\n", 69),
            client("QUIT\r\n", 70),
            server("221 bye\r\n", 71),
        ],
        &[
            "< - reply=220",
            "> command=EHLO domain=client.example",
            "< 2 command=EHLO domain=client.example reply=250",
            "> command=MAIL sender=ann@a.example",
            "< 3 command=MAIL sender=ann@a.example reply=250",
            "> command=RCPT recipient=bob@b.example",
            "< 4 command=RCPT recipient=bob@b.example reply=550",
            "> command=RCPT recipient=carl@b.example",
            "< 1 command=RCPT recipient=carl@b.example reply=250",
            "> command=DATA",
            "< 5 command=DATA reply=354",
            "> command=MESSAGE",
            "< 9 command=MESSAGE reply=250",
            "> command=QUIT",
            "< 1 command=QUIT reply=221",
        ],
    );
}

#[test]
fn pipelined_commands_and_chunks_are_answered_in_order() {
    expect(
        Smtp::new,
        &[
            client(
                "MAIL FROM:<>\r\nRCPT TO:<\"a b>\\\"c\"@d>\r\nBDAT 7\r\nRSET\r\n\nBDAT 0 LAST\r\n",
                0,
            ),
            server("250 a\r\n250 b\r\n250 c\r\n250 d\r\n", 3),
        ],
        &[
            "> command=MAIL sender=<>",
            "> command=RCPT recipient=\"a b>\\\"c\"@d",
            "> command=BDAT",
            "> command=BDAT",
            "< 3 command=MAIL sender=<> reply=250",
            "< 3 command=RCPT recipient=\"a b>\\\"c\"@d reply=250",
            "< 3 command=BDAT reply=250",
            "< 3 command=BDAT reply=250",
        ],
    );
}

#[test]
fn nothing_of_a_login_is_read() {
    expect(
        Smtp::new,
        &[
            client("EHLO x\r\nAUTH LOGIN c2VjcmV0\r\n", 0),
            server("250 x\r\n334 VXNlcm5hbWU6\r\n", 1),
            client("MAIL FROM:<secret>\r\n", 2),
            server("334 UGFzc3dvcmQ6\r\n", 3),
            client("QUIT\r\n", 4),
            server("235 ok\r\n", 5),
            client("VRFY secret\r\n", 6),
            client("passw0rd secret\r\n", 7),
        ],
        &[
            "> command=EHLO domain=x",
            "> command=AUTH",
            "< 1 command=EHLO domain=x reply=250",
            "< 5 command=AUTH reply=235",
            "> command=VRFY",
            "> command=OTHER",
        ],
    );
}

#[test]
fn encryption_ends_decoding_and_its_refusal_does_not() {
    let begin = || vec![client("EHLO x\r\n", 0), server("250 x\r\n", 1), client("STARTTLS\r\n", 2)];
    let accepted = [begin(), vec![server("220 go\r\n", 3)]].concat();
    let (verdict, events) = play(&mut Smtp::new(), &accepted);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(events[3], "< 1 command=STARTTLS reply=220");
    let refused = [begin(), vec![server("454 no\r\n", 3), client("NOOP\r\n", 4)]].concat();
    let (verdict, events) = play(&mut Smtp::new(), &refused);
    assert_eq!((verdict, &*events[4]), (Verdict::More, "> command=NOOP"));
}

#[test]
fn a_refused_message_is_not_waited_for() {
    expect(
        Smtp::new,
        &[
            client("DATA\r\n", 0),
            server("503 no recipients\r\n", 1),
            client("QUIT\r\n", 2),
            server("221 bye\r\n", 3),
        ],
        &[
            "> command=DATA",
            "< 1 command=DATA reply=503",
            "> command=QUIT",
            "< 1 command=QUIT reply=221",
        ],
    );
}

#[test]
fn lmtp_answers_a_message_for_each_recipient() {
    expect(
        Smtp::new,
        &[
            client("LHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n", 0),
            server("250 x\r\n250 a\r\n250 b\r\n250 c\r\n354 go\r\n", 1),
            client(".\r\nQUIT\r\n", 2),
            server("250 b\r\n452 c\r\n221 bye\r\n", 5),
        ],
        &[
            "> command=LHLO domain=x",
            "> command=MAIL sender=a@x",
            "> command=RCPT recipient=b@x",
            "> command=RCPT recipient=c@x",
            "> command=DATA",
            "< 1 command=LHLO domain=x reply=250",
            "< 1 command=MAIL sender=a@x reply=250",
            "< 1 command=RCPT recipient=b@x reply=250",
            "< 1 command=RCPT recipient=c@x reply=250",
            "< 1 command=DATA reply=354",
            "> command=MESSAGE",
            "> command=QUIT",
            "< 3 command=MESSAGE reply=250",
            "< 3 command=MESSAGE reply=452",
            "< 3 command=QUIT reply=221",
        ],
    );
}

#[test]
fn a_gap_in_a_message_or_between_commands_is_survived() {
    let mut decoder = Smtp::new();
    let mut events = Events::default();
    let _ = decoder.data(Side::Client, b"DATA\r\n", 0, &mut events);
    let _ = decoder.data(Side::Server, b"354 go\r\n", 1, &mut events);
    let _ = decoder.data(Side::Client, b"Subject: x\r\n", 2, &mut events);
    let _ = decoder.gap(Side::Client, 5_000, 3, &mut events);
    let _ = decoder.data(Side::Client, b".\r\nHELO me\r\n\r\n.\r\n", 4, &mut events);
    let _ = decoder.data(Side::Server, b"250 ok\r\n", 6, &mut events);
    let _ = decoder.gap(Side::Client, 10, 7, &mut events);
    let _ = decoder.data(Side::Client, b"HELO body text\r\n", 7, &mut events);
    let _ = decoder.data(Side::Server, b"354 go\r\n", 8, &mut events);
    let _ = decoder.data(Side::Client, b"HELO more text\r\n", 9, &mut events);
    let _ = decoder.gap(Side::Client, 30, 10, &mut events);
    let _ = decoder.data(Side::Server, b"250 taken\r\n", 11, &mut events);
    let _ = decoder.data(Side::Client, b"QUIT\r\n", 12, &mut events);
    let _ = decoder.gap(Side::Server, 10, 13, &mut events);
    let _ = decoder.data(Side::Server, b"221 bye\r\n", 14, &mut events);
    assert_eq!(
        lines(&events),
        [
            "> command=DATA",
            "< 1 command=DATA reply=354",
            "> command=MESSAGE",
            "< 2 command=MESSAGE reply=250",
            "< - reply=354",
            "< - reply=250",
            "> command=QUIT",
            "< - reply=221",
        ]
    );
}

#[test]
fn commands_beyond_those_that_wait_are_answered_without_latency() {
    let mut decoder = Smtp::new();
    let mut events = Events::default();
    let long = format!("RCPT TO:<{}@x>\r\n", "a".repeat(600));
    for _ in 0..200 {
        let _ = decoder.data(Side::Client, long.as_bytes(), 0, &mut events);
        assert!(decoder.heap_bytes() <= BOUND);
    }
    events.clear();
    for _ in 0..200 {
        let _ = decoder.data(Side::Server, b"250 ok\r\n", 4, &mut events);
    }
    let known = events.iter().filter(|event| event.latency_us == Some(4)).count();
    assert_eq!((events.len(), known), (200, 128));
    events.clear();
    let _ = decoder.data(Side::Client, b"QUIT\r\n", 5, &mut events);
    let _ = decoder.data(Side::Server, b"221 bye\r\n", 7, &mut events);
    assert_eq!(lines(&events)[1], "< 2 command=QUIT reply=221");
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\n",
        b"USER ann\r\n",
        b"+OK POP3\r\n",
    ] {
        assert_eq!(guess(bytes, Side::Client), Guess::No, "{bytes:?}");
        assert_eq!(guess(bytes, Side::Server), Guess::No, "{bytes:?}");
        let mut events = Events::default();
        for side in [Side::Client, Side::Server] {
            let bytes = [bytes, b"\r\n"].concat();
            let verdict = Smtp::new().data(side, &bytes, 0, &mut events);
            assert_eq!((verdict, events.len()), (Verdict::Wrong, 0), "{bytes:?}");
        }
    }
    assert_eq!(guess(b"ehlo me\r\n", Side::Client), Guess::Yes);
    assert_eq!(guess(b"EH", Side::Client), Guess::Maybe);
    assert_eq!(guess(b"220 mx ESMTP Postfix\r\n", Side::Server), Guess::Yes);
    assert_eq!(guess(b"220 ftp.example ready\r\n", Side::Server), Guess::Maybe);
}

/// Parts of sessions, in any order.
fn parts() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(client("EHLO x\r\n", 0)),
        Just(client("MAIL FROM:<a@b>\r\n", 1)),
        Just(client("DATA\r\n", 1)),
        Just(client("text\r\n.\r\n", 2)),
        Just(client("BDAT 3 LAST\r\nabc", 2)),
        Just(client("AUTH PLAIN\r\n", 2)),
        Just(server("250-a\r\n250 b\r\n", 3)),
        Just(server("354 go\r\n", 4)),
        Just(server("334 x\r\n", 4)),
        Just(server("503 no\r\n", 5)),
    ]
}

proptest! {
    #[test]
    fn cuts_change_nothing(steps in prop::collection::vec(parts(), 0..40),
        lengths in prop::collection::vec(1..30_usize, 1..8)) {
        let steps = [vec![client("EHLO x\r\n", 0)], steps].concat();
        let whole = play(&mut Smtp::new(), &steps);
        prop_assert_eq!(play(&mut Smtp::new(), &cut(&steps, &lengths)), whole);
    }

    #[test]
    fn any_network_leaves_it_within_its_bounds(
        steps in prop::collection::vec((0..12_u8, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            parts().prop_map(|(_, bytes, _)| bytes)], any::<u64>()), 0..60)) {
        hostile(&mut Smtp::new(), &steps, BOUND);
    }
}
