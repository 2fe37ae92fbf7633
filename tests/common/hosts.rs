//! Two hosts in network namespaces of their own, `client` (10.9.0.1, fd09::1) and `server`
//! (10.9.0.2, fd09::2), joined by a cable. Real programs speak there.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::namespace::{Namespace, ip};

/// The two hosts; their names vanish with the value.
pub struct Hosts {
    pub client: Namespace,
    pub server: Namespace,
}

/// A program at work; killed when dropped.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hosts, when this is root and these programs are there; else says so.
pub fn hosts(programs: &[&str]) -> Option<Hosts> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return None;
    }
    for program in programs {
        let found = Command::new("which").arg(program).stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs {program}");
            return None;
        }
    }
    let (client, server) = (Namespace::new(), Namespace::new());
    let (c, s) = (&client.name, &server.name);
    ip(&format!("-n {c} link add eth0 type veth peer name eth0 netns {s}"));
    for (name, number) in [(c, 1), (s, 2)] {
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} address add 10.9.0.{number}/24 dev eth0"));
        ip(&format!("-n {name} address add fd09::{number}/64 dev eth0 nodad"));
    }
    Some(Hosts { client, server })
}

impl Hosts {
    /// Runs a program on the client to its end.
    pub fn on_client(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.client.name]).args(arguments);
        command.stdin(Stdio::null()).output().expect("iproute2")
    }

    /// Runs a program on the client, with this on its standard input, to its end.
    pub fn tell_client(&self, arguments: &[&str], input: &str) -> Output {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), input).expect("a file of our own");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.client.name]).args(arguments);
        command.stdin(file.reopen().expect("it is there")).output().expect("iproute2")
    }

    /// unbound on the server, with these further lines in its configuration.
    pub fn resolver(&self, folder: &Path, lines: &str) -> Daemon {
        let folder_name = folder.display();
        let text = format!(
            "server:\n interface: 0.0.0.0\n interface: ::0\n access-control: 0.0.0.0/0 allow\n \
             access-control: ::/0 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
             directory: \"{folder_name}\"\n pidfile: \"\"\n use-syslog: no\n \
             interface-automatic: yes\n edns-buffer-size: 4096\n max-udp-size: 4096\n \
             module-config: \"iterator\"\n local-zone: \"example.test.\" static\n{lines}\n\
             remote-control:\n control-enable: no\n"
        );
        let path = folder.join("unbound.conf");
        std::fs::write(&path, text).expect("a folder of our own");
        let daemon = self.start(&["unbound", "-d", "-c", &path.display().to_string()], folder);
        let begin = Instant::now();
        self.server.inside(|| {
            while TcpStream::connect(("127.0.0.1", 53)).is_err() {
                let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                assert!(begin.elapsed() < Duration::from_secs(20), "no resolver: {}", log());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        daemon
    }

    /// freeradius on the server, for accounting with the secret `testing123`.
    pub fn radius_server(&self, folder: &Path) -> Daemon {
        let place = folder.display();
        let text = format!(
            "prefix = /usr\nlibdir = /usr/lib/freeradius\nlogdir = {place}\nrun_dir = {place}\n\
             log {{\n destination = files\n file = {place}/radius.log\n}}\n\
             client client {{\n ipaddr = 10.0.0.0/8\n secret = testing123\n}}\n\
             modules {{\n always ok {{\n  rcode = ok\n }}\n}}\n\
             server default {{\n listen {{\n  type = acct\n  ipaddr = 0.0.0.0\n  port = 1813\n }}\n \
             accounting {{\n  ok\n }}\n}}\n"
        );
        std::fs::write(folder.join("radiusd.conf"), text).expect("a folder of our own");
        let place = place.to_string();
        let daemon =
            self.start(&["freeradius", "-f", "-d", &place, "-D", "/usr/share/freeradius"], folder);
        let begin = Instant::now();
        self.server.inside(|| {
            let listens = || {
                let sockets = std::fs::read_to_string("/proc/thread-self/net/udp");
                sockets.is_ok_and(|text| text.contains(":0715 "))
            };
            while !listens() {
                let log = || {
                    ["radius.log", "log"]
                        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap_or_default())
                };
                assert!(begin.elapsed() < Duration::from_secs(20), "no server: {:?}", log());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        daemon
    }

    fn start(&self, arguments: &[&str], folder: &Path) -> Daemon {
        let log = std::fs::File::create(folder.join("log")).expect("a folder of our own");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.server.name]).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Daemon(command.spawn().expect("iproute2"))
    }
}
