//! Backups of the running hub: asked for by a client, or by the clock.
//!
//! Invariant: one at a time (checks included), so that at most one more copy of the state is held; and none that goes on for ever, for as long as it
//! runs it holds up the next one.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hub::Hub;
use crate::backup::{BackupError, Files, Folder, Kept, Place, Whole};
use crate::ledger::Cut;
use crate::model::Micros;

/// A client or a store that takes longer than this is cut off.
const WITHIN: Duration = Duration::from_secs(3_600);
/// After a failure the next attempt comes after this, where the next regular one would be later.
const AGAIN: Duration = Duration::from_secs(600);
/// When the hub stops, what is half made gets this long to be cleared away.
const ENDING: Duration = Duration::from_secs(5);

/// When backups are made without being asked for.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where they go.
    pub place: Place,
    /// How often.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// The place for a backup, and what became of those that the clock asked for.
#[derive(Debug)]
pub struct Backups {
    place: Arc<Semaphore>,
    newest: Mutex<Option<(Micros, u64)>>,
    /// How long each took, in seconds.
    pub durations: Histogram,
    /// Those that failed.
    pub failures: Counter,
}

impl Default for Backups {
    fn default() -> Backups {
        Backups {
            place: Arc::new(Semaphore::new(1)),
            newest: Mutex::default(),
            durations: Histogram::new([0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
            failures: Counter::default(),
        }
    }
}

impl Backups {
    /// When the newest of the folder was begun, and its size.
    pub fn newest(&self) -> Option<(Micros, u64)> {
        *self.newest.lock()
    }
}

/// Why no backup begins.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum NoBackup {
    /// Another one, or a check, is under way.
    #[error("another backup or check is under way")]
    Busy,
    /// The archive is not what it should be.
    #[error(
        "the archive is not whole, and there is no backup without it: koh check and the log of the hub say what to do"
    )]
    Archive,
    /// The ledger gives none.
    #[error("the ledger is closed")]
    Closed,
}

/// A backup that can be written: of all that was acknowledged before it was asked for.
#[derive(Debug)]
pub struct Backup {
    cut: Cut,
    files: Files,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Backup {
    /// The sequence up to which everything is in it.
    pub fn seq(&self) -> u64 {
        self.cut.origin().seq
    }

    /// Writes it; ends with an error when whoever takes it is too slow.
    pub fn write(self, out: impl Write) -> Result<Whole, BackupError> {
        let Backup { cut, files, until, _place } = self;
        crate::backup::write(cut, files, Watched { out, over: || late(until) }, &mut |_, _| {})
    }
}

fn late(until: Instant) -> Option<String> {
    let minutes = WITHIN.as_secs() / 60;
    (Instant::now() > until).then(|| format!("it was not taken within {minutes} minutes"))
}

/// Takes bytes until `over` says why no more.
struct Watched<W, F> {
    out: W,
    over: F,
}

impl<W: Write, F: Fn() -> Option<String>> Write for Watched<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.over)() {
            Some(why) => Err(io::Error::other(why)),
            None => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Hub {
    /// Begins a backup, if none is under way.
    pub async fn begin_backup(&self) -> Result<Backup, NoBackup> {
        self.cut_for(self.place_to_read()?).await
    }

    /// The place of those who read all that is kept, if it is free.
    pub(super) fn place_to_read(&self) -> Result<OwnedSemaphorePermit, NoBackup> {
        Arc::clone(&self.backups().place).try_acquire_owned().map_err(|_| NoBackup::Busy)
    }

    async fn cut_for(&self, place: OwnedSemaphorePermit) -> Result<Backup, NoBackup> {
        // The cut first: the archive only grows, so what left the ledger before the cut is in it.
        let cut = self.ledger().cut().await.map_err(|_| NoBackup::Closed)?;
        let without = |why: &dyn std::fmt::Display| {
            tracing::error!("there is no backup without the archive: {why}");
            NoBackup::Archive
        };
        if let Some(place) = self.archive_place() {
            if self.kept().archive().is_none() {
                self.open_archive(&place).map_err(|error| without(&error))?;
            }
            self.find_archive(&place).map_err(|lost| without(&lost))?;
        }
        let files = Files::of(self.kept().archive().as_deref(), &cut).map_err(|error| without(&error))?;
        Ok(Backup { cut, files, until: Instant::now() + WITHIN, _place: place })
    }
}

/// Puts backups into a folder until the hub stops.
pub(super) async fn back_up_regularly(hub: Arc<Hub>, schedule: Schedule) {
    let Schedule { place, every, keep } = schedule;
    let newest = tokio::select! {
        () = hub.stopping().cancelled() => return,
        newest = newest_in(place.clone()) => newest,
    };
    *hub.backups().newest.lock() = newest;
    let since = |at: Micros| Duration::from_micros(Micros::now().since(at).try_into().unwrap_or(0));
    let mut rest = newest.map_or(Duration::ZERO, |(at, _)| every.saturating_sub(since(at)));
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        let began = Instant::now();
        let mut making = pin!(back_up(&hub, place.clone(), keep));
        let made = tokio::select! {
            made = &mut making => made,
            () = hub.stopping().cancelled() => {
                // It sees that, too; a disk or a store that does not answer must not hold up the stop.
                let _ = tokio::time::timeout(ENDING, making).await;
                return;
            }
        };
        hub.backups().durations.observe(began.elapsed().as_secs_f64());
        rest = match made {
            Ok((at, Kept { place, bytes, whole, removed })) => {
                *hub.backups().newest.lock() = Some((at, bytes));
                tracing::info!(backup = %place, bytes, seq = whole.head.seq, "made a backup");
                if let Err(error) = removed {
                    hub.backups().failures.inc();
                    tracing::error!(%error, "made a backup, but older ones beyond those to keep are not removed");
                }
                every
            }
            Err(error) => {
                hub.backups().failures.inc();
                tracing::error!(error, directory = %place, "could not make a backup; the hub is not affected");
                every.min(AGAIN)
            }
        };
    }
}

/// When the newest backup of before was begun, and its size.
async fn newest_in(place: Place) -> Option<(Micros, u64)> {
    let look = move || {
        let folder = Folder::open(&place)?;
        folder.clear();
        folder.newest()
    };
    // Whatever is wrong there is told by the backup that follows.
    tokio::task::spawn_blocking(look).await.ok()?.ok()?
}

/// One backup, after the one that is under way.
async fn back_up(hub: &Hub, place: Place, keep: usize) -> Result<(Micros, Kept), String> {
    let stopping = hub.stopping().clone();
    let turn = tokio::select! {
        turn = Arc::clone(&hub.backups().place).acquire_owned() => turn.map_err(|error| error.to_string())?,
        () = stopping.cancelled() => return Err(STOPPING.to_owned()),
    };
    let Backup { cut, files, until, _place: turn } = hub.cut_for(turn).await.map_err(|error| error.to_string())?;
    let now = Micros::now();
    let work = move || {
        let over = || if stopping.is_cancelled() { Some(STOPPING.to_owned()) } else { late(until) };
        let write =
            |out: &mut dyn Write| crate::backup::write(cut, files, Watched { out, over }, &mut |_, _| {}).map(drop);
        let kept = Folder::open(&place)?.add(now, keep, write);
        drop(turn);
        kept
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(kept)) => Ok((now, kept)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

const STOPPING: &str = "the hub stops";
