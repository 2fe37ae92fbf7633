//! Headers by hand, checksums left out: nobody but the ring looks at them.

/// Source and destination; `turned` is the other direction.
#[derive(Clone, Copy)]
pub struct Ends {
    pub a: [u8; 4],
    pub b: [u8; 4],
    pub turned: bool,
}

impl Ends {
    /// Source and destination of this direction.
    pub fn v4(self) -> ([u8; 4], [u8; 4]) {
        if self.turned { (self.b, self.a) } else { (self.a, self.b) }
    }

    /// The same as addresses of 2001:db8::/96.
    pub fn v6(self) -> ([u8; 16], [u8; 16]) {
        let wide = |last: [u8; 4]| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            address[12..].copy_from_slice(&last);
            address
        };
        let (source, destination) = self.v4();
        (wide(source), wide(destination))
    }

    /// `x` from a to b, `y` back.
    pub fn pick<T>(self, x: T, y: T) -> T {
        if self.turned { y } else { x }
    }
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Puts a tag into a frame, outside of those it has.
pub fn tagged(tpid: u16, tci: u16, mut frame: Vec<u8>) -> Vec<u8> {
    let [t0, t1] = tpid.to_be_bytes();
    let [c0, c1] = tci.to_be_bytes();
    frame.splice(12..12, [t0, t1, c0, c1]);
    frame
}

pub fn ipv4(ends: Ends, protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment_v4(ends, protocol, 0, payload)
}

/// `fragment` is the field of flags and offset.
pub fn fragment_v4(ends: Ends, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ends.v4();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

pub fn ipv6(ends: Ends, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = ends.v6();
    // Another flow label for each direction.
    let mut packet = vec![0x60, 0, ends.pick(0x12, 0x34), 0x56];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

pub fn tcp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.to_be_bytes());
    segment.extend(destination.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// A conversation's datagram between ports 4000 and 53.
pub fn conversation(ends: Ends) -> Vec<u8> {
    let (source, destination) = ends.pick((4000, 53), (53, 4000));
    udp(source, destination, &[0x5a; 24])
}

pub fn vxlan(source: u16, inner: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x08, 0, 0, 0, 0, 0, 42, 0];
    payload.extend(inner);
    udp(source, 4789, &payload)
}

/// GRE with the fields that `flags` asks for.
pub fn gre(flags: u16, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(flags.to_be_bytes());
    packet.extend(protocol.to_be_bytes());
    for flag in [0x8000, 0x2000, 0x1000] {
        if flags & flag != 0 {
            packet.extend([0, 0, 0, 7]);
        }
    }
    packet.extend(payload);
    packet
}

pub fn mpls(labels: usize, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    for left in (0..labels).rev() {
        packet.extend([0, 1, u8::from(left == 0), 64]);
    }
    packet.extend(payload);
    packet
}

pub fn pppoe(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x11, 0, 0, 9];
    packet.extend((2 + payload.len() as u16).to_be_bytes());
    packet.extend(protocol.to_be_bytes());
    packet.extend(payload);
    packet
}
