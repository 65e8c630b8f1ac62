//! The gate: is *my* commit or version live everywhere in this environment, so that it may be promoted (design §8)?
//!
//! ```text
//!  question ─► targets ─► range of commits ─► buckets ─► policy ─► conditions ─► verdict
//! ```
//!
//! Pure: state and "now" in, answer out. Invariants: it never answers about another commit than the one asked for, an unknown
//! thing is an answer and not an error, and zero hosts is never success.

mod answer;
mod bucket;
mod conditions;
mod depends;
mod deployment_state;
mod freeze;
mod held;
mod past;
mod policies;
mod policy;
mod question;
mod status;
mod thresholds;

pub use answer::{Answer, Clause, Eta, Freshness, HoldsUp, LastGood, LeftOut, Links, TargetAnswer};
pub use bucket::{Range, Stand, subscribed};
pub use depends::Depends;
pub use deployment_state::{DeploymentState, Subscriber, deployment_state};
pub use freeze::Freeze;
pub use held::{HeldPage, holding_up};
pub use past::{Past, PastReader};
pub use policies::{NamedPolicy, Policies, Rules, Scope};
pub use policy::{Clauses, Hosts, Policy, SilentPolicy};
pub use question::{Asked, Question};
pub use status::{Evaluation, evaluate, status};
pub use thresholds::{Alerts, Thresholds};

use serde::Serialize;
use utoipa::ToSchema;

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
