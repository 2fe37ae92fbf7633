//! Why a capture could not be opened, or failed while running.

use std::io;

use thiserror::Error;

use crate::config::ConfigError;

/// Why a capture could not be opened or failed while running.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The process may not open packet sockets.
    #[error(
        "opening a packet socket needs CAP_NET_RAW (run as root, or: setcap cap_net_raw+ep): {0}"
    )]
    Privilege(#[source] io::Error),
    /// A number of the configuration is out of range.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Frames of this hardware type cannot be read.
    #[error("{interface}: unsupported hardware type {number} ({name})")]
    LinkType {
        /// Name of the interface.
        interface: String,
        /// ARPHRD_* number.
        number: u16,
        /// The type in words.
        name: &'static str,
    },
    /// The kernel has no TPACKET_V3 (before Linux 3.2).
    #[error("the kernel has no packet ring of version 3: {0}")]
    Version(#[source] io::Error),
    /// The ring could not be had in this size.
    #[error("a ring of {blocks} blocks of {block_bytes} bytes was refused: {source}")]
    Ring {
        /// Blocks asked for.
        blocks: usize,
        /// Bytes of each.
        block_bytes: usize,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// The fanout group refused the socket.
    #[error("{0}")]
    Fanout(String),
    /// Any other step of setting up or running.
    #[error("{step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
}

pub(crate) fn step(step: &'static str) -> impl Fn(io::Error) -> CaptureError {
    move |source| CaptureError::Step { step, source }
}

/// For the first step: opening the socket.
pub(crate) fn opening(error: io::Error) -> CaptureError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => CaptureError::Privilege(error),
        _ => step("opening a packet socket")(error),
    }
}
