//! Exports of a generation as plain files that other tools read: Arrow IPC for what is so now, Parquet by day for history.
//!
//! ```text
//! manifest.json                                  the files of the newest export, replaced last and atomically
//! current/<generation>/<table>.arrow             what is so now, whole
//! history/<table>/day=<date>/<fingerprint>.parquet   transitions by the day of reported_at; deployments and assignments
//!                                                that have ended by the day of ended_at (those without an end are in current)
//! ```
//!
//! Invariants: a file that a manifest names is complete and fsynced and never changes; a manifest names files of one generation
//! only; a day is written again only when its rows changed; what a manifest no longer names stays for [`KEEP`].

mod days;
mod durable;
pub mod manifest;
mod opened;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use datafusion::arrow::ipc::writer::FileWriter;
use walkdir::WalkDir;

use self::days::History;
use self::durable::Durable;
use self::manifest::{Exported, Form, Manifest, TableFiles};
use super::generation::Generation;
use super::{coverage, history};
use crate::query::Table;

pub(super) use days::Dated;
pub use opened::open_export;

/// Generations of current tables that are kept.
const GENERATIONS: usize = 3;
/// How long a file stays after the last manifest that named it: 10 minutes.
const KEEP: i64 = 10 * 60 * 1_000_000;
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
    #[error("{path} holds no export. Name the data directory of a hub that has run for a minute, or export once")]
    Missing {
        /// The directory.
        path: String,
    },
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

/// Writes a generation below `dir`; returns when the files are durable. One export at a time per directory.
pub fn export(generation: &Generation, dir: &Path) -> Result<Report, ExportError> {
    let disk = Durable::new(dir)?;
    let before = Manifest::load(dir)?.map(Manifest::into_current);
    let mut report = Report::default();
    let mut tables = Vec::new();
    for table in generation.tables() {
        let name = table.name().to_owned();
        let mut files = Vec::new();
        if let Some(history) = history(generation, &name) {
            let known = before.iter().flat_map(|m| &m.tables).find(|t| t.name == name).map(|t| t.files.as_slice());
            let written = history.export(&disk, known.unwrap_or_default(), generation.epoch())?;
            report.days_written += written.written;
            report.days_kept += written.files.len() - written.written;
            files.extend(written.files);
            if SPLIT.contains(&name.as_str()) {
                files.push(current(&disk, generation, history.open().as_ref())?);
            }
        } else {
            files.push(current(&disk, generation, table.as_ref())?);
        }
        report.rows += files.iter().map(|f| f.rows).sum::<u64>();
        tables.push(TableFiles { name, files });
    }
    let manifest = Exported::next(before, generation, tables, GENERATIONS, KEEP);
    Manifest::V1(manifest.clone()).save(&disk)?;
    clean(dir, &manifest);
    Ok(report)
}

fn history(generation: &Generation, table: &str) -> Option<History> {
    let shared = || std::sync::Arc::clone(&generation.shared);
    Some(match table {
        "transitions" => History::of(history::Transitions(shared())),
        "deployments" => History::of(history::Deployments(shared())),
        "assignments" => History::of(coverage::Assignments(shared())),
        _ => return None,
    })
}

/// Writes the rows of a table as one Arrow file.
fn current(disk: &Durable, generation: &Generation, table: &dyn Table) -> Result<manifest::File, ExportError> {
    let path = format!("current/{}/{}.arrow", generation.id, table.name());
    let schema = table.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut rows = 0u64;
    let bytes = disk.write(&path, |file| {
        let mut writer = FileWriter::try_new(file, &schema).map_err(|e| e.to_string())?;
        for batch in (0..table.partitions()).flat_map(|p| table.scan(p, &all)) {
            let batch = batch.map_err(|e| e.to_string())?;
            rows += batch.num_rows() as u64;
            writer.write(&batch).map_err(|e| e.to_string())?;
        }
        writer.into_inner().map_err(|e| e.to_string())
    })?;
    Ok(manifest::File { path, form: Form::Arrow, rows, bytes, day: None })
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
