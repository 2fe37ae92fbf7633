//! Which headers matter.

/// A header, as far as its name matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Method,
    Path,
    Authority,
    UserAgent,
    Status,
    GrpcStatus,
    /// Its value is nobody's business: it is neither reported nor kept.
    Other,
}

impl Name {
    /// The header of this name, which is in lower case (RFC 9113 section 8.2.1).
    pub fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":authority" | b"host" => Self::Authority,
            b"user-agent" => Self::UserAgent,
            b":status" => Self::Status,
            b"grpc-status" => Self::GrpcStatus,
            _ => Self::Other,
        }
    }

    /// The part of a value that is kept: its first bytes, without a part of a UTF-8 character at
    /// the end.
    pub fn kept(self, value: &[u8]) -> &[u8] {
        let limit: usize = match self {
            Self::Method => 32,
            Self::Path => 1024,
            Self::Authority => 256,
            Self::UserAgent => 512,
            Self::Status | Self::GrpcStatus => 16,
            Self::Other => 0,
        };
        let continues = |at: usize| value.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let ends = limit.saturating_sub(3)..=limit;
        let end = ends.rev().find(|&at| !continues(at)).unwrap_or(limit);
        value.get(..end).unwrap_or(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_ends_with_a_whole_character() {
        let kept = |text: &str| Name::Status.kept(text.as_bytes()).len();
        assert_eq!(kept("0123456789abcdef"), 16);
        assert_eq!(kept("0123456789abcdefg"), 16);
        assert_eq!(kept("0123456789abcdeä"), 15);
        assert_eq!(kept("0123456789abcd\u{10000}"), 14);
        assert_eq!(kept(""), 0);
        assert_eq!(Name::Status.kept(&[0x80; 90]).len(), 16);
        assert_eq!(Name::Other.kept(b"secret"), b"");
    }
}
