//! MySQL and MariaDB: statements, their rows, errors and latency.
//!
//! A request is reported when the command is complete, a response for each result: at OK, ERR, or
//! the end of its rows. Both carry the command, which for a query or a prepared statement is the
//! first word of its text, and the text without literals. Latency runs from the first byte of the
//! command to the last byte of the response. The login is a request `CONNECT`, from the client's
//! first packet to the server's verdict. Commands that are never answered have a request only.
//!
//! Bounds: 8 KiB of a statement are looked at; 64 prepared statements and 32 waiting commands are
//! remembered; less than 128 KiB a conversation in all. Passwords, parameters, rows and files pass
//! by unread. Encryption, compression and replication end decoding.
//!
//! After a gap the client is picked up with bytes that begin a command, and the server with the
//! bytes after that. What the login would have told (how rows end) is then taken from the first
//! result.

mod answer;
mod attributes;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;

use answer::{Answer, Outcome};
pub use wire::guess;

use super::decoder::{Side, StreamDecoder, Verdict};
use super::event::{Events, Kind};
use super::field::{App, Field};
use super::kept::Inbox;
use super::sql::{Backslash, Dialect};
use super::statement::{Prepared, Statement};

/// Bytes of a statement that are looked at, its command included.
const MAX_STATEMENT_BYTES: usize = 8 << 10;
/// Bytes of an answer's packet that are looked at.
const MAX_ANSWER_BYTES: usize = 64;
/// Commands waiting for an answer at most; clients send one at a time, MariaDB's a few.
const MAX_WAITING: usize = 32;
/// Text that they hold at most, bytes.
const MAX_WAITING_BYTES: usize = 16 << 10;
/// Bytes skipped in search of a command after gaps; more end decoding.
const MAX_SEARCH_BYTES: u64 = 16 << 20;
/// Likewise before anything was recognised.
const MAX_UNKNOWN_BYTES: u64 = 64 << 10;
/// Longest name that is kept, bytes.
const MAX_NAME_BYTES: usize = 127;
/// Length of a packet that another one continues.
const FULL: u64 = 0xff_ffff;
/// The statement prepared last, in MariaDB.
const LAST_PREPARED: u64 = 0xffff_ffff;

type Name = Option<Box<[u8]>>;

/// Where a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is known: a greeting, or the middle of a session.
    #[default]
    Start,
    /// The server has greeted.
    Greeted,
    /// The client has logged in, and may be asked for more.
    Login,
    Commands,
}

/// A command waiting for its answer.
#[derive(Debug)]
struct Waiting {
    answer: Answer,
    start_us: u64,
    statement: Statement,
    /// Where in the text the statement begins that is answered next.
    at: u16,
}

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Mysql {
    inboxes: [Inbox<4>; 2],
    phase: Phase,
    /// Of the server, where its greeting was seen.
    server_capabilities: Option<u64>,
    /// What both ends can, as far as known.
    capabilities: u64,
    /// What ends rows; known from the login or from the first result.
    deprecate_eof: Option<bool>,
    /// A query is one statement, semicolons are those of a procedure; known from the login on.
    is_single: bool,
    /// A backslash escapes nothing; known from the first status.
    no_escapes: Option<bool>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    prepared: Prepared,
    /// The statement prepared last, before it is known whether it can be.
    last_prepared: u64,
    user: Name,
    version: Name,
    reported: bool,
    lost: [bool; 2],
    searched_bytes: u64,
}

impl Mysql {
    /// At the beginning of a connection, or in the middle of one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn packets(
        &mut self,
        inbox: &mut Inbox<4>,
        from: Side,
        mut bytes: &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        loop {
            if !inbox.is_open() {
                let Some([a, b, c, sequence]) = inbox.take_head(&mut bytes, now_us) else { break };
                let length = u64::from(u32::from_le_bytes([a, b, c, 0]));
                let Some(keep) = self.keep(from, length, sequence) else {
                    return self.out_of_step(from);
                };
                inbox.open(length, keep, length == FULL);
            }
            let (began_us, [a, b, c, sequence]) = (inbox.begun_us(), inbox.head());
            let continued = inbox.is_continued();
            let Some(body) = inbox.take_body(&mut bytes) else {
                if bytes.is_empty() {
                    break;
                }
                continue;
            };
            let length = u64::from(u32::from_le_bytes([a, b, c, 0]));
            // Nothing that ends rows is that long.
            let length = if continued { FULL } else { length };
            // A file of the client is not kept, a command has a first byte at least.
            let sequence = match from {
                Side::Client if continued => u8::from(body.is_empty()),
                Side::Server if continued => 1,
                _ => sequence,
            };
            let verdict = match from {
                Side::Client => self.client_packet(sequence, body, began_us, events),
                Side::Server => self.server_packet(sequence, length, body, now_us, events),
            };
            if verdict == Verdict::Wrong {
                return self.out_of_step(from);
            }
            if verdict == Verdict::Done {
                return verdict;
            }
        }
        Verdict::More
    }

    /// Bytes of a packet that are of interest; nothing if it cannot be one.
    fn keep(&self, from: Side, length: u64, sequence: u8) -> Option<usize> {
        match (from, self.phase) {
            (Side::Client, Phase::Start) => (sequence <= 1).then_some(MAX_STATEMENT_BYTES),
            (Side::Client, Phase::Greeted) => (1..=2).contains(&sequence).then_some(256),
            // Passwords.
            (Side::Client, Phase::Login) => Some(0),
            // A file, or a password after a change of user.
            (Side::Client, Phase::Commands) if sequence != 0 || self.takes_file() => Some(0),
            (Side::Client, Phase::Commands) => Some(MAX_STATEMENT_BYTES),
            (Side::Server, Phase::Start) => (sequence == 0 && length < 512).then_some(160),
            (Side::Server, _) => Some(MAX_ANSWER_BYTES),
        }
    }

    fn out_of_step(&mut self, from: Side) -> Verdict {
        let first_seen = from == Side::Server && self.phase == Phase::Start;
        if self.searched_bytes > 0 || first_seen {
            // Found at the wrong place after a gap, or first seen within a result.
            self.searched_bytes += 1;
            self.lose();
            return Verdict::More;
        }
        if self.reported { Verdict::Done } else { Verdict::Wrong }
    }

    fn client_packet(
        &mut self,
        sequence: u8,
        body: &[u8],
        began_us: u64,
        events: &mut Events,
    ) -> Verdict {
        match self.phase {
            Phase::Start if sequence == 0 && is_command(body) => self.phase = Phase::Commands,
            Phase::Start | Phase::Greeted if sequence != 0 => {
                return self.login(body, began_us, events);
            }
            Phase::Start | Phase::Greeted => return Verdict::Wrong,
            // Passwords.
            Phase::Login => return Verdict::More,
            Phase::Commands => {}
        }
        // A file, or a password after a change of user.
        if sequence != 0 || self.takes_file() {
            return Verdict::More;
        }
        self.command(body, began_us, events)
    }

    /// The client's packets are parts of a file; their numbers start anew with each 256.
    fn takes_file(&self) -> bool {
        self.waiting.front().is_some_and(|front| front.answer.takes_file())
    }

    fn login(&mut self, body: &[u8], began_us: u64, events: &mut Events) -> Verdict {
        let Some(login) = wire::login(body) else { return Verdict::Wrong };
        // Clients may offer what the server cannot.
        self.capabilities = login.capabilities & self.server_capabilities.unwrap_or(u64::MAX);
        self.deprecate_eof = Some(self.capabilities & wire::DEPRECATE_EOF != 0);
        self.is_single = self.capabilities & wire::MULTI_STATEMENTS == 0;
        let Some(user) = login.user else {
            let encrypts = login.capabilities & wire::CONNECT_WITH_SSL != 0;
            return if encrypts { Verdict::Done } else { Verdict::Wrong };
        };
        self.user = kept_name(user);
        self.phase = Phase::Login;
        let statement = Statement::of_kind("CONNECT");
        match self.ask(Some(Answer::login()), began_us, &statement, events) {
            true => Verdict::More,
            false => Verdict::Wrong,
        }
    }

    /// In the middle of a session it can be unknown how definitions end. If the client goes on
    /// after the last one, nothing more belongs to them.
    fn settle(&mut self, events: &mut Events) {
        let Some(front) = self.waiting.front() else { return };
        let Some(id) = front.answer.prepared_id().filter(|_| front.answer.is_unsettled()) else {
            return;
        };
        self.deprecate_eof = Some(true);
        let Some(done) = self.waiting.pop_front() else { return };
        self.waiting_bytes -= done.statement.text.len();
        let mut draft = events.begin(App::Mysql, Kind::Response);
        done.statement.describe(&mut draft, Field::MysqlOperation, Field::MysqlQuery);
        draft.number(Field::MysqlStatus, 0);
        self.last_prepared = id;
        self.prepared.insert(id, done.statement);
    }

    fn command(&mut self, body: &[u8], began_us: u64, events: &mut Events) -> Verdict {
        if self.deprecate_eof.is_none() {
            self.settle(events);
        }
        let Some((&command, rest)) = body.split_first() else { return Verdict::Wrong };
        let name = wire::command_name(command);
        if name.is_empty() {
            return Verdict::Wrong;
        }
        let id = rest.first_chunk().map_or(0, |&id| u64::from(u32::from_le_bytes(id)));
        let (answer, statement) = match command {
            0x03 => (Some(Answer::result()), self.text(self.query_text(rest), name)),
            0x16 => (Some(Answer::prepare()), self.text(rest, name)),
            0x17 | 0xfa => (Some(Answer::result()), self.prepared_text(id, name)),
            0x1c => (Some(Answer::rows()), self.prepared_text(id, name)),
            0x04 => (Some(Answer::rows()), Statement::of_kind(name)),
            0x09 => (Some(Answer::text()), Statement::of_kind(name)),
            0x11 => {
                self.user = kept_name(rest.split(|&byte| byte == 0).next().unwrap_or_default());
                (Some(Answer::login()), Statement::of_kind(name))
            }
            0x19 => {
                self.prepared.remove(id);
                (None, Statement::of_kind(name))
            }
            0x01 | 0x18 => (None, Statement::of_kind(name)),
            // 0 allows several statements, 1 forbids them; a refusal is not heeded.
            0x1b => {
                self.is_single = rest.first() == Some(&1);
                (Some(Answer::ok()), Statement::of_kind(name))
            }
            0x1f => {
                self.prepared.clear();
                (Some(Answer::ok()), Statement::of_kind(name))
            }
            _ => (Some(Answer::ok()), Statement::of_kind(name)),
        };
        if !self.ask(answer, began_us, &statement, events) {
            return Verdict::Wrong;
        }
        // Replication, a clone of the server.
        let endless = matches!(command, 0x12 | 0x13 | 0x1e | 0x20);
        if endless { Verdict::Done } else { Verdict::More }
    }

    /// Text of a query; in MySQL 8 attributes may come before it.
    fn query_text<'a>(&self, rest: &'a [u8]) -> &'a [u8] {
        const QUERY_ATTRIBUTES: u64 = 1 << 27;
        if self.capabilities & QUERY_ATTRIBUTES == 0 {
            return rest;
        }
        attributes::text(rest).unwrap_or_default()
    }

    fn text(&self, sql: &[u8], kind: &str) -> Statement {
        let backslash = match self.no_escapes {
            Some(true) => Backslash::Plain,
            Some(false) => Backslash::Escapes,
            None => Backslash::Unknown,
        };
        let statement = Statement::new(sql, Dialect::Mysql, backslash, kind);
        if self.is_single { statement.single() } else { statement }
    }

    fn prepared_text(&self, id: u64, kind: &str) -> Statement {
        let id = if id == LAST_PREPARED { self.last_prepared } else { id };
        self.prepared.find(id).cloned().unwrap_or_else(|| Statement::of_kind(kind))
    }

    /// Reports a request; false if too many wait for their answers.
    fn ask(
        &mut self,
        answer: Option<Answer>,
        start_us: u64,
        statement: &Statement,
        events: &mut Events,
    ) -> bool {
        let mut draft = events.begin(App::Mysql, Kind::Request);
        statement.describe(&mut draft, Field::MysqlOperation, Field::MysqlQuery);
        self.reported = true;
        let Some(answer) = answer else { return true };
        if self.waiting.len() >= MAX_WAITING {
            // As if there were a gap: begin again with the next command.
            self.searched_bytes += 1;
            return false;
        }
        let fits = self.waiting_bytes + statement.text.len() <= MAX_WAITING_BYTES;
        let statement = if fits { statement.clone() } else { statement.without_text() };
        self.waiting_bytes += statement.text.len();
        self.waiting.push_back(Waiting { answer, start_us, statement, at: 0 });
        true
    }

    fn server_packet(
        &mut self,
        sequence: u8,
        length: u64,
        body: &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        if self.phase == Phase::Start {
            let greets = sequence == 0 && self.waiting.is_empty();
            return match wire::greeting(body) {
                Some((version, capabilities)) if greets => {
                    self.version = kept_name(version);
                    self.server_capabilities = capabilities;
                    self.phase = Phase::Greeted;
                    Verdict::More
                }
                // Too many connections, or a host that may not connect.
                _ if greets && body.first() == Some(&0xff) && length > 3 && length < 512 => {
                    self.report_error(wire::error_number(body), events);
                    Verdict::Done
                }
                _ => Verdict::Wrong,
            };
        }
        let Some(waiting) = self.waiting.front_mut() else {
            // Said unasked: the server ends the connection.
            if body.first() == Some(&0xff) && length > 3 && length < 512 {
                self.report_error(wire::error_number(body), events);
            } else if self.phase == Phase::Commands {
                return Verdict::Wrong;
            }
            return Verdict::More;
        };
        // Answers count on from the command.
        if sequence == 0 && waiting.answer.is_new() {
            return Verdict::Wrong;
        }
        let (capabilities, deprecate_eof) = (self.capabilities, &mut self.deprecate_eof);
        match waiting.answer.packet(body, length, capabilities, deprecate_eof) {
            Outcome::More => Verdict::More,
            Outcome::Wrong => Verdict::Wrong,
            Outcome::End { rows, error, status } => {
                if let Some(id) = waiting.answer.prepared_id() {
                    self.last_prepared = id;
                    self.prepared.insert(id, waiting.statement.clone());
                }
                if let Some(status) = status {
                    self.no_escapes = Some(status & wire::NO_BACKSLASH_ESCAPES != 0);
                }
                let more = status.is_some_and(|status| status & wire::MORE_RESULTS != 0);
                self.respond(rows, error, more, now_us, events)
            }
        }
    }

    fn respond(
        &mut self,
        rows: Option<u64>,
        error: u64,
        more: bool,
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        let Some(waiting) = self.waiting.front_mut() else { return Verdict::More };
        let mut draft = events.begin(App::Mysql, Kind::Response);
        draft.latency_us(now_us.saturating_sub(waiting.start_us));
        let (operation, query) = (Field::MysqlOperation, Field::MysqlQuery);
        let statement = &waiting.statement;
        waiting.at = statement.describe_part(&mut draft, operation, query, waiting.at);
        draft.number(Field::MysqlStatus, error);
        if let Some(rows) = rows {
            draft.number(Field::MysqlRows, rows);
        }
        if more {
            waiting.answer = Answer::next_result();
            return Verdict::More;
        }
        if let Some(done) = self.waiting.pop_front() {
            self.waiting_bytes -= done.statement.text.len();
        }
        if self.phase != Phase::Login {
            return Verdict::More;
        }
        self.phase = Phase::Commands;
        // The rest is compressed, or does not come.
        let ends = self.capabilities & (wire::COMPRESS | wire::ZSTD) != 0 || error != 0;
        if ends { Verdict::Done } else { Verdict::More }
    }

    fn report_error(&mut self, error: u64, events: &mut Events) {
        events.begin(App::Mysql, Kind::Response).number(Field::MysqlStatus, error);
        self.reported = true;
    }

    fn lose(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.phase = Phase::Commands;
        // The server is found again by the command that it answers.
        self.lost = [true, true];
        for inbox in &mut self.inboxes {
            *inbox = Inbox::default();
        }
    }

    /// Whether the bytes can be decoded again.
    fn is_found(&mut self, from: Side, bytes: &[u8]) -> bool {
        self.searched_bytes += bytes.len() as u64;
        let found = match from {
            Side::Client => is_command_packet(bytes),
            Side::Server => !self.lost[0] && matches!(bytes.get(3), Some(1..=16)),
        };
        self.lost[from.index()] &= !found;
        found
    }
}

impl StreamDecoder for Mysql {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        if self.lost[from.index()] && !self.is_found(from, bytes) {
            let given_up = self.searched_bytes > MAX_SEARCH_BYTES;
            let unknown = !self.reported && self.searched_bytes > MAX_UNKNOWN_BYTES;
            return match (given_up, unknown) {
                (_, true) => Verdict::Wrong,
                (true, _) => Verdict::Done,
                _ => Verdict::More,
            };
        }
        let mut inbox = std::mem::take(&mut self.inboxes[from.index()]);
        let verdict = self.packets(&mut inbox, from, bytes, now_us, events);
        if !self.lost[from.index()] {
            self.inboxes[from.index()] = inbox;
        }
        verdict
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _now_us: u64, _: &mut Events) -> Verdict {
        let inside = self.inboxes[from.index()].lose(lost_bytes);
        if !inside && !self.lost[from.index()] {
            self.searched_bytes += lost_bytes.clamp(1, 1_500);
            self.lose();
        }
        Verdict::More
    }

    fn end(&mut self, _: Side, _: u64, _: &mut Events) {}

    fn facts(&self, events: &mut Events) {
        if self.user.is_none() && self.version.is_none() {
            return;
        }
        let mut draft = events.begin(App::Mysql, Kind::Facts);
        if let Some(user) = &self.user {
            draft.text(Field::MysqlUser, user);
        }
        if let Some(version) = &self.version {
            draft.text(Field::MysqlVersion, version);
        }
    }

    fn heap_bytes(&self) -> usize {
        let names = [&self.user, &self.version];
        let names = names.into_iter().flatten().map(|name| name.len()).sum::<usize>();
        let inboxes: usize = self.inboxes.iter().map(Inbox::heap_bytes).sum();
        let waiting = self.waiting.capacity() * size_of::<Waiting>() + self.waiting_bytes;
        names + inboxes + waiting + self.prepared.heap_bytes()
    }
}

/// Whether a body can be that of a command.
fn is_command(body: &[u8]) -> bool {
    matches!(body, [1 | 9 | 14 | 0x1f] | [2..=4 | 0x11 | 0x16..=0x1c | 0xfa, _, ..])
}

/// Whether bytes begin with the packet of a command.
fn is_command_packet(bytes: &[u8]) -> bool {
    let Some((&[a, b, c, sequence], body)) = bytes.split_first_chunk() else { return false };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    let body = body.get(..length).unwrap_or(body);
    sequence == 0 && length > 0 && is_command(body)
}

fn kept_name(name: &[u8]) -> Name {
    (!name.is_empty()).then(|| name.get(..MAX_NAME_BYTES).unwrap_or(name).into())
}
