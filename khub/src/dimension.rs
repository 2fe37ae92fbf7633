//! Custom dimensions: values set by agents (for example user names) for addresses, applied to
//! records as they arrive.
//!
//! Of the criteria only exact addresses and a direction can be applied; a criterion with anything
//! else is accepted, counted and has no effect. Values end with their time to live or when deleted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use kflow::tags::{Criteria, Populators};
use serde::{Deserialize, Serialize};

use crate::counters::Counters;

const MAX_COLUMNS: usize = 100;
const MAX_VALUES: usize = 100_000;
const MAX_ADDRESSES: usize = 200_000;
const MAX_NAME_BYTES: usize = 128;
const MAX_VALUE_BYTES: usize = 384;

/// Record columns from here on are dimensions: two ids each, for source and destination. The API
/// never announces ids this high.
const FIRST_ID: u32 = 0xffff_0000;

/// A dimension as the API shows it (KH-A-8).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dimension {
    #[serde(default)]
    pub(crate) id: u64,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) display_name: String,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) is_bulk: bool,
    #[serde(default)]
    pub(crate) internal: bool,
}

/// Why a dimension cannot be created.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    Exists,
    BadName,
    Full,
}

/// All dimensions and their values.
#[derive(Default)]
pub(crate) struct Dimensions {
    columns: Vec<Column>,
    tags: HashMap<(u32, IpAddr), Tag>,
    values: usize,
}

struct Column {
    dimension: Dimension,
    addresses: HashMap<Arc<str>, Vec<IpAddr>>,
}

struct Tag {
    value: Arc<str>,
    src: bool,
    dst: bool,
    expires_ms: u64,
}

impl Dimensions {
    /// All dimensions in the order of their creation.
    pub(crate) fn list(&self) -> Vec<Dimension> {
        self.columns.iter().map(|column| column.dimension.clone()).collect()
    }

    /// Whether a dimension of this name exists.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.dimension.name == name)
    }

    /// Adds a dimension; its id is set here.
    pub(crate) fn create(&mut self, mut dimension: Dimension) -> Result<Dimension, CreateError> {
        if self.knows(&dimension.name) {
            return Err(CreateError::Exists);
        }
        if dimension.name.is_empty() || dimension.name.len() > MAX_NAME_BYTES {
            return Err(CreateError::BadName);
        }
        if self.columns.len() == MAX_COLUMNS {
            return Err(CreateError::Full);
        }
        dimension.id = self.columns.len() as u64 + 1;
        self.columns.push(Column { dimension: dimension.clone(), addresses: HashMap::new() });
        Ok(dimension)
    }

    /// The ids and names of the columns that records get from dimensions.
    pub(crate) fn record_columns(&self) -> impl Iterator<Item = (u32, String)> {
        (0..).zip(&self.columns).flat_map(|(index, column)| {
            let name = &column.dimension.name;
            [(src_id(index), format!("src_{name}")), (src_id(index) + 1, format!("dst_{name}"))]
        })
    }

    /// Applies a batch to the dimension `name`, which exists. A full table refuses further values
    /// (counted). `replace_all` empties the dimension unless the batch goes on an earlier one.
    pub(crate) fn apply(&mut self, name: &str, batch: Populators, now_ms: u64, count: &Counters) {
        let Some(index) = self.columns.iter().position(|c| c.dimension.name == name) else {
            return;
        };
        if batch.replace_all && batch.guid.is_none() {
            let old = std::mem::take(&mut self.columns[index].addresses);
            self.values -= old.len();
            self.tags.retain(|(column, _), _| *column != index as u32);
        }
        for delete in batch.deletes {
            count.dimension_deletes.add(u64::from(self.remove(index, &delete.value)));
        }
        let expires_ms = match batch.ttl_minutes {
            0 => u64::MAX,
            minutes => now_ms.saturating_add(minutes.saturating_mul(60_000)),
        };
        for upsert in batch.upserts {
            self.remove(index, &upsert.value);
            if self.values >= MAX_VALUES || upsert.value.len() > MAX_VALUE_BYTES {
                count.dimension_refused.add(1);
                continue;
            }
            let value: Arc<str> = upsert.value.into();
            let mut addresses = Vec::new();
            for criteria in &upsert.criteria {
                let Some((exact, src, dst)) = applicable(criteria) else {
                    count.dimension_criteria_ignored.add(1);
                    continue;
                };
                for addr in exact {
                    if self.tags.len() >= MAX_ADDRESSES {
                        count.dimension_refused.add(1);
                        break;
                    }
                    let tag = Tag { value: value.clone(), src, dst, expires_ms };
                    self.tags.insert((index as u32, addr), tag);
                    addresses.push(addr);
                }
            }
            self.values += 1;
            self.columns[index].addresses.insert(value, addresses);
            count.dimension_upserts.add(1);
        }
    }

    /// The tags of a record between two addresses, as column ids and values.
    pub(crate) fn tags(&self, src: IpAddr, dst: IpAddr, now_ms: u64) -> Vec<(u32, Arc<str>)> {
        let mut found = Vec::new();
        if self.tags.is_empty() {
            return found;
        }
        for index in 0..self.columns.len() as u32 {
            let live = |addr| self.tags.get(&(index, addr)).filter(|tag| tag.expires_ms > now_ms);
            if let Some(tag) = live(src).filter(|tag| tag.src) {
                found.push((src_id(index), tag.value.clone()));
            }
            if let Some(tag) = live(dst).filter(|tag| tag.dst) {
                found.push((src_id(index) + 1, tag.value.clone()));
            }
        }
        found
    }

    /// Values of all dimensions together.
    pub(crate) fn values(&self) -> usize {
        self.values
    }

    fn remove(&mut self, index: usize, value: &str) -> bool {
        let Some(addresses) = self.columns[index].addresses.remove(value) else { return false };
        self.values -= 1;
        for addr in addresses {
            // The address may belong to another value by now.
            let key = (index as u32, addr);
            if self.tags.get(&key).is_some_and(|tag| &*tag.value == value) {
                self.tags.remove(&key);
            }
        }
        true
    }
}

fn src_id(index: u32) -> u32 {
    FIRST_ID + 2 * index
}

/// Exact addresses of a criterion that names nothing else, and the ends they apply to.
fn applicable(criteria: &Criteria) -> Option<(Vec<IpAddr>, bool, bool)> {
    let plain = Criteria {
        direction: criteria.direction.clone(),
        addr: criteria.addr.clone(),
        ..Criteria::default()
    };
    if *criteria != plain || criteria.addr.is_empty() {
        return None;
    }
    let exact: Option<Vec<_>> = criteria.addr.iter().map(|text| exact_address(text)).collect();
    let (src, dst) = match criteria.direction.as_deref() {
        None | Some("" | "either") => (true, true),
        Some("src") => (true, false),
        Some("dst") => (false, true),
        Some(_) => return None,
    };
    Some((exact?, src, dst))
}

fn exact_address(text: &str) -> Option<IpAddr> {
    match text.split_once('/') {
        None => text.parse().ok(),
        Some((addr, bits)) => {
            let addr: IpAddr = addr.parse().ok()?;
            (bits == if addr.is_ipv4() { "32" } else { "128" }).then_some(addr)
        }
    }
}

#[cfg(test)]
mod tests {
    use kflow::tags::{Delete, Upsert};

    use super::*;

    const BOB: [u8; 4] = [10, 1, 2, 3];
    const OTHER: [u8; 4] = [10, 1, 2, 4];

    fn with_user(upserts: Vec<Upsert>) -> Dimensions {
        let mut dimensions = Dimensions::default();
        let user = Dimension { name: "kt_user".into(), ..Dimension::default() };
        dimensions.create(user).unwrap();
        apply(&mut dimensions, Populators::whole(upserts, vec![]));
        dimensions
    }

    fn apply(dimensions: &mut Dimensions, batch: Populators) {
        dimensions.apply("kt_user", batch, 0, &Counters::default());
    }

    fn tags(dimensions: &Dimensions, src: [u8; 4], dst: [u8; 4]) -> Vec<(u32, String)> {
        let found = dimensions.tags(src.into(), dst.into(), 60_000);
        found.into_iter().map(|(id, value)| (id - FIRST_ID, value.to_string())).collect()
    }

    #[test]
    fn a_user_is_found_at_either_end() {
        let dimensions = with_user(vec![Upsert::address("bob", "10.1.2.3")]);
        assert_eq!(tags(&dimensions, BOB, OTHER), [(0, "bob".into())]);
        assert_eq!(tags(&dimensions, OTHER, BOB), [(1, "bob".into())]);
        assert_eq!(tags(&dimensions, OTHER, OTHER), []);
        let names: Vec<_> = dimensions.record_columns().map(|(_, name)| name).collect();
        assert_eq!(names, ["src_kt_user", "dst_kt_user"]);
    }

    #[test]
    fn deletes_come_before_upserts() {
        let mut dimensions = with_user(vec![Upsert::address("bob", "10.1.2.3")]);
        let delete = Delete { value: "bob".into() };
        let moved = vec![Upsert::address("bob", "10.1.2.4/32")];
        apply(&mut dimensions, Populators::whole(moved, vec![delete]));
        assert_eq!(tags(&dimensions, BOB, OTHER), [(1, "bob".into())]);
        assert_eq!(dimensions.values(), 1);
    }

    #[test]
    fn an_address_taken_over_survives_the_deletion_of_its_former_user() {
        let mut dimensions = with_user(vec![Upsert::address("bob", "10.1.2.3")]);
        apply(&mut dimensions, Populators::whole(vec![Upsert::address("eve", "10.1.2.3")], vec![]));
        apply(&mut dimensions, Populators::whole(vec![], vec![Delete { value: "bob".into() }]));
        assert_eq!(tags(&dimensions, BOB, OTHER), [(0, "eve".into())]);
    }

    #[test]
    fn values_end_with_their_time_to_live() {
        let mut dimensions = with_user(vec![]);
        let mut batch = Populators::whole(vec![Upsert::address("bob", "10.1.2.3")], vec![]);
        batch.ttl_minutes = 1;
        apply(&mut dimensions, batch);
        assert_eq!(dimensions.tags(BOB.into(), OTHER.into(), 59_999).len(), 1);
        assert_eq!(dimensions.tags(BOB.into(), OTHER.into(), 60_000).len(), 0);
    }

    #[test]
    fn replacing_all_forgets_what_was_known() {
        let mut dimensions = with_user(vec![Upsert::address("bob", "10.1.2.3")]);
        let mut batch = Populators::whole(vec![Upsert::address("eve", "10.1.2.4")], vec![]);
        batch.replace_all = true;
        apply(&mut dimensions, batch);
        assert_eq!(tags(&dimensions, BOB, OTHER), [(1, "eve".into())]);
        assert_eq!(dimensions.values(), 1);
    }

    #[test]
    fn criteria_that_cannot_be_applied_are_counted() {
        let mut dimensions = with_user(vec![]);
        let count = Counters::default();
        let mut upsert = Upsert::address("bob", "10.1.2.3");
        upsert.criteria[0].port = vec!["80".into()];
        let prefix = Upsert::address("eve", "10.0.0.0/8");
        let batch = Populators::whole(vec![upsert, prefix], vec![]);
        dimensions.apply("kt_user", batch, 0, &count);
        assert_eq!(count.dimension_criteria_ignored.value(), 2);
        assert_eq!(tags(&dimensions, BOB, OTHER), []);
    }

    #[test]
    fn names_are_unique_and_dimensions_bounded() {
        let mut dimensions = with_user(vec![]);
        let named = |name: String| Dimension { name, ..Dimension::default() };
        let again = dimensions.create(named("kt_user".into()));
        assert_eq!(again.unwrap_err(), CreateError::Exists);
        assert_eq!(dimensions.create(named(String::new())).unwrap_err(), CreateError::BadName);
        for number in 1..MAX_COLUMNS {
            dimensions.create(named(number.to_string())).unwrap();
        }
        assert_eq!(dimensions.create(named("x".into())).unwrap_err(), CreateError::Full);
    }
}
