//! The envelope of a Juniper mirror: outer IP and UDP (or TCP), 8 bytes, then an IP packet
//! (spec 14.5).

use decode::fragments::Reassembler;
use decode::{Frame, Link, Outcome, Packet};

/// Bytes between the outer transport header and the inner packet.
const HEADER_BYTES: usize = 8;

/// Opens envelopes, and joins the fragments that come in them apart from those outside.
pub(super) struct Mirror {
    reassembler: Reassembler,
    /// Time of the last packet, ns since the Unix epoch.
    last_ns: u64,
}

impl Mirror {
    pub(super) fn new() -> Self {
        Self { reassembler: Reassembler::new(), last_ns: 0 }
    }

    /// Gives the packet in an envelope, whole, to `inner`. `payload_len` is what the outer headers
    /// say, `payload` what was captured of it. False when there is no IP packet in it.
    pub(super) fn open(
        &mut self,
        payload: &[u8],
        payload_len: u32,
        time_ns: u64,
        inner: impl FnOnce(&Packet, &[u8]),
    ) -> bool {
        self.last_ns = self.last_ns.max(time_ns);
        let Some(data) = payload.get(HEADER_BYTES..).filter(|data| !data.is_empty()) else {
            return false;
        };
        let wire_len = payload_len.saturating_sub(HEADER_BYTES as u32);
        let frame = Frame { data, wire_len, ..Frame::default() };
        let mut packet = Packet::default();
        match decode::parse(Link::RawIp, &frame, &mut packet) {
            Outcome::Packet => {
                if packet.l4_header_len > 0 {
                    inner(&packet, packet.payload(data));
                }
                true
            }
            Outcome::Fragment(fragment) => {
                let payload = packet.payload(data);
                let whole =
                    self.reassembler.push(self.last_ns, &packet, &fragment, payload, &mut |_| {});
                if let Some(whole) = whole {
                    inner(&whole.packet, whole.packet.payload(whole.bytes));
                }
                true
            }
            Outcome::Ignored(_) | Outcome::Malformed(_) => false,
        }
    }

    /// Forgets fragments that waited too long, by the time of the last packet.
    pub(super) fn expire(&mut self) {
        self.reassembler.expire(self.last_ns, &mut |_| {});
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn opened(payload: &[u8]) -> (bool, Vec<Vec<u8>>) {
        let mut seen = Vec::new();
        let mut mirror = Mirror::new();
        let is_open = mirror.open(payload, payload.len() as u32, 0, |packet, payload| {
            assert_eq!((packet.src_port, packet.dst_port), (53, 4000));
            seen.push(payload.to_vec());
        });
        (is_open, seen)
    }

    #[test]
    fn payloads_of_0_to_8_bytes_are_ignored() {
        for length in 0..=8 {
            assert_eq!(opened(&vec![0x45; length]), (false, vec![]), "{length}");
        }
    }

    #[test]
    fn the_inner_packet_counts_by_its_version() {
        for v6 in [false, true] {
            let mut payload = vec![0xff; 8];
            let inner = match v6 {
                false => PacketBuilder::ipv4([8, 8, 8, 8], [10, 0, 0, 1], 64),
                true => PacketBuilder::ipv6([1; 16], [2; 16], 64),
            };
            inner.udp(53, 4000).write(&mut payload, b"answer").unwrap();
            assert_eq!(opened(&payload), (true, vec![b"answer".to_vec()]));
        }
        assert_eq!(opened(&[0xff; 40]), (false, vec![]));
    }
}
