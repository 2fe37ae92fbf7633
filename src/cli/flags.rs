//! The one table of flags: parser, help, man page, completions, reference and the keys of the
//! configuration file follow from it.
//!
//! `live()` marks those that SIGHUP changes in a running probe; before it
//! is set, `probe/control` and those who follow its settings have to do what it promises.

use Kind::{Count, List, Repeated, Switch, Value};

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value; giving it twice is an error.
    Value(&'static str),
    /// A value each time it is given.
    Repeated(&'static str),
    /// Values each time it is given, separated by commas.
    List(&'static str),
    /// No value; giving it twice is an error.
    Switch,
    /// No value; each time counts.
    Count,
}

/// What of a value must not be seen by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Nothing.
    No,
    /// Personal: taken out of the process list, shown elsewhere.
    Personal,
    /// All of it, everywhere.
    Whole,
    /// User and password of a URL, everywhere.
    UrlLogin,
}

/// When a changed value of the configuration file takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// With the next start.
    AtStart,
    /// With SIGHUP.
    Live,
}

/// One flag as the user sees it.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Long name without dashes; also the key in the configuration file.
    pub long: &'static str,
    /// Short name, if any.
    pub short: Option<char>,
    /// Other spellings, not shown in the help.
    pub aliases: &'static [&'static str],
    /// Value or switch.
    pub kind: Kind,
    /// Heading in the help.
    pub group: &'static str,
    /// One sentence for the help.
    pub help: &'static str,
    /// What holds when it is not given, where that is one value for all.
    pub default: Option<&'static str>,
    /// Environment variables that are used when it is not given, first one first.
    pub variables: &'static [&'static str],
    /// What of its value is hidden.
    pub secret: Secret,
    /// Whether it may stand in the configuration file.
    pub is_key: bool,
    /// When a change in the configuration file takes effect.
    pub change: Change,
    /// Accepted and never shown.
    pub hidden: bool,
}

impl Flag {
    const fn new(group: &'static str, long: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            long,
            short: None,
            aliases: &[],
            kind,
            group,
            help,
            default: None,
            variables: &[],
            secret: Secret::No,
            is_key: true,
            change: Change::AtStart,
            hidden: false,
        }
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn variables(mut self, variables: &'static [&'static str]) -> Self {
        self.variables = variables;
        self
    }

    const fn secret(mut self, secret: Secret) -> Self {
        self.secret = secret;
        self
    }

    /// Only on the command line.
    const fn typed_only(mut self) -> Self {
        self.is_key = false;
        self
    }

    const fn live(mut self) -> Self {
        self.change = Change::Live;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Whether help, man page, completions and reference show it.
    pub const fn is_shown(&self) -> bool {
        !self.hidden
    }

    /// The help sentence with what holds otherwise.
    pub fn sentence(&self) -> String {
        let mut text = self.help.to_owned();
        if let Some(default) = self.default {
            text.push_str(&format!(" [default: {default}]"));
        }
        if let Some(first) = self.variables.first() {
            text.push_str(&format!(" [environment: {first}]"));
        }
        text
    }

    /// What the help calls the value, if there is one.
    pub const fn value_name(&self) -> Option<&'static str> {
        match self.kind {
            Value(name) | Repeated(name) | List(name) => Some(name),
            Switch | Count => None,
        }
    }
}

/// The flag of this long name.
pub fn flag(long: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.long == long)
}

const CAPTURE: &str = "Capture";
const FLOWS: &str = "Flows";
const MODES: &str = "Modes";
const DECODING: &str = "Decoding";
const PRIVACY: &str = "Privacy";
const DEVICE: &str = "Device";
const BACKEND: &str = "Backend";
const OUTPUT: &str = "Output";
const OPERATION: &str = "Operation";
const GENERAL: &str = "General";

/// Every flag, in the order of the help.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    Flag::new(CAPTURE, "interface", Repeated("NAME"),
        "Interface to capture on; may be repeated").short('i'),
    Flag::new(CAPTURE, "read", Value("FILE"),
        "Replay a pcap or pcapng file (also gzipped; - is standard input)"),
    Flag::new(CAPTURE, "local-mac", Value("MAC"),
        "With --read: MAC of the probe's host, gives the direction"),
    Flag::new(CAPTURE, "readers", Value("N"),
        "Reader threads for each interface or the file, or auto").default("1"),
    Flag::new(CAPTURE, "cpus", Value("LIST"),
        "CPUs that readers are pinned to, like 0,2-5 [default: those allowed, near the interface]"),
    Flag::new(CAPTURE, "filter", Value("EXPRESSION"),
        "Capture only what this expression selects (pcap-filter(7))").live(),
    Flag::new(CAPTURE, "snaplen", Value("BYTES"),
        "Capture at most so many bytes of a packet; 0: everything [default: 65535; with \
         --no-decode 256, all that counting needs]"),
    Flag::new(CAPTURE, "promisc", Switch, "Capture packets for other hosts, too"),
    Flag::new(CAPTURE, "buffer-size", Value("MIB"),
        "Size of each reader's capture ring").default("128"),
    Flag::new(CAPTURE, "block-size", Value("KIB"),
        "Size of a block of the ring, a power of two").default("1024"),
    Flag::new(CAPTURE, "retire-ms", Value("MS"),
        "The kernel hands over a block that is not full after this time").default("10"),
    Flag::new(CAPTURE, "fanout-group", Value("GROUP"),
        "Share the interface with the other probes of this group, 0-65535").aliases(&["fanout"]),
    Flag::new(CAPTURE, "fanout-mode", Value("MODE"),
        "How a group spreads packets: hash, lb, cpu, qm or ebpf [default: hash for --fanout-group, \
         ebpf among the readers of one probe]"),
    Flag::new(CAPTURE, "max-memory", Value("MIB"),
        "Ceiling for rings, tables and queues; lowers --max-flows where needed").default("1024"),

    Flag::new(FLOWS, "max-flows", Value("N"),
        "Conversations held at once, all readers together").default("2000000"),
    Flag::new(FLOWS, "sample", Value("N"),
        "Export 1 of N flows; auto: as many as CPU and flow limit allow [default: the device's rate]")
        .live(),
    Flag::new(FLOWS, "cpu-budget", Value("PERCENT"),
        "With --sample auto: most of a CPU that each reader may take").default("80").live(),
    Flag::new(FLOWS, "sample-secret", Value("TEXT"),
        "Probes with the same secret choose the same flows [default: random]")
        .secret(Secret::Whole),
    Flag::new(FLOWS, "keep-heavy", Switch,
        "Above the device's flow limit, prefer flows with many bytes"),
    Flag::new(FLOWS, "translate", Repeated("A,p,B,q"),
        "Report address A with port p as B and q; A,B leaves ports alone; may be repeated")
        .live(),

    Flag::new(MODES, "dns", Switch, "Collect DNS answers instead of flows; same as the word dns"),
    Flag::new(MODES, "dns-filter", Value("EXPRESSION"),
        "Capture filter of DNS mode; same as --filter after the word dns"),
    Flag::new(MODES, "juniper-mirror", Switch,
        "In DNS mode: packets come in a mirror's envelope"),
    Flag::new(MODES, "radius", Switch,
        "Follow RADIUS accounting instead of flows; same as the word radius"),
    Flag::new(MODES, "ports", List("PORT"), "Ports of RADIUS mode, separated by commas")
        .default("1812,1813"),

    Flag::new(DECODING, "no-decode", Switch, "Count only: no application data"),
    Flag::new(DECODING, "classify", Value("HOW"),
        "Find protocols by content or by ports").default("content"),
    Flag::new(DECODING, "http-port", List("PORT"),
        "TCP ports of HTTP besides 80, separated by commas"),
    Flag::new(DECODING, "tls-port", List("PORT"),
        "TCP ports of TLS besides 443, separated by commas"),
    Flag::new(DECODING, "dns-port", Value("PORT"), "UDP port of DNS").default("53"),
    Flag::new(DECODING, "radius-port", List("PORT"),
        "UDP ports of RADIUS, separated by commas").default("1812,1813")
        .aliases(&["radius-ports"]),

    Flag::new(PRIVACY, "redact", Repeated("FIELD=HOW"),
        "Leave a field out (drop) or report its keyed hash (hash): url, name, user, user-agent or \
         query; may be repeated"),
    Flag::new(PRIVACY, "cut-query", Switch, "Report URLs without their query"),

    Flag::new(DEVICE, "device-id", Value("ID"), "Report as the device of this id"),
    Flag::new(DEVICE, "device-if", Value("NAME"),
        "Report as the device that has an address of this interface"),
    Flag::new(DEVICE, "device-ip", Value("ADDRESS"), "Report as the device of this address"),
    Flag::new(DEVICE, "device-name", Value("NAME"),
        "Report as the device of this name [default: host name]"),
    Flag::new(DEVICE, "device-plan", Value("ID"), "Plan for a device that does not exist yet"),
    Flag::new(DEVICE, "device-site", Value("ID"), "Site for a device that does not exist yet"),

    Flag::new(BACKEND, "email", Value("EMAIL"), "Account e-mail")
        .variables(&["KENTIK_EMAIL", "KENTIK_API_EMAIL"]).secret(Secret::Personal),
    Flag::new(BACKEND, "email-file", Value("FILE"), "File whose first line is the e-mail"),
    Flag::new(BACKEND, "token", Value("TOKEN"), "Account token; better in a file")
        .variables(&["KENTIK_TOKEN", "KENTIK_API_TOKEN"]).secret(Secret::Whole),
    Flag::new(BACKEND, "token-file", Value("FILE"),
        "File whose first line is the token, readable by its owner alone"),
    Flag::new(BACKEND, "region", Value("REGION"), "Region of the account").default("US").live(),
    Flag::new(BACKEND, "api-url", Value("URL"), "Device API [default: by region]")
        .secret(Secret::UrlLogin).live(),
    Flag::new(BACKEND, "flow-url", Value("URL"), "Flow intake [default: by region]")
        .secret(Secret::UrlLogin).live(),
    Flag::new(BACKEND, "metrics-url", Value("URL"),
        "Intake of the probe's own metrics [default: by region]").secret(Secret::UrlLogin).live(),
    Flag::new(BACKEND, "dns-url", Value("URL"), "Intake of DNS mode [default: by region]")
        .secret(Secret::UrlLogin).live(),
    Flag::new(BACKEND, "proxy-url", Value("URL"), "HTTP proxy for all requests")
        .secret(Secret::UrlLogin).live(),
    Flag::new(BACKEND, "ca-file", Value("FILE"),
        "Certificates (PEM) to trust besides those of the system"),

    Flag::new(OUTPUT, "output", Repeated("OUTPUT"),
        "json, json:PATH, kflow, ipfix://HOST:PORT or ipfix+tcp://HOST:PORT; may be repeated \
         [default: kflow with credentials, else json]"),
    Flag::new(OUTPUT, "rotate-size", Value("SIZE"),
        "Begin a new JSON file at this size, like 100M"),
    Flag::new(OUTPUT, "rotate-files", Value("N"), "Finished JSON files to keep")
        .default("10"),
    Flag::new(OUTPUT, "queue-size", Value("SIZE"),
        "Memory for batches that wait to be sent").default("64M"),
    Flag::new(OUTPUT, "spool", Value("DIR"),
        "Keep batches that cannot be sent in this folder"),
    Flag::new(OUTPUT, "spool-size", Value("SIZE"),
        "Most that is kept there; the oldest goes first").default("1G"),

    Flag::new(OPERATION, "status-host", Value("ADDRESS"), "Address of the status server")
        .default("127.0.0.1"),
    Flag::new(OPERATION, "status-port", Value("PORT"), "Port of the status server; 0 is no server")
        .default("0"),
    Flag::new(OPERATION, "status", Value("URL"),
        "With the word top: show the probe whose status server this is").typed_only(),
    Flag::new(OPERATION, "user", Value("NAME"),
        "Started by root: user to become once everything is open; root stays [default: kprobe if \
         there is one, else nobody]"),
    Flag::new(OPERATION, "no-sandbox", Switch,
        "Leave out the system call filter and the file access rules"),
    Flag::new(OPERATION, "log-format", Value("FORMAT"),
        "plain, json, journald, or auto: journald under systemd, else plain").default("auto"),
    Flag::new(OPERATION, "config", Value("FILE"),
        "Read settings from this TOML file; its keys are these flags; SIGHUP reads it again")
        .typed_only(),
    Flag::new(OPERATION, "print-config", Switch,
        "Show all settings and where each comes from, and end").typed_only(),

    Flag::new(GENERAL, "verbose", Count, "Log more; may be repeated").short('v').live(),
    Flag::new(GENERAL, "version", Switch, "Print the version").short('V').typed_only(),
    Flag::new(GENERAL, "help", Switch, "Print this help").short('h').typed_only(),
    Flag::new(GENERAL, "generate", Value("WHAT"),
        "Write man, completions-bash, completions-zsh, completions-fish, config-toml, reference-md \
         or records-md")
        .typed_only().hidden(),
];
