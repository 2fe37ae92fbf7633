//! Writes classic capture files, streaming.
//!
//! Format: draft-ietf-opsawg-pcap, little-endian, nanosecond times. Reading is `capture`'s.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const SNAPLEN_BYTES: u32 = 262_144;
const BUFFER_BYTES: usize = 1 << 20;

/// A capture file that is being written.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Creates or overwrites `path` and writes the file header for a link type of the LINKTYPE
    /// registry (1 is Ethernet).
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path, linktype: u32) -> io::Result<Writer> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        file.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
        file.write_all(&2u16.to_le_bytes())?;
        file.write_all(&4u16.to_le_bytes())?;
        file.write_all(&[0; 8])?;
        file.write_all(&SNAPLEN_BYTES.to_le_bytes())?;
        file.write_all(&linktype.to_le_bytes())?;
        Ok(Writer { file })
    }

    /// Appends one frame: time in ns since the epoch, captured bytes, length on the wire.
    ///
    /// # Errors
    /// What the file system says, and `InvalidInput` for a frame above 4 GiB.
    pub fn write(&mut self, time_ns: u64, data: &[u8], wire_bytes: u32) -> io::Result<()> {
        let captured = u32::try_from(data.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "frame above 4 GiB"))?;
        let mut header = [0; 16];
        // Seconds are 32 bits in the format and wrap in 2106.
        header[..4].copy_from_slice(&((time_ns / 1_000_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((time_ns % 1_000_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&captured.to_le_bytes());
        header[12..].copy_from_slice(&wire_bytes.to_le_bytes());
        self.file.write_all(&header)?;
        self.file.write_all(data)
    }

    /// Writes what is buffered. Without this call errors at the end go unnoticed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_frame_is_laid_out_as_the_format_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.pcap");
        let mut writer = Writer::create(&path, 1).unwrap();
        writer.write(1_000_000_002, b"abc", 60).unwrap();
        writer.finish().unwrap();
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0,
            0, //
            1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 60, 0, 0, 0, b'a', b'b', b'c',
        ];
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
