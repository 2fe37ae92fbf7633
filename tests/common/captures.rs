//! The test captures of the specification, and what is in them.

use std::path::{Path, PathBuf};

/// The folder of the test captures (spec, section 17): `KPROBE_PCAPS`, or beside the checkout.
/// `None`, with a word on standard error, where there is none.
pub fn captures() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    let folder = std::env::var_os("KPROBE_PCAPS").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no test captures in {} (KPROBE_PCAPS)", folder.display());
    None
}

/// Every capture of the specification's section 17: file, MAC of the probe's host, and what each
/// direction holds. Numbers that the section does not state were counted with tshark.
pub const CAPTURES: [(&str, &str, &[&str]); 14] = [
    (
        "dhcp/dhcpv4.pcap",
        "00:1c:42:60:bb:37",
        &[
            "out 17 0.0.0.0 68 > 255.255.255.255 67: 1 packets, 328 bytes",
            "in 17 10.211.55.1 67 > 10.211.55.16 68: 1 packets, 322 bytes",
        ],
    ),
    (
        "dns/google.com-any.pcap",
        "28:f0:76:38:bb:ba",
        &[
            "in 17 8.8.4.4 53 > 10.0.0.52 52407: 1 packets, 432 bytes",
            "in 17 10.0.0.1 53 > 10.0.0.52 49259: 1 packets, 80 bytes",
            "in 17 10.0.0.1 53 > 10.0.0.52 62238: 1 packets, 92 bytes",
            "out 17 10.0.0.52 49259 > 10.0.0.1 53: 1 packets, 64 bytes",
            "out 17 10.0.0.52 52407 > 8.8.4.4 53: 1 packets, 56 bytes",
            "out 17 10.0.0.52 62238 > 10.0.0.1 53: 1 packets, 64 bytes",
        ],
    ),
    (
        "dns/sns-pb.isc.org.pcap",
        "28:f0:76:38:bb:ba",
        &[
            "out 17 10.0.0.52 61597 > 199.6.0.30 53: 1 packets, 60 bytes",
            "in 17 199.6.0.30 53 > 10.0.0.52 61597: 1 packets, 300 bytes",
        ],
    ),
    (
        "dns/sns-pb.isc.org-dnssec.pcap",
        "28:f0:76:38:bb:ba",
        &[
            "out 17 10.0.0.52 64912 > 199.6.0.30 53: 1 packets, 71 bytes",
            "in 17 199.6.0.30 53 > 10.0.0.52 64912: 3 packets, 1687 bytes, 3 fragments",
        ],
    ),
    (
        "http/google.com.pcap",
        "00:1c:42:60:bb:37",
        &[
            "out 6 10.211.55.16 42370 > 172.217.25.110 80: 6 packets, 334 bytes, flags 0x1b",
            "in 6 172.217.25.110 80 > 10.211.55.16 42370: 5 packets, 715 bytes, flags 0x1b",
        ],
    ),
    (
        "http/http-1.0-fin-data.pcap",
        "52:54:00:00:06:1c",
        &[
            "out 6 10.0.1.2 43103 > 10.0.1.3 80: 5 packets, 395 bytes, flags 0x1b",
            "in 6 10.0.1.3 80 > 10.0.1.2 43103: 5 packets, 452 bytes, flags 0x1b",
        ],
    ),
    (
        "ip/ipv4_eth_padding.pcap",
        "00:21:d8:09:78:bf",
        &["out 6 80.110.100.125 58031 > 205.153.76.36 119: 1 packets, 40 bytes, flags 0x10"],
    ),
    (
        "radius/radius-acct-start.pcap",
        "00:00:00:00:00:00",
        &[
            "in 17 127.0.0.1 1813 > 127.0.0.1 52522: 1 packets, 48 bytes",
            "in 17 127.0.0.1 52522 > 127.0.0.1 1813: 1 packets, 65 bytes",
        ],
    ),
    (
        "radius/radius-acct-stop.pcap",
        "00:00:00:00:00:00",
        &[
            "in 17 127.0.0.1 1813 > 127.0.0.1 47493: 1 packets, 48 bytes",
            "in 17 127.0.0.1 47493 > 127.0.0.1 1813: 1 packets, 59 bytes",
        ],
    ),
    (
        "radius/radius-auth-req.pcap",
        "00:19:06:ea:b8:c0",
        &[
            "out 17 10.0.0.1 1645 > 10.0.0.100 1812: 2 packets, 369 bytes",
            "in 17 10.0.0.100 1812 > 10.0.0.1 1645: 2 packets, 262 bytes",
        ],
    ),
    (
        "radius/radius_different_auths.pcap",
        "00:1c:42:60:bb:37",
        &[
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 52178: 1 packets, 48 bytes",
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 53031: 2 packets, 231 bytes",
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 53127: 1 packets, 99 bytes",
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 57717: 1 packets, 99 bytes",
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 64691: 1 packets, 99 bytes",
            "unknown 17 127.0.0.1 1812 > 127.0.0.1 65443: 2 packets, 289 bytes",
            "unknown 17 127.0.0.1 52178 > 127.0.0.1 1812: 1 packets, 103 bytes",
            "unknown 17 127.0.0.1 53031 > 127.0.0.1 1812: 2 packets, 260 bytes",
            "unknown 17 127.0.0.1 53127 > 127.0.0.1 1812: 1 packets, 103 bytes",
            "unknown 17 127.0.0.1 57717 > 127.0.0.1 1812: 1 packets, 103 bytes",
            "unknown 17 127.0.0.1 62956 > 127.0.0.1 1812: 3 packets, 309 bytes",
            "unknown 17 127.0.0.1 64691 > 127.0.0.1 1812: 1 packets, 104 bytes",
            "unknown 17 127.0.0.1 65443 > 127.0.0.1 1812: 2 packets, 260 bytes",
        ],
    ),
    (
        "tcp/retransmits.pcap",
        "00:1c:42:60:bb:37",
        &[
            "in 6 10.211.55.2 52952 > 10.211.55.16 2222: 12 packets, 686 bytes, flags 0x1a",
            "in 6 10.211.55.2 52953 > 10.211.55.16 2222: 10 packets, 572 bytes, flags 0x1a",
            "out 6 10.211.55.16 2222 > 10.211.55.2 52952: 2 packets, 112 bytes, flags 0x12",
            "out 6 10.211.55.16 2222 > 10.211.55.2 52953: 2 packets, 112 bytes, flags 0x12",
        ],
    ),
    (
        "tcp/zero_windows.pcap",
        "00:1c:42:60:bb:37",
        &[
            "in 6 10.211.55.2 58377 > 10.211.55.16 2222: 12 packets, 10876 bytes, flags 0xda",
            "out 6 10.211.55.16 2222 > 10.211.55.2 58377: 20 packets, 1048 bytes, flags 0x52",
        ],
    ),
    (
        "tls/google.com-tls-1.2.pcap",
        "28:f0:76:38:bb:ba",
        &[
            "out 6 10.0.0.53 51486 > 216.58.220.238 443: 15 packets, 1246 bytes, flags 0xdb",
            "in 6 216.58.220.238 443 > 10.0.0.53 51486: 10 packets, 5594 bytes, flags 0x1b",
        ],
    ),
];
