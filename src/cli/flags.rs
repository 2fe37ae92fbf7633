//! The one table of flags: parser, help and (later) man page and configuration keys follow it.

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value; giving it twice is an error.
    Value(&'static str),
    /// A value each time it is given.
    Repeated(&'static str),
    /// No value; giving it twice is an error.
    Switch,
    /// No value; each time counts.
    Count,
}

/// One flag as the user sees it.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Long name without dashes.
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
}

const CAPTURE: &str = "Capture";
const DEVICE: &str = "Device";
const BACKEND: &str = "Backend";
const OUTPUT: &str = "Output";
const GENERAL: &str = "General";

const fn value(
    group: &'static str,
    long: &'static str,
    name: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short: None, aliases: &[], kind: Kind::Value(name), group, help }
}

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    Flag {
        short: Some('i'),
        kind: Kind::Repeated("NAME"),
        ..value(CAPTURE, "interface", "", "Interface to capture on; may be repeated")
    },
    value(
        CAPTURE,
        "read",
        "FILE",
        "Replay a pcap or pcapng file (also gzipped; - is standard input)",
    ),
    value(CAPTURE, "local-mac", "MAC", "With --read: MAC of the probe's host, gives the direction"),
    value(
        CAPTURE,
        "readers",
        "N",
        "Reader threads for each interface or the file, or auto [default: 1]",
    ),
    value(
        CAPTURE,
        "cpus",
        "LIST",
        "CPUs that readers are pinned to, like 0,2-5 [default: those allowed, near the interface]",
    ),
    value(
        CAPTURE,
        "filter",
        "EXPRESSION",
        "Capture only what this expression selects (pcap-filter(7))",
    ),
    value(
        CAPTURE,
        "snaplen",
        "BYTES",
        "Capture at most so many bytes of a packet [default: 256, all that counting needs; 0: \
         everything]",
    ),
    Flag {
        kind: Kind::Switch,
        ..value(CAPTURE, "promisc", "", "Capture packets for other hosts, too")
    },
    value(CAPTURE, "buffer-size", "MIB", "Size of each reader's capture ring [default: 128]"),
    value(
        CAPTURE,
        "block-size",
        "KIB",
        "Size of a block of the ring, a power of two [default: 1024]",
    ),
    value(
        CAPTURE,
        "retire-ms",
        "MS",
        "The kernel hands over a block that is not full after this time [default: 10]",
    ),
    Flag {
        aliases: &["fanout"],
        ..value(
            CAPTURE,
            "fanout-group",
            "GROUP",
            "Share the interface with the other probes of this group, 0-65535",
        )
    },
    value(
        CAPTURE,
        "fanout-mode",
        "MODE",
        "How a group spreads packets: hash, lb, cpu, qm or ebpf [default: hash for --fanout-group, \
         ebpf among the readers of one probe]",
    ),
    value(
        CAPTURE,
        "max-flows",
        "N",
        "Conversations held at once, all readers together [default: 2000000]",
    ),
    value(
        CAPTURE,
        "max-memory",
        "MIB",
        "Ceiling for rings, tables and queues; lowers --max-flows where needed [default: 1024]",
    ),
    value(CAPTURE, "sample", "N", "Export 1 of N flows [default: the device's rate]"),
    value(DEVICE, "device-id", "ID", "Report as the device of this id"),
    value(
        DEVICE,
        "device-if",
        "NAME",
        "Report as the device that has an address of this interface",
    ),
    value(DEVICE, "device-ip", "ADDRESS", "Report as the device of this address"),
    value(DEVICE, "device-name", "NAME", "Report as the device of this name [default: host name]"),
    value(DEVICE, "device-plan", "ID", "Plan for a device that does not exist yet"),
    value(DEVICE, "device-site", "ID", "Site for a device that does not exist yet"),
    value(BACKEND, "email", "EMAIL", "Account e-mail [environment: KENTIK_EMAIL]"),
    value(BACKEND, "token", "TOKEN", "Account token [environment: KENTIK_TOKEN]"),
    value(BACKEND, "region", "REGION", "Region of the account [default: US]"),
    value(BACKEND, "api-url", "URL", "Device API [default: by region]"),
    value(BACKEND, "flow-url", "URL", "Flow intake [default: by region]"),
    value(BACKEND, "metrics-url", "URL", "Intake of the probe's own metrics [default: by region]"),
    value(BACKEND, "proxy-url", "URL", "HTTP proxy for all requests"),
    Flag {
        kind: Kind::Repeated("OUTPUT"),
        ..value(
            OUTPUT,
            "output",
            "",
            "json, json:PATH or kflow; may be repeated [default: kflow with credentials, else json]",
        )
    },
    value(GENERAL, "status-host", "ADDRESS", "Address of the status server [default: 127.0.0.1]"),
    value(GENERAL, "status-port", "PORT", "Port of the status server [default: 0, no server]"),
    Flag {
        short: Some('v'),
        kind: Kind::Count,
        ..value(GENERAL, "verbose", "", "Log more; may be repeated")
    },
    Flag {
        short: Some('V'),
        kind: Kind::Switch,
        ..value(GENERAL, "version", "", "Print the version")
    },
    Flag { short: Some('h'), kind: Kind::Switch, ..value(GENERAL, "help", "", "Print this help") },
];
