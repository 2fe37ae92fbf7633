//! Nothing that a probe does in its life is a system call that its own filter refuses: watched with
//! strace, with the filter in force (docs/privileges.md).
//!
//! Needs root and strace; without them each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::backend::Khub;
use common::namespace::with_veth;
use common::probe::Probe;
use common::tls::tls_in_front_of;
use common::{folder, page, traffic};
use khub::{DEV_EMAIL, DEV_TOKEN};
use nix::sys::signal::Signal;

const PLAN: Plan = Plan {
    conversations: 50,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 8,
};

fn can_trace() -> bool {
    let works = nix::unistd::geteuid().is_root()
        && Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok();
    if !works {
        eprintln!("skipped: needs root and strace");
    }
    works
}

/// A folder that everybody may use, and the trace in it.
struct Trace {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Trace {
    fn new() -> Self {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let path = folder.path().join("trace");
        Self { folder, path }
    }

    /// kprobe under strace, whose process is a grandchild: signals reach the probe.
    fn command(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-q", "-s", "0", "-o"]).arg(&self.path);
        command.arg(env!("CARGO_BIN_EXE_kprobe"));
        command.env_remove("RUST_LOG").env_remove("KENTIK_TOKEN").env_remove("KENTIK_EMAIL");
        command
    }

    /// The system calls made under the filter; fails for those that it refused.
    fn calls(&self) -> BTreeSet<String> {
        let text = self.whole();
        // Of the last of both programs on; other threads may be in the midst of a call.
        let installed = text.rfind("seccomp(SECCOMP_SET_MODE_FILTER").expect("a filter");
        let lines: Vec<&str> = text[installed..].lines().skip(1).collect();
        let refused = lines.iter().filter(|line| {
            line.ends_with("= -1 EPERM (Operation not permitted)")
                || line.contains("= -1 ENOSYS") && !line.contains("clone3")
        });
        let refused: Vec<_> = refused.collect();
        assert!(refused.is_empty(), "{refused:#?}");
        let name = |line: &&str| {
            let call = line.split_once(' ')?.1.trim_start();
            let call = call.strip_prefix("<... ").unwrap_or(call);
            let end = call.find(['(', ' '])?;
            Some(call[..end].to_owned()).filter(|name| !name.starts_with(['+', '-']))
        };
        lines.iter().filter_map(name).collect()
    }

    /// strace may be writing still.
    fn whole(&self) -> String {
        let start = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&fs::read(&self.path).unwrap()).into_owned();
            if text.contains("exit_group(") && text.trim_end().ends_with("+++") {
                return text;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the trace does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn has(calls: &BTreeSet<String>, wanted: &[&str]) {
    for call in wanted {
        assert!(calls.contains(*call), "no {call}: {calls:?}");
    }
}

/// As an editor does: a new file takes the old one's name.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_live_capture_with_everything_is_refused_nothing() {
    if !can_trace() {
        return;
    }
    with_veth(|| {
        let trace = Trace::new();
        let hub = Khub::start();
        let front = tls_in_front_of(hub.address, &trace.folder.path().join("ca.pem"));
        let settings = trace.folder.path().join("kprobe.toml");
        // Names are looked up, TLS is spoken, files are rotated, the spool is written.
        let base = |flow: &str, verbose: u32| {
            let folder = trace.folder.path().display();
            let port = hub.address.port();
            format!(
                "interface = 'vb'\nbuffer-size = 8\nreaders = 2\nstatus-port = 9000\n\
                 device-name = 'traced'\nsample = 'auto'\nverbose = {verbose}\n\
                 output = ['kflow', 'json:{folder}/flows.json']\nrotate-size = '4K'\n\
                 spool = '{folder}/spool'\nca-file = '{folder}/ca.pem'\n\
                 api-url = 'http://localhost:{port}/api/internal'\nflow-url = '{flow}/chf'\n\
                 metrics-url = 'http://localhost:{port}/tsdb'\n"
            )
        };
        // First to a port where nobody is.
        write(&settings, &base("http://localhost:1", 0));
        let mut command = trace.command();
        command.args(["--email", DEV_EMAIL, "--token", DEV_TOKEN, "--config"]).arg(&settings);
        let mut probe = Probe::spawn(command);
        probe.wait_for("status at");
        let frames = traffic::frames(&PLAN, 2000).0;
        traffic::send("va", &frames, 4000);
        probe.wait_for("failed, will be repeated");
        for path in ["/v1/status", "/v1/top"] {
            page(9000, path);
        }
        write(&settings, &base(&format!("https://localhost:{}", front.address.port()), 1));
        probe.signal(Signal::SIGHUP);
        probe.wait_for("reload: in force now: flow-url, verbose");
        traffic::send("va", &frames, 4000);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let calls = trace.calls();
        has(&calls, &["accept4", "connect", "openat", "recvfrom", "writev"]);
        eprintln!("live: {} system calls: {calls:?}", calls.len());
        let sent: u64 =
            hub.flows("traced").iter().map(|flow| flow["packets"].as_u64().unwrap()).sum();
        assert_eq!(sent, 4000, "{}", ended.log);
    });
}

#[test]
fn a_replay_is_refused_nothing() {
    if !can_trace() {
        return;
    }
    let trace = Trace::new();
    let recording = trace.folder.path().join("traffic.pcap");
    traffic::write(&recording, &PLAN, 2000, 1_000_000);
    let out = trace.folder.path().join("out.json");
    let mut command = trace.command();
    command.arg("--read").arg(&recording).args(["--readers", "2", "--filter", "ip or ip6"]);
    command.arg("--output").arg(format!("json:{}", out.display()));
    let run = common::output(&mut command);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!fs::read(&out).unwrap().is_empty());
    let calls = trace.calls();
    has(&calls, &["read", "write", "futex", "exit_group"]);
    eprintln!("replay: {} system calls: {calls:?}", calls.len());
}

/// In a mount namespace of its own `/run/systemd/journal` is our folder.
#[test]
fn a_probe_that_logs_to_the_journal_is_refused_nothing() {
    if !can_trace() {
        return;
    }
    let trace = Trace::new();
    let folder = trace.folder.path();
    let recording = folder.join("traffic.pcap");
    traffic::write(&recording, &PLAN, 200, 1_000_000);
    let journal = UnixDatagram::bind(folder.join("socket")).unwrap();
    fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";
    let stderr = fs::File::create(folder.join("stderr")).unwrap();
    let facts = stderr.metadata().unwrap();
    let traced = trace.command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(folder);
    command.arg(traced.get_program()).args(traced.get_args());
    command.args(["-v", "--read"]).arg(recording).args(["--output", "json"]);
    command.stdout(Stdio::null()).stdin(Stdio::null());
    command.env("JOURNAL_STREAM", format!("{}:{}", facts.st_dev(), facts.st_ino()));
    assert!(command.stderr(stderr).status().unwrap().success());
    let mut message = [0; 4096];
    loop {
        let length = journal.recv(&mut message).unwrap();
        // Said under the filter.
        if String::from_utf8_lossy(&message[..length]).contains("left out by the flow limit") {
            break;
        }
    }
    let calls = trace.calls();
    has(&calls, &["sendto"]);
    eprintln!("journal: {} system calls: {calls:?}", calls.len());
}
