use proptest::prelude::*;

use super::*;
use crate::app::decoder::Guess;
use crate::app::transcript::{Step, client, cut, expect, hostile, play, server};

/// Documented bound of a conversation's heap memory.
const BOUND: usize = 128 << 10;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn startup(body: &[u8]) -> Vec<u8> {
    let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend(body);
    message
}

fn session() -> Vec<u8> {
    startup(b"\0\x03\0\0user\0ann\0database\0shop\0application_name\0psql\0\0")
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn tag(text: &str) -> Vec<u8> {
    message(b'C', &[text.as_bytes(), b"\0"].concat())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn strings_are_standard() -> Vec<u8> {
    message(b'S', b"standard_conforming_strings\0on\0")
}

fn failure(code: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{code}\0Mrelation \"x\" is missing\0\0").as_bytes())
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\x01\0\0\0\x06secret\0\0").as_bytes())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

#[test]
fn a_session_tells_user_and_database_and_a_query_its_rows_and_latency() {
    let steps = [
        client(session(), 0),
        server([message(b'R', b"\0\0\0\x0a"), strings_are_standard()].concat(), 1_000),
        client(message(b'p', b"SCRAM-SHA-256\0secret"), 2_000),
        server([message(b'R', b"\0\0\0\0"), message(b'K', &[0; 8]), ready()].concat(), 9_000),
        client(query("select * from t where name = 'secret'"), 10_000),
        server([message(b'T', &[0; 20]), message(b'D', &[0; 300])].concat(), 11_000),
        server([message(b'D', &[0; 3]), tag("SELECT 2"), ready()].concat(), 13_000),
    ];
    let query = "command=SELECT query=select * from t where name = ?";
    expect(
        Postgres::new,
        &steps,
        &[
            "> command=STARTUP",
            "< 9000 command=STARTUP sqlstate=00000",
            &format!("> {query}"),
            &format!("< 3000 {query} sqlstate=00000 rows=2"),
        ],
    );
    let mut decoder = Postgres::new();
    let _ = play(&mut decoder, &steps);
    let mut events = Events::default();
    decoder.facts(&mut events);
    let facts = crate::app::transcript::lines(&events);
    assert_eq!(facts, ["= user=ann database=shop"]);
}

#[test]
fn each_statement_of_a_query_has_its_response() {
    let text = "BEGIN; insert into t values (1, 'a;b'); select 1;";
    let answer = [
        tag("BEGIN"),
        tag("INSERT 0 1"),
        message(b'T', &[0; 9]),
        tag("SELECT 1"),
        failure("40001"),
        ready(),
    ];
    expect(
        Postgres::new,
        &[
            client(query(text), 0),
            server(answer.concat(), 50),
            client(query(""), 60),
            server([message(b'I', b""), ready()].concat(), 70),
        ],
        &[
            "> command=BEGIN query=BEGIN; insert into t values (?, ?); select ?;",
            "< 50 command=BEGIN query=BEGIN sqlstate=00000",
            "< 50 command=INSERT query=insert into t values (?, ?) sqlstate=00000 rows=1",
            "< 50 command=SELECT query=select ? sqlstate=00000 rows=1",
            "< 50 sqlstate=40001",
            "> command=QUERY",
            "< 10 command=QUERY sqlstate=00000",
        ],
    );
}

#[test]
fn prepared_statements_are_known_by_name_until_they_are_closed() {
    let group = |time| client([bind("", "s1"), execute(""), sync()].concat(), time);
    let done = |time| {
        let all = [message(b'2', b""), message(b'D', &[0; 9]), tag("SELECT 1"), ready()];
        server(all.concat(), time)
    };
    let close = [message(b'C', b"Ss1\0"), message(b'C', b"P\0"), sync()].concat();
    expect(
        Postgres::new,
        &[
            client([parse("s1", "select a from t where b = $1"), sync()].concat(), 0),
            server([message(b'1', b""), ready()].concat(), 10),
            group(20),
            done(35),
            group(40),
            done(60),
            client(close, 70),
            server([message(b'3', b""), message(b'3', b""), ready()].concat(), 71),
            group(80),
            server([failure("26000"), ready()].concat(), 82),
        ],
        &[
            "> command=SELECT query=select a from t where b = $1",
            "< 15 command=SELECT query=select a from t where b = $1 sqlstate=00000 rows=1",
            "> command=SELECT query=select a from t where b = $1",
            "< 20 command=SELECT query=select a from t where b = $1 sqlstate=00000 rows=1",
            "> command=EXECUTE",
            "< 2 command=EXECUTE sqlstate=26000",
        ],
    );
}

#[test]
fn pipelined_groups_are_answered_in_order_and_an_error_ends_its_group() {
    let one = |text| [parse("", text), bind("", ""), execute("")].concat();
    expect(
        Postgres::new,
        &[
            client([one("select a"), one("select b"), one("select c"), sync()].concat(), 0),
            client([one("delete from d"), sync()].concat(), 5),
            server([message(b'1', b""), message(b'2', b""), tag("SELECT 3")].concat(), 10),
            server([failure("42P01"), ready()].concat(), 20),
            server([message(b'1', b""), message(b'2', b"")].concat(), 30),
            server([tag("DELETE 4"), ready()].concat(), 31),
        ],
        &[
            "> command=SELECT query=select a",
            "> command=SELECT query=select b",
            "> command=SELECT query=select c",
            "> command=DELETE query=delete from d",
            "< 10 command=SELECT query=select a sqlstate=00000 rows=3",
            "< 20 command=SELECT query=select b sqlstate=42P01",
            "< 26 command=DELETE query=delete from d sqlstate=00000 rows=4",
        ],
    );
}

#[test]
fn an_error_of_parse_alone_and_a_suspended_portal_are_responses() {
    expect(
        Postgres::new,
        &[
            client([parse("x", "select oops"), message(b'D', b"Sx\0"), sync()].concat(), 0),
            server([failure("42703"), ready()].concat(), 4),
            client([parse("", "select n"), bind("c", ""), execute("c"), sync()].concat(), 10),
            server([message(b'1', b""), message(b'2', b"")].concat(), 11),
            server([message(b'D', b"\0\0"), message(b'D', b"\0\0")].concat(), 12),
            server([message(b's', b""), ready()].concat(), 13),
        ],
        &[
            "< 4 command=SELECT query=select oops sqlstate=42703",
            "> command=SELECT query=select n",
            "< 3 command=SELECT query=select n sqlstate=00000 rows=2",
        ],
    );
}

#[test]
fn copied_data_are_skipped_both_ways_and_sync_is_ignored_meanwhile() {
    let data = message(b'd', &[b'Q'; 70_000]);
    let copy = [parse("", "copy t from stdin"), bind("", ""), execute(""), sync()].concat();
    let accepted = [message(b'1', b""), message(b'2', b""), message(b'G', &[0; 5])].concat();
    expect(
        Postgres::new,
        &[
            client(query("copy t to stdout"), 0),
            server([message(b'H', &[0; 5]), data.clone(), message(b'c', b"")].concat(), 1),
            server([tag("COPY 1"), ready()].concat(), 2),
            client(copy, 10),
            server(accepted, 11),
            client([data, message(b'c', b""), sync()].concat(), 12),
            server([tag("COPY 9"), ready()].concat(), 15),
            client(query("select 1"), 20),
            server([tag("SELECT 1"), ready()].concat(), 21),
        ],
        &[
            "> command=COPY query=copy t to stdout",
            "< 2 command=COPY query=copy t to stdout sqlstate=00000 rows=1",
            "> command=COPY query=copy t from stdin",
            "< 5 command=COPY query=copy t from stdin sqlstate=00000 rows=9",
            "> command=SELECT query=select ?",
            "< 1 command=SELECT query=select ? sqlstate=00000 rows=1",
        ],
    );
}

#[test]
fn encryption_ends_decoding_and_its_refusal_does_not() {
    let request = || client(startup(b"\x04\xd2\x16\x2f"), 0);
    for answer in [b"S", b"G"] {
        let (verdict, events) = play(&mut Postgres::new(), &[request(), server(answer, 1)]);
        assert_eq!((verdict, events.len()), (Verdict::Done, 0));
    }
    let steps = [
        request(),
        server(b"N", 1),
        client(session(), 2),
        server([message(b'R', &[0; 4]), ready()].concat(), 5),
    ];
    expect(Postgres::new, &steps, &["> command=STARTUP", "< 3 command=STARTUP sqlstate=00000"]);
}

#[test]
fn a_refused_session_and_a_cancel_request_are_reported() {
    let steps = [client(session(), 0), server(failure("28P01"), 7)];
    expect(Postgres::new, &steps, &["> command=STARTUP", "< 7 command=STARTUP sqlstate=28P01"]);
    let cancel = startup(b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02");
    let (verdict, events) = play(&mut Postgres::new(), &[client(cancel, 0)]);
    assert_eq!((verdict, events), (Verdict::Done, vec!["> command=CANCEL".to_owned()]));
}

#[test]
fn long_statements_are_looked_at_up_to_their_limit_and_show_no_literal() {
    let text = format!("insert into t values ('{}', 'b')", "secret ".repeat(4_000));
    expect(
        Postgres::new,
        &[client(query(&text), 0), server([tag("INSERT 0 1"), ready()].concat(), 1)],
        &[
            "> command=INSERT query=insert into t values (?",
            "< 1 command=INSERT query=insert into t values (? sqlstate=00000 rows=1",
        ],
    );
}

#[test]
fn a_gap_within_rows_keeps_the_step() {
    let mut decoder = Postgres::new();
    let mut events = Events::default();
    let rows = message(b'D', &[0; 5_000]);
    let _ = decoder.data(Side::Client, &query("select 1"), 0, &mut events);
    let _ = decoder.data(Side::Server, &rows[..100], 1, &mut events);
    let _ = decoder.gap(Side::Server, 4_000, 2, &mut events);
    let _ = decoder.data(Side::Server, &rows[4_100..], 3, &mut events);
    let _ = decoder.data(Side::Server, &tag("SELECT 1"), 4, &mut events);
    let lines = crate::app::transcript::lines(&events);
    assert_eq!(lines[1], "< 4 command=SELECT query=select ? sqlstate=00000 rows=1");
}

#[test]
fn after_a_gap_both_sides_are_found_again() {
    for side in [Side::Client, Side::Server] {
        let mut decoder = Postgres::new();
        let mut events = Events::default();
        let _ = decoder.data(Side::Client, &query("select 1"), 0, &mut events);
        assert_eq!(decoder.gap(side, 100, 1, &mut events), Verdict::More);
        let rest = [&b"garbage Z\0\0\0 Z"[..], &ready()[1..]].concat();
        let rest = if side == Side::Server { rest } else { [tag("SELECT 1"), ready()].concat() };
        for byte in rest {
            assert_eq!(decoder.data(Side::Server, &[byte], 2, &mut events), Verdict::More);
        }
        events.clear();
        let _ = decoder.data(Side::Client, &query("select 2"), 10, &mut events);
        let answer = [tag("SELECT 1"), ready()].concat();
        let _ = decoder.data(Side::Server, &answer, 14, &mut events);
        let lines = crate::app::transcript::lines(&events);
        assert_eq!(lines[1], "< 4 command=SELECT query=select ? sqlstate=00000 rows=1");
    }
}

#[test]
fn a_search_without_end_is_given_up() {
    let mut decoder = Postgres::new();
    let mut events = Events::default();
    let _ = decoder.data(Side::Client, &query("select 1"), 0, &mut events);
    let _ = decoder.gap(Side::Server, 1, 0, &mut events);
    let noise = vec![b'x'; 1 << 20];
    let ends =
        (0..20).position(|_| decoder.data(Side::Server, &noise, 1, &mut events) == Verdict::Done);
    assert_eq!(ends, Some(15));
}

#[test]
fn a_connection_first_seen_within_a_result_is_found_at_its_end() {
    let mut decoder = Postgres::new();
    let mut events = Events::default();
    let rest = [&[7; 100][..], &tag("SELECT 1"), &ready()].concat();
    assert_eq!(decoder.data(Side::Server, &rest, 0, &mut events), Verdict::More);
    let _ = decoder.data(Side::Client, &query("select 1"), 5, &mut events);
    let answer = [tag("SELECT 1"), ready()].concat();
    let _ = decoder.data(Side::Server, &answer, 7, &mut events);
    assert_eq!(events.get(1).unwrap().latency_us, Some(2));
    let mut other = Postgres::new();
    let verdicts = [1, 2].map(|_| other.data(Side::Server, &[7; 40_000], 0, &mut events));
    assert_eq!(verdicts, [Verdict::More, Verdict::Wrong]);
}

#[test]
fn requests_beyond_the_queue_are_answered_without_latency_until_the_server_caught_up() {
    let mut decoder = Postgres::new();
    let mut events = Events::default();
    for _ in 0..300 {
        let _ = decoder.data(Side::Client, &query("select 1"), 0, &mut events);
        assert!(decoder.heap_bytes() <= BOUND);
    }
    events.clear();
    let answer = [tag("SELECT 1"), ready()].concat();
    for _ in 0..300 {
        let _ = decoder.data(Side::Server, &answer, 5, &mut events);
    }
    let known = events.iter().filter(|event| event.latency_us == Some(5)).count();
    assert_eq!((events.len(), known), (300, 256));
    events.clear();
    let _ = decoder.data(Side::Client, &query("select 1"), 10, &mut events);
    let _ = decoder.data(Side::Server, &answer, 12, &mut events);
    assert_eq!(events.get(1).unwrap().latency_us, Some(2));
}

#[test]
fn the_fullest_connection_stays_within_its_bound() {
    let mut decoder = Postgres::new();
    let mut events = Events::default();
    let _ = decoder.data(Side::Client, &session(), 0, &mut events);
    for number in 0..300 {
        let text = format!("select column{} from t", "x".repeat(380 + number % 7));
        let name = format!("s{number}");
        let group = [parse(&name, &text), bind(&name, &name), execute(&name), sync()].concat();
        assert_eq!(decoder.data(Side::Client, &group, 1, &mut events), Verdict::More);
        assert!(decoder.heap_bytes() <= BOUND);
    }
    let unfinished = query(&"y".repeat(50_000));
    let unfinished = &unfinished[..40_000];
    for piece in unfinished.chunks(1_460) {
        let _ = decoder.data(Side::Client, piece, 1, &mut events);
    }
    let error = [&b"E\0\0\x20\0"[..], &[b'x'; 700]].concat();
    let _ = decoder.data(Side::Server, &error, 1, &mut events);
    let heap_bytes = decoder.heap_bytes();
    assert!((60 << 10..=BOUND).contains(&heap_bytes), "{heap_bytes}");
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
        b"\0\0\0",
        b"SSH-2.0-x\r\n",
        b"PING\r\n",
        b"PUT /x HTTP/1.1\r\n",
        b"QUIT\r\n.....",
        b"\0\x1c\x12\x34\x01\0\0\x01",
    ] {
        assert_ne!(guess(bytes, Side::Client), Guess::Yes, "{bytes:?}");
        assert_ne!(guess(bytes, Side::Server), Guess::Yes, "{bytes:?}");
    }
    assert_eq!(guess(b"GET / HTTP/1.1\r\n\r\n", Side::Client), Guess::No);
    assert_eq!(guess(b"QUIT\r\n.....", Side::Client), Guess::No);
    assert_eq!(guess(&session(), Side::Client), Guess::Yes);
    assert_eq!(guess(&startup(b"\x04\xd2\x16\x2f"), Side::Client), Guess::Yes);
    assert_eq!(guess(&query("select 1"), Side::Client), Guess::Yes);
    let parse = message(b'P', b"\0select 1\0\0\0");
    assert_eq!(guess(&parse, Side::Client), Guess::Yes);
    for whole in [query("select 1"), parse] {
        let beginnings = (1..whole.len()).map(|len| &whole[..len]);
        for bytes in beginnings {
            assert_eq!(guess(bytes, Side::Client), Guess::Maybe, "{bytes:?}");
        }
    }
    assert_eq!(guess(b"POST", Side::Client), Guess::No);
    assert_eq!(guess(&message(b'P', &[7; 68]), Side::Client), Guess::No);
    assert_eq!(guess(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), Side::Server), Guess::Yes);
    let mut events = Events::default();
    let verdict = Postgres::new().data(Side::Client, b"GET / HTTP/1.1\r\n", 0, &mut events);
    assert_eq!((verdict, events.len()), (Verdict::Wrong, 0));
}

/// Parts of sessions, in any order.
fn parts() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(client(query("select 'a'; select 2"), 0)),
        Just(client(parse("s", "select $1"), 1)),
        Just(client(bind("", "s"), 2)),
        Just(client(execute(""), 3)),
        Just(client(sync(), 4)),
        Just(client(message(b'd', b"xyz"), 5)),
        Just(client(message(b'c', b""), 5)),
        Just(server(message(b'1', b""), 6)),
        Just(server(tag("INSERT 0 7"), 7)),
        Just(server(ready(), 8)),
        Just(server(failure("XX000"), 9)),
        Just(server(message(b'G', b"\0\0\0"), 9)),
        Just(server(message(b's', b""), 9)),
    ]
}

proptest! {
    #[test]
    fn cuts_change_nothing(steps in prop::collection::vec(parts(), 0..40),
        lengths in prop::collection::vec(1..30_usize, 1..8)) {
        let steps = [vec![client(session(), 0)], steps].concat();
        let whole = play(&mut Postgres::new(), &steps);
        prop_assert_eq!(play(&mut Postgres::new(), &cut(&steps, &lengths)), whole);
    }

    #[test]
    fn any_network_leaves_it_within_its_bounds(
        steps in prop::collection::vec((0..12_u8, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            parts().prop_map(|(_, bytes, _)| bytes)], any::<u64>()), 0..60)) {
        hostile(&mut Postgres::new(), &steps, BOUND);
    }
}
