//! Connection ids: one number for both directions, in every record (spec 11.5).

use decode::Packet;

use crate::key::{Hasher, Key};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Keyed hash of conversations. Ids repeat within one process run only, as long as the key does.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionIds(Hasher);

impl ConnectionIds {
    /// Ids under a random key. Not the key of the table's index: ids leave the process.
    #[must_use]
    pub fn new(random_key: u64) -> Self {
        Self(Hasher::new(random_key))
    }

    /// Id of a packet's conversation, the same for both directions: never 0 for TCP and UDP,
    /// `None` for other protocols.
    #[must_use]
    pub fn of(&self, packet: &Packet) -> Option<u32> {
        self.of_key(&Key::of(packet).0)
    }

    pub(crate) fn of_key(&self, key: &Key) -> Option<u32> {
        matches!(key.protocol(), TCP | UDP).then(|| (self.0.hash(key) as u32).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(protocol: u8, vlan: u16) -> Packet {
        let mut packet =
            Packet { protocol, vlan, src_port: 40_000, dst_port: 80, ..Packet::default() };
        packet.src[15] = 9;
        packet.dst[15] = 1;
        packet
    }

    #[test]
    fn both_directions_share_the_id() {
        let ids = ConnectionIds::new(1);
        for vlan in [0, 41] {
            let there = packet(TCP, vlan);
            let back =
                Packet { src: there.dst, dst: there.src, src_port: 80, dst_port: 40_000, ..there };
            assert_eq!(ids.of(&there), ids.of(&back));
            assert!(ids.of(&there).is_some_and(|id| id != 0));
        }
        assert_ne!(ids.of(&packet(TCP, 0)), ids.of(&packet(TCP, 41)));
        assert_ne!(ids.of(&packet(TCP, 0)), ids.of(&packet(UDP, 0)));
    }

    #[test]
    fn another_key_gives_another_id() {
        let packet = packet(UDP, 0);
        assert_ne!(ConnectionIds::new(1).of(&packet), ConnectionIds::new(2).of(&packet));
    }

    #[test]
    fn protocols_without_connections_have_none() {
        assert_eq!(ConnectionIds::new(1).of(&packet(1, 0)), None);
    }
}
