//! The reconcilers that are at one endpoint now, counted by where they stand: what makes an answer of the gate cost the
//! same at 10 hosts and at 100,000.
//!
//! Invariant: every reconciler whose current endpoint this is stands in exactly one group, under the standing its record
//! has; the times are those of the living ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Micros;

use super::standing::Standing;
use super::walk::Now;

/// The width of the slots in which reports are counted: sources report whole seconds.
const SECOND: i64 = 1_000_000;

/// The reconcilers at an endpoint. Ordered maps, so that the same tables always give the same answer.
#[derive(Clone, Debug, Default)]
pub struct Subscribers {
    groups: BTreeMap<Standing, Group>,
    /// Second of the last report to how many have it.
    reports: BTreeMap<i64, u32>,
    moves: u64,
}

/// Those who stand alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    ids: BTreeSet<u32>,
    /// Time of the last transition to how many have it.
    changes: BTreeMap<Micros, u32>,
}

impl Group {
    /// Their ids, in order.
    pub fn ids(&self) -> &BTreeSet<u32> {
        &self.ids
    }

    /// Since when they stand so, by their last transitions: the times, in order, and how many have each.
    pub fn since(&self) -> impl Iterator<Item = (Micros, u32)> {
        self.changes.iter().map(|(at, n)| (*at, *n))
    }
}

impl Subscribers {
    /// Those who stand alike, by where they stand.
    pub fn groups(&self) -> impl Iterator<Item = (&Standing, &Group)> {
        self.groups.iter()
    }

    /// How often anybody came, left or stood otherwise: as long as it is the same, so is every answer about them.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Everybody.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.groups.values().flat_map(|g| &g.ids).copied()
    }

    /// The newest transition of a living one.
    pub fn last_change(&self) -> Option<Micros> {
        self.groups
            .iter()
            .filter(|(s, _)| s.alive)
            .filter_map(|(_, g)| g.changes.last_key_value())
            .map(|(at, _)| *at)
            .max()
    }

    /// How many living ones reported at this time or later, to the second.
    pub fn heard_since(&self, at: Micros) -> u64 {
        self.reports.range(second(at)..).map(|(_, n)| u64::from(*n)).sum()
    }

    /// The oldest last report of a living one, to the second.
    pub fn oldest_report(&self) -> Option<Micros> {
        self.reports.first_key_value().map(|(at, _)| Micros(at.saturating_mul(SECOND)))
    }

    /// Whether others are counted alike.
    pub(super) fn counts_as(&self, other: &Subscribers) -> bool {
        self.groups == other.groups && self.reports == other.reports
    }

    /// A reconciler is here now.
    pub(super) fn enter(&mut self, id: u32, standing: &Standing, now: &Now) {
        self.moves += 1;
        let group = self.groups.entry(*standing).or_default();
        if group.ids.insert(id) && standing.alive {
            *group.changes.entry(now.since).or_default() += 1;
            *self.reports.entry(second(now.reported_at)).or_default() += 1;
        }
    }

    /// A reconciler is no longer here, or no longer as it was; nothing happens when it was not.
    pub(super) fn leave(&mut self, id: u32, standing: &Standing, now: &Now) {
        let Some(group) = self.groups.get_mut(standing) else { return };
        if !group.ids.remove(&id) {
            return;
        }
        self.moves += 1;
        if standing.alive {
            less(&mut group.changes, now.since);
        }
        if group.ids.is_empty() {
            self.groups.remove(standing);
        }
        if standing.alive {
            less(&mut self.reports, second(now.reported_at));
        }
    }

    /// A living reconciler said the same again.
    pub(super) fn heard(&mut self, before: Micros, at: Micros) {
        less(&mut self.reports, second(before));
        *self.reports.entry(second(at)).or_default() += 1;
    }
}

fn second(at: Micros) -> i64 {
    at.0.div_euclid(SECOND)
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(n) = counts.get_mut(&key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(&key);
        }
    }
}
