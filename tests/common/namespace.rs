//! A network namespace of the test's own, with a silent veth pair: `va` to send, `vb` to capture.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sched::{CloneFlags, setns};

/// One at a time: some tests measure what the machine can do.
static TURN: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A namespace by name; deleted when dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// Makes an empty one. Needs root.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("kprobe-t-{}-{number}", std::process::id()) };
        ip(&format!("netns add {}", namespace.name));
        namespace
    }

    /// Moves this thread into it; threads and processes it starts follow.
    fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Does something there; this thread stays where it is.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let body = || {
            self.enter();
            work()
        };
        match std::thread::scope(|scope| scope.spawn(body).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Says by itself when it fails.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs the test in a namespace where `lo`, `va` and `vb` are up and nobody speaks by itself.
/// Needs root; without it the test says so and passes.
pub fn with_veth(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for a network namespace");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = Namespace::new();
    let body = || {
        namespace.enter();
        ip("link set lo up");
        ip("link add va type veth peer name vb");
        for end in ["va", "vb"] {
            ip(&format!("link set {end} addrgenmode none arp off up"));
        }
        test();
    };
    let ended = std::thread::scope(|scope| scope.spawn(body).join());
    drop(namespace);
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these arguments, separated by blanks.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip {arguments}");
}
