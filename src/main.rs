//! The `kprobe` command.
#![forbid(unsafe_code)]
fn main() {}
