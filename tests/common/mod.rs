//! The program as its users have it: started as a process, judged by status and output.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod backend;
pub mod captures;
pub mod hosts;
pub mod namespace;
pub mod probe;
pub mod recordings;
pub mod tapes;
pub mod tls;
pub mod traffic;
pub mod tshark;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run left behind.
pub struct Run {
    /// Exit status; `None` after a deadly signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// The program, without what the environment of the tests could tell it.
pub fn kprobe() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kprobe"));
    for variable in
        ["KENTIK_EMAIL", "KENTIK_TOKEN", "KENTIK_API_EMAIL", "KENTIK_API_TOKEN", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// A copy of the program in this folder, both open to all users: where the build lies may not be.
/// Another process copies it, since a child of a parallel test would keep a file that this one
/// writes busy.
pub fn copy_for_all_users(folder: &Path) -> PathBuf {
    let copy = folder.join("kprobe");
    let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_kprobe")).arg(&copy).status();
    assert!(status.expect("cp").success());
    for path in [folder, &copy] {
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, all).expect("a folder of our own");
    }
    copy
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    output(kprobe().args(arguments))
}

/// Runs a prepared program to its end.
pub fn output(command: &mut Command) -> Run {
    let output = command.output().expect("the program starts");
    Run {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Replays a capture to standard output and expects success.
pub fn replay(path: &Path, more: &[&str]) -> Run {
    let arguments = ["--output".as_ref(), "json".as_ref(), "--read".as_ref(), path.as_os_str()];
    let run = run(arguments.into_iter().chain(more.iter().map(OsStr::new)));
    assert_eq!(run.code, Some(0), "{}: {}", path.display(), run.stderr);
    run
}

/// JSON lines, or a JSON array as khub answers.
pub fn records(json: &[u8]) -> Vec<Value> {
    let values = serde_json::Deserializer::from_slice(json).into_iter::<Value>();
    values
        .flat_map(|value| match value.expect("JSON") {
            Value::Array(rows) => rows,
            row => vec![row],
        })
        .collect()
}

/// One direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub src: IpAddr,
    pub src_port: u16,
    pub dst: IpAddr,
    pub dst_port: u16,
    pub protocol: u8,
    pub vlan: u16,
}

/// What was counted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    pub bytes: u64,
    pub tcp_flags: u64,
    pub fragments: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.tcp_flags |= other.tcp_flags;
        self.fragments += other.fragments;
    }
}

/// Sums of records by flow.
pub type Sums = BTreeMap<Flow, Counts>;

/// Adds up records of the program's JSON lines or of khub.
pub fn sums(records: &[Value]) -> Sums {
    let mut sums = Sums::new();
    for record in records {
        sums.entry(flow(record)).or_default().add(counts(record));
    }
    sums
}

/// All flows together.
pub fn total(sums: &Sums) -> Counts {
    let mut total = Counts::default();
    sums.values().for_each(|counts| total.add(*counts));
    total
}

/// A line for each flow, with its direction, for comparison with what was written by hand.
pub fn table(records: &[Value]) -> Vec<String> {
    let mut directions = BTreeMap::new();
    for record in records {
        let direction = text(record, "direction").to_owned();
        let before = directions.insert(flow(record), direction.clone());
        assert!(before.is_none_or(|before| before == direction), "direction changed: {record}");
    }
    let line = |(flow, counts): (Flow, Counts)| {
        let Flow { src, src_port, dst, dst_port, protocol, .. } = flow;
        let Counts { packets, bytes, tcp_flags, fragments } = counts;
        let mut line = format!(
            "{} {protocol} {src} {src_port} > {dst} {dst_port}: {packets} packets, {bytes} bytes",
            directions[&flow]
        );
        if tcp_flags > 0 {
            line.push_str(&format!(", flags {tcp_flags:#04x}"));
        }
        if fragments > 0 {
            line.push_str(&format!(", {fragments} fragments"));
        }
        line
    };
    sums(records).into_iter().map(line).collect()
}

fn flow(record: &Value) -> Flow {
    Flow {
        src: text(record, "src").parse().expect("an address"),
        src_port: number(record, "src_port") as u16,
        dst: text(record, "dst").parse().expect("an address"),
        dst_port: number(record, "dst_port") as u16,
        protocol: number(record, "protocol") as u8,
        vlan: number(record, "vlan") as u16,
    }
}

fn counts(record: &Value) -> Counts {
    // khub has the fragments among the custom columns, which are absent when 0.
    let fragments = record.get("fragments").or_else(|| record["metrics"].get("FRAGMENTS"));
    Counts {
        packets: number(record, "packets"),
        bytes: number(record, "bytes"),
        tcp_flags: number(record, "tcp_flags"),
        fragments: fragments.and_then(Value::as_u64).unwrap_or(0),
    }
}

fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_else(|| panic!("no text {member} in {record}"))
}

fn number(record: &Value, member: &str) -> u64 {
    record[member].as_u64().unwrap_or_else(|| panic!("no number {member} in {record}"))
}

/// A folder that vanishes with the value.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The JSON behind a path of the status server on this port of this thread's namespace.
pub fn page(port: u16, path: &str) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the status server listens");
    // With HTTP/1.0 the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(" 200 "), "{path}: {head}");
    serde_json::from_str(body).expect("JSON")
}
