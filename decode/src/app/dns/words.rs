//! Numbers of the header and of records as the words that people know (IANA's DNS parameters).

use super::super::text::TextBuf;

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const PTR: u16 = 12;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

/// Appends the mnemonic of a type, `TYPE123` for one without (RFC 3597 section 5).
pub(crate) fn push_type(number: u16, text: &mut TextBuf) {
    match type_word(number) {
        Some(word) => text.push(word.as_bytes()),
        None => {
            text.push(b"TYPE");
            text.push_decimal(number);
        }
    }
}

/// Appends the name of a response code, `RCODE12` for one without.
pub(crate) fn push_rcode(number: u8, text: &mut TextBuf) {
    match rcode_word(number) {
        Some(word) => text.push(word.as_bytes()),
        None => {
            text.push(b"RCODE");
            text.push_decimal(number.into());
        }
    }
}

fn rcode_word(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        _ => return None,
    })
}

fn type_word(number: u16) -> Option<&'static str> {
    Some(match number {
        A => "A",
        NS => "NS",
        CNAME => "CNAME",
        6 => "SOA",
        10 => "NULL",
        11 => "WKS",
        PTR => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        MX => "MX",
        TXT => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        AAAA => "AAAA",
        29 => "LOC",
        SRV => "SRV",
        35 => "NAPTR",
        36 => "KX",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        42 => "APL",
        43 => "DS",
        44 => "SSHFP",
        45 => "IPSECKEY",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        55 => "HIP",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        62 => "CSYNC",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_word_are_written_out() {
        let text = |write: &dyn Fn(&mut TextBuf)| {
            let mut text = TextBuf::new();
            write(&mut text);
            String::from_utf8_lossy(text.as_bytes()).into_owned()
        };
        assert_eq!(text(&|text| push_type(65, text)), "HTTPS");
        assert_eq!(text(&|text| push_type(65_280, text)), "TYPE65280");
        assert_eq!(text(&|text| push_rcode(3, text)), "NXDOMAIN");
        assert_eq!(text(&|text| push_rcode(15, text)), "RCODE15");
    }
}
