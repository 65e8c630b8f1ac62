//! Counts again what the fold counts as it goes: what each reconciler runs and where it stands, who is at which endpoint, who is
//! retired or missing, and the places of commits.
//!
//! Invariant: a recount reads the records and nothing that was derived from them before, so that it finds what they disagree on. It
//! goes in steps of bounded size, each of which is of one state, so that a hub can go on between them.

use super::State;
use super::fold::WHY;
use super::subscribers::Subscribers;
use super::target::assignments;
use super::walk::Walk;
use crate::state::ObjectKind;

/// Records of one step.
const STEP: u32 = 512;
/// Differences that are told in words; the others are counted.
const TOLD: usize = 10;

/// A recount under way.
#[derive(Debug, Default)]
pub struct Recount {
    phase: Phase,
    next: u32,
    walk: Walk,
    counted: u64,
    different: u64,
    told: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Logs,
    Targets,
    Hosts,
    Reconcilers,
    Endpoints,
    Done,
}

/// What a recount found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recounted {
    /// Objects that were counted again.
    pub counted: u64,
    /// Those of which the state said something else.
    pub different: u64,
    /// Some of them, in words.
    pub told: Vec<String>,
}

impl Recount {
    /// Counts some more; true when all is counted.
    pub fn step(&mut self, state: &State) -> bool {
        let t = &state.tables;
        let (len, then) = match self.phase {
            Phase::Logs => (t.logs.len(), Phase::Targets),
            Phase::Targets => (t.targets.len(), Phase::Hosts),
            Phase::Hosts => (t.hosts.len(), Phase::Reconcilers),
            Phase::Reconcilers => (t.reconcilers.len(), Phase::Endpoints),
            Phase::Endpoints => (t.endpoints.len(), Phase::Done),
            Phase::Done => return true,
        };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        // Everybody at an endpoint is counted at once.
        let step = if self.phase == Phase::Endpoints { 1 } else { STEP };
        let end = self.next.saturating_add(step).min(len);
        for id in self.next..end {
            self.counted += 1;
            let found = match self.phase {
                Phase::Logs => log(state, id),
                Phase::Targets => target(state, id),
                Phase::Hosts => host(state, id),
                Phase::Reconcilers => reconciler(state, id, &mut self.walk),
                Phase::Endpoints => endpoint(state, id),
                Phase::Done => None,
            };
            if let Some(what) = found {
                self.different += 1;
                if self.told.len() < TOLD {
                    self.told.push(what);
                }
            }
        }
        self.next = end;
        if end >= len {
            (self.phase, self.next) = (then, 0);
        }
        self.phase == Phase::Done
    }

    /// What was found.
    pub fn finish(self) -> Recounted {
        Recounted { counted: self.counted, different: self.different, told: self.told }
    }
}

impl State {
    /// Counts everything again.
    pub fn recount(&self) -> Recounted {
        let mut recount = Recount::default();
        while !recount.step(self) {}
        recount.finish()
    }
}

fn log(state: &State, id: u32) -> Option<String> {
    let log = state.tables.logs.get(id)?;
    let mut again = log.clone();
    again.rebuild();
    (again != *log).then(|| {
        format!("the places of commits of {} at {}", state.tables.text(log.branch), state.tables.text(log.repo))
    })
}

fn target(state: &State, id: u32) -> Option<String> {
    let t = &state.tables;
    let target = t.targets.get(id)?;
    let spans = t.spans(ObjectKind::Target, id, target.carriers.iter().copied());
    let named = |what: &str| {
        let [environment, workload, name] = [target.environment, target.workload, target.name].map(|id| t.text(id));
        Some(format!("{what} of the deployment target {name} of {workload} in {environment}"))
    };
    if **target.assignments != assignments(&target.declarations, &spans) {
        return named("the assignments");
    }
    let expected = (target.workload, target.environment, target.name);
    let expectations = &state.index.expectations;
    let wrong = |host: &u32| state.is_missing(id, *host) != expectations.is_set(id, *host);
    if expectations.ever(expected).iter().any(wrong) {
        return named("the missing hosts");
    }
    None
}

fn host(state: &State, id: u32) -> Option<String> {
    let host = state.tables.hosts.get(id)?;
    (*host.retired_at != state.host_retired_at(id))
        .then(|| format!("the retirement of the host {}", state.tables.host_name(id)))
}

fn reconciler(state: &State, id: u32, walk: &mut Walk) -> Option<String> {
    let r = state.tables.reconcilers.get(id)?;
    let named = |what: &str| {
        Some(format!("{what} of the reconciler {} on {}", state.tables.text(r.name), state.tables.host_name(r.host)))
    };
    let (now, standing) = state.reconciler_now(id, walk, &mut Vec::new());
    if *r.now != now {
        return named("the current state");
    }
    if *r.standing != standing {
        return named("the standing");
    }
    let groups = state.index.current(now.endpoint).map(|s| s.groups());
    let here = groups.into_iter().flatten().filter(|(_, group)| group.ids().contains(&id)).map(|(s, _)| *s);
    if !here.eq([standing]) {
        return named("the group");
    }
    None
}

fn endpoint(state: &State, id: u32) -> Option<String> {
    let kept = state.index.current(id)?;
    let mut again = Subscribers::default();
    for reconciler in kept.ids() {
        let r = state.tables.reconcilers.get(reconciler).expect(WHY);
        if r.now.endpoint != id {
            return Some(format!("who is at the endpoint {}", state.tables.endpoint_text(id)));
        }
        again.enter(reconciler, &r.standing, &r.now);
    }
    (!again.counts_as(kept)).then(|| format!("the counts at the endpoint {}", state.tables.endpoint_text(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::Derived;
    use crate::model::{Fact, Micros};
    use crate::sources::resource;
    use crate::state::standing::Heard;

    const COMMIT: &str = "dev@sha1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn facts(lines: &str) -> Vec<Fact> {
        let now = Micros::parse("2026-02-01T00:00:00Z").unwrap();
        let observed = resource::decode(lines.as_bytes(), "test").unwrap();
        observed.into_iter().map(|o| crate::normalize::fact(o.unwrap(), now).unwrap()).collect()
    }

    /// Three clusters of which two report; the third is expected by name.
    fn state() -> State {
        let head = |kind: &str, name: &str| {
            serde_json::json!({"apiVersion": "hub.kalypso.io/v1alpha1", "kind": kind, "metadata": {"name": name,
                "annotations": {"hub.kalypso.io/observed-at": "2026-01-02T00:00:00Z", "hub.kalypso.io/gitops-revision": COMMIT}}})
        };
        let document = |kind: &str, name: &str, spec: serde_json::Value| {
            let mut document = head(kind, name);
            document["spec"] = spec;
            document.to_string()
        };
        let mut lines = vec![
            document(
                "DeploymentDescriptor",
                "web",
                serde_json::json!({
                    "workload": {"name": "web", "application": {"name": "store", "workspace": {"name": "shop"}},
                        "source": {"repo": "https://git.example/shop/web", "branch": "main", "path": "."}},
                    "deploymentTarget": {"name": "edge", "environment": "dev", "manifests": {
                        "repo": "https://git.example/shop/gitops", "branch": "dev", "path": "web"}},
                    "workloadVersion": {"version": "1.0", "build": "1", "commit": "c", "buildTime": "2026-01-01T00:00:00Z"},
                }),
            ),
            document(
                "Cluster",
                "h9",
                serde_json::json!({
                    "expects": [{"workload": "web", "environment": "dev", "deploymentTarget": "edge"}],
                }),
            ),
        ];
        for (host, status) in [("h1", "success"), ("h2", "failure")] {
            lines.push(document(
                "Reconciler",
                host,
                serde_json::json!({
                    "hostName": host, "reconcilerName": "flux", "reconcilerType": "flux", "manifestsStorageType": "git",
                    "manifestsEndpoint": "https://git.example/shop/gitops/dev/web",
                    "deployment": {"gitOpsCommitId": COMMIT, "status": status, "statusMessage": "said so"},
                }),
            ));
        }
        let mut state = State::new();
        for (seq, fact) in (1..).zip(lines.iter().flat_map(|line| facts(line))) {
            state.apply(seq, &fact);
        }
        state
    }

    #[test]
    fn what_the_fold_counted_is_what_a_recount_counts() {
        let recounted = state().recount();
        assert_eq!(recounted, Recounted { counted: recounted.counted, different: 0, told: Vec::new() });
        assert!(recounted.counted >= 8, "{recounted:?}");
    }

    #[test]
    fn whatever_was_counted_otherwise_is_told_by_name() {
        type Tamper = fn(&mut State);
        let tampers: [(Tamper, &str); 6] = [
            (
                |s| s.tables.hosts.get_mut(0, 0).unwrap().retired_at = Derived(Micros(7)),
                "the retirement of the host h9",
            ),
            (
                |s| s.tables.reconcilers.get_mut(0, 0).unwrap().now.since = Micros(7),
                "the current state of the reconciler",
            ),
            (
                |s| s.tables.reconcilers.get_mut(1, 0).unwrap().standing.heard = Heard::Silent,
                "the standing of the reconciler",
            ),
            (|s| s.index.current.clear(), "the group of the reconciler"),
            (|s| assert!(s.index.expectations.set(0, 0, false)), "the missing hosts of the deployment target edge"),
            (
                |s| {
                    let r = s.tables.reconcilers.get(0).unwrap();
                    s.index.current[r.now.endpoint as usize].heard(r.now.reported_at, Micros(7));
                },
                "the counts at the endpoint",
            ),
        ];
        for (tamper, what) in tampers {
            let mut state = state();
            tamper(&mut state);
            let recounted = state.recount();
            assert!(recounted.told.iter().any(|told| told.contains(what)), "{what}: {recounted:?}");
        }
    }
}
