//! The reference model: a naive fold over everything a hub accepted, from which every view is recomputed.
//!
//! It knows nothing of the hub's own state. Each rule of the design is one small function that names its section, written for
//! being obviously right: it sorts, clones and scans again for every question, so it fits histories of a hundred statements.
//!
//! Invariant: a view is a function of the accepted statements in order of receipt and of nothing else.

pub mod fold;
pub mod from_scratch;
pub mod gate;
pub mod in_process;
pub mod input;
pub mod log;
pub mod reconcilers;
pub mod statements;
pub mod targets;
pub mod under_test;
pub mod views;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};

use input::{Endpoint, Object, Observed, Said, Target};
use log::Log;
use reconcilers::Told;
use statements::{Life, Statement};
use targets::TargetHistory;

/// One row of a view or table, by column.
pub type Row = BTreeMap<String, serde_json::Value>;

/// Everything accepted, in order of receipt, with event times found (§3.7).
pub struct Model {
    /// Statements in order of receipt.
    pub arrived: Vec<Statement>,
    /// What each carrier spoke of, and from when until when.
    pub lives: Vec<Life>,
    targets: BTreeMap<Target, TargetHistory>,
    reconcilers: BTreeMap<(String, String), Told>,
    logs: BTreeMap<(String, String), Log>,
}

impl Model {
    /// Folds a history given in order of receipt.
    pub fn of(history: &[Observed]) -> Model {
        let arrived = statements::resolve(history);
        let lives = statements::lives(&arrived);
        let (mut targets, mut reconcilers, mut logs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for statement in &arrived {
            match &statement.said {
                Said::Declares(d) => {
                    let branch = (d.endpoint.repo.clone(), d.endpoint.branch.clone());
                    logs.entry(branch).or_insert_with(|| log::log(&arrived, &d.endpoint.repo, &d.endpoint.branch));
                    targets.entry(d.target.clone()).or_insert_with(|| targets::history(&d.target, &lives));
                }
                Said::Reports(r) => {
                    let told = || reconcilers::told(&arrived, &lives, &r.host, &r.reconciler);
                    reconcilers.entry((r.host.clone(), r.reconciler.clone())).or_insert_with(told);
                }
                Said::Host(_) | Said::Gone(_) => {}
            }
        }
        Model { arrived, lives, targets, reconcilers, logs }
    }

    /// Every target ever declared, with what was wanted on it over time.
    pub fn targets(&self) -> impl Iterator<Item = (&Target, &TargetHistory)> {
        self.targets.iter()
    }

    /// Every reconciler that ever reported, with what it told over time.
    pub fn reconcilers(&self) -> impl Iterator<Item = &Told> {
        self.reconcilers.values()
    }

    /// The commit log of the branch of a declared endpoint (§3.2).
    pub fn log(&self, endpoint: &Endpoint) -> &Log {
        let branch = (endpoint.repo.clone(), endpoint.branch.clone());
        self.logs.get(&branch).expect("every declared branch has a log")
    }

    /// Whether a host was declared retired and nothing newer was heard of it (§3.7, §3.14).
    pub fn host_is_retired(&self, host: &str) -> bool {
        let newest = self.arrived.iter().filter(|s| s.host() == Some(host)).max_by(|a, b| a.rank.cmp(&b.rank));
        newest.is_some_and(|s| matches!(&s.said, Said::Host(word) if word.retired))
    }

    /// The hosts whose living declarations expect a target (§8, §3 drift); on a retired one nothing is waited for.
    pub fn expected_on(&self, target: &Target, history: &TargetHistory) -> BTreeSet<String> {
        let mut expected = BTreeSet::new();
        let Some(in_force) = history.in_force() else { return expected };
        let labels = &history.assignments[in_force].declared.labels;
        let hosts: BTreeSet<&String> =
            self.lives.iter().filter_map(|l| if let Object::Host(h) = &l.object { Some(h) } else { None }).collect();
        for host in hosts {
            let newest = self
                .lives
                .iter()
                .filter(|l| l.until.is_none() && l.object == Object::Host(host.clone()))
                .flat_map(|l| &l.said)
                .filter(|s| matches!(&s.said, Said::Host(word) if word.expects_something_or_nothing()))
                .max_by(|a, b| a.rank.cmp(&b.rank));
            if matches!(newest.map(|s| &s.said), Some(Said::Host(word)) if word.expects(target, labels)) {
                expected.insert(host.clone());
            }
        }
        expected.retain(|host| !self.host_is_retired(host));
        expected
    }
}
