//! Whether all that is kept is sound: the file, the counters of the state, the export.
//!
//! Invariant: a check changes nothing; what is wrong is told with what to do, and what could not be looked at is no success.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::ToSchema;

use super::backups::NoBackup;
use super::exports::export_directory;
use super::hub::Hub;
use super::retention::archive_directory;
use crate::backup::{Folder, Place, ledger_of};
use crate::ledger::{Inspected, OpenError, inspect};
use crate::model::Micros;
use crate::snapshot::archive::{Holds, Lost};
use crate::snapshot::export::{Compared, ExportError, compare};
use crate::snapshot::{Archive, Generation};
use crate::state::recount::{Recount, Recounted};
use crate::state::tables::Window;

/// What is looked at, one after the other.
pub const CHECKS: [&str; 4] = ["ledger", "counters", "archive", "export"];

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// `ledger`, `counters`, `archive` or `export`.
    pub check: &'static str,
    /// Whether all is as it should be.
    pub ok: bool,
    /// What was looked at, or what is wrong and what to do.
    pub detail: String,
}

fn finding(check: &'static str, found: Result<String, String>) -> Finding {
    let ok = found.is_ok();
    let (Ok(detail) | Err(detail)) = found;
    Finding { check, ok, detail }
}

/// Checks a data directory that no hub has open, and tells what it finds, one thing after the other; `backups` is where backups of it
/// lie.
///
/// A directory that cannot be looked at - a hub has it, it is no data directory - is an error.
pub fn check_directory(data: &Path, backups: Option<&Place>, tell: &mut dyn FnMut(Finding)) -> Result<(), OpenError> {
    // The storage engine may stumble over pages that are not its own.
    let inspected = catch_unwind(AssertUnwindSafe(|| inspect(&ledger_of(data))));
    let inspected = match inspected {
        Ok(Err(error)) if !error.is_damage() => return Err(error),
        Ok(inspected) => inspected.map_err(|error| in_full(&error)),
        Err(_) => Err("the store cannot be read: its pages do not fit together".to_owned()),
    };
    let Inspected { origin, lineage, state, blocks, entries } = match inspected {
        Ok(inspected) => inspected,
        Err(damage) => {
            tell(finding("ledger", Err(what_to_do(&damage, data, backups))));
            return Ok(());
        }
    };
    let read = format!(
        "everything up to sequence {}: {blocks} blocks and {entries} journal entries read, pages are as their checksums say",
        origin.seq
    );
    tell(finding("ledger", Ok(read)));
    tell(finding("counters", counters(state.recount())));
    let tables = state.tables();
    let (place, window) = (archive_directory(data), tables.window.get(0).copied());
    let found = Archive::lost(&place, window, (&lineage, origin.seq));
    let foreign = matches!(found, Err(Lost::Foreign { .. }));
    let archive = Archive::open(&place).map_err(|e| e.to_string());
    let beside = archive.as_ref().ok().and_then(Clone::clone).filter(|_| !foreign).map(Arc::new);
    tell(finding("archive", archived(archive, window, found)));
    let generation = |export: &_| of_export(export, origin.seq, || tables, beside);
    tell(finding("export", export(compare(&export_directory(data), origin.epoch, generation))));
    Ok(())
}

/// A check of a running hub, which has its place.
#[derive(Debug)]
pub struct Check {
    hub: Arc<Hub>,
    _place: OwnedSemaphorePermit,
}

impl Hub {
    /// Begins a check, if no other and no backup is under way.
    pub fn begin_check(self: &Arc<Self>) -> Result<Check, NoBackup> {
        Ok(Check { hub: Arc::clone(self), _place: self.place_to_read()? })
    }
}

impl Check {
    /// Checks one thing after the other, and tells what it finds; ends early when nobody listens.
    pub async fn run(self, tell: mpsc::Sender<Finding>) {
        if tell.send(finding("ledger", self.ledger().await)).await.is_err() {
            return;
        }
        let hub = Arc::clone(&self.hub);
        let recounted = tokio::task::spawn_blocking(move || {
            let mut recount = Recount::default();
            while !hub.read(|state| recount.step(state)) {}
            counters(recount.finish())
        });
        if tell.send(finding("counters", done(recounted).await)).await.is_err() {
            return;
        }
        let hub = Arc::clone(&self.hub);
        let archive = tokio::task::spawn_blocking(move || {
            let archive = hub.kept().archive().map(|archive| Archive::clone(&archive));
            let window = hub.read(|state| state.view().window.get(0).copied());
            let found = hub.archive_place().map_or(Ok(()), |place| hub.find_archive(&place));
            archived(Ok(archive), window, found)
        });
        if tell.send(finding("archive", done(archive).await)).await.is_err() {
            return;
        }
        let Some(directory) = self.hub.kept().directory().map(Path::to_owned) else { return };
        let hub = Arc::clone(&self.hub);
        let compared = tokio::task::spawn_blocking(move || {
            let (seq, tables) = hub.ledger().tables();
            let archive = hub.kept().archive();
            export(compare(&directory, hub.epoch(), |export| of_export(export, seq, || tables, archive)))
        });
        // Whoever asked may have gone; there is nothing left to do.
        let _ = tell.send(finding("export", done(compared).await)).await;
    }

    async fn ledger(&self) -> Result<String, String> {
        match self.hub.ledger().examine().await {
            Ok(Ok((blocks, entries))) => {
                Ok(format!("{blocks} blocks and {entries} journal entries read, as a restart would"))
            }
            Ok(Err(error)) => Err(format!(
                "{}. The state in memory is whole: take a backup now (koh backup), and restore it elsewhere",
                in_full(&error)
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn done(work: tokio::task::JoinHandle<Result<String, String>>) -> Result<String, String> {
    work.await.unwrap_or_else(|error| Err(format!("the check itself failed: {error}")))
}

/// The tables as of an export's own instant, if they are at its sequence.
fn of_export(
    export: &crate::snapshot::export::manifest::Exported,
    seq: u64,
    tables: impl FnOnce() -> crate::state::Tables,
    archive: Option<Arc<Archive>>,
) -> Option<Generation> {
    // One of before an archive was brought back, or lost, is of another moment too.
    let same = export.archived() == archive.as_ref().map(|archive| archive.paths()).unwrap_or_default();
    let take = || Generation::take(export.epoch, seq, tables(), Micros(export.taken_at)).with_archive(archive);
    (export.seq == seq && same).then(take)
}

fn counters(recounted: Recounted) -> Result<String, String> {
    let Recounted { counted, different, told } = recounted;
    match different {
        0 => Ok(format!("{counted} objects counted again, all as they were counted before")),
        n => Err(format!(
            "{n} of {counted} objects are counted otherwise: {}. A restart counts anew; please report it, for this is a bug",
            told.join("; ")
        )),
    }
}

fn archived(
    archive: Result<Option<Archive>, String>,
    window: Option<Window>,
    found: Result<(), Lost>,
) -> Result<String, String> {
    let archive = archive?;
    found.map_err(|lost| lost.to_string())?;
    match (archive, window) {
        (Some(archive), _) => {
            let Holds { files, rows, bytes } = archive.verify().map_err(|e| e.to_string())?;
            Ok(format!("{rows} rows in {files} files of {bytes} bytes, each as its checksum says"))
        }
        (None, Some(window)) if window.archived().is_some() => {
            Err("the archive is there again, and not shown yet: the hub takes it within the hour, or at its next start"
                .to_owned())
        }
        (None, Some(Window { since, .. })) => Ok(format!("there is none; history before {since} was forgotten")),
        (None, None) => Ok("there is none: all history is in the ledger".to_owned()),
    }
}

fn export(compared: Result<Compared, ExportError>) -> Result<String, String> {
    let anew = "Exports are copies: delete the directory, and the hub writes it anew";
    match compared {
        Ok(Compared::None) => Ok("there is none yet".to_owned()),
        Ok(Compared::Same { rows }) => Ok(format!("{rows} rows, the same as those of the ledger")),
        Ok(Compared::Earlier { seq, same_store: true }) => {
            Ok(format!("every file reads; it is of sequence {seq}, and the next export catches up"))
        }
        Ok(Compared::Earlier { same_store: false, .. }) => {
            Ok("every file reads; it is of another store, and the next export replaces it".to_owned())
        }
        Ok(Compared::Different { tables }) => {
            let tables: Vec<String> = tables
                .iter()
                .map(|(name, kept, told)| format!("{name} ({kept} rows, and {told} in the ledger)"))
                .collect();
            Err(format!("other rows than the ledger: {}. {anew}", tables.join(", ")))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// An error with its causes.
pub(super) fn in_full(error: &OpenError) -> String {
    match error {
        OpenError::Damaged { what, source: Some(source) } => format!("{what} is damaged: {source}"),
        other => other.to_string(),
    }
}

/// What is wrong with a ledger, and which backup to restore.
pub(super) fn what_to_do(what: &str, data: &Path, backups: Option<&Place>) -> String {
    let how = |backup: &str| {
        let data = data.display();
        format!("Move {data} away, and run: koh restore {backup} --data {data}")
    };
    let Some(folder) = backups else {
        return format!("{what}. {}; with --backup-dir the newest good backup is looked for", how("BACKUP"));
    };
    match Folder::open(folder).and_then(|folder| folder.newest_good()) {
        Ok((Some((place, whole)), bad)) => {
            let bad = if bad > 0 { format!(" ({bad} newer ones are damaged)") } else { String::new() };
            let (seq, at) = (whole.head.seq, whole.head.taken_at);
            let place = place.to_string();
            format!(
                "{what}. The newest good backup{bad} is {place}, of {at}, with everything up to sequence {seq}. {}",
                how(&place)
            )
        }
        Ok((None, bad)) => format!("{what}. In {folder} there is no good backup ({bad} are damaged)"),
        Err(error) => format!("{what}. Backups cannot be looked for: {error}"),
    }
}
