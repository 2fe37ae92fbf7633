//! Files in every dialect, and what damage to them gives.

use std::io::Write;

use super::*;

const FRAME: &[u8] = b"frame bytes of any kind";

fn write(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

type Seen = (u64, Vec<u8>, u32, u32);

fn read(bytes: &[u8]) -> (Vec<Seen>, Result<bool, FileError>) {
    let file = write(bytes);
    let mut capture = CaptureFile::open(file.path()).unwrap();
    let mut seen = Vec::new();
    loop {
        match capture.next_block() {
            Ok(Some(mut block)) => {
                seen.extend(
                    block.frames().map(|f| (f.time_ns, f.data.to_vec(), f.wire_len, f.linktype)),
                );
            }
            Ok(None) => return (seen, Ok(capture.is_truncated())),
            Err(error) => return (seen, Err(error)),
        }
    }
}

fn pcap(magic: u32, big: bool, fraction: u32) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut file = Vec::new();
    file.extend(word(magic));
    file.extend([half(2), half(4)].concat());
    file.extend([word(0), word(0), word(262_144), word(1)].concat());
    for _ in 0..2 {
        file.extend([word(1_700_000_000), word(fraction)].concat());
        file.extend([word(FRAME.len() as u32), word(1500)].concat());
        file.extend(FRAME);
    }
    file
}

#[test]
fn classic_files_read_in_both_orders_and_both_time_units() {
    for (magic, big, fraction) in [
        (0xa1b2_c3d4, false, 250),
        (0xa1b2_c3d4, true, 250),
        (0xa1b2_3c4d, false, 250_000),
        (0xa1b2_3c4d, true, 250_000),
    ] {
        let (frames, end) = read(&pcap(magic, big, fraction));
        let expected = (1_700_000_000_000_250_000, FRAME.to_vec(), 1500, 1);
        assert_eq!(frames, [expected.clone(), expected]);
        assert!(!end.unwrap());
    }
}

#[test]
fn a_gzipped_file_reads_like_a_plain_one() {
    let plain = pcap(0xa1b2_c3d4, false, 250);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let (frames, end) = read(&encoder.finish().unwrap());
    assert_eq!(frames, read(&plain).0);
    assert!(!end.unwrap());
}

#[test]
fn a_file_cut_inside_a_record_gives_what_is_whole_and_says_so() {
    let whole = pcap(0xa1b2_c3d4, false, 250);
    let (frames, end) = read(&whole[..whole.len() - 5]);
    assert_eq!(frames.len(), 1);
    assert!(end.unwrap());
}

#[test]
fn an_absurd_record_length_is_damage_at_its_offset() {
    let mut bytes = pcap(0xa1b2_c3d4, false, 250);
    let second = 24 + 16 + FRAME.len();
    bytes[second + 8..second + 12].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let (frames, end) = read(&bytes);
    assert_eq!(frames.len(), 1);
    let text = end.unwrap_err().to_string();
    assert!(text.ends_with("damaged at byte 63: a record of 4294967296 bytes"), "{text}");
}

#[test]
fn other_files_and_empty_ones_are_refused() {
    for bytes in [&b"#!/bin/sh\necho hello, this is no capture"[..], b"", b"\xd4\xc3"] {
        let file = write(bytes);
        let error = CaptureFile::open(file.path()).err().unwrap();
        assert!(matches!(error, FileError::UnknownFormat { .. }), "{error}");
    }
}

fn block(kind: u32, big: bool, body: &[u8]) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let total = word(body.len() as u32 + 12);
    [&word(kind)[..], &total, &body, &total].concat()
}

fn pcapng(big: bool) -> Vec<u8> {
    let word = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let half = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let section = [&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat();
    let ns = [&half(9)[..], &half(1), &[9, 0, 0, 0], &half(0), &half(0)].concat();
    let first = [&half(1)[..], &half(0), &word(0), &ns].concat();
    let second = [&half(101)[..], &half(0), &word(0)].concat();
    let packet = |interface: u32, time: u64| {
        let (high, low) = ((time >> 32) as u32, time as u32);
        let head = [word(interface), word(high), word(low), word(FRAME.len() as u32), word(1500)];
        [&head.concat()[..], FRAME].concat()
    };
    [
        block(0x0a0d_0d0a, big, &section),
        block(1, big, &first),
        block(1, big, &second),
        block(5, big, &[0; 12]),
        block(6, big, &packet(0, 1_700_000_000_000_250_000)),
        block(6, big, &packet(1, 1_700_000_000_000_250)),
    ]
    .concat()
}

#[test]
fn pcapng_reads_each_interface_in_its_own_time_unit_and_link_type() {
    for big in [false, true] {
        let (frames, end) = read(&pcapng(big));
        let time = 1_700_000_000_000_250_000;
        let expected = [(time, FRAME.to_vec(), 1500, 1), (time, FRAME.to_vec(), 1500, 101)];
        assert_eq!(frames, expected);
        assert!(!end.unwrap());
    }
}

#[test]
fn damaged_pcapng_blocks_are_named() {
    let good = pcapng(false);
    let unknown = [good.clone(), block(6, false, &[[9, 0, 0, 0]; 5].concat())].concat();
    assert!(read(&unknown).1.unwrap_err().to_string().contains("unknown interface"));
    let mut lengths = good.clone();
    let last = lengths.len() - 1;
    lengths[last] ^= 1;
    assert!(read(&lengths).1.unwrap_err().to_string().contains("two lengths differ"));
    let short = [good, vec![6, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert!(read(&short).1.unwrap_err().to_string().contains("a block of 3 bytes"));
}

#[test]
fn every_cut_of_a_file_ends_cleanly() {
    for bytes in [pcap(0xa1b2_c3d4, false, 250), pcapng(true)] {
        for cut in 24..bytes.len() {
            let (frames, end) = read(&bytes[..cut]);
            assert!(frames.len() <= 2);
            assert!(end.is_ok(), "cut at {cut}: {end:?}");
        }
    }
}
