//! What may change while the probe runs, for those who have to follow.
//!
//! Whoever changes something (a reload of the configuration file, a new look at the device) calls
//! [`LiveSettings::change`]. Whoever follows holds a [`Follower`] and calls [`Follower::poll`] where
//! it has time, a reader once a block: that is one load of a number that hardly ever changes, so
//! the line stays in the cache; only after a change is a lock taken, once per change and follower.
//!
//! A reader that learns of a new sampling rate tells its table, which sees to it that each record
//! carries the rate under which it was counted (spec 4.6).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, PoisonError};

use flowtable::Translations;

use crate::status::RateReason;

/// Everything that may change, as of one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// N of 1:N flow sampling.
    pub rate: u32,
    /// Why it is that.
    pub reason: RateReason,
    /// With `--sample auto`: percent of a CPU that each reader may take.
    pub auto_cpu_percent: Option<u8>,
    /// Whether `rate` follows the device.
    pub follows_device: bool,
    /// Capture filter, pcap-filter(7).
    pub filter: Option<String>,
    /// Addresses and ports to be reported as others.
    pub translations: Arc<Translations>,
    /// The device as last seen: flow limit and columns.
    pub device: Option<Arc<export::Device>>,
}

/// The values in force.
#[derive(Debug)]
pub struct LiveSettings {
    generation: AtomicU64,
    values: Mutex<Arc<Values>>,
}

impl LiveSettings {
    /// Begins with these.
    pub fn new(values: Values) -> Arc<Self> {
        Arc::new(Self { generation: AtomicU64::new(0), values: Mutex::new(Arc::new(values)) })
    }

    /// The values in force.
    pub fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes some of them. Followers learn of it only when something is different.
    pub fn change(&self, change: impl FnOnce(&mut Values)) {
        let mut place = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = Values::clone(&place);
        change(&mut values);
        if values != **place {
            *place = Arc::new(values);
            // Under the lock: whoever sees the number finds these values or later ones.
            self.generation.fetch_add(1, Release);
        }
    }

    /// Follows from now on.
    pub fn follow(self: &Arc<Self>) -> Follower {
        Follower { seen: self.generation.load(Acquire), settings: Arc::clone(self) }
    }
}

/// One who follows; for one thread.
#[derive(Debug)]
pub struct Follower {
    settings: Arc<LiveSettings>,
    seen: u64,
}

impl Follower {
    /// The values in force.
    pub fn values(&self) -> Arc<Values> {
        self.settings.values()
    }

    /// New values, if there are any since the last time.
    #[inline]
    pub fn poll(&mut self) -> Option<Arc<Values>> {
        let now = self.settings.generation.load(Acquire);
        if now == self.seen {
            return None;
        }
        // The values may be newer than the number: then the next call gives the same once more.
        self.seen = now;
        Some(self.settings.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rate: u32) -> Values {
        Values {
            rate,
            reason: RateReason::Given,
            auto_cpu_percent: None,
            follows_device: true,
            filter: None,
            translations: Arc::default(),
            device: None,
        }
    }

    #[test]
    fn a_follower_learns_of_each_change_once() {
        let settings = LiveSettings::new(values(1));
        let mut follower = settings.follow();
        assert_eq!(follower.poll(), None);
        settings.change(|values| values.rate = 8);
        settings.change(|values| values.filter = Some("tcp".to_owned()));
        let seen = follower.poll().unwrap();
        assert_eq!((seen.rate, seen.filter.as_deref()), (8, Some("tcp")));
        assert_eq!(follower.poll(), None);
    }

    #[test]
    fn a_change_that_changes_nothing_is_none() {
        let settings = LiveSettings::new(values(4));
        let mut follower = settings.follow();
        settings.change(|values| values.rate = 4);
        assert_eq!(follower.poll(), None);
    }

    #[test]
    fn followers_in_other_threads_end_with_the_last_values() {
        let settings = LiveSettings::new(values(0));
        let mut follower = settings.follow();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=1000).for_each(|rate| settings.change(|v| v.rate = rate)));
            let mut last = 0;
            while last < 1000 {
                if let Some(values) = follower.poll() {
                    assert!(values.rate >= last);
                    last = values.rate;
                }
            }
        });
    }
}
