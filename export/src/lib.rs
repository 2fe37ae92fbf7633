//! Records to the backend.
#![forbid(unsafe_code)]

mod feed;
mod json;
mod meter;
mod order;
mod stats;
#[cfg(test)]
mod testing;
