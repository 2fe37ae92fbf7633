//! `SSH_MSG_KEXINIT` (RFC 4253 section 7.1): the lists of one side, and what two of them agree on.

/// Names of a list that are looked at; bounds the comparisons of hostile lists.
const MAX_NAMES: usize = 128;
/// Longest name kept, bytes (RFC 4251 section 6 allows 64).
const MAX_NAME_BYTES: usize = 64;

/// The name-lists that matter here, as sent: names joined by commas.
#[derive(Clone, Copy, Debug)]
pub struct KexInit<'a> {
    key_exchange: &'a [u8],
    host_key: &'a [u8],
    cipher_to_server: &'a [u8],
    mac_to_server: &'a [u8],
    compression_to_server: &'a [u8],
}

impl<'a> KexInit<'a> {
    /// From the payload after the message number: cookie, ten name-lists, a flag, a reserved word.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut rest = payload.get(16..)?;
        let mut lists = [&[][..]; 10];
        for list in &mut lists {
            let (length, after) = rest.split_first_chunk()?;
            (*list, rest) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        }
        let [key_exchange, host_key, cipher_to_server, _, mac_to_server, _, compression, ..] =
            lists;
        (rest.len() >= 5).then_some(Self {
            key_exchange,
            host_key,
            cipher_to_server,
            mac_to_server,
            compression_to_server: compression,
        })
    }

    /// HASSH of a client: the MD5 of four of its lists, joined by semicolons.
    pub fn hassh(&self) -> [u8; 16] {
        let mut context = md5::Context::new();
        context.consume(self.key_exchange);
        for list in [self.cipher_to_server, self.mac_to_server, self.compression_to_server] {
            context.consume(b";");
            context.consume(list);
        }
        context.finalize().0
    }
}

/// What both sides can do, as far as they agree.
#[derive(Debug)]
pub struct Agreed {
    pub key_exchange: Option<Box<[u8]>>,
    pub host_key: Option<Box<[u8]>>,
    pub cipher: Option<Box<[u8]>>,
    /// `None` also where the cipher authenticates by itself and no MAC is used.
    pub mac: Option<Box<[u8]>>,
}

impl Agreed {
    pub fn between(client: &KexInit<'_>, server: &KexInit<'_>) -> Self {
        let cipher = first_common(client.cipher_to_server, server.cipher_to_server);
        let needs_mac = !cipher.is_some_and(authenticates);
        let mac = first_common(client.mac_to_server, server.mac_to_server);
        Self {
            key_exchange: first_common(client.key_exchange, server.key_exchange).map(kept),
            host_key: first_common(client.host_key, server.host_key).map(kept),
            cipher: cipher.map(kept),
            mac: mac.filter(|_| needs_mac).map(kept),
        }
    }

    pub fn heap_bytes(&self) -> usize {
        let names = [&self.key_exchange, &self.host_key, &self.cipher, &self.mac];
        names.into_iter().flatten().map(|name| name.len()).sum()
    }
}

/// The first name of the client's list that is in the server's, too.
fn first_common<'a>(client: &'a [u8], server: &[u8]) -> Option<&'a [u8]> {
    let names = |list: &'a [u8]| list.split(|&byte| byte == b',').take(MAX_NAMES);
    names(client).find(|name| {
        let mut offered = server.split(|&byte| byte == b',').take(MAX_NAMES);
        !name.is_empty() && offered.any(|other| other == *name)
    })
}

/// Whether a cipher brings its own authentication (RFC 5647, OpenSSH's PROTOCOL files).
fn authenticates(cipher: &[u8]) -> bool {
    cipher.starts_with(b"chacha20-poly1305")
        || cipher.starts_with(b"AEAD_")
        || cipher.windows(4).any(|part| part == b"-gcm")
}

fn kept(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(MAX_NAME_BYTES)].into()
}
