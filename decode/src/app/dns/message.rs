//! A message read where it stands (RFC 1035 section 4), without allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::{Name, end_of_name};
use super::words::{A, AAAA};

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 12;

/// A message whose header, questions and addresses are well-formed.
///
/// The answer section ends for this reader before the first record that breaks out of the message
/// (cut by the snap length, or a lie); authority and additional section are not looked at. Bytes
/// behind the message are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    flags: u16,
    questions: u16,
    last_question: Option<Question<'a>>,
    /// Answers that are well-formed, of those that the header counts.
    answers: u16,
    answers_at: usize,
}

/// One entry of the question section.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name asked for.
    pub name: Name<'a>,
    /// Type asked for: 1 A, 28 AAAA, 255 any …
    pub qtype: u16,
    /// Class: 1 Internet. In multicast DNS its highest bit asks for a unicast answer.
    pub qclass: u16,
}

/// One resource record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    message: &'a [u8],
    at: usize,
    rdata_at: usize,
    /// Type: 1 A, 28 AAAA …
    pub rtype: u16,
    /// Class; the payload size in an OPT record.
    pub class: u16,
    /// Time to live, seconds.
    pub ttl_s: u32,
    /// Its data. Names within may point elsewhere in the message: [`Record::name_in_rdata`].
    pub rdata: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads header, questions and the frame of each answer. `None` when the header is cut, a
    /// question is malformed, or the length of an address among the answers is wrong (spec 13.2).
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let [questions, answers] =
            [4, 6].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
        let mut at = HEADER_BYTES;
        let mut last_at = None;
        for _ in 0..questions {
            last_at = Some(at);
            at = end_of_name(bytes, at)? + 4;
            if at > bytes.len() {
                return None;
            }
        }
        let last_question = match last_at {
            Some(start) => Some(Question {
                name: Name::at(bytes, start)?,
                qtype: u16_at(bytes, at - 4)?,
                qclass: u16_at(bytes, at - 2)?,
            }),
            None => None,
        };
        let mut message = Self {
            bytes,
            flags: u16::from_be_bytes([header[2], header[3]]),
            questions,
            last_question,
            answers,
            answers_at: at,
        };
        message.answers = message.count_answers()?;
        Some(message)
    }

    /// Number that an answer has in common with its query.
    #[must_use]
    pub fn id(&self) -> u16 {
        u16_at(self.bytes, 0).unwrap_or_default()
    }

    /// QR: an answer rather than a query.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// Kind of query: 0 standard, 4 notify, 5 update.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 15) as u8
    }

    /// TC: cut, to be asked for again over TCP.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// Response code of the header, 0–15.
    #[must_use]
    pub fn rcode(&self) -> u8 {
        (self.flags & 15) as u8
    }

    /// Number of questions.
    #[must_use]
    pub fn question_count(&self) -> u16 {
        self.questions
    }

    /// Number of answers that [`Message::answers`] gives, at most what the header says.
    #[must_use]
    pub fn answer_count(&self) -> u16 {
        self.answers
    }

    /// The first question, where there is one and its name is well-formed.
    #[must_use]
    pub fn first_question(&self) -> Option<Question<'a>> {
        if self.questions < 2 {
            return self.last_question;
        }
        let end = end_of_name(self.bytes, HEADER_BYTES)?;
        Some(Question {
            name: Name::at(self.bytes, HEADER_BYTES)?,
            qtype: u16_at(self.bytes, end)?,
            qclass: u16_at(self.bytes, end + 2)?,
        })
    }

    /// The last question: the one that is reported.
    #[must_use]
    pub fn last_question(&self) -> Option<Question<'a>> {
        self.last_question
    }

    /// The well-formed records of the answer section, in order.
    pub fn answers(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        Records { message: self.bytes, at: self.answers_at }.take(self.answers.into())
    }

    /// Address and time to live (seconds) of each A and AAAA record among the answers, in order.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, u32)> + use<'a> {
        self.answers().filter_map(|record| Some((record.address()?, record.ttl_s)))
    }

    /// Where the last record of the last section ends; `None` when one of them is malformed.
    pub(super) fn end(&self) -> Option<usize> {
        let count = |at| u16_at(self.bytes, at).unwrap_or_default();
        let records = [6, 8, 10].map(|at| usize::from(count(at))).iter().sum();
        let mut reader = Records { message: self.bytes, at: self.answers_at };
        (reader.by_ref().take(records).count() == records).then_some(reader.at)
    }

    fn count_answers(&self) -> Option<u16> {
        let mut count = 0;
        for record in self.answers() {
            let is_wrong = match record.rtype {
                A => record.rdata.len() != 4,
                AAAA => record.rdata.len() != 16,
                _ => false,
            };
            if is_wrong {
                return None;
            }
            count += 1;
        }
        Some(count)
    }
}

impl<'a> Record<'a> {
    /// Whose record it is; `None` when the name is malformed.
    #[must_use]
    pub fn owner(&self) -> Option<Name<'a>> {
        Name::at(self.message, self.at)
    }

    /// The address of an A or AAAA record.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.rdata).ok()?).into()),
            AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.rdata).ok()?).into()),
            _ => None,
        }
    }

    /// The name that starts at byte `offset` of the data and ends with the data: 0 for CNAME, PTR
    /// and NS, 2 for MX, 6 for SRV. `None` when it is malformed.
    #[must_use]
    pub fn name_in_rdata(&self, offset: usize) -> Option<Name<'a>> {
        let start = self.rdata_at + offset;
        let end = end_of_name(self.message, start)?;
        (end == self.rdata_at + self.rdata.len()).then(|| Name::at(self.message, start))?
    }
}

/// Records one after the other, until one breaks out of the message.
struct Records<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let end = end_of_name(self.message, self.at)?;
        let fixed: &[u8; 10] = self.message.get(end..)?.first_chunk()?;
        let [t0, t1, c0, c1, l0, l1, l2, l3, d0, d1] = *fixed;
        let rdata_at = end + fixed.len();
        let rdata_end = rdata_at + usize::from(u16::from_be_bytes([d0, d1]));
        let record = Record {
            message: self.message,
            at: self.at,
            rdata_at,
            rtype: u16::from_be_bytes([t0, t1]),
            class: u16::from_be_bytes([c0, c1]),
            ttl_s: u32::from_be_bytes([l0, l1, l2, l3]),
            rdata: self.message.get(rdata_at..rdata_end)?,
        };
        self.at = rdata_end;
        Some(record)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&word| u16::from_be_bytes(word))
}
