//! What a source says, source-neutral and typed, in the source's own spelling.
//!
//! Sources build these; [`crate::normalize::fact`] checks them and turns them into facts. Every
//! string here is raw: untrimmed, unscrubbed, in any spelling.

use std::collections::BTreeMap;

use super::{Micros, Subject};

/// One statement of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The source's name: `push`, `directory`, `otlp`, the name of a cluster …
    pub source: String,
    /// Who carried the statement.
    pub carrier: Carrier,
    /// When it was true, as far as the source says.
    pub when: When,
    /// The statement.
    pub said: Said,
}

/// Objects whose deletion can be seen are carriers of their own; a push is carried by its natural key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A custom resource or a listed row.
    Resource {
        /// Which kind of custom resource.
        kind: ResourceKind,
        /// Namespace; empty when none.
        namespace: String,
        /// `metadata.name`, or another name that is unique within the source (a file path and document).
        name: String,
    },
    /// No resource: the natural key of what is said.
    Natural,
}

/// The kinds of custom resources that say something about the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// `DeploymentDescriptor`.
    DeploymentDescriptor,
    /// `Reconciler`.
    Reconciler,
    /// `Cluster`.
    Cluster,
}

impl ResourceKind {
    /// The `kind` of the custom resource.
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::DeploymentDescriptor => "DeploymentDescriptor",
            ResourceKind::Reconciler => "Reconciler",
            ResourceKind::Cluster => "Cluster",
        }
    }
}

/// The times and identities a statement came with (design §3.7 *Event time*).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The event time the source names: `observed-at`, else `reportedAt`, else (Flux and Argo objects) the condition's time;
    /// for a deletion the later of `observed-at` and `deletionTimestamp`.
    pub event: Option<Micros>,
    /// `uid` and `resourceVersion` of the object, joined by `/`, when both are there.
    pub object_version: Option<String>,
    /// The caller's idempotency key and the item's index, joined by `/`.
    pub idempotency: Option<String>,
}

/// The statement itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A version is wanted on a target.
    Descriptor(Box<DescriptorSaid>),
    /// A reconciler met a commit.
    Report(Box<ReportSaid>),
    /// A host exists, is alive, expects something, or is retired.
    Host(Box<HostSaid>),
    /// Somebody who watches a branch was on a commit of it.
    Sighting(Box<SightingSaid>),
    /// Somebody outside judged a rollout.
    Verification(Box<VerificationSaid>),
    /// The carrier is gone. With [`Carrier::Natural`] the boxed statement names the natural key.
    Deleted(Option<Box<Said>>),
}

/// Where manifests live, in parts or as one string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestsSaid {
    /// Storage type, repository (or bucket, registry), branch (or tag), path.
    Parts {
        /// `git` when empty.
        storage_type: String,
        /// Repository URL in any spelling.
        repo: String,
        /// Branch, tag or other ref.
        branch: String,
        /// Path inside the repository.
        path: String,
    },
    /// The whole endpoint as one string, as reconcilers report it.
    Endpoint {
        /// `git` when empty.
        storage_type: String,
        /// `<repo>/<branch>/<path>` in any spelling.
        endpoint: String,
    },
}

/// A DeploymentDescriptor or its flat twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorSaid {
    /// Workspace name.
    pub workspace: String,
    /// Application name.
    pub application: String,
    /// Workload name.
    pub workload: String,
    /// Environment name.
    pub environment: String,
    /// Deployment target name.
    pub deployment_target: String,
    /// Version.
    pub version: String,
    /// Where the manifests live (always [`ManifestsSaid::Parts`] for descriptors).
    pub manifests: ManifestsSaid,
    /// The GitOps commit (Flux revision) this was applied at, in any spelling.
    pub gitops_revision: Option<String>,
    /// Source repository.
    pub source_repo: Option<String>,
    /// Source branch.
    pub source_branch: Option<String>,
    /// Source path.
    pub source_path: Option<String>,
    /// Source commit the version was built from.
    pub source_commit: Option<String>,
    /// Build id.
    pub build: Option<String>,
    /// Build time.
    pub build_time: Option<Micros>,
    /// Image digest.
    pub image_digest: Option<String>,
    /// Author of the change.
    pub author: Option<String>,
    /// Pull request.
    pub pull_request: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Labels of the deployment target.
    pub labels: BTreeMap<String, String>,
}

/// A commit of a branch, seen by one who watches the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SightingSaid {
    /// Who watches, unique within the source: `Kustomization/flux-system/app`.
    pub watcher: String,
    /// Repository in any spelling.
    pub repo: String,
    /// Branch or other ref.
    pub branch: String,
    /// The commit, in any spelling.
    pub commit: String,
}

/// A Reconciler or its flat twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSaid {
    /// Host name.
    pub host: String,
    /// Reconciler name.
    pub reconciler: String,
    /// `flux`, `argocd`, `ansible` …
    pub reconciler_type: String,
    /// The endpoint it subscribes to.
    pub manifests: ManifestsSaid,
    /// The commit attempted, in any spelling.
    pub commit: Option<String>,
    /// The commit that last succeeded, in any spelling.
    pub applied_commit: Option<String>,
    /// Status in the source's or our words.
    pub status: String,
    /// The source's own word, when `status` is already ours.
    pub raw_status: Option<String>,
    /// Message, unscrubbed.
    pub message: String,
    /// Labels of the host (`clusterType`/`cluster_type`, `ring`, `region` and others).
    pub labels: BTreeMap<String, String>,
}

/// A Cluster or a flat host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSaid {
    /// Host name.
    pub name: String,
    /// Id outside the hub (Azure resource id …).
    pub external_id: Option<String>,
    /// Kind of host.
    pub host_type: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Class, for the heartbeat interval.
    pub class: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// What it is expected to run, by name. `None` here and in `selector` says nothing about it.
    pub expects: Option<Vec<(String, String, String)>>,
    /// What it is expected to run, by labels.
    pub selector: Option<SelectorSaid>,
    /// True when the statement is a heartbeat (it names `reported_at`), not only a declaration.
    pub heartbeat: bool,
    /// Declared retired.
    pub retired: bool,
}

/// A judgement from outside: a smoke test, a load test, a change board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationSaid {
    /// What was done.
    pub name: String,
    /// Where it holds, as [`SELECTORS`](super::verification::SELECTORS); absent, empty or `*` stands for all.
    pub selectors: [Option<String>; 5],
    /// What was judged; commits in any spelling.
    pub subject: Subject<String>,
    /// How it went, in the source's or our words.
    pub result: String,
    /// Where to read more.
    pub link: Option<String>,
    /// Message, unscrubbed.
    pub message: String,
    /// Who says so.
    pub reported_by: Option<String>,
}

/// A selector of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectorSaid {
    /// Labels and the values they must have.
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    pub match_expressions: Vec<RequirementSaid>,
}

/// What is required of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequirementSaid {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values to compare with.
    pub values: Vec<String>,
}
