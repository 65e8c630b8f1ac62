//! Confirmations that wait to be journaled.
//!
//! A report that repeats what its carrier said before moves last-heard times and nothing else. It is folded at once, and
//! journaled together with others of its kind within some seconds, so that a fleet's heartbeats cost no commits.
//!
//! Invariant: of equal statements of one carrier, as long as they come in order, only the latest is kept; no other is dropped.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::model::{CarrierKey, Fact};

/// The waiting confirmations.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    latest: HashMap<CarrierKey, Fact>,
    displaced: Vec<Fact>,
}

impl Confirmations {
    /// Adds one.
    pub(super) fn insert(&mut self, fact: Fact) {
        match self.latest.entry(fact.carrier) {
            Entry::Vacant(slot) => {
                slot.insert(fact);
            }
            Entry::Occupied(mut slot) => {
                let held = slot.get_mut();
                if fact.at < held.at {
                    // It came late, and may confirm an older run than the one that is held.
                    self.displaced.push(fact);
                } else if held.body == fact.body {
                    *held = fact;
                } else {
                    self.displaced.push(std::mem::replace(held, fact));
                }
            }
        }
    }

    /// Takes the one of this carrier: a carrier that now says something else ends the run it confirmed.
    pub(super) fn take(&mut self, carrier: &CarrierKey) -> Option<Fact> {
        if self.latest.is_empty() { None } else { self.latest.remove(carrier) }
    }

    /// Takes all.
    pub(super) fn drain(&mut self) -> Vec<Fact> {
        let mut all = std::mem::take(&mut self.displaced);
        let at = all.len();
        all.extend(self.latest.drain().map(|(_, fact)| fact));
        // The order of a hash map is no order to store.
        all[at..].sort_by_key(|f| (f.received_at, f.carrier));
        all
    }

    /// Adds what was taken and could not be journaled.
    pub(super) fn put_back(&mut self, facts: Vec<Fact>) {
        facts.into_iter().for_each(|fact| self.insert(fact));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.latest.len() + self.displaced.len()
    }

    /// True when none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Clock, HostDeclaration, Micros};

    fn heard(carrier: u128, at: i64, contact: &str) -> Fact {
        Fact {
            source: "push".into(),
            carrier: CarrierKey(carrier),
            at: Micros(at),
            clock: Clock::Said,
            identity: at as u64,
            received_at: Micros(at),
            body: Body::Host(Box::new(HostDeclaration {
                name: "h".into(),
                external_id: None,
                host_type: None,
                labels: String::new(),
                class: None,
                contact: Some(contact.into()),
                expects: None,
                heartbeat: true,
                retired: false,
                selector: String::new(),
            })),
        }
    }

    #[test]
    fn of_equal_statements_the_latest_stays_and_no_other_is_lost() {
        let mut waiting = Confirmations::default();
        for fact in [heard(1, 5, "a"), heard(1, 9, "a"), heard(1, 7, "a"), heard(1, 10, "b"), heard(2, 1, "a")] {
            waiting.insert(fact);
        }
        assert_eq!(waiting.len(), 4);
        assert_eq!(waiting.drain(), [heard(1, 7, "a"), heard(1, 9, "a"), heard(2, 1, "a"), heard(1, 10, "b")]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_carrier_takes_its_own() {
        let mut waiting = Confirmations::default();
        waiting.insert(heard(1, 5, "a"));
        assert_eq!(waiting.take(&CarrierKey(2)), None);
        assert_eq!(waiting.take(&CarrierKey(1)), Some(heard(1, 5, "a")));
        assert!(waiting.is_empty());
    }
}
