//! The first payloads of real conversations are recognised by their own protocol alone.

use decode::app::{Guess, Side, mysql, postgres, redis, sip, smtp};

use crate::recordings::payloads;

type Guesser = fn(&[u8], Side) -> Guess;

const GUESSERS: [(&str, Guesser); 5] = [
    ("postgres", postgres::guess),
    ("mysql", mysql::guess),
    ("redis", redis::guess),
    ("smtp", smtp::guess),
    ("sip", sip::guess_stream),
];

/// Recording, port, and which side's first payload is enough.
const RECORDINGS: [(&str, u16, Side); 10] = [
    ("postgres/simple.pcap", 5432, Side::Client),
    ("postgres/prepared.pcap", 5432, Side::Client),
    ("postgres/login.pcap", 5432, Side::Client),
    ("mysql/client.pcap", 3306, Side::Server),
    ("mysql/prepared.pcap", 3306, Side::Client),
    ("redis/client.pcap", 6379, Side::Client),
    ("redis/resp3.pcap", 6379, Side::Client),
    ("smtp/plain.pcap", 25, Side::Server),
    ("smtp/starttls.pcap", 25, Side::Client),
    ("sip/tcp.pcap", 5060, Side::Client),
];

#[test]
fn each_is_recognised_by_its_own_protocol_alone() {
    for (name, port, enough) in RECORDINGS {
        let payloads = payloads(name, port);
        for side in [Side::Client, Side::Server] {
            let first = payloads.iter().find(|payload| payload.from == side).unwrap();
            for (protocol, guess) in GUESSERS {
                let found = guess(&first.bytes, side);
                let own = name.starts_with(protocol);
                let fits = match (own, side == enough) {
                    (true, true) => found == Guess::Yes,
                    (true, false) => true,
                    // A byte or three can begin anything.
                    (false, _) if first.bytes.len() < 4 => found != Guess::Yes,
                    (false, _) => found == Guess::No,
                };
                assert!(fits, "{name} {side:?}: {protocol} says {found:?}");
            }
        }
    }
}

#[test]
fn calls_over_udp_are_recognised_in_every_datagram() {
    for payload in payloads("sip/udp.pcap", 5060) {
        assert_eq!(sip::guess(&payload.bytes), Guess::Yes);
    }
}

/// A guess never takes back what it said: `Maybe` can become anything, the rest stays.
#[test]
fn more_bytes_never_change_a_decided_guess() {
    for (name, port, _) in RECORDINGS {
        let payloads = payloads(name, port);
        for side in [Side::Client, Side::Server] {
            let first = payloads.iter().find(|payload| payload.from == side).unwrap();
            for (protocol, guess) in GUESSERS {
                let guesses: Vec<Guess> =
                    (0..=first.bytes.len()).map(|len| guess(&first.bytes[..len], side)).collect();
                let decided = guesses.iter().position(|&guess| guess != Guess::Maybe);
                let decided = decided.unwrap_or(guesses.len());
                let later = guesses.get(decided..).unwrap();
                assert!(
                    later.windows(2).all(|pair| pair[0] == pair[1]),
                    "{name} {side:?} {protocol}: {guesses:?}"
                );
            }
        }
    }
}
