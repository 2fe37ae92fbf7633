//! Classic BPF programs: compiled by libpcap, cut to a snap length, attached to sockets.

use libc::sock_filter;
use pcap::{Capture, Linktype};
use thiserror::Error;

/// BPF_RET | BPF_K: accept the number of bytes in `k` (linux/filter.h).
const RETURN_K: u16 = 0x06;

/// A program that says of each frame how many bytes of it to keep; 0 drops it.
#[derive(Clone, Debug)]
pub struct Filter {
    instructions: Vec<sock_filter>,
}

/// The expression is not one libpcap understands.
#[derive(Debug, Error)]
#[error("{message} in filter \"{expression}\"")]
pub struct FilterError {
    /// The expression as given.
    pub expression: String,
    /// libpcap's text.
    pub message: String,
}

impl Filter {
    /// Compiles a capture filter expression (pcap-filter(7)) for frames of this LINKTYPE.
    ///
    /// # Errors
    /// libpcap's complaint about the expression.
    pub fn compile(expression: &str, linktype: u32) -> Result<Self, FilterError> {
        let refuse = |message: String| FilterError { expression: expression.to_owned(), message };
        let linktype = i32::try_from(linktype).map_err(|_| refuse("unknown link type".into()))?;
        let program = Capture::dead(Linktype(linktype))
            .and_then(|capture| capture.compile(expression, true))
            .map_err(|error| refuse(plain(&error)))?;
        let instructions = program
            .get_instructions()
            .iter()
            .map(|instruction| parse(&instruction.to_string()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| refuse("unreadable program from libpcap".into()))?;
        Ok(Self { instructions })
    }

    /// Accepts every frame, `bytes` of each.
    pub fn accept(bytes: u32) -> Self {
        Self { instructions: vec![sock_filter { code: RETURN_K, jt: 0, jf: 0, k: bytes }] }
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

    /// Whether the kernel would take the program: libpcap also makes longer ones, and loops.
    pub(crate) fn check_kernel(&self) -> Result<(), &'static str> {
        if self.instructions.len() > libc::BPF_MAXINSNS as usize {
            return Err("it is longer than 4096 instructions");
        }
        // BPF_JMP | BPF_JA: the one jump whose offset can be negative.
        if self.instructions.iter().any(|i| i.code == 0x05 && i.k.cast_signed() < 0) {
            return Err("it has a loop (protochain)");
        }
        Ok(())
    }

    pub(crate) fn instructions(&self) -> &[sock_filter] {
        &self.instructions
    }
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
mod tests {
    use super::*;
    use crate::LINKTYPE_ETHERNET;

    #[test]
    fn a_good_expression_keeps_the_snap_length_and_drops_the_rest() {
        let filter = Filter::compile("udp port 53", LINKTYPE_ETHERNET).unwrap();
        let cut = filter.with_snap_length(96);
        let returns: Vec<u32> = cut
            .instructions()
            .iter()
            .filter(|instruction| instruction.code == RETURN_K)
            .map(|instruction| instruction.k)
            .collect();
        assert!(returns.contains(&96) && returns.contains(&0), "{returns:?}");
        assert!(returns.iter().all(|&k| k == 96 || k == 0));
    }

    #[test]
    fn a_bad_expression_gives_libpcaps_own_words() {
        let error = Filter::compile("udp prt 53", LINKTYPE_ETHERNET).unwrap_err();
        assert_eq!(
            error.to_string(),
            "can't parse filter expression: syntax error in filter \"udp prt 53\""
        );
    }
}
