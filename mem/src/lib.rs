//! Two safe doors to the machine: slabs of fixed capacity on huge pages, and prefetch.
//!
//! A [`Slab`] reserves address space once, is backed by 2 MiB pages where the kernel gives them,
//! never moves and never grows past its capacity. Memory is committed by first touch, so an idle
//! table costs little. Knows nothing of what is stored.

mod prefetch;
mod slab;

pub use prefetch::{prefetch, prefetch_whole};
pub use slab::{Slab, Zeroable};
