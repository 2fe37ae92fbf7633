//! Any packed message behind the zero prefix gives records or an error; records that were read
//! can be written, and then say the same each time.
#![no_main]

use kflow::wire::{Encoder, PREFIX_BYTES, decode_body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packed: &[u8]| {
    let _ = decode_body(packed);
    let body = [&[0; PREFIX_BYTES], packed].concat();
    let Ok(flows) = decode_body(&body) else { return };
    let mut once = Vec::new();
    // Text may grow when it is repaired, so a batch can exceed what may be written.
    let Ok(()) = Encoder::new().encode_body(&flows, &mut once) else { return };
    let read = decode_body(&once).expect("what we wrote is well-formed");
    assert_eq!(read.len(), flows.len());
    let mut twice = Vec::new();
    Encoder::new().encode_body(&read, &mut twice).expect("it fitted before");
    assert_eq!(once, twice);
});
