//! Which hosts have certain labels.
//!
//! Invariant: hosts with the same labels are looked at once; where nothing is asked of labels, every host has them.

use hashbrown::HashMap;

use super::policy::Hosts;
use crate::state::State;
use crate::state::host::Labels;

/// Remembers which sets of labels do, for one choice of hosts.
#[derive(Default)]
pub(super) struct Labelled(HashMap<u32, bool>);

impl Labelled {
    /// Whether a host has, for each key that is asked for, any of its values.
    pub(super) fn has(&mut self, state: &State, host: u32, wanted: &Hosts) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let t = state.view();
        let Some(labels) = t.hosts.get(host).map(|h| h.labels()) else { return false };
        *self.0.entry(labels).or_insert_with(|| Labels::read(t.text(labels)).any_of(wanted))
    }
}
