//! A watched folder of custom resources: every `.yaml`, `.yml`, `.json` and `.ndjson` file below it.
//!
//! The folder is looked at when something in it changes, and every [`RESCAN`] besides, for no watch can be relied on. In a git
//! checkout a descriptor that names no revision is recorded at HEAD. Invariant: what cannot be read deletes nothing, and the
//! loop never ends on an error, only when it is cancelled.

mod document;
mod git;
mod look;
mod scan;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use document::{Document, Parsed, parse};
pub use look::Looker;
pub use scan::{Changes, Found, Look, Scan};

use crate::model::{CarrierKey, Observation};

/// How long the folder must be quiet before it is looked at.
const QUIET: Duration = Duration::from_millis(200);
/// How long a folder that is never quiet is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the folder is looked at without any sign of change.
pub const RESCAN: Duration = Duration::from_secs(30);
/// The most observations handed over at once.
const BATCH: usize = 1000;
/// The longest pause before what was not taken is offered again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How far the source has got; sent after every look whose observations were taken.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many looks were taken in; above 0 the source is ready.
    pub looks: u64,
    /// Everything in the folder could be read: carriers of this source that are not among `carriers` are gone.
    pub complete: bool,
    /// The carriers in the folder.
    pub carriers: Arc<HashSet<CarrierKey>>,
}

/// Watches a folder until cancelled and hands what it says to `sink`, again and again until it is taken.
pub async fn run<S>(dir: PathBuf, source: String, sink: S, seen: watch::Sender<Seen>, cancel: CancellationToken)
where
    S: Fn(Vec<Observation>) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync,
{
    let changed = Arc::new(Notify::new());
    let mut watcher = watcher(&dir, &changed);
    let mut watched = HashSet::new();
    let mut scan = Scan::default();
    let mut looker = Looker::new(dir.clone(), source.clone());
    let mut looks = 0;
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let look = looker.look();
            (looker, look)
        });
        let look;
        match looked.await {
            Ok((back, found)) => (looker, look) = (back, found),
            Err(error) => {
                // Only a panic ends the task: begin anew, which observes everything again and loses nothing.
                tracing::error!(%error, directory = %dir.display(), "reading the manifests failed; starting over");
                looker = Looker::new(dir.clone(), source.clone());
                if pause(RESCAN, &cancel).await {
                    return;
                }
                continue;
            }
        }
        for git_dir in looker.git_dirs() {
            if !git_dir.starts_with(&dir) && watched.insert(git_dir.clone()) {
                watch_git(watcher.as_mut(), &git_dir);
            }
        }
        let busy = looker.busy();
        let changes = scan.apply(&source, look);
        if !hand_over(changes.observations, &sink, &cancel).await {
            return;
        }
        looks += 1;
        let carriers = Arc::new(scan.carriers(&source));
        seen.send_replace(Seen { looks, complete: changes.complete && !changes.fading && !busy, carriers });
        // What was missed once, or seen while git was writing, is looked at again as soon as it is quiet.
        let wait = if changes.fading || busy { QUIET } else { RESCAN };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = quiet(&changed) => {}
        }
    }
}

/// Waits for a change and then for the folder to be quiet.
async fn quiet(changed: &Notify) {
    changed.notified().await;
    let settle = async { while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    // A folder that is never quiet is looked at all the same.
    let _ = tokio::time::timeout(PATIENCE, settle).await;
}

async fn pause(time: Duration, cancel: &CancellationToken) -> bool {
    tokio::time::timeout(time, cancel.cancelled()).await.is_ok()
}

/// Offers observations until they are taken; false when cancelled.
async fn hand_over<S>(observations: Vec<Observation>, sink: &S, cancel: &CancellationToken) -> bool
where
    S: Fn(Vec<Observation>) -> BoxFuture<'static, anyhow::Result<()>>,
{
    for batch in observations.chunks(BATCH) {
        let mut wait = Duration::from_millis(250);
        while let Err(error) = sink(batch.to_vec()).await {
            tracing::warn!(
                error = format!("{error:#}"),
                observations = batch.len(),
                retry_seconds = wait.as_secs_f32(),
                "the hub did not take what the manifests say; trying again"
            );
            if pause(wait, cancel).await {
                return false;
            }
            wait = (wait * 2).min(MAX_PAUSE);
        }
    }
    true
}

fn watcher(dir: &Path, changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading a file is no change; our own looks would wake us for ever.
        let read = event.as_ref().is_ok_and(|event| {
            event.kind.is_access()
                && !matches!(
                    event.kind,
                    notify::EventKind::Access(notify::event::AccessKind::Close(notify::event::AccessMode::Write))
                )
        });
        if !read {
            changed.notify_one();
        }
    };
    let watching = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(dir, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(
                %error,
                directory = %dir.display(),
                every_seconds = RESCAN.as_secs(),
                "the manifests cannot be watched; they are read from time to time instead (on Linux raise fs.inotify.max_user_watches)"
            );
            None
        }
    }
}

fn watch_git(watcher: Option<&mut notify::RecommendedWatcher>, git_dir: &Path) {
    if let Some(watcher) = watcher
        && let Err(error) = watcher.watch(git_dir, RecursiveMode::NonRecursive)
    {
        tracing::debug!(%error, git_dir = %git_dir.display(), "HEAD cannot be watched; it is read from time to time");
    }
}

#[cfg(test)]
mod tests;
