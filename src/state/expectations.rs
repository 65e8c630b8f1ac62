//! Which hosts are expected on a target and never reported for its endpoint.
//!
//! Invariants: what is missing is exact for every living target after each fact; what was ever expected by name only grows.
//! Hosts that select alike are one [`Group`], so that a selector is evaluated once per target, and of a target and a group only
//! those that did report are kept: hosts that select everything make no table of hosts times targets.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::target::TargetRecord;
use crate::model::Selector;

/// What a host expects to run, as name ids: workload, environment, deployment target.
pub type Expected = (u32, u32, u32);

/// The indexes.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    ever: HashMap<Expected, BTreeSet<u32>>,
    /// Hosts that are missing by name; without those that a selector of the target's takes in.
    missing: HashMap<u32, BTreeSet<u32>>,
    /// By the name id of the selector's text.
    groups: BTreeMap<u32, Group>,
    /// The selector of each host that is in a group.
    selecting: HashMap<u32, u32>,
}

/// Living hosts that select alike.
#[derive(Clone, Debug)]
struct Group {
    selector: Selector,
    hosts: BTreeSet<u32>,
    /// Those that ever reported, by endpoint.
    reported: HashMap<u32, BTreeSet<u32>>,
}

impl Group {
    fn reported(&self, endpoint: u32) -> &BTreeSet<u32> {
        static NOBODY: BTreeSet<u32> = BTreeSet::new();
        self.reported.get(&endpoint).unwrap_or(&NOBODY)
    }
}

impl Expectations {
    /// How many hosts are expected on a target and never reported for its endpoint.
    pub fn missing_count(&self, id: u32, target: &TargetRecord) -> usize {
        let selected = self.groups_of(target).map(|(g, endpoint)| g.hosts.len() - g.reported(endpoint).len());
        self.missing.get(&id).map_or(0, BTreeSet::len) + selected.sum::<usize>()
    }

    /// These hosts.
    pub fn missing<'a>(&'a self, id: u32, target: &'a TargetRecord) -> impl Iterator<Item = u32> + use<'a> {
        let selected = self.groups_of(target).flat_map(|(g, endpoint)| g.hosts.difference(g.reported(endpoint)));
        self.missing.get(&id).into_iter().flatten().chain(selected).copied()
    }

    /// The groups that select a living target, and its endpoint.
    fn groups_of<'a>(&'a self, target: &'a TargetRecord) -> impl Iterator<Item = (&'a Group, u32)> {
        let endpoint = target.endpoint();
        target.selected.iter().filter_map(move |selector| Some((self.groups.get(selector)?, endpoint?)))
    }

    /// A host said that it expects to run this.
    pub(super) fn expect(&mut self, expected: Expected, host: u32) {
        self.ever.entry(expected).or_default().insert(host);
    }

    /// Hosts that ever expected to run this.
    pub(super) fn ever(&self, expected: Expected) -> Vec<u32> {
        self.ever.get(&expected).into_iter().flatten().copied().collect()
    }

    /// Whether a host is missing by name on a target now; false when that is known.
    pub(super) fn set(&mut self, target: u32, host: u32, missing: bool) -> bool {
        if missing {
            self.missing.entry(target).or_default().insert(host)
        } else {
            self.missing.get_mut(&target).is_some_and(|hosts| hosts.remove(&host))
        }
    }

    /// Whether a host counts as missing by name.
    pub(super) fn is_set(&self, target: u32, host: u32) -> bool {
        self.missing.get(&target).is_some_and(|hosts| hosts.contains(&host))
    }

    /// The selector of the group a host is in.
    pub(super) fn selector_of(&self, host: u32) -> Option<u32> {
        self.selecting.get(&host).copied()
    }

    /// Whether any host has a selector.
    pub(super) fn any_selects(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The selectors by which a target with these labels is expected.
    pub(super) fn selecting<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> BTreeSet<u32> {
        self.groups.iter().filter(|(_, g)| g.selector.matches(&label)).map(|(id, _)| *id).collect()
    }

    /// A host joins those that select alike; true when it is the first of them.
    pub(super) fn join(&mut self, id: u32, selector: Selector, host: u32) -> bool {
        self.selecting.insert(host, id);
        let new = || Group { selector, hosts: BTreeSet::new(), reported: HashMap::new() };
        let group = self.groups.entry(id).or_insert_with(new);
        group.hosts.insert(host);
        group.hosts.len() == 1
    }

    /// A host ever reported for an endpoint; false when it is in no group, or that is known.
    pub(super) fn reported(&mut self, host: u32, endpoint: u32) -> bool {
        let group = self.selecting.get(&host).and_then(|id| self.groups.get_mut(id));
        group.is_some_and(|group| group.reported.entry(endpoint).or_default().insert(host))
    }

    /// A host that reported for these endpoints leaves its group; true when it was the last of it.
    pub(super) fn leave(&mut self, host: u32, endpoints: &BTreeSet<u32>) -> bool {
        let Some(id) = self.selecting.remove(&host) else { return false };
        let Some(group) = self.groups.get_mut(&id) else { return false };
        group.hosts.remove(&host);
        for endpoint in endpoints {
            if let Some(hosts) = group.reported.get_mut(endpoint) {
                hosts.remove(&host);
            }
        }
        let last = group.hosts.is_empty();
        if last {
            self.groups.remove(&id);
        }
        last
    }
}
