//! Names: how a device is asked for, and how it signs its batches.

use std::fmt;
use std::str::FromStr;

/// The `sender_id` of a flow POST (POST-1): `<company id>:<device name>:<device id>`, not yet
/// percent-encoded. The name may itself contain colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderId {
    /// Company id.
    pub company_id: u64,
    /// Name as the API returned it.
    pub device_name: String,
    /// Device id.
    pub device_id: u64,
}

/// A text that is no sender id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sender id is not <company id>:<device name>:<device id>")]
pub struct SenderIdError;

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.company_id, self.device_name, self.device_id)
    }
}

impl FromStr for SenderId {
    type Err = SenderIdError;

    fn from_str(text: &str) -> Result<Self, SenderIdError> {
        let (company, rest) = text.split_once(':').ok_or(SenderIdError)?;
        let (name, device) = rest.rsplit_once(':').ok_or(SenderIdError)?;
        Ok(Self {
            company_id: company.parse().map_err(|_| SenderIdError)?,
            device_name: name.into(),
            device_id: device.parse().map_err(|_| SenderIdError)?,
        })
    }
}

/// The name under which a device is looked up first and created: `.` becomes `_`.
pub fn lookup_name(name: &str) -> String {
    name.replace('.', "_")
}

/// The form in which servers store names: everything but `A–Z a–z 0–9 _` becomes `_`.
pub fn strict_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_id_is_read_back_even_with_colons_in_the_name() {
        let id: SenderId = "1289:pd_host:9623".parse().unwrap();
        assert_eq!((id.company_id, id.device_id), (1289, 9623));
        assert_eq!(id.to_string(), "1289:pd_host:9623");
        assert_eq!("1:a:b:2".parse::<SenderId>().unwrap().device_name, "a:b");
    }

    #[test]
    fn a_sender_id_without_numbers_is_refused() {
        for text in ["", "1", "1:a", "a:b:1", "1:b:", "1:b:x", ":"] {
            assert_eq!(text.parse::<SenderId>(), Err(SenderIdError), "{text}");
        }
    }

    #[test]
    fn names_are_normalised_in_two_ways() {
        assert_eq!(lookup_name("pd.host-1"), "pd_host-1");
        assert_eq!(strict_name("pd.host-1"), "pd_host_1");
    }
}
