//! Every view and table of §6, recomputed from the model. Columns that depend on a clock, a hash or a sequence are left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::gate::{Bucket, Policy, target_answer};
use super::input::{At, Status, Target};
use super::reconcilers::{Meant, Told};
use super::targets::TargetHistory;
use super::{Model, Row};

/// The rows of a view or table at an instant, in no particular order.
pub fn rows(model: &Model, name: &str, now: At) -> Option<Vec<Row>> {
    let rows = match name {
        "environment_state" => environment_state(model),
        "host_state" => host_state(model, now),
        "environment_history" => environment_history(model),
        "environment_discrepancies" => environment_discrepancies(model),
        "drift" => drift(model, now),
        "rollouts" => rollouts(model),
        "transitions" => transitions(model),
        "deployments" => deployments(model),
        "assignments" => assignments(model),
        _ => return None,
    };
    Some(rows)
}

/// A time as answers spell it (§7).
pub fn time(at: At) -> Value {
    let instant = jiff::Timestamp::from_microsecond(at).expect("histories stay within a few years");
    json!(format!("{instant:.3}"))
}

fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn names(target: &Target) -> Row {
    row([
        ("workspace", json!(target.workspace)),
        ("application", json!(target.application)),
        ("workload", json!(target.workload)),
        ("environment", json!(target.environment)),
        ("deployment_target", json!(target.name)),
    ])
}

fn no_names() -> Row {
    let columns = ["workspace", "application", "workload", "environment", "deployment_target"];
    columns.into_iter().map(|c| (c.to_string(), Value::Null)).collect()
}

fn with<const N: usize>(mut base: Row, columns: [(&str, Value); N]) -> Row {
    base.extend(row(columns));
    base
}

/// A living target with what is wanted on it and who subscribes now.
struct Current<'a> {
    target: &'a Target,
    history: &'a TargetHistory,
    in_force: usize,
    subscribers: Vec<&'a Told>,
}

impl Current<'_> {
    fn desired(&self) -> &str {
        &self.history.assignments[self.in_force].version
    }

    fn endpoint(&self) -> String {
        self.history.assignments[self.in_force].declared.endpoint.canonical()
    }

    /// The assignment that explains what a reconciler runs (§3.2).
    fn deployed(&self, model: &Model, it: &Meant) -> Option<usize> {
        let endpoint = &self.history.assignments[self.in_force].declared.endpoint;
        self.history.covering(model.log(endpoint), endpoint, it.applied.as_ref()?)
    }

    fn deployed_version(&self, model: &Model, it: &Meant) -> Option<String> {
        self.deployed(model, it).map(|i| self.history.assignments[i].version.clone())
    }
}

fn current_targets(model: &Model) -> Vec<Current<'_>> {
    let mut current = Vec::new();
    for (target, history) in model.targets() {
        let Some(in_force) = history.in_force() else { continue };
        let endpoint = history.assignments[in_force].declared.endpoint.canonical();
        let subscribers = living(model).filter(|told| told.current().endpoint == endpoint).collect();
        current.push(Current { target, history, in_force, subscribers });
    }
    current
}

fn living(model: &Model) -> impl Iterator<Item = &Told> {
    model.reconcilers().filter(|told| told.living)
}

fn environment_state(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for current in current_targets(model) {
        let commit = current.history.first_commit(model, current.in_force);
        let base = with(
            names(current.target),
            [
                ("desired_version", json!(current.desired())),
                ("desired_commit", json!(commit)),
                ("assigned_at", time(current.history.assignments[current.in_force].started_at)),
            ],
        );
        let mut groups: BTreeMap<(Option<String>, Option<Status>), Vec<&Told>> = BTreeMap::new();
        for told in &current.subscribers {
            let it = told.current();
            groups.entry((current.deployed_version(model, it), Some(it.status))).or_default().push(told);
        }
        if groups.is_empty() {
            groups.insert((None, None), Vec::new());
        }
        for ((version, status), told) in groups {
            let hosts: BTreeSet<&String> = told.iter().map(|t| &t.host).collect();
            rows.push(with(
                base.clone(),
                [
                    ("deployed_version", json!(version)),
                    ("status", json!(status.map(Status::word))),
                    ("reconcilers", json!(told.len())),
                    ("hosts", json!(hosts.len())),
                    // Nobody turns silent before one interval of listening (§3.8).
                    ("silent", json!(0)),
                    ("reported_at", told.iter().map(|t| t.current().at).max().map_or(Value::Null, time)),
                ],
            ));
        }
    }
    rows
}

fn environment_discrepancies(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for current in current_targets(model) {
        let mut groups: BTreeMap<Option<String>, (usize, usize)> = BTreeMap::new();
        for told in &current.subscribers {
            let (reconcilers, successful) = groups.entry(current.deployed_version(model, told.current())).or_default();
            *reconcilers += 1;
            *successful += usize::from(told.current().status == Status::Success);
        }
        if groups.is_empty() {
            groups.insert(None, (0, 0));
        }
        for (version, (reconcilers, successful)) in groups {
            rows.push(with(
                names(current.target),
                [
                    ("desired_version", json!(current.desired())),
                    ("deployed_version", json!(version)),
                    ("reconcilers", json!(reconcilers)),
                    ("successful", json!(successful)),
                ],
            ));
        }
    }
    rows
}

fn host_state(model: &Model, now: At) -> Vec<Row> {
    let mut rows = Vec::new();
    let targets = current_targets(model);
    for told in living(model) {
        let it = told.current();
        let deployment = told.deployments().into_iter().next_back().filter(|d| d.commit.is_some());
        let base = row([
            ("host", json!(told.host)),
            ("reconciler", json!(told.name)),
            ("commit", json!(it.applied)),
            ("attempted_commit", json!(it.attempted)),
            ("status", json!(it.status.word())),
            ("message", json!(it.message)),
            ("rolled_back", json!(deployment.as_ref().is_some_and(|d| d.rolled_back))),
            ("deployed_at", deployment.map_or(Value::Null, |d| time(d.started_at))),
            ("reported_at", time(it.at)),
        ]);
        let served: Vec<&Current> = targets.iter().filter(|t| t.endpoint() == it.endpoint).collect();
        for current in &served {
            let (drift, behind_by) = drift_of(model, current, told, now);
            let version = current.deployed_version(model, it);
            let mut one = with(
                names(current.target),
                [
                    ("desired_version", json!(current.desired())),
                    ("deployed_version", json!(version)),
                    ("drift", json!(drift)),
                    ("behind_by", json!(behind_by)),
                ],
            );
            one.extend(base.clone());
            rows.push(one);
        }
        if served.is_empty() {
            let mut one = with(
                no_names(),
                [
                    ("desired_version", Value::Null),
                    ("deployed_version", Value::Null),
                    ("drift", json!("unassigned")),
                    ("behind_by", Value::Null),
                ],
            );
            one.extend(base);
            rows.push(one);
        }
    }
    rows
}

/// Drift of a reconciler that reports for a target, first that applies (§3 *Drift*); silence depends on a clock and is left out.
fn drift_of(model: &Model, current: &Current, told: &Told, now: At) -> (&'static str, Option<usize>) {
    let it = told.current();
    let endpoint = &current.history.assignments[current.in_force].declared.endpoint;
    let log = model.log(endpoint);
    let deployed = current.deployed(model, it);
    let behind_by = deployed.map(|i| current.in_force.saturating_sub(i));
    if it.status == Status::Failure {
        return ("failing", behind_by);
    }
    let Some(place) = it.applied.as_ref().and_then(|c| log.place(c)) else { return ("unknown_commit", behind_by) };
    let here = deployed == Some(current.in_force);
    let commits = current.history.commits(model, current.in_force);
    if !here && commits.last().and_then(|c| log.place(c)).is_some_and(|last| place > last) {
        return ("ahead", behind_by);
    }
    if it.status != Status::Success {
        let since = told.transitions().last().map_or(it.at, |t| t.reported_at);
        let stalled = now - since > Policy::default().stall_after;
        return (if stalled { "stalled" } else { "progressing" }, behind_by);
    }
    (if here { "in_sync" } else { "behind" }, behind_by)
}

fn drift(model: &Model, now: At) -> Vec<Row> {
    let wanted = ["host", "reconciler", "drift", "desired_version", "deployed_version", "behind_by"];
    let targets = ["workspace", "application", "workload", "environment", "deployment_target"];
    let mut rows = host_state(model, now);
    for one in &mut rows {
        one.retain(|column, _| wanted.contains(&column.as_str()) || targets.contains(&column.as_str()));
    }
    for current in current_targets(model) {
        let endpoint = current.endpoint();
        let t = current.target;
        for host in model.expected_on(t, current.history) {
            let mut theirs = model.reconcilers().filter(|told| told.host == host);
            let reported = theirs.any(|told| told.meant.iter().any(|m| m.endpoint == endpoint));
            if !reported {
                rows.push(with(
                    names(t),
                    [
                        ("host", json!(host)),
                        ("reconciler", Value::Null),
                        ("drift", json!("missing")),
                        ("desired_version", json!(current.desired())),
                        ("deployed_version", Value::Null),
                        ("behind_by", Value::Null),
                    ],
                ));
            }
        }
    }
    rows
}

fn environment_history(model: &Model) -> Vec<Row> {
    let everybody: Vec<&Told> = model.reconcilers().collect();
    let mut rows = Vec::new();
    for (target, history) in model.targets() {
        for (index, assignment) in history.assignments.iter().enumerate() {
            let endpoint = assignment.declared.endpoint.canonical();
            for commit in history.commits(model, index) {
                let deployments: Vec<_> = everybody
                    .iter()
                    .flat_map(|told| told.deployments())
                    .filter(|d| d.endpoint == endpoint && d.commit.as_ref() == Some(&commit))
                    .collect();
                let words: Vec<Status> = everybody
                    .iter()
                    .filter_map(|t| t.last_words().get(&(endpoint.clone(), commit.clone())).map(|word| word.1))
                    .collect();
                if words.is_empty() {
                    continue;
                }
                let count = |status: Status| json!(words.iter().filter(|w| **w == status).count());
                let starts = || deployments.iter().map(|d| d.started_at);
                rows.push(with(
                    names(target),
                    [
                        ("version", json!(assignment.version)),
                        ("commit", json!(commit)),
                        ("assigned_at", time(assignment.started_at)),
                        ("first_deployed_at", starts().min().map_or(Value::Null, time)),
                        ("last_deployed_at", starts().max().map_or(Value::Null, time)),
                        ("success", count(Status::Success)),
                        ("failure", count(Status::Failure)),
                        ("in_progress", count(Status::InProgress)),
                        ("unknown", count(Status::Unknown)),
                        ("rolled_back", json!(deployments.iter().filter(|d| d.rolled_back).count())),
                    ],
                ));
            }
        }
    }
    rows
}

fn rollouts(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for (target, history) in model.targets() {
        // An assignment of no length, which a tie can leave, is none that a hub must show.
        let lasting = |a: &&(usize, &super::targets::Assignment)| a.1.ended_at != Some(a.1.started_at);
        for (index, assignment) in history.assignments.iter().enumerate().filter(|a| lasting(&a)) {
            let range = history.commits(model, index);
            let answer = target_answer(model, target, history, index, &range, &Policy::default());
            let mut one = with(
                names(target),
                [
                    ("version", json!(assignment.version)),
                    ("commit", json!(history.first_commit(model, index))),
                    ("verdict", json!(answer.verdict)),
                    ("started_at", time(assignment.started_at)),
                ],
            );
            for bucket in Bucket::ALL {
                let count = answer.members.values().filter(|b| **b == bucket).count();
                one.insert(bucket.word().to_string(), json!(count));
            }
            rows.push(one);
        }
    }
    rows
}

fn transitions(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for told in model.reconcilers() {
        for it in told.transitions() {
            rows.push(row([
                ("host", json!(told.host)),
                ("reconciler", json!(told.name)),
                ("manifests_endpoint", json!(it.endpoint)),
                ("commit", json!(it.commit)),
                ("status", json!(it.status.word())),
                ("reported_at", time(it.reported_at)),
                ("last_confirmed_at", time(it.last_confirmed_at)),
            ]));
        }
    }
    rows
}

fn deployments(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for told in model.reconcilers() {
        for it in told.deployments() {
            if it.commit.is_none() {
                continue;
            }
            rows.push(row([
                ("host", json!(told.host)),
                ("reconciler", json!(told.name)),
                ("manifests_endpoint", json!(it.endpoint)),
                ("commit", json!(it.commit)),
                ("started_at", time(it.started_at)),
                ("ended_at", it.ended_at.map_or(Value::Null, time)),
                ("rolled_back", json!(it.rolled_back)),
            ]));
        }
    }
    rows
}

fn assignments(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for (target, history) in model.targets() {
        for (index, it) in history.assignments.iter().enumerate() {
            rows.push(with(
                names(target),
                [
                    ("version", json!(it.version)),
                    ("commit", json!(history.first_commit(model, index))),
                    ("manifests_endpoint", json!(it.declared.endpoint.canonical())),
                    ("started_at", time(it.started_at)),
                    ("ended_at", it.ended_at.map_or(Value::Null, time)),
                ],
            ));
        }
    }
    rows
}
