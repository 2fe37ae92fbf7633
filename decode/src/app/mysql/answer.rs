//! The server's answer to one command, packet by packet.

use super::wire;

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The verdict on a login; questions and answers come before it.
    Login,
    /// OK or EOF, or ERR.
    Ok,
    /// One packet of any kind.
    Text,
    /// OK, ERR, a request for a file, or the number of columns.
    Result,
    /// The same, behind a file of the client.
    File,
    /// OK with the statement's id and numbers, or ERR.
    Prepare,
    /// So many definitions, then as said by `then_rows`.
    Definitions {
        left: u64,
        then_rows: bool,
    },
    /// Perhaps the EOF between columns and rows.
    AfterDefinitions {
        then_rows: bool,
    },
    Rows,
}

/// An answer as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    state: State,
    new: bool,
    rows: u64,
    prepared: Option<u64>,
    /// Columns of a prepared statement, after its parameters.
    columns: u64,
}

/// What a packet did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer goes on.
    More,
    /// One result is complete. `rows` were sent or changed; `error` is 0 for success.
    End { rows: Option<u64>, error: u64, status: Option<u16> },
    /// This cannot follow.
    Wrong,
}

const END: Outcome = Outcome::End { rows: None, error: 0, status: None };

impl Answer {
    fn begin(state: State) -> Self {
        Self { state, new: true, rows: 0, prepared: None, columns: 0 }
    }

    pub(super) fn login() -> Self {
        Self::begin(State::Login)
    }

    pub(super) fn ok() -> Self {
        Self::begin(State::Ok)
    }

    pub(super) fn text() -> Self {
        Self::begin(State::Text)
    }

    pub(super) fn result() -> Self {
        Self::begin(State::Result)
    }

    /// Another result of the same command, whose packets are numbered on.
    pub(super) fn next_result() -> Self {
        Self { new: false, ..Self::result() }
    }

    /// The client has been asked for a file.
    pub(super) fn takes_file(&self) -> bool {
        self.state == State::File
    }

    pub(super) fn prepare() -> Self {
        Self::begin(State::Prepare)
    }

    pub(super) fn rows() -> Self {
        Self::begin(State::Rows)
    }

    /// No packet of it has come.
    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    /// The statement that was prepared.
    pub(super) fn prepared_id(&self) -> Option<u64> {
        self.prepared
    }

    /// All definitions of a prepared statement have come, and perhaps an EOF is due.
    pub(super) fn is_unsettled(&self) -> bool {
        self.state == State::AfterDefinitions { then_rows: false } && self.columns == 0
    }

    /// The next packet: its first bytes and its length.
    pub(super) fn packet(
        &mut self,
        body: &[u8],
        length: u64,
        capabilities: u64,
        deprecate_eof: &mut Option<bool>,
    ) -> Outcome {
        self.new = false;
        let first = body.first().copied();
        // A row can begin with 0xff in no form, a definition neither.
        if first == Some(0xff) && self.state != State::Text && length < 0xffff {
            return match wire::error_number(body) {
                // MariaDB tells its progress.
                0xffff => Outcome::More,
                error => Outcome::End { rows: None, error, status: None },
            };
        }
        match self.state {
            State::Text => END,
            State::Login => match first {
                Some(0) => done(body),
                Some(_) => Outcome::More,
                None => Outcome::Wrong,
            },
            State::Ok => match first {
                Some(0) => done(body),
                Some(0xfe) => END,
                _ => Outcome::Wrong,
            },
            State::Result | State::File => self.result_head(body, capabilities),
            State::Prepare => self.prepare_head(body, capabilities),
            State::Definitions { left, then_rows } => {
                self.state = match left {
                    0 | 1 => State::AfterDefinitions { then_rows },
                    left => State::Definitions { left: left - 1, then_rows },
                };
                self.after_last_definition(*deprecate_eof)
            }
            State::AfterDefinitions { then_rows } => {
                let is_eof = first == Some(0xfe) && length == 5;
                let deprecated = *deprecate_eof.get_or_insert(!is_eof);
                self.state = State::Rows;
                match (deprecated, then_rows) {
                    (true, true) => self.row(body, length, true),
                    (false, _) if !is_eof => Outcome::Wrong,
                    (false, true) => {
                        let status = wire::eof_status(body);
                        let cursor = status.is_some_and(|status| status & wire::CURSOR_EXISTS != 0);
                        if !cursor {
                            return Outcome::More;
                        }
                        Outcome::End { rows: Some(0), error: 0, status }
                    }
                    // Of a prepared statement: its columns may follow its parameters.
                    (_, false) => self.prepared_columns(),
                }
            }
            State::Rows => self.row(body, length, deprecate_eof.unwrap_or(length != 5)),
        }
    }

    fn result_head(&mut self, body: &[u8], capabilities: u64) -> Outcome {
        let optional = capabilities & wire::OPTIONAL_METADATA != 0;
        match body.split_first() {
            Some((0, _)) if !optional || body.len() > 3 => return done(body),
            // The client sends a file, then the result comes.
            Some((0xfb, _)) => {
                self.state = State::File;
                return Outcome::More;
            }
            Some(_) => {}
            None => return Outcome::Wrong,
        }
        let (follows, count) = match body {
            [follows, count @ ..] if optional && *follows <= 1 => (*follows == 1, count),
            _ => (true, body),
        };
        let Some((columns, rest)) = wire::number(count) else { return Outcome::Wrong };
        // MariaDB says so behind the number.
        let cached = capabilities & wire::CACHE_METADATA != 0 && rest.first() == Some(&0);
        if columns == 0 || columns > 4_096 {
            return Outcome::Wrong;
        }
        self.state = if follows && !cached {
            State::Definitions { left: columns, then_rows: true }
        } else {
            State::AfterDefinitions { then_rows: true }
        };
        Outcome::More
    }

    fn prepare_head(&mut self, body: &[u8], capabilities: u64) -> Outcome {
        let Some((&[0, a, b, c, d, e, f, g, h], rest)) = body.split_first_chunk() else {
            return Outcome::Wrong;
        };
        self.prepared = Some(u32::from_le_bytes([a, b, c, d]).into());
        let optional = capabilities & wire::OPTIONAL_METADATA != 0;
        let follows = !optional || rest.get(3) != Some(&0);
        self.columns = if follows { u16::from_le_bytes([e, f]).into() } else { 0 };
        match u64::from(u16::from_le_bytes([g, h])) {
            left if left > 0 && follows => {
                self.state = State::Definitions { left, then_rows: false };
                Outcome::More
            }
            _ => self.prepared_columns(),
        }
    }

    /// The columns of a prepared statement come next, or it is done.
    fn prepared_columns(&mut self) -> Outcome {
        let left = std::mem::take(&mut self.columns);
        if left == 0 {
            return END;
        }
        self.state = State::Definitions { left, then_rows: false };
        Outcome::More
    }

    /// Where definitions end without a packet that says so, what follows them is next.
    fn after_last_definition(&mut self, deprecate_eof: Option<bool>) -> Outcome {
        match self.state {
            State::AfterDefinitions { then_rows: false } if deprecate_eof == Some(true) => {
                self.prepared_columns()
            }
            _ => Outcome::More,
        }
    }

    fn row(&mut self, body: &[u8], length: u64, deprecated: bool) -> Outcome {
        let ends =
            body.first() == Some(&0xfe) && if deprecated { length < 0xff_ffff } else { length < 9 };
        if !ends {
            self.rows += 1;
            return Outcome::More;
        }
        let status = if length == 5 {
            wire::eof_status(body)
        } else {
            wire::ok(body).map(|(_, status)| status)
        };
        Outcome::End { rows: Some(self.rows), error: 0, status }
    }
}

/// An OK packet.
fn done(body: &[u8]) -> Outcome {
    match wire::ok(body) {
        Some((rows, status)) => Outcome::End { rows: Some(rows), error: 0, status: Some(status) },
        None => Outcome::Wrong,
    }
}
