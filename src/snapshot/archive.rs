//! The archive: rows of history that the ledger does not keep any more, as Parquet files that are primary data.
//!
//! ```text
//! archive/manifest.json                                    what is archived, and the checksum of each file
//! archive/<table>/month=2026-01/<checksum>.parquet         transitions by the time of the report, deployments by that of their end
//! archive/<table>/day=2026-02-01/<checksum>.parquet        days of a month that is not archived to its end yet
//! ```
//!
//! Invariants: a file is named only after it is durable, was read back, and holds what was written; rows leave the ledger only after
//! the manifest names them; of rows before `through`, readers see the archive and nothing else, so none is seen twice.

pub mod manifest;
mod write;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::filter_record_batch;
use tokio_util::sync::CancellationToken;

use self::manifest::Archived;
use self::write::write;
use super::export::durable::{Durable, WRITING};
use super::export::opened::{Opened, Part};
use super::export::period::{day_of, midnight};
use super::export::{Dated, ExportError, manifest::Form};
use super::generation::Generation;
use super::history::{Deployments, Past, Transitions};
use super::schema::{self, TableSchema};
use super::seen::SeenByName;
use crate::ledger::Lineage;
use crate::model::Micros;
use crate::query::{Batches, Table};
use crate::state::tables::Window;

/// How long a file stays that is not needed any more: 10 minutes.
const KEEP: i64 = 10 * 60 * 1_000_000;

/// A file of this name says that what is missing at the end of an archive is lost for good.
const GAP: &str = "gap";

/// Why a directory does not hold what a ledger has let go of.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// There is no archive.
    #[error(
        "{dir} {what}, and history before {since} is nowhere else: restore it from a backup, or make an empty folder there and start the \
         hub, to begin anew without that history"
    )]
    All {
        /// The directory.
        dir: String,
        /// What is wrong with it.
        what: &'static str,
        /// What was before is not in the ledger.
        since: Micros,
    },
    /// It is of an earlier time than the ledger.
    #[error(
        "{dir} ends at {through}, and history from then to {since} is nowhere else: bring back a later one (a restored backup with a hub \
         started over it once, with --hot-window, archives what its ledger still has), or make an empty file named gap in it, to go on \
         without those days"
    )]
    End {
        /// The directory.
        dir: String,
        /// Where it ends.
        through: Micros,
        /// What was before is not in the ledger.
        since: Micros,
    },
    /// It is of another ledger.
    #[error(
        "{dir} is the archive of another ledger, or of a later state of this one, and is not shown: restore both from one backup, or move \
         it away"
    )]
    Foreign {
        /// The directory.
        dir: String,
    },
    /// Its manifest cannot be read.
    #[error(transparent)]
    Unreadable(ExportError),
}

/// What is archived, and where.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
    archived: Archived,
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Files.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
}

/// The last midnight before an instant: days are archived whole.
pub fn midnight_before(at: Micros) -> Micros {
    midnight(day_of(at))
}

impl Archive {
    /// Reads what a directory says that it holds; `None` when it holds nothing.
    pub fn open(dir: &Path) -> Result<Option<Archive>, ExportError> {
        Ok(Archived::load(dir)?.map(|archived| Archive { dir: dir.to_owned(), archived }))
    }

    /// What to do where a directory does not hold the archive of a ledger, or not all of it: of one with this window, from there, that
    /// is at `seq`. Without an error nothing is wrong.
    pub fn lost(dir: &Path, window: Option<Window>, (lineage, seq): (&Lineage, u64)) -> Result<(), Lost> {
        let Some(known) = Archived::load(dir).map_err(Lost::Unreadable)? else {
            let Some(since) = window.and_then(Window::archived) else { return Ok(()) };
            let what = if dir.exists() { "has no manifest" } else { "is not there" };
            return Err(Lost::All { dir: dir.display().to_string(), what, since });
        };
        if known.of.is_some_and(|of| !lineage.holds(seq, of)) {
            return Err(Lost::Foreign { dir: dir.display().to_string() });
        }
        let through = Micros(known.through);
        match window.and_then(Window::archived).filter(|since| through < *since && !dir.join(GAP).exists()) {
            Some(since) => Err(Lost::End { dir: dir.display().to_string(), through, since }),
            None => Ok(()),
        }
    }

    /// Begins an archive in an empty folder, for a ledger whose history before this instant is lost.
    pub fn begin(dir: &Path, through: Micros, of: (u64, u64)) -> Result<Archive, ExportError> {
        let archived = Archived { through: through.0, of: Some(of), ..Archived::default() };
        archived.save(&Durable::new(dir, &CancellationToken::new())?)?;
        Ok(Archive { dir: dir.to_owned(), archived })
    }

    /// Whether a directory is there, and nothing in it that could be a part of an archive.
    pub fn is_empty(dir: &Path) -> bool {
        let inside = |dir: std::fs::ReadDir| dir.flatten().filter(|entry| entry.file_name() != WRITING).count();
        std::fs::read_dir(dir).map(inside).is_ok_and(|inside| inside == 0)
    }

    /// Writes the rows of a generation before a midnight, as far as they are not here yet; gives how many files were written. What is
    /// here already stays, and what came late is added to it. An error
    /// soon after somebody says stop; then all is as it was.
    pub fn add(
        generation: &Generation,
        dir: &Path,
        before: Micros,
        stop: &CancellationToken,
    ) -> Result<(Archive, usize), ExportError> {
        let disk = Durable::new(dir, stop)?;
        let known = Archived::load(dir)?.unwrap_or_default();
        let shared = || Arc::clone(&generation.shared);
        let closed = day_of(before).max(day_of(Micros(known.through)));
        let transitions = Transitions(shared(), Past::Whole);
        let deployments = Deployments(shared(), Past::Whole);
        let tables = vec![table(&disk, &known, transitions, closed)?, table(&disk, &known, deployments, closed)?];
        let written = tables.iter().map(|t| t.1).sum();
        let tables: Vec<manifest::TableFiles> = tables.into_iter().map(|t| t.0).collect();
        let of = Some((generation.epoch(), generation.seq));
        let mut next = Archived { through: midnight(closed).0, of, tables, superseded: known.superseded.clone() };
        next.supersede(&known, generation.taken_at);
        next.clean(&disk)?;
        // That it is of a later sequence is nothing to write.
        let same = Archived { of: known.of, ..next.clone() } == known;
        if !same {
            next.save(&disk)?;
            // Whatever was missing, this goes on without it.
            let _ = std::fs::remove_file(dir.join(GAP));
        }
        Ok((Archive { dir: dir.to_owned(), archived: next }, written))
    }

    /// Forgets files of which every row is of before an instant; gives how many.
    pub fn forget(&mut self, before: Micros, now: Micros) -> Result<usize, ExportError> {
        let known = self.archived.clone();
        for table in &mut self.archived.tables {
            table.files.retain(|f| f.days.1 > day_of(before));
        }
        let forgotten = known.files().count() - self.archived.files().count();
        if forgotten > 0 {
            self.archived.supersede(&known, now);
            self.archived.save(&Durable::new(&self.dir, &CancellationToken::new())?)?;
        }
        Ok(forgotten)
    }

    /// Everything before this instant is here.
    pub fn through(&self) -> Micros {
        Micros(self.archived.through)
    }

    /// Where it is, and what it says that it holds.
    pub fn parts(&self) -> (&Path, &Archived) {
        (&self.dir, &self.archived)
    }

    /// The paths of its files.
    pub fn paths(&self) -> BTreeSet<&str> {
        self.archived.files().map(|f| f.file.path.as_str()).collect()
    }

    /// What it holds.
    pub fn holds(&self) -> Holds {
        let mut holds = Holds::default();
        for f in self.archived.files() {
            holds.files += 1;
            holds.rows += f.file.rows;
            holds.bytes += f.file.bytes;
        }
        holds
    }

    /// Reads every file to its end, and tells the first that is not what it was.
    pub fn verify(&self) -> Result<Holds, ExportError> {
        self.archived.files().try_for_each(|f| f.verify(&self.dir))?;
        Ok(self.holds())
    }

    /// The files that hold the rows of a table, as an export names them.
    pub(super) fn files(&self, table: &str) -> impl Iterator<Item = super::export::manifest::File> {
        self.archived.of(table).iter().map(|f| f.file.clone())
    }

    /// A table with its rows in the archive, as far as they are seen, where there are any.
    pub(super) fn with(&self, kept: Arc<dyn Table>, seen: Option<Arc<SeenByName>>) -> Arc<dyn Table> {
        let declared = [&schema::TRANSITIONS, &schema::DEPLOYMENTS].into_iter().find(|t| t.name == kept.name());
        let files: Vec<_> = self.archived.of(kept.name()).iter().map(|f| (part(&self.dir, &f.file), f.days)).collect();
        match declared {
            Some(table) if !files.is_empty() => Arc::new(WithArchive::new(kept, table, files, seen)),
            _ => kept,
        }
    }
}

/// Rows that are archived: one that is there already is known again, and stays as it was archived. What the ledger still holds of
/// such a time may say more by now - of what is confirmed to this day, when it was last - and that alone is nothing to write.
pub(super) trait Archives: Dated {
    /// The columns by which a row is known again.
    const IDENTITY: &'static [&'static str];
    /// A hash of what they say.
    fn identity(&self, row: &Self::Row) -> u64;
}

fn part(dir: &Path, file: &super::export::manifest::File) -> Part {
    Part { path: dir.join(&file.path), form: Form::Parquet, rows: file.rows as usize }
}

/// Brings the files of one table to the rows it has.
fn table<R: Archives>(
    disk: &Durable,
    known: &Archived,
    rows: R,
    closed: i64,
) -> Result<(manifest::TableFiles, usize), ExportError> {
    let name = rows.table().name.to_owned();
    let (files, written) = write(disk, known.of(&name), &rows, closed)?;
    Ok((manifest::TableFiles { name, files }, written))
}

impl Archived {
    /// What was named before and is not any more stays for a while.
    fn supersede(&mut self, before: &Archived, now: Micros) {
        let kept: HashSet<String> = self.files().map(|f| f.file.path.clone()).collect();
        let gone = before.files().map(|f| &f.file.path).filter(|path| !kept.contains(*path));
        let gone: Vec<_> = gone.map(|path| manifest::Superseded { path: path.clone(), since: now.0 }).collect();
        // Files have the names of their content: one may be wanted again.
        self.superseded.retain(|s| !kept.contains(&s.path));
        self.superseded.extend(gone);
    }

    /// Deletes what has stayed long enough.
    fn clean(&mut self, disk: &Durable) -> Result<(), ExportError> {
        let now = Micros::now().0;
        let (over, stays): (Vec<_>, Vec<_>) =
            self.superseded.drain(..).partition(|s| now.saturating_sub(s.since) > KEEP);
        self.superseded = stays;
        for file in over.iter().filter(|s| manifest::is_below(&s.path)) {
            // One that is gone already is gone.
            let _ = std::fs::remove_file(disk.dir().join(&file.path));
        }
        Ok(())
    }
}

/// A table of which the older rows are in files.
#[derive(Debug)]
struct WithArchive {
    kept: Arc<dyn Table>,
    archived: Opened,
    /// The days of each file.
    days: Vec<(i64, i64)>,
    /// What is seen of them; everything when absent.
    seen: Option<Arc<SeenByName>>,
}

impl WithArchive {
    fn new(
        kept: Arc<dyn Table>,
        table: &'static TableSchema,
        files: Vec<(Part, (i64, i64))>,
        seen: Option<Arc<SeenByName>>,
    ) -> WithArchive {
        let (files, days) = files.into_iter().unzip();
        WithArchive { kept, archived: Opened { table, schema: table.arrow(), files }, days, seen }
    }

    /// Archived rows, as far as they are seen: whose they are is read with them.
    fn seen(&self, partition: usize, projection: &[usize], seen: &Arc<SeenByName>) -> Batches {
        let column = |name: &str| self.archived.table.columns.iter().position(|c| c.name == name);
        let (Some(host), Some(endpoint)) = (column("host"), column("manifests_endpoint")) else {
            return Box::new(std::iter::empty());
        };
        let (asked, seen) = (projection.len(), Arc::clone(seen));
        let read = self.archived.scan(partition, &[projection, &[host, endpoint]].concat());
        Box::new(read.map(move |batch| {
            let batch = batch?;
            let mask = seen.words(batch.column(asked).as_string(), batch.column(asked + 1).as_string());
            Ok(filter_record_batch(&batch, &mask)?.project(&(0..asked).collect::<Vec<_>>())?)
        }))
    }
}

impl Table for WithArchive {
    fn name(&self) -> &str {
        self.kept.name()
    }

    fn schema(&self) -> datafusion::arrow::datatypes::SchemaRef {
        self.kept.schema()
    }

    fn partitions(&self) -> usize {
        self.kept.partitions() + self.archived.partitions()
    }

    fn scan(&self, partition: usize, projection: &[usize]) -> Batches {
        match partition.checked_sub(self.kept.partitions()) {
            None => self.kept.scan(partition, projection),
            Some(partition) => match &self.seen {
                None => self.archived.scan(partition, projection),
                Some(seen) => self.seen(partition, projection, seen),
            },
        }
    }

    fn rows(&self) -> Option<usize> {
        None
    }

    fn dated(&self) -> Option<&'static str> {
        // A transition lies in the day of its report, a deployment in that of its end.
        Some(if self.archived.table.name == schema::TRANSITIONS.name { "reported_at" } else { "ended_at" })
    }

    fn within(&self, first: i64, last: i64) -> Option<Arc<dyn Table>> {
        let (first, last) = (day_of(Micros(first)), day_of(Micros(last)));
        let files = self.archived.files.iter().cloned().zip(self.days.iter().copied());
        let files: Vec<_> = files.filter(|(_, days)| days.0 <= last && first < days.1).collect();
        (files.len() < self.days.len()).then(|| {
            Arc::new(WithArchive::new(Arc::clone(&self.kept), self.archived.table, files, self.seen.clone()))
                as Arc<dyn Table>
        })
    }
}
