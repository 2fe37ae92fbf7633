//! JSON of the metrics endpoint (wire contract, section 10): an array of [`Metric`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// One value at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// For example `chf.client_Total`.
    pub metric: String,
    /// Seconds since the epoch.
    pub timestamp: i64,
    /// A probe sends whole numbers above 0; others may send fractions.
    pub value: Number,
    /// Tags; all values are texts.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_of_the_contract_is_written_and_read() {
        let expected: serde_json::Value = serde_json::from_str(
            r#"[ { "metric": "chf.client_Total", "timestamp": 1700000000, "value": 13889,
            "tags": { "host": "pd-host", "ver": "kprobe-2.1.0", "ft": "kprobe", "dt": "libkflow",
              "level": "primary", "cid": "1289", "did": "9623", "type": "count" } } ]"#,
        )
        .unwrap();
        let metrics: Vec<Metric> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(metrics[0].value, Number::from(13889));
        assert_eq!(metrics[0].tags["ver"], "kprobe-2.1.0");
        assert_eq!(serde_json::to_value(&metrics).unwrap(), expected);
    }

    #[test]
    fn fractions_and_missing_tags_are_read() {
        let metric: Metric =
            serde_json::from_str(r#"{"metric": "a", "timestamp": 1, "value": 0.5}"#).unwrap();
        assert_eq!(metric.value.as_f64(), Some(0.5));
    }
}
