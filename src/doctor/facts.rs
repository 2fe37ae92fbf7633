//! The one door to /proc and /sys, with a root that tests replace.
//!
//! Answers are bounded: a file is read up to 8 MiB, a directory up to 65,536 names. Facts of a
//! process are read under `proc/thread-self`, because namespaces and privileges belong to threads.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// /proc/interrupts of a large machine has a few MiB.
const MAX_TEXT_BYTES: u64 = 8 << 20;
const MAX_NAMES: usize = 1 << 16;
/// The kernel's CPU limit on the largest configuration is 8192.
const MAX_CPU: u32 = 1 << 16;

/// Files of the kernel below a root directory.
#[derive(Clone, Debug)]
pub struct Facts {
    root: PathBuf,
}

impl Facts {
    /// This host.
    pub fn host() -> Self {
        Self::below("/")
    }

    /// Files below `root`, which stands for `/`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of a file, without white space at its ends. `path` is relative to the root.
    ///
    /// # Errors
    /// The file is not there or may not be read; anything but UTF-8 is replaced.
    pub fn text(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path))?.take(MAX_TEXT_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The whole number that a file holds.
    ///
    /// # Errors
    /// As [`Facts::text`]; also `InvalidData` when it holds something else.
    pub fn number(&self, path: &str) -> io::Result<i64> {
        self.text(path)?.parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// The directory is not there or may not be read.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path(path))?.take(MAX_NAMES);
        let mut names: Vec<String> =
            entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Last part of a symbolic link's target.
    ///
    /// # Errors
    /// There is no such link, or it may not be read.
    pub fn link(&self, path: &str) -> io::Result<String> {
        let target = fs::read_link(self.path(path))?;
        let last = target.file_name().unwrap_or(target.as_os_str());
        Ok(last.to_string_lossy().into_owned())
    }

    /// Whether there is anything at this path.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}

/// CPUs of a list such as `0-3,8` (cpuset(7), "List format"); `None` when it is no such list.
pub fn cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    let mut named = 0;
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        named += last.saturating_sub(first);
        if last > MAX_CPU || named > MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// A list such as `0-3,8` for these CPUs.
pub fn cpu_text(cpus: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let texts =
        runs.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    texts.collect::<Vec<_>>().join(",")
}

/// Number of bits set in a mask such as `ff,00000003` (cpuset(7), "Mask format").
pub fn cpus_in_mask(text: &str) -> Option<u32> {
    let words = text.trim().split(',').map(|word| u32::from_str_radix(word.trim(), 16));
    words.map(|word| word.ok().map(u32::count_ones)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_list_reads_as_it_is_written() {
        for text in ["0", "0-3,8", "1,3,5", "0-8191"] {
            assert_eq!(cpu_text(&cpu_list(text).unwrap()), text);
        }
        assert_eq!(cpu_list("0,1").unwrap(), cpu_list("0-1").unwrap());
        assert!(cpu_list("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_cpu_list_is_refused() {
        for text in ["a", "1-", "0-99999999", "-3"] {
            assert_eq!(cpu_list(text), None, "{text}");
        }
    }

    #[test]
    fn masks_are_counted_over_all_words() {
        assert_eq!(cpus_in_mask("00000000,00000003"), Some(2));
        assert_eq!(cpus_in_mask("ff,ffffffff"), Some(40));
        assert_eq!(cpus_in_mask("0"), Some(0));
        assert_eq!(cpus_in_mask("xyz"), None);
    }
}
