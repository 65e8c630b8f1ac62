//! The watched folder of manifests, wired to the ledger.
//!
//! Invariant: what the folder said in an earlier life of the hub and does not say now is told gone, but only after a look that
//! could read everything: a broken file deletes nothing.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::heard::SourceKind;
use super::hub::Hub;
use crate::ledger::AppendError;
use crate::model::{Body, CarrierKey, Clock, Fact, Micros, Observation};
use crate::normalize;
use crate::sources::directory::{self, Seen};
use crate::state::ObjectKind;

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
    let now = Micros::now();
    let facts: Vec<Fact> = observations
        .into_iter()
        .filter_map(|observation| match normalize::fact(observation, hub.receipt(now)) {
            Ok(fact) => Some(fact),
            Err(rejection) => {
                let why = format!("{}: {}", rejection.title, rejection.detail);
                hub.sources().refused(SOURCE, SourceKind::Directory, 1, &why, now);
                tracing::warn!(
                    title = rejection.title,
                    detail = rejection.detail,
                    "a manifest says what the hub cannot take"
                );
                None
            }
        })
        .collect();
    let receipt = hub.append(facts).await?;
    hub.sources().taken(SOURCE, SourceKind::Directory, &receipt, now);
    Ok(())
}

/// Tells gone what a source carried and does not carry any more; answers how many those were.
pub(super) async fn retire_absent(
    hub: &Hub,
    source: &str,
    kind: Option<ObjectKind>,
    present: &HashSet<CarrierKey>,
) -> Result<usize, AppendError> {
    let living = hub.read(|s| s.living_carriers(source, kind));
    let gone: Vec<Fact> =
        living.into_iter().filter(|c| !present.contains(c)).map(|carrier| farewell(source, carrier)).collect();
    let count = gone.len();
    hub.append(gone).await?;
    Ok(count)
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

/// A carrier is gone, as of now: nobody was there to see when it went.
fn farewell(source: &str, carrier: CarrierKey) -> Fact {
    let now = Micros::now();
    let mut name = [0u8; 24];
    name[..16].copy_from_slice(&carrier.0.to_le_bytes());
    name[16..].copy_from_slice(&now.0.to_le_bytes());
    Fact {
        source: source.to_owned(),
        carrier,
        at: now,
        clock: Clock::Received,
        identity: twox_hash::XxHash3_128::oneshot(&name) as u64,
        received_at: now,
        body: Body::Gone,
    }
}
