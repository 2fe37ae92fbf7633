//! What the generator says it made is what the packet path counts, from the file to the records.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may")]

use benches::mix::{Profile, Size};
use benches::pcap_file::Writer;
use benches::traffic::{Generator, Plan, Truth};
use capture::{CaptureFile, LINKTYPE_ETHERNET};
use decode::{Frame, Link, Outcome};
use flowtable::{Config, FlowTable, Group, Moment, Origin, Sampling};

fn write(path: &std::path::Path, plan: Plan, packets: u64) -> Truth {
    let mut generator = Generator::new(plan).unwrap();
    let mut writer = Writer::create(path, LINKTYPE_ETHERNET).unwrap();
    let mut frame = Vec::new();
    for number in 0..packets {
        generator.next_frame(&mut frame);
        writer.write(number * 1000, &frame, frame.len() as u32).unwrap();
    }
    writer.finish().unwrap();
    generator.truth()
}

/// Packets, bytes and number of the records that the path makes of a file.
fn records(path: &std::path::Path) -> (u64, u64, u64) {
    let sampling = Sampling::new(1);
    let config = Config {
        capacity: 100_000,
        hash_key: 1,
        local_mac: None,
        sampling,
        ids_key: 2,
        ..Config::default()
    };
    let mut table = FlowTable::new(config).unwrap();
    let (mut packets, mut bytes, mut records) = (0, 0, 0);
    let mut sink = |cut: flowtable::Cut<'_>| {
        packets += cut.record.packets;
        bytes += cut.record.bytes;
        records += 1;
    };
    let mut file = CaptureFile::open(path).unwrap();
    let mut number = 0;
    while let Some(mut block) = file.next_block().unwrap() {
        let mut group = Group::default();
        for frame in block.frames() {
            let input = Frame {
                data: frame.data,
                wire_len: frame.wire_len,
                vlan: None,
                gso_size: 0,
                gso_hdr_len: 0,
            };
            let outcome = decode::parse(Link::Ethernet, &input, group.slot());
            assert_eq!(outcome, Outcome::Packet, "frame {number}");
            let time_ns = frame.time_ns;
            let now = Moment { elapsed_ns: time_ns, wall_ns: time_ns };
            group.commit(frame.data, Origin { now, time_ns, frame: number, gso_size: 0 });
            number += 1;
            if group.is_full() {
                table.update(&group, &mut sink);
                group.clear();
            }
        }
        table.update(&group, &mut sink);
    }
    table.flush(Moment::default(), &mut sink);
    (packets, bytes, records)
}

#[test]
fn the_path_counts_what_the_generator_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mixed.pcap");
    let plan = Plan {
        conversations: 3000,
        unique: false,
        size: Size::Imix,
        profile: Profile::Zipf,
        ipv6_percent: 40,
        seed: 11,
    };
    let truth = write(&path, plan, 50_000);
    assert_eq!(truth.packets, 50_000);
    assert_eq!(records(&path), (50_000, truth.ip_bytes, truth.directions));
}

#[test]
fn every_unique_packet_is_a_record_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("unique.pcap");
    let plan = Plan {
        conversations: 1,
        unique: true,
        size: Size::Fixed(60),
        profile: Profile::Uniform,
        ipv6_percent: 0,
        seed: 5,
    };
    let truth = write(&path, plan, 40_000);
    // TCP: 40 bytes of headers, padded; UDP: what is left of 60 bytes after the link header.
    assert_eq!(truth.ip_bytes, 20_000 * 40 + 20_000 * 46);
    assert_eq!(records(&path), (40_000, truth.ip_bytes, 40_000));
}
