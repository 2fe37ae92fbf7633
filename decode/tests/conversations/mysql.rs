use decode::app::Verdict;
use decode::app::mysql::Mysql;

use crate::recordings::{decode_streams, tshark, values};

const PORT: u16 = 3306;
const VERSION: &str = "5.5.5-10.11.19-MariaDB-0+deb12u1";

#[test]
fn mariadb_with_queries_a_file_and_errors() {
    let (lines, verdicts) = decode_streams("mysql/client.pcap", PORT, Mysql::new);
    assert_eq!(verdicts, [Verdict::More, Verdict::Done]);
    let load = "command=LOAD query=LOAD DATA LOCAL INFILE ? INTO TABLE item FIELDS TERMINATED BY ?";
    let expected = format!(
        "\
> command=CONNECT
< * command=CONNECT error_code=0 rows=0
> command=INSERT query=INSERT INTO item VALUES (?, ?), (?, ?)
< * command=INSERT query=INSERT INTO item VALUES (?, ?), (?, ?) error_code=0 rows=2
> command=SELECT query=SELECT name FROM item WHERE name = ? OR id IN (?)
< * command=SELECT query=SELECT name FROM item WHERE name = ? OR id IN (?) error_code=0 rows=2
> command=SELECT query=SELECT secret_column FROM missing WHERE a = ?
< * command=SELECT query=SELECT secret_column FROM missing WHERE a = ? error_code=1146
> command=UPDATE query=UPDATE item SET name = ? WHERE id = ?; SELECT ?; DELETE FROM item WHERE id = ?
< * command=UPDATE query=UPDATE item SET name = ? WHERE id = ? error_code=0 rows=1
< * command=SELECT query=SELECT ? error_code=0 rows=1
< * command=DELETE query=DELETE FROM item WHERE id = ? error_code=0 rows=0
> {load}
< * {load} error_code=0 rows=2
> command=QUIT
= user=ann server_version={VERSION}
> command=CONNECT
< * command=CONNECT error_code=1045
= user=ann server_version={VERSION}"
    );
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    if let Some(errors) = tshark("mysql/client.pcap", "mysql.error_code", "mysql.error_code") {
        // The server's progress with the file looks like an error of this number.
        let errors: Vec<_> = errors.into_iter().filter(|error| error != "65535").collect();
        let own = values(&lines, "<", "error_code");
        assert_eq!(own.into_iter().filter(|error| error != "0").collect::<Vec<_>>(), errors);
    }
    if let Some(versions) = tshark("mysql/client.pcap", "mysql.version", "mysql.version") {
        assert_eq!(versions, values(&lines, "=", "server_version"));
    }
    if let Some(users) = tshark("mysql/client.pcap", "mysql.user", "mysql.user") {
        assert_eq!(users, values(&lines, "=", "user"));
    }
}

#[test]
fn python_with_prepared_statements() {
    let (lines, verdicts) = decode_streams("mysql/prepared.pcap", PORT, Mysql::new);
    assert_eq!(verdicts, [Verdict::More]);
    let select = "command=SELECT query=SELECT id, name FROM item WHERE id = ? AND name <> ?";
    let autocommit = "command=SET query=SET @@session.autocommit = OFF";
    let expected = format!(
        "\
> command=CONNECT
< * command=CONNECT error_code=0 rows=0
> command=SET query=SET NAMES ? COLLATE ?
< * command=SET query=SET NAMES ? COLLATE ? error_code=0 rows=0
> {autocommit}
< * {autocommit} error_code=0 rows=0
> command=PING
< * command=PING error_code=0 rows=0
> {select}
< * {select} error_code=0
> command=STMT_RESET
< * command=STMT_RESET error_code=0 rows=0
> {select}
< * {select} error_code=0 rows=1
> command=STMT_RESET
< * command=STMT_RESET error_code=0 rows=0
> {select}
< * {select} error_code=0 rows=1
> command=STMT_CLOSE
> command=PING
< * command=PING error_code=0 rows=0
> command=QUIT
= user=ann server_version={VERSION}"
    );
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    if let Some(commands) = tshark("mysql/prepared.pcap", "mysql.command", "mysql.command") {
        // All but the login.
        assert_eq!(commands.len() + 1, lines.iter().filter(|line| line.starts_with('>')).count());
    }
}

#[test]
fn mysql_8_with_its_login_attributes_and_rows_that_end_with_ok() {
    let (lines, verdicts) = decode_streams("mysql/mysql8.pcap", PORT, Mysql::new);
    assert_eq!(verdicts, [Verdict::More, Verdict::Done, Verdict::More, Verdict::More]);
    assert!(!format!("{lines:?}").contains("secret"));
    let facts = lines.iter().filter(|line| line.starts_with('='));
    assert!(facts.eq(["= user=ann server_version=8.0.29"; 4]));
    let told = |operation: &str| -> Vec<String> {
        let begin = format!("< * command={operation} ");
        let lines = lines.iter().filter_map(|line| line.strip_prefix(&begin));
        lines.map(str::to_owned).collect()
    };
    let welcome = "error_code=0 rows=0";
    // In full, in full with the wrong password, from the cache, from the cache.
    assert_eq!(told("CONNECT"), [welcome, "error_code=1045", welcome, welcome]);
    assert_eq!(
        told("SELECT"),
        [
            "query=SELECT id, name FROM item WHERE name <> ? error_code=0 rows=3",
            "query=SELECT id FROM missing WHERE name = ? error_code=1105",
            "query=SELECT id FROM item WHERE id < ? error_code=0 rows=3",
            // With attributes.
            "query=SELECT name FROM item WHERE id = ? error_code=0 rows=3",
            "query=SELECT id, name FROM item WHERE id = ? AND name <> ? error_code=0",
            "query=SELECT id, name FROM item WHERE id = ? AND name <> ? error_code=0 rows=3",
        ]
    );
    let answers = lines.iter().filter(|line| line.starts_with('<')).count();
    let requests = lines.iter().filter(|line| line.starts_with('>'));
    // Nobody answers STMT_CLOSE and four QUIT.
    assert_eq!(requests.count(), answers + 5);
    if let Some(errors) = tshark("mysql/mysql8.pcap", "mysql.error_code", "mysql.error_code") {
        let own = values(&lines, "<", "error_code");
        assert_eq!(own.into_iter().filter(|error| error != "0").collect::<Vec<_>>(), errors);
    }
}
