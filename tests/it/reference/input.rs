//! What a hub accepted, as plain values in normal form (§3.1); spelling is the business of `wire`.

use std::collections::BTreeMap;

/// An instant in microseconds since 1970.
pub type At = i64;

/// Five minutes, beyond which a claimed time is not believed (§3.7).
pub const FUTURE: At = 5 * 60 * 1_000_000;

/// The natural key of a deployment target (§2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub workspace: String,
    pub application: String,
    pub workload: String,
    pub environment: String,
    pub name: String,
}

/// Where manifests live. The canonical string is the join key (§3.1, §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub repo: String,
    pub branch: String,
    pub path: String,
}

impl Endpoint {
    /// `<repo>/<branch>/<path>`.
    pub fn canonical(&self) -> String {
        if self.path.is_empty() {
            format!("{}/{}", self.repo, self.branch)
        } else {
            format!("{}/{}/{}", self.repo, self.branch, self.path)
        }
    }
}

/// The four statuses in the order that breaks ties (§3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Unknown,
    InProgress,
    Success,
    Failure,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::Unknown, Status::InProgress, Status::Success, Status::Failure];

    pub fn word(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::InProgress => "in_progress",
            Status::Success => "success",
            Status::Failure => "failure",
        }
    }
}

/// What a statement can be about, by natural key (§2, §3.14).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    Target(Target),
    Reconciler { host: String, name: String },
    Host(String),
}

impl Object {
    /// The kind of custom resource that carries such statements.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Target(_) => "DeploymentDescriptor",
            Object::Reconciler { .. } => "Reconciler",
            Object::Host(_) => "Cluster",
        }
    }
}

/// Who carried a statement (§3.14).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A custom resource: its deletion can be seen.
    Resource { namespace: String, name: String },
    /// A push without a resource: its own carrier under the natural key.
    Pushed,
}

/// A version is wanted on a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Declaration {
    pub target: Target,
    /// Labels of the target.
    pub labels: BTreeMap<String, String>,
    pub version: String,
    pub endpoint: Endpoint,
    pub commit: Option<String>,
    pub source_commit: Option<String>,
}

/// A reconciler met a commit, or says how it fares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    pub host: String,
    pub reconciler: String,
    /// Canonical endpoint.
    pub endpoint: String,
    pub commit: Option<String>,
    pub applied: Option<String>,
    pub status: Status,
    pub message: String,
}

/// A host is declared, heard, or declared retired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostWord {
    pub name: String,
    /// (workload, environment, target name); `None` says nothing about it.
    pub expects: Option<Vec<(String, String, String)>>,
    /// All must hold of a target's labels; `None` selects nothing.
    pub selector: Option<Vec<Requirement>>,
    pub retired: bool,
}

impl HostWord {
    /// Whether it says anything about what the host is expected to run.
    pub fn expects_something_or_nothing(&self) -> bool {
        self.expects.is_some() || self.selector.is_some()
    }

    /// Whether the host is expected on a target, by its names or by its labels.
    pub fn expects(&self, target: &Target, labels: &BTreeMap<String, String>) -> bool {
        let names = (target.workload.clone(), target.environment.clone(), target.name.clone());
        let selects = |all: &Vec<Requirement>| all.iter().all(|r| r.holds(target, labels));
        self.expects.iter().flatten().any(|e| *e == names) || self.selector.as_ref().is_some_and(selects)
    }
}

/// What a selector asks of one label; a matchLabel asks for one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

impl Requirement {
    fn holds(&self, target: &Target, labels: &BTreeMap<String, String>) -> bool {
        let value = match self.key.as_str() {
            "hub.kalypso.io/workspace" => Some(&target.workspace),
            "hub.kalypso.io/application" => Some(&target.application),
            "hub.kalypso.io/workload" => Some(&target.workload),
            "hub.kalypso.io/environment" => Some(&target.environment),
            "hub.kalypso.io/deployment-target" => Some(&target.name),
            key => labels.get(key),
        };
        let among = value.is_some_and(|v| self.values.contains(v));
        match self.operator.as_str() {
            "In" => among,
            "NotIn" => !among,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            other => panic!("no operator: {other}"),
        }
    }
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    Declares(Declaration),
    Reports(Report),
    Host(HostWord),
    /// The carrier is gone. Of a resource only the kind of the object matters, of a push the object itself.
    Gone(Object),
}

impl Said {
    /// What the statement is about.
    pub fn object(&self) -> Object {
        match self {
            Said::Declares(d) => Object::Target(d.target.clone()),
            Said::Reports(r) => Object::Reconciler { host: r.host.clone(), name: r.reconciler.clone() },
            Said::Host(h) => Object::Host(h.name.clone()),
            Said::Gone(object) => object.clone(),
        }
    }
}

/// One accepted statement, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub received_at: At,
    pub source: String,
    pub carrier: Carrier,
    /// The event time the source named.
    pub said_at: Option<At>,
    /// `uid/resourceVersion` or idempotency key, when there is one.
    pub identity: Option<String>,
    pub said: Said,
    /// Which of the equivalent spellings the wire uses; the model never reads it.
    pub spelling: u8,
}

impl Observed {
    /// The carrier's key: (source, kind, namespace, name) or (source, natural key).
    pub fn carrier_key(&self) -> String {
        let object = self.said.object();
        match &self.carrier {
            Carrier::Resource { namespace, name } => format!("{}|{}|{namespace}/{name}", self.source, object.kind()),
            Carrier::Pushed => format!("{}|{object:?}", self.source),
        }
    }
}
