//! The files of a spool: append-only segments in a directory that one process owns.
//!
//! Bounds: bytes on disk and number of entries. Beyond them the oldest segment goes, whole.

use std::collections::{HashMap, VecDeque};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tracing::{info, warn};

use super::format::{DONE, ENTRY_BYTES, Entry, MAGIC, MAX_BODY_BYTES, scan};

/// Entries that are remembered, some 100 MB of memory.
const MAX_ENTRIES: usize = 1 << 20;
/// A segment is closed when it has an eighth of the limit, though not more than this.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
const SEGMENTS: u64 = 8;
const LOCK: &str = "lock";
const SUFFIX: &str = ".seg";

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error("the spool {} is in use by another process{holder}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (number 1234)`, or nothing when it did not say.
        holder: String,
    },
    /// The directory or a file in it.
    #[error("cannot use the spool {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A batch that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    pub number: u64,
    pub records: u64,
    pub body: Vec<u8>,
}

/// A batch that went because there was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub number: u64,
    pub records: u64,
}

/// Batches on disk.
pub(super) struct Store {
    dir: PathBuf,
    limit_bytes: u64,
    segment_bytes: u64,
    /// By age; the last one may still grow.
    segments: VecDeque<Segment>,
    /// Where each waiting batch stands: number of the segment, index of its entry.
    places: HashMap<u64, (u64, usize)>,
    /// The segment that grows.
    open: Option<File>,
    next_segment: u64,
    bytes: u64,
    records: u64,
    unsynced: bool,
    unsynced_dir: bool,
    /// Header and body of one entry.
    scratch: Vec<u8>,
    _lock: Flock<File>,
}

struct Segment {
    number: u64,
    entries: Vec<Entry>,
    waiting: usize,
    bytes: u64,
}

impl Store {
    /// Opens or makes the directory, takes its lock, finds what waits in it and cuts what a crash
    /// has left half written.
    pub(super) fn open(dir: &Path, limit_bytes: u64) -> Result<Self, SpoolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let lock = lock(dir)?;
        let mut store = Self {
            dir: dir.to_owned(),
            limit_bytes,
            segment_bytes: (limit_bytes / SEGMENTS).clamp(1, MAX_SEGMENT_BYTES),
            segments: VecDeque::new(),
            places: HashMap::new(),
            open: None,
            next_segment: 1,
            bytes: 0,
            records: 0,
            unsynced: false,
            unsynced_dir: true,
            scratch: Vec::new(),
            _lock: lock,
        };
        for number in segment_numbers(dir).map_err(failed(dir))? {
            store.next_segment = number.saturating_add(1);
            let path = store.path(number);
            if let Err(error) = store.recover(number, &path) {
                warn!("spool file {} cannot be read and is left alone: {error}", path.display());
            }
        }
        Ok(store)
    }

    fn recover(&mut self, number: u64, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        let found = scan(&mut file)?;
        let cut = length.saturating_sub(found.whole_bytes);
        if cut > 0 {
            info!("spool file {}: cut {cut} bytes that were not whole", path.display());
            file.set_len(found.whole_bytes)?;
        }
        let mut segment =
            Segment { number, entries: found.entries, waiting: 0, bytes: found.whole_bytes };
        for (index, entry) in segment.entries.iter_mut().enumerate() {
            // The same number twice is not written by us; the first one counts.
            if !entry.done && self.places.contains_key(&entry.number) {
                entry.done = true;
            }
            if !entry.done {
                self.places.insert(entry.number, (number, index));
                segment.waiting += 1;
                self.records = self.records.saturating_add(entry.records);
            }
        }
        if segment.waiting == 0 {
            return std::fs::remove_file(path);
        }
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Appends a batch. Tells which ones had to go for it, also when it could not be written.
    pub(super) fn append(
        &mut self,
        number: u64,
        records: u64,
        made_ms: u64,
        body: &[u8],
    ) -> (Vec<Gone>, io::Result<()>) {
        let mut gone = Vec::new();
        let bytes = (ENTRY_BYTES + body.len() + MAGIC.len()) as u64;
        if bytes > self.limit_bytes || body.len() > MAX_BODY_BYTES as usize {
            let text = "the batch is larger than the spool may be";
            return (gone, Err(io::Error::new(ErrorKind::FileTooLarge, text)));
        }
        if self.places.contains_key(&number) {
            return (gone, Ok(()));
        }
        while self.bytes + bytes > self.limit_bytes || self.places.len() >= MAX_ENTRIES {
            if !self.drop_oldest(&mut gone) {
                break;
            }
        }
        let written = self.write(number, records, made_ms, body);
        if written.is_err() {
            // A segment whose end is not certain is not written to any more.
            self.open = None;
            let last = self.segments.len().wrapping_sub(1);
            if self.segments.get(last).is_some_and(|segment| segment.waiting == 0) {
                let _ = self.remove(last);
            }
        }
        (gone, written)
    }

    fn write(&mut self, number: u64, records: u64, made_ms: u64, body: &[u8]) -> io::Result<()> {
        let grown = self.segments.back().is_some_and(|last| last.bytes >= self.segment_bytes);
        let file = match self.open.take_if(|_| !grown) {
            Some(file) => file,
            None => self.new_segment()?,
        };
        let Some(segment) = self.segments.back_mut() else {
            return Err(ErrorKind::NotFound.into());
        };
        let entry = Entry::new(number, records, made_ms, body, segment.bytes);
        self.scratch.clear();
        self.scratch.extend_from_slice(&entry.encode());
        self.scratch.extend_from_slice(body);
        if let Err(error) = file.write_all_at(&self.scratch, entry.offset) {
            // Half an entry would be cut at the next start; give its room back now.
            let _ = file.set_len(entry.offset);
            return Err(error);
        }
        self.places.insert(number, (segment.number, segment.entries.len()));
        segment.bytes = entry.end();
        segment.entries.push(entry);
        segment.waiting += 1;
        self.bytes += self.scratch.len() as u64;
        self.records += records;
        self.unsynced = true;
        self.open = Some(file);
        Ok(())
    }

    fn new_segment(&mut self) -> io::Result<File> {
        // The one before is not touched by the next sync.
        self.sync_open()?;
        let number = self.next_segment;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let path = self.path(number);
        let mut file = options.open(&path)?;
        if let Err(error) = file.write_all(&MAGIC) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        self.next_segment += 1;
        self.unsynced_dir = true;
        let bytes = MAGIC.len() as u64;
        self.bytes += bytes;
        self.segments.push_back(Segment { number, entries: Vec::new(), waiting: 0, bytes });
        Ok(file)
    }

    /// The batch needs no sending any more. Unknown ones are ignored.
    pub(super) fn done(&mut self, number: u64) -> io::Result<()> {
        let Some((segment_number, index)) = self.places.remove(&number) else { return Ok(()) };
        let place = self.segments.iter().position(|segment| segment.number == segment_number);
        let Some(place) = place else { return Ok(()) };
        let path = self.path(segment_number);
        let Some(segment) = self.segments.get_mut(place) else { return Ok(()) };
        let Some(entry) = segment.entries.get_mut(index) else { return Ok(()) };
        entry.done = true;
        self.records = self.records.saturating_sub(entry.records);
        segment.waiting -= 1;
        let offset = entry.offset;
        if segment.waiting == 0 {
            return self.remove(place);
        }
        let is_open = place + 1 == self.segments.len();
        match &self.open {
            Some(file) if is_open => file.write_all_at(&[DONE], offset)?,
            _ => OpenOptions::new().write(true).open(path)?.write_all_at(&[DONE], offset)?,
        }
        self.unsynced |= is_open;
        Ok(())
    }

    /// The oldest batch that waits and is not in `except`, and batches that came back damaged.
    pub(super) fn oldest(&mut self, except: &[u64]) -> (Vec<Gone>, io::Result<Option<Loaded>>) {
        let mut damaged = Vec::new();
        loop {
            let Some((segment, entry)) = self.find_oldest(except) else {
                return (damaged, Ok(None));
            };
            let body = match self.read(segment, &entry) {
                Ok(body) => body,
                Err(error) => return (damaged, Err(error)),
            };
            if entry.matches(&body) {
                let Entry { number, records, .. } = entry;
                return (damaged, Ok(Some(Loaded { number, records, body })));
            }
            damaged.push(Gone { number: entry.number, records: entry.records });
            if let Err(error) = self.done(entry.number) {
                warn!("cannot mark a damaged batch of the spool: {error}");
            }
        }
    }

    /// The number of the segment with the oldest batch, and its entry.
    fn find_oldest(&self, except: &[u64]) -> Option<(u64, Entry)> {
        self.segments.iter().find_map(|segment| {
            let waiting = segment.entries.iter().filter(|entry| !entry.done);
            let oldest = waiting
                .filter(|entry| !except.contains(&entry.number))
                .min_by_key(|entry| entry.number)?;
            Some((segment.number, *oldest))
        })
    }

    fn read(&self, segment: u64, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let file = File::open(self.path(segment))?;
        // A file that has shrunk gives a body that does not match.
        body.resize(entry.body_bytes as usize, 0);
        let mut read = 0;
        while let Some(rest) = body.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, entry.offset + ENTRY_BYTES as u64 + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        body.truncate(read);
        Ok(body)
    }

    /// Drops the oldest segment; false when there is none.
    fn drop_oldest(&mut self, gone: &mut Vec<Gone>) -> bool {
        let Some(segment) = self.segments.front() else { return false };
        let waiting = segment.entries.iter().filter(|entry| !entry.done);
        let lost: Vec<Gone> =
            waiting.map(|entry| Gone { number: entry.number, records: entry.records }).collect();
        for batch in &lost {
            self.places.remove(&batch.number);
            self.records = self.records.saturating_sub(batch.records);
        }
        gone.extend(lost);
        if let Err(error) = self.remove(0) {
            warn!("cannot remove a file of the spool {}: {error}", self.dir.display());
        }
        true
    }

    fn remove(&mut self, place: usize) -> io::Result<()> {
        if place + 1 == self.segments.len() {
            self.open = None;
        }
        let Some(segment) = self.segments.remove(place) else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(segment.bytes);
        self.unsynced_dir = true;
        std::fs::remove_file(self.path(segment.number))
    }

    /// Makes what was written outlast a loss of power.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sync_open()?;
        if std::mem::take(&mut self.unsynced_dir) {
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    fn sync_open(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced)
            && let Some(file) = &self.open
        {
            file.sync_data()?;
        }
        Ok(())
    }

    pub(super) fn needs_sync(&self) -> bool {
        self.unsynced || self.unsynced_dir
    }

    /// Batches that wait.
    pub(super) fn batches(&self) -> u64 {
        self.places.len() as u64
    }

    /// Their records.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the youngest batch; 0 without any.
    pub(super) fn youngest(&self) -> u64 {
        self.places.keys().copied().max().unwrap_or(0)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}{SUFFIX}"))
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, SpoolError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let failed = |source| SpoolError::Io { path: path.clone(), source };
    let file = options.open(&path).map_err(failed)?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, nix::Error::EWOULDBLOCK)) => {
            let mut text = String::new();
            // Who holds it is a courtesy.
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut text);
            let number = text.trim().parse::<u32>();
            let holder = number.map(|number| format!(" (number {number})")).unwrap_or_default();
            return Err(SpoolError::InUse { path: dir.to_owned(), holder });
        }
        Err((_, error)) => return Err(failed(error.into())),
    };
    lock.set_len(0).map_err(failed)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
    Ok(lock)
}

/// Numbers of the segments in a directory, in order; other files are none of ours.
fn segment_numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for found in std::fs::read_dir(dir)? {
        let name = found?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
