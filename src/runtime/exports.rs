//! The export of generations to plain files, beside the requests.
//!
//! Invariant: an export that fails costs nothing but itself; it is said in the log and tried again. Exports are copies: the ledger
//! never depends on them, and none keeps a hub from stopping.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::hub::{Freshness, Hub, Published};
use crate::model::Micros;
use crate::snapshot;
use crate::snapshot::export::ExportError;
use crate::snapshot::export::manifest::{Exported, Manifest};

/// How often a generation is exported while anything changes, at most.
const EXPORT_EVERY: Duration = Duration::from_secs(60);
/// The pause after an export is at least so many times as long as the export took: a large store under import is not written
/// again and again.
const REST: u32 = 20;
/// The longest pause.
const EXPORT_AT_LEAST_EVERY: Duration = Duration::from_secs(300);
/// The last export, of a hub that stops, gets this long: whoever waits for the hub to come back waits for it too.
const LAST_EXPORT_WITHIN: Duration = Duration::from_secs(30);

/// Where the export lies in a data directory.
pub(super) fn export_directory(data: &Path) -> PathBuf {
    data.join("export")
}

/// Exports generations until the hub stops.
pub(super) async fn export_regularly(hub: Arc<Hub>, directory: PathBuf) {
    let mut due = Instant::now();
    let mut exported = None;
    // One that cannot be read is said by the export that follows, and so is what is wrong with the disk.
    if let Ok(Some(earlier)) = Manifest::load(&directory) {
        hub.kept().exported(earlier.into_current());
        let (directory, stop) = (directory.clone(), hub.stopping().clone());
        let _ = tokio::task::spawn_blocking(move || snapshot::export::mend(&directory, &stop)).await;
    }
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = sleep_until(due) => {}
        }
        let began = Instant::now();
        if exported == Some((hub.seq(), archived_through(&hub))) {
            let expired = expire(&hub, &directory).await;
            // Where not even that goes well, all is written anew.
            exported = exported.filter(|_| expired);
        } else {
            let through = archived_through(&hub);
            exported = export_once(&hub, &directory, hub.stopping()).await.map(|seq| (seq, through));
        }
        let rest = (began.elapsed() * REST).clamp(EXPORT_EVERY, EXPORT_AT_LEAST_EVERY);
        due = began + rest;
    }
}

/// Up to when history is archived: an archive that is brought back is part of the next export.
fn archived_through(hub: &Hub) -> Option<Micros> {
    hub.kept().archive().map(|archive| archive.through())
}

/// Exports what a hub has that stops; files of which there is not enough time to write are written after the next start.
pub(super) async fn export_finally(hub: &Arc<Hub>, directory: &Path) {
    let late = CancellationToken::new();
    let mut export = pin!(export_once(hub, directory, &late));
    if tokio::time::timeout(LAST_EXPORT_WITHIN, &mut export).await.is_err() {
        tracing::warn!(
            seconds = LAST_EXPORT_WITHIN.as_secs(),
            "the last export takes too long: the files stay as they are until the next start"
        );
        late.cancel();
        export.await;
    }
}

/// Exports everything acknowledged so far, or nothing where somebody says stop; gives the sequence that the files show.
async fn export_once(hub: &Arc<Hub>, directory: &Path, stop: &CancellationToken) -> Option<u64> {
    let published = hub.generation(Freshness::Now).await.ok()?;
    let seq = published.generation.seq;
    let (directory, stop) = (directory.to_owned(), stop.clone());
    let began = Instant::now();
    let span = tracing::debug_span!(target: crate::TRACES, "export", koh.seq = seq);
    let written = done(hub, move || span.in_scope(|| write(&published, &directory, &stop))).await?;
    let exports = hub.kept().exports();
    exports.durations.observe(began.elapsed().as_secs_f64());
    if !written {
        exports.failures.inc();
    }
    written.then_some(seq)
}

/// Removes files whose time is over although nothing new is exported.
async fn expire(hub: &Hub, directory: &Path) -> bool {
    let directory = directory.to_owned();
    done(hub, move || snapshot::export::expire(&directory, Micros::now())).await == Some(true)
}

/// Does something with the export on a thread that may wait for the disk; true when it went well, nothing when it was interrupted.
async fn done(
    hub: &Hub,
    work: impl FnOnce() -> Result<Option<Exported>, ExportError> + Send + 'static,
) -> Option<bool> {
    let well = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(export)) => {
            export.into_iter().for_each(|export| hub.kept().exported(export));
            true
        }
        Ok(Err(ExportError::Interrupted)) => return None,
        Ok(Err(error)) => {
            tracing::error!(%error, "could not export a generation; the ledger is not affected");
            false
        }
        Err(error) => {
            tracing::error!(%error, "the export of a generation ended in a panic; the ledger is not affected");
            false
        }
    };
    hub.kept().ended(well);
    Some(well)
}

fn write(published: &Published, directory: &Path, stop: &CancellationToken) -> Result<Option<Exported>, ExportError> {
    let report = snapshot::export(&published.generation, directory, stop)?;
    tracing::debug!(
        generation = published.generation.id,
        rows = report.rows,
        days_written = report.days_written,
        "exported"
    );
    Ok(Manifest::load(directory)?.map(Manifest::into_current))
}
