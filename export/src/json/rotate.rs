//! A file of lines that is put aside when it has grown: `flows.json` becomes `flows.json.1`, what
//! was that `flows.json.2`, and so on; the oldest goes.
//!
//! Nothing but renames within one directory, which must be writable while running. When one fails,
//! lines go on into the file that is open, and it is tried again a while later.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// When a file is put aside, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file; the line that does not fit goes into the next one. A line that is longer,
    /// or that the system takes in parts, may make a file larger by itself.
    pub max_bytes: u64,
    /// Files beside the one that is written; with 0 what was put aside is lost.
    pub max_files: u32,
}

pub(super) struct RotatedFile {
    file: File,
    path: PathBuf,
    rotation: Rotation,
    bytes: u64,
    /// Bytes at which a rotation that failed is tried again.
    retry_at: u64,
    /// The last byte that was written did not end a line.
    within_line: bool,
}

impl RotatedFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let is_there = path.metadata().is_ok_and(|found| found.len() > 0);
        if is_there {
            put_aside(path, rotation.max_files)?;
        }
        let file = create(path)?;
        let rotation = Rotation { max_bytes: rotation.max_bytes.max(1), ..rotation };
        let path = path.to_owned();
        Ok(Self { file, path, rotation, bytes: 0, retry_at: 0, within_line: false })
    }

    fn rotate(&mut self) {
        let rotated =
            put_aside(&self.path, self.rotation.max_files).and_then(|()| create(&self.path));
        match rotated {
            Ok(file) => {
                if self.retry_at > 0 {
                    info!("{} is rotated again", self.path.display());
                }
                (self.file, self.bytes, self.retry_at) = (file, 0, 0);
            }
            Err(error) => {
                if self.retry_at == 0 {
                    warn!("cannot rotate {}, it grows on: {error}", self.path.display());
                }
                self.retry_at = self.bytes + self.rotation.max_bytes;
            }
        }
    }

    /// How many bytes of `lines` still belong into this file: whole lines as long as they fit, or
    /// the first one when the file is empty.
    fn fitting(&self, lines: &[u8]) -> usize {
        let limit = self.rotation.max_bytes.max(self.retry_at);
        let room = usize::try_from(limit.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let ends_at = |place: usize| place + 1;
        if lines.len() <= room {
            return lines.len();
        }
        let last_fitting = lines.get(..room).and_then(|fit| fit.iter().rposition(|b| *b == b'\n'));
        match last_fitting {
            Some(place) => ends_at(place),
            None if self.bytes == 0 || self.within_line => {
                lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), ends_at)
            }
            None => 0,
        }
    }
}

impl Write for RotatedFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut fitting = self.fitting(lines);
        if fitting == 0 && !lines.is_empty() {
            self.rotate();
            fitting = self.fitting(lines);
        }
        let part = lines.get(..fitting).unwrap_or(lines);
        let written = self.file.write(part)?;
        self.bytes += written as u64;
        if let Some(last) = part.get(..written).and_then(<[u8]>::last) {
            self.within_line = *last != b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

/// Moves every file one number up, the oldest first, so that a failure loses none.
fn put_aside(path: &Path, max_files: u32) -> io::Result<()> {
    if max_files == 0 {
        return Ok(());
    }
    // Only as far as there are files: a gap ends the series.
    let mut count = 0;
    while count < max_files && numbered(path, count + 1).exists() {
        count += 1;
    }
    for number in (0..=count.min(max_files - 1)).rev() {
        match std::fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// 0 is the file itself.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(max_bytes: u64, max_files: u32) -> Rotation {
        Rotation { max_bytes, max_files }
    }

    fn contents(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn found(dir: &Path) -> Vec<String> {
        contents(dir).into_iter().map(|(name, text)| format!("{name}: {text:?}")).collect()
    }

    #[test]
    fn files_are_cut_between_lines_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = RotatedFile::open(&path, rotation(8, 2)).unwrap();
        file.write_all(b"one\ntwo\nthree\nfour\nfive\n").unwrap();
        assert_eq!(found(dir.path()), [r#"f: "five\n""#, r#"f.1: "four\n""#, r#"f.2: "three\n""#]);
    }

    #[test]
    fn what_was_there_at_the_start_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = RotatedFile::open(&path, rotation(100, 3)).unwrap();
        file.write_all(b"new\n").unwrap();
        assert_eq!(found(dir.path()), [r#"f: "new\n""#, r#"f.1: "old\n""#]);
    }

    #[test]
    fn a_line_that_comes_in_two_writes_stays_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = RotatedFile::open(&path, rotation(8, 2)).unwrap();
        for part in ["a line ", "of four", " parts", "\n", "next\n"] {
            file.write_all(part.as_bytes()).unwrap();
        }
        let expected = [r#"f: "next\n""#, r#"f.1: "a line of four parts\n""#];
        assert_eq!(found(dir.path()), expected);
    }

    #[test]
    fn when_a_file_cannot_be_put_aside_lines_go_on_into_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = RotatedFile::open(&path, rotation(8, 1)).unwrap();
        // A directory in the place of the file that would be replaced.
        std::fs::create_dir_all(dir.path().join("f.1/x")).unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        std::fs::remove_dir_all(dir.path().join("f.1")).unwrap();
        file.write_all(b"four\n").unwrap();
        let all: String = contents(dir.path()).into_iter().rev().map(|(_, text)| text).collect();
        assert_eq!(all, "one\ntwo\nthree\nfour\n");
        assert_eq!(contents(dir.path()).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_lost_or_cut(
            lines in proptest::collection::vec("[a-z]{0,12}", 1..40),
            cuts in proptest::collection::vec(1_usize..20, 1..20),
            max_bytes in 1_u64..40,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let mut file = RotatedFile::open(&path, rotation(max_bytes, 1000)).unwrap();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (part, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                file.write_all(part).unwrap();
                rest = later;
            }
            let mut all = String::new();
            for number in (0..100).rev() {
                let Ok(part) = std::fs::read_to_string(numbered(&path, number)) else { continue };
                proptest::prop_assert!(part.ends_with('\n') || part.is_empty());
                let last = part.lines().last().map_or(0, |line| line.len() + 1);
                proptest::prop_assert!((part.len() - last) as u64 <= max_bytes);
                all.push_str(&part);
            }
            proptest::prop_assert_eq!(all, text);
        }
    }
}
