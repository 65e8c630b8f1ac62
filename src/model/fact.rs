//! Normalised statements: what the journal stores and the fold consumes.
//!
//! Invariant: a fact is self-contained. Folding it needs no clock and no other source of truth, so that replaying the journal
//! gives the same state. The encoded shape is versioned by [`crate::ledger`]; fields are only ever added in a new version.

use crate::ledger::record::{Decode, Encode};

use super::{Micros, Status, Verification};

/// A 128-bit hash that names a carrier: (source, kind, namespace, name) or (source, natural key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct CarrierKey(pub u128);

/// How the event time of a fact was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Clock {
    /// The source named it, and it is believable.
    Said,
    /// Nobody named it: the time of first receipt (the ledger's writer replaces it when the identity is known again).
    Received,
    /// The source named a time more than five minutes ahead: taken as received, and flagged.
    Future,
}

/// One normalised statement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fact {
    /// The source's name.
    pub source: String,
    /// Who carried it.
    pub carrier: CarrierKey,
    /// Event time.
    pub at: Micros,
    /// How `at` was found.
    pub clock: Clock,
    /// By what the statement is known again (object version, idempotency key or content, in this order); includes the claimed time.
    /// Odd for a content, even for the others: a content is known again only while it is the latest of its carrier.
    pub identity: u64,
    /// When the hub received it.
    pub received_at: Micros,
    /// The statement.
    pub body: Body,
}

/// What a fact says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// A version is wanted on a target.
    Declaration(Box<Declaration>),
    /// A reconciler met a commit (or, without commit, said how it fares).
    Report(Box<Report>),
    /// A host is declared or heard.
    Host(Box<HostDeclaration>),
    /// The carrier is gone.
    Gone,
    /// What the hub concluded by its own clock: hosts that turned late or silent, or that are so no more.
    Liveness(Vec<LivenessChange>),
    /// A commit of a branch was seen by one who watches it.
    Sighting(Box<Sighting>),
    /// Somebody outside judged a rollout.
    Verification(Box<Verification>),
}

/// A manifests endpoint in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Endpoint {
    /// `git`, `bucket`, `oci` …
    pub storage_type: String,
    /// `<repo>/<branch>/<path>`, the join key together with the storage type.
    pub canonical: String,
    /// As the source spelled it.
    pub raw: String,
}

/// A version is wanted on a target as of a GitOps commit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Declaration {
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
    /// Version.
    pub version: String,
    /// Manifests endpoint.
    pub endpoint: Endpoint,
    /// Canonical repository of the manifests: with `branch` the commit log the commit belongs to.
    pub repo: String,
    /// Branch or ref of the manifests.
    pub branch: String,
    /// GitOps commit in normal form; `None` while nobody knows it.
    pub commit: Option<String>,
    /// Source repository, canonical.
    pub source_repo: Option<String>,
    /// Source branch.
    pub source_branch: Option<String>,
    /// Source path.
    pub source_path: Option<String>,
    /// Source commit, normal form.
    pub source_commit: Option<String>,
    /// Build id.
    pub build: Option<String>,
    /// Build time.
    pub build_time: Option<Micros>,
    /// Image digest.
    pub image_digest: Option<String>,
    /// Author.
    pub author: Option<String>,
    /// Pull request.
    pub pull_request: Option<String>,
    /// Contact.
    pub contact: Option<String>,
    /// Labels as a JSON object with sorted keys; empty string when there are none.
    pub labels: String,
}

/// What a reconciler says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// Host name.
    pub host: String,
    /// Reconciler name.
    pub reconciler: String,
    /// Reconciler type.
    pub reconciler_type: String,
    /// Manifests endpoint.
    pub endpoint: Endpoint,
    /// The commit attempted, normal form.
    pub commit: Option<String>,
    /// The commit applied, normal form; `None` when the report names one commit only (which then is both).
    pub applied: Option<String>,
    /// Status.
    pub status: Status,
    /// The source's own words.
    pub raw_status: String,
    /// Message, scrubbed and cut.
    pub message: String,
    /// Host labels as a JSON object with sorted keys; empty string when there are none.
    pub labels: String,
}

/// What a host is expected to run; names match in any workspace and application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Expectation {
    /// Workload.
    pub workload: String,
    /// Environment.
    pub environment: String,
    /// Deployment target.
    pub deployment_target: String,
}

/// A host is declared, heard or declared retired.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HostDeclaration {
    /// Host name.
    pub name: String,
    /// External id.
    pub external_id: Option<String>,
    /// Host type.
    pub host_type: Option<String>,
    /// Labels as a JSON object with sorted keys; empty string when there are none.
    pub labels: String,
    /// Class.
    pub class: Option<String>,
    /// Contact.
    pub contact: Option<String>,
    /// Expectations by name; `None` says nothing about what the host is expected to run, neither here nor in `selector`.
    pub expects: Option<Vec<Expectation>>,
    /// The host itself was heard at the fact's time.
    pub heartbeat: bool,
    /// Declared retired at the fact's time.
    pub retired: bool,
    /// The text of the [`Selector`](super::Selector) of targets that it is expected to run too; empty string when there is none.
    pub selector: String,
}

/// A commit on a branch; the carrier of the fact is the watcher.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sighting {
    /// Repository, canonical.
    pub repo: String,
    /// Branch or other ref.
    pub branch: String,
    /// Commit, normal form.
    pub commit: String,
}

/// Whether a host is heard from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Liveness {
    /// Heard within its interval.
    #[default]
    Online,
    /// Not heard for one interval.
    Late,
    /// Not heard for long.
    Silent,
    /// Declared gone.
    Retired,
    /// Not heard for long, of a class that need not report: what it runs is not known, and nobody waits for it.
    Unknown,
}

impl Liveness {
    /// The word used in answers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Liveness::Online => "online",
            Liveness::Late => "late",
            Liveness::Silent => "silent",
            Liveness::Retired => "retired",
            Liveness::Unknown => "unknown",
        }
    }
}

/// A host turned late, silent or unknown by the hub's own clock, or back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LivenessChange {
    /// Host name.
    pub host: String,
    /// What it turned.
    pub liveness: Liveness,
    /// When.
    pub at: Micros,
    /// The last-heard time this follows from; a newer one makes the change void.
    pub heard_at: Micros,
}
