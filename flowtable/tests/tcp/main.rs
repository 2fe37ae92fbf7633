//! TCP metrics from the outside: the rules of the specification, real captures, and generated
//! conversations whose truth is known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod captures;
mod conversation;
mod generator;
mod properties;
mod rules;
mod table;
mod truth;
mod wire;
