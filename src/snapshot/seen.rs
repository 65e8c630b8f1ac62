//! What a restricted reader sees of a generation.
//!
//! Invariant: every table says for each of its rows whether it is shown ([`Rows::shows`](super::scan::Rows::shows) has no default),
//! and what is counted is counted over hosts that are seen. So no statement sees past it, whatever it joins.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{BooleanArray, StringArray};
use hashbrown::HashSet;

use super::expectations;
use super::generation::Shared;
use crate::access::Restriction;
use crate::state::Tables;
use crate::state::labelled::Labelled;

/// What is seen; `None` is everything.
#[derive(Debug, Default)]
pub(super) struct Seen {
    by_workspace: Option<Theirs>,
    /// Hosts with the labels.
    labelled: Option<HashSet<u32>>,
    /// Of these, the hosts that run or should run something that is seen.
    hosts: OnceLock<HashSet<u32>>,
    /// The endpoints of what is wanted, and those that hosts with the labels ever reported.
    endpoints: OnceLock<HashSet<u32>>,
    names: OnceLock<Arc<SeenByName>>,
}

/// What belongs to some workspaces.
#[derive(Debug, Default)]
struct Theirs {
    /// Names of the workspaces.
    names: HashSet<u32>,
    environments: HashSet<u32>,
    targets: HashSet<u32>,
    endpoints: HashSet<u32>,
    logs: HashSet<u32>,
}

impl Seen {
    pub(super) fn by(restriction: &Restriction, tables: &Tables) -> Seen {
        let by_workspace = (!restriction.workspaces.is_empty()).then(|| Theirs::of(restriction, tables));
        let labelled = (!restriction.hosts.is_empty()).then(|| labelled(restriction, tables));
        Seen { by_workspace, labelled, ..Seen::default() }
    }

    fn theirs(&self, holds: impl Fn(&Theirs) -> bool) -> bool {
        self.by_workspace.as_ref().is_none_or(holds)
    }

    /// A deployment target, by its number.
    pub(super) fn target(&self, target: u32) -> bool {
        self.theirs(|t| t.targets.contains(&target))
    }

    /// The target of a row that may have none: who sees some workspaces does not see what belongs to nobody.
    pub(super) fn maybe_target(&self, target: Option<u32>) -> bool {
        self.theirs(|t| target.is_some_and(|target| t.targets.contains(&target)))
    }

    /// A workspace, by its name.
    pub(super) fn workspace(&self, name: u32) -> bool {
        self.theirs(|t| t.names.contains(&name))
    }

    /// An endpoint that a target of theirs has or had.
    pub(super) fn endpoint(&self, endpoint: u32) -> bool {
        self.theirs(|t| t.endpoints.contains(&endpoint))
    }

    /// Whether what is seen is less than what is wanted.
    pub(super) fn is_by_workspace(&self) -> bool {
        self.by_workspace.is_some()
    }

    /// A commit log that a target of theirs is or was in.
    pub(super) fn log(&self, log: u32) -> bool {
        self.theirs(|t| t.logs.contains(&log))
    }

    /// What a host says at an endpoint.
    pub(super) fn word(&self, host: u32, endpoint: u32) -> bool {
        self.counts(host) && self.endpoint(endpoint)
    }

    /// Whether a host counts where hosts are counted.
    pub(super) fn counts(&self, host: u32) -> bool {
        self.labelled.as_ref().is_none_or(|hosts| hosts.contains(&host))
    }
}

/// What is seen of rows in files: these name hosts and endpoints instead of numbering them. `None` is all.
#[derive(Debug)]
pub(super) struct SeenByName {
    hosts: Option<HashSet<String>>,
    endpoints: Option<HashSet<String>>,
}

impl SeenByName {
    /// What is seen of the words of hosts at endpoints.
    pub(super) fn words(&self, hosts: &StringArray, endpoints: &StringArray) -> BooleanArray {
        let holds = |names: &Option<HashSet<String>>, name: Option<&str>| {
            names.as_ref().is_none_or(|names| name.is_some_and(|name| names.contains(name)))
        };
        let words = hosts.iter().zip(endpoints);
        words.map(|(host, endpoint)| Some(holds(&self.hosts, host) && holds(&self.endpoints, endpoint))).collect()
    }
}

impl Shared {
    /// What is seen of rows in files; `None` is everything.
    pub(super) fn seen_by_name(&self) -> Option<Arc<SeenByName>> {
        let (seen, t) = (self.seen.as_ref()?, &self.tables);
        let by_name = || {
            let host = |id: &u32| t.hosts.get(*id).map(|h| t.text(h.name).to_owned());
            let endpoint = |id: &u32| t.endpoints.get(*id).map(|e| t.text(e.canonical).to_owned());
            Arc::new(SeenByName {
                hosts: seen.labelled.as_ref().map(|ids| ids.iter().filter_map(host).collect()),
                endpoints: seen.by_workspace.as_ref().map(|t| t.endpoints.iter().filter_map(endpoint).collect()),
            })
        };
        Some(Arc::clone(seen.names.get_or_init(by_name)))
    }

    /// Whether a host counts where hosts are counted.
    pub(super) fn counts(&self, host: u32) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.counts(host))
    }

    /// Whether an endpoint is shown by itself. Where nobody wants it, it is known by the hosts that report it.
    pub(super) fn shows_endpoint(&self, seen: &Seen, endpoint: u32) -> bool {
        if seen.by_workspace.is_some() || seen.labelled.is_none() {
            return seen.endpoint(endpoint);
        }
        let endpoints = seen.endpoints.get_or_init(|| {
            let mut endpoints = Theirs::of(&Restriction::default(), &self.tables).endpoints;
            for (_, r) in self.tables.reconcilers.iter().filter(|(_, r)| seen.counts(r.host)) {
                endpoints.extend(r.history.endpoints().chain([r.now.endpoint]));
            }
            endpoints
        });
        endpoints.contains(&endpoint)
    }

    /// Whether a host is shown by itself: it counts, and runs or should run something that is seen.
    pub(super) fn shows_host(&self, seen: &Seen, host: u32) -> bool {
        if seen.by_workspace.is_none() {
            return seen.counts(host);
        }
        let hosts = seen.hosts.get_or_init(|| {
            let reports = self.tables.reconcilers.iter().filter(|(_, r)| seen.word(r.host, r.now.endpoint));
            let mut hosts: HashSet<u32> = reports.map(|(_, r)| r.host).collect();
            hosts.extend(expectations::hosts(self, |target| seen.target(target)));
            hosts
        });
        hosts.contains(&host)
    }
}

impl Theirs {
    fn of(restriction: &Restriction, t: &Tables) -> Theirs {
        let mut theirs = Theirs::default();
        for (id, target) in t.targets.iter().filter(|(_, r)| restriction.sees_workspace(t.text(r.workspace))) {
            theirs.names.insert(target.workspace);
            theirs.environments.insert(target.environment);
            theirs.targets.insert(id);
            theirs.endpoints.extend(target.assignments.list.iter().map(|a| a.endpoint));
            theirs.endpoints.extend(target.declarations.iter().map(|d| d.endpoint));
            theirs.logs.extend(target.assignments.list.iter().map(|a| a.log));
            theirs.logs.extend(target.declarations.iter().map(|d| d.log));
        }
        theirs
    }
}

fn labelled(restriction: &Restriction, t: &Tables) -> HashSet<u32> {
    let mut labelled = Labelled::default();
    t.hosts.iter().map(|(id, _)| id).filter(|id| labelled.has(t, *id, &restriction.hosts)).collect()
}
