//! What the gate answers, as it is written to JSON.
//!
//! Invariant: fields are only ever added; times are text in the one spelling of all answers, and null means absence.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Bucket, Buckets, Policy, Verdict};

/// A reconciler (or an expected host) that holds the rollout up.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HoldsUp {
    /// Environment of the target that it holds up.
    pub environment: String,
    /// Workload.
    pub workload: String,
    /// Deployment target.
    pub deployment_target: String,
    /// Host.
    pub host: String,
    /// Reconciler; null for a host that never reported.
    pub reconciler: Option<String>,
    /// Where it stands.
    pub bucket: Bucket,
    /// Why, where the bucket alone does not say: `rolled_back`, `unknown_commit`, `newer_commit`.
    pub note: Option<&'static str>,
    /// What it runs.
    pub commit: Option<String>,
    /// What it tries.
    pub attempted_commit: Option<String>,
    /// Its status.
    pub status: Option<&'static str>,
    /// Its message.
    pub message: Option<String>,
    /// Its last report.
    pub reported_at: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// How long it usually takes on this target, from the assignment to its success: the median of its past ones; null where
    /// there are none, or where the rollout is not in progress.
    pub usual_seconds: Option<f64>,
    #[serde(skip)]
    pub(super) key: (u32, u32),
}

impl HoldsUp {
    /// Target and reconciler, as ids of the state; `None` for a host that never reported.
    pub fn reconciler_id(&self) -> Option<(u32, u32)> {
        (self.bucket != Bucket::NeverReported).then_some(self.key)
    }
}

/// Those that do not count: their host is of a class that need not report, was not heard for long, and is no success. Neither
/// `total` nor a bucket has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct LeftOut {
    /// How many there are: reconcilers, and hosts that never reported.
    pub total: u64,
    /// Of them, in the bucket in which they were when they were last heard; at most 100.
    pub hosts: Vec<HoldsUp>,
}

/// How fresh the answer is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Freshness {
    /// Reconcilers that reported in the last five minutes, to the second.
    pub heard: u64,
    /// Of so many.
    pub of: u64,
    /// The span in seconds.
    pub within_seconds: u64,
    /// The oldest last report, to the second.
    pub oldest_reported_at: Option<String>,
    /// The same as a sentence.
    pub text: String,
}

/// The clause of the policy that the rollout does not meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Clause {
    /// Its name, as the policy spells it.
    #[schema(value_type = String)]
    pub clause: &'static str,
    /// What is asked for and what is so.
    pub detail: String,
}

/// When a rollout is expected to be complete.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Eta {
    /// By the median of the past rollouts.
    pub at: String,
    /// By their 90th percentile.
    pub latest: String,
    /// Median of the past rollouts, in seconds.
    pub p50_seconds: f64,
    /// Their 90th percentile, in seconds.
    pub p90_seconds: f64,
    /// How many past rollouts this rests on.
    pub rollouts: u64,
    /// What it rests on, as a sentence.
    pub basis: String,
}

/// The newest version that was complete on a target before the one asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastGood {
    /// Version.
    pub version: String,
    /// Commit it began at; null when nobody named one.
    pub commit: Option<String>,
    /// When it was complete.
    pub since: String,
}

/// Where to go on from an answer: addresses without scheme and host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Links {
    /// The same question.
    #[serde(rename = "self")]
    pub this: String,
    /// All that hold it up, paged.
    pub hosts: String,
    /// The answer as it changes, as server-sent events.
    pub events: String,
}

/// The answer for one target.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TargetAnswer {
    /// Workspace.
    pub workspace: String,
    /// Application.
    pub application: String,
    /// Workload.
    pub workload: String,
    /// Environment.
    pub environment: String,
    /// Deployment target.
    pub deployment_target: String,
    /// The version asked about, or the one the commit belongs to.
    pub version: Option<String>,
    /// The first commit of the range.
    pub commit: Option<String>,
    /// Verdict.
    pub verdict: Verdict,
    /// One sentence.
    pub reason: String,
    /// The clause that it fails or waits for; null when complete.
    pub failing_clause: Option<Clause>,
    /// Name of the policy used here.
    pub policy: String,
    /// Reconcilers that count.
    pub total: u64,
    /// Reconcilers per bucket.
    pub buckets: Buckets,
    /// Reconcilers and expected hosts that do not count, since their host need not report and was not heard for long.
    pub left_out: u64,
    /// Start of the assignment.
    pub started_at: Option<String>,
    /// Since when it has failed, for a failed one; a failure is final once it has stood for the policy's `failure_grace`.
    pub failed_since: Option<String>,
    /// When it is expected to be complete; for one in progress that has past rollouts to go by.
    pub eta: Option<Eta>,
    /// What was complete here last; for a failed or stalled one.
    pub last_good: Option<LastGood>,
    #[serde(skip)]
    pub(super) key: (u32, usize),
}

impl TargetAnswer {
    /// Target and assignment, as ids of the state.
    pub fn key(&self) -> (u32, usize) {
        self.key
    }

    /// Whether enough hosts have succeeded, and something else is waited for.
    pub(super) fn waits_for_conditions(&self) -> bool {
        let clause = self.failing_clause.as_ref().map(|c| c.clause);
        matches!(clause, Some("verifications" | "soak" | "after" | "freeze"))
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Answer {
    /// Verdict.
    pub verdict: Verdict,
    /// Nothing more is to be waited for: complete, superseded, or failed for longer than the policy's `failure_grace`.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// One sentence.
    pub reason: String,
    /// The clause of the policy that the first target with this verdict fails or waits for; null when complete.
    pub failing_clause: Option<Clause>,
    /// Reconcilers that count.
    pub total: u64,
    /// Reconcilers per bucket, summed over the targets.
    pub buckets: Buckets,
    /// Those that hold it up, the worst first; at most 100, of those alike the longest known. All of them are listed at
    /// `links.hosts`.
    pub hosts: Vec<HoldsUp>,
    /// Those that do not count.
    pub left_out: LeftOut,
    /// Freshness.
    pub freshness: Freshness,
    /// The policy used; where targets differ, that of the first one with this verdict.
    pub policy: Policy,
    /// When the last target is expected to be complete; null where one has no past to go by.
    pub eta: Option<Eta>,
    /// What was complete last, when there is one target.
    pub last_good: Option<LastGood>,
    /// When this was so.
    pub as_of: String,
    /// Where to go on.
    pub links: Links,
    /// The same per target; at most 100, the worst first.
    pub targets: Vec<TargetAnswer>,
}

impl Answer {
    /// What it says, apart from when it was made and when others were heard: what a heartbeat changes is no news.
    pub fn news(mut self) -> Vec<u8> {
        self.as_of.clear();
        self.freshness =
            Freshness { heard: 0, of: 0, within_seconds: 0, oldest_reported_at: None, text: String::new() };
        self.hosts.iter_mut().chain(&mut self.left_out.hosts).for_each(|h| h.reported_at = None);
        serde_json::to_vec(&self).unwrap_or_default()
    }
}
