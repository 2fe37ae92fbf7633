//! `--filter` on a replay: the program that the kernel would run, over the frames of the file.

use capture::{Filter, FilterError, Frame, LINKTYPE_ETHERNET};

/// A filter expression, compiled for the link type at hand.
pub(super) struct Selection {
    expression: String,
    linktype: u32,
    filter: Filter,
}

impl Selection {
    /// Compiles the expression for Ethernet, which shows what is wrong with it before any work.
    ///
    /// # Errors
    /// libpcap's complaint.
    pub(super) fn new(expression: &str) -> Result<Self, FilterError> {
        let (expression, linktype) = (expression.to_owned(), LINKTYPE_ETHERNET);
        let filter = Filter::compile(&expression, linktype)?;
        Ok(Self { expression, linktype, filter })
    }

    /// What the filter does not do and might be expected to.
    pub(super) fn note(&self) -> Option<&'static str> {
        self.filter.note()
    }

    /// Whether the frame is wanted. A file may change its link type between frames.
    ///
    /// # Errors
    /// The expression means nothing for the frame's link type.
    #[inline]
    pub(super) fn wants(&mut self, frame: &Frame<'_>) -> Result<bool, FilterError> {
        if frame.linktype != self.linktype {
            self.filter = Filter::compile(&self.expression, frame.linktype)?;
            self.linktype = frame.linktype;
        }
        Ok(self.filter.matches(frame))
    }
}

#[cfg(test)]
mod tests {
    use capture::{LINKTYPE_RAW, PacketType};
    use etherparse::PacketBuilder;

    use super::*;

    fn frame(data: &[u8], linktype: u32) -> Frame<'_> {
        let wire_len = data.len() as u32;
        let packet_type = PacketType::Unknown;
        Frame { time_ns: 0, data, wire_len, linktype, vlan: None, packet_type, offload: None }
    }

    #[test]
    fn the_expression_holds_for_every_link_type_of_the_file() {
        let ip = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let mut raw = Vec::new();
        ip.udp(53, 4000).write(&mut raw, b"x").unwrap();
        let ethernet = [&[0; 12][..], &[0x08, 0x00], &raw].concat();
        let mut wanted = Selection::new("src port 53").unwrap();
        let mut other = Selection::new("dst port 53").unwrap();
        for (data, linktype) in [(&ethernet, 1), (&raw, LINKTYPE_RAW), (&ethernet, 1)] {
            assert!(wanted.wants(&frame(data, linktype)).unwrap(), "link type {linktype}");
            assert!(!other.wants(&frame(data, linktype)).unwrap(), "link type {linktype}");
        }
    }

    #[test]
    fn an_expression_that_means_nothing_for_a_link_type_is_an_error_there() {
        let mut selection = Selection::new("ether host 02:00:00:00:00:01").unwrap();
        assert!(selection.wants(&frame(&[0x45; 40], LINKTYPE_RAW)).is_err());
        assert!(Selection::new("udp prt 53").is_err());
    }
}
