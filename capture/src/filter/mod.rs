//! Classic BPF programs: compiled by libpcap, joined for tagged frames, cut to a snap length,
//! attached to sockets or run over the frames of a file.
//!
//! # Tags
//!
//! The kernel takes the outer VLAN tag out of a received frame and tells it beside the frame; a
//! sent frame has it inline. libpcap's programs look at the frame's bytes alone, so `tcp port 80`
//! misses sent tagged frames and `vlan 100 and udp` received ones. What `compile` makes matches
//! both alike:
//!
//! - An expression without `vlan` is compiled three times: as it is, as `vlan and (…)` and as
//!   `vlan and vlan and (…)`. The joined program picks the form by the number of tags that are
//!   inline (0x8100, 0x88a8, 0x9100), so a tag never hides what is behind it; a tag beside the
//!   frame needs nothing, since the bytes are those of the untagged form.
//! - An expression with `vlan` means what pcap-filter(7) says of a frame whose tags are all inline.
//!   It is compiled once, and once more rewritten for a frame whose outer tag stands beside it: as
//!   if the tag were at bytes 12 to 15, loads from there become loads of SKF_AD_VLAN_TPID and
//!   SKF_AD_VLAN_TAG, loads behind move by 4. The joined program picks by SKF_AD_VLAN_TAG_PRESENT.
//! - On the interface `any` the program first picks by SKF_AD_HATYPE between the form for Ethernet
//!   and the one for raw IP.
//!
//! A program may have 4096 instructions. Where the three forms together have more, the first alone
//! is used, and [`Filter::note`] says what that means. `ether proto 0x8100` is an expression without `vlan`, so it asks what is behind the tags; say
//! `vlan` for tagged frames. Tags of type 0x9200 are not known to libpcap. Frames with three or more inline tags are matched
//! as libpcap matches two.

mod machine;
mod rewrite;

use libc::sock_filter;
use pcap::{Capture, Linktype};
use thiserror::Error;

use crate::frame::Frame;
use crate::{LINKTYPE_ETHERNET, LINKTYPE_PER_FRAME, LINKTYPE_RAW};

/// BPF_RET | BPF_K: accept the number of bytes in `k` (linux/filter.h).
const RETURN_K: u16 = 0x06;
/// BPF_LD | BPF_W | BPF_ABS.
const LOAD_WORD: u16 = 0x20;
/// BPF_LD | BPF_H | BPF_ABS.
const LOAD_HALF: u16 = 0x28;
/// BPF_JMP | BPF_JA.
const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
const JUMP_IF_EQUAL: u16 = 0x15;
/// BPF_MAXINSNS: what the kernel takes.
const MOST_INSTRUCTIONS: usize = libc::BPF_MAXINSNS as usize;
/// Types of tags that libpcap's `vlan` knows.
const TAG_TYPES: [u32; 3] = [0x8100, 0x88a8, 0x9100];
/// DLT_RAW on Linux, whose number is not that of LINKTYPE_RAW (pcap-linktype(7)).
const DLT_RAW: i32 = 12;

const TOO_LONG_TO_JOIN: &str = "the filter is too long for its forms for tagged frames: inline \
                                tags (sent frames, QinQ) are not looked through";
const NOT_BEHIND_A_TAG: &str = "the filter has no form for tagged frames: inline tags (sent \
                                frames, QinQ) are not looked through";

/// A program that says of each frame how many bytes of it to keep; 0 drops it.
#[derive(Clone, Debug)]
pub struct Filter {
    instructions: Vec<sock_filter>,
    note: Option<&'static str>,
}

/// The expression is not one libpcap understands, or cannot be made to match tagged frames.
#[derive(Debug, Error)]
#[error("{message} in filter \"{expression}\"")]
pub struct FilterError {
    /// The expression as given.
    pub expression: String,
    /// libpcap's text.
    pub message: String,
}

impl Filter {
    /// Compiles a capture filter expression (pcap-filter(7)) for frames of this LINKTYPE, tagged or
    /// not (see the module). [`LINKTYPE_PER_FRAME`] makes the one for `any`.
    ///
    /// # Errors
    /// libpcap's complaint about the expression.
    pub fn compile(expression: &str, linktype: u32) -> Result<Self, FilterError> {
        match linktype {
            LINKTYPE_ETHERNET => ethernet(expression),
            LINKTYPE_PER_FRAME => per_frame(expression),
            _ => compile(expression, linktype).map(Self::of),
        }
    }

    /// Accepts every frame, `bytes` of each.
    pub fn accept(bytes: u32) -> Self {
        Self::of(vec![statement(RETURN_K, bytes)])
    }

    /// Drops every frame.
    pub fn drop_all() -> Self {
        Self::accept(0)
    }

    /// The same filter, keeping at most `bytes` of each frame it accepts.
    #[must_use]
    pub fn with_snap_length(&self, bytes: u32) -> Self {
        let mut filter = self.clone();
        for instruction in &mut filter.instructions {
            if instruction.code == RETURN_K && instruction.k != 0 {
                instruction.k = bytes;
            }
        }
        filter
    }

    /// Whether the filter accepts the frame: what the kernel does for a ring, for frames of a file.
    /// The filter must be one for the frame's LINKTYPE. A load beyond the captured bytes rejects.
    pub fn matches(&self, frame: &Frame<'_>) -> bool {
        machine::run(&self.instructions, frame) != 0
    }

    /// What the filter does not do and might be expected to, for the log.
    pub fn note(&self) -> Option<&'static str> {
        self.note
    }

    fn of(instructions: Vec<sock_filter>) -> Self {
        Self { instructions, note: None }
    }

    /// Whether the kernel would take the program: libpcap also makes longer ones, and loops.
    pub(crate) fn check_kernel(&self) -> Result<(), &'static str> {
        if self.instructions.len() > MOST_INSTRUCTIONS {
            return Err("it is longer than 4096 instructions");
        }
        // The one jump whose offset can be negative.
        if self.instructions.iter().any(|i| i.code == JUMP && i.k.cast_signed() < 0) {
            return Err("it has a loop (protochain)");
        }
        Ok(())
    }

    pub(crate) fn instructions(&self) -> &[sock_filter] {
        &self.instructions
    }
}

/// The joined program for Ethernet.
fn ethernet(expression: &str) -> Result<Filter, FilterError> {
    let plain = compile(expression, LINKTYPE_ETHERNET)?;
    if mentions_vlan(expression) {
        let beside = rewrite::for_tag_beside(&plain).map_err(|what| FilterError {
            expression: expression.to_owned(),
            message: what.to_owned(),
        })?;
        let present = ancillary(libc::SKF_AD_VLAN_TAG_PRESENT);
        let mut joined = vec![statement(LOAD_WORD, present), jump(JUMP_IF_EQUAL, 0, 0, 1)];
        joined.push(statement(JUMP, beside.len() as u32));
        joined.extend(beside);
        joined.extend(plain);
        return Ok(Filter::of(joined));
    }
    // Accepts everything, or has nothing to do with the frame's bytes.
    if plain.len() == 1 {
        return Ok(Filter::of(plain));
    }
    let too_long = Filter { instructions: plain.clone(), note: Some(TOO_LONG_TO_JOIN) };
    if plain.len() * 3 > MOST_INSTRUCTIONS {
        return Ok(too_long);
    }
    let forms = ["vlan and", "vlan and vlan and"];
    let tagged = forms.map(|form| compile(&format!("{form} ({expression})"), LINKTYPE_ETHERNET));
    let [Ok(once), Ok(twice)] = tagged else {
        // Not every expression can stand behind `vlan`; it then matches the frame's bytes alone.
        return Ok(Filter { instructions: plain, note: Some(NOT_BEHIND_A_TAG) });
    };
    let joined = by_depth(&plain, &once, &twice);
    Ok(if joined.len() > MOST_INSTRUCTIONS { too_long } else { Filter::of(joined) })
}

/// Picks the form by the number of inline tags.
fn by_depth(
    plain: &[sock_filter],
    once: &[sock_filter],
    twice: &[sock_filter],
) -> Vec<sock_filter> {
    // Each picks: load, three comparisons that skip the jump behind them.
    let pick = |offset: u32, otherwise: u32| {
        let mut lines = vec![statement(LOAD_HALF, offset)];
        for (left, ethertype) in (0u8..3).rev().zip(TAG_TYPES) {
            lines.push(jump(JUMP_IF_EQUAL, ethertype, left + 1, 0));
        }
        lines.push(statement(JUMP, otherwise));
        lines
    };
    let (plain_length, once_length) = (plain.len() as u32, once.len() as u32);
    let second = pick(16, plain_length + twice.len() as u32);
    let mut joined = pick(12, second.len() as u32 + twice.len() as u32);
    joined.extend(second);
    joined.extend(twice);
    joined.extend(plain);
    joined.extend(once);
    debug_assert_eq!(joined.len() as u32, 10 + plain_length + once_length + twice.len() as u32);
    joined
}

/// The joined program for `any`: Ethernet (loopback included), raw IP, or nothing.
fn per_frame(expression: &str) -> Result<Filter, FilterError> {
    let Filter { instructions: ethernet, note } = ethernet(expression)?;
    // Some expressions have no meaning there, such as `ether host`: nothing raw matches.
    let raw = compile(expression, LINKTYPE_RAW).unwrap_or_else(|_| vec![statement(RETURN_K, 0)]);
    let hardware = ancillary(libc::SKF_AD_HATYPE);
    let mut joined = vec![
        statement(LOAD_WORD, hardware),
        jump(JUMP_IF_EQUAL, u32::from(libc::ARPHRD_ETHER), 2, 0),
        jump(JUMP_IF_EQUAL, u32::from(libc::ARPHRD_LOOPBACK), 1, 0),
        statement(JUMP, ethernet.len() as u32),
    ];
    joined.extend(ethernet);
    joined.extend(raw);
    Ok(Filter { instructions: joined, note })
}

/// libpcap's program.
fn compile(expression: &str, linktype: u32) -> Result<Vec<sock_filter>, FilterError> {
    let refuse = |message: String| FilterError { expression: expression.to_owned(), message };
    let dlt = if linktype == LINKTYPE_RAW {
        DLT_RAW
    } else {
        i32::try_from(linktype).map_err(|_| refuse("unknown link type".into()))?
    };
    let program = Capture::dead(Linktype(dlt))
        .and_then(|capture| capture.compile(expression, true))
        .map_err(|error| refuse(plain(&error)))?;
    program
        .get_instructions()
        .iter()
        .map(|instruction| parse(&instruction.to_string()))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refuse("unreadable program from libpcap".into()))
}

/// Whether the keyword stands in the expression. A host of that name would count as well; the
/// expression is then matched against the frame's bytes and one tag beside them.
fn mentions_vlan(expression: &str) -> bool {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '\\')))
        .any(|word| word == "vlan")
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Address of a fact beside the frame (linux/filter.h).
fn ancillary(fact: libc::c_int) -> u32 {
    (libc::SKF_AD_OFF + fact).cast_unsigned()
}

/// The crate shows an instruction only as text: "code jt jf k".
fn parse(text: &str) -> Option<sock_filter> {
    let mut words = text.split(' ');
    let code = words.next()?.parse().ok()?;
    let jt = words.next()?.parse().ok()?;
    let jf = words.next()?.parse().ok()?;
    let k = words.next()?.parse().ok()?;
    Some(sock_filter { code, jt, jf, k })
}

fn plain(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
