//! What both sides of a connection say: finds the decoder for it, and gives it to that one.
//!
//! A port that the user has named decides. Else the first side whose first bytes a protocol knows
//! for its own does; when none does, a well-known port is tried. A decoder that finds at once that
//! its protocol is another gives way to the next guess, one time; one that finds it later ends the
//! decoding.

use super::ports::{Classify, PortMatch};
use super::stream::Chunk;
use super::table::{Decoder, GUESSES, open_guesses};
use super::{App, Events, Guess, Side, StreamDecoder, Verdict};

/// First bytes of a side that guesses are made on. Who does not know by then, never will.
const MAX_GUESS_BYTES: usize = 128;
/// First bytes of a side that are kept for the decoder until there is one.
const MAX_SAVED_BYTES: usize = 512;
/// A side that says nothing known is heard for so many bytes while the other is silent.
const MAX_UNKNOWN_BYTES: u64 = 4096;

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// No decoder yet.
    Guessing(Option<Box<Opening>>),
    Decoding(Decoder),
    /// Nothing more is wanted, facts are there.
    Finished(Decoder),
    Over,
}

/// What was said before there was a decoder.
#[derive(Debug, Default)]
pub(super) struct Opening {
    sides: [Said; 2],
}

#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    /// When they came.
    at_us: u64,
    /// Bytes behind them that were not kept.
    lost: u64,
    /// Nothing known speaks so.
    is_unknown: bool,
}

/// The protocol of a connection, or the search for it.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) stage: Stage,
    pub(super) app: Option<App>,
    /// What the ports say.
    hint: Option<App>,
    /// The hint is not to be questioned.
    is_decided: bool,
    /// What the ports say is all there is.
    is_by_ports: bool,
    /// A decoder that found its protocol was another.
    excluded: Option<App>,
    /// The decoder has just ended because it would have had to keep too much.
    pub(super) is_over_bound: bool,
}

enum Decision {
    Take(App),
    Wait,
    Unknown,
}

impl Talk {
    /// `None` when nothing could come of it.
    pub(super) fn new(found: Option<PortMatch>, classify: Classify) -> Option<Self> {
        let found = found.filter(|found| GUESSES.iter().any(|(app, _)| *app == found.app));
        let is_by_ports = classify == Classify::Ports;
        if is_by_ports && found.is_none() {
            return None;
        }
        let hint = found.map(|found| found.app);
        let is_decided = is_by_ports || found.is_some_and(|found| found.is_configured);
        let stage = Stage::Guessing(None);
        Some(Self {
            stage,
            app: hint,
            hint,
            is_decided,
            is_by_ports,
            excluded: None,
            is_over_bound: false,
        })
    }

    /// A side has spoken before, in no way that is known.
    pub(super) fn note_unknown(&mut self, side: Side) {
        let mut opening = Box::<Opening>::default();
        if let Some(said) = opening.sides.get_mut(side.index()) {
            *said = Said { lost: 1, is_unknown: true, ..Said::default() };
        }
        self.stage = Stage::Guessing(Some(opening));
    }

    /// A new connection between the same ports.
    pub(super) fn restart(&mut self) {
        self.stage = Stage::Guessing(None);
        self.app = self.hint;
        self.excluded = None;
    }

    pub(super) fn take(&mut self, from: Side, chunk: Chunk<'_>, now_us: u64, events: &mut Events) {
        match &mut self.stage {
            Stage::Decoding(decoder) => {
                let verdict = feed(decoder, from, chunk, now_us, events);
                self.heed(verdict);
            }
            Stage::Guessing(_) => self.open(from, chunk, now_us, events),
            Stage::Finished(_) | Stage::Over => {}
        }
    }

    /// Nothing more comes from either side.
    pub(super) fn finish(&mut self) {
        match self.stage {
            Stage::Decoding(_) => self.heed(Verdict::Done),
            Stage::Guessing(_) => self.stage = Stage::Over,
            Stage::Finished(_) | Stage::Over => {}
        }
    }

    pub(super) fn facts(&self, events: &mut Events) {
        if let Stage::Decoding(decoder) | Stage::Finished(decoder) = &self.stage {
            decoder.facts(events);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.stage {
            Stage::Guessing(None) | Stage::Over => 0,
            Stage::Guessing(Some(opening)) => {
                let kept = opening.sides.iter().map(|said| said.bytes.capacity());
                size_of::<Opening>() + kept.sum::<usize>()
            }
            Stage::Decoding(decoder) | Stage::Finished(decoder) => decoder.heap_bytes(),
        }
    }

    fn heed(&mut self, verdict: Verdict) {
        match (verdict, std::mem::replace(&mut self.stage, Stage::Over)) {
            (Verdict::More, stage) => self.stage = stage,
            (verdict @ (Verdict::Done | Verdict::Over), Stage::Decoding(decoder)) => {
                self.is_over_bound = verdict == Verdict::Over;
                // One that has nothing to say to later records need not be kept.
                if decoder.has_facts() {
                    self.stage = Stage::Finished(decoder);
                }
            }
            _ => self.app = None,
        }
    }

    /// Looks for the decoder.
    fn open(&mut self, from: Side, chunk: Chunk<'_>, now_us: u64, events: &mut Events) {
        let Stage::Guessing(opening) = &mut self.stage else { return };
        let opening = opening.take();
        let said = opening.as_ref().and_then(|opening| opening.sides.get(from.index()));
        let joined;
        let bytes = match (chunk, said.filter(|said| !said.bytes.is_empty())) {
            (Chunk::Bytes(bytes), None) => bytes,
            (Chunk::Bytes(bytes), Some(said)) => {
                joined = [&said.bytes, bytes.get(..MAX_GUESS_BYTES).unwrap_or(bytes)].concat();
                &joined
            }
            _ => &[],
        };
        let is_unknown = said.is_some_and(|said| said.is_unknown);
        loop {
            let decision = match chunk {
                Chunk::Bytes(_) if is_unknown => Decision::Unknown,
                Chunk::Bytes(_) => self.decide(from, bytes),
                Chunk::End if said.is_none_or(|said| said.bytes.is_empty()) => Decision::Unknown,
                // What begins with a loss or ends too early can only be told by the port.
                Chunk::End | Chunk::Gap(_) => self.fallback(),
            };
            let Decision::Take(app) = decision else {
                self.wait(opening, from, chunk, now_us, matches!(decision, Decision::Unknown));
                return;
            };
            let Some(mut decoder) = Decoder::new(app) else { return self.heed(Verdict::Wrong) };
            let verdict = replay(&mut decoder, opening.as_deref(), from, events);
            let verdict = match verdict {
                Verdict::More => feed(&mut decoder, from, chunk, now_us, events),
                verdict => verdict,
            };
            self.stage = Stage::Decoding(decoder);
            self.app = Some(app);
            if verdict != Verdict::Wrong || self.excluded.is_some() || self.is_by_ports {
                self.heed(verdict);
                return;
            }
            self.excluded = Some(app);
            self.app = None;
        }
    }

    fn decide(&self, from: Side, bytes: &[u8]) -> Decision {
        if self.is_decided
            && let decision @ Decision::Take(_) = self.fallback()
        {
            return decision;
        }
        let window = bytes.get(..MAX_GUESS_BYTES).unwrap_or(bytes);
        let mut is_open = false;
        let open = window.first().map_or(0, |&first| open_guesses(first, from));
        let candidates = GUESSES.iter().zip(0..).filter(|(_, bit)| open & 1 << bit != 0);
        // The port's own protocol first: it is the most likely.
        let is_hint = |app: App| self.hint == Some(app);
        let hinted = candidates.clone().filter(|((app, _), _)| is_hint(*app));
        let others = candidates.filter(|((app, _), _)| !is_hint(*app));
        for (&(app, guess), _) in hinted.chain(others) {
            if self.excluded == Some(app) {
                continue;
            }
            match guess(window, from) {
                Guess::Yes => return Decision::Take(app),
                Guess::Maybe => is_open = true,
                Guess::No => {}
            }
        }
        if is_open && bytes.len() < MAX_GUESS_BYTES { Decision::Wait } else { self.fallback() }
    }

    /// What the port says, when content says nothing.
    fn fallback(&self) -> Decision {
        match self.hint.filter(|_| self.hint != self.excluded) {
            Some(app) => Decision::Take(app),
            None => Decision::Unknown,
        }
    }

    /// Keeps what was said for a decoder that may come.
    fn wait(
        &mut self,
        opening: Option<Box<Opening>>,
        from: Side,
        chunk: Chunk<'_>,
        now_us: u64,
        is_unknown: bool,
    ) {
        let mut opening = opening.unwrap_or_default();
        if let Some(said) = opening.sides.get_mut(from.index()) {
            said.add(chunk, now_us);
            said.is_unknown |= is_unknown;
        }
        let are_unknown = opening.sides.iter().all(|said| said.is_unknown);
        let is_long = opening.sides.iter().any(|said| said.lost > MAX_UNKNOWN_BYTES);
        if are_unknown || is_long {
            let is_silent = opening.sides.iter().all(|said| said.bytes.is_empty());
            self.app = self.app.filter(|_| is_silent);
            self.stage = Stage::Over;
        } else {
            self.stage = Stage::Guessing(Some(opening));
        }
    }
}

/// Whether no protocol begins with these bytes of a side.
pub(super) fn is_unknown(bytes: &[u8], from: Side) -> bool {
    let window = bytes.get(..MAX_GUESS_BYTES).unwrap_or(bytes);
    let Some(&first) = window.first() else { return false };
    let open = open_guesses(first, from);
    let mut candidates = GUESSES.iter().zip(0..).filter(|(_, bit)| open & 1 << bit != 0);
    candidates.all(|((_, guess), _)| guess(window, from) == Guess::No)
}

impl Said {
    fn add(&mut self, chunk: Chunk<'_>, now_us: u64) {
        let lost = match chunk {
            Chunk::Bytes(bytes) => {
                let room = if self.lost > 0 { 0 } else { MAX_SAVED_BYTES - self.bytes.len() };
                let kept = bytes.get(..room).unwrap_or(bytes);
                if self.bytes.is_empty() {
                    self.at_us = now_us;
                    self.bytes.reserve_exact(kept.len());
                }
                self.bytes.extend(kept);
                (bytes.len() - kept.len()) as u64
            }
            Chunk::Gap(lost) => lost,
            Chunk::End => 0,
        };
        self.lost = self.lost.saturating_add(lost);
    }
}

/// Gives a new decoder what was said before: all of the other side, then what `from` has said
/// before the chunk at hand.
fn replay(
    decoder: &mut Decoder,
    opening: Option<&Opening>,
    from: Side,
    events: &mut Events,
) -> Verdict {
    for side in [from.other(), from] {
        let Some(said) = opening.and_then(|opening| opening.sides.get(side.index())) else {
            continue;
        };
        for chunk in [Chunk::Bytes(&said.bytes), Chunk::Gap(said.lost)] {
            if matches!(chunk, Chunk::Bytes(&[]) | Chunk::Gap(0)) {
                continue;
            }
            let verdict = feed(decoder, side, chunk, said.at_us, events);
            if verdict != Verdict::More {
                return verdict;
            }
        }
    }
    Verdict::More
}

fn feed(
    decoder: &mut Decoder,
    from: Side,
    chunk: Chunk<'_>,
    now_us: u64,
    events: &mut Events,
) -> Verdict {
    match chunk {
        Chunk::Bytes(bytes) => decoder.data(from, bytes, now_us, events),
        Chunk::Gap(lost) => decoder.gap(from, lost, now_us, events),
        Chunk::End => {
            decoder.end(from, now_us, events);
            Verdict::More
        }
    }
}
