//! The embedded backend.
#![forbid(unsafe_code)]
fn main() {}
