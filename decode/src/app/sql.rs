//! SQL statements without their literals.
//!
//! One pass over the statement, written straight into a text of at most [`MAX_TEXT_BYTES`]:
//! strings, dollar quotes and numbers become `?`, comments vanish, white space becomes one space,
//! and the literals of an `IN` list become one. A statement may be cut anywhere; of a literal that
//! is cut nothing is written.
//!
//! Where a string ends can depend on settings that the statement does not tell: whether a
//! backslash escapes a quote, and whether a byte above 127 before it makes it half a character.
//! When the readings differ, the text ends there: better short than with half a literal.

use super::event::MAX_TEXT_BYTES;
use super::kept::Word;

/// First word of a statement.
pub(super) type Keyword = Word<23>;

/// What differs between the dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `"x"` is a name, comments nest, `E''` strings have escapes.
    Postgres,
    /// `"x"` is a string, names are in backquotes, `#` begins a comment, `/*! … */` is code.
    Mysql,
}

/// What a backslash does in a plain string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backslash {
    /// It escapes the next character (MySQL by default).
    Escapes,
    /// Nothing (PostgreSQL by default).
    Plain,
    /// It depends on a setting that was not seen.
    Unknown,
}

/// A statement without literals.
#[derive(Clone, Debug)]
pub struct Stripped {
    bytes: [u8; MAX_TEXT_BYTES],
    len: usize,
    semicolon: bool,
}

impl Stripped {
    /// The statement, its literals replaced.
    #[must_use]
    pub fn new(statement: &[u8], dialect: Dialect, backslash: Backslash) -> Self {
        let mut scan = Scan {
            rest: statement,
            dialect,
            backslash,
            out: Self { bytes: [0; MAX_TEXT_BYTES], len: 0, semicolon: false },
            space: false,
            list: List::None,
            escaped_before: false,
            in_code_comment: false,
        };
        while scan.token() {}
        scan.out.cut_at_character();
        scan.out
    }

    /// The text; bytes that are no UTF-8 stay as they are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Whether it has more than one statement, or a semicolon in a name.
    #[must_use]
    pub fn has_semicolon(&self) -> bool {
        self.semicolon
    }

    /// Adds what fits; false when it is full.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..fits), bytes.get(..fits)) {
            room.copy_from_slice(bytes);
        }
        self.len += fits;
        fits == bytes.len()
    }

    /// Takes back the beginning of a character whose rest did not fit.
    fn cut_at_character(&mut self) {
        if self.len < MAX_TEXT_BYTES {
            return;
        }
        if let Err(error) = std::str::from_utf8(self.as_bytes())
            && error.error_len().is_none()
        {
            self.len = error.valid_up_to();
        }
    }
}

/// The first word of a statement without literals, in upper case; empty if it begins otherwise.
pub(super) fn keyword(stripped: &[u8]) -> Keyword {
    let start = stripped.iter().position(|byte| !matches!(byte, b'(' | b' ' | b';'));
    let text = stripped.get(start.unwrap_or(0)..).unwrap_or_default();
    let len = text.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'_'));
    let word = text.get(..len.unwrap_or(text.len())).unwrap_or_default();
    if word.first().is_some_and(u8::is_ascii_alphabetic) { Word::upper(word) } else { Word::EMPTY }
}

/// Splits the first statement from those after it, at a semicolon outside quotes and parentheses.
/// Takes the text without literals.
pub(super) fn first_statement(stripped: &[u8]) -> (&[u8], &[u8]) {
    let (mut quote, mut depth) = (None, 0_u32);
    for (at, &byte) in stripped.iter().enumerate() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, b';') if depth == 0 => {
                let (first, rest) = stripped.split_at_checked(at).unwrap_or((stripped, &[]));
                return (first.trim_ascii(), rest.get(1..).unwrap_or_default().trim_ascii());
            }
            (None, _) => {}
        }
    }
    (stripped.trim_ascii(), &[])
}

/// Where in the list of an `IN` the scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    None,
    /// `IN` was written.
    In,
    /// Its parenthesis is open.
    Open,
    /// A literal was written.
    Literal,
    /// A comma after a literal is held back.
    Comma,
}

struct Scan<'a> {
    rest: &'a [u8],
    dialect: Dialect,
    backslash: Backslash,
    out: Stripped,
    /// White space or a comment came before.
    space: bool,
    list: List,
    /// The token before was a string with escapes, which another string may continue.
    escaped_before: bool,
    /// Within `/*! … */`.
    in_code_comment: bool,
}

impl Scan<'_> {
    /// The next token; false at the end, when the text is full, or when it must end.
    fn token(&mut self) -> bool {
        let Some(&first) = self.rest.first() else { return false };
        let second = self.rest.get(1).copied().unwrap_or(0);
        let mysql = self.dialect == Dialect::Mysql;
        match first {
            b'a'..=b'z' | b'A'..=b'Z' => self.word(),
            0 => false,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.blank(1),
            b'-' if second == b'-' && (!mysql || self.dashes_are_comment()) => self.line_comment(),
            b'#' if mysql => self.line_comment(),
            b'/' if second == b'*' => self.comment(),
            b'*' if second == b'/' && self.in_code_comment => {
                self.in_code_comment = false;
                self.blank(2)
            }
            b'\'' => self.string(1, b'\'', self.plain_or_continued()),
            // Or a name, where ANSI_QUOTES is set: a backslash then escapes nothing.
            b'"' if mysql && self.backslash == Backslash::Escapes => {
                self.string(1, b'"', Backslash::Unknown)
            }
            b'"' if mysql => self.string(1, b'"', self.backslash),
            b'`' if mysql => self.name(b'`'),
            b'"' => self.name(b'"'),
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if second.is_ascii_digit() && !self.follows_name() => self.number(),
            b'?' if mysql => {
                self.skip(1);
                self.literal()
            }
            _ if is_word(first) => self.word(),
            _ => self.symbol(first),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn blank(&mut self, bytes: usize) -> bool {
        self.skip(bytes);
        self.space = true;
        true
    }

    fn plain_or_continued(&self) -> Backslash {
        match self.backslash {
            // On a line of its own the string goes on with escapes.
            Backslash::Plain if self.escaped_before => Backslash::Unknown,
            own => own,
        }
    }

    /// In MySQL two dashes need white space behind them, or the end.
    fn dashes_are_comment(&self) -> bool {
        self.rest.get(2).is_none_or(|&byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
    }

    /// The text ends in what can stand before a point of a qualified name.
    fn follows_name(&self) -> bool {
        let last = self.out.as_bytes().last().copied().unwrap_or(0);
        !self.space && (is_word(last) || matches!(last, b'"' | b'`' | b')' | b']'))
    }

    fn line_comment(&mut self) -> bool {
        let carriage_return_ends = self.dialect == Dialect::Postgres;
        let ends = |&byte: &u8| byte == b'\n' || carriage_return_ends && byte == b'\r';
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        self.blank(end)
    }

    fn comment(&mut self) -> bool {
        if self.dialect == Dialect::Mysql {
            let code = self.rest.get(2..).unwrap_or_default();
            let code = code.strip_prefix(b"M").unwrap_or(code);
            if let Some(code) = code.strip_prefix(b"!") {
                let version = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
                self.in_code_comment = true;
                return self.blank(self.rest.len() - code.len() + version);
            }
        }
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(pair) = self.rest.get(at..at + 2) {
            match pair {
                b"/*" if depth == 0 || self.dialect == Dialect::Postgres => {
                    depth += 1;
                    at += 2;
                }
                b"*/" => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return self.blank(at);
                    }
                }
                _ => at += 1,
            }
        }
        false
    }

    /// A string whose content begins after `opening` bytes.
    fn string(&mut self, opening: usize, quote: u8, backslash: Backslash) -> bool {
        let (end, clear) =
            string_end(self.rest.get(opening..).unwrap_or_default(), quote, backslash);
        self.skip(opening + end);
        let went_on = self.literal();
        self.escaped_before = backslash != Backslash::Plain;
        went_on && clear
    }

    /// `$1`, `$tag$ … $tag$`, or a name that begins with it.
    fn dollar(&mut self) -> bool {
        let after = self.rest.get(1..).unwrap_or_default();
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            return self.write(1 + digits);
        }
        let tag = 1 + after.iter().take_while(|&&byte| is_word(byte)).count();
        if self.rest.get(tag) != Some(&b'$') {
            // Cut in the middle of the tag, or no tag at all.
            self.skip(tag);
            return self.literal();
        }
        let (tag, body) = self.rest.split_at_checked(tag + 1).unwrap_or_default();
        let end = memchr::memmem::find(body, tag);
        let Some(end) = end else {
            self.rest = &[];
            return self.literal();
        };
        self.skip(2 * tag.len() + end);
        self.literal()
    }

    /// Integers, decimals, exponents, `0x…`, and whatever letters follow.
    fn number(&mut self) -> bool {
        let mut at = 0;
        while let Some(&byte) = self.rest.get(at) {
            let sign = matches!(byte, b'+' | b'-')
                && matches!(self.rest.get(at.wrapping_sub(1)), Some(b'e' | b'E'))
                && !matches!(self.rest.get(1), Some(b'x' | b'X'));
            if !(is_word(byte) || byte == b'.' || sign) {
                break;
            }
            at += 1;
        }
        self.skip(at);
        self.literal()
    }

    fn word(&mut self) -> bool {
        let end = self.rest.iter().position(|&byte| KIND[usize::from(byte)] == Kind::Other);
        let len = end.unwrap_or(self.rest.len());
        let word = self.rest.get(..len).unwrap_or_default();
        if self.rest.get(len) == Some(&b'\'') && len == 1 {
            match word.first().map(u8::to_ascii_uppercase) {
                Some(b'E') if self.dialect == Dialect::Postgres => {
                    return self.string(2, b'\'', Backslash::Escapes);
                }
                Some(b'B' | b'X') => return self.string(2, b'\'', Backslash::Plain),
                Some(b'N') => return self.string(2, b'\'', self.backslash),
                _ => {}
            }
        }
        if word.eq_ignore_ascii_case(b"u") && self.rest.get(1..3) == Some(b"&'") {
            return self.string(3, b'\'', Backslash::Plain);
        }
        let is_in = word.eq_ignore_ascii_case(b"in");
        let went_on = self.write(len);
        if is_in {
            self.list = List::In;
        }
        went_on
    }

    /// A name in quotes: kept as it is.
    fn name(&mut self, quote: u8) -> bool {
        let body = self.rest.get(1..).unwrap_or_default();
        let end = memchr::memchr(quote, body);
        self.out.semicolon |= memchr::memchr(b';', body).is_some();
        self.write(end.map_or(self.rest.len(), |end| end + 2))
    }

    fn symbol(&mut self, symbol: u8) -> bool {
        self.out.semicolon |= symbol == b';';
        let next = match (symbol, self.list) {
            (b'(', List::In) => List::Open,
            (b',', List::Literal) => {
                self.skip(1);
                self.list = List::Comma;
                return true;
            }
            _ => List::None,
        };
        let went_on = self.write(1);
        self.list = next;
        went_on
    }

    /// Writes one literal.
    fn literal(&mut self) -> bool {
        self.escaped_before = false;
        match self.list {
            List::Literal | List::Comma => {
                self.list = List::Literal;
                self.space = false;
                true
            }
            list => {
                let went_on = self.separated(b"?");
                self.list = if list == List::Open { List::Literal } else { List::None };
                went_on
            }
        }
    }

    /// Writes the next bytes as they are.
    fn write(&mut self, bytes: usize) -> bool {
        self.escaped_before = false;
        let (token, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, &[]));
        self.rest = rest;
        if std::mem::replace(&mut self.list, List::None) == List::Comma && !self.out.push(b", ") {
            return false;
        }
        self.separated(token)
    }

    fn separated(&mut self, token: &[u8]) -> bool {
        let space = std::mem::take(&mut self.space);
        let ends_blank = matches!(self.out.as_bytes().last(), None | Some(b' '));
        if space && !ends_blank && !self.out.push(b" ") {
            return false;
        }
        self.out.push(token)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    /// In a name, but not first.
    Dollar,
    /// Letters, digits, `_`, and all of a character beyond ASCII.
    Word,
}

/// Kinds of bytes by their value.
const KIND: [Kind; 256] = {
    let mut kind = [Kind::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte >= 0x80 || byte == b'_' as usize || (byte as u8).is_ascii_alphanumeric() {
            kind[byte] = Kind::Word;
        }
        byte += 1;
    }
    kind[b'$' as usize] = Kind::Dollar;
    kind
};

fn is_word(byte: u8) -> bool {
    KIND[usize::from(byte)] == Kind::Word
}

/// Length of a string's content with its closing quote, and whether that is beyond doubt.
fn string_end(content: &[u8], quote: u8, backslash: Backslash) -> (usize, bool) {
    let mut at = 0;
    loop {
        let rest = content.get(at..).unwrap_or_default();
        let Some(next) = memchr::memchr2(quote, b'\\', rest) else { return (content.len(), true) };
        at += next;
        let byte = rest.get(next).copied().unwrap_or(quote);
        if byte == quote {
            if content.get(at + 1) != Some(&quote) {
                return (at + 1, true);
            }
            at += 2;
        } else if byte == b'\\' && backslash != Backslash::Plain {
            let run = content.get(at..).unwrap_or_default();
            let run = run.iter().take_while(|&&byte| byte == b'\\').count();
            let quoted = content.get(at + run) == Some(&quote);
            let half = content.get(at.wrapping_sub(1)).is_some_and(|&byte| byte >= 0x80);
            if quoted && (half || backslash == Backslash::Unknown && run % 2 == 1) {
                return (content.len(), false);
            }
            at += run + usize::from(run % 2 == 1);
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
#[path = "sql_tests.rs"]
mod tests;
