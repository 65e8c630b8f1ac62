//! What runs beside requests: the watched folder and the export of generations.
//!
//! Invariant: a background task never ends on an error; it says so once, waits, and tries again. Each ends when the hub stops.

use std::sync::Arc;
use std::time::Duration;

use super::hub::{Freshness, Hub};

/// How often a generation is exported while anything changes.
const EXPORT_EVERY: Duration = Duration::from_secs(60);

/// Exports generations until the hub stops, and once more then.
pub(super) async fn export(hub: Arc<Hub>, exporter: super::start::Exporter) {
    let mut every = tokio::time::interval(EXPORT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    every.tick().await;
    let exporter = Arc::new(exporter);
    let mut exported: Option<u64> = None;
    loop {
        let last = tokio::select! {
            () = hub.stopping().cancelled() => true,
            _ = every.tick() => false,
        };
        if let Ok(published) = hub.generation(Freshness::Recent).await
            && exported != Some(published.generation.seq)
        {
            let seq = published.generation.seq;
            let exporter = Arc::clone(&exporter);
            let outcome = tokio::task::spawn_blocking(move || exporter.export(&published.generation)).await;
            match outcome {
                Ok(Ok(())) => exported = Some(seq),
                Ok(Err(error)) => {
                    tracing::error!(%error, seq, "could not export a generation; the ledger is not affected")
                }
                Err(error) => tracing::error!(%error, seq, "the export of a generation panicked"),
            }
        }
        if last {
            return;
        }
    }
}
