//! Real programs on both ends of a veth pair with offloads on: the messages that the probe reports
//! are those that the programs exchanged.
//!
//! Needs root, and per test two programs; without them each test says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use common::folder;
use common::namespace::{Namespace, ip};
use common::probe::Probe;
use common::records;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SERVER: &str = "10.91.0.1";
/// The kernel hands a block over after 10 ms; this is long enough on a busy machine, too.
const ARRIVED: Duration = Duration::from_millis(300);
const REQUESTS: usize = 40;

#[test]
fn http_between_curl_and_nginx_is_reported_message_by_message() {
    let Some(world) = World::with(&["nginx", "curl"]) else { return };
    let folder = folder();
    // More than one super-segment.
    std::fs::write(folder.path().join("big"), vec![b'x'; 1_000_000]).unwrap();
    let _nginx = world.nginx(folder.path(), "");
    for readers in ["1", "2"] {
        let applications = world.watch(readers, || {
            for number in 0..REQUESTS {
                let url = |path: &str| format!("http://{SERVER}/{path}");
                // Three on one connection.
                let urls = [format!("item/{number}?a=b"), "missing".into(), "big".into()];
                curl(&["-A", "curl-test"], urls.map(|path| url(&path)));
            }
        });
        let mut found: Vec<(String, u64)> = Vec::new();
        for response in of_kind(&applications, "http", "response") {
            assert_eq!(response["operation"], "GET");
            assert_eq!(response["attributes"]["host"], SERVER);
            assert_eq!(response["attributes"]["user_agent"], "curl-test");
            assert!(response["latency_us"].as_u64().unwrap() < 5_000_000, "{response}");
            let url = response["attributes"]["url"].as_str().unwrap().to_owned();
            found.push((url, response["status"].as_u64().unwrap()));
        }
        let mut expected = Vec::new();
        for number in 0..REQUESTS {
            expected.push((format!("/item/{number}?a=b"), 200));
            expected.extend([("/missing".to_owned(), 404), ("/big".to_owned(), 200)]);
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{readers} readers");
        assert_eq!(of_kind(&applications, "http", "request").len(), 3 * REQUESTS);
    }
}

#[test]
fn tls_between_curl_and_nginx_tells_name_and_version() {
    let Some(world) = World::with(&["nginx", "curl", "openssl"]) else { return };
    let folder = folder();
    certificate(folder.path());
    let tls = format!(
        "listen {SERVER}:443 ssl; ssl_certificate c.pem; ssl_certificate_key k.pem;
        ssl_protocols TLSv1.2 TLSv1.3;"
    );
    let _nginx = world.nginx(folder.path(), &tls);
    for readers in ["1", "2"] {
        let applications = world.watch(readers, || {
            for (name, most) in [("twelve.test", "1.2"), ("thirteen.test", "1.3")] {
                for _ in 0..REQUESTS / 4 {
                    let resolve = format!("{name}:443:{SERVER}");
                    let flags = ["-k", "--tls-max", most, "--resolve", &resolve];
                    curl(&flags, [format!("https://{name}/item/1")]);
                }
            }
        });
        let facts = of_kind(&applications, "tls", "facts");
        for (name, version) in [("twelve.test", 0x0303), ("thirteen.test", 0x0304)] {
            let of_name = |facts: &&&Value| facts["attributes"]["server_name"] == name;
            let named: Vec<_> = facts.iter().filter(of_name).collect();
            // A record of each direction, at the end.
            assert!(named.len() >= REQUESTS / 2, "{name}: {}", named.len());
            for facts in named {
                assert_eq!(facts["attributes"]["version"], version, "{facts}");
                let in_clear = facts["attributes"]["certificate_subject"] == "kprobe.test";
                assert_eq!(in_clear, version == 0x0303, "{facts}");
            }
        }
        let names = facts.iter().map(|facts| &facts["attributes"]["server_name"]);
        assert!(names.clone().all(|name| name == "twelve.test" || name == "thirteen.test"));
    }
}

#[test]
fn dns_between_dig_and_unbound_is_reported_over_udp_and_tcp() {
    let Some(world) = World::with(&["unbound", "dig"]) else { return };
    let folder = folder();
    let _unbound = world.unbound(folder.path());
    for readers in ["1", "2"] {
        let applications = world.watch(readers, || {
            for transport in ["+notcp", "+tcp"] {
                for (name, kind) in
                    [("a.example.test", "A"), ("a.example.test", "AAAA"), ("no.example.test", "A")]
                {
                    let server = format!("@{SERVER}");
                    let arguments = [&server, name, kind, transport, "+tries=1", "+time=10"];
                    succeed(Command::new("dig").args(arguments));
                }
            }
        });
        let shape = |event: &&Value| {
            let attributes = &event["attributes"];
            json!([event["operation"], event["status"], attributes["query"], attributes["answer"]])
        };
        // Readers hand their records over each at its own time.
        let mut found: Vec<Value> =
            of_kind(&applications, "dns", "response").iter().map(shape).collect();
        found.sort_by_key(Value::to_string);
        let once = [
            json!(["A", "NOERROR", "a.example.test", "192.0.2.1/A"]),
            json!(["A", "NXDOMAIN", "no.example.test", null]),
            json!(["AAAA", "NOERROR", "a.example.test", "2001:db8::1/AAAA"]),
        ];
        let expected: Vec<Value> =
            once.into_iter().flat_map(|event| [event.clone(), event]).collect();
        assert_eq!(found, expected, "{readers} readers");
        assert_eq!(of_kind(&applications, "dns", "request").len(), 6);
        for response in of_kind(&applications, "dns", "response") {
            assert!(response["latency_us"].as_u64().unwrap() < 5_000_000, "{response}");
        }
    }
}

#[test]
fn quic_between_the_client_and_the_server_of_ngtcp2_tells_name_version_and_protocol() {
    let Some(world) = World::with(&["gtlsserver", "gtlsclient", "openssl"]) else { return };
    let folder = folder();
    certificate(folder.path());
    std::fs::write(folder.path().join("index.html"), "ok").unwrap();
    let _servers = [443, 4433].map(|port| world.gtlsserver(folder.path(), port));
    let next_port = AtomicU16::new(40_000);
    let ask = |name: &str, port: &str, version: &str| {
        // Never the same twice: two connections between the same ports were one conversation.
        let local = next_port.fetch_add(2, Ordering::Relaxed);
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        std::fs::write(range, format!("{local} {}", local + 1)).unwrap();
        let mut command = Command::new("gtlsclient");
        command.args(["-q", "--exit-on-all-streams-close", "--timeout=10s", "-v", version]);
        succeed(command.args([name, port, "https://quic.test/index.html"]));
    };
    for readers in ["1", "2"] {
        // It takes what is not written as an address for a name and tells it; these are both.
        let names = ["0x0a5b0001", "10.91.1", "012.0133.0.1"];
        let applications = world.watch(readers, || {
            for name in names.into_iter().cycle().take(REQUESTS * 3 / 4) {
                ask(name, "4433", "v1");
            }
            // Its draft of version 2 is none that is read.
            ask("10.91.1", "443", "v2draft");
        });
        let facts = of_kind(&applications, "quic", "facts");
        for name in names {
            let of_name = |facts: &&&Value| facts["attributes"]["server_name"] == name;
            let named: Vec<_> = facts.iter().filter(of_name).collect();
            // A record of each direction.
            assert_eq!(named.len(), REQUESTS / 2, "{readers} readers, {name}");
            for facts in named {
                assert_eq!(facts["attributes"]["version"], 1, "{facts}");
                assert_eq!(facts["attributes"]["alpn"], "h3", "{facts}");
            }
        }
        let draft = json!({"version": 0x709a_50c4});
        let drafts = facts.iter().filter(|facts| facts["attributes"] == draft).count();
        assert_eq!((drafts, facts.len()), (2, 3 * REQUESTS / 2 + 2), "{readers} readers");
    }
}

#[test]
fn quic_of_both_versions_by_aioquic_is_told_live() {
    let Some(world) = World::with(&["openssl"]) else { return };
    let Some(python) = python_with("aioquic") else { return };
    let folder = folder();
    certificate(folder.path());
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/quic.py");
    let mut server = Command::new(&python);
    server.arg(&scripts).args(["server", SERVER, "4433"]).current_dir(folder.path());
    let _server = world.start_udp(&mut server, 4433);
    for readers in ["1", "2"] {
        let applications = world.watch(readers, || {
            let mut client = Command::new(&python);
            succeed(client.arg(&scripts).args(["client", SERVER, "4433"]));
        });
        let shape = |facts: &&Value| {
            let attributes = &facts["attributes"];
            json!([attributes["server_name"], attributes["version"], attributes["alpn"]])
        };
        let mut found: Vec<Value> =
            of_kind(&applications, "quic", "facts").iter().map(shape).collect();
        found.sort_by_key(Value::to_string);
        let once = [
            json!(["long.quic.test", 1, "test"]),
            json!(["one.quic.test", 1, "h3"]),
            json!(["two.quic.test", 0x6b33_43cf, "h3"]),
        ];
        let expected: Vec<Value> =
            once.into_iter().flat_map(|facts| [facts.clone(), facts]).collect();
        assert_eq!(found, expected, "{readers} readers");
    }
}

#[test]
fn dhcp_with_dnsmasq_has_its_latency_whatever_reader_sees_the_answer() {
    let Some(world) = World::with(&["dnsmasq", "udhcpc", "dhclient"]) else { return };
    let folder = folder();
    let _dnsmasq = world.dnsmasq(folder.path());
    let file = |name: &str| folder.path().join(name);
    for readers in ["1", "2"] {
        let applications = world.watch(readers, || {
            for number in 0..12 {
                // Each client gets an address of its own, so that answers are steered differently.
                let id = format!("0x3d:01020000000{readers}{number:02x}");
                let mut command = Command::new("udhcpc");
                command.args(["-i", "vc", "-f", "-q", "-n", "-s", "/bin/true"]);
                succeed(command.args(["-C", "-t", "10", "-T", "2", "-x", &id]));
            }
            for family in ["-4", "-6"] {
                std::fs::write(file(family), "").unwrap();
                let mut command = Command::new("dhclient");
                command.args([family, "-d", "-q", "-D", "LL", "-sf", "/bin/true"]);
                command.args(["-cf", "/dev/null", "-pf", "/dev/null", "-lf"]).arg(file(family));
                // It goes on for as long as the lease does.
                let _client = Server(command.arg("vc").stdin(Stdio::null()).spawn().unwrap());
                let begun = Instant::now();
                // The end of a lease; a brace may also be a byte of the client's name.
                while !std::fs::read_to_string(file(family)).unwrap().contains("\n}") {
                    assert!(begun.elapsed() < Duration::from_secs(30), "{command:?}: no lease");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        for (app, [first, second], exchanges) in
            [("dhcp", ["OFFER", "ACK"], 13), ("dhcpv6", ["ADVERTISE", "REPLY"], 1)]
        {
            let requests = of_kind(&applications, app, "request");
            assert!(requests.len() >= 2 * exchanges, "{app}: {} requests", requests.len());
            let answers = of_kind(&applications, app, "response");
            for operation in [first, second] {
                let named = answers.iter().filter(|answer| answer["operation"] == operation);
                assert!(named.count() >= exchanges, "{readers} readers, {app} {operation}");
            }
            for answer in answers {
                let latency_us = answer["latency_us"].as_u64();
                let has_latency = latency_us.is_some_and(|latency_us| latency_us < 10_000_000);
                assert!(has_latency, "{readers} readers: {answer}");
            }
        }
    }
}

/// A client and a server, each in a namespace of its own.
struct World {
    server: Namespace,
    client: Namespace,
}

impl World {
    /// `None`, with a word, without root or one of the programs.
    fn with(programs: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root for network namespaces");
            return None;
        }
        for program in programs {
            let found = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]
                .iter()
                .any(|folder| Path::new(folder).join(program).exists());
            if !found {
                eprintln!("skipped: {program} is not installed");
                return None;
            }
        }
        let (server, client) = (Namespace::new(), Namespace::new());
        let (near, far) = (&server.name, &client.name);
        ip(&format!("link add vs netns {near} type veth peer name vc netns {far}"));
        for (name, link, address) in [(near, "vs", SERVER), (far, "vc", "10.91.0.2")] {
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set {link} addrgenmode none"));
            ip(&format!("-n {name} addr add {address}/24 dev {link}"));
            ip(&format!("-n {name} link set {link} up"));
        }
        Some(Self { server, client })
    }

    /// What is reported while `talk` runs on the client: the `application` of each record.
    fn watch(&self, readers: &str, talk: impl FnOnce() + Send) -> Vec<Value> {
        let arguments = ["-i", "vs", "--buffer-size", "16", "--readers", readers];
        let probe = self.server.inside(|| Probe::capturing(arguments));
        self.client.inside(talk);
        std::thread::sleep(ARRIVED);
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let records = records(&ended.stdout);
        records.iter().filter_map(|record| record.get("application").cloned()).collect()
    }

    fn nginx(&self, folder: &Path, more: &str) -> Server {
        let folder = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
            events {{}}
            http {{
                access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
                fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
                server {{
                    listen {SERVER}:80; {more}
                    location /item {{ return 200 ok; }}
                    location /missing {{ return 404; }}
                    location /big {{ root {folder}; }}
                }}
            }}"
        );
        let path = format!("{folder}/nginx.conf");
        std::fs::write(&path, config).unwrap();
        let errors = format!("{folder}/log");
        self.start(Command::new("nginx").args(["-e", &errors, "-c", &path]), 80)
    }

    fn unbound(&self, folder: &Path) -> Server {
        let folder = folder.display();
        let config = format!(
            "server:
                interface: {SERVER}
                access-control: 10.91.0.0/24 allow
                do-daemonize: no
                username: \"\"
                chroot: \"\"
                directory: \"{folder}\"
                pidfile: \"\"
                use-syslog: no
                logfile: \"{folder}/log\"
                module-config: \"iterator\"
                local-zone: \"example.test.\" static
                local-data: \"a.example.test. A 192.0.2.1\"
                local-data: \"a.example.test. AAAA 2001:db8::1\"
            remote-control:
                control-enable: no\n"
        );
        let path = format!("{folder}/unbound.conf");
        std::fs::write(&path, config).unwrap();
        self.start(Command::new("unbound").args(["-d", "-c", &path]), 53)
    }

    /// The QUIC server of ngtcp2: HTTP/3.
    fn gtlsserver(&self, folder: &Path, port: u16) -> Server {
        let mut command = Command::new("gtlsserver");
        command.args(["-q", "--htdocs=.", SERVER, &port.to_string(), "k.pem", "c.pem"]);
        command.current_dir(folder);
        // It says of every client that it has left.
        command.stderr(Stdio::null());
        self.start_udp(&mut command, port)
    }

    /// Gives addresses of both families.
    fn dnsmasq(&self, folder: &Path) -> Server {
        for (namespace, link, number) in [(&self.server, "vs", 1), (&self.client, "vc", 2)] {
            let name = &namespace.name;
            ip(&format!("-n {name} addr add fe80::{number}/64 dev {link} nodad"));
        }
        ip(&format!("-n {} addr add fd09::1/64 dev vs nodad", self.server.name));
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"]);
        command.args(["--interface=vs", "--dhcp-authoritative", "--no-ping", "--quiet-dhcp"]);
        command.args(["--dhcp-range=10.91.0.100,10.91.0.200,255.255.255.0,30m"]);
        command.args(["--dhcp-range=fd09::100,fd09::200,64,30m", "--quiet-dhcp6"]);
        command.arg(format!("--dhcp-leasefile={}", folder.join("leases").display()));
        command.arg(format!("--pid-file={}", folder.join("dnsmasq.pid").display()));
        self.start_udp(&mut command, 67)
    }

    /// Starts a server and waits until it listens.
    fn start(&self, command: &mut Command, port: u16) -> Server {
        self.start_until(command, || TcpStream::connect((SERVER, port)).is_ok())
    }

    /// Starts a server and waits until it has the port.
    fn start_udp(&self, command: &mut Command, port: u16) -> Server {
        self.start_until(command, || {
            let taken = UdpSocket::bind((SERVER, port)).err().map(|error| error.kind());
            taken == Some(ErrorKind::AddrInUse)
        })
    }

    fn start_until(&self, command: &mut Command, is_ready: impl Fn() -> bool + Sync) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Server(self.server.inside(|| command.spawn().unwrap()));
        let begun = Instant::now();
        while !self.server.inside(&is_ready) {
            let ended = server.0.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

/// A server process; ended when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An interpreter that has this module: that of `KPROBE_TEST_PYTHON`, else the usual one. `None`,
/// with a word, without.
fn python_with(module: &str) -> Option<PathBuf> {
    let python = std::env::var_os("KPROBE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    let has = command.args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if has.is_ok_and(|status| status.success()) {
        return Some(python.into());
    }
    eprintln!("skipped: no Python with {module}");
    None
}

fn of_kind<'a>(applications: &'a [Value], app: &str, kind: &str) -> Vec<&'a Value> {
    applications.iter().filter(|event| event["app"] == app && event["kind"] == kind).collect()
}

/// Fetches URLs over one connection. A 404 is an answer, too.
fn curl<const N: usize>(flags: &[&str], urls: [String; N]) {
    let mut command = Command::new("curl");
    command.args(["-s", "-m", "20", "--http1.1", "--noproxy", "*"]).args(flags);
    for url in urls {
        command.args(["-o", "/dev/null"]).arg(url);
    }
    succeed(&mut command);
}

fn certificate(folder: &Path) {
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kprobe.test -keyout k.pem \
                     -out c.pem";
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ').filter(|word| !word.is_empty())).current_dir(folder);
    succeed(&mut command);
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {} {words}", output.status);
}
