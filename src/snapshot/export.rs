//! Exports of a generation as plain files that other tools read: Arrow IPC for what is so now, Parquet by day for history.
//!
//! ```text
//! manifest.json                                  the files of the newest export, replaced last and atomically
//! current/<table>/<fingerprint>.arrow            what is so now; large tables in several files
//! history/<table>/day=<date>/<fingerprint>.parquet   transitions by the day of reported_at; deployments and assignments
//!                                                that have ended by the day of ended_at (those without an end are in current)
//! history/<table>/month=<month>/…                  the days of a month that has been over for some weeks, in one file
//! ../archive/…                                     what the ledger does not keep any more (see [`super::archive`])
//! ```
//!
//! Invariants: a file that a manifest names is complete and fsynced and never changes; a manifest names files of one generation
//! only; a day is written again only when its rows changed; what a manifest no longer names stays for [`KEEP`].

mod compare;
pub(super) mod days;
pub(super) mod durable;
pub mod manifest;
pub(super) mod opened;
pub(super) mod period;
pub(super) mod rows;
pub(super) mod sum;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, Int16Type, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::FileWriter;
use tokio_util::sync::CancellationToken;
use twox_hash::XxHash3_128;
use walkdir::WalkDir;

use self::days::History;
use self::durable::Durable;
use self::manifest::{Exported, Form, Manifest, TableFiles};
use super::archive::manifest as archive;
use super::generation::Generation;
use super::history::Past;
use super::{coverage, history};
use crate::model::Micros;
use crate::query::Table;

pub use compare::{Compared, compare};
pub(super) use days::Dated;
pub use opened::{exported_at, open_export};

/// Generations of current tables that are kept.
const GENERATIONS: usize = 3;
/// How long a file stays after the last manifest that named it: 10 minutes.
const KEEP: i64 = 10 * 60 * 1_000_000;
/// Rows of one Arrow file, about: a few megabytes in memory while it is made. Its dictionaries never outgrow their keys.
const ROWS_PER_FILE: usize = 16_384;
/// Tables whose rows are split: what has ended goes to history.
const SPLIT: [&str; 2] = ["assignments", "deployments"];

/// Why an export failed or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be written or read.
    #[error("{path}: {error}. Check that the disk is not full and that the directory is writable")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Rows could not be turned into a file, or a file into rows.
    #[error("{path}: {error}. Exports are copies: delete the directory, and the hub writes it anew")]
    Format {
        /// The file.
        path: String,
        /// What the format says.
        error: String,
    },
    /// There is no export here.
    #[error("{path} holds no export. Name the data directory of a hub that has run for a minute")]
    Missing {
        /// The directory.
        path: String,
    },
    /// A file of the archive, which is nowhere else, is not what it was.
    #[error("{path}, a part of the archive: {what}. It is primary data: restore it from a backup")]
    Archive {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody said stop.
    #[error("it was interrupted; what the one before wrote stays")]
    Interrupted,
    /// Another version wrote it.
    #[error(
        "{path} was written by another version of koh ({detail}). Let this version export once, or read it with that one"
    )]
    Version {
        /// The file.
        path: String,
        /// What is different.
        detail: String,
    },
}

/// What an export did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Days of history that were written.
    pub days_written: usize,
    /// Days of history that were as they had been.
    pub days_kept: usize,
    /// Rows in all files of the export.
    pub rows: u64,
}

/// Writes a generation below `dir`; returns when the files are durable, or soon after somebody says stop. One export at a time per
/// directory.
pub fn export(generation: &Generation, dir: &Path, stop: &CancellationToken) -> Result<Report, ExportError> {
    let disk = Durable::new(dir, stop)?;
    let before = last(dir)?;
    let mut report = Report::default();
    let mut tables = Vec::new();
    for table in generation.tables() {
        let name = table.name().to_owned();
        let known = before.iter().flat_map(|m| &m.tables).find(|t| t.name == name);
        // Whatever is gone is written again.
        let known: Vec<_> = known.into_iter().flat_map(|t| &t.files).filter(|f| f.is_there(dir)).cloned().collect();
        let mut files = Vec::new();
        let mut whole = Some(table);
        if let Some(history) = history(generation, &name) {
            let written = history.export(&disk, &known, generation.epoch(), generation.taken_at)?;
            report.days_written += written.written;
            report.days_kept += written.files.len() - written.written;
            files.extend(written.files);
            files.extend(generation.archived(&name));
            whole = SPLIT.contains(&name.as_str()).then(|| history.open());
        }
        if let Some(table) = whole {
            files.extend(current(&disk, table.as_ref(), &known)?);
        }
        report.rows += files.iter().map(|f| f.rows).sum::<u64>();
        tables.push(TableFiles { name, files });
    }
    let manifest = Exported::next(before, generation, tables, GENERATIONS, KEEP);
    Manifest::V1(manifest.clone()).save(&disk)?;
    clean(dir, &manifest);
    Ok(report)
}

/// What the last export says of itself; nothing where that cannot be read, for then all is written anew.
fn last(dir: &Path) -> Result<Option<Exported>, ExportError> {
    match Manifest::load(dir) {
        Err(error @ ExportError::Version { .. }) => {
            tracing::warn!(%error, "the last export cannot be read; it is written anew");
            Ok(None)
        }
        read => Ok(read?.map(Manifest::into_current)),
    }
}

/// Removes files of the last export that are not what they were, so that the next one writes them anew; gives how many.
pub fn mend(dir: &Path, stop: &CancellationToken) -> Result<usize, ExportError> {
    let mut damaged = 0;
    let export = last(dir)?;
    // Those of the archive are nowhere else, and not an export's to remove.
    let files = export.iter().flat_map(|e| &e.tables).flat_map(|t| &t.files).filter(|f| archive::is_below(&f.path));
    for file in files.take_while(|_| !stop.is_cancelled()) {
        if let Err(error) = file.whole(dir) {
            tracing::warn!(%error, "a file of the last export is not what it was; it is written anew");
            // One that is gone is gone.
            let _ = fs::remove_file(dir.join(&file.path));
            damaged += 1;
        }
    }
    Ok(damaged)
}

/// Removes what no reader can be in need of any more at this instant; gives the export as it stands then, if that changed anything.
pub fn expire(dir: &Path, now: Micros) -> Result<Option<Exported>, ExportError> {
    let Some(mut export) = Manifest::load(dir)?.map(Manifest::into_current) else { return Ok(None) };
    if !export.age(now.0, GENERATIONS, KEEP) {
        return Ok(None);
    }
    Manifest::V1(export.clone()).save(&Durable::new(dir, &CancellationToken::new())?)?;
    clean(dir, &export);
    Ok(Some(export))
}

fn history(generation: &Generation, table: &str) -> Option<History> {
    let shared = || Arc::clone(&generation.shared);
    Some(match table {
        "transitions" => History::of(history::Transitions(shared(), Past::Kept)),
        "deployments" => History::of(history::Deployments(shared(), Past::Kept)),
        "assignments" => History::of(coverage::Assignments(shared())),
        _ => return None,
    })
}

/// Writes the rows of a table as Arrow files; those that the last manifest knows are there already.
fn current(disk: &Durable, table: &dyn Table, known: &[manifest::File]) -> Result<Vec<manifest::File>, ExportError> {
    let name = table.name();
    let failed = |error: String| ExportError::Format { path: format!("current/{name}"), error };
    let schema = table.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut files = Vec::new();
    let (mut gathered, mut rows) = (Vec::new(), 0);
    let mut batches = (0..table.partitions()).flat_map(|p| table.scan(p, &all)).peekable();
    loop {
        if let Some(batch) = batches.next() {
            disk.go_on()?;
            let batch = batch.map_err(|e| failed(e.to_string()))?;
            rows += batch.num_rows();
            gathered.push(batch);
        }
        let last = batches.peek().is_none();
        // One batch per file, so that each file has dictionaries of its own.
        if rows >= ROWS_PER_FILE || (last && (rows > 0 || files.is_empty())) {
            let bytes =
                concat_batches(&schema, &gathered).and_then(|b| arrow_file(&b)).map_err(|e| failed(e.to_string()))?;
            let path = format!("current/{name}/{:032x}.arrow", XxHash3_128::oneshot(&bytes));
            if !known.iter().any(|f| f.path == path) {
                disk.write(&path, |mut file| file.write_all(&bytes).map(|()| file).map_err(|e| e.to_string()))?;
            }
            files.push(manifest::File {
                path,
                form: Form::Arrow,
                rows: rows as u64,
                bytes: bytes.len() as u64,
                day: None,
                month: None,
                checksum: None,
            });
            gathered.clear();
            rows = 0;
        }
        if last {
            return Ok(files);
        }
    }
}

/// A batch as the bytes of an Arrow IPC file; texts that repeat go in as dictionaries.
fn arrow_file(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let packed = match column.data_type() {
            // A column with more values than keys does not repeat enough.
            DataType::Utf8 => cast(column, &dictionary).ok(),
            _ => None,
        };
        let repeats = |c: &ArrayRef| c.as_dictionary::<Int16Type>().values().len() * 2 <= c.len();
        let column = packed.filter(repeats).unwrap_or_else(|| Arc::clone(column));
        fields.push(Field::new(field.name(), column.data_type().clone(), field.is_nullable()));
        columns.push(column);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// Deletes what the manifest does not name: what is old enough, and what an interrupted export left. What cannot be deleted now
/// is tried again after the next export.
fn clean(dir: &Path, manifest: &Exported) {
    let named: HashSet<PathBuf> = manifest.paths().map(|p| dir.join(p)).collect();
    for part in ["current", "history"] {
        for entry in WalkDir::new(dir.join(part)).min_depth(1).contents_first(true).into_iter().flatten() {
            if entry.file_type().is_dir() {
                // Only empty ones can be removed.
                let _ = fs::remove_dir(entry.path());
            } else if !named.contains(entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
