//! The export of generations to plain files, beside the requests.
//!
//! Invariant: an export that fails costs nothing but itself; it is said in the log and tried again. Exports are copies: the ledger
//! never depends on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::hub::{Freshness, Hub, Published};
use crate::snapshot;

/// How often a generation is exported while anything changes.
const EXPORT_EVERY: Duration = Duration::from_secs(60);

/// Where the export lies in a data directory.
pub(super) fn export_directory(data: &Path) -> PathBuf {
    data.join("export")
}

/// Exports generations until the hub stops.
pub(super) async fn export_regularly(hub: Arc<Hub>, directory: PathBuf) {
    let mut every = tokio::time::interval(EXPORT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut exported = None;
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            _ = every.tick() => {}
        }
        if exported != Some(hub.seq()) {
            exported = export_once(&hub, &directory).await;
        }
    }
}

/// Exports everything acknowledged so far; gives the sequence that the files show.
pub(super) async fn export_once(hub: &Arc<Hub>, directory: &Path) -> Option<u64> {
    let published = hub.generation(Freshness::Now).await.ok()?;
    let seq = published.generation.seq;
    let directory = directory.to_owned();
    match tokio::task::spawn_blocking(move || write(&published, &directory)).await {
        Ok(Ok(())) => Some(seq),
        Ok(Err(error)) => {
            tracing::error!(%error, seq, "could not export a generation; the ledger is not affected");
            None
        }
        Err(error) => {
            tracing::error!(%error, seq, "the export of a generation ended in a panic; the ledger is not affected");
            None
        }
    }
}

fn write(published: &Published, directory: &Path) -> Result<(), snapshot::export::ExportError> {
    let report = snapshot::export(&published.generation, directory)?;
    tracing::debug!(
        generation = published.generation.id,
        rows = report.rows,
        days_written = report.days_written,
        "exported"
    );
    Ok(())
}
