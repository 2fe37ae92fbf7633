//! Reads numbers and length-prefixed vectors from the front of a slice (RFC 8446 section 3).

/// What is left to read. Every read gives nothing, and takes nothing, when too little is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(len)?;
        self.left = left;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&byte, left) = self.left.split_first()?;
        self.left = left;
        Some(byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (bytes, left) = self.left.split_first_chunk()?;
        self.left = left;
        Some(u16::from_be_bytes(*bytes))
    }

    pub(super) fn u24(&mut self) -> Option<usize> {
        let (&[high, middle, low], left) = self.left.split_first_chunk()?;
        self.left = left;
        Some(u32::from_be_bytes([0, high, middle, low]) as usize)
    }

    /// A vector after its length in one byte.
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let mut at = *self;
        let len = at.u8()?;
        let vector = at.take(len.into())?;
        *self = at;
        Some(vector)
    }

    /// A vector after its length in two bytes.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let mut at = *self;
        let len = at.u16()?;
        let vector = at.take(len.into())?;
        *self = at;
        Some(vector)
    }
}

/// The numbers of a vector of two-byte numbers; an odd byte at its end is left out.
pub(super) fn numbers(vector: &[u8]) -> impl Iterator<Item = u16> + '_ {
    vector.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// The extensions of a hello with their numbers, as far as they are well formed.
pub(super) fn extensions(block: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut reader = Reader::new(block);
    std::iter::from_fn(move || Some((reader.u16()?, reader.vector16()?)))
}

/// The first name of an ALPN extension (RFC 7301 section 3.1).
pub(super) fn first_alpn(extension: &[u8]) -> Option<&[u8]> {
    let list = Reader::new(extension).vector16()?;
    Reader::new(list).vector8().filter(|name| !name.is_empty())
}
