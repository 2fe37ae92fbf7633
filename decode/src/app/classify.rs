//! How the protocol of a conversation is found.

/// What may decide on a protocol besides configured and well-known ports (`--classify`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classify {
    /// The first payload bytes, where the ports say nothing or are wrong.
    #[default]
    Content,
    /// Nothing: the ports alone.
    Ports,
}
