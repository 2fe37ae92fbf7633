//! Hosts for tests: a few files in a directory that stands for `/`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::facts::Facts;

/// A made-up host; its files vanish with it.
pub struct Host {
    /// The door to its files.
    pub facts: Facts,
    folder: TempDir,
}

/// A host with these files.
pub fn host(files: &[(&str, &str)]) -> Host {
    let folder = TempDir::new().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Host { facts: Facts::below(folder.path()), folder }
}

impl Host {
    /// Where its files lie.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
