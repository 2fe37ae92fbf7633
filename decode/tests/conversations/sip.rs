use decode::app::sip::{Sip, datagram as decode_datagram};
use decode::app::{Datagram, Events, Pending, Verdict};

use crate::recordings::{decode_streams, lines_of, payloads, tshark, values};

const PORT: u16 = 5060;

/// Two calls one after the other: asked, rung, taken, ended.
fn check(name: &str, lines: &[String]) {
    let without_id: Vec<&str> =
        lines.iter().map(|line| line.split(" call_id=").next().unwrap()).collect();
    let call = "from=sip:sipp@10.9.0.1:5060 to=sip:bob@10.9.0.2:5060";
    let one = [
        format!("> method=INVITE {call}"),
        format!("< - method=INVITE status_code=180 {call}"),
        format!("< * method=INVITE status_code=200 {call}"),
        format!("> method=ACK {call}"),
        format!("> method=BYE {call}"),
        format!("< * method=BYE status_code=200 {call}"),
    ];
    assert_eq!(without_id, [&one[..], &one].concat());
    for (field, begin, own) in [
        ("sip.Method", ">", "method"),
        ("sip.Status-Code", "<", "status_code"),
        ("sip.Call-ID", "", "call_id"),
        ("sip.CSeq.method", "", "method"),
        ("sip.from.addr", "", "from"),
    ] {
        if let Some(theirs) = tshark(name, field, field) {
            assert_eq!(values(lines, begin, own), theirs, "{field}");
        }
    }
}

#[test]
fn two_calls_over_udp() {
    let (mut pending, mut events) = (Pending::new(64), Events::default());
    for payload in payloads("sip/udp.pcap", PORT) {
        let datagram = Datagram {
            payload: &payload.bytes,
            src_port: payload.ports.0,
            dst_port: payload.ports.1,
            conversation: 1,
            now_us: payload.now_us,
        };
        assert_eq!(decode_datagram(&datagram, &mut pending, &mut events), Verdict::More);
    }
    check("sip/udp.pcap", &lines_of(&events));
}

#[test]
fn two_calls_over_tcp() {
    let (lines, verdicts) = decode_streams("sip/tcp.pcap", PORT, Sip::new);
    assert_eq!(verdicts, [Verdict::More]);
    check("sip/tcp.pcap", &lines);
}
