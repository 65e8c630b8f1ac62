//! The API server as a source, wired to the ledger.
//!
//! Invariant: what the API server showed in an earlier life of the hub and does not show now is told gone, per kind, and only
//! after a complete list of that kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::Client;
use kube::config::{KubeConfigOptions, KubeconfigError};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::heard::SourceKind;
use super::hub::Hub;
use super::watched::{self, retire_absent};
use crate::access::reviews::Reviews;
use crate::model::{CarrierKey, Micros, Observation, ResourceKind};
use crate::normalize::Rejection;
use crate::sources::kubernetes::{self, Health, Taker, lease};
use crate::state::ObjectKind;

/// Without renewal another hub takes the lease after this long.
const LEASE: Duration = Duration::from_secs(15);

/// Which API server, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name under which its statements are filed.
    pub source: String,
    /// A context of the kubeconfig; the current one, or the pod's own ServiceAccount, when absent.
    pub context: Option<String>,
    /// Watch this namespace only.
    pub namespace: Option<String>,
    /// Namespace of the lease; the pod's own, or that of the context, when absent.
    pub lease_namespace: Option<String>,
    /// Name of the lease.
    pub lease_name: String,
    /// The name of this hub among those that compete for the lease.
    pub identity: String,
}

/// Why no API server can be asked. The causes are none of their own sources: their texts say all of their chains already.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a pod's ServiceAccount nor a kubeconfig.
    #[error("no API server is configured: run in a pod with a ServiceAccount, or set KUBECONFIG to a kubeconfig ({0})")]
    Infer(kube::config::InferConfigError),
    /// The kubeconfig is not usable.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(KubeconfigError),
    /// The client cannot be made of it.
    #[error("the API server cannot be used: {0}")]
    Client(kube::Error),
}

/// Which accounts of an API server are taken as clients.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// A context of the kubeconfig; the current one, or the pod's own ServiceAccount, when absent.
    pub context: Option<String>,
    /// What their tokens must be made for.
    pub audience: String,
    /// Where roles are bound to them; the pod's own namespace, or that of the context, when absent.
    pub namespace: Option<String>,
}

/// A client of the API server, and the namespace that is its own.
async fn connect(context: Option<String>) -> Result<(Client, String), ConnectError> {
    let config = match context {
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
            kube::Config::from_kubeconfig(&options).await.map_err(ConnectError::Kubeconfig)?
        }
        None => kube::Config::infer().await.map_err(ConnectError::Infer)?,
    };
    let home = config.default_namespace.clone();
    Ok((Client::try_from(config).map_err(ConnectError::Client)?, home))
}

/// Takes the tokens of accounts from now on.
pub(super) async fn review(hub: &Hub, accounts: Accounts) -> Result<(), ConnectError> {
    let Accounts { context, audience, namespace } = accounts;
    let (client, home) = connect(context).await?;
    hub.set_reviews(Reviews::new(client, audience, namespace.unwrap_or(home)));
    Ok(())
}

/// Starts watching; the hub is ready when every kind is listed or known to be out of reach.
pub(super) async fn watch(hub: &Arc<Hub>, options: Options, tasks: &TaskTracker) -> Result<(), ConnectError> {
    let Options { source, context, namespace, lease_namespace, lease_name, identity } = options;
    let (client, home) = connect(context).await?;
    let home = lease_namespace.unwrap_or(home);
    hub.await_source(&source);
    let options = kubernetes::Options {
        source: source.clone(),
        namespace,
        lease: lease::Options { namespace: home, name: lease_name, identity, duration: LEASE },
    };
    let taker = Arc::new(Sink { hub: Arc::clone(hub), source: source.clone(), broken: Mutex::default() });
    let listed = kubernetes::start(client, options, taker, tasks, hub.stopping().clone());
    let hub = Arc::clone(hub);
    tasks.spawn(async move {
        listed.await;
        hub.heard_source(&source);
    });
    Ok(())
}

/// Takes what the API server says into the ledger.
struct Sink {
    hub: Arc<Hub>,
    source: String,
    /// The kinds whose watch is broken, and since when.
    broken: Mutex<BTreeMap<&'static str, Micros>>,
}

impl Taker for Sink {
    fn watch(&self, kind: &'static str, health: &Health) {
        let now = Micros::now();
        let trouble = match health {
            Health::Starting | Health::Watching => None,
            Health::NotServed => Some(format!("{kind} is not served by the API server")),
            Health::Forbidden(reason) => Some(format!("{kind} may not be seen: {reason}")),
            Health::Failing(reason) => Some(format!("the watch of {kind} is interrupted: {reason}")),
        };
        self.hub.sources().watching(&self.source, kind, health.as_str(), now);
        if let Some(trouble) = &trouble {
            self.hub.sources().refused(&self.source, SourceKind::Kubernetes, 0, trouble, now);
        }
        // What reports and declares hosts is heard through these two.
        if kind != ResourceKind::Reconciler.as_str() && kind != ResourceKind::Cluster.as_str() {
            return;
        }
        let mut broken = self.broken.lock();
        if trouble.is_some() {
            broken.entry(kind).or_insert(now);
        } else {
            broken.remove(kind);
        }
        self.hub.watching(&self.source, broken.values().min().copied());
    }

    fn take(&self, said: Vec<Result<Observation, Rejection>>) -> BoxFuture<'_, anyhow::Result<Vec<Option<Rejection>>>> {
        Box::pin(async move { Ok(watched::take(&self.hub, &self.source, SourceKind::Kubernetes, said).await?) })
    }

    fn listed(&self, kind: ResourceKind, shown: HashSet<CarrierKey>) -> BoxFuture<'_, anyhow::Result<usize>> {
        Box::pin(async move {
            let kind = match kind {
                ResourceKind::DeploymentDescriptor => ObjectKind::Target,
                ResourceKind::Reconciler => ObjectKind::Reconciler,
                ResourceKind::Cluster => ObjectKind::Host,
            };
            Ok(retire_absent(&self.hub, &self.source, Some(kind), &shown).await?)
        })
    }
}
