//! The export of generations to plain files, beside the requests.
//!
//! Invariant: an export that fails costs nothing but itself; it is said in the log and tried again. Exports are copies: the ledger
//! never depends on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

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

/// Where the export lies in a data directory.
pub(super) fn export_directory(data: &Path) -> PathBuf {
    data.join("export")
}

/// Exports generations until the hub stops.
pub(super) async fn export_regularly(hub: Arc<Hub>, directory: PathBuf) {
    let mut due = Instant::now();
    let mut exported = None;
    // One that cannot be read is said by the export that follows.
    if let Ok(Some(earlier)) = Manifest::load(&directory) {
        hub.kept().exported(earlier.into_current());
    }
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = sleep_until(due) => {}
        }
        let began = Instant::now();
        if exported == Some(hub.seq()) {
            expire(&hub, &directory).await;
        } else {
            exported = export_once(&hub, &directory).await;
        }
        let rest = (began.elapsed() * REST).clamp(EXPORT_EVERY, EXPORT_AT_LEAST_EVERY);
        due = began + rest;
    }
}

/// Exports everything acknowledged so far; gives the sequence that the files show.
pub(super) async fn export_once(hub: &Arc<Hub>, directory: &Path) -> Option<u64> {
    let published = hub.generation(Freshness::Now).await.ok()?;
    let seq = published.generation.seq;
    let directory = directory.to_owned();
    let began = Instant::now();
    let span = tracing::debug_span!(target: crate::TRACES, "export", koh.seq = seq);
    let written = done(hub, move || span.in_scope(|| write(&published, &directory))).await;
    let exports = hub.kept().exports();
    exports.durations.observe(began.elapsed().as_secs_f64());
    if !written {
        exports.failures.inc();
    }
    written.then_some(seq)
}

/// Removes files whose time is over although nothing new is exported.
async fn expire(hub: &Hub, directory: &Path) {
    let directory = directory.to_owned();
    done(hub, move || snapshot::export::expire(&directory, Micros::now())).await;
}

/// Does something with the export on a thread that may wait for the disk; true when it went well.
async fn done(hub: &Hub, work: impl FnOnce() -> Result<Option<Exported>, ExportError> + Send + 'static) -> bool {
    let well = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(export)) => {
            export.into_iter().for_each(|export| hub.kept().exported(export));
            true
        }
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
    well
}

fn write(published: &Published, directory: &Path) -> Result<Option<Exported>, ExportError> {
    let report = snapshot::export(&published.generation, directory)?;
    tracing::debug!(
        generation = published.generation.id,
        rows = report.rows,
        days_written = report.days_written,
        "exported"
    );
    Ok(Manifest::load(directory)?.map(Manifest::into_current))
}
