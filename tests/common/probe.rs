//! A probe that runs beside the test, to be watched and stopped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kprobe;

/// What anything a test waits for may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running probe; killed when dropped.
pub struct Probe {
    child: Child,
    log: Arc<Mutex<String>>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<()>>,
}

/// A probe that has ended.
pub struct Ended {
    /// Exit status, or 128 and the number of the signal that killed it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub log: String,
    /// From the request to end until the end.
    pub took: Duration,
}

impl Probe {
    /// Starts it in the network namespace of this thread.
    pub fn start<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = kprobe();
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts it the way this command does.
    pub fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&log);
        Self {
            child,
            log,
            stdout: Some(std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).unwrap();
                bytes
            })),
            stderr: Some(std::thread::spawn(move || follow(stderr, &seen))),
        }
    }

    /// Starts it and waits until it captures.
    pub fn capturing<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut probe = Self::start(arguments);
        probe.wait_for("capturing on");
        probe
    }

    /// Waits for a text in the log.
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "no \"{text}\" in the log: {}", self.log());
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last may still be on its way.
                std::thread::sleep(Duration::from_millis(200));
                assert!(self.log().contains(text), "{status} before \"{text}\": {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub fn stop(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(start.elapsed() < PATIENCE, "does not end: {}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = start.elapsed();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        self.stderr.take().unwrap().join().unwrap();
        Ended { code: code(status), stdout, log: self.log(), took }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stderr: ChildStderr, seen: &Mutex<String>) {
    for line in BufReader::new(stderr).lines() {
        let mut log = seen.lock().unwrap();
        log.push_str(&line.unwrap());
        log.push('\n');
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}
