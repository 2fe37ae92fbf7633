//! Statements as they are remembered: first word and text without literals, shared by those who
//! prepared, bound and ask for it. Everything here has a bound in number and in bytes.

use std::sync::Arc;

use super::event::Draft;
use super::field::Field;
use super::sql::{Backslash, Dialect, Keyword, Stripped, first_statement, keyword};

/// Prepared statements remembered at most.
const MAX_PREPARED: usize = 64;
/// Their text at most, bytes.
const MAX_PREPARED_BYTES: usize = 24 << 10;

/// A statement without its literals.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub operation: Keyword,
    pub text: Arc<[u8]>,
    /// It may be several statements.
    several: bool,
}

impl Statement {
    /// From the statement as sent; `kind` stands for a first word where there is none.
    pub(super) fn new(sql: &[u8], dialect: Dialect, backslash: Backslash, kind: &str) -> Self {
        let stripped = Stripped::new(sql, dialect, backslash);
        let first = keyword(stripped.as_bytes());
        let operation = if first.is_empty() { Keyword::upper(kind.as_bytes()) } else { first };
        let several = stripped.has_semicolon();
        Self { operation, text: Arc::from(stripped.as_bytes()), several }
    }

    /// Known to be a single statement, whatever semicolons are in it.
    pub(super) fn single(self) -> Self {
        Self { several: false, ..self }
    }

    /// A message that carries no text.
    pub(super) fn of_kind(kind: &str) -> Self {
        Self { operation: Keyword::upper(kind.as_bytes()), text: Arc::default(), several: false }
    }

    /// The same without the text.
    pub(super) fn without_text(&self) -> Self {
        Self { operation: self.operation, text: Arc::default(), several: false }
    }

    /// Adds first word and text.
    pub(super) fn describe(&self, draft: &mut Draft<'_>, operation: Field, query: Field) {
        describe(draft, (operation, self.operation.as_bytes()), (query, &self.text));
    }

    /// Adds first word and text of the first statement from `at` on; gives where the next begins.
    /// Text that was cut off leaves nothing to tell.
    pub(super) fn describe_part(
        &self,
        draft: &mut Draft<'_>,
        operation: Field,
        query: Field,
        at: u16,
    ) -> u16 {
        // Texts are at most 1 KiB.
        let end = self.text.len() as u16;
        if at == 0 && !self.several {
            self.describe(draft, operation, query);
            return end;
        }
        let (first, rest) = first_statement(self.text.get(usize::from(at)..).unwrap_or_default());
        if at == 0 && rest.is_empty() {
            self.describe(draft, operation, query);
        } else {
            describe(draft, (operation, keyword(first).as_bytes()), (query, first));
        }
        end - rest.len() as u16
    }
}

fn describe(draft: &mut Draft<'_>, operation: (Field, &[u8]), query: (Field, &[u8])) {
    for (field, text) in [operation, query] {
        if !text.is_empty() {
            draft.text(field, text);
        }
    }
}

/// Statements by number or hash of their name; the oldest gives way when there are more than 64
/// or their texts take more than 24 KiB.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Oldest first.
    entries: Vec<(u64, Statement)>,
    text_bytes: usize,
}

impl Prepared {
    pub(super) fn insert(&mut self, key: u64, statement: Statement) {
        self.remove(key);
        while self.entries.len() >= MAX_PREPARED
            || self.text_bytes + statement.text.len() > MAX_PREPARED_BYTES
        {
            let Some((oldest, _)) = self.entries.first() else { break };
            self.remove(*oldest);
        }
        self.text_bytes += statement.text.len();
        self.entries.push((key, statement));
    }

    pub(super) fn find(&self, key: u64) -> Option<&Statement> {
        // The newest are asked for most.
        self.entries.iter().rev().find(|(known, _)| *known == key).map(|(_, found)| found)
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(at) = self.entries.iter().position(|(known, _)| *known == key) {
            let (_, statement) = self.entries.remove(at);
            self.text_bytes -= statement.text.len();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(u64, Statement)>() + self.text_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_statements_gives_way() {
        let mut prepared = Prepared::default();
        for key in 0..1_000 {
            let text = format!("SELECT column{} FROM t", "x".repeat(key as usize));
            prepared.insert(
                key,
                Statement::new(text.as_bytes(), Dialect::Postgres, Backslash::Plain, ""),
            );
            assert!(prepared.entries.len() <= 64 && prepared.heap_bytes() < 32 << 10);
        }
        assert!(prepared.find(999).is_some() && prepared.find(0).is_none());
        prepared.insert(7, Statement::of_kind("A"));
        prepared.insert(7, Statement::of_kind("B"));
        assert_eq!(prepared.find(7).unwrap().operation.as_bytes(), b"B");
        prepared.remove(7);
        assert!(prepared.find(7).is_none());
    }
}
