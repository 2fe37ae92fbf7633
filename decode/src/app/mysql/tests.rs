use proptest::prelude::*;

use super::*;
use crate::app::decoder::Guess;
use crate::app::transcript::{Step, client, cut, expect, hostile, lines, play, server};

/// Documented bound of a conversation's heap memory.
const BOUND: usize = 128 << 10;
const CLASSIC: u32 = 0x0000_8201;
const DEPRECATE: u32 = CLASSIC | 1 << 24;

fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = (body.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend(body);
    packet
}

/// Bodies numbered from 1.
fn answer(bodies: &[&[u8]]) -> Vec<u8> {
    bodies.iter().zip(1..=255).flat_map(|(body, sequence)| packet(sequence, body)).collect()
}

fn greeting() -> Vec<u8> {
    let body = [b"\x0a8.0.36\0\x01\0\0\0saltsalt\0", &[0xff; 7][..], b"\x15", &[0; 10], b"salt\0"];
    packet(0, &body.concat())
}

fn login(capabilities: u32) -> Vec<u8> {
    let body = [&capabilities.to_le_bytes()[..], &[0; 28], b"ann\0\x06secret\0"].concat();
    packet(1, &body)
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x15\0\0\0\x08\x81\0\0\0\0";

fn command(command: u8, rest: &[u8]) -> Vec<u8> {
    packet(0, &[&[command], rest].concat())
}

fn begin(capabilities: u32) -> Vec<Step> {
    vec![server(greeting(), 0), client(login(capabilities), 10), server(packet(2, OK), 50)]
}

const BEGUN: [&str; 2] = ["> command=CONNECT", "< 40 command=CONNECT error_code=0 rows=0"];

fn expect_after(capabilities: u32, steps: Vec<Step>, expected: &[&str]) {
    let steps = [begin(capabilities), steps].concat();
    expect(Mysql::new, &steps, &[&BEGUN[..], expected].concat());
}

#[test]
fn a_session_tells_user_and_version() {
    let mut decoder = Mysql::new();
    let _ = play(&mut decoder, &begin(CLASSIC));
    let mut events = Events::default();
    decoder.facts(&mut events);
    assert_eq!(lines(&events), ["= user=ann server_version=8.0.36"]);
}

#[test]
fn rows_are_counted_with_eof_and_with_ok_at_their_end() {
    let query = || client(command(3, b"select a from t where b = \"secret\""), 100);
    let expected = [
        "> command=SELECT query=select a from t where b = ?",
        "< 30 command=SELECT query=select a from t where b = ? error_code=0 rows=2",
    ];
    let classic = answer(&[&[1], COLUMN, EOF, b"\x01x", b"\xfb", EOF]);
    expect_after(CLASSIC, vec![query(), server(classic, 130)], &expected);
    let modern = answer(&[&[1], COLUMN, b"\x01x", b"\xfb", &[0xfe, 0, 0, 2, 0, 0, 0]]);
    expect_after(DEPRECATE, vec![query(), server(modern, 130)], &expected);
}

#[test]
fn changes_and_errors_have_their_numbers() {
    expect_after(
        CLASSIC,
        vec![
            client(command(3, b"update t set a = 'secret\\'s'"), 100),
            server(answer(&[&[0, 0xfc, 0, 1, 0, 2, 0, 0, 0]]), 101),
            client(command(3, b"oops"), 110),
            server(answer(&[b"\xff\x28\x04#42000You have an error"]), 112),
            client(command(14, b""), 120),
            server(answer(&[OK]), 121),
            client(command(2, b"shop"), 130),
            server(answer(&[OK]), 131),
            client(command(1, b""), 140),
        ],
        &[
            "> command=UPDATE query=update t set a = ?",
            "< 1 command=UPDATE query=update t set a = ? error_code=0 rows=256",
            "> command=OOPS query=oops",
            "< 2 command=OOPS query=oops error_code=1064",
            "> command=PING",
            "< 1 command=PING error_code=0 rows=0",
            "> command=INIT_DB",
            "< 1 command=INIT_DB error_code=0 rows=0",
            "> command=QUIT",
        ],
    );
}

#[test]
fn prepared_statements_are_known_by_number_until_they_are_closed() {
    let sql = b"insert into t values (?, 5)";
    let prepare = |capabilities| {
        let head: &[u8] = &[0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        let deprecated = capabilities == DEPRECATE;
        let bodies = [head, COLUMN, EOF, COLUMN, EOF];
        let bodies = bodies.into_iter().filter(|&body| !deprecated || body != EOF);
        answer(&bodies.collect::<Vec<_>>())
    };
    for capabilities in [CLASSIC, DEPRECATE] {
        expect_after(
            capabilities,
            vec![
                client(command(0x16, sql), 100),
                server(prepare(capabilities), 103),
                client(command(0x17, b"\x07\0\0\0\0\x01\0\0\0secret"), 110),
                server(answer(&[&[0, 1, 0, 2, 0, 0, 0]]), 114),
                client(command(0x19, b"\x07\0\0\0"), 120),
                client(command(0x17, b"\x07\0\0\0\0\x01\0\0\0"), 130),
                server(answer(&[b"\xff\xdb\x04#HY000Unknown"]), 131),
            ],
            &[
                "> command=INSERT query=insert into t values (?, ?)",
                "< 3 command=INSERT query=insert into t values (?, ?) error_code=0",
                "> command=INSERT query=insert into t values (?, ?)",
                "< 4 command=INSERT query=insert into t values (?, ?) error_code=0 rows=1",
                "> command=STMT_CLOSE",
                "> command=EXECUTE",
                "< 1 command=EXECUTE error_code=1243",
            ],
        );
    }
}

#[test]
fn each_result_of_several_has_its_response() {
    let more_eof: &[u8] = &[0xfe, 0, 0, 10, 0];
    let bodies = [&[1], COLUMN, EOF, b"\x01x", more_eof, &[0, 3, 0, 2, 0, 0, 0]];
    expect_after(
        CLASSIC | 1 << 16,
        vec![client(command(3, b"select 1; delete from t"), 100), server(answer(&bodies), 107)],
        &[
            "> command=SELECT query=select ?; delete from t",
            "< 7 command=SELECT query=select ? error_code=0 rows=1",
            "< 7 command=DELETE query=delete from t error_code=0 rows=3",
        ],
    );
}

#[test]
fn semicolons_split_a_query_only_where_several_statements_were_agreed_on() {
    let sql = b"create procedure p() begin select 1; select 2; end";
    let steps = |more: Vec<Step>| -> Vec<Step> {
        let query = vec![client(command(3, sql), 100), server(answer(&[OK]), 101)];
        [more, query].concat()
    };
    let asked = "> command=CREATE query=create procedure p() begin select ?; select ?; end";
    let whole = asked.replacen('>', "< 1", 1) + " error_code=0 rows=0";
    expect_after(CLASSIC, steps(Vec::new()), &[asked, &whole]);
    let split = "< 1 command=CREATE query=create procedure p() begin select ? error_code=0 rows=0";
    expect_after(CLASSIC | 1 << 16, steps(Vec::new()), &[asked, split]);
    // It may be allowed later.
    let option = vec![client(command(0x1b, &[0, 0]), 60), server(answer(&[EOF]), 61)];
    let allowed = ["> command=SET_OPTION", "< 1 command=SET_OPTION error_code=0", asked, split];
    expect_after(CLASSIC, steps(option), &allowed);
}

#[test]
fn a_file_of_the_client_is_skipped() {
    let file = [packet(2, b"\x03select 'secret'"), packet(3, b"")].concat();
    expect_after(
        CLASSIC,
        vec![
            client(command(3, b"load data local infile 'x' into table t"), 100),
            server(answer(&[b"\xfbx"]), 101),
            client(file, 102),
            server(packet(4, &[0, 9, 0, 2, 0, 0, 0]), 105),
        ],
        &[
            "> command=LOAD query=load data local infile ? into table t",
            "< 5 command=LOAD query=load data local infile ? into table t error_code=0 rows=9",
        ],
    );
}

#[test]
fn a_long_file_is_not_taken_for_commands() {
    // The number of a packet is one byte: 256 packets on, they look like commands.
    let parts = (2..=600_u32).flat_map(|number| packet(number as u8, b"\x03select 'secret'"));
    let file: Vec<u8> = parts.chain(packet(601_u32 as u8, b"")).collect();
    expect_after(
        CLASSIC,
        vec![
            client(command(3, b"load data local infile 'x' into table t"), 100),
            server(answer(&[b"\xfbx"]), 101),
            client(file, 102),
            server(packet(602_u32 as u8, &[0, 9, 0, 2, 0, 0, 0]), 105),
            client(command(14, b""), 120),
            server(answer(&[OK]), 121),
        ],
        &[
            "> command=LOAD query=load data local infile ? into table t",
            "< 5 command=LOAD query=load data local infile ? into table t error_code=0 rows=9",
            "> command=PING",
            "< 1 command=PING error_code=0 rows=0",
        ],
    );
}

#[test]
fn results_of_one_command_may_have_any_packet_numbers() {
    let more_eof: &[u8] = &[0xfe, 0, 0, 10, 0];
    let row: &[u8] = b"\x01x";
    // Number 255 ends the first result, the second begins with 0.
    let first = [&[&[1][..], COLUMN, EOF][..], &[row; 251], &[more_eof]].concat();
    let second = packet(0, &[0, 3, 0, 2, 0, 0, 0]);
    expect_after(
        CLASSIC,
        vec![client(command(3, b"call p()"), 100), server([answer(&first), second].concat(), 107)],
        &[
            "> command=CALL query=call p()",
            "< 7 command=CALL query=call p() error_code=0 rows=251",
            "< 7 error_code=0 rows=3",
        ],
    );
}

#[test]
fn the_text_of_a_query_is_found_behind_its_attributes() {
    let attributes = b"\x01\x01\0\x01\xfd\0\x0btraceparent\x06secret";
    let statements = [&b"\0\x01select 1"[..], &[attributes, &b"select 1"[..]].concat()];
    for statement in statements {
        expect_after(
            DEPRECATE | 1 << 27,
            vec![client(command(3, statement), 100), server(answer(&[OK]), 101)],
            &[
                "> command=SELECT query=select ?",
                "< 1 command=SELECT query=select ? error_code=0 rows=0",
            ],
        );
    }
}

#[test]
fn packets_of_sixteen_megabytes_are_one_message() {
    let mut decoder = Mysql::new();
    let mut events = Events::default();
    for (side, bytes, now_us) in begin(CLASSIC) {
        let _ = decoder.data(side, &bytes, now_us, &mut events);
    }
    events.clear();
    let mut statement = vec![b'x'; 0xff_ffff];
    statement[..18].copy_from_slice(b"\x03insert into t ('a");
    let both = [packet(0, &statement), packet(1, b"select 1")].concat();
    for piece in both.chunks(60_000) {
        let _ = decoder.data(Side::Client, piece, 1, &mut events);
        assert!(decoder.heap_bytes() < BOUND);
    }
    let mut row = vec![0xfe; 0xff_ffff];
    row[0] = 0xfd;
    let rows = [answer(&[&[1], COLUMN, EOF]), packet(4, &row), packet(5, b""), packet(6, EOF)];
    for piece in rows.concat().chunks(60_000) {
        let _ = decoder.data(Side::Server, piece, 2, &mut events);
    }
    assert_eq!(
        lines(&events),
        [
            "> command=INSERT query=insert into t (?",
            "< 1 command=INSERT query=insert into t (? error_code=0 rows=1"
        ]
    );
}

#[test]
fn encryption_compression_and_replication_end_decoding() {
    let request = packet(1, &[&(CLASSIC | 1 << 11).to_le_bytes()[..], &[0; 28]].concat());
    let (verdict, events) = play(&mut Mysql::new(), &[server(greeting(), 0), client(request, 1)]);
    assert_eq!((verdict, events.len()), (Verdict::Done, 0));
    let (verdict, events) = play(&mut Mysql::new(), &begin(CLASSIC | 1 << 5));
    assert_eq!((verdict, events.len()), (Verdict::Done, 2));
    let dump = [begin(CLASSIC), vec![client(command(0x12, b"\x04\0\0\0"), 60)]].concat();
    let (verdict, events) = play(&mut Mysql::new(), &dump);
    assert_eq!((verdict, events.len()), (Verdict::Done, 3));
}

#[test]
fn a_refused_login_and_a_refused_connection_are_reported() {
    let denied = packet(2, b"\xff\x15\x04#28000Access denied");
    let steps = [server(greeting(), 0), client(login(CLASSIC), 10), server(denied, 15)];
    expect(Mysql::new, &steps, &["> command=CONNECT", "< 5 command=CONNECT error_code=1045"]);
    let full = packet(0, b"\xff\x10\x04Too many connections");
    expect(Mysql::new, &[server(full, 0)], &["< - error_code=1040"]);
}

#[test]
fn after_a_gap_and_in_the_middle_of_a_session_the_next_command_is_the_beginning() {
    let query = || command(3, b"select 1");
    let rows = answer(&[&[1], COLUMN, b"\x01x", &[0xfe, 0, 0, 2, 0, 0, 0]]);
    let expected = [
        "> command=SELECT query=select ?",
        "< 4 command=SELECT query=select ? error_code=0 rows=1",
    ];
    // First seen in the middle of rows.
    let steps = [server([9; 50], 0), client(query(), 10), server(&rows, 14)];
    let (_, events) = play(&mut Mysql::new(), &steps);
    assert_eq!(events, expected);
    for side in [Side::Client, Side::Server] {
        let mut decoder = Mysql::new();
        let mut events = Events::default();
        for (side, bytes, now_us) in begin(DEPRECATE) {
            let _ = decoder.data(side, &bytes, now_us, &mut events);
        }
        let _ = decoder.data(Side::Client, &query(), 60, &mut events);
        let _ = decoder.gap(side, 1_000, 61, &mut events);
        let _ = decoder.data(Side::Server, &rows, 62, &mut events);
        events.clear();
        let _ = decoder.data(Side::Client, &query(), 70, &mut events);
        let _ = decoder.data(Side::Server, &rows, 74, &mut events);
        assert_eq!(lines(&events), expected);
    }
}

#[test]
fn how_rows_end_is_learnt_in_the_middle_of_a_session() {
    let prepare = answer(&[&[0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], COLUMN]);
    let steps = [
        client(command(0x16, b"delete from t where a = ?"), 0),
        server(prepare, 3),
        client(command(0x17, b"\x07\0\0\0\0\x01\0\0\0"), 10),
        server(answer(&[OK]), 14),
    ];
    expect(
        Mysql::new,
        &steps,
        &[
            "> command=DELETE query=delete from t where a = ?",
            "< - command=DELETE query=delete from t where a = ? error_code=0",
            "> command=DELETE query=delete from t where a = ?",
            "< 4 command=DELETE query=delete from t where a = ? error_code=0 rows=0",
        ],
    );
}

#[test]
fn too_many_commands_at_once_begin_anew() {
    let mut decoder = Mysql::new();
    let mut events = Events::default();
    for _ in 0..100 {
        let _ = decoder.data(Side::Client, &command(3, b"select 1"), 0, &mut events);
        assert!(decoder.heap_bytes() <= BOUND && decoder.waiting.len() <= 32);
    }
    assert_eq!(events.len(), 100);
}

#[test]
fn the_fullest_connection_stays_within_its_bound() {
    let mut decoder = Mysql::new();
    let mut events = Events::default();
    for (side, bytes, now_us) in begin(DEPRECATE) {
        let _ = decoder.data(side, &bytes, now_us, &mut events);
    }
    let text = format!("select column{} from t", "x".repeat(900));
    for id in 0..100 {
        let _ = decoder.data(Side::Client, &command(0x16, text.as_bytes()), 1, &mut events);
        let head = answer(&[&[0, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
        let _ = decoder.data(Side::Server, &head, 2, &mut events);
    }
    for _ in 0..32 {
        let _ = decoder.data(Side::Client, &command(3, text.as_bytes()), 1, &mut events);
    }
    let unfinished = command(3, &[b'y'; 50_000]);
    for piece in unfinished[..40_000].chunks(1_460) {
        let _ = decoder.data(Side::Client, piece, 1, &mut events);
    }
    let heap_bytes = decoder.heap_bytes();
    assert!((40 << 10..=BOUND).contains(&heap_bytes), "{heap_bytes}");
}

#[test]
fn metadata_that_the_client_knows_are_not_sent_again() {
    // MariaDB's capability, in the greeting of a MariaDB and in the login.
    let more = (wire::CACHE_METADATA >> 32) as u32;
    let extended = |lower: u32| [&lower.to_le_bytes()[..], &[0; 24], &more.to_le_bytes()].concat();
    let login = packet(1, &[&extended(0x0000_8200 | 1 << 24)[..], b"ann\0\0"].concat());
    let body = [
        b"\x0a10.11\0\x01\0\0\0saltsalt\0\xfe\xf7\x15\x02\0\xff\xff\x15",
        &[0; 6][..],
        &more.to_le_bytes(),
        b"salt\0",
    ];
    let greeting = packet(0, &body.concat());
    let rows = answer(&[&[1, 0], b"\x01x", b"\x01y", &[0xfe, 0, 0, 2, 0, 0, 0]]);
    let steps = [
        server(greeting, 0),
        client(login, 10),
        server(packet(2, OK), 50),
        client(command(3, b"select a from t"), 60),
        server(rows, 61),
    ];
    let query = "command=SELECT query=select a from t";
    let asked = format!("> {query}");
    let answered = format!("< 1 {query} error_code=0 rows=2");
    expect(Mysql::new, &steps, &[BEGUN[0], BEGUN[1], &asked, &answered]);
}

#[test]
fn other_protocols_are_not_taken_for_it() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"220 mail ESMTP\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
    ] {
        assert_eq!(guess(bytes, Side::Client), Guess::No, "{bytes:?}");
        assert_eq!(guess(bytes, Side::Server), Guess::No, "{bytes:?}");
    }
    assert_eq!(guess(&greeting(), Side::Server), Guess::Yes);
    assert_eq!(guess(&greeting()[..7], Side::Server), Guess::Maybe);
    assert_eq!(guess(&login(CLASSIC), Side::Client), Guess::Yes);
    let mut events = Events::default();
    let verdict = Mysql::new().data(Side::Client, b"GET / HTTP/1.1\r\n", 0, &mut events);
    assert_eq!((verdict, events.len()), (Verdict::Wrong, 0));
}

/// Parts of sessions, in any order.
fn parts() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(client(command(3, b"select 'a'; select 2"), 0)),
        Just(client(command(0x16, b"select ?"), 1)),
        Just(client(command(0x17, b"\x07\0\0\0\0\x01\0\0\0"), 2)),
        Just(client(command(14, b""), 3)),
        Just(client(packet(3, b"data"), 3)),
        Just(server(answer(&[OK]), 4)),
        Just(server(answer(&[&[1], COLUMN, EOF, b"\x01x", EOF]), 5)),
        Just(server(answer(&[&[0, 7, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], COLUMN, EOF, COLUMN, EOF]), 5)),
        Just(server(answer(&[b"\xff\x28\x04#42000No"]), 6)),
    ]
}

proptest! {
    #[test]
    fn cuts_change_nothing(steps in prop::collection::vec(parts(), 0..30),
        lengths in prop::collection::vec(1..30_usize, 1..8)) {
        let steps = [begin(CLASSIC), steps].concat();
        let whole = play(&mut Mysql::new(), &steps);
        let pieces = play(&mut Mysql::new(), &cut(&steps, &lengths));
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn any_network_leaves_it_within_its_bounds(
        steps in prop::collection::vec((0..12_u8, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            parts().prop_map(|(_, bytes, _)| bytes)], any::<u64>()), 0..60)) {
        hostile(&mut Mysql::new(), &steps, BOUND);
    }
}
