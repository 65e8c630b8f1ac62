//! The life of the watch of one kind: found, listed page by page, watched, and begun anew whenever it breaks.
//!
//! Invariant: events of one kind arrive in order, and every break is followed by a new complete list (`Init` … `InitDone`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::{self, ApiResource};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Health, Taker};

/// The most objects of one page of a list.
const PAGE: u32 = 500;
/// The most events handed on at once.
const BATCH: usize = 500;
/// How often it is looked whether a kind that is not served is served now.
const NOT_SERVED: Duration = Duration::from_secs(10);
/// A watch without an error for this long is back: longer than the longest pause between two attempts.
const QUIET: Duration = Duration::from_secs(60);

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DeploymentDescriptor,
    Reconciler,
    Cluster,
    Kustomization,
    GitRepository,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::DeploymentDescriptor => "DeploymentDescriptor",
            Kind::Reconciler => "Reconciler",
            Kind::Cluster => "Cluster",
            Kind::Kustomization => "Kustomization",
            Kind::GitRepository => "GitRepository",
        }
    }

    /// The hub writes statuses of it.
    pub(super) fn has_our_status(self) -> bool {
        !matches!(self, Kind::Kustomization | Kind::GitRepository)
    }

    /// Group and versions, the preferred one first.
    fn served_as(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Kind::Kustomization => ("kustomize.toolkit.fluxcd.io", &["v1", "v1beta2"]),
            Kind::GitRepository => ("source.toolkit.fluxcd.io", &["v1", "v1beta2"]),
            _ => ("hub.kalypso.io", &["v1alpha1"]),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Kind::Kustomization | Kind::GitRepository => {
                "Flux is not installed here; descriptors need spec.deploymentTarget.manifests.commit until it is"
            }
            _ => "install the definitions: koh crds | kubectl apply --server-side -f -",
        }
    }
}

/// What the watch of a kind works with.
pub(super) struct Pump<T> {
    pub(super) taker: Arc<T>,
    pub(super) kind: Kind,
    pub(super) client: Client,
    pub(super) namespace: Option<String>,
    pub(super) events: mpsc::Sender<Vec<Event<DynamicObject>>>,
    pub(super) health: watch::Sender<Health>,
    /// Asks for a new list: the writer of statuses passed some objects over. A list shows nothing of what was between two states,
    /// so a kind whose statuses the hub only reads is never asked for one.
    pub(super) again: Option<watch::Receiver<u64>>,
}

/// Watches until cancelled; begins once `after` is listed or out of reach.
pub(super) async fn run<T: Taker>(
    mut pump: Pump<T>,
    after: Option<watch::Receiver<Health>>,
    cancel: CancellationToken,
) {
    let work = async {
        if let Some(mut after) = after {
            // A watch that is gone was cancelled.
            let _ = after.wait_for(Health::is_settled).await;
        }
        loop {
            match discover(&pump.client, pump.kind).await {
                Ok(Some(resource)) => {
                    if pump.follow(&resource).await.is_err() {
                        return;
                    }
                }
                Ok(None) => pump.tell(Health::NotServed),
                Err(error) => pump.tell(health(&error)),
            }
            // Many hubs that find a server gone do not come back to it at one moment.
            tokio::time::sleep(NOT_SERVED.mul_f64(jitter())).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Nobody listens any more.
struct Closed;

impl<T: Taker> Pump<T> {
    /// Follows a served kind until the server says that it does not serve it any more.
    async fn follow(&mut self, resource: &ApiResource) -> Result<(), Closed> {
        let api: Api<DynamicObject> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        loop {
            let config = watcher::Config::default().page_size(PAGE);
            let mut stream = watcher::watcher(api.clone(), config).default_backoff().ready_chunks(BATCH).boxed();
            let mut broken = None;
            let again = loop {
                let chunk = tokio::select! {
                    chunk = stream.next() => chunk,
                    () = asked(self.again.as_mut()) => None,
                    () = recovered(broken) => {
                        broken = None;
                        self.tell(Health::Watching);
                        continue;
                    }
                };
                let Some(chunk) = chunk else { break true };
                let mut events = Vec::with_capacity(chunk.len());
                let mut gone = false;
                let mut failed = None;
                for item in chunk {
                    match item {
                        Ok(event) => {
                            failed = None;
                            events.push(event);
                        }
                        Err(error) => {
                            let error = cause(error);
                            gone |= matches!(&error, kube::Error::Api(status) if status.code == 404);
                            failed = Some(health(&error));
                        }
                    }
                }
                let watching = !events.is_empty() && !matches!(events.last(), Some(Event::Init | Event::InitApply(_)));
                if !events.is_empty() && self.events.send(events).await.is_err() {
                    return Err(Closed);
                }
                match failed {
                    Some(health) => {
                        // While a list is under way its next page will tell.
                        broken = (*self.health.borrow() != Health::Starting).then(Instant::now);
                        self.tell(health);
                    }
                    None if watching => {
                        broken = None;
                        self.tell(Health::Watching);
                    }
                    None => {}
                }
                if gone {
                    break false;
                }
            };
            if !again {
                return Ok(());
            }
        }
    }

    /// Notes how the watch fares, and says it aloud when it changed.
    fn tell(&self, health: Health) {
        let kind = self.kind.as_str();
        let changed = self.health.send_if_modified(|current| {
            // Errors are worded differently each time; the watch is interrupted all the same.
            let changed = std::mem::discriminant(current) != std::mem::discriminant(&health);
            *current = health.clone();
            changed
        });
        if !changed {
            return;
        }
        self.taker.watch(kind, &health);
        match health {
            Health::Starting => {}
            Health::Watching => tracing::info!(kind, "watching"),
            Health::NotServed => {
                tracing::warn!(
                    kind,
                    "the API server does not serve {kind}: {}; looking again from time to time",
                    self.kind.advice()
                );
            }
            Health::Forbidden(reason) => tracing::warn!(
                kind,
                reason,
                "the hub may not see {kind}: give its ServiceAccount the role in schema/rbac.yaml; the other kinds go on"
            ),
            Health::Failing(reason) => tracing::warn!(kind, reason, "the watch of {kind} is interrupted; trying again"),
        }
    }
}

/// Ends when a new list is asked for.
async fn asked(again: Option<&mut watch::Receiver<u64>>) {
    let Some(again) = again else { return std::future::pending().await };
    if again.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Ends when an interrupted watch must have come back: it tells errors, but not that it goes on.
async fn recovered(broken: Option<Instant>) {
    match broken {
        Some(since) => tokio::time::sleep_until((since + QUIET).into()).await,
        None => std::future::pending().await,
    }
}

/// The kind as the server serves it; `None` when it does not.
async fn discover(client: &Client, kind: Kind) -> Result<Option<ApiResource>, kube::Error> {
    let (group, versions) = kind.served_as();
    for version in versions {
        let gvk = GroupVersionKind::gvk(group, version, kind.as_str());
        match discovery::pinned_kind(client, &gvk).await {
            Ok((resource, _)) => return Ok(Some(resource)),
            Err(kube::Error::Discovery(_)) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn cause(error: watcher::Error) -> kube::Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => kube::Error::Api(Box::default()),
    }
}

fn health(error: &kube::Error) -> Health {
    match error {
        kube::Error::Api(status) if status.code == 403 => Health::Forbidden(status.message.clone()),
        kube::Error::Api(status) if status.code == 404 => Health::NotServed,
        error => Health::Failing(error.to_string()),
    }
}

/// Between 0.75 and 1.25.
fn jitter() -> f64 {
    0.75 + f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX) / 2.0
}
