//! The stream decoders, one line each.

use std::sync::OnceLock;

use super::{
    App, Events, Guess, Side, StreamDecoder, Verdict, dns, http1, http2, mysql, postgres, redis,
    sip, smtp, ssh, tls,
};

/// Whether the first bytes of a side look like a protocol.
type GuessFn = fn(&[u8], Side) -> Guess;

macro_rules! decoders {
    ($($app:ident: $decoder:ty, $guess:path;)*) => {
        /// The decoder that a conversation has. Small itself, its state elsewhere.
        #[derive(Debug)]
        pub(super) enum Decoder {
            $($app(Box<$decoder>)),*
        }

        /// All that can be guessed, the most likely first.
        pub(super) const GUESSES: &[(App, GuessFn)] = &[$((App::$app, $guess)),*];

        impl Decoder {
            /// A decoder at the start of a conversation, if there is one over TCP.
            pub(super) fn new(app: App) -> Option<Self> {
                match app {
                    $(App::$app => Some(Self::$app(Box::<$decoder>::default())),)*
                    _ => None,
                }
            }
        }

        impl StreamDecoder for Decoder {
            fn data(&mut self, from: Side, bytes: &[u8], now_us: u64, events: &mut Events) -> Verdict {
                match self {
                    $(Self::$app(decoder) => decoder.data(from, bytes, now_us, events)),*
                }
            }

            fn gap(&mut self, from: Side, lost_bytes: u64, now_us: u64, events: &mut Events) -> Verdict {
                match self {
                    $(Self::$app(decoder) => decoder.gap(from, lost_bytes, now_us, events)),*
                }
            }

            fn end(&mut self, from: Side, now_us: u64, events: &mut Events) {
                match self {
                    $(Self::$app(decoder) => decoder.end(from, now_us, events)),*
                }
            }

            fn facts(&self, events: &mut Events) {
                match self {
                    $(Self::$app(decoder) => decoder.facts(events)),*
                }
            }

            fn has_facts(&self) -> bool {
                match self {
                    $(Self::$app(decoder) => decoder.has_facts()),*
                }
            }

            /// Its own size included.
            fn heap_bytes(&self) -> usize {
                match self {
                    $(Self::$app(decoder) => size_of::<$decoder>() + decoder.heap_bytes()),*
                }
            }
        }
    };
}

/// Which of [`GUESSES`] a first byte leaves open, a bit each: what is ruled out by one byte stays
/// so.
pub(super) fn open_guesses(first: u8, from: Side) -> u16 {
    static OPEN: OnceLock<[[u16; 256]; 2]> = OnceLock::new();
    let open = OPEN.get_or_init(|| {
        [Side::Client, Side::Server].map(|from| {
            std::array::from_fn(|first| {
                let is_open = |guess: GuessFn| guess(&[first as u8], from) != Guess::No;
                let bits = GUESSES.iter().enumerate();
                bits.fold(0, |bits, (bit, (_, guess))| bits | u16::from(is_open(*guess)) << bit)
            })
        })
    });
    open[from.index()][usize::from(first)]
}

const _: () = assert!(GUESSES.len() <= 16);

// A protocol is added here: its name in `App`, its decoder with `new()`, its `guess`.
decoders! {
    Tls: tls::Tls, tls::guess;
    Http: http1::Http, http1::guess;
    Http2: http2::Http2, http2::guess;
    Ssh: ssh::Ssh, ssh::guess;
    Redis: redis::Redis, redis::guess;
    Postgres: postgres::Postgres, postgres::guess;
    Mysql: mysql::Mysql, mysql::guess;
    Smtp: smtp::Smtp, smtp::guess;
    Sip: sip::Sip, sip::guess_stream;
    Dns: dns::Stream, dns::guess_stream;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any bytes behind beginnings that protocols know.
    fn beginning() -> impl Strategy<Value = Vec<u8>> {
        let heads = vec![
            "",
            "GET / HTTP/1.1\r\n",
            "HTTP/1.1 200",
            "\x16\x03\x01\0\x10",
            "SSH-2.0-",
            "PRI * HTTP/2.0\r\n",
            "220 mail",
            "EHLO a",
            "*1\r\n$4\r\nPING",
            "+OK\r\n",
            "\0\0\0\x08\x04",
            "INVITE sip:a",
            "\r\nSIP/2.0 200",
            "J\0\0\0\n8.0",
            "\0\x1d\x12\x34\x01\0\0\x01",
            "Q\0\0\0\x0dselect 1\0",
            "Q\0\0\0\x40sel",
            "P\0\0\0\x10",
            "P\0\0\0\x11\0select 1\0\0\0",
        ];
        let tail = prop::collection::vec(any::<u8>(), 1..200);
        (prop::sample::select(heads), tail)
            .prop_map(|(head, tail)| [head.as_bytes(), &tail].concat())
    }

    proptest! {
        #[test]
        fn what_the_first_byte_rules_out_no_further_byte_brings_back(bytes in beginning()) {
            for from in [Side::Client, Side::Server] {
                let open = open_guesses(bytes[0], from);
                for (bit, (app, guess)) in GUESSES.iter().enumerate() {
                    let is_open = open & 1 << bit != 0;
                    prop_assert!(is_open || guess(&bytes, from) == Guess::No, "{app:?}");
                }
            }
        }

        #[test]
        fn nothing_is_ruled_out_by_a_beginning_and_recognised_by_more(bytes in beginning()) {
            for from in [Side::Client, Side::Server] {
                for (app, guess) in GUESSES {
                    let mut ruled_out = None;
                    for len in 1..=bytes.len() {
                        match guess(&bytes[..len], from) {
                            Guess::Yes => prop_assert!(ruled_out.is_none(), "{app:?} {ruled_out:?} {len}"),
                            Guess::No => ruled_out = ruled_out.or(Some(len)),
                            Guess::Maybe => {}
                        }
                    }
                }
            }
        }
    }
}
