//! Packets of MySQL and MariaDB: greeting, login, the answers' first bytes.

use crate::app::decoder::{Guess, Side};

/// Client capabilities that change what follows.
pub(super) const CONNECT_WITH_SSL: u64 = 1 << 11;
pub(super) const COMPRESS: u64 = 1 << 5;
pub(super) const MULTI_STATEMENTS: u64 = 1 << 16;
pub(super) const DEPRECATE_EOF: u64 = 1 << 24;
pub(super) const OPTIONAL_METADATA: u64 = 1 << 25;
pub(super) const ZSTD: u64 = 1 << 26;
/// MariaDB's own capabilities follow in the upper half when the lowest bit is clear.
const MYSQL: u64 = 1;
const PROTOCOL_41: u64 = 1 << 9;
pub(super) const CACHE_METADATA: u64 = 1 << 36;

/// Status: another result follows.
pub(super) const MORE_RESULTS: u16 = 1 << 3;
/// Status: rows are fetched later.
pub(super) const CURSOR_EXISTS: u16 = 1 << 6;
/// Status: a backslash escapes nothing.
pub(super) const NO_BACKSLASH_ESCAPES: u16 = 1 << 9;

/// Commands by their number.
pub(super) fn command_name(command: u8) -> &'static str {
    const NAMES: [&str; 33] = [
        "SLEEP",
        "QUIT",
        "INIT_DB",
        "QUERY",
        "FIELD_LIST",
        "CREATE_DB",
        "DROP_DB",
        "REFRESH",
        "SHUTDOWN",
        "STATISTICS",
        "PROCESS_INFO",
        "CONNECT",
        "PROCESS_KILL",
        "DEBUG",
        "PING",
        "TIME",
        "DELAYED_INSERT",
        "CHANGE_USER",
        "BINLOG_DUMP",
        "TABLE_DUMP",
        "CONNECT_OUT",
        "REGISTER_SLAVE",
        "PREPARE",
        "EXECUTE",
        "SEND_LONG_DATA",
        "STMT_CLOSE",
        "STMT_RESET",
        "SET_OPTION",
        "FETCH",
        "DAEMON",
        "BINLOG_DUMP_GTID",
        "RESET_CONNECTION",
        "CLONE",
    ];
    match command {
        0xfa => "BULK_EXECUTE",
        _ => NAMES.get(usize::from(command)).copied().unwrap_or(""),
    }
}

/// Whether the first bytes of one side are MySQL's. Only the server's greeting is certain.
#[must_use]
pub fn guess(bytes: &[u8], from: Side) -> Guess {
    match (from, bytes) {
        (Side::Server, &[length, 0, 0, 0, 10, ref version @ ..]) if length >= 40 => {
            let version = version.get(..60).unwrap_or(version);
            let end = version.iter().position(|&byte| byte == 0);
            let text = version.get(..end.unwrap_or(version.len())).unwrap_or_default();
            let is_version = text.first().is_none_or(u8::is_ascii_digit)
                && text.iter().all(u8::is_ascii_graphic);
            match end {
                Some(3..) if is_version && text.contains(&b'.') => Guess::Yes,
                None if is_version && version.len() < 60 => Guess::Maybe,
                _ => Guess::No,
            }
        }
        (Side::Server, &[length, ref rest @ ..]) if rest.len() < 4 => {
            let fits = length >= 40 && rest.iter().zip([0, 0, 0, 10]).all(|(&a, b)| a == b);
            if fits { Guess::Maybe } else { Guess::No }
        }
        (_, &[]) => Guess::Maybe,
        // The first packet of a login, and its answer to the greeting's number 0.
        (Side::Client, &[_, _, 0, 1, ref rest @ ..]) if rest.len() <= 32 => Guess::Maybe,
        (Side::Client, &[_, _, 0, 1, ref rest @ ..]) => {
            let filler = rest.get(9..28).unwrap_or_default();
            if filler.iter().all(|&byte| byte == 0) { Guess::Yes } else { Guess::No }
        }
        (Side::Client, short) if short.len() < 4 => Guess::Maybe,
        _ => Guess::No,
    }
}

/// Version of the server's greeting, and its capabilities where they are complete.
pub(super) fn greeting(body: &[u8]) -> Option<(&[u8], Option<u64>)> {
    let rest = body.strip_prefix(&[10])?;
    let end = rest.iter().position(|&byte| byte == 0).filter(|&end| end > 0)?;
    let version = rest.get(..end)?;
    // Thread (4), authentication (8), a filler, then the lower half.
    let number = |at: usize| {
        let word = rest.get(end + 1 + at..)?.first_chunk::<2>()?;
        Some(u64::from(u16::from_le_bytes(*word)))
    };
    let capabilities = || {
        let standard = number(13)? | number(18)? << 16;
        let more = if standard & MYSQL == 0 { number(27)? | number(29)? << 16 } else { 0 };
        Some(standard | more << 32)
    };
    Some((version, capabilities()))
}

/// What a client says when it logs in.
pub(super) struct Login<'a> {
    pub capabilities: u64,
    /// Nothing in a request for encryption.
    pub user: Option<&'a [u8]>,
}

pub(super) fn login(body: &[u8]) -> Option<Login<'_>> {
    let (&[a, b, c, d], _) = body.split_first_chunk()?;
    let mut capabilities = u64::from(u32::from_le_bytes([a, b, c, d]));
    if capabilities & PROTOCOL_41 == 0 {
        let name = body.get(5..).unwrap_or_default();
        return Some(Login {
            capabilities: capabilities & 0xffff,
            user: name.split(|&b| b == 0).next(),
        });
    }
    let (head, name) = body.split_at_checked(32)?;
    // Zero up to MariaDB's part.
    if head.get(9..28)?.iter().any(|&byte| byte != 0) {
        return None;
    }
    if capabilities & MYSQL == 0
        && let Some(&more) = head.last_chunk::<4>()
    {
        capabilities |= u64::from(u32::from_le_bytes(more)) << 32;
    }
    let user = (!name.is_empty()).then(|| name.split(|&byte| byte == 0).next()).flatten();
    Some(Login { capabilities, user })
}

/// A number of 1 to 9 bytes, and what follows it.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let len = match first {
        0..=0xfa => return Some((first.into(), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(len)?;
    let number = number.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    Some((number, rest))
}

/// Rows changed and status of an OK packet, whose first byte may be that of EOF.
pub(super) fn ok(body: &[u8]) -> Option<(u64, u16)> {
    let (rows, rest) = number(body.get(1..)?)?;
    let (_, rest) = number(rest)?;
    let (&status, _) = rest.split_first_chunk()?;
    Some((rows, u16::from_le_bytes(status)))
}

/// Status of an EOF packet.
pub(super) fn eof_status(body: &[u8]) -> Option<u16> {
    let (&status, _) = body.get(3..)?.split_first_chunk()?;
    Some(u16::from_le_bytes(status))
}

/// Number of an error.
pub(super) fn error_number(body: &[u8]) -> u64 {
    body.get(1..3).map_or(0, |code| code.iter().rev().fold(0, |code, &b| code << 8 | u64::from(b)))
}
