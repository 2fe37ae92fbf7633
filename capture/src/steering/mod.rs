//! Steering frames among the members of a fanout group by an eBPF program (design D12).
//!
//! The program gives a number from the IP addresses alone, the same for both directions: the kernel
//! takes it modulo the number of members. So a conversation stays whole in one member, its
//! fragments included, whatever its ports. It is assembled here, without a compiler.
//!
//! What it looks through, in order: up to four VLAN tags that are inline (0x8100, 0x88a8, 0x9100,
//! 0x9200); up to eight MPLS labels, or one PPPoE session header; the IP header; then one tunnel:
//! GRE with or without its optional fields (IPv4, IPv6 or Ethernet inside), IP in IP (4, 41) or
//! VXLAN (UDP port 4789), which is steered by its inner addresses. Ethernet inside a tunnel may
//! have one tag.
//!
//! What it does not: a fragment of a tunnel packet is steered by the outer addresses, since only
//! the first has the inner ones; IPv6 extension headers before a tunnel header are not walked;
//! frames that are not IP all go to the member of number 0. On other devices than Ethernet, and on
//! `any`, the walk begins with the IP header, so there tags inside, labels and sessions are not
//! looked through and go to member 0 as well. Only the linear part of the kernel's
//! buffer is read, which drivers fill with all headers; a header beyond it counts as absent.

mod assembler;

use std::io;
use std::os::fd::OwnedFd;

use assembler::{Assembler, FP, Label, Op, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Size};
use thiserror::Error;

use crate::LINKTYPE_ETHERNET;
use crate::sys::load_socket_filter;

/// `bpf_skb_load_bytes_relative` (include/uapi/linux/bpf.h, Linux 4.18).
const LOAD_BYTES_RELATIVE: i32 = 68;
/// BPF_HDR_START_MAC and BPF_HDR_START_NET.
const FROM_MAC: i32 = 0;
const FROM_NETWORK: i32 = 1;
/// Room on the stack for one header; the largest is that of IPv6.
const ROOM: i16 = 40;
/// Ethernet header, IPv4 header without options, and 12 bytes of what follows, at this distance
/// below the frame pointer: the addresses are then aligned, as the verifier demands of the stack.
const COMMON: i16 = 46;

const VLAN_TAGS: usize = 4;
const VLAN_TYPES: [i32; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const MPLS_LABELS: usize = 8;
const IPV4: i32 = 0x0800;
const IPV6: i32 = 0x86dd;
const ETHERNET_BRIDGING: i32 = 0x6558;
const VXLAN_PORT: i32 = 4789;
/// In the field of flags and offset of IPv4: more fragments to come, or not the first.
const NOT_WHOLE: i32 = 0x3fff;
/// Odd numbers without pattern, to spread close addresses. Fixed, so that every process that
/// joins the group attaches the same map of conversations to members.
const SUM_FACTOR: i32 = 0x045d_9f3b;
const MIX_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A loaded program, to be attached by PACKET_FANOUT_DATA.
#[derive(Debug)]
pub(crate) struct Steering(pub(crate) OwnedFd);

/// Why the kernel did not take the program.
#[derive(Debug, Error)]
pub(crate) enum SteeringError {
    /// bpf(2) needs CAP_BPF (or CAP_SYS_ADMIN) unless kernel.unprivileged_bpf_disabled is 0.
    #[error("loading the steering program needs CAP_BPF: {0}")]
    Privilege(#[source] io::Error),
    /// The verifier refused it, or the kernel is too old.
    #[error("the kernel refused the steering program: {error}{}{log}", if log.is_empty() { "" } else { "\n" })]
    Refused {
        /// The kernel's word.
        #[source]
        error: io::Error,
        /// The end of the verifier's log.
        log: String,
    },
}

impl Steering {
    /// Loads the program for frames of this LINKTYPE: from the Ethernet header on, or from the IP
    /// header on for all others.
    pub(crate) fn load(linktype: u32) -> Result<Self, SteeringError> {
        load_socket_filter(&program(linktype)).map(Self).map_err(|(error, log)| {
            match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) if log.is_empty() => {
                    SteeringError::Privilege(error)
                }
                _ => SteeringError::Refused { error, log },
            }
        })
    }
}

fn program(linktype: u32) -> Vec<u64> {
    let ethernet = linktype == LINKTYPE_ETHERNET;
    let mut a = Assembler::default();
    let labels = Labels::new(&mut a);
    let mut program =
        Program { start: if ethernet { FROM_MAC } else { FROM_NETWORK }, a, l: labels };
    program.begin();
    if ethernet {
        program.ethernet();
        program.pppoe();
        program.mpls();
    }
    program.version_nibble();
    program.outer_ip();
    program.tunnels();
    program.inner();
    program.end();
    program.a.finish()
}

/// Where the parts of the program begin.
struct Labels {
    ethertype: Label,
    pppoe: Label,
    mpls: Label,
    nibble: Label,
    ipv4: Label,
    ipv6: Label,
    tunnel: Label,
    inner_ethernet: Label,
    inner_type: Label,
    inner_ipv4: Label,
    inner_ipv6: Label,
    combine: Label,
    done: Label,
}

impl Labels {
    fn new(a: &mut Assembler) -> Self {
        Self {
            ethertype: a.label(),
            pppoe: a.label(),
            mpls: a.label(),
            nibble: a.label(),
            ipv4: a.label(),
            ipv6: a.label(),
            tunnel: a.label(),
            inner_ethernet: a.label(),
            inner_type: a.label(),
            inner_ipv4: a.label(),
            inner_ipv6: a.label(),
            combine: a.label(),
            done: a.label(),
        }
    }
}

/// Registers that keep their meaning: R6 the context, R7 the offset of the next header, R8 the
/// type or protocol of the next header, R9 the addresses combined so far (0 without any).
struct Program {
    a: Assembler,
    l: Labels,
    start: i32,
}

impl Program {
    fn begin(&mut self) {
        let a = &mut self.a;
        a.op_reg(Op::Mov, R6, R1);
        a.op(Op::Mov, R7, 0);
        a.op(Op::Mov, R9, 0);
    }

    /// Untagged IPv4 without options, most of the world's traffic, by one call of the helper: a
    /// call costs as much as all else together. Leaves for `typed` with the EtherType in R8, for
    /// the tunnels with the protocol, or for the next instruction if the frame is shorter.
    fn common_frame(&mut self, typed: Label) {
        let shorter = self.a.label();
        self.call_load(COMMON, COMMON.into());
        self.a.jump_unless_equal(R0, 0, shorter);
        self.a.op(Op::Mov, R7, 14);
        self.common_16(12);
        self.a.jump_unless_equal(R8, IPV4, typed);
        self.a.load(Size::Byte, R1, FP, 14 - COMMON);
        self.a.jump_unless_equal(R1, 0x45, typed);
        self.a.load(Size::Word, R1, FP, 26 - COMMON);
        self.a.load(Size::Word, R2, FP, 30 - COMMON);
        self.combine();
        self.common_16(20);
        self.a.jump_if_any(R8, NOT_WHOLE, self.l.done);
        self.a.op(Op::Mov, R7, 34);
        self.a.load(Size::Byte, R8, FP, 23 - COMMON);
        self.a.jump_if_equal(R8, libc::IPPROTO_TCP, self.l.done);
        self.a.jump_unless_equal(R8, libc::IPPROTO_UDP, self.l.tunnel);
        self.common_16(36);
        self.a.jump_unless_equal(R8, VXLAN_PORT, self.l.done);
        self.a.op(Op::Mov, R8, libc::IPPROTO_UDP);
        self.a.jump(self.l.tunnel);
        self.a.place(shorter);
    }

    /// The MAC addresses, the tags, and which header follows.
    fn ethernet(&mut self) {
        let typed = self.a.label();
        self.common_frame(typed);
        self.a.op(Op::Mov, R7, 12);
        self.fetch(2);
        self.field_16(0);
        self.a.op(Op::Mov, R7, 14);
        self.a.place(typed);
        for _ in 0..VLAN_TAGS {
            self.step_over_tag(self.l.ethertype);
        }
        let (a, l) = (&mut self.a, &self.l);
        a.place(l.ethertype);
        a.jump_if_equal(R8, IPV4, l.ipv4);
        a.jump_if_equal(R8, IPV6, l.ipv6);
        a.jump_if_equal(R8, 0x8847, l.mpls);
        a.jump_if_equal(R8, 0x8848, l.mpls);
        a.jump_if_equal(R8, 0x8864, l.pppoe);
        a.jump(l.done);
    }

    /// Session header (6 bytes) and PPP protocol (2), RFC 2516.
    fn pppoe(&mut self) {
        self.a.place(self.l.pppoe);
        self.fetch(8);
        self.field_16(6);
        let (a, l) = (&mut self.a, &self.l);
        a.op(Op::Add, R7, 8);
        a.jump_if_equal(R8, 0x0021, l.ipv4);
        a.jump_if_equal(R8, 0x0057, l.ipv6);
        a.jump(l.done);
    }

    /// Labels of 4 bytes up to the one with the bottom-of-stack bit, RFC 3032.
    fn mpls(&mut self) {
        self.a.place(self.l.mpls);
        for _ in 0..MPLS_LABELS {
            self.fetch(4);
            self.field_8(2);
            self.a.op(Op::Add, R7, 4);
            self.a.jump_if_any(R8, 1, self.l.nibble);
        }
        self.a.jump(self.l.done);
    }

    /// Without a type the version field decides.
    fn version_nibble(&mut self) {
        self.a.place(self.l.nibble);
        self.fetch(1);
        self.field_8(0);
        let (a, l) = (&mut self.a, &self.l);
        a.op(Op::Rsh, R8, 4);
        a.jump_if_equal(R8, 4, l.ipv4);
        a.jump_if_equal(R8, 6, l.ipv6);
        a.jump(l.done);
    }

    /// Combines the addresses; leaves the protocol in R8 and the offset behind the header in R7.
    fn outer_ip(&mut self) {
        self.a.place(self.l.ipv4);
        self.fetch(20);
        self.addresses_v4();
        self.combine();
        self.field_16(6);
        self.a.jump_if_any(R8, NOT_WHOLE, self.l.done);
        self.field_8(0);
        self.a.op(Op::And, R8, 0x0f);
        self.a.op(Op::Lsh, R8, 2);
        self.a.op_reg(Op::Add, R7, R8);
        self.field_8(9);
        self.a.jump(self.l.tunnel);

        self.a.place(self.l.ipv6);
        self.fetch(40);
        self.addresses_v6();
        self.combine();
        self.a.op(Op::Add, R7, 40);
        self.field_8(6);
    }

    /// One step into a tunnel, by the protocol in R8.
    fn tunnels(&mut self) {
        let gre = self.a.label();
        let udp = self.a.label();
        let (a, l) = (&mut self.a, &self.l);
        a.place(l.tunnel);
        a.jump_if_equal(R8, libc::IPPROTO_UDP, udp);
        a.jump_if_equal(R8, libc::IPPROTO_GRE, gre);
        a.jump_if_equal(R8, libc::IPPROTO_IPIP, l.inner_ipv4);
        a.jump_if_equal(R8, libc::IPPROTO_IPV6, l.inner_ipv6);
        a.jump(l.done);

        // UDP header and the first word of VXLAN, whose flag says that a network id follows
        // (RFC 7348). A datagram too short for it is not VXLAN, and the fetch ends the walk.
        self.a.place(udp);
        self.fetch(12);
        self.field_16(2);
        self.a.jump_unless_equal(R8, VXLAN_PORT, self.l.done);
        self.field_8(8);
        self.a.op(Op::And, R8, 0x08);
        self.a.jump_if_equal(R8, 0, self.l.done);
        self.a.op(Op::Add, R7, 16);
        self.a.jump(self.l.inner_ethernet);

        // Checksum (0x8000), key (0x2000) and sequence number (0x1000) take 4 bytes each; routing
        // (0x4000) and other versions are not entered (RFC 2784, RFC 2890).
        self.a.place(gre);
        self.fetch(4);
        self.field_16(0);
        self.a.jump_if_any(R8, 0x4007, self.l.done);
        self.a.op(Op::Add, R7, 4);
        for (flag, shift) in [(0x8000, 13), (0x2000, 11), (0x1000, 10)] {
            self.a.op_reg(Op::Mov, R1, R8);
            self.a.op(Op::And, R1, flag);
            self.a.op(Op::Rsh, R1, shift);
            self.a.op_reg(Op::Add, R7, R1);
        }
        self.field_16(2);
        self.a.jump_unless_equal(R8, ETHERNET_BRIDGING, self.l.inner_type);
    }

    /// What a tunnel carries. Falls in from GRE with Ethernet inside.
    fn inner(&mut self) {
        self.a.place(self.l.inner_ethernet);
        self.a.op(Op::Add, R7, 12);
        self.fetch(2);
        self.field_16(0);
        self.a.op(Op::Add, R7, 2);
        self.step_over_tag(self.l.inner_type);
        let (a, l) = (&mut self.a, &self.l);
        a.place(l.inner_type);
        a.jump_if_equal(R8, IPV4, l.inner_ipv4);
        a.jump_if_equal(R8, IPV6, l.inner_ipv6);
        a.jump(l.done);

        self.a.place(self.l.inner_ipv4);
        self.fetch(20);
        self.addresses_v4();
        self.a.jump(self.l.combine);
        self.a.place(self.l.inner_ipv6);
        self.fetch(40);
        self.addresses_v6();
        self.a.place(self.l.combine);
        self.combine();
    }

    /// Mixes R9 into the answer.
    fn end(&mut self) {
        let a = &mut self.a;
        a.place(self.l.done);
        a.op_reg(Op::Mov, R0, R9);
        a.op(Op::Rsh, R9, 32);
        a.op_reg(Op::Xor, R0, R9);
        a.constant(R1, MIX_FACTOR);
        a.op_reg(Op::Mul, R0, R1);
        // The high half depends on every bit below it.
        a.op(Op::Rsh, R0, 32);
        a.exit();
    }

    /// If R8 is a tag's type, fetches the tag; else goes on at `otherwise`.
    fn step_over_tag(&mut self, otherwise: Label) {
        let tag = self.a.label();
        for ethertype in VLAN_TYPES {
            self.a.jump_if_equal(R8, ethertype, tag);
        }
        self.a.jump(otherwise);
        self.a.place(tag);
        self.fetch(4);
        self.field_16(2);
        self.a.op(Op::Add, R7, 4);
    }

    /// Copies `bytes` at offset R7 to the stack; ends the program with what R9 holds if they are
    /// not there.
    fn fetch(&mut self, bytes: i32) {
        self.call_load(ROOM, bytes);
        self.a.jump_unless_equal(R0, 0, self.l.done);
    }

    /// Copies `bytes` at offset R7 to `below` the frame pointer; R0 is 0 if they were there.
    fn call_load(&mut self, below: i16, bytes: i32) {
        let a = &mut self.a;
        a.op_reg(Op::Mov, R1, R6);
        a.op_reg(Op::Mov, R2, R7);
        a.op_reg(Op::Mov, R3, FP);
        a.op(Op::Add, R3, -i32::from(below));
        a.op(Op::Mov, R4, bytes);
        a.op(Op::Mov, R5, self.start);
        a.call(LOAD_BYTES_RELATIVE);
    }

    /// R8 = the 16-bit field at `offset` of the common frame.
    fn common_16(&mut self, offset: i16) {
        self.a.load(Size::Half, R8, FP, offset - COMMON);
        self.a.network_to_host_16(R8);
    }

    /// R8 = the 16-bit field at `offset` of the header fetched last.
    fn field_16(&mut self, offset: i16) {
        self.a.load(Size::Half, R8, FP, offset - ROOM);
        self.a.network_to_host_16(R8);
    }

    /// R8 = the byte at `offset` of the header fetched last.
    fn field_8(&mut self, offset: i16) {
        self.a.load(Size::Byte, R8, FP, offset - ROOM);
    }

    /// R1, R2 = source and destination of the IPv4 header on the stack.
    fn addresses_v4(&mut self) {
        self.a.load(Size::Word, R1, FP, 12 - ROOM);
        self.a.load(Size::Word, R2, FP, 16 - ROOM);
    }

    /// R1, R2 = source and destination of the IPv6 header on the stack, halves added.
    fn addresses_v6(&mut self) {
        for (sum, offset) in [(R1, 8), (R2, 24)] {
            self.a.load(Size::Double, sum, FP, offset - ROOM);
            self.a.load(Size::Double, R3, FP, offset + 8 - ROOM);
            self.a.op_reg(Op::Add, sum, R3);
        }
    }

    /// R9 = R1 and R2 combined, whichever comes first. The exclusive-or alone would give pairs of
    /// neighbours (1, 2) and (5, 6) the same number.
    fn combine(&mut self) {
        let a = &mut self.a;
        a.op_reg(Op::Mov, R9, R1);
        a.op_reg(Op::Add, R9, R2);
        a.op(Op::Mul, R9, SUM_FACTOR);
        a.op_reg(Op::Xor, R1, R2);
        a.op_reg(Op::Xor, R9, R1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LINKTYPE_RAW;

    #[test]
    fn both_programs_are_short_and_pass_the_verifier() {
        for linktype in [LINKTYPE_ETHERNET, LINKTYPE_RAW] {
            let instructions = program(linktype);
            assert!((100..600).contains(&instructions.len()), "{}", instructions.len());
            match Steering::load(linktype) {
                Ok(_) => {}
                Err(SteeringError::Privilege(_)) => eprintln!("skipped: needs CAP_BPF"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
