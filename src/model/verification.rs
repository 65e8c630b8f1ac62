//! What somebody outside - a smoke test, a load test, a change board - judged a rollout to be.
//!
//! Invariant: the order of the outcomes breaks ties between equal times, the grave one last, and is part of the stored format,
//! as are the order of the subjects and of the selectors: append only.

use crate::ledger::record::{Decode, Encode};

/// How the judgement went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[repr(u8)]
pub enum Outcome {
    /// Nobody knows yet.
    Pending = 0,
    /// Good.
    Passed = 1,
    /// Not good.
    Failed = 2,
}

impl Outcome {
    /// The word used in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
        }
    }
}

/// What is judged; the name is a text, or what stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Subject<T> {
    /// A version of the workload.
    Version(T),
    /// A GitOps commit, normal form.
    Commit(T),
    /// The source commit that a version was built from, normal form.
    SourceCommit(T),
}

impl<T> Subject<T> {
    /// The same subject with its name told otherwise.
    pub fn map<U>(&self, tell: impl FnOnce(&T) -> U) -> Subject<U> {
        match self {
            Subject::Version(name) => Subject::Version(tell(name)),
            Subject::Commit(name) => Subject::Commit(tell(name)),
            Subject::SourceCommit(name) => Subject::SourceCommit(tell(name)),
        }
    }

    /// What kind it is, as a column is called, and its name.
    pub fn parts(&self) -> (&'static str, &T) {
        match self {
            Subject::Version(name) => ("version", name),
            Subject::Commit(name) => ("commit", name),
            Subject::SourceCommit(name) => ("source_commit", name),
        }
    }
}

/// The selectors, in the order in which they are kept.
pub const SELECTORS: [&str; 5] = ["workspace", "application", "workload", "environment", "deployment_target"];
/// Where the workload stands among the [`SELECTORS`].
pub const WORKLOAD: usize = 2;
/// Where the environment stands among the [`SELECTORS`].
pub const ENVIRONMENT: usize = 3;

/// Somebody outside judged a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Verification {
    /// What was done: `smoke`, `load`, `change-board` …
    pub name: String,
    /// Where it holds, as [`SELECTORS`]; an absent one stands for all.
    pub selectors: [Option<String>; 5],
    /// What was judged.
    pub subject: Subject<String>,
    /// How it went.
    pub outcome: Outcome,
    /// The source's own word for that.
    pub raw_result: String,
    /// Where to read more: an http or https address without credentials.
    pub link: Option<String>,
    /// Message, scrubbed and cut.
    pub message: String,
    /// Who says so.
    pub reported_by: Option<String>,
}
