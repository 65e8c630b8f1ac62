//! The gate (§8): a bucket for every reconciler, a verdict for every target and for all.

use std::collections::{BTreeMap, BTreeSet};

use super::Model;
use super::input::{At, Status, Target};
use super::log::{Log, Place};
use super::reconcilers::Told;
use super::targets::TargetHistory;

/// What is asked (§8).
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub workspace: Option<String>,
    pub application: Option<String>,
    pub workload: Option<String>,
    pub environment: Option<String>,
    pub deployment_target: Option<String>,
    pub endpoint: Option<String>,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub source_commit: Option<String>,
}

/// What is enough (§8). `silent` and its hosts are given: who is silent depends on a clock.
#[derive(Clone, Debug)]
pub struct Policy {
    pub min_success_percent: f64,
    pub max_failures: usize,
    pub min_hosts: usize,
    pub silent_hosts: BTreeSet<String>,
    /// `None`: nothing stalls.
    pub now: Option<At>,
    pub stall_after: At,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            min_success_percent: 100.0,
            max_failures: 0,
            min_hosts: 1,
            silent_hosts: BTreeSet::new(),
            now: None,
            stall_after: 30 * 60 * 1_000_000,
        }
    }
}

/// Where a reconciler stands (§8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    Success,
    Failure,
    InProgress,
    Behind,
    Silent,
    NeverReported,
    Retired,
}

impl Bucket {
    pub const ALL: [Bucket; 7] = [
        Bucket::Success,
        Bucket::Failure,
        Bucket::InProgress,
        Bucket::Behind,
        Bucket::Silent,
        Bucket::NeverReported,
        Bucket::Retired,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Bucket::Success => "success",
            Bucket::Failure => "failure",
            Bucket::InProgress => "in_progress",
            Bucket::Behind => "behind",
            Bucket::Silent => "silent",
            Bucket::NeverReported => "never_reported",
            Bucket::Retired => "retired",
        }
    }
}

/// Who stands where on one target.
#[derive(Clone, Debug)]
pub struct TargetAnswer {
    pub target: Target,
    pub verdict: &'static str,
    /// (host, reconciler) to bucket; an expected host that never reported has no reconciler.
    pub members: BTreeMap<(String, Option<String>), Bucket>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub verdict: &'static str,
    pub targets: Vec<TargetAnswer>,
}

impl Answer {
    /// How many stand in a bucket, over all targets.
    pub fn count(&self, bucket: Bucket) -> usize {
        self.targets.iter().map(|t| t.members.values().filter(|b| **b == bucket).count()).sum()
    }

    /// Everybody but the retired.
    pub fn total(&self) -> usize {
        self.targets.iter().map(|t| t.members.values().filter(|b| **b != Bucket::Retired).count()).sum()
    }
}

/// Answers a question (§8).
pub fn answer(model: &Model, question: &Question, policy: &Policy) -> Answer {
    let known: Vec<(&Target, &TargetHistory)> =
        model.targets().filter(|(target, history)| selected(question, target, history)).collect();
    if known.is_empty() {
        return Answer { verdict: "no_targets", targets: Vec::new() };
    }
    let targets: Vec<TargetAnswer> = known
        .iter()
        .filter_map(|(target, history)| {
            let (assignment, range) = asked(model, question, history)?;
            Some(target_answer(model, target, history, assignment, &range, policy))
        })
        .collect();
    Answer { verdict: overall(&targets), targets }
}

/// Whether a question is about a target: selectors match, and it is not retired (§8).
fn selected(question: &Question, target: &Target, history: &TargetHistory) -> bool {
    let Some(in_force) = history.in_force() else { return false };
    let endpoint = history.assignments[in_force].declared.endpoint.canonical();
    let matches = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|asked| asked == is);
    matches(&question.workspace, &target.workspace)
        && matches(&question.application, &target.application)
        && matches(&question.workload, &target.workload)
        && matches(&question.environment, &target.environment)
        && matches(&question.deployment_target, &target.name)
        && matches(&question.endpoint, &endpoint)
}

/// The assignment and the range of commits asked about (§8 *The range*).
fn asked(model: &Model, question: &Question, history: &TargetHistory) -> Option<(usize, Vec<String>)> {
    if let Some(commit) = &question.commit {
        return history.assignments.iter().enumerate().find_map(|(index, _)| {
            let commits = history.commits(model, index);
            let from = commits.iter().position(|c| c == commit)?;
            Some((index, commits[from..].to_vec()))
        });
    }
    let index = history.assignments.iter().rposition(|a| match (&question.version, &question.source_commit) {
        (Some(version), _) => a.version == *version,
        (None, Some(source)) => a.declared.source_commit.as_ref() == Some(source),
        (None, None) => a.ended_at.is_none(),
    })?;
    Some((index, history.commits(model, index)))
}

/// Buckets and verdict of one target for one assignment.
pub fn target_answer(
    model: &Model,
    target: &Target,
    history: &TargetHistory,
    assignment: usize,
    range: &[String],
    policy: &Policy,
) -> TargetAnswer {
    let asked = &history.assignments[assignment];
    // §2 *rollout*: over the reconcilers that subscribe to its target.
    let endpoint =
        history.in_force().map_or(&asked.declared, |i| &history.assignments[i].declared).endpoint.canonical();
    let scale = Scale { history, assignment, log: model.log(&asked.declared.endpoint), range };

    let mut members = BTreeMap::new();
    let mut reported: BTreeSet<String> = BTreeSet::new();
    let mut last_change = asked.started_at;
    for told in model.reconcilers() {
        if told.meant.iter().any(|m| m.endpoint == endpoint) {
            reported.insert(told.host.clone());
        }
        if told.current().endpoint != endpoint {
            continue;
        }
        let silent = policy.silent_hosts.contains(&told.host);
        members.insert((told.host.clone(), Some(told.name.clone())), scale.bucket(told, &endpoint, silent));
        last_change = told.transitions().last().map_or(last_change, |t| last_change.max(t.reported_at));
    }
    for host in model.expected_on(target, history) {
        if !reported.contains(&host) {
            members.insert((host, None), Bucket::NeverReported);
        }
    }
    let superseded = history.in_force() != Some(assignment);
    let verdict = verdict(&members, superseded, policy, last_change);
    TargetAnswer { target: target.clone(), verdict, members }
}

/// The commits asked about, on the target's log.
struct Scale<'a> {
    history: &'a TargetHistory,
    assignment: usize,
    log: &'a Log,
    range: &'a [String],
}

impl Scale<'_> {
    fn first(&self) -> Option<Place> {
        self.range.first().and_then(|c| self.log.place(c))
    }

    fn last(&self) -> Option<Place> {
        self.range.last().and_then(|c| self.log.place(c))
    }

    fn place(&self, commit: Option<&String>) -> Option<Place> {
        self.log.place(commit?)
    }

    /// Whether the version at a commit was on this target before mine (§8).
    fn is_older_version(&self, commit: &str) -> bool {
        let endpoint = &self.history.assignments[self.assignment].declared.endpoint;
        let covering = self.history.covering(self.log, endpoint, commit);
        covering.is_some_and(|i| self.history.had_before(&self.history.assignments[i].version, self.assignment))
    }

    /// The latest place the reconciler has proven that counts for mine (§8 *Proven*).
    fn proven(&self, told: &Told, endpoint: &str) -> Option<Place> {
        let here = told.meant.iter().filter(|m| m.endpoint == endpoint);
        let limit = here.filter_map(|m| self.place(m.applied.as_ref())).next_back()?;
        let words = told.last_words();
        let successes = words.iter().filter(|((at, _), word)| at == endpoint && word.1 == Status::Success);
        successes
            .filter(|((_, commit), _)| !self.is_older_version(commit))
            .filter_map(|((_, commit), _)| self.log.place(commit))
            .filter(|place| *place <= limit)
            .max()
    }

    /// The first row of the table of §8 that applies.
    fn bucket(&self, told: &Told, endpoint: &str, silent: bool) -> Bucket {
        let current = told.current();
        let (attempted, applied) = (current.attempted.as_ref(), current.applied.as_ref());
        let past = |commit: Option<&String>| {
            self.place(commit).is_some_and(|place| self.last().is_some_and(|last| place > last))
        };
        if !told.living {
            return Bucket::Retired;
        }
        if past(applied) && applied.is_some_and(|c| self.is_older_version(c)) {
            return Bucket::Behind;
        }
        if self.first().is_some_and(|first| self.proven(told, endpoint).is_some_and(|proven| proven >= first)) {
            return Bucket::Success;
        }
        if silent {
            return Bucket::Silent;
        }
        if let Some(commit) = [attempted, applied].into_iter().flatten().find(|c| self.range.contains(*c)) {
            let word = told.last_words().get(&(endpoint.to_string(), commit.clone())).map(|word| word.1);
            return status_bucket(word.unwrap_or(Status::Unknown));
        }
        if (past(applied) || past(attempted)) && current.status != Status::Success {
            return status_bucket(current.status);
        }
        Bucket::Behind
    }
}

/// Not proven, so a status is failure or in progress (§8: unknown counts as in progress).
fn status_bucket(status: Status) -> Bucket {
    if status == Status::Failure { Bucket::Failure } else { Bucket::InProgress }
}

/// The verdict of a target, first that applies (§8).
fn verdict(
    members: &BTreeMap<(String, Option<String>), Bucket>,
    superseded: bool,
    policy: &Policy,
    last_change: At,
) -> &'static str {
    let count = |bucket: Bucket| members.values().filter(|b| **b == bucket).count();
    let total = members.len() - count(Bucket::Retired);
    let hosts: BTreeSet<&String> =
        members.iter().filter(|(_, b)| **b == Bucket::Success).map(|((host, _), _)| host).collect();
    let failures = count(Bucket::Failure);
    let percent = if total == 0 { 0.0 } else { 100.0 * count(Bucket::Success) as f64 / total as f64 };
    let met = total > 0
        && percent >= policy.min_success_percent
        && failures <= policy.max_failures
        && hosts.len() >= policy.min_hosts.max(1);
    let stalled = total > 0 && policy.now.is_some_and(|now| now - last_change > policy.stall_after);
    match () {
        () if met => "complete",
        () if superseded => "superseded",
        () if failures > policy.max_failures => "failed",
        () if stalled => "stalled",
        () => "in_progress",
    }
}

/// The verdict over several targets (§8 *Several targets*).
fn overall(targets: &[TargetAnswer]) -> &'static str {
    if targets.is_empty() {
        return "unknown_commit";
    }
    if targets.iter().all(|t| t.verdict == "complete") {
        return "complete";
    }
    let worst = ["superseded", "failed", "stalled", "in_progress"];
    worst.into_iter().find(|v| targets.iter().any(|t| t.verdict == *v)).unwrap_or("in_progress")
}
