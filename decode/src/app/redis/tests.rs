use proptest::prelude::*;

use super::*;
use crate::app::transcript::{Step, client, cut, expect, hostile, lines, play, server};

/// Documented bound of a conversation's heap memory.
const BOUND: usize = 64 << 10;

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

#[test]
fn a_command_has_its_key_and_a_reply_its_status_and_latency() {
    expect(
        Redis::new,
        &[
            client(command(&["set", "user:1", "secret"]), 0),
            server("+OK\r\n", 5),
            client(command(&["GET", "user:1"]), 10),
            server("$6\r\nsec\r\n1\r\n", 12),
            client(command(&["lpush", "user:1", "x"]), 20),
            server("-WRONGTYPE Operation against a key\r\n", 23),
        ],
        &[
            "> command=SET key=user:1",
            "< 5 command=SET result=OK",
            "> command=GET key=user:1",
            "< 2 command=GET result=OK",
            "> command=LPUSH key=user:1",
            "< 3 command=LPUSH result=WRONGTYPE",
        ],
    );
}

#[test]
fn passwords_and_values_are_never_reported() {
    expect(
        Redis::new,
        &[
            client(command(&["AUTH", "ann", "secret"]), 0),
            client(command(&["HELLO", "3", "AUTH", "ann", "secret"]), 0),
            client(command(&["AUHT", "secret"]), 0),
            client("auth secret\r\n", 0),
            client(command(&["CONFIG", "set", "requirepass", "secret"]), 0),
            client(command(&["ECHO", "secret"]), 0),
        ],
        &[
            "> command=AUTH",
            "> command=HELLO",
            "> command=AUHT",
            "> command=AUTH",
            "> command=CONFIG SET",
            "> command=ECHO",
        ],
    );
}

#[test]
fn keys_are_where_the_command_has_them() {
    expect(
        Redis::new,
        &[
            client(command(&["EVAL", "return 1", "1", "k1"]), 0),
            client(command(&["EVAL", "return 1", "0", "secret"]), 0),
            client(command(&["FCALL", "f", "secret", "secret"]), 0),
            client(command(&["BLMPOP", "1", "10", "k6", "LEFT"]), 0),
            client(command(&["object", "encoding", "k2"]), 0),
            client(command(&["MEMORY", "USAGE", "k3"]), 0),
            client(command(&["BITOP", "AND", "k4", "a"]), 0),
            client("get  k5\r\n", 0),
            client(command(&["DBSIZE"]), 0),
        ],
        &[
            "> command=EVAL key=k1",
            "> command=EVAL",
            "> command=FCALL",
            "> command=BLMPOP key=k6",
            "> command=OBJECT ENCODING key=k2",
            "> command=MEMORY USAGE key=k3",
            "> command=BITOP key=k4",
            "> command=GET key=k5",
            "> command=DBSIZE",
        ],
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let asked = [command(&["MULTI"]), command(&["INCR", "n"]), command(&["EXEC"])].concat();
    expect(
        Redis::new,
        &[client(asked, 0), server("+OK\r\n+QUEUED\r\n*2\r\n:1\r\n-ERR inner\r\n", 7)],
        &[
            "> command=MULTI",
            "> command=INCR key=n",
            "> command=EXEC",
            "< 7 command=MULTI result=OK",
            "< 7 command=INCR result=OK",
            "< 7 command=EXEC result=OK",
        ],
    );
}

#[test]
fn nested_replies_of_both_versions_are_one_reply_each() {
    let replies = [
        "*2\r\n*2\r\n$1\r\n1\r\n*0\r\n*-1\r\n",
        "%1\r\n+a\r\n~2\r\n#t\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
        ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
        "_\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "=5\r\ntxt:a\r\n",
        "(123456789012345678901234567890\r\n",
    ];
    let asked: Vec<u8> = (0..7).flat_map(|_| command(&["PING"])).collect();
    let ok = "< 1 command=PING result=OK";
    let expected =
        [vec!["> command=PING"; 7], vec![ok, ok, ok, ok, "< 1 command=PING result=SYNTAX", ok, ok]]
            .concat();
    expect(Redis::new, &[client(asked, 0), server(replies.concat(), 1)], &expected);
}

#[test]
fn a_subscription_ends_decoding_with_its_confirmation() {
    for confirmation in
        ["*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", ">3\r\n+subscribe\r\n+c\r\n:1\r\n"]
    {
        let steps = [
            client([command(&["GET", "k"]), command(&["SUBSCRIBE", "c"])].concat(), 0),
            server("$-1\r\n", 2),
            server(confirmation, 3),
            server("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", 9),
        ];
        expect(
            Redis::new,
            &steps,
            &[
                "> command=GET key=k",
                "> command=SUBSCRIBE",
                "< 2 command=GET result=OK",
                "< 3 command=SUBSCRIBE result=OK",
            ],
        );
        assert_eq!(play(&mut Redis::new(), &steps).0, Verdict::Done);
    }
    let silent = [client(command(&["CLIENT", "REPLY", "OFF"]), 0)];
    assert_eq!(play(&mut Redis::new(), &silent).0, Verdict::Done);
}

#[test]
fn commands_beyond_those_that_wait_are_answered_without_latency() {
    let mut decoder = Redis::new();
    let mut events = Events::default();
    for _ in 0..1_100 {
        let _ = decoder.data(Side::Client, &command(&["PING"]), 0, &mut events);
    }
    assert!(decoder.heap_bytes() <= BOUND);
    events.clear();
    for _ in 0..1_100 {
        let _ = decoder.data(Side::Server, b"+PONG\r\n", 4, &mut events);
    }
    let known = events.iter().filter(|event| event.latency_us == Some(4)).count();
    assert_eq!((events.len(), known), (1_100, 1_024));
    assert!(decoder.heap_bytes() < 2 << 10);
    events.clear();
    let _ = decoder.data(Side::Client, &command(&["PING"]), 5, &mut events);
    let _ = decoder.data(Side::Server, b"+PONG\r\n", 7, &mut events);
    assert_eq!(lines(&events)[1], "< 2 command=PING result=OK");
}

#[test]
fn a_gap_within_a_text_keeps_the_step() {
    let mut decoder = Redis::new();
    let mut events = Events::default();
    let _ =
        decoder.data(Side::Client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nxx", 0, &mut events);
    let _ = decoder.gap(Side::Client, 900, 1, &mut events);
    let _ =
        decoder.data(Side::Client, &[b"x".repeat(98), b"\r\n".to_vec()].concat(), 2, &mut events);
    let _ = decoder.data(Side::Server, b"+OK\r\n", 3, &mut events);
    assert_eq!(lines(&events), ["> command=SET key=k", "< 3 command=SET result=OK"]);
}

#[test]
fn after_a_gap_the_next_command_is_the_beginning() {
    for side in [Side::Client, Side::Server] {
        let mut decoder = Redis::new();
        let mut events = Events::default();
        let _ = decoder.data(Side::Client, &command(&["GET", "k"]), 0, &mut events);
        let _ = decoder.gap(side, 100, 1, &mut events);
        let _ = decoder.data(Side::Server, b"xyz\r\n+OK\r\n", 2, &mut events);
        events.clear();
        let _ = decoder.data(Side::Client, &command(&["GET", "k"]), 5, &mut events);
        let _ = decoder.data(Side::Server, b"$-1\r\n", 7, &mut events);
        assert_eq!(lines(&events), ["> command=GET key=k", "< 2 command=GET result=OK"]);
    }
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0",
        b"SSH-2.0-x\r\n",
        b"*1x",
        b"*\r\n$",
        b"220 mail ESMTP\r\n",
        b"* OK IMAP4\r\n",
        b"+OK POP3\r\n",
    ] {
        assert_eq!(guess(bytes, Side::Client), Guess::No, "{bytes:?}");
        assert_eq!(guess(bytes, Side::Server), Guess::No, "{bytes:?}");
    }
    let ping = command(&["PING"]);
    assert_eq!(guess(&ping, Side::Client), Guess::Yes);
    for len in 0..8 {
        assert_eq!(guess(&ping[..len], Side::Client), Guess::Maybe, "{len}");
    }
    for wrong in ["\x16\x03\x01 \r\n", "*x\r\n", "*1\r\n:5\r\n"] {
        let mut events = Events::default();
        let verdict = Redis::new().data(Side::Client, wrong.as_bytes(), 0, &mut events);
        assert_eq!((verdict, events.len()), (Verdict::Wrong, 0));
    }
}

/// Parts of sessions, in any order.
fn parts() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(client(command(&["SET", "k", "v"]), 0)),
        Just(client(command(&["CONFIG", "GET", "x"]), 1)),
        Just(client("PING\r\n", 2)),
        Just(client("\r\n*0\r\n", 2)),
        Just(server("+OK\r\n", 3)),
        Just(server("*2\r\n$3\r\nabc\r\n*1\r\n:1\r\n", 4)),
        Just(server("-ERR no\r\n", 5)),
        Just(server(">1\r\n+x\r\n", 6)),
        Just(server("!5\r\nERR x\r\n", 6)),
    ]
}

proptest! {
    #[test]
    fn cuts_change_nothing(steps in prop::collection::vec(parts(), 0..40),
        lengths in prop::collection::vec(1..30_usize, 1..8)) {
        let steps = [vec![client(command(&["PING"]), 0)], steps].concat();
        let whole = play(&mut Redis::new(), &steps);
        prop_assert_eq!(play(&mut Redis::new(), &cut(&steps, &lengths)), whole);
    }

    #[test]
    fn any_network_leaves_it_within_its_bounds(
        steps in prop::collection::vec((0..12_u8, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            parts().prop_map(|(_, bytes, _)| bytes)], any::<u64>()), 0..60)) {
        hostile(&mut Redis::new(), &steps, BOUND);
    }
}
