//! Bytes to meaning: link to transport headers and fragments.
#![forbid(unsafe_code)]
