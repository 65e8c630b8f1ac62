//! The Kubernetes API server as a source: descriptors that Flux delivers, reports that agents write, declared clusters.
//!
//! ```text
//!  Kustomization, GitRepository ──┐
//!  DeploymentDescriptor ──────────┴─► attribution ─► observations at their commit ─► hub
//!  Reconciler, Cluster ─────────────────────────────► observations ───────────────► hub
//!                                                       └─► status, events (the leader alone)
//! ```
//!
//! Invariant: a stream never ends on an error, only when it is cancelled; what one kind may not see holds up no other; and what
//! is gone from the API server is told gone only after a complete list.

mod attribution;
pub mod crds;
mod declared;
mod desired;
mod flux;
pub mod lease;
mod object;
mod status;
mod watch;

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{CarrierKey, Observation, ResourceKind};
use crate::normalize::Rejection;

/// What the source is told to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name under which its statements are filed.
    pub source: String,
    /// Watch this namespace only.
    pub namespace: Option<String>,
    /// The lease of the leader, who alone writes statuses and events.
    pub lease: lease::Options,
}

/// Who takes what the source says.
pub trait Taker: Send + Sync + 'static {
    /// Stores what was said, and counts what could not be read; answers for each what was wrong with it. An error means that
    /// nothing is certain: say it again.
    fn take(&self, said: Vec<Result<Observation, Rejection>>) -> BoxFuture<'_, anyhow::Result<Vec<Option<Rejection>>>>;

    /// The watch of a kind fares otherwise than before.
    fn watch(&self, kind: &'static str, health: &Health);

    /// The list of a kind is complete: what it does not show is gone. Answers how many were.
    fn listed(&self, kind: ResourceKind, shown: HashSet<CarrierKey>) -> BoxFuture<'_, anyhow::Result<usize>>;
}

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace; empty for none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    pub(crate) fn new(namespace: &str, name: &str) -> ObjectName {
        ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of(metadata: &ObjectMeta) -> ObjectName {
        ObjectName::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How the watch of one kind fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The first list is under way.
    #[default]
    Starting,
    /// Listed and watching.
    Watching,
    /// The API server does not serve the kind.
    NotServed,
    /// The hub may not see the kind.
    Forbidden(String),
    /// The API server answers with errors, or not at all.
    Failing(String),
}

impl Health {
    /// All words for it.
    pub const WORDS: [&str; 5] = ["starting", "watching", "not_served", "forbidden", "failing"];

    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Watching => "watching",
            Health::NotServed => "not_served",
            Health::Forbidden(_) => "forbidden",
            Health::Failing(_) => "failing",
        }
    }

    /// Listed, or known to be out of reach for now: nothing more is to be waited for.
    fn is_settled(&self) -> bool {
        matches!(self, Health::Watching | Health::NotServed | Health::Forbidden(_))
    }
}

/// Starts the source; the future ends when every kind is listed or known to be out of reach.
pub fn start<T: Taker>(
    client: Client,
    options: Options,
    taker: Arc<T>,
    tasks: &TaskTracker,
    cancel: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let leader = tokio::sync::watch::channel(false);
    tasks.spawn(lease::hold(client.clone(), options.lease.clone(), leader.0, cancel.clone()));
    let (statuses, writer) = status::queue(client.clone());
    let again = writer.again();
    tasks.spawn(writer.run(leader.1, cancel.clone()));

    let pump = |kind: watch::Kind, after: Option<tokio::sync::watch::Receiver<Health>>| {
        let (tell, health) = tokio::sync::watch::channel(Health::Starting);
        let (events, received) = tokio::sync::mpsc::channel(2);
        let pump = watch::Pump {
            kind,
            client: client.clone(),
            namespace: options.namespace.clone(),
            events,
            health: tell,
            again: kind.has_our_status().then(|| again.clone()),
            taker: Arc::clone(&taker),
        };
        tasks.spawn(watch::run(pump, after, cancel.clone()));
        (received, health)
    };
    let (kustomizations, owners_listed) = pump(watch::Kind::Kustomization, None);
    let (repositories, repositories_listed) = pump(watch::Kind::GitRepository, None);
    // Kustomizations first: what a list of descriptors shows is then at least as new as what they were settled on.
    let (descriptors, descriptors_listed) = pump(watch::Kind::DeploymentDescriptor, Some(owners_listed.clone()));
    let (reconcilers, reconcilers_listed) = pump(watch::Kind::Reconciler, None);
    let (clusters, clusters_listed) = pump(watch::Kind::Cluster, None);
    let settled = [owners_listed, repositories_listed, descriptors_listed, reconcilers_listed, clusters_listed];

    let desired = desired::Desired::new(client, &options, Arc::clone(&taker), statuses.clone());
    tasks.spawn(desired.run(kustomizations, repositories, descriptors, cancel.clone()));
    for (kind, events) in [(ResourceKind::Reconciler, reconcilers), (ResourceKind::Cluster, clusters)] {
        let declared = declared::Declared {
            kind,
            source: options.source.clone(),
            taker: Arc::clone(&taker),
            statuses: statuses.clone(),
        };
        tasks.spawn(declared.run(events, cancel.clone()));
    }
    async move {
        for mut health in settled {
            // A pump that is gone was cancelled.
            let _ = health.wait_for(Health::is_settled).await;
        }
    }
}

/// The sequence number of an object's state. It is opaque by contract, but one etcd counts all custom resources of a cluster.
fn resource_version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}
