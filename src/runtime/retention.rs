//! Retention: what reconcilers said before the window leaves the ledger - for the archive, or for good - hour by hour.
//!
//! Invariant: with an archive nothing leaves the ledger before it is in a file that was read back; a round that fails leaves all as it
//! was, is said in the log, and is tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::hub::{Freshness, Hub};
use crate::model::Micros;
use crate::snapshot::Archive;
use crate::snapshot::archive::{Lost, midnight_before};
use crate::snapshot::export::ExportError;
use crate::state::tables::Window;

/// How often it is looked what is older than the window, and what came late.
const EVERY: Duration = Duration::from_secs(3_600);
const DAY: i64 = 86_400_000_000;
/// So far a window moves in one round, at most, once it is set: a clock that is ahead for an hour takes no more than this.
const STEP: i64 = 7 * DAY;
/// After a failure the next attempt comes after this.
const AGAIN: Duration = Duration::from_secs(600);

/// How long history is kept, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// In the ledger; what is older is in the archive. For ever where it is not said.
    pub hot_window: Option<Duration>,
    /// At all. For ever where it is not said.
    pub keep_history: Option<Duration>,
}

/// Rounds since the start.
#[derive(Debug)]
pub struct Rounds {
    /// How long each took, in seconds.
    pub durations: Histogram,
    /// Those that failed.
    pub failures: Counter,
    archive_lost: AtomicBool,
}

impl Rounds {
    /// Whether the archive was not what it should be when it was looked for last.
    pub fn archive_is_lost(&self) -> bool {
        self.archive_lost.load(Ordering::Relaxed)
    }
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds {
            durations: Histogram::new([0.1, 1.0, 10.0, 60.0, 600.0]),
            failures: Counter::default(),
            archive_lost: AtomicBool::default(),
        }
    }
}

/// Where the archive lies in a data directory.
pub(super) fn archive_directory(data: &Path) -> PathBuf {
    data.join(crate::snapshot::ARCHIVE)
}

/// Trims history until the hub stops.
pub(super) async fn retain_regularly(hub: Arc<Hub>, retention: Retention, directory: PathBuf) {
    loop {
        let began = Instant::now();
        let rest = match round(&hub, retention, &directory, Micros::now()).await {
            Ok(()) => EVERY,
            Err(_) if hub.stopping().is_cancelled() => return,
            Err(error) => {
                hub.rounds().failures.inc();
                tracing::error!(error, "could not trim history; all is as it was, and it is tried again");
                AGAIN
            }
        };
        hub.rounds().durations.observe(began.elapsed().as_secs_f64());
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn round(hub: &Arc<Hub>, retention: Retention, directory: &Path, now: Micros) -> Result<(), String> {
    if hub.kept().archive().is_none() {
        // It may have been brought back.
        hub.open_archive(directory).map_err(|error| error.to_string())?;
    }
    hub.find_archive(directory).map_err(|lost| lost.to_string())?;
    let now = now.min(newest(hub).plus(DAY));
    let window = hub.read(|state| state.view().window.get(0).copied());
    let ago = |span: Duration, before: Option<Micros>| {
        let wanted = midnight_before(now.plus(-i64::try_from(span.as_micros()).unwrap_or(i64::MAX)));
        before.filter(|before| *before > Micros::MIN).map_or(wanted, |before| wanted.min(before.plus(STEP)))
    };
    let forgotten = retention.keep_history.map_or(Micros::MIN, |span| ago(span, window.map(|w| w.forgotten)));
    // What left the ledger stays in the archive, also when nothing more is to leave it.
    let through = hub.kept().archive().map(|archive| archive.through());
    let archived = through.map_or(Micros::MIN, |through| window.map_or(through, |w| through.max(w.since)));
    let hot = retention.hot_window.map_or(archived, |span| ago(span, window.map(|w| w.since)).max(archived));
    if hot > Micros::MIN {
        archive(hub, directory, Window { since: hot.max(forgotten), forgotten }, now).await
    } else if forgotten > Micros::MIN {
        trim(hub, Window { since: forgotten, forgotten }, None).await
    } else {
        Ok(())
    }
}

/// The newest time that anything was said of. The window follows what the fleet says and not the clock alone: one that was ahead for
/// a while must not forget what is not old.
fn newest(hub: &Hub) -> Micros {
    hub.read(|state| state.view().hosts.iter().map(|(_, host)| host.heard_at).max()).unwrap_or(Micros::MIN)
}

/// Archives what is older than the window, and only then lets it go.
async fn archive(hub: &Arc<Hub>, directory: &Path, window: Window, now: Micros) -> Result<(), String> {
    let published = hub.generation(Freshness::Now).await.map_err(|e| e.to_string())?;
    let (directory, stop) = (directory.to_owned(), hub.stopping().clone());
    let add = move || -> Result<_, ExportError> {
        let (mut archive, written) = Archive::add(&published.generation, &directory, window.since, &stop)?;
        let forgotten = archive.forget(window.forgotten, now)?;
        Ok((archive, written, forgotten, published.generation.snapshot()))
    };
    let added = tokio::task::spawn_blocking(add).await.map_err(|e| e.to_string())?;
    let (archive, written, forgotten, tables) = added.map_err(|e| e.to_string())?;
    if written + forgotten > 0 {
        let holds = archive.holds();
        tracing::info!(
            written,
            forgotten,
            files = holds.files,
            rows = holds.rows,
            bytes = holds.bytes,
            "archived history"
        );
    }
    let window = Window { since: archive.through(), ..window };
    hub.kept().archived(archive);
    trim(hub, window, Some(tables)).await
}

async fn trim(hub: &Hub, window: Window, archived: Option<crate::state::Tables>) -> Result<(), String> {
    let went = hub.ledger().trim(window, archived).await.map_err(|e| e.to_string())?;
    if went > 0 {
        tracing::info!(statements = went, before = %window.since, "trimmed the history in the ledger");
    }
    Ok(())
}

impl Hub {
    /// Shows what is archived in a directory, from now on.
    pub(super) fn open_archive(&self, directory: &Path) -> Result<(), ExportError> {
        match self.find_archive(directory) {
            Err(Lost::Unreadable(error)) => return Err(error),
            // Another one is begun in its place only where an empty folder says so: whoever brings it back would have to choose.
            Err(Lost::All { since, .. }) if Archive::is_empty(directory) => {
                tracing::warn!(%since, "the folder of the archive is empty: what was before is lost, and a new archive begins");
                Archive::begin(directory, since, (self.ledger().lineage().epoch, self.seq()))?;
                // Nothing is wrong with it now.
                let _ = self.find_archive(directory);
            }
            // Those days are missing, and the others are there.
            Err(lost @ Lost::End { .. }) => tracing::error!("{lost}"),
            Err(lost) => {
                tracing::error!("{lost}");
                return Ok(());
            }
            Ok(()) => {}
        }
        if let Some(archive) = Archive::open(directory)? {
            self.kept().archived(archive);
            self.take_again();
        }
        Ok(())
    }

    /// Whether a directory holds all that left the ledger.
    pub(super) fn find_archive(&self, directory: &Path) -> Result<(), Lost> {
        let window = self.read(|state| state.view().window.get(0).copied());
        let found = Archive::lost(directory, window, (self.ledger().lineage(), self.seq()));
        self.rounds().archive_lost.store(found.is_err(), Ordering::Relaxed);
        found
    }

    /// Where the archive is, where anything is kept.
    pub(super) fn archive_place(&self) -> Option<PathBuf> {
        self.kept().directory().and_then(Path::parent).map(archive_directory)
    }
}
