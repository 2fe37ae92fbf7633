//! `kprobe top`: who talks most, in a terminal; of a running probe, of an interface or of a file.
//!
//! [`Heavy`] collects on the exporter's thread, [`Snapshot`] is what the status server serves,
//! [`Model`](model::Model) is what the user makes of it, and `view` draws that.

mod heavy;
mod model;
mod remote;
mod screen;
mod snapshot;
#[cfg(test)]
mod testing;
mod view;

pub use heavy::Heavy;
pub use remote::run as run_remote;
pub use screen::{Running, Screen};
pub use snapshot::{Records, Ring, Snapshot};
