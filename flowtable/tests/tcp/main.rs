//! TCP metrics from the outside: the rules of the specification, real captures, and generated
//! conversations whose truth is known.

mod captures;
mod conversation;
mod generator;
mod properties;
mod rules;
mod truth;
