//! The watched folder of manifests, wired to the ledger.
//!
//! Invariant: what the folder said in an earlier life of the hub and does not say now is told gone, but only after a look that
//! could read everything: a broken file deletes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::heard::SourceKind;
use super::hub::Hub;
use super::watched::{self, retire_absent};
use crate::model::Observation;
use crate::normalize::Rejection;
use crate::sources::directory::{self, Seen};

/// The name of the source.
pub(super) const SOURCE: &str = "directory";

/// Starts watching; the hub is ready after the first look.
pub(super) fn watch(hub: &Arc<Hub>, folder: PathBuf, tasks: &TaskTracker) {
    hub.await_source(SOURCE);
    let (tell, seen) = watch::channel(Seen::default());
    let sink = {
        let hub = Arc::clone(hub);
        move |observations: Vec<Observation>| -> futures::future::BoxFuture<'static, anyhow::Result<()>> {
            let hub = Arc::clone(&hub);
            Box::pin(async move { take(&hub, observations).await })
        }
    };
    tasks.spawn(directory::run(folder, SOURCE.to_owned(), sink, tell, hub.stopping().clone()));
    tasks.spawn(follow(Arc::clone(hub), seen));
}

/// Stores what a look said; what cannot be normalised is logged and left out.
async fn take(hub: &Hub, observations: Vec<Observation>) -> anyhow::Result<()> {
    let said = observations.into_iter().map(Ok).collect();
    for rejection in watched::take(hub, SOURCE, SourceKind::Directory, said).await?.into_iter().flatten() {
        let Rejection { title, detail } = rejection;
        tracing::warn!(title, detail, "a manifest says what the hub cannot take");
    }
    Ok(())
}

/// Makes the hub ready after the first look, and lets go of what earlier lives of the hub saw and this one does not.
async fn follow(hub: Arc<Hub>, mut seen: watch::Receiver<Seen>) {
    let mut settled = false;
    loop {
        let stopping = hub.stopping().clone();
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = seen.changed() => if changed.is_err() { return },
        }
        let now = seen.borrow_and_update().clone();
        if !settled && now.complete {
            match retire_absent(&hub, SOURCE, None, &now.carriers).await {
                Ok(_) => settled = true,
                Err(error) => {
                    tracing::warn!(%error, "could not let go of manifests that vanished while the hub was down")
                }
            }
        }
        if now.looks > 0 {
            hub.heard_source(SOURCE);
        }
    }
}
