//! `manifest.json`: which files make up the newest export, and which older ones are still there.
//!
//! Invariant: the manifest is replaced atomically after everything it names is durable; readers look nowhere else.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::durable::{Durable, read_if_there};
use super::period::Period;
use super::sum::sum_of;
use super::{ExportError, Generation};
use crate::model::Micros;
use crate::snapshot::generation::ARCHIVE;

/// The file's name.
pub const NAME: &str = "manifest.json";

/// The manifest, by version of its format.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Manifest {
    /// The first format.
    #[serde(rename = "koh-export-1")]
    V1(Exported),
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Id of the generation.
    pub generation: String,
    /// Everything up to this sequence of the ledger is in it.
    pub seq: u64,
    /// Epoch of the store.
    pub epoch: u64,
    /// The generation's instant, UTC microseconds.
    pub taken_at: i64,
    /// The tables.
    pub tables: Vec<TableFiles>,
    /// Files of earlier exports that are still there.
    pub superseded: Vec<Superseded>,
}

/// A table and its files: together they are the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFiles {
    /// Name.
    pub name: String,
    /// Files, relative to the manifest.
    pub files: Vec<File>,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Arrow IPC file.
    Arrow,
    /// Parquet.
    Parquet,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Path, relative to the manifest.
    pub path: String,
    /// Format.
    pub form: Form,
    /// Rows.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// The day of its rows, for history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The month of its rows, for history that has been over for some weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<String>,
    /// XXH3-128 of its bytes, in hexadecimal, where its name does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl File {
    /// A file of history that is still to be written.
    pub(in crate::snapshot) fn history(path: String, rows: u64, period: &Period) -> File {
        let name = Some(period.name.clone());
        let (day, month) = if period.days.end - period.days.start > 1 { (None, name) } else { (name, None) };
        File { path, form: Form::Parquet, rows, bytes: 0, day, month, checksum: None }
    }

    /// Reads it to its end: whether it is what it was when it was written. An error says what is different.
    pub(super) fn whole(&self, dir: &Path) -> Result<(), ExportError> {
        let path = dir.join(&self.path);
        let failed = |error: String| ExportError::Format { path: path.display().to_string(), error };
        let read = sum_of(&path).map_err(|error| ExportError::File { path: path.display().to_string(), error })?;
        if read.bytes() != self.bytes {
            return Err(failed(format!("it has {} bytes, and the manifest says {}", read.bytes(), self.bytes)));
        }
        let named = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if self.form == Form::Arrow && named != read.text() {
            return Err(failed("its bytes are not those that it is named after".to_owned()));
        }
        match &self.checksum {
            Some(checksum) if *checksum != read.text() => Err(failed("its checksum is another one".to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether it is there, by its size.
    pub(super) fn is_there(&self, dir: &Path) -> bool {
        std::fs::metadata(dir.join(&self.path)).is_ok_and(|m| m.len() == self.bytes)
    }

    /// The first day of its rows, for history.
    pub fn first_day(&self) -> Option<String> {
        self.day.clone().or_else(|| self.month.as_ref().map(|month| format!("{month}-01")))
    }
}

/// A file that the newest export does not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// Path, relative to the manifest.
    pub path: String,
    /// The generation that used it last.
    pub generation: String,
    /// Instant of the export that no longer used it, UTC microseconds.
    pub since: i64,
    /// Size; 0 where an earlier version of koh wrote the manifest.
    #[serde(default)]
    pub bytes: u64,
}

impl Manifest {
    /// Reads the manifest of a directory; `None` when there is none.
    pub fn load(dir: &Path) -> Result<Option<Manifest>, ExportError> {
        let path = dir.join(NAME);
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let read = serde_json::from_slice(&text);
        read.map(Some).map_err(|e| ExportError::Version { path: path.display().to_string(), detail: e.to_string() })
    }

    /// The export it describes.
    pub fn into_current(self) -> Exported {
        match self {
            Manifest::V1(exported) => exported,
        }
    }

    pub(super) fn save(&self, disk: &Durable) -> Result<u64, ExportError> {
        disk.write(NAME, |mut file| {
            let text = serde_json::to_vec_pretty(self).map_err(|e| e.to_string())?;
            file.write_all(&text).map_err(|e| e.to_string())?;
            Ok(file)
        })
    }
}

impl Exported {
    /// The files of the archive that it names, by their paths there.
    pub fn archived(&self) -> BTreeSet<&str> {
        let files = self.tables.iter().flat_map(|t| &t.files);
        files.filter_map(|f| f.path.strip_prefix("../")?.strip_prefix(ARCHIVE)?.strip_prefix('/')).collect()
    }

    pub(super) fn next(
        before: Option<Exported>,
        generation: &Generation,
        tables: Vec<TableFiles>,
        generations: usize,
        keep: i64,
    ) -> Exported {
        let now = generation.taken_at.0;
        let mut next = Exported {
            generation: generation.id.clone(),
            seq: generation.seq,
            epoch: generation.epoch(),
            taken_at: now,
            tables,
            superseded: Vec::new(),
        };
        let Some(before) = before else { return next };
        let mut superseded = before.superseded.clone();
        let files = before.tables.iter().flat_map(|t| &t.files);
        superseded.extend(files.map(|f| Superseded {
            path: f.path.clone(),
            generation: before.generation.clone(),
            since: now,
            bytes: f.bytes,
        }));
        superseded.retain(|s| !next.uses(&s.path));
        next.superseded = superseded;
        next.age(now, generations, keep);
        next
    }

    /// Forgets superseded files whose time is over at this instant; tells whether there were any.
    pub(super) fn age(&mut self, now: i64, generations: usize, keep: i64) -> bool {
        // The newest generations stay whole, however old they are: their files do not begin to age.
        let mut newest: Vec<String> = vec![self.generation.clone()];
        for s in self.superseded.iter_mut().rev() {
            if !newest.contains(&s.generation) && newest.len() < generations {
                newest.push(s.generation.clone());
            }
            if newest.contains(&s.generation) {
                s.since = s.since.max(now);
            }
        }
        let before = self.superseded.len();
        self.superseded.retain(|s| Micros(now).since(Micros(s.since)) < keep);
        self.superseded.len() < before
    }

    fn uses(&self, path: &str) -> bool {
        self.tables.iter().flat_map(|t| &t.files).any(|f| f.path == path)
    }

    /// Every file that must stay.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.tables.iter().flat_map(|t| &t.files).map(|f| f.path.as_str());
        files.chain(self.superseded.iter().map(|s| s.path.as_str()))
    }
}
