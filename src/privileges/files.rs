//! Landlock: which files the process may still open (kernel documentation,
//! `userspace-api/landlock.rst`).
//!
//! Read: `/etc`, libraries and certificates, what the kernel tells of interfaces and itself, and the
//! files that the settings name. Write: the folders of outputs. Nothing can be run.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{User, chown};

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use crate::config::{Config, OutputChoice, Source};

/// The newest set of rights that is asked for; older kernels take what they know.
const RIGHTS: ABI = ABI::V5;
/// What name look-ups, certificates, time zones and the probe itself read; `/usr` and `/lib` since
/// name services are libraries that the C library loads when it needs them.
const READ: [&str; 16] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/sys/class/net",
    "/sys/devices",
    "/sys/kernel/mm",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/netconfig",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
];
/// Variables that name certificates, a file or folders.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Restricts this thread and those it starts. `None` when the kernel knows no Landlock.
///
/// # Errors
/// The kernel refused rules that it knows.
pub(super) fn restrict(config: &Config) -> Result<Option<String>, RulesetError> {
    restrict_to(&readable(config), &writable(config))
}

fn restrict_to(readable: &[PathBuf], writable: &[PathBuf]) -> Result<Option<String>, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write: BitFlags<AccessFs> = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | read;
    // A path that does not exist is no rule.
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(writable, write))?
        .add_rules(path_beneath_rules(["/dev/null"], read | AccessFs::WriteFile))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::NotEnforced => None,
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => {
            Some(format!("files are written below {}", list(writable)))
        }
    })
}

/// Makes a folder that only its owner may enter, unless it is there.
///
/// # Errors
/// In words, with the folder.
pub(super) fn make_private(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("Error: --spool {}", folder.display()))
}

/// Gives a folder and what lies in it, two levels down, to a user.
///
/// # Errors
/// In words, with the path.
pub(super) fn give(folder: &Path, account: &User) -> anyhow::Result<()> {
    let mut paths = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = paths.pop() {
        let context = || format!("Error: --spool {}", path.display());
        // A link would lead somewhere else.
        if path.is_symlink() {
            continue;
        }
        chown(&path, Some(account.uid), Some(account.gid)).with_context(context)?;
        if depth < 2 && path.is_dir() {
            for entry in path.read_dir().with_context(context)?.flatten() {
                paths.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(())
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

fn readable(config: &Config) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    if let Source::Replay(replay) = &config.source {
        paths.push(replay.path.clone());
    }
    // Files that are read again may have been exchanged for new ones of the same name.
    paths.extend(config.files_read_again.iter().filter_map(|path| folder_of(path)));
    if let Some(file) = config.backend.as_ref().and_then(|backend| backend.ca_file.as_ref()) {
        paths.extend(folder_of(file));
    }
    let named = CERTIFICATES.iter().filter_map(std::env::var_os);
    paths.extend(named.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()));
    paths
}

fn writable(config: &Config) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for output in &config.outputs {
        if let OutputChoice::Json(Some(path)) = output {
            folders.extend(folder_of(path));
        }
    }
    if let Some(spool) = &config.delivery.spool {
        folders.push(spool.folder.clone());
        folders.extend(folder_of(&spool.folder));
    }
    folders.dedup();
    folders
}

/// The folder in which the file really lies: a link may lead elsewhere.
fn folder_of(path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match real.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Some(PathBuf::from(".")),
        Some(folder) => Some(folder.to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_restricted_thread_writes_only_where_it_may_and_runs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("secret"), "x").unwrap();
        let body = || {
            let enforced = restrict_to(&["/etc".into()], std::slice::from_ref(&open)).unwrap();
            if enforced.is_none() {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            fs::write(open.join("a"), "1").unwrap();
            fs::rename(open.join("a"), open.join("b")).unwrap();
            fs::write(open.join("b"), "22").unwrap();
            assert_eq!(fs::read(open.join("b")).unwrap(), b"22");
            fs::remove_file(open.join("b")).unwrap();
            fs::read_to_string("/etc/passwd").unwrap();
            for error in [
                fs::read(closed.join("secret")).unwrap_err(),
                fs::write(closed.join("b"), "1").unwrap_err(),
                fs::write("/etc/kprobe-test", "1").unwrap_err(),
                std::process::Command::new("/bin/false").spawn().unwrap_err(),
            ] {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
            }
        };
        std::thread::scope(|scope| scope.spawn(body).join()).unwrap();
    }

    #[test]
    fn the_folder_of_an_output_is_where_its_file_really_lies() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir(real.join("far")).unwrap();
        fs::write(real.join("far/out.json"), "").unwrap();
        std::os::unix::fs::symlink(real.join("far/out.json"), real.join("out.json")).unwrap();
        assert_eq!(folder_of(&real.join("out.json")), Some(real.join("far")));
        assert_eq!(folder_of(&real.join("new.json")), Some(real.clone()));
        assert_eq!(folder_of(Path::new("new.json")), Some(PathBuf::from(".")));
    }
}
