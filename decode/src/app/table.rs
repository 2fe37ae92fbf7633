//! The stream decoders, one line each.

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

            /// Its own size included.
            fn heap_bytes(&self) -> usize {
                match self {
                    $(Self::$app(decoder) => size_of::<$decoder>() + decoder.heap_bytes()),*
                }
            }
        }
    };
}

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
