//! Bodies of the DNS endpoint: MessagePack maps one behind the other (wire contract, section 9).

use std::fmt;
use std::io::Cursor;
use std::net::IpAddr;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The content type to send (DNSW-1).
pub const CONTENT_TYPE: &str = "application/chfdns";

/// Deepest nesting that is read, unknown members included; ours is four.
const MAX_DEPTH: usize = 16;

/// One DNS response that a client received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    /// What was asked, and by whom.
    pub question: Question,
    /// Every A and AAAA record of the answer section, in order.
    pub answers: Vec<Answer>,
}

/// The question of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Question {
    /// Name asked for.
    pub name: String,
    /// Address of the client; 4 or 16 bytes on the wire.
    #[serde(with = "address")]
    pub host: IpAddr,
}

/// One address of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    /// Owner name; empty from a probe.
    pub name: String,
    /// Canonical name; empty from a probe.
    #[serde(rename = "CNAME")]
    pub cname: String,
    /// The address; 4 or 16 bytes on the wire.
    #[serde(rename = "IP", with = "address")]
    pub ip: IpAddr,
    /// Time to live in seconds.
    #[serde(rename = "TTL")]
    pub ttl: u32,
}

/// A body that is no concatenation of responses.
#[derive(Debug, thiserror::Error)]
#[error("bad DNS response at byte {offset}: {source}")]
pub struct DnsError {
    /// Where the faulty response begins.
    pub offset: usize,
    /// What the MessagePack reader found.
    pub source: rmp_serde::decode::Error,
}

/// Appends `response` to `body`, in the shortest encodings.
pub fn encode(response: &Response, body: &mut Vec<u8>) {
    response
        .serialize(&mut rmp_serde::Serializer::new(body).with_struct_map())
        .expect("writing to a Vec does not fail, and every length is known");
}

/// Reads the responses of a body one by one, so that memory is the caller's to bound. Ends after
/// the first error.
pub fn decode(body: &[u8]) -> Responses<'_> {
    Responses { body, offset: 0 }
}

/// Iterator of [`decode`].
#[derive(Clone, Debug)]
pub struct Responses<'a> {
    body: &'a [u8],
    offset: usize,
}

impl Iterator for Responses<'_> {
    type Item = Result<Response, DnsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let mut reader = rmp_serde::Deserializer::new(Cursor::new(rest));
        reader.set_max_depth(MAX_DEPTH);
        match Response::deserialize(&mut reader) {
            Ok(response) => {
                self.offset += reader.position() as usize;
                Some(Ok(response))
            }
            Err(source) => {
                let offset = std::mem::replace(&mut self.offset, self.body.len());
                Some(Err(DnsError { offset, source }))
            }
        }
    }
}

/// Addresses as binary of 4 or 16 bytes.
mod address {
    use super::{AddressVisitor, Deserializer, IpAddr, Serializer};

    pub(super) fn serialize<S: Serializer>(
        addr: &IpAddr,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match addr {
            IpAddr::V4(addr) => serializer.serialize_bytes(&addr.octets()),
            IpAddr::V6(addr) => serializer.serialize_bytes(&addr.octets()),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpAddr, D::Error> {
        from.deserialize_bytes(AddressVisitor)
    }
}

struct AddressVisitor;

impl<'de> Visitor<'de> for AddressVisitor {
    type Value = IpAddr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address of 4 or 16 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<IpAddr, E> {
        <[u8; 4]>::try_from(bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
            .map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IpAddr, A::Error> {
        let mut bytes = [0; 16];
        let mut len = 0;
        while let Some(byte) = seq.next_element::<u8>()? {
            *bytes.get_mut(len).ok_or_else(|| de::Error::invalid_length(len + 1, &self))? = byte;
            len += 1;
        }
        self.visit_bytes(&bytes[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wire contract, section 9: the response of `google.com-any.pcap`, packet 2.
    const VECTOR: &str =
        "82a85175657374696f6e82a44e616d65aa676f6f676c652e636f6da4486f7374c4040a000034
        a7416e737765727392
        84a44e616d65a0a5434e414d45a0a24950c404acd91a0ea354544ccd012b
        84a44e616d65a0a5434e414d45a0a24950c4102404680040040809000000000000200ea354544ccd012b";

    fn vector() -> Vec<u8> {
        let digits: Vec<u8> = VECTOR.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn response() -> Response {
        let answer = |ip: &str| Answer {
            name: String::new(),
            cname: String::new(),
            ip: ip.parse().unwrap(),
            ttl: 299,
        };
        Response {
            question: Question { name: "google.com".into(), host: [10, 0, 0, 52].into() },
            answers: vec![answer("172.217.26.14"), answer("2404:6800:4004:809::200e")],
        }
    }

    #[test]
    fn a_response_is_encoded_to_the_bytes_of_the_contract() {
        let mut body = Vec::new();
        encode(&response(), &mut body);
        assert_eq!(body.len(), 119);
        assert_eq!(body, vector());
    }

    #[test]
    fn concatenated_responses_are_read_one_by_one() {
        let body = vector().repeat(3);
        let read: Vec<_> = decode(&body).map(Result::unwrap).collect();
        assert_eq!(read, vec![response(); 3]);
        assert!(decode(&[]).next().is_none());
    }

    #[test]
    fn reading_ends_at_the_first_fault_and_says_where() {
        let mut body = vector();
        body.extend([0xc1, 0x82]);
        let read: Vec<_> = decode(&body).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].as_ref().unwrap_err().offset, 119);
    }

    #[test]
    fn members_in_another_order_are_read() {
        // {"Answers": [], "Question": {"Host": bin 4, "Name": "a"}}
        let mut body = b"\x82\xa7Answers\x90\xa8Question\x82\xa4Host\xc4\x04".to_vec();
        body.extend([192, 0, 2, 1]);
        body.extend(b"\xa4Name\xa1a");
        let read = decode(&body).next().unwrap().unwrap();
        assert_eq!(read.question.host, IpAddr::from([192, 0, 2, 1]));
        assert!(read.answers.is_empty());
    }

    #[test]
    fn an_address_of_another_length_is_refused() {
        let mut body = b"\x82\xa7Answers\x90\xa8Question\x82\xa4Host\xc4\x05".to_vec();
        body.extend([192, 0, 2, 1, 0]);
        body.extend(b"\xa4Name\xa1a");
        assert!(decode(&body).next().unwrap().is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let body = [vec![0x81, 0xa1, b'x'], vec![0x91; 100_000]].concat();
        assert!(decode(&body).next().unwrap().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_responses_or_an_error(
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let responses = decode(&body).count();
            proptest::prop_assert!(responses <= body.len());
        }

        #[test]
        fn a_changed_response_gives_responses_or_an_error(at in 0_usize..119, byte: u8) {
            let mut body = vector();
            body[at] = byte;
            proptest::prop_assert!(decode(&body).count() <= 119);
        }
    }
}
