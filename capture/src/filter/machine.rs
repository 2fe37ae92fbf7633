//! The machine that runs classic BPF over a frame, as the kernel does for a socket.
//!
//! After linux/filter.h and `Documentation/networking/filter.rst`: what libpcap's programs use, and
//! the facts beside the frame that ours do. Bounded: at most [`MOST_STEPS`] instructions, since
//! `protochain` loops. Whatever is wrong with a program or a frame rejects the frame.

use libc::sock_filter;

use crate::frame::{Frame, PacketType};
use crate::{LINKTYPE_ETHERNET, LINKTYPE_RAW};

const MOST_STEPS: usize = 1 << 16;
const MEMORY_WORDS: usize = libc::BPF_MEMWORDS as usize;

const CLASS_LD: u16 = 0x00;
const CLASS_LDX: u16 = 0x01;
const CLASS_ST: u16 = 0x02;
const CLASS_STX: u16 = 0x03;
const CLASS_ALU: u16 = 0x04;
const CLASS_JMP: u16 = 0x05;
const CLASS_RET: u16 = 0x06;
const SOURCE_X: u16 = 0x08;
const RETURN_A: u16 = 0x10;
const TXA: u16 = 0x80;

/// Registers and memory.
#[derive(Default)]
struct State {
    a: u32,
    x: u32,
    memory: [u32; MEMORY_WORDS],
}

/// The bytes to keep of the frame; 0 rejects it.
pub(super) fn run(program: &[sock_filter], frame: &Frame<'_>) -> u32 {
    execute(program, frame).unwrap_or(0)
}

fn execute(program: &[sock_filter], frame: &Frame<'_>) -> Option<u32> {
    let mut state = State::default();
    let mut at: usize = 0;
    for _ in 0..MOST_STEPS {
        let instruction = program.get(at)?;
        at += 1;
        match instruction.code & 0x07 {
            CLASS_LD => state.a = state.load(instruction, frame)?,
            CLASS_LDX => state.x = state.load_index(instruction, frame)?,
            CLASS_ST => *state.memory.get_mut(instruction.k as usize)? = state.a,
            CLASS_STX => *state.memory.get_mut(instruction.k as usize)? = state.x,
            CLASS_ALU => state.a = state.arithmetic(instruction)?,
            CLASS_JMP => {
                let offset = state.jump(instruction)?;
                at = at.checked_add_signed(isize::try_from(offset).ok()?)?;
            }
            CLASS_RET if instruction.code & 0x18 == RETURN_A => return Some(state.a),
            CLASS_RET => return Some(instruction.k),
            _ if instruction.code & TXA != 0 => state.a = state.x,
            _ => state.x = state.a,
        }
    }
    None
}

impl State {
    fn load(&self, instruction: &sock_filter, frame: &Frame<'_>) -> Option<u32> {
        let k = instruction.k;
        let bytes = match instruction.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => return None,
        };
        match instruction.code & 0xe0 {
            0x00 => Some(k),
            0x20 if k.cast_signed() < 0 => ancillary(k, frame),
            0x20 => number(frame.data, k, bytes),
            0x40 => number(frame.data, self.x.checked_add(k)?, bytes),
            0x60 => self.memory.get(k as usize).copied(),
            0x80 => Some(frame.wire_len),
            _ => None,
        }
    }

    fn load_index(&self, instruction: &sock_filter, frame: &Frame<'_>) -> Option<u32> {
        let k = instruction.k;
        match instruction.code & 0xe0 {
            0x00 => Some(k),
            0x60 => self.memory.get(k as usize).copied(),
            0x80 => Some(frame.wire_len),
            0xa0 => Some((number(frame.data, k, 1)? & 0x0f) << 2),
            _ => None,
        }
    }

    fn arithmetic(&self, instruction: &sock_filter) -> Option<u32> {
        let (a, operand) = (self.a, self.operand(instruction));
        Some(match instruction.code & 0xf0 {
            0x00 => a.wrapping_add(operand),
            0x10 => a.wrapping_sub(operand),
            0x20 => a.wrapping_mul(operand),
            // The kernel ends the program on a division by 0.
            0x30 => a.checked_div(operand)?,
            0x40 => a | operand,
            0x50 => a & operand,
            0x60 => a.checked_shl(operand).unwrap_or(0),
            0x70 => a.checked_shr(operand).unwrap_or(0),
            0x80 => a.wrapping_neg(),
            0x90 => a.checked_rem(operand)?,
            0xa0 => a ^ operand,
            _ => return None,
        })
    }

    /// How far to jump from the next instruction.
    fn jump(&self, instruction: &sock_filter) -> Option<i32> {
        let (a, operand) = (self.a, self.operand(instruction));
        let holds = match instruction.code & 0xf0 {
            0x00 => return Some(instruction.k.cast_signed()),
            0x10 => a == operand,
            0x20 => a > operand,
            0x30 => a >= operand,
            0x40 => a & operand != 0,
            _ => return None,
        };
        Some(i32::from(if holds { instruction.jt } else { instruction.jf }))
    }

    fn operand(&self, instruction: &sock_filter) -> u32 {
        if instruction.code & SOURCE_X == 0 { instruction.k } else { self.x }
    }
}

/// Big-endian number of 1, 2 or 4 bytes.
fn number(data: &[u8], at: u32, bytes: usize) -> Option<u32> {
    let field = data.get(at as usize..)?.get(..bytes)?;
    Some(field.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

/// Facts beside the frame, at addresses from SKF_AD_OFF on.
fn ancillary(address: u32, frame: &Frame<'_>) -> Option<u32> {
    let tag = frame.vlan;
    match address.cast_signed().checked_sub(libc::SKF_AD_OFF)? {
        libc::SKF_AD_VLAN_TAG => Some(tag.map_or(0, |tag| u32::from(tag.tci))),
        libc::SKF_AD_VLAN_TAG_PRESENT => Some(u32::from(tag.is_some())),
        libc::SKF_AD_VLAN_TPID => Some(tag.map_or(0, |tag| u32::from(tag.tpid))),
        libc::SKF_AD_HATYPE => match frame.linktype {
            LINKTYPE_ETHERNET => Some(u32::from(libc::ARPHRD_ETHER)),
            LINKTYPE_RAW => Some(u32::from(libc::ARPHRD_NONE)),
            _ => None,
        },
        libc::SKF_AD_PKTTYPE => match frame.packet_type {
            PacketType::Host => Some(u32::from(libc::PACKET_HOST)),
            PacketType::Broadcast => Some(u32::from(libc::PACKET_BROADCAST)),
            PacketType::Multicast => Some(u32::from(libc::PACKET_MULTICAST)),
            PacketType::OtherHost => Some(u32::from(libc::PACKET_OTHERHOST)),
            PacketType::Outgoing => Some(u32::from(libc::PACKET_OUTGOING)),
            PacketType::Unknown => None,
        },
        _ => None,
    }
}
