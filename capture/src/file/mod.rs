//! Capture files as a source of frames: pcap (both byte orders, µs and ns) and pcapng, plain or
//! compressed with gzip.
//!
//! Read with `read` into one buffer, not mapped: faster for large frames, and a file that shrinks
//! cannot kill the process. Memory is the buffer, at most [`MAX_BUFFER_BYTES`].

mod pcap;
mod pcapng;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

use crate::frame::Frame;

/// First size of the buffer; grows only for a record that does not fit.
const BUFFER_BYTES: usize = 128 << 10;
/// A record may not be larger. The largest frame seen on Linux is under 256 KiB (BIG TCP).
pub(crate) const MAX_BUFFER_BYTES: usize = 64 << 20;

/// Why a capture file could not be read (on).
#[derive(Debug, Error)]
pub enum FileError {
    /// Opening or reading failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Not a capture file.
    #[error("{path}: neither pcap nor pcapng (starts with {found:02x?})")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A structure of the file contradicts itself; nothing after it can be trusted.
    #[error("{path}: damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset in the (uncompressed) file.
        offset: u64,
        /// What was found, what was expected.
        what: String,
    },
}

/// What a parser made of the bytes at hand.
pub(crate) enum Step<'a> {
    /// A frame, and how many bytes it took.
    Frame(Frame<'a>, usize),
    /// Something without a frame.
    Skip(usize),
    /// At least so many bytes are needed.
    Need(usize),
    /// The file is damaged here.
    Damaged(String),
}

enum Format {
    Pcap(pcap::Pcap),
    Pcapng(pcapng::Pcapng),
}

impl Format {
    #[inline]
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        match self {
            Self::Pcap(pcap) => pcap.step(bytes),
            Self::Pcapng(pcapng) => pcapng.step(bytes),
        }
    }
}

/// An open capture file, read from its start to its end.
pub struct CaptureFile {
    path: PathBuf,
    source: Box<dyn Read + Send>,
    format: Format,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Uncompressed offset of `buffer[start]`.
    offset: u64,
    finished: bool,
    truncated: bool,
    raw_read: Arc<AtomicU64>,
    size: u64,
    failure: Option<String>,
    need: usize,
}

impl CaptureFile {
    /// Opens a file and reads its header. The path `-` is standard input.
    ///
    /// # Errors
    /// The file cannot be read, or is no capture file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        let (input, size): (Box<dyn Read + Send>, u64) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), 0)
        } else {
            let file = File::open(path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            (Box::new(file), size)
        };
        let raw_read = Arc::new(AtomicU64::new(0));
        let mut input = Counted { input, read: Arc::clone(&raw_read) };
        let mut magic = [0; 4];
        let got = read_full(&mut input, &mut magic).map_err(failed)?;
        let start = io::Cursor::new(magic[..got].to_vec()).chain(input);
        let mut source: Box<dyn Read + Send> = if magic[..2] == [0x1f, 0x8b] {
            Box::new(MultiGzDecoder::new(start))
        } else {
            Box::new(start)
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        let end = read_full(&mut source, &mut buffer[..pcap::HEADER_BYTES]).map_err(failed)?;
        let (format, start) = detect(&buffer[..end]).ok_or_else(|| FileError::UnknownFormat {
            path: path.to_owned(),
            found: buffer[..end.min(4)].to_vec(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            source,
            format,
            buffer,
            start,
            end,
            offset: start as u64,
            finished: false,
            truncated: false,
            raw_read,
            size,
            failure: None,
            need: 0,
        })
    }

    /// The next run of frames, or `None` at the end of the file.
    ///
    /// # Errors
    /// Reading failed, or the file is damaged; frames before the damage were delivered.
    pub fn next_block(&mut self) -> Result<Option<FileBlock<'_>>, FileError> {
        if let Some(what) = self.failure.take() {
            self.finished = true;
            let (path, offset) = (self.path.clone(), self.offset);
            return Err(FileError::Damaged { path, offset, what });
        }
        if self.finished || !self.fill()? {
            return Ok(None);
        }
        Ok(Some(FileBlock { file: self }))
    }

    /// True when the file ended inside a record, as a killed recorder leaves it.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes read from the file and its size on disk; size 0 when unknown. For progress.
    pub fn progress(&self) -> (u64, u64) {
        (self.raw_read.load(Ordering::Relaxed), self.size)
    }

    /// Moves what is left to the front and reads more; false at the end of the file.
    fn fill(&mut self) -> Result<bool, FileError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.need > self.buffer.len() {
            self.buffer.resize(self.need.next_power_of_two().min(MAX_BUFFER_BYTES), 0);
        }
        let result = read_full(&mut self.source, &mut self.buffer[self.end..]);
        let got = match result {
            Ok(got) => got,
            // A gzip stream that was cut ends like a plain file that was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(source) => return Err(FileError::Io { path: self.path.clone(), source }),
        };
        if got == 0 {
            self.finished = true;
            self.truncated = self.end > 0;
            return Ok(false);
        }
        self.end += got;
        Ok(true)
    }
}

/// The frames in the file's buffer; dropping it makes room for the next.
pub struct FileBlock<'a> {
    file: &'a mut CaptureFile,
}

impl FileBlock<'_> {
    /// Walks the block. Frames that were not taken are offered again by the next block.
    pub fn frames(&mut self) -> FileFrames<'_> {
        let CaptureFile { format, buffer, start, end, offset, failure, need, .. } = self.file;
        FileFrames { format, bytes: &buffer[*start..*end], start, offset, failure, need }
    }
}

/// Iterator over the frames in the file's buffer.
pub struct FileFrames<'a> {
    format: &'a mut Format,
    bytes: &'a [u8],
    start: &'a mut usize,
    offset: &'a mut u64,
    failure: &'a mut Option<String>,
    need: &'a mut usize,
}

impl<'a> Iterator for FileFrames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        loop {
            let (frame, used) = match self.format.step(self.bytes) {
                Step::Frame(frame, used) => (Some(frame), used),
                Step::Skip(used) => (None, used),
                Step::Need(bytes) if bytes > MAX_BUFFER_BYTES => {
                    *self.failure = Some(format!("a record of {bytes} bytes"));
                    return None;
                }
                Step::Need(bytes) => {
                    *self.need = bytes;
                    return None;
                }
                Step::Damaged(what) => {
                    *self.failure = Some(what);
                    return None;
                }
            };
            self.bytes = &self.bytes[used..];
            *self.start += used;
            *self.offset += used as u64;
            if frame.is_some() {
                return frame;
            }
        }
    }
}

/// Recognises a format by its first bytes; gives the bytes its file header took.
fn detect(header: &[u8]) -> Option<(Format, usize)> {
    if pcapng::Pcapng::starts(header) {
        return Some((Format::Pcapng(pcapng::Pcapng::default()), 0));
    }
    let pcap = pcap::Pcap::from_header(header)?;
    Some((Format::Pcap(pcap), pcap::HEADER_BYTES))
}

struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// Reads until the buffer is full or the input ends.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What came before the failure is delivered; the next read meets it again.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
