//! The real program on ports of the kernel's choosing, and raw clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses a part")]

pub mod servers;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What anything a test waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running kproxy; killed when dropped.
pub struct Kproxy {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    pub address: SocketAddr,
    pub health: SocketAddr,
}

/// The program without the account's variables of this process.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kproxy"));
    for name in ["KENTIK_API_EMAIL", "KENTIK_API_TOKEN", "KENTIK_REGION"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Kproxy {
    /// With an account, ephemeral ports, and these flags.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = program();
        command.args(flags);
        Self::spawn(command)
    }

    /// With access to everything on this machine.
    pub fn open(flags: &[&str]) -> Self {
        let all = ["-proxy-http-allow", "*:*", "-proxy-http-private"];
        Self::start(&[&all, flags].concat())
    }

    pub fn spawn(mut command: Command) -> Self {
        command.args(["-proxy-http", "127.0.0.1:0", "-healthcheck", "127.0.0.1:0"]);
        command.env("KENTIK_API_EMAIL", "test@example.com").env("KENTIK_API_TOKEN", "s3cret");
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().unwrap(), &log),
            follow(child.stderr.take().unwrap(), &log),
        ];
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut this = Self { child, log, readers, address: nowhere, health: nowhere };
        this.address = this.wait_for_address("proxy listening address=");
        this.health = this.wait_for_address("health page listening address=");
        this
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn wait_for(&self, text: &str) {
        wait_until(|| self.log().contains(text), &format!("{text:?} in the log"));
    }

    fn wait_for_address(&self, before: &str) -> SocketAddr {
        self.wait_for(before);
        let log = self.log();
        let rest = log.split_once(before).unwrap().1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end: exit status, log, and how long it took.
    pub fn wait(mut self) -> (i32, String, Duration) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.code().unwrap_or(-1), self.log(), start.elapsed())
    }

    /// A metric of the health page.
    pub fn metric(&self, name: &str) -> u64 {
        let page = http_get(self.health, "/metrics");
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {page}"))
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    pub fn wait_for_metric(&self, name: &str, value: u64) {
        wait_until(|| self.metric(name) == value, &format!("{name} {value}"));
    }

    /// Resident memory of the program in KiB, now and at its highest.
    pub fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Sends bytes and reads until the proxy closes.
    pub fn exchange(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request that asks to close the connection; its status and body.
    pub fn ask(&self, request_line: &str) -> (u16, String) {
        let head = format!("{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n");
        parse(&self.exchange(&head))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A tunnel whose 200 has been read.
    pub fn tunnel(&self, target: SocketAddr) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        stream
    }
}

impl Drop for Kproxy {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let mut log = log.lock().unwrap();
            log.push_str(&line.unwrap());
            log.push('\n');
        }
    })
}

pub fn wait_until(mut is_so: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Status and body of an answer.
pub fn parse(answer: &str) -> (u16, String) {
    let (head, body) =
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Reads byte by byte up to the empty line, so that nothing behind it is lost.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The body behind a path.
pub fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    parse(&answer).1
}
