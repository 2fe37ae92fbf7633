//! `kprobe top` in a real terminal (tmux), and that asking disturbs no reader.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::captures::captures;
use common::namespace::with_veth;
use common::probe::Probe;
use common::{folder, page, traffic};
use nix::sys::signal::Signal;

const PLAN: Plan = Plan {
    conversations: 40,
    unique: false,
    size: Size::Imix,
    profile: Profile::Zipf,
    ipv6_percent: 25,
    seed: 5,
};
/// A record may take 15 s, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of 80 × 24 with a command in it; gone when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs this in a shell; `None`, with a word, without tmux. What the command says last and
    /// whether the terminal is as it was stand on the screen afterwards.
    fn start(folder: &Path, arguments: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: no tmux");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: format!("kprobe-t-{}-{number}", std::process::id()) };
        let program = env!("CARGO_BIN_EXE_kprobe");
        let line = format!(
            "{program} {arguments} 2>log; echo status $?; stty -a | grep -ow -e '-\\?icanon'; sleep 60"
        );
        let mut command = terminal.tmux();
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &line]);
        command.current_dir(folder).env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
        assert!(command.status().unwrap().success());
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket]);
        command
    }

    fn screen(&self) -> String {
        let output = self.tmux().args(["capture-pane", "-p"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &str) {
        assert!(self.tmux().args(["send-keys", keys]).status().unwrap().success());
    }

    /// Waits until the screen is as wanted.
    fn wait(&self, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Quits; the command must have ended well and left a terminal that edits lines.
    fn quit(self) {
        self.keys("q");
        let screen = self.wait(|screen| screen.contains("icanon"));
        assert!(screen.contains("status 0\nicanon"), "{screen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server of this socket alone.
        let _ = self.tmux().arg("kill-server").output();
    }
}

#[test]
fn a_replay_ends_with_this_screen() {
    let Some(captures) = captures() else { return };
    let folder = folder();
    std::fs::copy(captures.join("http/google.com.pcap"), folder.path().join("http.pcap")).unwrap();
    let Some(terminal) = Terminal::start(folder.path(), "top --read http.pcap") else { return };
    let screen = terminal.wait(|screen| screen.contains("end of file"));
    if std::env::var_os("KPROBE_BLESS").is_some() {
        std::fs::write("tests/golden/top-replay.txt", &screen).unwrap();
    }
    assert_eq!(screen, include_str!("golden/top-replay.txt"));
    terminal.keys("?");
    terminal.wait(|screen| screen.contains("q  quit") && !screen.contains("10.211.55.16 > "));
    assert!(
        terminal.tmux().args(["resize-window", "-x", "60", "-y", "8"]).status().unwrap().success()
    );
    terminal.keys("?");
    terminal.wait(|screen| screen.lines().count() == 8 && screen.contains(" > "));
    terminal.quit();
}

#[test]
fn an_interface_and_a_running_probe_are_shown() {
    with_veth(|| {
        let folder = folder();
        let output = format!("json:{}", folder.path().join("o").display());
        let probe = Probe::capturing(["-i", "vb", "--status-port", "9000", "--output", &output]);
        let Some(here) = Terminal::start(folder.path(), "top vb") else { return };
        here.wait(|screen| screen.contains("BIT/S"));
        let there = Terminal::start(folder.path(), "top --status http://127.0.0.1:9000").unwrap();
        there.wait(|screen| screen.contains("BIT/S"));
        traffic::send("va", &traffic::frames(&PLAN, 2000).0, 2000);
        for terminal in [&here, &there] {
            let screen =
                terminal.wait(|screen| screen.contains("2,000 received") && screen.contains(" > "));
            assert!(screen.contains("0 dropped") && screen.contains("0 lost"), "{screen}");
        }
        there.keys("/");
        there.keys("nothing");
        there.wait(|screen| screen.contains("/nothing_") && !screen.contains(" > "));
        there.keys("Enter");
        // A record of each comes within 15 s, at a time of its own.
        let start = Instant::now();
        loop {
            let served = page(9000, "/v1/top");
            if served["conversations"].as_array().unwrap().len() >= 4 {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{served}");
            std::thread::sleep(Duration::from_millis(100));
        }
        probe.stop(Signal::SIGTERM);
        there.wait(|screen| screen.contains("no news: cannot connect"));
        there.quit();
        here.quit();
    });
}

#[test]
fn without_a_terminal_or_a_probe_it_says_so_in_one_line() {
    let run = common::run(["top", "--status", "http://127.0.0.1:1"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.stderr,
        "Error: http://127.0.0.1:1: cannot connect: Connection refused (os error 111)\n"
    );
    let run = common::run(["top", "--status", "nonsense"]);
    assert_eq!(
        run.stderr,
        "Error: invalid value 'nonsense' for --status: expected http://HOST:PORT of a probe\n"
    );
}

#[test]
fn asking_as_often_as_it_answers_costs_no_packet() {
    with_veth(|| {
        let (frames, _) = traffic::frames(&PLAN, 60_000);
        let folder = folder();
        let output = format!("json:{}", folder.path().join("o").display());
        for polled in [false, true] {
            let arguments = ["-i", "vb", "--status-port", "9000", "--output", output.as_str()];
            let mut probe = Probe::capturing(arguments);
            probe.wait_for("status at");
            let done = AtomicBool::new(false);
            let asked = std::thread::scope(|scope| {
                // Four at once, since a machine with few cores answers one slowly.
                let askers = if polled { 4 } else { 0 };
                let askers: Vec<_> = (0..askers).map(|_| scope.spawn(|| ask(&done))).collect();
                traffic::send("va", &frames, 30_000);
                done.store(true, Ordering::Relaxed);
                askers.into_iter().map(|asker| asker.join().unwrap()).sum::<u32>()
            });
            // The reader leaves its counters once a second.
            let start = Instant::now();
            let reader = loop {
                let status = page(9000, "/v1/status");
                let reader = status["readers"][0].clone();
                if reader["frames"] == 60_000 {
                    break reader;
                }
                assert!(start.elapsed() < PATIENCE, "{status}");
                std::thread::sleep(Duration::from_millis(100));
            };
            eprintln!("asked {} times a second: {reader}", asked / 2);
            assert_eq!((&reader["received"], &reader["dropped"]), (&60_000.into(), &0.into()));
            assert!(asked > 0 || !polled);
            probe.stop(Signal::SIGTERM);
        }
    });
}

/// Asks for every page in turn over one connection, once a millisecond as far as that is possible.
fn ask(done: &AtomicBool) -> u32 {
    let stream = TcpStream::connect("127.0.0.1:9000").unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let (mut stream, mut asked) = (stream, 0);
    for path in ["/v1/status", "/v1/top", "/metrics", "/healthz"].iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let next = Instant::now() + Duration::from_millis(1);
        // In one piece: else the system waits for an acknowledgement between the pieces.
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
        asked += 1;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    asked
}
