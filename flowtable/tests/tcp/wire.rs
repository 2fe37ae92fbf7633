//! Segments as frames on a wire, for captures that are made up.

use flowtable::Way;
use flowtable::tcp::{Segment, Timestamps};

/// One millisecond in ns.
pub const MS: u64 = 1_000_000;
/// Some moment, so that nothing starts at 0.
pub const START_NS: u64 = 1_764_000_000_000_000_000;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// Ethernet, IPv4 and TCP with options, as a sender would write them. Host 1 is the lower one and
/// sends upwards; `number` makes conversations differ, below 256. Segments with SYN offer SACK if
/// they say so, and all options that do not fit are left out.
pub fn frame(way: Way, segment: &Segment, number: u8) -> Vec<u8> {
    let options = options(segment);
    let header_len = 20 + options.len();
    let total_len = (20 + header_len + segment.len as usize) as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let (own, peer) = if way == Way::Up { (1, 2) } else { (2, 1) };
    (frame[5], frame[11]) = (peer, own);
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(total_len.to_be_bytes());
    frame.extend(segment.ip_id.unwrap_or(0).to_be_bytes());
    frame.extend([0x40, 0, 64, 6, 0, 0]);
    frame.extend([10, 0, number, own, 10, 0, number, peer]);
    frame.extend([0x27, own, 0x27, peer]);
    frame.extend(segment.seq.to_be_bytes());
    frame.extend(segment.ack.to_be_bytes());
    frame.extend([(header_len as u8 / 4) << 4, segment.flags]);
    frame.extend(segment.window.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(options);
    frame.resize(frame.len() + segment.len as usize, b'x');
    frame
}

fn options(segment: &Segment) -> Vec<u8> {
    let mut options = Vec::new();
    if let Some(scale) = segment.syn.window_scale {
        options.extend([1, 3, 3, scale]);
    }
    if segment.syn.sack_permitted {
        options.extend([1, 1, 4, 2]);
    }
    if let Some(Timestamps { value, echo }) = segment.timestamps {
        options.extend([1, 1, 8, 10]);
        options.extend(value.to_be_bytes());
        options.extend(echo.to_be_bytes());
    }
    let room = (40 - options.len() - 4) / 8;
    if let Some(sack) = segment.sack {
        let blocks = &sack.as_slice()[..room.min(sack.as_slice().len())];
        options.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
        for block in blocks {
            options.extend(block.left.to_be_bytes());
            options.extend(block.right.to_be_bytes());
        }
    }
    options
}
