//! Records to the backend.
#![forbid(unsafe_code)]
