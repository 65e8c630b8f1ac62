//! Which hosts are expected on a target and never reported for its endpoint.
//!
//! Invariant: `missing` is exact for every living target after each fact; what was ever expected only grows.

use std::collections::BTreeSet;

use hashbrown::HashMap;

/// What a host expects to run, as name ids: workload, environment, deployment target.
pub type Expected = (u32, u32, u32);

/// The indexes.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    ever: HashMap<Expected, BTreeSet<u32>>,
    missing: HashMap<u32, BTreeSet<u32>>,
}

impl Expectations {
    /// Hosts that are expected on a target and never reported for its endpoint.
    pub fn missing(&self, target: u32) -> impl ExactSizeIterator<Item = u32> {
        static NOBODY: BTreeSet<u32> = BTreeSet::new();
        self.missing.get(&target).unwrap_or(&NOBODY).iter().copied()
    }

    /// A host said that it expects to run this.
    pub(super) fn expect(&mut self, expected: Expected, host: u32) {
        self.ever.entry(expected).or_default().insert(host);
    }

    /// Hosts that ever expected to run this.
    pub(super) fn ever(&self, expected: Expected) -> Vec<u32> {
        self.ever.get(&expected).into_iter().flatten().copied().collect()
    }

    /// Whether a host is missing on a target now; false when that is known.
    pub(super) fn set(&mut self, target: u32, host: u32, missing: bool) -> bool {
        if missing {
            self.missing.entry(target).or_default().insert(host)
        } else {
            self.missing.get_mut(&target).is_some_and(|hosts| hosts.remove(&host))
        }
    }
}
