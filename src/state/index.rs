//! Finds records by their natural keys and by each other; never stored, rebuilt at start.
//!
//! Invariant: an index names only records that exist, and lists that say "ever" only grow.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::expectations::Expectations;
use super::names::NameIndex;
use super::subscribers::Subscribers;
use super::tables::Tables;
use super::verifications::Verifications;
use crate::model::CarrierKey;

/// A deployment target's natural key as name ids: workspace, application, workload, environment, name.
pub type TargetKey = (u32, u32, u32, u32, u32);

/// The indexes.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) names: NameIndex,
    pub(super) carriers: HashMap<CarrierKey, u32>,
    pub(super) hosts: HashMap<u32, u32>,
    pub(super) reconcilers: HashMap<(u32, u32), u32>,
    pub(super) endpoints: HashMap<(u32, u32), u32>,
    pub(super) logs: HashMap<(u32, u32), u32>,
    pub(super) targets: HashMap<TargetKey, u32>,
    pub(super) versions: HashMap<(u32, u32, u32, u32), u32>,
    pub(super) sources: HashMap<u32, u32>,
    pub(super) subscribers: Vec<Vec<u32>>,
    pub(super) targets_at: Vec<Vec<u32>>,
    pub(super) targets_in: Vec<Vec<u32>>,
    pub(super) host_reconcilers: Vec<Vec<u32>>,
    /// Targets by workload and environment.
    pub(super) targets_of: HashMap<(u32, u32), Vec<u32>>,
    /// Reconcilers that are at an endpoint now.
    pub(super) current: Vec<Subscribers>,
    /// Commits without a place, and the reconcilers that spoke of them.
    pub(super) unplaced: HashMap<u32, BTreeSet<u32>>,
    pub(super) expectations: Expectations,
    /// Counts what changed about anything but reports.
    pub(super) desired_moves: u64,
    pub(super) verifications: Verifications,
}

impl Index {
    /// Indexes stored tables; what depends on derived fields is filled in when those are.
    pub fn rebuild(t: &Tables) -> Index {
        let mut index = Index { names: NameIndex::rebuild(&t.names), ..Index::default() };
        index.verifications = Verifications::rebuild(t);
        index.carriers.extend(t.carriers.iter().map(|(id, c)| (c.key, id)));
        index.hosts.extend(t.hosts.iter().map(|(id, h)| (h.name, id)));
        index.endpoints.extend(t.endpoints.iter().map(|(id, e)| ((e.storage_type, e.canonical), id)));
        index.logs.extend(t.logs.iter().map(|(id, l)| ((l.repo, l.branch), id)));
        let version =
            |(id, v): (u32, &super::tables::VersionRecord)| ((v.workspace, v.application, v.workload, v.version), id);
        index.versions.extend(t.versions.iter().map(version));
        index.sources.extend(t.sources.iter().map(|(id, s)| (s.name, id)));
        for (id, r) in t.reconcilers.iter() {
            index.reconcilers.insert((r.host, r.name), id);
            add(&mut index.host_reconcilers, r.host, id);
            for endpoint in r.history.endpoints() {
                add(&mut index.subscribers, endpoint, id);
            }
        }
        for (id, target) in t.targets.iter() {
            index
                .targets
                .insert((target.workspace, target.application, target.workload, target.environment, target.name), id);
            index.targets_of.entry((target.workload, target.environment)).or_default().push(id);
            for d in &target.declarations {
                add(&mut index.targets_at, d.endpoint, id);
                add(&mut index.targets_in, d.log, id);
            }
        }
        index
    }

    /// The id of a text, if it was ever seen.
    pub fn name(&self, t: &Tables, text: &str) -> Option<u32> {
        self.names.find(&t.names, text)
    }

    /// A carrier.
    pub fn carrier(&self, key: CarrierKey) -> Option<u32> {
        self.carriers.get(&key).copied()
    }

    /// A host by name.
    pub fn host(&self, t: &Tables, name: &str) -> Option<u32> {
        self.hosts.get(&self.name(t, name)?).copied()
    }

    /// A reconciler by host and name.
    pub fn reconciler(&self, t: &Tables, host: &str, name: &str) -> Option<u32> {
        self.reconcilers.get(&(self.host(t, host)?, self.name(t, name)?)).copied()
    }

    /// An endpoint by storage type and canonical string.
    pub fn endpoint(&self, t: &Tables, storage_type: &str, canonical: &str) -> Option<u32> {
        self.endpoints.get(&(self.name(t, storage_type)?, self.name(t, canonical)?)).copied()
    }

    /// A commit log by repository and branch.
    pub fn log(&self, t: &Tables, repo: &str, branch: &str) -> Option<u32> {
        self.logs.get(&(self.name(t, repo)?, self.name(t, branch)?)).copied()
    }

    /// Reconcilers that ever reported for an endpoint.
    pub fn subscribers(&self, endpoint: u32) -> &[u32] {
        self.subscribers.get(endpoint as usize).map_or(&[], Vec::as_slice)
    }

    /// Reconcilers that are at an endpoint now, the retired ones included.
    pub fn current(&self, endpoint: u32) -> Option<&Subscribers> {
        self.current.get(endpoint as usize)
    }

    pub(super) fn at(&mut self, endpoint: u32) -> &mut Subscribers {
        let endpoint = endpoint as usize;
        if self.current.len() <= endpoint {
            self.current.resize(endpoint + 1, Subscribers::default());
        }
        &mut self.current[endpoint]
    }

    /// Whether any reconciler of a host ever reported for an endpoint.
    pub fn ever_reported(&self, host: u32, endpoint: u32) -> bool {
        let subscribers = self.subscribers(endpoint);
        self.reconcilers_of(host).iter().any(|r| subscribers.binary_search(r).is_ok())
    }

    /// How often anything but reports changed: what is wanted where, the order of commits, who is expected, labels. As long as
    /// it and the [moves](Subscribers::moves) at an endpoint are the same, so is every answer about the endpoint.
    pub fn desired_moves(&self) -> u64 {
        self.desired_moves
    }

    /// Who is expected where and never came.
    pub fn expectations(&self) -> &Expectations {
        &self.expectations
    }

    /// Targets of a workload in an environment, of every application and workspace.
    pub fn targets_of(&self, workload: u32, environment: u32) -> &[u32] {
        self.targets_of.get(&(workload, environment)).map_or(&[], Vec::as_slice)
    }

    /// Targets that ever were at an endpoint.
    pub fn targets_at(&self, endpoint: u32) -> &[u32] {
        self.targets_at.get(endpoint as usize).map_or(&[], Vec::as_slice)
    }

    /// Targets that ever were in a commit log.
    pub fn targets_in(&self, log: u32) -> &[u32] {
        self.targets_in.get(log as usize).map_or(&[], Vec::as_slice)
    }

    /// Reconcilers of a host.
    pub fn reconcilers_of(&self, host: u32) -> &[u32] {
        self.host_reconcilers.get(host as usize).map_or(&[], Vec::as_slice)
    }
}

/// Adds an id to the sorted list of a key; false when it was there.
pub(super) fn add(lists: &mut Vec<Vec<u32>>, key: u32, id: u32) -> bool {
    let key = key as usize;
    if lists.len() <= key {
        lists.resize(key + 1, Vec::new());
    }
    let list = &mut lists[key];
    match list.binary_search(&id) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, id);
            true
        }
    }
}
