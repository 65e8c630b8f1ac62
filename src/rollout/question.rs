//! What is asked about: which targets are meant, and which assignment of each.
//!
//! Invariant: a name that was never seen matches nothing, in whatever company; a target that is retired is not asked about.

use crate::model::ManifestsSaid;
use crate::normalize;
use crate::state::State;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A version of the workload.
    Version(String),
    /// A GitOps commit, in any spelling.
    Commit(String),
    /// The source commit a version was built from, in any spelling.
    SourceCommit(String),
}

/// A question; a selector without values matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Workspaces.
    pub workspace: Vec<String>,
    /// Applications.
    pub application: Vec<String>,
    /// Workloads.
    pub workload: Vec<String>,
    /// Environments.
    pub environment: Vec<String>,
    /// Deployment targets.
    pub deployment_target: Vec<String>,
    /// Manifests endpoint, in any spelling.
    pub manifests_endpoint: Option<String>,
    /// What is asked about.
    pub asked: Asked,
}

impl Question {
    /// A question about every target.
    pub fn about(asked: Asked) -> Question {
        Question {
            workspace: Vec::new(),
            application: Vec::new(),
            workload: Vec::new(),
            environment: Vec::new(),
            deployment_target: Vec::new(),
            manifests_endpoint: None,
            asked,
        }
    }

    /// Living targets that the selectors mean.
    pub(super) fn targets(&self, state: &State) -> Vec<u32> {
        let (t, index) = (state.view(), state.index());
        let ids = |names: &Vec<String>| -> Vec<u32> { names.iter().filter_map(|n| index.name(t, n)).collect() };
        let selectors =
            [&self.environment, &self.workload, &self.deployment_target, &self.application, &self.workspace];
        let wanted = selectors.map(ids);
        let endpoints = self.manifests_endpoint.as_deref().map(|raw| endpoints(state, raw));
        let pairs = || wanted[1].iter().flat_map(|w| wanted[0].iter().map(move |e| (*w, *e)));
        let mut candidates: Vec<u32> = match &endpoints {
            _ if !self.environment.is_empty() && !self.workload.is_empty() => {
                pairs().flat_map(|(w, e)| index.targets_of(w, e)).copied().collect()
            }
            Some(endpoints) => endpoints.iter().flat_map(|e| index.targets_at(*e)).copied().collect(),
            None => (0..t.targets.len() as u32).collect(),
        };
        candidates.retain(|id| {
            t.targets.get(*id).is_some_and(|r| {
                let names = [r.environment, r.workload, r.name, r.application, r.workspace];
                let at = r.assignments.in_force().map(|(_, a)| a.endpoint);
                let named = |((want, ids), is): ((&&Vec<String>, &Vec<u32>), u32)| want.is_empty() || ids.contains(&is);
                selectors.iter().zip(&wanted).zip(names).all(named)
                    && at.is_some_and(|at| endpoints.as_ref().is_none_or(|e| e.contains(&at)))
            })
        });
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    /// The selectors in words: `workload web, environment prod`.
    pub(super) fn selectors_in_words(&self) -> String {
        let endpoint: Vec<String> = self.manifests_endpoint.iter().cloned().collect();
        let parts = [
            ("workspace", &self.workspace),
            ("application", &self.application),
            ("workload", &self.workload),
            ("environment", &self.environment),
            ("deployment target", &self.deployment_target),
            ("manifests endpoint", &endpoint),
        ];
        let named: Vec<String> =
            parts.iter().filter(|(_, v)| !v.is_empty()).map(|(what, v)| format!("{what} {}", v.join(" or "))).collect();
        if named.is_empty() { "any target".to_owned() } else { named.join(", ") }
    }
}

impl Asked {
    /// The assignment asked about on a target, and the commit to start from when a commit was asked about.
    pub(super) fn on(&self, state: &State, target: u32) -> Option<(usize, Option<u32>)> {
        let t = state.view();
        let all = &t.targets.get(target)?.assignments;
        let latest = |matches: &dyn Fn(u32) -> bool| all.list.iter().rposition(|a| matches(a.version));
        match self {
            Asked::Version(version) => Some((latest(&|v| t.version_text(v) == version)?, None)),
            Asked::SourceCommit(raw) => {
                let commit = state.index().name(t, &normalize::commit(raw)?)?;
                Some((latest(&|v| t.versions.get(v).is_some_and(|v| v.source_commit == commit))?, None))
            }
            Asked::Commit(raw) => {
                let commit = state.index().name(t, &normalize::commit(raw)?)?;
                let (_, in_force) = all.in_force()?;
                let logs = std::iter::once(in_force.log).chain(all.list.iter().rev().map(|a| a.log));
                logs.filter_map(|log| t.cover(all, log, commit)).next().map(|i| (i, Some(commit)))
            }
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Asked::Version(v) => write!(f, "Version {v}"),
            Asked::Commit(c) => write!(f, "Commit {c}"),
            Asked::SourceCommit(c) => write!(f, "Source commit {c}"),
        }
    }
}

/// The endpoints a spelling can mean, of any storage type.
pub(super) fn endpoints(state: &State, raw: &str) -> Vec<u32> {
    let said = ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: raw.to_owned() };
    let Ok(place) = normalize::endpoint(said) else { return Vec::new() };
    let t = state.view();
    let Some(canonical) = state.index().name(t, &place.endpoint.canonical) else { return Vec::new() };
    t.endpoints.iter().filter(|(_, e)| e.canonical == canonical).map(|(id, _)| id).collect()
}
