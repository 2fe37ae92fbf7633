//! Sizes of the ring: what the kernel cuts, when it hands over, and what is refused beforehand.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use capture::{CaptureError, ConfigError, Ring, RingConfig, Wait};
use common::{collect, interface, ip, send, small, with_namespace, with_veth};

/// A frame of so many bytes, each telling its place.
fn long_frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend((14..bytes).map(|n| (n % 251) as u8));
    frame
}

#[test]
fn a_frame_larger_than_a_block_is_cut_and_its_wire_length_stays() {
    with_veth(|| {
        ip("link set va mtu 65535");
        ip("link set vb mtu 65535");
        let frame = long_frame(65_530);
        for (block_bytes, is_cut) in [(1 << 16, true), (1 << 17, false)] {
            let config = RingConfig { block_bytes, ..small() };
            let mut ring = Ring::open(&interface("vb"), &config).unwrap();
            send("va", &[frame.clone(), long_frame(60)]);
            let seen = collect(&mut ring, 2);
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[0].wire_len, 65_530);
            assert_eq!(seen[0].data.len() < 65_530, is_cut);
            assert!(seen[0].data.len() > 65_000);
            assert!(frame.starts_with(&seen[0].data));
            assert_eq!(seen[1].data, long_frame(60));
        }
    });
}

/// Sends 4 MB over loopback with super-packets of up to 200,000 bytes; gives captured and wire
/// length of the largest.
fn largest_of_big_tcp(block_bytes: usize) -> (usize, u32) {
    let config = RingConfig { block_bytes, blocks: 64, ..RingConfig::default() };
    let mut ring = Ring::open(&interface("lo"), &config).unwrap();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || server.read_exact(&mut vec![0; 4_000_000]).unwrap());
    client.write_all(&vec![0; 4_000_000]).unwrap();
    reader.join().unwrap();
    let seen = collect(&mut ring, 20);
    let largest = seen.iter().max_by_key(|frame| frame.wire_len).unwrap();
    (largest.data.len(), largest.wire_len)
}

#[test]
fn super_packets_of_big_tcp_come_whole_in_large_blocks_and_cut_in_small_ones() {
    with_namespace(|| {
        ip("link set lo up gso_max_size 200000 gro_max_size 200000");
        let (captured, wire) = largest_of_big_tcp(1 << 20);
        assert!(wire > 70_000, "{wire}");
        assert_eq!(captured, wire as usize);
        let (captured, wire) = largest_of_big_tcp(1 << 16);
        assert!(wire > 70_000, "{wire}");
        assert!((60_000..65_536).contains(&captured), "{captured}");
    });
}

#[test]
fn a_block_that_is_not_full_comes_after_the_timeout() {
    with_veth(|| {
        let config = RingConfig { retire_ms: 300, ..small() };
        let mut ring = Ring::open(&interface("vb"), &config).unwrap();
        // The timer runs from the opening of a block; begin with a fresh one.
        send("va", &[long_frame(60)]);
        assert_eq!(collect(&mut ring, 1).len(), 1);
        let start = Instant::now();
        send("va", &[long_frame(60)]);
        while ring.next_block().is_none() {
            assert!(matches!(ring.wait(Duration::from_secs(2)).unwrap(), Wait::Ready));
        }
        let waited = start.elapsed();
        assert!(waited < Duration::from_millis(1500), "{waited:?}");
    });
}

#[test]
fn sizes_out_of_range_are_refused_before_the_kernel_is_asked() {
    with_veth(|| {
        let config = RingConfig { block_bytes: 100_000, ..small() };
        let refused = Ring::open(&interface("vb"), &config).err().unwrap();
        assert!(matches!(refused, CaptureError::Config(ConfigError::BlockBytes(100_000))));
        let config = RingConfig { retire_ms: 0, ..small() };
        let refused = Ring::open(&interface("vb"), &config).err().unwrap();
        assert_eq!(refused.to_string(), "a retire timeout of 0 ms: expected 1 to 60000");
    });
}
