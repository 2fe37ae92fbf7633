//! What spec sections 17 and 17.1 say of the shared captures. `KPROBE_PCAPS` names their folder;
//! each test passes with a message where they are missing.

use std::path::PathBuf;

use decode::app::datagram::UdpPorts;

use crate::player::Capture;

fn capture(name: &str) -> Option<Capture> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/pcaps");
    let folder = std::env::var_os("KPROBE_PCAPS").map_or_else(|| default.into(), PathBuf::from);
    Capture::read(&folder.join(name))
}

fn check(name: &str, expected: &[&str]) {
    let Some(capture) = capture(name) else { return };
    assert_eq!(capture.play(&UdpPorts::default()), expected, "{name}");
}

#[test]
fn google_com_any() {
    check(
        "dns/google.com-any.pcap",
        &[
            "1 dns Request query=google.com query_type=255 type=ANY",
            "2 dns Response 44230us query=google.com query_type=255 type=ANY rcode=0 rcode_name=NOERROR answer=172.217.26.14/A;2404:6800:4004:809::200e/AAAA;alt2.aspmx.l.google.com/MX;ns2.google.com/NS;;alt4.aspmx.l.google.com/MX;aspmx.l.google.com/MX;ns4.google.com/NS;alt3.aspmx.l.google.com/MX;alt1.aspmx.l.google.com/MX;v=spf1 include:_spf.google.com ~all/TXT;;ns1.google.com/NS;;ns3.google.com/NS",
            "3 dns Request query=aspmx.l.google.com query_type=1 type=A",
            "4 dns Request query=aspmx.l.google.com query_type=28 type=AAAA",
            "5 dns Response 41781us query=aspmx.l.google.com query_type=1 type=A rcode=0 rcode_name=NOERROR answer=74.125.203.26/A",
            "6 dns Response 42300us query=aspmx.l.google.com query_type=28 type=AAAA rcode=0 rcode_name=NOERROR answer=2404:6800:4008:c07::1b/AAAA",
        ],
    );
}

#[test]
fn sns_pb_isc_org() {
    check(
        "dns/sns-pb.isc.org.pcap",
        &[
            "1 dns Request query=sns-pb.isc.org query_type=1 type=A",
            "2 dns Response 168401us query=sns-pb.isc.org query_type=1 type=A rcode=0 rcode_name=NOERROR answer=192.5.4.1/A",
        ],
    );
}

#[test]
fn a_signed_answer_in_three_fragments() {
    check(
        "dns/sns-pb.isc.org-dnssec.pcap",
        &[
            "1 dns Request query=sns-pb.isc.org query_type=1 type=A",
            "4 dns Response 173443us query=sns-pb.isc.org query_type=1 type=A rcode=0 rcode_name=NOERROR answer=192.5.4.1/A;",
        ],
    );
}

#[test]
fn a_dhcp_request_and_its_answer() {
    check(
        "dhcp/dhcpv4.pcap",
        &[
            "1 dhcp Request message=REQUEST op=1 message_type=3 client_mac=00:1c:42:60:bb:37 host_name=chdev client_address=0.0.0.0 your_address=0.0.0.0 server_address=0.0.0.0",
            "2 dhcp Response 1634us message=ACK op=2 message_type=5 client_mac=00:1c:42:60:bb:37 host_name=chdev domain=localdomain lease_s=1800 client_address=0.0.0.0 your_address=10.211.55.16 server_address=10.211.55.1",
        ],
    );
}

#[test]
fn radius_accounting_starts() {
    check(
        "radius/radius-acct-start.pcap",
        &[
            "1 radius Request packet=Accounting-Request code=4 user_name=bob accounting_status=1 framed_address=10.1.2.3",
            "2 radius Response 266us result=Accounting-Response code=5",
        ],
    );
}

#[test]
fn radius_accounting_stops() {
    check(
        "radius/radius-acct-stop.pcap",
        &[
            "1 radius Request packet=Accounting-Request code=4 user_name=bob accounting_status=2",
            "2 radius Response 1890us result=Accounting-Response code=5",
        ],
    );
}

#[test]
fn radius_access_by_challenge() {
    check(
        "radius/radius-auth-req.pcap",
        &[
            "1 radius Request packet=Access-Request code=1 user_name=John.McGuirk service_type=2",
            "2 radius Response 2803us result=Access-Challenge code=11 service_type=2 framed_address=255.255.255.254",
            "3 radius Request packet=Access-Request code=1 user_name=John.McGuirk service_type=2",
            "4 radius Response 114us result=Access-Accept code=2 user_name=John.McGuirk service_type=2 framed_address=255.255.255.254",
        ],
    );
}

#[test]
fn radius_over_loopback() {
    check(
        "radius/radius_different_auths.pcap",
        &[
            "1 radius Request packet=Access-Request code=1 user_name=steve",
            "2 radius Response 563us result=Access-Challenge code=11 service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
            "3 radius Request packet=Access-Request code=1 user_name=steve",
            "4 radius Response 1004913us result=Access-Reject code=3",
            "5 radius Request packet=Access-Request code=1 user_name=steve",
            "6 radius Response 216us result=Access-Challenge code=11 service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
            "7 radius Request packet=Access-Request code=1 user_name=steve",
            "8 radius Response 277us result=Access-Accept code=2 user_name=steve service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
            "9 radius Request packet=Access-Request code=1 user_name=steve",
            "10 radius Response 275us result=Access-Accept code=2 service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
            "11 radius Request packet=Access-Request code=1 user_name=steve",
            "12 radius Response 273us result=Access-Accept code=2 service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
            "13 radius Request packet=Access-Request code=1 user_name=steve",
            "14 radius Response 1001459us result=Access-Reject code=3",
            "15 radius Request packet=Access-Request code=1 user_name=steve",
            "16 radius Request packet=Access-Request code=1 user_name=steve",
            "17 radius Request packet=Access-Request code=1 user_name=steve",
            "18 radius Request packet=Access-Request code=1 user_name=steve",
            "19 radius Response 517us result=Access-Accept code=2 service_type=2 framed_protocol=1 framed_address=172.16.3.33 framed_mask=255.255.255.0",
        ],
    );
}
