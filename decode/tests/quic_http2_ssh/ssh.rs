//! OpenSSH.

use decode::app::ssh::Ssh;
use decode::app::{Events, Field, Value, Verdict};

use crate::recording::{connections, line, recording, tshark};

const FILE: &str = "ssh/openssh.pcap";
const BANNER: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";

#[test]
fn openssh_agrees_on_what_both_sides_list_first() {
    let mut events = Events::default();
    let connections = connections(&recording(FILE), 2222, Ssh::new, &mut events);
    assert!(events.is_empty());
    assert!(connections.iter().all(|(_, verdict)| *verdict == Verdict::Done));
    connections.iter().for_each(|(ssh, _)| decode::app::StreamDecoder::facts(ssh, &mut events));
    let lines: Vec<String> = events.iter().map(|event| line(&event)).collect();
    assert_eq!(
        lines,
        [
            // The cipher authenticates, so there is no MAC.
            format!(
                "{BANNER} {BANNER} sntrup761x25519-sha512 ssh-ed25519 \
                 chacha20-poly1305@openssh.com 472b5de333ad665af5cbf10ff892c4df"
            ),
            format!(
                "{BANNER} {BANNER} ecdh-sha2-nistp256 ssh-ed25519 aes256-ctr hmac-sha2-512 \
                 6735d6a3875697127ebcfc422d9f447a"
            ),
        ]
    );
    let told: Vec<&str> = events
        .iter()
        .flat_map(|event| [Field::SshClient, Field::SshServer].map(|field| event.get(field)))
        .chain(events.iter().map(|event| event.get(Field::SshHassh)))
        .map(|value| if let Some(Value::Text(text)) = value { text } else { panic!() })
        .collect();
    let fields = ["ssh.protocol", "ssh.kex.hassh"];
    if let Some(values) = tshark(FILE, "tcp.port==2222,ssh", "ssh", &fields) {
        assert_eq!(values.concat(), told);
    }
}
