//! Recordings of real programs (`scripts/record`), by hand and with tshark's second opinion.

use std::path::{Path, PathBuf};
use std::process::Command;

use decode::app::datagram::UdpPorts;

use crate::player::Capture;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

fn check(name: &str, expected: &[&str]) {
    let lines = Capture::read(&path(name)).unwrap().play(&UdpPorts::default());
    assert_eq!(lines, expected, "{name}");
}

#[test]
fn dig_asks_unbound_over_udp() {
    check(
        "dns/udp.pcap",
        &[
            "1 dns Request query=example.test query_type=1 type=A",
            "2 dns Response 224us query=example.test query_type=1 type=A rcode=0 rcode_name=NOERROR answer=192.0.2.11/A;192.0.2.10/A",
            "3 dns Request query=example.test query_type=15 type=MX",
            "4 dns Response 118us query=example.test query_type=15 type=MX rcode=0 rcode_name=NOERROR answer=backup.example.test/MX;mail.example.test/MX",
            "5 dns Request query=www.example.test query_type=5 type=CNAME",
            "6 dns Response 108us query=www.example.test query_type=5 type=CNAME rcode=0 rcode_name=NOERROR answer=example.test/CNAME",
            "7 dns Request query=10.2.0.192.in-addr.arpa query_type=12 type=PTR",
            "8 dns Response 112us query=10.2.0.192.in-addr.arpa query_type=12 type=PTR rcode=0 rcode_name=NOERROR answer=example.test/PTR",
            "9 dns Request query=example.test query_type=255 type=ANY",
            "10 dns Response 103us query=example.test query_type=255 type=ANY rcode=0 rcode_name=NOERROR answer=",
            "11 dns Request query=_sip._udp.example.test query_type=33 type=SRV",
            "12 dns Response 102us query=_sip._udp.example.test query_type=33 type=SRV rcode=0 rcode_name=NOERROR answer=",
            "13 dns Request query=web.example.test query_type=65 type=HTTPS",
            "14 dns Response 100us query=web.example.test query_type=65 type=HTTPS rcode=0 rcode_name=NOERROR answer=",
            "15 dns Request query=example.test query_type=65280 type=TYPE65280",
            "16 dns Response 133us query=example.test query_type=65280 type=TYPE65280 rcode=0 rcode_name=NOERROR answer=",
            "17 dns Request query=missing.example.test query_type=1 type=A",
            "18 dns Response 125us query=missing.example.test query_type=1 type=A rcode=3 rcode_name=NXDOMAIN answer=",
            "19 dns Request query=with space\\.dot\\255.example.test query_type=1 type=A",
            "20 dns Response 104us query=with space\\.dot\\255.example.test query_type=1 type=A rcode=3 rcode_name=NXDOMAIN answer=",
            "21 dns Request query= query_type=2 type=NS",
            "22 dns Response 112us query= query_type=2 type=NS rcode=5 rcode_name=REFUSED answer=",
        ],
    );
}

#[test]
fn an_answer_that_is_cut_is_asked_for_again_over_tcp() {
    let x = "x".repeat(200);
    check(
        "dns/truncated.pcap",
        &[
            "1 dns Request query=long.example.test query_type=16 type=TXT",
            "2 dns Response 89us query=long.example.test query_type=16 type=TXT rcode=0 rcode_name=NOERROR answer=",
            "6 dns Request query=long.example.test query_type=16 type=TXT",
            &format!(
                "8 dns Response 47us query=long.example.test query_type=16 type=TXT rcode=0 rcode_name=NOERROR answer=a{x}/TXT;b{x}/TXT;{x}/TXT"
            ),
        ],
    );
}

#[test]
fn several_queries_over_one_connection() {
    check(
        "dns/tcp.pcap",
        &[
            "4 dns Request query=example.test query_type=1 type=A",
            "6 dns Response 102us query=example.test query_type=1 type=A rcode=0 rcode_name=NOERROR answer=192.0.2.11/A;192.0.2.10/A",
            "8 dns Request query=missing.example.test query_type=28 type=AAAA",
            "9 dns Response 44us query=missing.example.test query_type=28 type=AAAA rcode=3 rcode_name=NXDOMAIN answer=",
            "10 dns Request query=www.example.test query_type=5 type=CNAME",
            "11 dns Response 37us query=www.example.test query_type=5 type=CNAME rcode=0 rcode_name=NOERROR answer=example.test/CNAME",
        ],
    );
}

#[test]
fn udp_and_tcp_over_ipv6() {
    check(
        "dns/ipv6.pcap",
        &[
            "1 dns Request query=example.test query_type=28 type=AAAA",
            "2 dns Response 114us query=example.test query_type=28 type=AAAA rcode=0 rcode_name=NOERROR answer=2001:db8::10/AAAA",
            "6 dns Request query=example.test query_type=16 type=TXT",
            "8 dns Response 66us query=example.test query_type=16 type=TXT rcode=0 rcode_name=NOERROR answer=v=spf1 mx -all/TXT",
        ],
    );
}

#[test]
fn radclient_asks_freeradius() {
    check(
        "radius/freeradius.pcap",
        &[
            "1 radius Request packet=Access-Request code=1 user_name=alice service_type=2",
            "2 radius Response 635us result=Access-Accept code=2 service_type=2 framed_protocol=1 framed_address=192.0.2.77 framed_mask=255.255.255.0",
            "3 radius Request packet=Access-Request code=1 user_name=alice",
            "4 radius Response 176us result=Access-Reject code=3 service_type=2 framed_protocol=1 framed_address=192.0.2.77 framed_mask=255.255.255.0",
            "5 radius Request packet=Accounting-Request code=4 user_name=alice accounting_status=1 framed_address=192.0.2.77 accounting_session=s-1",
            "6 radius Response 195us result=Accounting-Response code=5",
            "7 radius Request packet=Accounting-Request code=4 user_name=alice accounting_status=3 framed_address=192.0.2.77 accounting_session=s-1",
            "8 radius Response 150us result=Accounting-Response code=5",
            "9 radius Request packet=Accounting-Request code=4 user_name=alice accounting_status=2 accounting_session=s-1",
            "10 radius Response 136us result=Accounting-Response code=5",
            "11 radius Request packet=Status-Server code=12",
            "12 radius Response result=Access-Accept code=2",
        ],
    );
}

#[test]
fn dhclient_gets_an_address_from_dnsmasq() {
    check(
        "dhcp/dnsmasq.pcap",
        &[
            "1 dhcp Request message=DISCOVER op=1 message_type=1 client_mac=76:7c:71:a4:1a:6b host_name=kiosk-7 client_address=0.0.0.0 your_address=0.0.0.0 server_address=0.0.0.0",
            "2 dhcp Response 298us message=OFFER op=2 message_type=2 client_mac=76:7c:71:a4:1a:6b host_name=kiosk-7 domain=example.test lease_s=1800 client_address=0.0.0.0 your_address=10.9.0.132 server_address=10.9.0.2",
            "3 dhcp Request message=REQUEST op=1 message_type=3 client_mac=76:7c:71:a4:1a:6b host_name=kiosk-7 client_address=0.0.0.0 your_address=0.0.0.0 server_address=0.0.0.0",
            "4 dhcp Response 613us message=ACK op=2 message_type=5 client_mac=76:7c:71:a4:1a:6b host_name=kiosk-7 domain=example.test lease_s=1800 client_address=0.0.0.0 your_address=10.9.0.132 server_address=10.9.0.2",
            "5 dhcp Request message=RELEASE op=1 message_type=7 client_mac=76:7c:71:a4:1a:6b host_name=kiosk-7 client_address=10.9.0.132 your_address=0.0.0.0 server_address=0.0.0.0",
        ],
    );
}

#[test]
fn dhclient_gets_an_ipv6_address_from_dnsmasq() {
    check(
        "dhcpv6/dnsmasq.pcap",
        &[
            "1 dhcpv6 Request message=SOLICIT message_type=1 client_id=00030001767c71a41a6b client_name=kiosk-7.example.test",
            "2 dhcpv6 Response 100448us message=ADVERTISE message_type=2 client_id=00030001767c71a41a6b client_name=kiosk-7 address=fd09::18d valid_lifetime_s=1200 status_code=0",
            "3 dhcpv6 Request message=REQUEST message_type=3 client_id=00030001767c71a41a6b client_name=kiosk-7.example.test address=fd09::18d valid_lifetime_s=7500",
            "4 dhcpv6 Response 127us message=REPLY message_type=7 client_id=00030001767c71a41a6b client_name=kiosk-7.example.test address=fd09::18d valid_lifetime_s=1200 status_code=0",
            "5 dhcpv6 Request message=RELEASE message_type=8 client_id=00030001767c71a41a6b client_name=kiosk-7.example.test address=fd09::18d valid_lifetime_s=0",
            "6 dhcpv6 Response 125us message=REPLY message_type=7 client_id=00030001767c71a41a6b status_code=0",
        ],
    );
}

#[test]
fn avahi_probes_and_announces_names() {
    check(
        "mdns/avahi.pcap",
        &[
            "1 mdns Request type=ANY query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "2 mdns Request type=ANY query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "3 mdns Request type=ANY query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "4 mdns Request type=ANY query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "5 mdns Request type=ANY query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "6 mdns Request type=ANY query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa",
            "7 mdns Response type=PTR query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=printer.local/PTR;10.9.0.2/A;printer.local/PTR;fd09::2/AAAA",
            "8 mdns Response type=PTR query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=kiosk.local/PTR;10.9.0.1/A;kiosk.local/PTR;fd09::1/AAAA",
            "9 mdns Request type=ANY query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local",
            "10 mdns Request type=ANY query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local",
            "11 mdns Request type=ANY query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local",
            "12 mdns Request type=ANY query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local",
            "13 mdns Request type=ANY query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local",
            "14 mdns Request type=ANY query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local",
            "15 mdns Response type=TXT query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local answer=/TXT;printer [86:e5:62:b7:9c:86]._workstation._tcp.local/PTR;printer.local/SRV;fd09::2/AAAA;10.9.0.2/A;_workstation._tcp.local/PTR",
            "16 mdns Response type=TXT query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local answer=/TXT;kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local/PTR;kiosk.local/SRV;fd09::1/AAAA;10.9.0.1/A",
            "17 mdns Response type=PTR query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=printer.local/PTR",
            "18 mdns Response type=PTR query=2.0.9.10.in-addr.arpa answer=printer.local/PTR",
            "19 mdns Response type=PTR query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=kiosk.local/PTR;kiosk.local/PTR",
            "20 mdns Response type=TXT query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local answer=/TXT;printer [86:e5:62:b7:9c:86]._workstation._tcp.local/PTR;printer.local/SRV;fd09::2/AAAA;10.9.0.2/A;_workstation._tcp.local/PTR",
            "21 mdns Response type=TXT query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local answer=/TXT;kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local/PTR;kiosk.local/SRV;fd09::1/AAAA;10.9.0.1/A",
            "22 mdns Request type=A query=printer.local",
            "23 mdns Response type=A query=printer.local answer=10.9.0.2/A",
            "24 mdns Response type=PTR query=2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=printer.local/PTR;10.9.0.2/A;printer.local/PTR;fd09::2/AAAA",
            "25 mdns Response type=PTR query=1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa answer=kiosk.local/PTR;10.9.0.1/A;kiosk.local/PTR;fd09::1/AAAA",
            "26 mdns Response type=TXT query=printer [86:e5:62:b7:9c:86]._workstation._tcp.local answer=/TXT;printer [86:e5:62:b7:9c:86]._workstation._tcp.local/PTR;printer.local/SRV;fd09::2/AAAA;10.9.0.2/A;_workstation._tcp.local/PTR",
            "27 mdns Response type=TXT query=kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local answer=/TXT;kiosk [86:13:e8:9e:ec:96]._workstation._tcp.local/PTR;kiosk.local/SRV;fd09::1/AAAA;10.9.0.1/A",
        ],
    );
}

/// Rows of the fields that tshark finds in the packets that the filter lets through, each with the
/// number of its frame first; `None`, with a word, without tshark.
fn second_opinion(name: &str, filter: &str, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", path(name).to_str()?, "-Y", filter, "-T", "fields", "-e", "frame.number"]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let Ok(output) = tshark.output() else {
        eprintln!("skipped: no tshark");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| line.split('\t').map(String::from).collect()).collect())
}

/// Seconds with nine digits, as µs.
fn micros(seconds: &str) -> u64 {
    let (whole, part) = seconds.split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000 + part[..6].parse::<u64>().unwrap()
}

#[test]
fn tshark_reads_the_same_from_dns() {
    for name in ["dns/udp.pcap", "dns/truncated.pcap", "dns/tcp.pcap", "dns/ipv6.pcap"] {
        let fields = ["dns.qry.name", "dns.qry.type", "dns.flags.rcode", "dns.time"];
        let Some(rows) = second_opinion(name, "dns", &fields) else { return };
        let lines = Capture::read(&path(name)).unwrap().play(&UdpPorts::default());
        assert_eq!(rows.len(), lines.len(), "{name}");
        for (row, line) in rows.iter().zip(&lines) {
            let [frame, query, qtype, rcode, time] = &row[..] else { panic!("{row:?}") };
            let latency = match time.is_empty() {
                true => String::new(),
                false => format!(" {}us", micros(time)),
            };
            // Bytes that are not printable are written in another way.
            let is_plain = !line.contains('\\');
            let query = if query == "<Root>" { "" } else { query };
            let name_and_type = format!("{latency} query={query} query_type={qtype} ");
            assert!(line.starts_with(&format!("{frame} dns ")), "{line} {row:?}");
            assert!(!is_plain || line.contains(&name_and_type), "{line} {row:?}");
            assert!(rcode.is_empty() || line.contains(&format!(" rcode={rcode} ")), "{line}");
        }
    }
}

#[test]
fn tshark_reads_the_same_from_radius() {
    let name = "radius/freeradius.pcap";
    let fields = ["radius.code", "radius.User_Name", "radius.Framed-IP-Address"];
    let Some(rows) = second_opinion(name, "radius", &fields) else { return };
    let lines = Capture::read(&path(name)).unwrap().play(&UdpPorts::default());
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        let [frame, code, user, address] = &row[..] else { panic!("{row:?}") };
        let has = |name: &str, value: &str| line.contains(&format!(" {name}={value}"));
        assert!(line.starts_with(&format!("{frame} radius ")) && has("code", code), "{line}");
        assert_eq!(line.contains("user_name"), !user.is_empty(), "{line}");
        assert!(user.is_empty() || has("user_name", user), "{line}");
        assert!(address.is_empty() || has("framed_address", address), "{line}");
    }
}

#[test]
fn tshark_reads_the_same_from_dhcp_of_both_families() {
    let name = "dhcp/dnsmasq.pcap";
    let fields = ["dhcp.option.dhcp", "dhcp.hw.mac_addr", "dhcp.option.hostname", "dhcp.ip.your"];
    let names = ["message_type", "client_mac", "host_name", "your_address"];
    compare(name, "dhcp", &fields, &names);
    let fields = ["dhcpv6.msgtype", "dhcpv6.duid.bytes", "dhcpv6.iaaddr.ip"];
    compare("dhcpv6/dnsmasq.pcap", "dhcpv6", &fields, &["message_type", "client_id", "address"]);
}

#[test]
fn tshark_reads_the_same_from_mdns() {
    // Of several questions and answers the first is ours.
    compare("mdns/avahi.pcap", "dns.flags.response == 0", &["dns.qry.name"], &["query"]);
    compare("mdns/avahi.pcap", "dns.flags.response == 1", &["dns.resp.name"], &["query"]);
}

/// Each field that tshark finds first is among the attributes of that frame's event.
fn compare(name: &str, filter: &str, fields: &[&str], attributes: &[&str]) {
    let Some(rows) = second_opinion(name, filter, fields) else { return };
    let lines = Capture::read(&path(name)).unwrap().play(&UdpPorts::default());
    assert!(!rows.is_empty());
    for row in rows {
        let line = lines.iter().find(|line| line.starts_with(&format!("{} ", row[0]))).unwrap();
        for (value, attribute) in row[1..].iter().zip(attributes) {
            let first = value.split(',').next().unwrap_or_default();
            let is_there = line.contains(&format!(" {attribute}={first}"));
            assert!(first.is_empty() || is_there, "{attribute} {row:?}: {line}");
        }
    }
}
