//! What is on the screen: a snapshot, and how the user wants to see it. No terminal here.

use std::cmp::Ordering;

use super::snapshot::{Conversation, Snapshot};

/// Longest filter, characters.
const FILTER_CHARS: usize = 60;

/// The measure to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Bits per second.
    #[default]
    Bits,
    /// Packets per second.
    Packets,
    /// Retransmissions.
    Retransmissions,
    /// Round trip time.
    RoundTrip,
    /// Application by name, then bits per second.
    Application,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// End of the filter's input.
    Enter,
    /// Takes the filter back, closes the help.
    Escape,
    /// Takes the last character of the filter back.
    Backspace,
    /// One row up or down.
    Up,
    /// See [`Key::Up`].
    Down,
}

/// Everything the view needs.
#[derive(Debug, Default)]
pub struct Model {
    /// The latest state of the probe; `None` before the first.
    pub snapshot: Option<Snapshot>,
    /// Why there is no newer one.
    pub trouble: Option<String>,
    /// In force.
    pub sort: Sort,
    /// Rows without this text, in any case of letters, are not shown.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// New snapshots are not shown.
    pub paused: bool,
    /// The help is shown.
    pub help: bool,
    /// A replay that has come to its end.
    pub ended: bool,
    /// Whether colours may be used.
    pub colours: bool,
    /// Rows scrolled past.
    pub offset: usize,
}

impl Model {
    /// Takes a new state, or why there is none.
    pub fn update(&mut self, state: Result<Snapshot, String>) {
        match state {
            Ok(snapshot) => {
                self.trouble = None;
                if !self.paused || self.snapshot.is_none() {
                    self.snapshot = Some(snapshot);
                }
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// Does what a key asks for; false when it is the end.
    pub fn press(&mut self, key: Key) -> bool {
        if self.typing {
            self.edit(key);
            return true;
        }
        match key {
            Key::Char('q') => return false,
            Key::Char('b') => self.sort_by(Sort::Bits),
            Key::Char('p') => self.sort_by(Sort::Packets),
            Key::Char('r') => self.sort_by(Sort::Retransmissions),
            Key::Char('t') => self.sort_by(Sort::RoundTrip),
            Key::Char('a') => self.sort_by(Sort::Application),
            Key::Char('/') => (self.typing, self.help) = (true, false),
            Key::Char(' ') => self.paused = !self.paused,
            Key::Char('?' | 'h') => self.help = !self.help,
            Key::Char('k') | Key::Up => self.offset = self.offset.saturating_sub(1),
            Key::Char('j') | Key::Down => self.offset = self.offset.saturating_add(1),
            Key::Escape => {
                self.help = false;
                self.filter.clear();
            }
            _ => {}
        }
        self.offset = self.offset.min(self.rows().len().saturating_sub(1));
        true
    }

    /// The rows to show, in their order.
    pub fn rows(&self) -> Vec<&Conversation> {
        let all = self.snapshot.iter().flat_map(|snapshot| &snapshot.conversations);
        let wanted = self.filter.to_lowercase();
        let has = |row: &&Conversation| {
            wanted.is_empty()
                || row.title().to_lowercase().contains(&wanted)
                || row.application().to_lowercase().contains(&wanted)
        };
        let mut rows: Vec<&Conversation> = all.filter(has).collect();
        rows.sort_by(|a, b| self.order(a, b).then_with(|| a.names().cmp(&b.names())));
        rows
    }

    fn order(&self, a: &Conversation, b: &Conversation) -> Ordering {
        let bits = b.bits_per_s.total_cmp(&a.bits_per_s);
        match self.sort {
            Sort::Bits => bits,
            Sort::Packets => b.packets_per_s.total_cmp(&a.packets_per_s).then(bits),
            Sort::Retransmissions => b.retransmitted.cmp(&a.retransmitted).then(bits),
            Sort::RoundTrip => b.rtt_us.cmp(&a.rtt_us).then(bits),
            // Unknown ones last.
            Sort::Application => {
                let key = |row: &Conversation| (row.app.is_empty(), row.app.clone());
                key(a).cmp(&key(b)).then(bits)
            }
        }
    }

    fn sort_by(&mut self, sort: Sort) {
        (self.sort, self.offset) = (sort, 0);
    }

    fn edit(&mut self, key: Key) {
        match key {
            Key::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER_CHARS => {
                self.filter.push(c);
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            _ => {}
        }
        self.offset = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::snapshot;
    use super::*;

    fn model() -> Model {
        Model { snapshot: Some(snapshot()), ..Model::default() }
    }

    fn ports(model: &Model) -> Vec<u16> {
        model.rows().iter().map(|row| row.client_port).collect()
    }

    #[test]
    fn each_key_sorts_by_its_measure() {
        let mut model = model();
        assert_eq!(ports(&model), [40_001, 40_002, 40_003, 0]);
        for (key, expected) in [
            ('p', [40_002, 40_001, 0, 40_003]),
            ('r', [40_003, 40_001, 40_002, 0]),
            ('t', [40_003, 40_001, 40_002, 0]),
            ('a', [40_002, 40_003, 40_001, 0]),
            ('b', [40_001, 40_002, 40_003, 0]),
        ] {
            assert!(model.press(Key::Char(key)));
            assert_eq!(ports(&model), expected, "{key}");
        }
    }

    #[test]
    fn a_filter_is_typed_edited_and_taken_back() {
        let mut model = model();
        for key in "/DNq".chars().map(Key::Char) {
            assert!(model.press(key), "q is a letter here");
        }
        assert!(ports(&model).is_empty());
        model.press(Key::Backspace);
        model.press(Key::Char('s'));
        model.press(Key::Enter);
        assert_eq!(ports(&model), [40_002]);
        assert!(!model.typing);
        model.press(Key::Escape);
        assert_eq!(ports(&model).len(), 4);
        assert!(!model.press(Key::Char('q')));
    }

    #[test]
    fn a_pause_keeps_the_rows_and_an_error_is_shown_beside_them() {
        let mut model = model();
        model.press(Key::Char(' '));
        model.update(Ok(Snapshot::default()));
        assert_eq!(ports(&model).len(), 4);
        model.update(Err("refused".to_owned()));
        assert_eq!(model.trouble.as_deref(), Some("refused"));
        model.press(Key::Char(' '));
        model.update(Ok(Snapshot::default()));
        assert!(ports(&model).is_empty() && model.trouble.is_none());
    }

    #[test]
    fn scrolling_ends_at_both_ends() {
        let mut model = model();
        model.press(Key::Up);
        assert_eq!(model.offset, 0);
        for _ in 0..9 {
            model.press(Key::Down);
        }
        assert_eq!(model.offset, 3);
    }
}
