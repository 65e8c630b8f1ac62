//! `archive/manifest.json`: which files hold what the ledger does not keep any more.
//!
//! Invariant: it is replaced atomically, after all that it names is durable and was read back; what it names is primary data, so a
//! file that is not there, or is not what it was, is a loss and is told as one.

use std::io::Write;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::super::export::durable::{Durable, read_if_there};
use super::super::export::sum::{Sum, sum_of};
use super::super::export::{self, ExportError};

/// The end of the year 9999, UTC microseconds.
const LATEST: i64 = 253_402_300_800_000_000;

/// The file's name.
pub const NAME: &str = "manifest.json";

/// The manifest, by version of its format.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "format")]
enum Manifest {
    #[serde(rename = "koh-archive-1")]
    V1(Archived),
}

/// What is archived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Everything before this instant is here, UTC microseconds.
    pub through: i64,
    /// The epoch and the sequence of the ledger that it is of: it belongs to no ledger that has not been there.
    #[serde(default)]
    pub of: Option<(u64, u64)>,
    /// The tables.
    pub tables: Vec<TableFiles>,
    /// Files that are not needed any more, and stay for a while for whoever reads them.
    #[serde(default)]
    pub superseded: Vec<Superseded>,
}

/// A table and its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFiles {
    /// Name.
    pub name: String,
    /// Files, by time.
    pub files: Vec<ArchivedFile>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Path, rows, size and period, as in the manifest of an export.
    #[serde(flatten)]
    pub file: export::manifest::File,
    /// The days in it, counted from 1970: first, and the one after the last.
    pub days: (i64, i64),
    /// XXH3-128 of its bytes, in hexadecimal.
    pub xxh3: String,
    /// What was still in the ledger of its days when it was written: rows, and a sum over what they are known again by. Where that
    /// changes, something came late and is added.
    pub left: (u64, u64),
}

/// A file that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// Path.
    pub path: String,
    /// Since when, UTC microseconds.
    pub since: i64,
}

impl Archived {
    /// Reads the manifest of a directory; `None` when there is none.
    pub fn load(dir: &Path) -> Result<Option<Archived>, ExportError> {
        let path = dir.join(NAME);
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        Archived::parse(&text).map(Some).map_err(|detail| ExportError::Archive {
            path: path.display().to_string(),
            what: format!("it cannot be read ({detail})"),
        })
    }

    /// Reads the text of a manifest; an error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Archived, String> {
        let Manifest::V1(archived) = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if !(0..=LATEST).contains(&archived.through) {
            return Err(format!("{} is no time", archived.through));
        }
        // Of a month at most, and never so many that to count them would take for ever.
        let unsound = archived.files().find(|f| f.days.1 <= f.days.0 || f.days.1.saturating_sub(f.days.0) > 31);
        if let Some(unsound) = unsound {
            return Err(format!("{:?} are no days", unsound.days));
        }
        let stray = archived.files().map(|f| &f.file.path).find(|path| !is_below(path)).cloned();
        match stray {
            Some(stray) => Err(format!("{stray:?} is no path below it")),
            None => Ok(archived),
        }
    }

    /// The text of the manifest.
    pub fn text(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec_pretty(&Manifest::V1(self.clone())).map_err(|e| e.to_string())
    }

    pub(super) fn save(&self, disk: &Durable) -> Result<u64, ExportError> {
        disk.write(NAME, |mut file| {
            file.write_all(&self.text()?).map_err(|e| e.to_string())?;
            Ok(file)
        })
    }

    /// All files that are needed.
    pub fn files(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.tables.iter().flat_map(|t| &t.files)
    }

    /// The files of a table.
    pub fn of(&self, table: &str) -> &[ArchivedFile] {
        self.tables.iter().find(|t| t.name == table).map_or(&[], |t| &t.files)
    }
}

impl ArchivedFile {
    /// Reads it to its end: whether it is what it was when it was archived.
    pub fn verify(&self, dir: &Path) -> Result<(), ExportError> {
        let path = dir.join(&self.file.path);
        let lost = |what: String| ExportError::Archive { path: path.display().to_string(), what };
        let sum = sum_of(&path).map_err(|e| lost(format!("it cannot be read ({e})")))?;
        self.expect(&sum).map_err(lost)
    }

    /// Whether bytes that were read are what was archived; an error says what is different.
    pub fn expect(&self, read: &Sum) -> Result<(), String> {
        if read.bytes() != self.file.bytes || read.text() != self.xxh3 {
            let (had, has) = (self.file.bytes, read.bytes());
            return Err(format!("its checksum is another one ({has} bytes, {had} were written)"));
        }
        Ok(())
    }
}

/// A path of nothing but names.
pub fn is_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_times_that_are_none_is_refused() {
        let text = |through: i64, days: (i64, i64)| {
            let file = serde_json::json!({
                "path": "transitions/day=2026-01-01/0.parquet", "form": "parquet", "rows": 1, "bytes": 1, "days": days, "xxh3": "0",
                "left": [0, 0],
            });
            serde_json::json!({"format": "koh-archive-1", "through": through, "tables": [{"name": "transitions", "files": [file]}]})
                .to_string()
        };
        Archived::parse(text(0, (20_454, 20_485)).as_bytes()).unwrap();
        for (through, days) in
            [(i64::MAX, (1, 2)), (-1, (1, 2)), (0, (2, 2)), (0, (i64::MIN, i64::MAX)), (0, (0, 32)), (0, (2, 1))]
        {
            assert!(Archived::parse(text(through, days).as_bytes()).is_err(), "{through} {days:?}");
        }
    }
}
