//! What readers hand over, and the body of a POST made of it.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use kflow::tags::{Delete, Populators, Upsert};

/// JSON around one user and its address; the longest address has 15 characters.
const EVENT_BYTES: usize = 64;
/// A byte of a name becomes a replacement character of 3 bytes, or an escape like `\u0001`.
const ESCAPED_BYTES: usize = 6;

/// One hand-over of one reader.
#[derive(Debug, PartialEq, Eq)]
pub enum Parcel {
    /// DNS responses in MessagePack, one behind the other, and how many.
    Dns {
        /// The body, or a part of it.
        body: Vec<u8>,
        /// Responses in it.
        records: u64,
    },
    /// Users that came and went, in the order of time.
    Users(Vec<UserEvent>),
}

/// A user who came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// When, ns since the Unix epoch.
    pub time_ns: u64,
    /// Its name.
    pub user: String,
    /// Where it is now; `None` when it has gone.
    pub address: Option<Ipv4Addr>,
}

impl UserEvent {
    /// Bytes that it takes in a body, at most.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        EVENT_BYTES + ESCAPED_BYTES * self.user.len()
    }
}

impl Parcel {
    /// Responses or events.
    #[must_use]
    pub fn records(&self) -> u64 {
        match self {
            Self::Dns { records, .. } => *records,
            Self::Users(events) => events.len() as u64,
        }
    }

    /// What it takes of a body, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Dns { body, .. } => body.len(),
            Self::Users(events) => events.iter().map(UserEvent::body_bytes).sum(),
        }
    }
}

/// The body of one POST, and the records that it stands for.
pub(super) fn body(parcels: Vec<Parcel>) -> Result<(Vec<u8>, u64), serde_json::Error> {
    let records = parcels.iter().map(Parcel::records).sum();
    let mut dns: Vec<u8> = Vec::new();
    let mut users = Vec::new();
    for parcel in parcels {
        match parcel {
            Parcel::Dns { body, .. } if dns.is_empty() => dns = body,
            Parcel::Dns { body, .. } => dns.extend_from_slice(&body),
            Parcel::Users(events) => users.extend(events),
        }
    }
    let body = if users.is_empty() { dns } else { serde_json::to_vec(&populators(users))? };
    Ok((body, records))
}

/// Of each user the last event: the server applies deletes before upserts, so of a user who comes
/// and goes both would leave it there (RAD-8).
fn populators(mut events: Vec<UserEvent>) -> Populators {
    // Several readers may have seen them.
    events.sort_by_key(|event| event.time_ns);
    let last: HashMap<String, usize> =
        events.iter().enumerate().map(|(place, event)| (event.user.clone(), place)).collect();
    let mut upserts = Vec::new();
    let mut deletes = Vec::new();
    for (place, event) in events.into_iter().enumerate() {
        if last.get(&event.user) != Some(&place) {
            continue;
        }
        match event.address {
            Some(address) => upserts.push(Upsert::address(event.user, address.to_string())),
            None => deletes.push(Delete { value: event.user }),
        }
    }
    Populators::whole(upserts, deletes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ns: u64, user: &str, address: Option<[u8; 4]>) -> UserEvent {
        UserEvent { time_ns, user: user.into(), address: address.map(Ipv4Addr::from) }
    }

    fn text(parcels: Vec<Parcel>) -> (String, u64) {
        let (body, records) = body(parcels).expect("JSON");
        (String::from_utf8(body).expect("text"), records)
    }

    #[test]
    fn a_start_and_a_stop_are_the_body_of_the_contract() {
        let events = vec![event(1, "bob", Some([10, 1, 2, 3])), event(2, "alice", None)];
        let expected = r#"{"replace_all":false,"complete":true,"ttl_minutes":0,"upserts":[{"value":"bob","criteria":[{"addr":["10.1.2.3"]}]}],"deletes":[{"value":"alice"}]}"#;
        assert_eq!(text(vec![Parcel::Users(events)]), (expected.to_owned(), 2));
    }

    #[test]
    fn of_a_user_only_the_last_event_in_time_is_sent_whoever_saw_it() {
        let later = vec![event(30, "bob", None), event(50, "eve", Some([10, 0, 0, 2]))];
        let earlier = vec![event(10, "bob", Some([10, 1, 2, 3])), event(40, "eve", None)];
        let expected = r#"{"replace_all":false,"complete":true,"ttl_minutes":0,"upserts":[{"value":"eve","criteria":[{"addr":["10.0.0.2"]}]}],"deletes":[{"value":"bob"}]}"#;
        let parcels = vec![Parcel::Users(later), Parcel::Users(earlier)];
        assert_eq!(text(parcels), (expected.to_owned(), 4));
    }

    #[test]
    fn dns_parcels_are_joined_as_they_are() {
        let parcel = |body: &[u8]| Parcel::Dns { body: body.to_vec(), records: 1 };
        let joined = body(vec![parcel(b"ab"), parcel(b"c")]).expect("a body");
        assert_eq!(joined, (b"abc".to_vec(), 2));
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_longer_than_its_parcels_say(users: Vec<(String, Option<[u8; 4]>)>) {
            proptest::prop_assume!(!users.is_empty());
            let events: Vec<UserEvent> =
                users.iter().map(|(user, address)| event(0, user, *address)).collect();
            let parcel = Parcel::Users(events);
            // The members around the lists.
            let most = parcel.bytes() + 128;
            let (body, _) = body(vec![parcel]).expect("JSON");
            proptest::prop_assert!(body.len() <= most);
        }
    }
}
