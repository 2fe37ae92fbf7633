use decode::app::Verdict;
use decode::app::postgres::Postgres;

use crate::recordings::{decode_streams, tshark, values};

const PORT: u16 = 5432;

/// Rows by the command tags and codes of the errors are those that tshark reads.
fn second_opinion(name: &str, lines: &[String]) {
    if let Some(tags) = tshark(name, "pgsql.tag", "pgsql.tag") {
        let rows: Vec<_> =
            tags.iter().map(|tag| tag.rsplit(' ').next().unwrap().to_owned()).collect();
        assert_eq!(values(lines, "<", "rows"), rows);
    }
    if let Some(codes) = tshark(name, "pgsql.code", "pgsql.code") {
        let states = values(lines, "<", "sqlstate");
        assert_eq!(states.into_iter().filter(|code| code != "00000").collect::<Vec<_>>(), codes);
    }
}

#[test]
fn psql_with_queries_copies_and_an_error() {
    let (lines, verdicts) = decode_streams("postgres/simple.pcap", PORT, Postgres::new);
    assert_eq!(verdicts, [Verdict::More; 3]);
    let expected = "\
> command=STARTUP
< * command=STARTUP sqlstate=00000
> command=INSERT query=INSERT INTO item VALUES (?, ?), (?, ?)
< * command=INSERT query=INSERT INTO item VALUES (?, ?), (?, ?) sqlstate=00000 rows=2
> command=SELECT query=SELECT name FROM item WHERE name = ? OR id IN (?)
< * command=SELECT query=SELECT name FROM item WHERE name = ? OR id IN (?) sqlstate=00000 rows=2
> command=UPDATE query=UPDATE item SET name = ? WHERE id = ?; DELETE FROM item WHERE id = ?; SELECT ?
< * command=UPDATE query=UPDATE item SET name = ? WHERE id = ? sqlstate=00000 rows=1
< * command=DELETE query=DELETE FROM item WHERE id = ? sqlstate=00000 rows=0
< * command=SELECT query=SELECT ? sqlstate=00000 rows=1
> command=COPY query=COPY item TO STDOUT
< * command=COPY query=COPY item TO STDOUT sqlstate=00000 rows=2
= user=ann database=shop
> command=STARTUP
< * command=STARTUP sqlstate=00000
> command=COPY query=COPY item FROM STDIN
< * command=COPY query=COPY item FROM STDIN sqlstate=00000 rows=2
= user=ann database=shop
> command=STARTUP
< * command=STARTUP sqlstate=00000
> command=SELECT query=SELECT secret_column FROM missing WHERE a = ?
< * command=SELECT query=SELECT secret_column FROM missing WHERE a = ? sqlstate=42P01
= user=ann database=shop";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    second_opinion("postgres/simple.pcap", &lines);
}

#[test]
fn pgbench_with_prepared_statements_in_a_pipeline() {
    let (lines, _) = decode_streams("postgres/prepared.pcap", PORT, Postgres::new);
    let transaction = |found| {
        let select = "command=SELECT query=SELECT name FROM item WHERE id = $1 AND name <> ?;";
        let update = "command=UPDATE query=UPDATE item SET name = ? WHERE id = $1;";
        let count = "command=SELECT query=SELECT count(*) FROM item;";
        [
            format!("> {select}"),
            format!("> {update}"),
            format!("< * {select} sqlstate=00000 rows={found}"),
            format!("< * {update} sqlstate=00000 rows=1"),
            format!("> {count}"),
            format!("< * {count} sqlstate=00000 rows=1"),
        ]
    };
    // pgbench looks at the server first, in a connection of its own.
    let session = ["> command=STARTUP", "< * command=STARTUP sqlstate=00000"].map(str::to_owned);
    let facts = ["= user=ann database=shop".to_owned()];
    let expected = [&session[..], &facts, &session, &transaction(1), &transaction(0), &facts];
    assert_eq!(lines, expected.concat());
    second_opinion("postgres/prepared.pcap", &lines);
}

#[test]
fn logins_with_the_right_and_the_wrong_password() {
    let (lines, _) = decode_streams("postgres/login.pcap", PORT, Postgres::new);
    let expected = "\
> command=STARTUP
< * command=STARTUP sqlstate=00000
> command=SELECT query=SELECT ?
< * command=SELECT query=SELECT ? sqlstate=00000 rows=1
= user=carl database=shop
> command=STARTUP
< * command=STARTUP sqlstate=28P01
= user=carl database=shop";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    second_opinion("postgres/login.pcap", &lines);
}
