use proptest::prelude::*;

use super::*;

fn postgres(statement: &str) -> String {
    text(statement, Dialect::Postgres, Backslash::Plain)
}

fn mysql(statement: &str) -> String {
    text(statement, Dialect::Mysql, Backslash::Escapes)
}

fn text(statement: &str, dialect: Dialect, backslash: Backslash) -> String {
    let stripped = Stripped::new(statement.as_bytes(), dialect, backslash);
    String::from_utf8_lossy(stripped.as_bytes()).into_owned()
}

#[test]
fn strings_and_numbers_become_question_marks() {
    for (statement, expected) in [
        ("SELECT * FROM t WHERE name = 'Bob' AND id=42", "SELECT * FROM t WHERE name = ? AND id=?"),
        ("select 'it''s', 'x'", "select ?, ?"),
        ("SELECT -1.5e-10, .5, 0xFF, 1_000, t1.c2", "SELECT -?, ?, ?, ?, t1.c2"),
        (r"SELECT E'a\'b', 'c\', d", "SELECT ?, ?, d"),
        ("SELECT b'01', x'ff', N'n', U&'\\0041'", "SELECT ?, ?, ?, ?"),
        ("SELECT $$it's$$, $tag$ $$ $ta$ $tag$ , $1", "SELECT ?, ? , $1"),
        ("SELECT \"Weird 'name' 1\" FROM \"t\"", "SELECT \"Weird 'name' 1\" FROM \"t\""),
        ("SELECT a.5, a$1, f(1)", "SELECT a.?, a$1, f(?)"),
        ("SELECT E'a'\n  'b\\'c' , d", "SELECT ? ?"),
        ("SELECT `'secret'", "SELECT `?"),
        ("SELECT nameE'c\\', d", "SELECT nameE?, d"),
    ] {
        assert_eq!(postgres(statement), expected, "{statement}");
    }
}

#[test]
fn comments_vanish_and_white_space_is_one_space() {
    assert_eq!(postgres("  SELECT 1 -- it's me\n\t, /* a /* nested ' */ */ 2\r\n"), "SELECT ? , ?");
    assert_eq!(postgres("/* only a comment"), "");
    assert_eq!(mysql("SELECT 1--1, 2 -- 'x\n# it's\n, /* ' /* */ 3"), "SELECT ?--?, ? , ?");
    assert_eq!(mysql("/*!40101 SET NAMES 'a*/b' */ x"), "SET NAMES ? x");
}

#[test]
fn the_literals_of_an_in_list_become_one() {
    assert_eq!(postgres("x IN (1, 'a',3) AND y in ( 4 )"), "x IN (?) AND y in ( ? )");
    assert_eq!(postgres("x IN (1, y, 2, 3)"), "x IN (?, y, ?, ?)");
    assert_eq!(mysql("x IN (?, ?, ?)"), "x IN (?)");
    assert_eq!(postgres("VALUES (1, 2)"), "VALUES (?, ?)");
}

#[test]
fn double_quotes_are_strings_in_mysql_and_backquotes_names() {
    assert_eq!(mysql(r#"SELECT "a""b", `c'1`, 'd\'e', _utf8'f'"#), "SELECT ?, `c'1`, ?, _utf8?");
}

#[test]
fn where_a_backslash_leaves_the_end_of_a_string_in_doubt_the_text_ends() {
    let statement = r"SELECT 'a\', 'secret', 1";
    assert_eq!(text(statement, Dialect::Mysql, Backslash::Unknown), "SELECT ?");
    assert_eq!(text(statement, Dialect::Mysql, Backslash::Plain), "SELECT ?, ?, ?");
    assert_eq!(text(r"SELECT 'a\\', b", Dialect::Mysql, Backslash::Unknown), "SELECT ?, b");
    // Half a character of GBK, or an escape.
    let bytes = b"SELECT '\xbf\\', 'secret'";
    let stripped = Stripped::new(bytes, Dialect::Mysql, Backslash::Escapes);
    assert_eq!(stripped.as_bytes(), b"SELECT ?");
    // A name, if ANSI_QUOTES is set.
    assert_eq!(mysql(r#"SELECT "a\", 'secret'"#), "SELECT ?");
}

#[test]
fn a_statement_cut_in_a_literal_shows_nothing_of_it() {
    for (statement, expected) in [
        ("SELECT 'secre", "SELECT ?"),
        ("SELECT $a$secre", "SELECT ?"),
        ("SELECT $secre", "SELECT ?"),
        ("SELECT E'secre\\", "SELECT ?"),
        ("SELECT 12", "SELECT ?"),
        ("SELECT a /* secre", "SELECT a"),
        ("SELECT a -- secre", "SELECT a"),
    ] {
        assert_eq!(postgres(statement), expected);
    }
}

#[test]
fn texts_are_cut_at_their_limit_between_characters() {
    let statement = format!("SELECT a{} FROM t", "ä".repeat(600));
    let stripped = postgres(&statement);
    assert_eq!(stripped.len(), MAX_TEXT_BYTES);
    assert!(statement.starts_with(&stripped));
}

#[test]
fn the_first_word_is_given_in_upper_case() {
    for (statement, expected) in [
        ("select 1", "SELECT"),
        (" ((Select 1))", "SELECT"),
        ("/* x */ with a as (select 1) select 2", "WITH"),
        ("'literal'", ""),
        ("", ""),
        (";", ""),
    ] {
        assert_eq!(keyword(postgres(statement).as_bytes()).as_bytes(), expected.as_bytes());
    }
}

#[test]
fn statements_are_split_at_semicolons_outside_quotes_and_parentheses() {
    assert_eq!(first_statement(b"a; b;c"), (&b"a"[..], &b"b;c"[..]));
    assert_eq!(first_statement(b"\"a;\" (b;c) ; d"), (&b"\"a;\" (b;c)"[..], &b"d"[..]));
    assert_eq!(first_statement(b" a "), (&b"a"[..], &b""[..]));
}

/// Literals are made of Z, Q and 7 alone, all else is made without them.
fn statements(mysql: bool) -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just("'ZQ'".to_owned()),
        Just("'Z''Q'".to_owned()),
        Just("'Z\"`$$Q--/*'".to_owned()),
        Just("77.7e-77".to_owned()),
        Just("0x77".to_owned()),
        Just("$$Z'Q$$".to_owned()),
        Just("$ab$Z$$'Q$ab$".to_owned()),
        Just("X'77'".to_owned()),
    ];
    let own = if mysql {
        prop_oneof![
            Just("'Z\\'Q\\\\'".to_owned()),
            Just("\"Z'Q\"".to_owned()),
            Just("\"Z\\\"Q\"".to_owned()),
            Just("# ZQ'\n".to_owned()),
            Just("-- ZQ'\n".to_owned()),
            Just("`a'b`".to_owned()),
            Just("/*!50000 a 'Z*/Q' */".to_owned()),
        ]
    } else {
        prop_oneof![
            Just("E'Z\\'Q\\\\'".to_owned()),
            Just("E'Z'\n'\\'Q'".to_owned()),
            Just("'Z\\'".to_owned()),
            Just("U&'Z\\'".to_owned()),
            Just("--ZQ'\n".to_owned()),
            Just("/* Z /* ' */ Q */".to_owned()),
            Just("\"a'b\"".to_owned()),
        ]
    };
    let code =
        prop_oneof!["[a-z]{1,6}", "[-+*,()=;<>]", Just("in (".to_owned()), Just("$1".to_owned())];
    prop::collection::vec(prop_oneof![plain, own, code], 0..30).prop_map(|parts| parts.join(" "))
}

proptest! {
    #[test]
    fn no_literal_passes_wherever_the_statement_is_cut(
        (mysql, statement, backslash) in any::<bool>().prop_flat_map(|mysql| (
            Just(mysql), statements(mysql), any::<bool>())),
        cut in any::<prop::sample::Index>()) {
        let cut = cut.index(statement.len() + 1);
        let cut = &statement.as_bytes()[..cut];
        let dialect = if mysql { Dialect::Mysql } else { Dialect::Postgres };
        let known = if mysql { Backslash::Escapes } else { Backslash::Plain };
        let stripped = Stripped::new(cut, dialect, if backslash { known } else { Backslash::Unknown });
        let shown = String::from_utf8_lossy(stripped.as_bytes());
        prop_assert!(!shown.contains(['Z', 'Q', '7']), "{statement} -> {shown}");
    }

    #[test]
    fn any_bytes_make_a_bounded_text(bytes in prop::collection::vec(any::<u8>(), 0..3_000),
        mysql in any::<bool>()) {
        let dialect = if mysql { Dialect::Mysql } else { Dialect::Postgres };
        let stripped = Stripped::new(&bytes, dialect, Backslash::Unknown);
        prop_assert!(stripped.as_bytes().len() <= MAX_TEXT_BYTES);
        keyword(stripped.as_bytes());
        first_statement(stripped.as_bytes());
    }
}
