//! The ClientHello, as TLS over TCP and QUIC carry it (RFC 8446 section 4.1.2).

use super::ja4::{self, Ja4, Transport};
use super::reader::{Reader, extensions, first_alpn, numbers};

/// Handshake type of a ClientHello.
pub const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What is of interest in a ClientHello; borrows the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The highest of the supported-versions extension, GREASE left out, else the field of the
    /// hello itself: 0x0303 for TLS 1.2.
    pub version: u16,
    /// First host name of the server-name extension, as sent.
    pub server_name: Option<&'a [u8]>,
    /// First protocol offered.
    pub alpn: Option<&'a [u8]>,
    ciphers: &'a [u8],
    extensions: &'a [u8],
    signature_algorithms: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Parses a whole handshake message: type 1, three bytes of length, body. Bytes behind it are
    /// ignored. `None` when it is something else, cut, or malformed before its extensions;
    /// extensions count up to the first that is malformed.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        if reader.u8()? != CLIENT_HELLO {
            return None;
        }
        let len = reader.u24()?;
        let mut body = Reader::new(reader.take(len)?);
        let mut version = body.u16()?;
        let _random = body.take(32)?;
        let _session = body.vector8()?;
        let ciphers = body.vector16()?;
        let _compression = body.vector8()?;
        // Hellos of TLS 1.0 and 1.1 may end here.
        let block = body.vector16().unwrap_or_default();
        let (mut server_name, mut alpn) = (None, None);
        let mut signature_algorithms: &[u8] = &[];
        for (kind, content) in extensions(block) {
            match kind {
                SERVER_NAME => server_name = server_name.or(first_host_name(content)),
                ALPN => alpn = alpn.or(first_alpn(content)),
                SIGNATURE_ALGORITHMS => {
                    signature_algorithms = Reader::new(content).vector16().unwrap_or_default();
                }
                SUPPORTED_VERSIONS => version = highest(content).unwrap_or(version),
                _ => {}
            }
        }
        let extensions = block;
        Some(Self { version, server_name, alpn, ciphers, extensions, signature_algorithms })
    }

    /// The JA4 fingerprint.
    #[must_use]
    pub fn ja4(&self, transport: Transport) -> Ja4 {
        let wanted = |number: &u16| !ja4::is_grease(*number);
        let kinds = extensions(self.extensions).map(|(kind, _)| kind);
        ja4::fingerprint(ja4::Hello {
            transport,
            version: self.version,
            alpn: self.alpn,
            ciphers: numbers(self.ciphers).filter(wanted).collect(),
            extensions: kinds.filter(wanted).collect(),
            signature_algorithms: numbers(self.signature_algorithms).filter(wanted).collect(),
        })
    }
}

/// RFC 6066 section 3: the first entry of type 0.
fn first_host_name(extension: &[u8]) -> Option<&[u8]> {
    let mut list = Reader::new(Reader::new(extension).vector16()?);
    loop {
        let (kind, name) = (list.u8()?, list.vector16()?);
        if kind == 0 {
            return Some(name).filter(|name| !name.is_empty());
        }
    }
}

fn highest(extension: &[u8]) -> Option<u16> {
    let versions = Reader::new(extension).vector8()?;
    numbers(versions).filter(|&version| !ja4::is_grease(version)).max()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hello of these parts.
    pub(crate) fn hello(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend((ciphers.len() as u16 * 2).to_be_bytes());
        ciphers.iter().for_each(|cipher| body.extend(cipher.to_be_bytes()));
        body.extend([1, 0]);
        if !extensions.is_empty() {
            let block: Vec<u8> = extensions
                .iter()
                .flat_map(|(kind, content)| {
                    let len = content.len() as u16;
                    [&kind.to_be_bytes()[..], &len.to_be_bytes(), content].concat()
                })
                .collect();
            body.extend((block.len() as u16).to_be_bytes());
            body.extend(block);
        }
        let mut message = vec![CLIENT_HELLO];
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend(body);
        message
    }

    /// Content of a server-name extension.
    pub(crate) fn server_name(name: &str) -> Vec<u8> {
        let len = name.len() as u16;
        let list_len = (len + 3).to_be_bytes();
        [&list_len[..], &[0], &len.to_be_bytes(), name.as_bytes()].concat()
    }

    /// Content of an ALPN extension.
    pub(crate) fn alpn(names: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> =
            names.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
        [&(list.len() as u16).to_be_bytes()[..], &list].concat()
    }

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn signatures(algorithms: &[u16]) -> Vec<u8> {
        words(&[&[algorithms.len() as u16 * 2], algorithms].concat())
    }

    fn text(ja4: Ja4) -> String {
        String::from_utf8(ja4.as_bytes().to_vec()).unwrap()
    }

    /// The browser of FoxIO's description of JA4, with GREASE where browsers have it.
    fn published_example() -> Vec<u8> {
        let ciphers = [
            0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
            0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let algorithms = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
        let kinds = [
            0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
            0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xfafa,
        ];
        let extensions = kinds.map(|kind| {
            let content = match kind {
                SERVER_NAME => server_name("example.org"),
                ALPN => alpn(&[b"h2", b"http/1.1"]),
                SIGNATURE_ALGORITHMS => signatures(&algorithms),
                SUPPORTED_VERSIONS => [&[6][..], &words(&[0x9a9a, 0x0304, 0x0303])].concat(),
                _ => Vec::new(),
            };
            (kind, content)
        });
        hello(0x0303, &ciphers, &extensions)
    }

    #[test]
    fn the_published_example_has_its_published_fingerprint() {
        let message = published_example();
        let hello = ClientHello::parse(&message).unwrap();
        assert_eq!(hello.version, 0x0304);
        assert_eq!(hello.server_name, Some(&b"example.org"[..]));
        assert_eq!(hello.alpn, Some(&b"h2"[..]));
        assert_eq!(text(hello.ja4(Transport::Tcp)), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(text(hello.ja4(Transport::Quic)), "q13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_signature_algorithms_the_list_ends_without_underscore() {
        // The second published hash: the same extensions, an empty list of algorithms.
        let message = published_example();
        let mut hello = ClientHello::parse(&message).unwrap();
        hello.signature_algorithms = &[];
        assert_eq!(text(hello.ja4(Transport::Tcp)), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn a_hello_without_extensions_is_accepted() {
        let message = hello(0x0301, &[0x002f], &[]);
        let hello = ClientHello::parse(&message).unwrap();
        assert_eq!((hello.version, hello.server_name, hello.alpn), (0x0301, None, None));
        // sha256 of "002f" starts with the middle part.
        assert_eq!(text(hello.ja4(Transport::Tcp)), "t10i010000_ba72b8082249_000000000000");
    }

    #[test]
    fn the_first_and_last_character_of_alpn_follow_the_published_table() {
        let cases: [(&[u8], &str); 8] = [
            (b"h2", "h2"),
            (b"http/1.1", "h1"),
            (b"x", "xx"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
        ];
        for (name, expected) in cases {
            let message = hello(0x0303, &[0x1301], &[(ALPN, alpn(&[name]))]);
            let ja4 = text(ClientHello::parse(&message).unwrap().ja4(Transport::Tcp));
            assert_eq!(&ja4[8..10], expected, "{name:?}");
        }
    }

    #[test]
    fn the_first_host_name_is_taken_and_other_types_are_passed_over() {
        let list = [&[0, 14, 9, 0, 1, b'?', 0, 0, 7][..], b"a.b.c.d"].concat();
        let message = hello(0x0303, &[1], &[(SERVER_NAME, list)]);
        assert_eq!(ClientHello::parse(&message).unwrap().server_name, Some(&b"a.b.c.d"[..]));
    }

    #[test]
    fn a_malformed_extension_ends_the_list_and_nothing_else() {
        let mut message = hello(0x0303, &[1], &[(SERVER_NAME, server_name("x.org")), (99, vec![])]);
        let at = message.len() - 1;
        message[at] = 200;
        assert_eq!(ClientHello::parse(&message).unwrap().server_name, Some(&b"x.org"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_clean_result(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = ClientHello::parse(&bytes);
            bytes.splice(0..bytes.len().min(4), [CLIENT_HELLO, 0, 0, 200]);
            if let Some(hello) = ClientHello::parse(&bytes) {
                prop_assert!(hello.ja4(Transport::Tcp).as_bytes().is_ascii());
            }
        }

        #[test]
        fn a_damaged_hello_gives_a_clean_result(at in 0..300_usize, byte: u8, cut in 0..400_usize) {
            let mut message = published_example();
            let index = at % message.len();
            message[index] = byte;
            message.truncate(cut);
            if let Some(hello) = ClientHello::parse(&message) {
                prop_assert!(hello.ja4(Transport::Quic).as_bytes().is_ascii());
            }
        }
    }
}
