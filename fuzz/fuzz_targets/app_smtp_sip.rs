//! Any bytes of both sides, gaps and ends leave the SMTP and SIP decoders within their bounds, and
//! any datagram is taken or refused as SIP. Input: a number whose remainder by 3 chooses (1), then
//! see `conversation`, or the datagram.
#![no_main]

mod conversation;

use decode::app::{Datagram, Events, Pending, Verdict, sip, smtp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    match choice % 3 {
        0 => conversation::play(rest, &mut smtp::Smtp::new(), smtp::guess, 32 << 10),
        1 => conversation::play(rest, &mut sip::Sip::new(), sip::guess_stream, 48 << 10),
        _ => {
            let (mut pending, mut events) = (Pending::new(8), Events::default());
            let _ = sip::guess(rest);
            for now_us in 0..2 {
                let datagram =
                    Datagram { payload: rest, src_port: 1, dst_port: 2, conversation: 3, now_us };
                let verdict = sip::datagram(&datagram, &mut pending, &mut events);
                assert!(verdict == Verdict::More || events.is_empty());
            }
        }
    }
});
