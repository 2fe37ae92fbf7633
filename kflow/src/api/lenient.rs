//! Readers for what servers really send: numbers in texts, `null` for nothing.

use std::fmt::{self, Display};

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serializer};

/// The value, or its default for `null`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A number from a number or a decimal text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(NumberVisitor { absent: None })
}

/// As [`number`]; `null` and the empty text are 0.
pub(super) fn number_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(NumberVisitor { absent: Some(0) })
}

/// A decimal text.
pub(super) fn as_text<T: Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

struct NumberVisitor {
    absent: Option<u64>,
}

impl Visitor<'_> for NumberVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number that is not negative, bare or in a text")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        // Some servers write whole numbers with a fraction; 2^53 is where they stop being exact.
        if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) {
            Ok(value as u64)
        } else {
            Err(E::invalid_value(de::Unexpected::Float(value), &self))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
        match (value.trim(), self.absent) {
            ("", Some(absent)) => Ok(absent),
            (text, _) => {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<u64, E> {
        self.absent.ok_or_else(|| E::invalid_type(de::Unexpected::Unit, &self))
    }
}
