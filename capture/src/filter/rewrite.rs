//! Rewriting a program for frames whose outer VLAN tag stands beside them.
//!
//! The program was compiled for a frame with the tag inline at bytes 12 to 15. The rewritten one
//! gives the same answer for the frame without those bytes and the tag in the kernel's hands.

use libc::sock_filter;

use super::{JUMP, LOAD_HALF, LOAD_WORD, ancillary, jump, statement};

const TAG_START: u32 = 12;
const TAG_END: u32 = 16;
const TAG_BYTES: u32 = TAG_END - TAG_START;
/// BPF_LD | BPF_B | BPF_ABS.
const LOAD_BYTE: u16 = 0x30;
/// BPF_LD | BPF_W | BPF_LEN.
const LOAD_LENGTH: u16 = 0x80;
/// BPF_LDX | BPF_B | BPF_MSH: 4 × the low half of a byte.
const LOAD_HEADER_LENGTH: u16 = 0xb1;
/// BPF_LDX | BPF_W | BPF_IMM.
const SET_INDEX: u16 = 0x01;
const ALU_ADD: u16 = 0x04;
const ALU_AND: u16 = 0x54;
const ALU_SHIFT_RIGHT: u16 = 0x74;
const CLASS_MASK: u16 = 0x07;
const CLASS_LOAD: u16 = 0x00;
const CLASS_JUMP: u16 = 0x05;
const MODE_MASK: u16 = 0xe0;
const MODE_INDIRECT: u16 = 0x40;
const SPANS: &str = "bytes 12 to 15 of a tagged frame can be compared only one by one or as the \
                     tag's type and id";

/// What stands in the place of one instruction.
enum Line {
    Straight(Vec<sock_filter>),
    /// To the original instruction of this number.
    Jump(usize),
    /// The comparison, and where it goes when it holds and when not.
    Branch(sock_filter, usize, usize),
}

/// The rewritten program, or why there is none.
pub(super) fn for_tag_beside(program: &[sock_filter]) -> Result<Vec<sock_filter>, &'static str> {
    let lines = program
        .iter()
        .enumerate()
        .map(|(at, instruction)| line(at, *instruction))
        .collect::<Result<Vec<_>, _>>()?;
    link(&lines)
}

fn line(at: usize, instruction: sock_filter) -> Result<Line, &'static str> {
    if instruction.code & CLASS_MASK == CLASS_JUMP {
        let to = |offset: u32| at.checked_add(1 + offset as usize).ok_or("it jumps too far");
        return Ok(if instruction.code == JUMP {
            if instruction.k.cast_signed() < 0 {
                return Err("protochain cannot be combined with vlan");
            }
            Line::Jump(to(instruction.k)?)
        } else {
            let (holds, fails) = (to(instruction.jt.into())?, to(instruction.jf.into())?);
            Line::Branch(instruction, holds, fails)
        });
    }
    load(instruction).map(Line::Straight)
}

/// Loads see the frame as if the tag were inline.
fn load(instruction: sock_filter) -> Result<Vec<sock_filter>, &'static str> {
    let sock_filter { code, k, .. } = instruction;
    let same = Ok(vec![instruction]);
    let moved = || sock_filter { k: k - TAG_BYTES, ..instruction };
    let tag_type = statement(LOAD_WORD, ancillary(libc::SKF_AD_VLAN_TPID));
    let tag_control = statement(LOAD_WORD, ancillary(libc::SKF_AD_VLAN_TAG));
    let bytes = match code {
        LOAD_WORD => 4,
        LOAD_HALF => 2,
        LOAD_BYTE => 1,
        // Untagged IPv4 looks at byte 14, but never in a frame whose type is that of a tag.
        LOAD_HEADER_LENGTH if (TAG_START..TAG_END).contains(&k) => {
            return Ok(vec![statement(SET_INDEX, 0)]);
        }
        LOAD_HEADER_LENGTH if k >= TAG_END => return Ok(vec![moved()]),
        LOAD_LENGTH => return Ok(vec![instruction, statement(ALU_ADD, TAG_BYTES)]),
        // The index register holds at least a header's length there, so the byte is behind the tag.
        _ if code & CLASS_MASK == CLASS_LOAD && code & MODE_MASK == MODE_INDIRECT => {
            return if k >= TAG_BYTES { Ok(vec![moved()]) } else { Err(SPANS) };
        }
        _ => return same,
    };
    if k.cast_signed() < 0 || k + bytes <= TAG_START {
        return same;
    }
    if k >= TAG_END {
        return Ok(vec![moved()]);
    }
    match (bytes, k) {
        (2, 12) => Ok(vec![tag_type]),
        (2, 14) => Ok(vec![tag_control]),
        (1, 12) => Ok(vec![tag_type, statement(ALU_SHIFT_RIGHT, 8)]),
        (1, 13) => Ok(vec![tag_type, statement(ALU_AND, 0xff)]),
        (1, 14) => Ok(vec![tag_control, statement(ALU_SHIFT_RIGHT, 8)]),
        (1, 15) => Ok(vec![tag_control, statement(ALU_AND, 0xff)]),
        _ => Err(SPANS),
    }
}

/// Lays the lines out and resolves the jumps. A branch whose target is beyond the 8 bits of its
/// offsets becomes one over two jumps.
fn link(lines: &[Line]) -> Result<Vec<sock_filter>, &'static str> {
    let mut far = vec![false; lines.len()];
    let places = loop {
        let places = places(lines, &far);
        let before = far.clone();
        for (at, line) in lines.iter().enumerate() {
            if let Line::Branch(_, holds, fails) = line {
                let reach = |to: usize| distance(&places, at, 1, to).is_ok_and(|d| d <= 255);
                far[at] |= !(reach(*holds) && reach(*fails));
            }
        }
        if far == before {
            break places;
        }
    };
    let mut out = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match line {
            Line::Straight(instructions) => out.extend_from_slice(instructions),
            Line::Jump(to) => out.push(statement(JUMP, distance(&places, at, 1, *to)?)),
            Line::Branch(test, holds, fails) if far[at] => {
                out.push(jump(test.code, test.k, 0, 1));
                out.push(statement(JUMP, distance(&places, at, 2, *holds)?));
                out.push(statement(JUMP, distance(&places, at, 3, *fails)?));
            }
            Line::Branch(test, holds, fails) => {
                let near = |to: usize| Ok::<u8, &str>(distance(&places, at, 1, to)? as u8);
                out.push(jump(test.code, test.k, near(*holds)?, near(*fails)?));
            }
        }
    }
    Ok(out)
}

/// Where each line begins.
fn places(lines: &[Line], far: &[bool]) -> Vec<usize> {
    let mut next = 0;
    lines
        .iter()
        .zip(far)
        .map(|(line, far)| {
            let here = next;
            next += match line {
                Line::Straight(instructions) => instructions.len(),
                Line::Branch(..) if *far => 3,
                Line::Jump(_) | Line::Branch(..) => 1,
            };
            here
        })
        .collect()
}

/// Offset of a jump that ends `length` instructions after the beginning of line `at`.
fn distance(places: &[usize], at: usize, length: usize, to: usize) -> Result<u32, &'static str> {
    let (Some(from), Some(to)) = (places.get(at), places.get(to)) else {
        return Err("it jumps out of the program");
    };
    to.checked_sub(from + length)
        .and_then(|distance| u32::try_from(distance).ok())
        .ok_or("it jumps backwards")
}

#[cfg(test)]
mod tests {
    use super::super::{JUMP_IF_EQUAL, RETURN_K};
    use super::*;

    #[test]
    fn a_branch_that_grows_beyond_its_reach_goes_over_jumps() {
        // 140 loads of byte 14 become 280 instructions.
        let mut program = vec![jump(JUMP_IF_EQUAL, 7, 0, 140)];
        program.extend(vec![statement(LOAD_BYTE, 14); 140]);
        program.extend([statement(RETURN_K, 1), statement(RETURN_K, 0)]);
        // The branch is 0, the loads are 1 to 140, the returns 141 and 142.
        let rewritten = for_tag_beside(&program).unwrap();
        assert_eq!(rewritten.len(), 3 + 280 + 2);
        assert_eq!((rewritten[0].jt, rewritten[0].jf), (0, 1));
        assert_eq!((rewritten[1].code, rewritten[1].k), (JUMP, 1));
        assert_eq!((rewritten[2].code, rewritten[2].k), (JUMP, 280));
    }

    #[test]
    fn a_jump_out_of_the_program_is_refused() {
        let program = [jump(JUMP_IF_EQUAL, 7, 0, 9), statement(RETURN_K, 1)];
        assert_eq!(for_tag_beside(&program).err(), Some("it jumps out of the program"));
    }
}
