//! One object of the state as a line of the feed, and the filters that let it through.
//!
//! Invariant: a field has the name and the value that the lists and views give it; a line says what is so when it is made.

use serde::Serialize;

use crate::model::{Micros, Subject};
use crate::snapshot::ids::id;
use crate::state::tables::ReconcilerRecord;
use crate::state::target::{Assignment, TargetRecord};
use crate::state::verification::{Key, VerificationRecord};
use crate::state::{Object, ObjectKind, State, Tables};

/// The kinds of objects that change.
pub(super) const KINDS: [&str; 4] = ["deployment_target", "reconciler", "host", "verification"];

/// The names that filter: those of a target, then those of what reports.
pub(super) const NAMES: [&str; 7] =
    ["workspace", "application", "workload", "environment", "deployment_target", "host", "reconciler"];
/// How many of them are names of a target.
const OF_TARGET: usize = 5;

/// Which objects are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Any of these kinds.
    pub(super) kinds: Option<Vec<String>>,
    /// By name: any of these.
    pub(super) names: [Option<Vec<String>>; NAMES.len()],
}

/// An object as it is now.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Line<'a> {
    /// What is wanted on a target.
    Target(Target<'a>),
    /// What a reconciler says.
    Reconciler(Reconciler<'a>),
    /// How a host is.
    Host(Host<'a>),
    /// What was found from outside.
    Verification(Verification<'a>),
}

/// As in `deployment_targets` and `environment_state`.
#[derive(Debug, Serialize)]
pub(super) struct Target<'a> {
    id: String,
    workspace: &'a str,
    application: &'a str,
    workload: &'a str,
    environment: &'a str,
    deployment_target: &'a str,
    manifests_endpoint: Option<&'a str>,
    desired_version: Option<&'a str>,
    desired_commit: Option<&'a str>,
    assigned_at: Option<String>,
    retired_at: Option<String>,
}

/// As in `reconcilers`.
#[derive(Debug, Serialize)]
pub(super) struct Reconciler<'a> {
    id: String,
    host: &'a str,
    reconciler: &'a str,
    manifests_endpoint: &'a str,
    commit: Option<&'a str>,
    attempted_commit: Option<&'a str>,
    status: &'static str,
    raw_status: &'a str,
    message: Option<&'a str>,
    reported_at: Option<String>,
    retired_at: Option<String>,
}

/// As in `hosts`.
#[derive(Debug, Serialize)]
pub(super) struct Host<'a> {
    id: String,
    host: &'a str,
    liveness: &'static str,
    last_heard_at: Option<String>,
    labels: Option<&'a str>,
    retired_at: Option<String>,
}

/// As in `verifications`, the current one.
#[derive(Debug, Serialize)]
pub(super) struct Verification<'a> {
    name: &'a str,
    result: &'static str,
    workspace: Option<&'a str>,
    application: Option<&'a str>,
    workload: Option<&'a str>,
    environment: Option<&'a str>,
    deployment_target: Option<&'a str>,
    version: Option<&'a str>,
    commit: Option<&'a str>,
    source_commit: Option<&'a str>,
    link: Option<&'a str>,
    message: Option<&'a str>,
    reported_by: Option<&'a str>,
    reported_at: Option<String>,
}

/// The word for a kind.
pub(super) fn kind(object: Object) -> &'static str {
    match object.kind {
        ObjectKind::Target => KINDS[0],
        ObjectKind::Reconciler => KINDS[1],
        ObjectKind::Host => KINDS[2],
        ObjectKind::Verification => KINDS[3],
    }
}

/// An instant; the two ends of time are null.
fn time(at: Micros) -> Option<String> {
    (at != Micros::MIN && at != Micros::MAX).then(|| at.to_string())
}

/// The line of an object, if the filter lets it through.
pub(super) fn line<'a>(state: &'a State, filter: &Filter, object: Object) -> Option<Line<'a>> {
    if filter.kinds.as_ref().is_some_and(|kinds| !kinds.iter().any(|k| k == kind(object))) {
        return None;
    }
    let t = state.view();
    match object.kind {
        ObjectKind::Target => {
            let target = t.targets.get(object.id)?;
            (filter.names[OF_TARGET..].iter().all(Option::is_none) && filter.target(t, target))
                .then(|| Line::Target(Target::of(t, target)))
        }
        ObjectKind::Reconciler => {
            let r = t.reconcilers.get(object.id)?;
            let passes = filter.host(t, r.host) && filter.reconciler(t, r) && filter.serves(state, r);
            passes.then(|| Line::Reconciler(Reconciler::of(t, r)))
        }
        ObjectKind::Host => {
            let [.., reconciler] = &filter.names;
            let passes = reconciler.is_none() && filter.host(t, object.id) && filter.carries(state, object.id);
            if passes { Host::of(t, object.id).map(Line::Host) } else { None }
        }
        ObjectKind::Verification => {
            let verification = t.verifications.get(object.id)?;
            let passes = filter.names[OF_TARGET..].iter().all(Option::is_none) && filter.judged(t, &verification.key);
            if passes { Verification::of(t, verification).map(Line::Verification) } else { None }
        }
    }
}

impl Filter {
    fn named(&self, which: usize, name: &str) -> bool {
        self.names[which].as_ref().is_none_or(|wanted| wanted.iter().any(|w| w == name))
    }

    fn by_target(&self) -> bool {
        self.names[..OF_TARGET].iter().any(Option::is_some)
    }

    fn target(&self, t: &Tables, target: &TargetRecord) -> bool {
        names(target).iter().enumerate().all(|(which, name)| self.named(which, t.text(*name)))
    }

    /// Whether a verification may be about a target that is meant: one that names no environment is about all.
    fn judged(&self, t: &Tables, key: &Key) -> bool {
        key.selectors.iter().enumerate().all(|(which, name)| *name == 0 || self.named(which, t.text(*name)))
    }

    fn host(&self, t: &Tables, host: u32) -> bool {
        self.named(OF_TARGET, t.host_name(host))
    }

    fn reconciler(&self, t: &Tables, r: &ReconcilerRecord) -> bool {
        self.named(OF_TARGET + 1, t.text(r.name))
    }

    /// Whether a target at the endpoint of a reconciler is meant.
    fn serves(&self, state: &State, r: &ReconcilerRecord) -> bool {
        let t = state.view();
        let here = |target: &TargetRecord| target.assignments.list.last().map(|a| a.endpoint) == Some(r.now.endpoint);
        let mut targets = state.index().targets_at(r.now.endpoint).iter().filter_map(|id| t.targets.get(*id));
        !self.by_target() || targets.any(|target| here(target) && self.target(t, target))
    }

    /// Whether a target that a host serves is meant.
    fn carries(&self, state: &State, host: u32) -> bool {
        let all = &state.view().reconcilers;
        let mut reconcilers = state.index().reconcilers_of(host).iter().filter_map(|id| all.get(*id));
        !self.by_target() || reconcilers.any(|r| self.serves(state, r))
    }
}

fn names(target: &TargetRecord) -> [u32; OF_TARGET] {
    [target.workspace, target.application, target.workload, target.environment, target.name]
}

impl<'a> Target<'a> {
    fn of(t: &'a Tables, target: &TargetRecord) -> Target<'a> {
        let names = names(target).map(|name| t.text(name));
        let [workspace, application, workload, environment, deployment_target] = names;
        let wanted: Option<&Assignment> = target.assignments.in_force().map(|(_, a)| a);
        Target {
            id: id("deployment_target", &names),
            workspace,
            application,
            workload,
            environment,
            deployment_target,
            manifests_endpoint: target.assignments.list.last().map(|a| t.endpoint_text(a.endpoint)),
            desired_version: wanted.map(|a| t.version_text(a.version)),
            desired_commit: wanted.and_then(|a| t.some(a.commit)),
            assigned_at: wanted.and_then(|a| time(a.start)),
            retired_at: target.assignments.retired_at().and_then(time),
        }
    }
}

impl<'a> Reconciler<'a> {
    fn of(t: &'a Tables, r: &ReconcilerRecord) -> Reconciler<'a> {
        let (host, reconciler, now) = (t.host_name(r.host), t.text(r.name), &r.now);
        Reconciler {
            id: id("reconciler", &[host, reconciler]),
            host,
            reconciler,
            manifests_endpoint: t.endpoint_text(now.endpoint),
            commit: t.some(now.applied),
            attempted_commit: t.some(now.attempted),
            status: now.status.as_str(),
            raw_status: t.text(now.raw),
            message: t.some(now.message),
            reported_at: time(now.reported_at),
            retired_at: time(now.retired_at),
        }
    }
}

impl<'a> Host<'a> {
    fn of(t: &'a Tables, host: u32) -> Option<Host<'a>> {
        let (record, name) = (t.hosts.get(host)?, t.host_name(host));
        Some(Host {
            id: id("host", &[name]),
            host: name,
            liveness: record.liveness().as_str(),
            last_heard_at: time(record.heard_at),
            labels: t.some(record.labels()),
            retired_at: time(*record.retired_at),
        })
    }
}

impl<'a> Verification<'a> {
    fn of(t: &'a Tables, record: &VerificationRecord) -> Option<Verification<'a>> {
        let (key, said) = (&record.key, record.current()?);
        let [workspace, application, workload, environment, deployment_target] = key.selectors.map(|n| t.some(n));
        let subject = |which: fn(Subject<u32>) -> Option<u32>| which(key.subject).and_then(|n| t.some(n));
        Some(Verification {
            name: t.text(key.name),
            result: said.outcome.as_str(),
            workspace,
            application,
            workload,
            environment,
            deployment_target,
            version: subject(|s| if let Subject::Version(v) = s { Some(v) } else { None }),
            commit: subject(|s| if let Subject::Commit(c) = s { Some(c) } else { None }),
            source_commit: subject(|s| if let Subject::SourceCommit(c) = s { Some(c) } else { None }),
            link: t.some(said.link),
            message: t.some(said.message),
            reported_by: t.some(said.reported_by),
            reported_at: time(said.last),
        })
    }
}
