//! Random small fleets: a part of a hub is a hub that was only ever told that part.
//!
//! Where it is not, and is not meant to be: a host that several workspaces use is heard by what it says of any of them; numbers
//! (`host_no` and the like) and times of receipt are those of the whole hub; `sources` and `system` are closed.

use std::sync::Arc;

use futures::TryStreamExt;
use koh::access::Restriction;
use koh::ledger::{Ledger, Options, Store};
use koh::model::{Fact, Micros};
use koh::query::{Format, Statement};
use koh::rollout::{self, Rules};
use koh::snapshot::Generation;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use crate::reference::Row;
use crate::reference::in_process::{ENGINE, RUNTIME, asked, facts};

const TEAMS: [&str; 2] = ["shop", "zebra"];
const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];
const REGIONS: [&str; 2] = ["eu", "us"];
const HOSTS: usize = 4;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Wanted {
        team: usize,
        environment: usize,
        version: usize,
    },
    Reported {
        host: usize,
        team: usize,
        environment: usize,
        commit: usize,
        status: usize,
    },
    /// At a place where nobody wants anything.
    Elsewhere {
        host: usize,
    },
    Declared {
        host: usize,
        region: usize,
        expects: Option<(usize, usize)>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2usize, 0..2usize, 0..3usize)
            .prop_map(|(team, environment, version)| Step::Wanted { team, environment, version }),
        6 => (0..HOSTS, 0..2usize, 0..2usize, 0..3usize, 0..3usize).prop_map(|(host, team, environment, commit, status)| {
            Step::Reported { host, team, environment, commit, status }
        }),
        1 => (0..HOSTS).prop_map(|host| Step::Elsewhere { host }),
        2 => (0..HOSTS, 0..2usize, prop::option::of((0..2usize, 0..2usize)))
            .prop_map(|(host, region, expects)| Step::Declared { host, region, expects }),
    ]
}

fn commit(n: usize) -> String {
    ["a", "b", "c"][n].repeat(40)
}

fn host(n: usize) -> String {
    format!("host-{n}")
}

impl Step {
    fn line(&self, at: &str) -> Value {
        let report = |host: usize, team: &str, environment: &str, n: usize, status: &str| {
            json!({
                "host": self::host(host), "reconciler": format!("{team}-{environment}"), "reconciler_type": "flux",
                "manifests_endpoint": format!("https://git.example/{team}/gitops/{environment}/web"),
                "commit": commit(n), "status": status, "reported_at": at,
            })
        };
        match *self {
            Step::Wanted { team, environment, version } => {
                let (team, environment) = (TEAMS[team], ENVIRONMENTS[environment]);
                json!({
                    "workspace": team, "application": "app", "workload": format!("{team}-web"), "environment": environment,
                    "deployment_target": format!("{team}-edge"), "version": format!("{version}.0"), "observed_at": at,
                    "manifests": {"repo": format!("https://git.example/{team}/gitops"), "branch": environment, "path": "web"},
                    "gitops_revision": format!("{environment}@sha1:{}", commit(version)),
                })
            }
            Step::Reported { host, team, environment, commit, status } => {
                let status = ["success", "failure", "in_progress"][status];
                report(host, TEAMS[team], ENVIRONMENTS[environment], commit, status)
            }
            Step::Elsewhere { host } => report(host, "nobody", "dev", 0, "success"),
            Step::Declared { host, region, expects } => {
                let expects: Vec<Value> = expects
                    .iter()
                    .map(|(team, environment)| {
                        json!({
                            "workload": format!("{}-web", TEAMS[*team]), "environment": ENVIRONMENTS[*environment],
                            "deployment_target": format!("{}-edge", TEAMS[*team]),
                        })
                    })
                    .collect();
                json!({"name": self::host(host), "labels": {"region": REGIONS[region]}, "expects": expects, "reported_at": at})
            }
        }
    }
}

/// A hub that was told this.
fn told(facts: Vec<Fact>) -> Ledger {
    let ledger = Ledger::open(Store::memory(), Options::default()).unwrap();
    RUNTIME.block_on(ledger.append_waiting(facts)).unwrap();
    ledger
}

fn generation(ledger: &Ledger, now: Micros) -> Generation {
    let (_, tables) = ledger.tables();
    Generation::take(1, 1, tables, now)
}

/// What differs although the same is seen.
fn is_of_the_whole_hub(column: &str) -> bool {
    column.ends_with("_no")
}

fn rows(generation: &Generation, table: &str, without: &[&str]) -> Vec<Row> {
    let body = RUNTIME.block_on(async {
        let statement = Statement::new(format!("SELECT * FROM {table}"));
        let output = ENGINE.run(Arc::new(generation.catalog()), statement, Format::Json).await.unwrap();
        output.body.try_collect::<Vec<_>>().await.unwrap()
    });
    let mut rows: Vec<Row> = serde_json::from_slice(&body.concat()).unwrap();
    for row in &mut rows {
        row.retain(|column, _| !is_of_the_whole_hub(column) && !without.contains(&column.as_str()));
    }
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// The gate's answer, without the hosts it was asked to look at.
fn gate(ledger: &Ledger, question: &str, sees: &Restriction, now: Micros) -> Value {
    let (question, rules) = asked(question);
    let rules = Rules { sees: Arc::new(sees.clone()), ..rules };
    let mut answer = ledger.read(|state| serde_json::to_value(rollout::status(state, &question, &rules, now)).unwrap());
    answer["policy"]["hosts"] = Value::Null;
    answer
}

/// Compares the part that is seen of a full hub with a hub that was told that part.
fn same(full: &Ledger, part: &Ledger, sees: &Restriction, leave: &[&str], without: &[&str]) {
    let now = Micros::now();
    let (seen, alone) = (generation(full, now).seen_by(sees), generation(part, now));
    let mut compared = 0;
    for table in alone.catalog().names() {
        if ["sources", "generation"].contains(&table.as_str()) || leave.contains(&table.as_str()) {
            continue;
        }
        assert_eq!(rows(&seen, &table, without), rows(&alone, &table, without), "{table} for {sees}");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
    for environment in ENVIRONMENTS {
        for team in TEAMS {
            for version in 0..3 {
                for what in [format!("version={version}.0"), format!("commit={}", commit(version))] {
                    let question = format!("environment={environment}&workload={team}-web&{what}");
                    let everything = Restriction::default();
                    assert_eq!(
                        gate(full, &question, sees, now),
                        gate(part, &question, &everything, now),
                        "{question} for {sees}"
                    );
                }
            }
        }
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(20_261_129), failure_persistence: None, ..ProptestConfig::with_cases(8) }
}

/// What is told, and when; every host is declared before anything else.
fn history(steps: Vec<Step>) -> Vec<(Step, Fact)> {
    let declared = (0..HOSTS).map(|host| Step::Declared { host, region: host % 2, expects: None });
    let all: Vec<Step> = declared.chain(steps).collect();
    // On a whole second: how old the oldest report of many is, is told no finer.
    let begin = Micros(Micros::now().0 / 1_000_000 * 1_000_000 - 200_000_000);
    let at = |n: usize| begin.plus(n as i64 * 3_000_000).to_string();
    all.into_iter().enumerate().map(|(n, step)| (step.clone(), facts(&[step.line(&at(n))]).remove(0))).collect()
}

fn picked(history: &[(Step, Fact)], seen: impl Fn(&Step) -> bool) -> Vec<Fact> {
    history.iter().filter(|(step, _)| seen(step)).map(|(_, fact)| fact.clone()).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn who_sees_some_hosts_sees_a_hub_that_has_only_these(steps in prop::collection::vec(step(), 1..40)) {
        let history = history(steps);
        let region = |n: usize| history.iter().rev().find_map(|(step, _)| match step {
            Step::Declared { host, region, .. } if *host == n => Some(*region),
            _ => None,
        });
        let sees: Restriction = serde_json::from_value(json!({"hosts": {"region": ["eu"]}})).unwrap();
        let part = picked(&history, |step| match step {
            Step::Wanted { .. } => true,
            Step::Reported { host, .. } | Step::Elsewhere { host } | Step::Declared { host, .. } => region(*host) == Some(0),
        });
        same(&told(picked(&history, |_| true)), &told(part), &sees, &[], &[]);
    }

    #[test]
    fn who_sees_a_workspace_sees_a_hub_that_has_only_this(steps in prop::collection::vec(step(), 1..40)) {
        // Whom nobody wants anything of belongs to nobody: both teams want something from the start.
        let wanted = |team| ENVIRONMENTS.iter().enumerate().map(move |(environment, _)| Step::Wanted { team, environment, version: 0 });
        let steps = wanted(0).chain(wanted(1)).chain(steps);
        // What a host expects is replaced as a whole, so that of it only the part of one team would be a statement that nobody made.
        let history = history(steps.filter(|step| !matches!(step, Step::Declared { expects: Some((1, _)), .. })).collect());
        let reports = |n: usize| history.iter().any(|(step, _)| matches!(step, Step::Reported { host, team: 0, .. } if *host == n));
        let expects = |n: usize| history.iter().rev().find_map(|(step, _)| match step {
            Step::Declared { host, expects, .. } if *host == n => Some(expects.is_some()),
            _ => None,
        });
        let sees: Restriction = serde_json::from_value(json!({"workspaces": ["shop"]})).unwrap();
        let part = picked(&history, |step| match step {
            Step::Wanted { team, .. } | Step::Reported { team, .. } => *team == 0,
            Step::Elsewhere { .. } => false,
            Step::Declared { host, .. } => reports(*host) || expects(*host) == Some(true),
        });
        let heard = ["first_heard_at", "last_heard_at", "liveness_since"];
        same(&told(picked(&history, |_| true)), &told(part), &sees, &["host_transitions"], &heard);
    }
}
