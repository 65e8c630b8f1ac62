//! The fold alone behind the face of the reference: no file, no SQL, so that many histories cost little.
//!
//! It shows the tables that everything else is derived from, and the gate.

use koh::model::{Micros, Status};
use koh::rollout;
use koh::state::walk::Walk;
use koh::state::{Novelty, State, Tables};
use serde_json::{Value, json};

use super::Row;
use super::in_process::{asked, facts};
use super::under_test::HubUnderTest;
use super::views::time;

/// A state that knows nothing yet.
#[derive(Default)]
pub struct Fold {
    state: State,
    seq: u64,
}

fn instant(at: Micros) -> Value {
    if at == Micros::MAX { Value::Null } else { time(at.0) }
}

fn row(columns: &[(&str, Value)]) -> Row {
    columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn assignments(t: &Tables) -> Vec<Row> {
    let mut rows = Vec::new();
    for (_, target) in t.targets.iter() {
        for a in &target.assignments.list {
            rows.push(row(&[
                ("workspace", json!(t.text(target.workspace))),
                ("application", json!(t.text(target.application))),
                ("workload", json!(t.text(target.workload))),
                ("environment", json!(t.text(target.environment))),
                ("deployment_target", json!(t.text(target.name))),
                ("version", json!(t.version_text(a.version))),
                ("started_at", instant(a.start)),
                ("ended_at", instant(a.end)),
            ]));
        }
    }
    rows
}

/// What the walk of every reconciler gives, with its names.
fn walked(t: &Tables, mut rows: impl FnMut(&Walk) -> Vec<Row>) -> Vec<Row> {
    let (mut all, mut walk) = (Vec::new(), Walk::default());
    for (id, r) in t.reconcilers.iter() {
        t.walk(id, &mut walk);
        for mut one in rows(&walk) {
            one.insert("host".to_owned(), json!(t.host_name(r.host)));
            one.insert("reconciler".to_owned(), json!(t.text(r.name)));
            all.push(one);
        }
    }
    all
}

fn told(t: &Tables, endpoint: u32, commit: u32, status: Option<Status>) -> Row {
    row(&[
        ("manifests_endpoint", json!(t.endpoint_text(endpoint))),
        ("commit", json!(t.some(commit))),
        ("status", json!(status.map(Status::as_str))),
    ])
}

fn transitions(t: &Tables, walk: &Walk) -> Vec<Row> {
    let one = |it: &koh::state::walk::Transition| {
        let mut one = told(t, it.endpoint, it.commit, Some(it.status));
        one.insert("reported_at".to_owned(), instant(it.reported_at));
        one
    };
    walk.transitions.iter().map(one).collect()
}

fn deployments(t: &Tables, walk: &Walk) -> Vec<Row> {
    let one = |it: &koh::state::walk::Deployment| {
        let mut one = told(t, it.endpoint, it.commit, None);
        one.extend(row(&[
            ("started_at", instant(it.start)),
            ("ended_at", instant(it.end)),
            ("rolled_back", json!(it.rolled_back)),
        ]));
        one
    };
    walk.deployments.iter().map(one).collect()
}

impl HubUnderTest for Fold {
    fn name(&self) -> &'static str {
        "the fold"
    }

    fn ingest(&mut self, lines: &[Value]) {
        for mut fact in facts(lines) {
            self.state.resolve(&mut fact);
            if self.state.novelty(&fact) != Novelty::Known {
                self.seq += 1;
                self.state.apply(self.seq, &fact);
            }
        }
    }

    fn rows(&mut self, sql: &str) -> Vec<Row> {
        let t = self.state.view();
        match sql.rsplit(' ').next() {
            Some("assignments") => assignments(t),
            Some("transitions") => walked(t, |walk| transitions(t, walk)),
            Some("deployments") => walked(t, |walk| deployments(t, walk)),
            _ => panic!("the fold cannot answer {sql}"),
        }
    }

    fn gate(&mut self, query: &str) -> Value {
        let (question, rules) = asked(query);
        serde_json::to_value(rollout::status(&self.state, &question, &rules, Micros::now())).unwrap()
    }

    fn restart(&mut self) {
        self.state = State::from_tables(self.state.tables());
    }
}
