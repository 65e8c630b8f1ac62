//! The hub's answer, as far as it is shown.
//!
//! Invariant: every text in it has been cleaned; a field that an older or newer hub leaves out is empty, never an error.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::cli::foreign;

/// Why nothing more is to be waited for, or why it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Complete,
    Failed,
    Stalled,
    Superseded,
    InProgress,
    NoTargets,
    UnknownCommit,
    /// A word of a newer hub.
    #[default]
    #[serde(other)]
    Other,
}

/// An answer of the gate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    /// The document itself.
    #[serde(skip)]
    pub(super) document: String,
    pub(super) verdict: Verdict,
    pub(super) reason: Text,
    /// Nothing more is to be waited for.
    #[serde(rename = "final")]
    pub(super) is_final: bool,
    pub(super) as_of: Text,
    pub(super) total: u64,
    pub(super) buckets: Buckets,
    pub(super) policy: Named,
    pub(super) failing_clause: Option<Clause>,
    pub(super) eta: Option<Eta>,
    pub(super) last_good: Option<LastGood>,
    /// Those that hold it up.
    pub(super) hosts: Vec<HoldsUp>,
    pub(super) targets: Vec<Target>,
}

/// The same for one deployment target.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) workload: Text,
    pub(super) environment: Text,
    pub(super) deployment_target: Text,
    pub(super) version: Text,
    pub(super) commit: Text,
    pub(super) verdict: Verdict,
    pub(super) reason: Text,
    pub(super) total: u64,
    pub(super) buckets: Buckets,
    pub(super) failing_clause: Option<Clause>,
    pub(super) eta: Option<Eta>,
    pub(super) last_good: Option<LastGood>,
}

/// Reconcilers by how they stand.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Buckets {
    pub(super) success: u64,
    failure: u64,
    in_progress: u64,
    behind: u64,
    silent: u64,
    never_reported: u64,
    retired: u64,
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: Text,
}

/// The clause of the policy that is not met.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Clause {
    clause: Text,
    detail: Text,
}

/// When it should be complete, judging by earlier rollouts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Eta {
    at: Text,
    latest: Text,
    basis: Text,
}

/// What was last complete there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct LastGood {
    version: Text,
    commit: Text,
    since: Text,
}

/// A reconciler that holds it up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct HoldsUp {
    environment: Text,
    workload: Text,
    deployment_target: Text,
    pub(super) host: Text,
    pub(super) reconciler: Text,
    pub(super) bucket: Text,
    note: Text,
    commit: Text,
    attempted_commit: Text,
    message: Text,
    reported_at: Text,
    contact: Text,
    usual_seconds: Option<f64>,
}

/// Text of the hub, cleaned; absence is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Ok(Text(foreign::clean(&Option::<String>::deserialize(deserializer)?.unwrap_or_default())))
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Verdict {
    /// How a pipeline is told.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Verdict::Complete => 0,
            Verdict::Failed | Verdict::Stalled => 1,
            Verdict::InProgress => 3,
            Verdict::NoTargets | Verdict::UnknownCommit => 4,
            Verdict::Other => 5,
            Verdict::Superseded => 6,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Complete => "complete",
            Verdict::Failed => "failed",
            Verdict::Stalled => "stalled",
            Verdict::Superseded => "superseded",
            Verdict::InProgress => "in_progress",
            Verdict::NoTargets => "no_targets",
            Verdict::UnknownCommit => "unknown_commit",
            Verdict::Other => "unknown_verdict",
        }
    }

    /// True where the version before is of interest.
    pub(super) fn went_wrong(self) -> bool {
        matches!(self, Verdict::Failed | Verdict::Stalled)
    }
}

impl Answer {
    pub(super) fn read(document: &str) -> serde_json::Result<Answer> {
        let answer: Answer = serde_json::from_str(document)?;
        Ok(Answer { document: foreign::clean_json(document), ..answer })
    }

    /// The verdict and why.
    pub(super) fn headline(&self) -> String {
        format!("{}: {}", self.verdict.word(), self.reason)
    }
}

impl Target {
    /// Where it is, as a path.
    pub(super) fn place(&self) -> String {
        format!("{}/{}/{}", self.environment, self.workload, self.deployment_target)
    }

    /// What else is to be said about it, in short.
    pub(super) fn details(&self, as_of: &str) -> String {
        let mut parts = self.buckets.but_success();
        parts.extend(self.failing_clause.as_ref().map(Clause::in_words));
        parts.extend(self.eta.as_ref().map(|eta| eta.in_short(as_of)));
        parts.extend(self.last_good.as_ref().filter(|_| self.verdict.went_wrong()).map(LastGood::in_words));
        parts.join("; ")
    }
}

impl Buckets {
    /// Those that are no success, in words; nobody is not mentioned.
    fn but_success(&self) -> Vec<String> {
        let counts = [
            (self.failure, "failing"),
            (self.in_progress, "in progress"),
            (self.behind, "behind"),
            (self.silent, "silent"),
            (self.never_reported, "never reported"),
            (self.retired, "retired"),
        ];
        let counts =
            counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect::<Vec<_>>();
        if counts.is_empty() { counts } else { vec![counts.join(", ")] }
    }

    /// How many of how many succeeded, and where the others stand.
    pub(super) fn in_words(&self, total: u64) -> String {
        let mut parts = vec![format!("{} of {total} reconcilers in success", self.success)];
        parts.extend(self.but_success());
        parts.join(": ")
    }
}

impl Clause {
    pub(super) fn in_words(&self) -> String {
        format!("{}: {}", self.clause, self.detail)
    }
}

impl Eta {
    /// The time that is left, counted from the time of the answer.
    fn in_short(&self, as_of: &str) -> String {
        format!("expected {}", left(&self.at, as_of))
    }

    /// The same, with the latest time and where the estimate comes from.
    pub(super) fn in_words(&self, as_of: &str) -> String {
        let latest = if self.latest.is_empty() {
            String::new()
        } else {
            format!(", at the latest {}", left(&self.latest, as_of))
        };
        let basis = if self.basis.is_empty() { String::new() } else { format!(" ({})", self.basis) };
        self.in_short(as_of) + &latest + &basis
    }
}

/// The time from `now` to `at`, in words.
fn left(at: &str, now: &str) -> String {
    match (at.parse::<jiff::Timestamp>(), now.parse()) {
        (Ok(at), Ok(now)) if at > now => format!("in {}", seconds(at.duration_since(now).as_secs_f64())),
        (Ok(_), Ok(_)) => "any moment".to_owned(),
        _ => format!("at {at}"),
    }
}

fn seconds(seconds: f64) -> String {
    // What is out of range was never seconds of a rollout.
    format!("{:#}", jiff::SignedDuration::try_from_secs_f64(seconds.ceil()).unwrap_or_default())
}

impl LastGood {
    pub(super) fn in_words(&self) -> String {
        let commit = if self.commit.is_empty() { String::new() } else { format!(" ({})", self.commit) };
        format!("last good {}{commit} since {}", self.version, self.since)
    }
}

impl HoldsUp {
    /// The target it holds up, as a path.
    pub(super) fn place(&self) -> String {
        [&*self.environment, &self.workload, &self.deployment_target].join("/")
    }

    /// What it does, and what it says about it.
    pub(super) fn details(&self) -> String {
        let tries = if self.commit == self.attempted_commit { "" } else { &self.attempted_commit };
        let usual = self.usual_seconds.map(seconds).unwrap_or_default();
        let told = [
            ("", &*self.note.replace('_', " ")),
            ("at ", &self.commit),
            ("tries ", tries),
            ("", &self.message),
            ("reported ", &self.reported_at),
            ("usually takes ", &usual),
            ("ask ", &self.contact),
        ];
        let told = told.into_iter().filter(|(_, text)| !text.is_empty());
        told.map(|(label, text)| format!("{label}{text}")).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_the_newer_fields_is_read_and_its_text_is_cleaned() {
        let answer = Answer::read(
            r#"{"verdict": "failed", "reason": "a\u001b[2Jb\nc", "policy": {}, "hosts": [{"contact": null}]}"#,
        );
        let answer = answer.unwrap();
        assert_eq!(answer.headline(), "failed: a\\u{1b}[2Jb c");
        assert!(!answer.is_final && answer.hosts[0].contact.is_empty());
    }

    #[test]
    fn a_verdict_of_a_newer_hub_is_no_success() {
        assert_eq!(Answer::read(r#"{"verdict": "delighted"}"#).unwrap().verdict.exit_code(), 5);
        assert_eq!(Answer::read("{}").unwrap().verdict.exit_code(), 5);
    }

    #[test]
    fn an_estimate_is_told_as_time_left_and_with_its_basis() {
        let eta = Eta {
            at: Text("2026-01-31T10:03:20Z".into()),
            latest: Text("2026-01-31T10:10:00.900Z".into()),
            basis: Text("median of 5".into()),
        };
        let said = "expected in 3m 20s, at the latest in 10m 1s (median of 5)";
        assert_eq!(eta.in_words("2026-01-31T10:00:00Z"), said);
        assert!(eta.in_words("2026-01-31T11:00:00Z").starts_with("expected any moment, at the latest any moment"));
        assert!(eta.in_words("").starts_with("expected at 2026-01-31T10:03:20Z"));
    }
}
