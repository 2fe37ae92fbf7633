//! PostgreSQL, protocol 3: statements, their rows, errors and latency.
//!
//! A request is reported when Query or Execute is complete, a response at CommandComplete,
//! EmptyQueryResponse, PortalSuspended or ErrorResponse; both carry the first word and the text of
//! the statement without literals. Latency runs from the first byte of the request (of the first
//! message after the last Execute, Sync or Flush, for the extended protocol) to the last byte of
//! the response. Each statement of a Query with several has a response of its own; their number
//! is the server's, their text is what lies between semicolons. The start of a session is a
//! request `STARTUP`, answered when the session is ready or refused (the client's part of the
//! authentication counts); a cancel request is `CANCEL`.
//! An error of Parse without an Execute is a response without a request.
//!
//! Bounds: 8 KiB of a statement are looked at; 64 prepared statements, 64 portals and 256 waiting
//! messages are remembered; less than 128 KiB a conversation in all. Parameters, rows, copied data
//! and passwords pass by unread. An encrypted session ends decoding.
//!
//! After a gap the server is picked up at its next ReadyForQuery, the client with the bytes that
//! follow. If the client keeps several requests under way, responses after a gap can be matched
//! with a later request than theirs.

mod queue;
#[cfg(test)]
mod tests;
mod wire;

use queue::{Ask, Queue};
pub use wire::guess;
use wire::{
    CANCEL, GSS, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, MAX_STARTUP_BYTES, SSL, client_keep,
    first_word, hash, is_client_start, rows_of_tag, server_keep, sqlstate, until_zero,
};

use super::decoder::{Side, StreamDecoder, Verdict};
use super::event::{Events, Kind};
use super::field::{App, Field};
use super::kept::Inbox;
use super::sql::{Backslash, Dialect};
use super::statement::{Prepared, Statement};

/// Bytes skipped in search of a message after gaps; more end decoding.
const MAX_SEARCH_BYTES: u64 = 16 << 20;

/// Likewise before anything was recognised.
const MAX_UNKNOWN_BYTES: u64 = 64 << 10;

type Name = Option<Box<[u8]>>;

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Postgres {
    inboxes: [Inbox<5>; 2],
    queue: Queue,
    statements: Prepared,
    portals: Prepared,
    /// When the messages began that the next Execute belongs to.
    group_us: Option<u64>,
    rows: u64,
    user: Name,
    database: Name,
    /// What `standard_conforming_strings` is.
    escapes: Option<bool>,
    /// The server answers a request for encryption with one byte.
    one_byte: bool,
    /// The session has begun: no startup message any more.
    began: bool,
    copying_in: bool,
    reported: bool,
    lost: [bool; 2],
    /// The server was ready since the client was lost.
    ready_since: bool,
    /// Bytes of ReadyForQuery that were found.
    found: u8,
    searched_bytes: u64,
}

impl Postgres {
    /// At the beginning of a connection, or in the middle of one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn messages(
        &mut self,
        inbox: &mut Inbox<5>,
        from: Side,
        bytes: &mut &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        loop {
            if !inbox.is_open() {
                if from == Side::Server && self.one_byte {
                    match self.encryption_answer(bytes) {
                        Some(verdict) => return verdict,
                        None => continue,
                    }
                }
                let Some(head) = inbox.take_head(bytes, now_us) else { break };
                let Some((length, keep)) = self.limits(from, head) else {
                    return self.out_of_step(inbox, from);
                };
                inbox.open(length, keep, false);
            }
            let began_us = inbox.begun_us();
            let [kind, rest @ ..] = inbox.head();
            let Some(body) = inbox.take_body(bytes) else { break };
            let verdict = match from {
                Side::Client if kind == 0 => self.startup_message(rest[3], body, began_us, events),
                Side::Client => self.client_message(kind, body, began_us, events),
                Side::Server => self.server_message(kind, body, now_us, events),
            };
            if verdict != Verdict::More {
                return verdict;
            }
        }
        Verdict::More
    }

    /// `S` or `G` encrypts all that follows; after `N` the client begins again.
    fn encryption_answer(&mut self, bytes: &mut &[u8]) -> Option<Verdict> {
        let Some((&answer, rest)) = bytes.split_first() else { return Some(Verdict::More) };
        self.one_byte = false;
        match answer {
            b'S' | b'G' => Some(Verdict::Done),
            b'N' => {
                *bytes = rest;
                None
            }
            // An error message of a server that does not know the request.
            _ => None,
        }
    }

    /// Length of the body and how much of it is of interest; nothing if it is no message.
    fn limits(&self, from: Side, head: [u8; 5]) -> Option<(u64, usize)> {
        let [kind, a, b, c, d] = head;
        if from == Side::Client && kind == 0 {
            let length = u64::from(u32::from_be_bytes([kind, a, b, c]));
            let fits = !self.began && (8..=MAX_STARTUP_BYTES).contains(&length);
            return fits.then_some((length.saturating_sub(5), MAX_STARTUP_BYTES as usize));
        }
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        let body = length.checked_sub(4).filter(|_| length <= MAX_MESSAGE_BYTES)?;
        let keep = match from {
            Side::Client => client_keep(kind, body)?,
            Side::Server => server_keep(kind, body)?,
        };
        Some((body, keep))
    }

    fn out_of_step(&mut self, inbox: &mut Inbox<5>, from: Side) -> Verdict {
        if self.searched_bytes > 0 || from == Side::Server && !self.reported {
            // Picked up at the wrong place after a gap, or within a result when the connection was
            // first seen.
            self.searched_bytes += 1;
            *inbox = Inbox::default();
            self.lose(from);
            return Verdict::More;
        }
        if self.reported { Verdict::Done } else { Verdict::Wrong }
    }

    /// `first` is the first byte of the code, `body` goes on with the second.
    fn startup_message(
        &mut self,
        first: u8,
        body: &[u8],
        began_us: u64,
        events: &mut Events,
    ) -> Verdict {
        let Some((&[b, c, d], parameters)) = body.split_first_chunk::<3>() else {
            return Verdict::Wrong;
        };
        match u32::from_be_bytes([first, b, c, d]) {
            SSL | GSS => self.one_byte = true,
            CANCEL => {
                let mut draft = events.begin(App::Postgres, Kind::Request);
                draft.text(Field::PostgresOperation, b"CANCEL");
                return Verdict::Done;
            }
            code if code >> 16 == 3 => {
                self.began = true;
                let mut texts = parameters.split(|&byte| byte == 0);
                while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                    match name {
                        b"user" => self.user = kept_name(value),
                        b"database" => self.database = kept_name(value),
                        _ => {}
                    }
                }
                // Unless it says otherwise it is the database of the user's name.
                self.database = self.database.take().or_else(|| self.user.clone());
                self.ask(Ask::Startup, began_us, &Statement::of_kind("STARTUP"), events);
            }
            _ => return if self.reported { Verdict::Done } else { Verdict::Wrong },
        }
        Verdict::More
    }

    fn client_message(
        &mut self,
        kind: u8,
        body: &[u8],
        began_us: u64,
        events: &mut Events,
    ) -> Verdict {
        self.began = true;
        match kind {
            b'Q' => {
                self.group_us = None;
                let statement = self.statement(body, "QUERY");
                self.ask(Ask::Query, began_us, &statement, events);
            }
            b'F' => self.ask(Ask::Query, began_us, &Statement::of_kind("FUNCTION"), events),
            b'P' => {
                self.group_us.get_or_insert(began_us);
                let (name, query) = until_zero(body);
                let statement = self.statement(query, "EXECUTE");
                self.queue.push(Ask::Parse, began_us, &statement);
                self.statements.insert(hash(name), statement);
            }
            b'B' => {
                self.group_us.get_or_insert(began_us);
                let (portal, rest) = until_zero(body);
                let (name, _) = until_zero(rest);
                match self.statements.find(hash(name)) {
                    Some(statement) => self.portals.insert(hash(portal), statement.clone()),
                    None => self.portals.remove(hash(portal)),
                }
            }
            b'E' => {
                let start_us = self.group_us.take().unwrap_or(began_us);
                let (portal, _) = until_zero(body);
                let statement = match self.portals.find(hash(portal)) {
                    Some(statement) => statement.clone(),
                    None => Statement::of_kind("EXECUTE"),
                };
                self.ask(Ask::Execute, start_us, &statement, events);
            }
            b'C' => {
                let (name, _) = until_zero(body.get(1..).unwrap_or_default());
                match body.first() {
                    Some(b'S') => self.statements.remove(hash(name)),
                    _ => self.portals.remove(hash(name)),
                }
            }
            b'D' => {
                self.group_us.get_or_insert(began_us);
            }
            b'S' | b'H' => {
                self.group_us = None;
                if kind == b'S' && !self.copying_in {
                    self.queue.push(Ask::Sync, began_us, &Statement::of_kind(""));
                }
            }
            b'c' | b'f' => self.copying_in = false,
            _ => {}
        }
        Verdict::More
    }

    fn server_message(
        &mut self,
        kind: u8,
        body: &[u8],
        now_us: u64,
        events: &mut Events,
    ) -> Verdict {
        match kind {
            b'D' => self.rows += 1,
            b'1' => {
                self.queue.pop_if(Ask::Parse);
            }
            b'C' => {
                let tag = until_zero(body).0;
                self.answer(Some(tag), b"00000", rows_of_tag(tag), now_us, events);
            }
            b'I' | b'V' => self.answer(None, b"00000", None, now_us, events),
            b's' => self.answer(None, b"00000", Some(self.rows), now_us, events),
            b'E' => self.error(sqlstate(body), now_us, events),
            b'Z' => {
                if let Some(startup) = self.queue.pop_if(Ask::Startup) {
                    self.respond(&startup.statement, startup.start_us, now_us, events);
                } else {
                    self.queue.ready();
                }
                self.ready_since = true;
                self.copying_in = false;
            }
            b'G' => {
                self.copying_in = true;
                if self.queue.front().is_some_and(|front| front.ask == Ask::Execute) {
                    self.queue.drop_syncs_after_front();
                }
            }
            b'S' => {
                let (name, value) = until_zero(body);
                if name == b"standard_conforming_strings" {
                    self.escapes = Some(!value.starts_with(b"on"));
                }
            }
            _ => {}
        }
        Verdict::More
    }

    fn statement(&self, sql: &[u8], kind: &str) -> Statement {
        let backslash = match self.escapes {
            Some(true) => Backslash::Escapes,
            Some(false) => Backslash::Plain,
            None => Backslash::Unknown,
        };
        Statement::new(sql, Dialect::Postgres, backslash, kind)
    }

    /// Reports a request and waits for its answer.
    fn ask(&mut self, ask: Ask, start_us: u64, statement: &Statement, events: &mut Events) {
        let mut draft = events.begin(App::Postgres, Kind::Request);
        statement.describe(&mut draft, Field::PostgresOperation, Field::PostgresQuery);
        self.queue.push(ask, start_us, statement);
        self.reported = true;
    }

    /// A session that is ready.
    fn respond(&mut self, statement: &Statement, start_us: u64, now_us: u64, events: &mut Events) {
        let mut draft = events.begin(App::Postgres, Kind::Response);
        draft.latency_us(now_us.saturating_sub(start_us));
        statement.describe(&mut draft, Field::PostgresOperation, Field::PostgresQuery);
        draft.text(Field::PostgresStatus, b"00000");
    }

    /// The end of one statement.
    fn answer(
        &mut self,
        tag: Option<&[u8]>,
        status: &[u8],
        rows: Option<u64>,
        now_us: u64,
        events: &mut Events,
    ) {
        self.rows = 0;
        // Those were parsed in the part that a gap took.
        while self.queue.pop_if(Ask::Parse).is_some() {}
        let mut draft = events.begin(App::Postgres, Kind::Response);
        let (operation, query) = (Field::PostgresOperation, Field::PostgresQuery);
        let front = self.queue.front();
        if let Some(waiting) = &front
            && matches!(waiting.ask, Ask::Query | Ask::Execute)
        {
            draft.latency_us(now_us.saturating_sub(waiting.start_us));
        }
        match front {
            Some(waiting) if waiting.ask == Ask::Query && !waiting.is_told() => {
                let statement = &waiting.statement;
                waiting.at = statement.describe_part(&mut draft, operation, query, waiting.at);
            }
            Some(waiting) if waiting.ask == Ask::Execute => {
                waiting.statement.describe(&mut draft, operation, query);
                self.queue.pop();
            }
            _ => {
                let word = first_word(tag);
                if !word.is_empty() {
                    draft.text(operation, word.as_bytes());
                }
            }
        }
        draft.text(Field::PostgresStatus, status);
        if let Some(rows) = rows {
            draft.number(Field::PostgresRows, rows);
        }
        self.reported = true;
    }

    fn error(&mut self, sqlstate: &[u8], now_us: u64, events: &mut Events) {
        self.copying_in = false;
        if self.queue.front().is_some_and(|front| front.ask == Ask::Query) {
            return self.answer(None, sqlstate, None, now_us, events);
        }
        self.rows = 0;
        let startup = self.queue.pop_if(Ask::Startup);
        let failed = startup.or_else(|| self.queue.fail_group());
        let mut draft = events.begin(App::Postgres, Kind::Response);
        if let Some(failed) = failed {
            draft.latency_us(now_us.saturating_sub(failed.start_us));
            let statement = &failed.statement;
            statement.describe(&mut draft, Field::PostgresOperation, Field::PostgresQuery);
        }
        draft.text(Field::PostgresStatus, sqlstate);
        self.reported = true;
    }

    fn lose(&mut self, from: Side) {
        self.queue.clear();
        self.group_us = None;
        self.copying_in = false;
        self.one_byte = false;
        self.began = true;
        self.rows = 0;
        match from {
            Side::Client => (self.lost[0], self.ready_since) = (true, false),
            Side::Server => (self.lost[1], self.found) = (true, 0),
        }
    }

    /// Finds ReadyForQuery of a server that was lost; gives what follows it.
    fn find_ready<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];
        for (at, &byte) in bytes.iter().enumerate() {
            self.found = match READY.get(usize::from(self.found)) {
                Some(&wanted) if wanted == byte => self.found + 1,
                None if matches!(byte, b'I' | b'T' | b'E') => {
                    self.found = 0;
                    self.queue.clear();
                    self.lost[1] = false;
                    self.ready_since = true;
                    return bytes.get(at + 1..);
                }
                _ => u8::from(byte == b'Z'),
            };
        }
        None
    }

    /// Whether to search on.
    fn patience(&self) -> Verdict {
        match self.searched_bytes {
            MAX_SEARCH_BYTES.. => Verdict::Done,
            MAX_UNKNOWN_BYTES.. if !self.reported => Verdict::Wrong,
            _ => Verdict::More,
        }
    }

    /// What of the bytes can be decoded while a side is lost.
    fn search<'a>(&mut self, from: Side, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.searched_bytes += bytes.len() as u64;
        match from {
            Side::Server => self.find_ready(bytes),
            Side::Client if self.ready_since && is_client_start(bytes) => {
                self.lost[0] = false;
                Some(bytes)
            }
            Side::Client => None,
        }
    }
}

impl StreamDecoder for Postgres {
    fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
        let mut rest = bytes;
        loop {
            if self.lost[from.index()] {
                let Some(found) = self.search(from, rest) else { return self.patience() };
                rest = found;
            }
            let mut inbox = std::mem::take(&mut self.inboxes[from.index()]);
            let verdict = self.messages(&mut inbox, from, &mut rest, now_us, events);
            self.inboxes[from.index()] = inbox;
            // What the server sent behind a place that was no message can still be searched.
            let again = self.lost[1] && from == Side::Server && !rest.is_empty();
            if verdict != Verdict::More || !again {
                return verdict;
            }
        }
    }

    fn gap(&mut self, from: Side, lost_bytes: u64, _now_us: u64, _: &mut Events) -> Verdict {
        let inbox = &mut self.inboxes[from.index()];
        if self.lost[from.index()] || inbox.lose(lost_bytes) {
            return Verdict::More;
        }
        *inbox = Inbox::default();
        // One at least: whoever is out of step from now on may be picked up again.
        self.searched_bytes += lost_bytes.clamp(1, 1_500);
        self.lose(from);
        Verdict::More
    }

    fn end(&mut self, _: Side, _: u64, _: &mut Events) {}

    fn facts(&self, events: &mut Events) {
        if self.user.is_none() && self.database.is_none() {
            return;
        }
        let mut draft = events.begin(App::Postgres, Kind::Facts);
        if let Some(user) = &self.user {
            draft.text(Field::PostgresUser, user);
        }
        if let Some(database) = &self.database {
            draft.text(Field::PostgresDatabase, database);
        }
    }

    fn heap_bytes(&self) -> usize {
        let names = [&self.user, &self.database];
        let names = names.into_iter().flatten().map(|name| name.len()).sum::<usize>();
        let inboxes: usize = self.inboxes.iter().map(Inbox::heap_bytes).sum();
        names
            + inboxes
            + self.queue.heap_bytes()
            + self.statements.heap_bytes()
            + self.portals.heap_bytes()
    }
}

fn kept_name(name: &[u8]) -> Name {
    (!name.is_empty()).then(|| name.get(..MAX_NAME_BYTES).unwrap_or(name).into())
}
