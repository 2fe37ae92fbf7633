//! Captures made of captures: parts of them, and the same on other ports.

use std::path::{Path, PathBuf};

use benches::pcap_file::Writer;
use capture::CaptureFile;
use etherparse::PacketBuilder;

use super::captures::captures;
use super::recordings::{ETHERNET, LOCAL};

/// Time, bytes and length on the wire of each frame.
pub type Frames = Vec<(u64, Vec<u8>, u32)>;

pub fn frames(path: &Path) -> Frames {
    ethernet(path).unwrap()
}

/// `None` for a capture of another link type.
pub fn ethernet(path: &Path) -> Option<Frames> {
    let mut file = CaptureFile::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(mut block) = file.next_block().unwrap() {
        for frame in block.frames() {
            if frame.linktype != ETHERNET {
                return None;
            }
            frames.push((frame.time_ns, frame.data.to_vec(), frame.wire_len));
        }
    }
    Some(frames)
}

/// The capture from this packet on, counted from 1.
pub fn from_packet(path: &Path, packet: usize, folder: &Path) -> PathBuf {
    let to = folder.join(format!("from{packet}.pcap"));
    let mut writer = Writer::create(&to, ETHERNET).unwrap();
    for (time_ns, data, wire) in frames(path).iter().skip(packet - 1) {
        writer.write(*time_ns, data, *wire).unwrap();
    }
    writer.finish().unwrap();
    to
}

/// The capture with another server port. Checksums are those of before.
pub fn on_port(path: &Path, from: u16, to: u16, folder: &Path) -> PathBuf {
    let copy = folder.join(format!("{from}to{to}.pcap"));
    let mut writer = Writer::create(&copy, ETHERNET).unwrap();
    for (time_ns, mut data, wire) in frames(path) {
        // Ethernet, then IPv4 without options: the ports of TCP.
        assert_eq!(data[12..15], [8, 0, 0x45]);
        for at in [34, 36] {
            if data[at..at + 2] == from.to_be_bytes() {
                data[at..at + 2].copy_from_slice(&to.to_be_bytes());
            }
        }
        writer.write(time_ns, &data, wire).unwrap();
    }
    writer.finish().unwrap();
    copy
}

/// A recording of the decoders' tests.
pub fn decoded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("decode/tests/recordings").join(name)
}

/// All recordings of the decoders' tests, and the captures of the specification where there are.
pub fn recordings() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![decoded("")];
    folders.extend(captures());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Writes a connection with one request and its answer.
pub fn http(path: &Path, url: &str, user_agent: &str) {
    let request = format!("GET {url} HTTP/1.1\r\nHost: h\r\nUser-Agent: {user_agent}\r\n\r\n");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let server = [2, 0, 0, 0, 0, 2];
    let there =
        || PacketBuilder::ethernet2(LOCAL, server).ipv4([192, 0, 2, 1], [198, 51, 100, 7], 64);
    let back =
        || PacketBuilder::ethernet2(server, LOCAL).ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64);
    let mut frames = vec![Vec::new(); 4];
    there().tcp(40_000, 80, 10, 1000).syn().write(&mut frames[0], &[]).unwrap();
    back().tcp(80, 40_000, 70, 1000).syn().ack(11).write(&mut frames[1], &[]).unwrap();
    let step = there().tcp(40_000, 80, 11, 1000).ack(71).psh();
    step.write(&mut frames[2], request.as_bytes()).unwrap();
    let step = back().tcp(80, 40_000, 71, 1000).ack(11 + request.len() as u32).psh();
    step.write(&mut frames[3], answer.as_bytes()).unwrap();
    let mut writer = Writer::create(path, ETHERNET).unwrap();
    for (number, frame) in (0..).zip(&frames) {
        writer
            .write(1_767_225_600_000_000_000 + number * 1_000_000, frame, frame.len() as u32)
            .unwrap();
    }
    writer.finish().unwrap();
}
