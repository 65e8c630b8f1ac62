//! One face for every hub that the reference is compared with, the reference itself behind JSON included.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::gate::{self, Answer, Bucket, Policy, Question, TargetAnswer};
use super::input::{At, Observed};
use super::{Model, Row, views, wire};

/// A hub, empty at first.
pub trait HubUnderTest {
    /// What to call it when a test fails.
    fn name(&self) -> &'static str;
    /// Takes lines as one batch: custom resources, watch events and flat shapes in any mixture, in order.
    fn ingest(&mut self, lines: &[Value]);
    /// Answers SQL with one object per row.
    fn rows(&mut self, sql: &str) -> Vec<Row>;
    /// Answers `GET /api/v1/rollouts/status?{query}`.
    fn gate(&mut self, query: &str) -> Value;
    /// Stops the hub and starts it again on what it stored.
    fn restart(&mut self);
}

/// Makes an empty hub.
pub type Make = fn() -> Box<dyn HubUnderTest>;

/// Every kind of hub the meanings must hold for.
pub fn kinds() -> Vec<Make> {
    vec![|| Box::new(ModelHub::default()), || Box::new(super::in_process::InProcess::default())]
}

/// The model behind the same JSON as a real hub: shows that tests and wire format mean what the model means.
pub struct ModelHub {
    history: Vec<Observed>,
    clock: At,
}

impl Default for ModelHub {
    fn default() -> ModelHub {
        ModelHub { history: Vec::new(), clock: jiff::Timestamp::now().as_microsecond() }
    }
}

impl HubUnderTest for ModelHub {
    fn name(&self) -> &'static str {
        "the reference model"
    }

    fn ingest(&mut self, lines: &[Value]) {
        for line in lines {
            self.clock += 1;
            let read = wire::from_json(line, self.clock, "push");
            self.history.push(read.unwrap_or_else(|| panic!("the model cannot read {line}")));
        }
    }

    fn rows(&mut self, sql: &str) -> Vec<Row> {
        let name = sql.rsplit(' ').next().unwrap_or_default();
        let model = Model::of(&self.history);
        views::rows(&model, name, self.clock).unwrap_or_else(|| panic!("the model has no view {name}"))
    }

    fn gate(&mut self, query: &str) -> Value {
        let (question, policy) = asked(query);
        to_json(&gate::answer(&Model::of(&self.history), &question, &policy))
    }

    fn restart(&mut self) {}
}

/// Reads the query of the gate: selectors and policy clauses (§8).
fn asked(query: &str) -> (Question, Policy) {
    let mut question = Question::default();
    let mut policy = Policy::default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let text = Some(value.to_string());
        match name {
            "workspace" => question.workspace = text,
            "application" => question.application = text,
            "workload" => question.workload = text,
            "environment" => question.environment = text,
            "deployment_target" => question.deployment_target = text,
            "manifests_endpoint" => question.endpoint = Some(wire::normal_endpoint(value)),
            "version" => question.version = text,
            "commit" => question.commit = wire::normal_commit(value),
            "source_commit" => question.source_commit = wire::normal_commit(value),
            "min_success_percent" => policy.min_success_percent = value.parse().expect("a number"),
            "max_failures" => policy.max_failures = value.parse().expect("a number"),
            "min_hosts" => policy.min_hosts = value.parse().expect("a number"),
            _ => panic!("the model knows no question {name}"),
        }
    }
    (question, policy)
}

/// The part of an answer that does not depend on a clock.
fn to_json(answer: &Answer) -> Value {
    let buckets: BTreeMap<&str, usize> = Bucket::ALL.iter().map(|b| (b.word(), answer.count(*b))).collect();
    let targets: Vec<Value> = answer.targets.iter().map(target_to_json).collect();
    let hosts: Vec<Value> = answer
        .targets
        .iter()
        .flat_map(|t| &t.members)
        .filter(|(_, bucket)| **bucket != Bucket::Success)
        .map(|((host, reconciler), bucket)| json!({"host": host, "reconciler": reconciler, "bucket": bucket.word()}))
        .collect();
    json!({"verdict": answer.verdict, "total": answer.total(), "buckets": buckets, "hosts": hosts, "targets": targets})
}

fn target_to_json(answer: &TargetAnswer) -> Value {
    let one = Answer { verdict: answer.verdict, targets: vec![answer.clone()] };
    let buckets: BTreeMap<&str, usize> = Bucket::ALL.iter().map(|b| (b.word(), one.count(*b))).collect();
    let t = &answer.target;
    json!({
        "workspace": t.workspace, "application": t.application, "workload": t.workload,
        "environment": t.environment, "deployment_target": t.name,
        "verdict": answer.verdict, "total": one.total(), "buckets": buckets,
    })
}

/// Rows that can be compared: the wanted columns only, one spelling of times, flags and endpoints, sorted; without intervals of
/// no length, which a hub may or may not record.
pub fn comparable(rows: Vec<Row>, columns: &[&str]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows
        .into_iter()
        .map(with_start)
        .filter(|row| {
            row.get("started_at").is_none()
                || same_spelling(row.get("started_at")) != same_spelling(row.get("ended_at"))
        })
        .map(|row| {
            let pick = |column: &&str| (column.to_string(), spelled(column, row.get(*column)));
            columns.iter().map(pick).collect()
        })
        .collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// The tables name the start of an interval by what starts.
fn with_start(mut row: Row) -> Row {
    let start = ["assigned_at", "deployed_at"].iter().find_map(|c| row.get(*c)).cloned();
    if let (Some(start), true) = (start, row.contains_key("ended_at")) {
        row.entry("started_at".to_owned()).or_insert(start);
    }
    row
}

fn same_spelling(value: Option<&Value>) -> Value {
    spelled("started_at", value)
}

fn spelled(column: &str, value: Option<&Value>) -> Value {
    match (column, value) {
        (_, None) => json!("no such column"),
        ("rolled_back", Some(Value::Number(n))) => json!(n.as_i64() != Some(0)),
        ("manifests_endpoint", Some(Value::String(endpoint))) => json!(wire::normal_endpoint(endpoint)),
        (_, Some(Value::String(text))) => match text.parse::<jiff::Timestamp>() {
            Ok(instant) => json!(format!("{instant:.3}")),
            Err(_) => json!(text),
        },
        (_, Some(value)) => value.clone(),
    }
}
