//! The gate: is *my* commit or version live everywhere in this environment, so that it may be promoted (design §8)?
//!
//! Pure: state and "now" in, answer out. Invariants: it never answers about another commit than the one asked for, an unknown
//! thing is an answer and not an error, and zero hosts is never success.

mod bucket;
mod deployment_state;
mod status;

pub use bucket::{Range, Stand, subscribed};
pub use deployment_state::{DeploymentState, Subscriber, deployment_state};
pub use status::status;

use serde::Serialize;
use utoipa::ToSchema;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A version of the workload.
    Version(String),
    /// A GitOps commit, in any spelling.
    Commit(String),
    /// The source commit a version was built from, in any spelling.
    SourceCommit(String),
}

/// A question; selectors that are absent match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Workspace.
    pub workspace: Option<String>,
    /// Application.
    pub application: Option<String>,
    /// Workload.
    pub workload: Option<String>,
    /// Environment.
    pub environment: Option<String>,
    /// Deployment target.
    pub deployment_target: Option<String>,
    /// Manifests endpoint, in any spelling.
    pub manifests_endpoint: Option<String>,
    /// What is asked about.
    pub asked: Asked,
}

/// What to do with silent hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilentPolicy {
    /// They count, and are no success.
    #[default]
    Block,
    /// They do not count.
    Ignore,
    /// They count as failures.
    Fail,
}

/// When a rollout is complete, failed or stalled.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Policy {
    /// Percentage of the reconcilers that must be in success.
    pub min_success_percent: f64,
    /// More failures than this fail the rollout.
    pub max_failures: u64,
    /// At least so many hosts must be in success.
    pub min_hosts: u64,
    /// Silent hosts.
    pub silent: SilentPolicy,
    /// Microseconds without a change of any bucket until the rollout is stalled.
    #[serde(rename = "stall_after_seconds", serialize_with = "as_seconds")]
    #[schema(value_type = f64)]
    pub stall_after: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            min_success_percent: 100.0,
            max_failures: 0,
            min_hosts: 1,
            silent: SilentPolicy::Block,
            stall_after: 30 * 60 * 1_000_000,
        }
    }
}

impl Policy {
    /// The verdict on one target, first that applies. `success_hosts` may stop at `min_hosts`; `unchanged` is the time since
    /// a bucket changed.
    pub fn verdict(&self, b: &Buckets, success_hosts: u64, superseded: bool, unchanged: i64) -> Verdict {
        let (mut total, mut failures) = (b.total(), b.failure);
        match self.silent {
            SilentPolicy::Block => {}
            SilentPolicy::Ignore => total -= b.silent,
            SilentPolicy::Fail => failures += b.silent,
        }
        let enough = total > 0 && b.success as f64 * 100.0 >= self.min_success_percent * total as f64;
        if enough && b.success > 0 && failures <= self.max_failures && success_hosts >= self.min_hosts {
            Verdict::Complete
        } else if superseded {
            Verdict::Superseded
        } else if failures > self.max_failures {
            Verdict::Failed
        } else if b.total() > 0 && unchanged >= self.stall_after {
            Verdict::Stalled
        } else {
            Verdict::InProgress
        }
    }
}

fn as_seconds<S: serde::Serializer>(micros: &i64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(*micros as f64 / 1e6)
}

/// The verdicts, in the order in which the worst of several targets is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A newer assignment is in force.
    Superseded,
    /// More failures than the policy allows.
    Failed,
    /// Nothing has changed for too long.
    Stalled,
    /// On its way, or nobody subscribes.
    InProgress,
    /// The policy is met.
    Complete,
    /// The target is known, the version or commit is not.
    UnknownCommit,
    /// No such environment, workload or endpoint.
    NoTargets,
}

impl Verdict {
    /// The word used in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Superseded => "superseded",
            Verdict::Failed => "failed",
            Verdict::Stalled => "stalled",
            Verdict::InProgress => "in_progress",
            Verdict::Complete => "complete",
            Verdict::UnknownCommit => "unknown_commit",
            Verdict::NoTargets => "no_targets",
        }
    }
}

/// Where a reconciler stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// It runs the commit asked about, or came past it, successfully.
    Success,
    /// It failed there.
    Failure,
    /// It is being applied.
    InProgress,
    /// It has not come there.
    Behind,
    /// Its host is not heard from.
    Silent,
    /// It is expected and never reported.
    NeverReported,
    /// It is retired; not in `total`.
    Retired,
}

/// Reconcilers per bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Buckets {
    /// In success.
    pub success: u64,
    /// In failure.
    pub failure: u64,
    /// In progress.
    pub in_progress: u64,
    /// Behind.
    pub behind: u64,
    /// Silent.
    pub silent: u64,
    /// Never reported.
    pub never_reported: u64,
    /// Retired; not in the total.
    pub retired: u64,
}

impl Buckets {
    /// Counts some.
    pub fn add(&mut self, bucket: Bucket, n: u64) {
        *match bucket {
            Bucket::Success => &mut self.success,
            Bucket::Failure => &mut self.failure,
            Bucket::InProgress => &mut self.in_progress,
            Bucket::Behind => &mut self.behind,
            Bucket::Silent => &mut self.silent,
            Bucket::NeverReported => &mut self.never_reported,
            Bucket::Retired => &mut self.retired,
        } += n;
    }

    /// All but the retired.
    pub fn total(&self) -> u64 {
        self.success + self.failure + self.in_progress + self.behind + self.silent + self.never_reported
    }

    fn join(&mut self, other: &Buckets) {
        self.success += other.success;
        self.failure += other.failure;
        self.in_progress += other.in_progress;
        self.behind += other.behind;
        self.silent += other.silent;
        self.never_reported += other.never_reported;
        self.retired += other.retired;
    }
}

/// A reconciler (or an expected host) that holds the rollout up.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HoldsUp {
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
    /// Reconcilers that count.
    pub total: u64,
    /// Reconcilers per bucket.
    pub buckets: Buckets,
    /// Start of the assignment.
    pub started_at: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Answer {
    /// Verdict.
    pub verdict: Verdict,
    /// One sentence.
    pub reason: String,
    /// Reconcilers that count.
    pub total: u64,
    /// Reconcilers per bucket, summed over the targets.
    pub buckets: Buckets,
    /// Those that hold it up, the worst first; at most 100, of those alike the longest known.
    pub hosts: Vec<HoldsUp>,
    /// Freshness.
    pub freshness: Freshness,
    /// The policy used.
    pub policy: Policy,
    /// The same per target; at most 100.
    pub targets: Vec<TargetAnswer>,
}
