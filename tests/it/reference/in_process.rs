//! The hub itself behind the face of the reference: a real ledger on a real file, the real decoder, SQL and gate, without HTTP.

use std::sync::{Arc, LazyLock};

use futures::TryStreamExt;
use koh::ledger::{Ledger, Options, Store};
use koh::model::{Fact, Micros};
use koh::query::{Engine, Format, Limits, Statement};
use koh::rollout::{self, Asked, Clauses, Question, Rules};
use koh::snapshot::Generation;
use koh::sources::push::{Decoder, Form};
use koh::state::tables::Window;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Row;
use super::under_test::HubUnderTest;

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
pub static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(Limits::default()).unwrap());

/// A hub on a file of its own.
pub struct InProcess {
    dir: TempDir,
    ledger: Option<Ledger>,
}

impl Default for InProcess {
    fn default() -> InProcess {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Some(open(&dir));
        InProcess { dir, ledger }
    }
}

fn open(dir: &TempDir) -> Ledger {
    Ledger::open(Store::file(&dir.path().join("hub.redb")), Options::default()).unwrap()
}

fn form(line: &Value) -> Form {
    let has = |key: &str| line.get(key).is_some();
    if has("kind") || has("object") {
        Form::Resources
    } else if has("workload") && has("deployment_target") {
        Form::Descriptors
    } else if has("reconciler") {
        Form::Reconcilers
    } else {
        Form::Hosts
    }
}

/// What lines say, in normal form.
pub fn facts(lines: &[Value]) -> Vec<Fact> {
    let mut facts = Vec::new();
    for line in lines {
        let mut decoder = Decoder::new(form(line), "push".to_owned(), None);
        let mut items = decoder.push(line.to_string().as_bytes());
        items.extend(decoder.finish());
        for item in items {
            let observation = item.observation.unwrap_or_else(|r| panic!("{line} was not taken: {r:?}"));
            facts.push(koh::normalize::fact(observation, Micros::now()).unwrap_or_else(|r| panic!("{line}: {r:?}")));
        }
    }
    facts
}

/// Reads the query of the gate: selectors and policy clauses (§8).
pub fn asked(query: &str) -> (Question, Rules) {
    let mut clauses = Clauses::default();
    let mut q = Question::about(Asked::Version(String::new()));
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let text = value.to_owned();
        match name {
            "workspace" => q.workspace.push(text),
            "application" => q.application.push(text),
            "workload" => q.workload.push(text),
            "environment" => q.environment.push(text),
            "deployment_target" => q.deployment_target.push(text),
            "manifests_endpoint" => q.manifests_endpoint = Some(text),
            "version" => q.asked = Asked::Version(text),
            "commit" => q.asked = Asked::Commit(text),
            "source_commit" => q.asked = Asked::SourceCommit(text),
            "min_success_percent" => clauses.min_success_percent = Some(value.parse().unwrap()),
            "max_failures" => clauses.max_failures = Some(value.parse().unwrap()),
            "min_hosts" => clauses.min_hosts = Some(value.parse().unwrap()),
            _ => panic!("no such parameter: {name}"),
        }
    }
    (q, Rules { clauses, ..Rules::default() })
}

impl InProcess {
    /// Drops what reconcilers said before a time.
    pub fn trim(&self, since: i64) {
        let window = Window { since: Micros(since), forgotten: Micros::MIN };
        let (_, tables) = self.ledger().tables();
        RUNTIME.block_on(self.ledger().trim(window, Some(tables))).unwrap();
    }

    /// Ends as a killed process does: what is in the file is what there is.
    pub fn crash(&mut self) {
        let left = tempfile::tempdir().unwrap();
        std::fs::copy(self.dir.path().join("hub.redb"), left.path().join("hub.redb")).unwrap();
        self.ledger = Some(open(&left));
        self.dir = left;
    }

    pub(super) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }
}

impl HubUnderTest for InProcess {
    fn name(&self) -> &'static str {
        "the hub"
    }

    fn ingest(&mut self, lines: &[Value]) {
        RUNTIME.block_on(self.ledger().append_waiting(facts(lines))).unwrap();
    }

    fn rows(&mut self, sql: &str) -> Vec<Row> {
        let (seq, tables) = self.ledger().tables();
        let generation = Generation::take(self.ledger().epoch(), seq, tables, Micros::now());
        let catalog = Arc::new(generation.catalog());
        let body = RUNTIME.block_on(async {
            let output = ENGINE.run(catalog, Statement::new(sql), Format::Json).await.unwrap();
            output.body.try_collect::<Vec<_>>().await.unwrap()
        });
        serde_json::from_slice(&body.concat()).unwrap()
    }

    fn gate(&mut self, query: &str) -> Value {
        let (q, rules) = asked(query);
        let answer = self.ledger().read(|state| rollout::status(state, &q, &rules, Micros::now()));
        serde_json::to_value(answer).unwrap()
    }

    fn restart(&mut self) {
        self.ledger.take().unwrap().shutdown().unwrap();
        self.ledger = Some(open(&self.dir));
    }
}
