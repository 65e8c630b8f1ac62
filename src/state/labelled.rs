//! Which hosts have certain labels.
//!
//! Invariant: hosts with the same labels are looked at once; where nothing is asked of labels, every host has them.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::Tables;
use super::host::Labels;

/// Remembers which sets of labels do, for one choice of hosts.
#[derive(Debug, Default)]
pub struct Labelled(HashMap<u32, bool>);

impl Labelled {
    /// Whether a host has, for each key that is asked for, any of its values.
    pub fn has(&mut self, t: &Tables, host: u32, wanted: &BTreeMap<String, BTreeSet<String>>) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let Some(labels) = t.hosts.get(host).map(|h| h.labels()) else { return false };
        *self.0.entry(labels).or_insert_with(|| Labels::read(t.text(labels)).any_of(wanted))
    }
}
