//! The conversation key: protocol, VLAN, lower endpoint, higher endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use decode::Packet;

/// Bits of `tail` that belong to the entry's state and take no part in the key: the low byte, and
/// 29–31.
pub(crate) const STATE_MASK: u64 = 0xe000_00ff;
const V6_BIT: u64 = 1 << 28;

/// Both endpoints in canonical order, so that both directions give the same key.
///
/// `tail`: lower port 48–63, higher port 32–47, 6-or-4 bit 28, VLAN id 16–27, protocol 8–15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// Lower address, then higher address; two words each, first octet most significant.
    pub(crate) addresses: [u64; 4],
    pub(crate) tail: u64,
}

/// The two directions of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// From the lower endpoint to the higher.
    #[default]
    Up,
    /// From the higher endpoint to the lower.
    Down,
}

impl Way {
    /// Both directions, in the order of [`Way::index`].
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    /// 0 or 1.
    #[inline(always)]
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The opposite direction.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::Up { Self::Down } else { Self::Up }
    }
}

impl Key {
    /// Key of a packet's conversation and the packet's direction in it.
    #[inline(always)]
    pub(crate) fn of(packet: &Packet) -> (Self, Way) {
        let (source, destination) = (words(&packet.src), words(&packet.dst));
        let (from, to) = (u64::from(packet.src_port), u64::from(packet.dst_port));
        let rest = u64::from(packet.protocol) << 8
            | u64::from(packet.vlan & 0x0fff) << 16
            | if packet.ipv6 { V6_BIT } else { 0 };
        if (source, from) <= (destination, to) {
            let addresses = [source.0, source.1, destination.0, destination.1];
            (Self { addresses, tail: from << 48 | to << 32 | rest }, Way::Up)
        } else {
            let addresses = [destination.0, destination.1, source.0, source.1];
            (Self { addresses, tail: to << 48 | from << 32 | rest }, Way::Down)
        }
    }

    pub(crate) fn protocol(&self) -> u8 {
        (self.tail >> 8) as u8
    }

    pub(crate) fn vlan(&self) -> u16 {
        (self.tail >> 16) as u16 & 0x0fff
    }

    /// Port of the lower endpoint, then of the higher.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [(self.tail >> 48) as u16, (self.tail >> 32) as u16]
    }

    /// Source and destination of one direction.
    pub(crate) fn endpoints(&self, way: Way) -> [(IpAddr, u16); 2] {
        let [a, b, c, d] = self.addresses;
        let low = (self.address(a, b), (self.tail >> 48) as u16);
        let high = (self.address(c, d), (self.tail >> 32) as u16);
        match way {
            Way::Up => [low, high],
            Way::Down => [high, low],
        }
    }

    fn address(&self, high: u64, low: u64) -> IpAddr {
        if self.tail & V6_BIT == 0 {
            IpAddr::V4(Ipv4Addr::from_bits(low as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
        }
    }
}

#[inline(always)]
fn words(address: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_be_bytes(*address);
    ((number >> 64) as u64, number as u64)
}

/// A keyed hash of keys: three folded multiplications, as strong as a table needs against
/// somebody who cannot see the key, and the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher([u64; 6]);

impl Hasher {
    pub(crate) fn new(key: u64) -> Self {
        let mut state = key;
        Self([(); 6].map(|()| splitmix(&mut state)))
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let Self(secret) = self;
        let [a, b, c, d] = key.addresses;
        let low = fold(a ^ secret[0], b ^ secret[1]);
        let high = fold(c ^ secret[2], d ^ secret[3]);
        fold(low ^ key.tail ^ secret[4], high.rotate_left(32) ^ secret[5])
    }
}

/// Both halves of the 128-bit product.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads one word into as many as are needed.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// SplitMix64's finaliser.
#[inline(always)]
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
