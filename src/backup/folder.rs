//! A folder of backups: how they are named, which of them to keep, and which is the newest good one.
//!
//! Invariant: a backup is removed only when a newer one that was just written and read back is there; files of other names are
//! nobody's business here.

use std::path::{Path, PathBuf};

use super::write::PARTIAL;
use super::{BackupError, Files, Whole, verify_file, write_file};
use crate::ledger::Cut;
use crate::model::Micros;

/// How names begin and end; between stands the time at which it was begun, so that names sort by time.
const BEGIN: &str = "koh-";
const END: &str = ".backup";

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A backup that was put into a folder.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it is.
    pub whole: Whole,
}

impl Folder {
    /// Makes the folder where it is absent.
    pub fn open(path: &Path) -> Result<Folder, BackupError> {
        std::fs::create_dir_all(path).map_err(failed(path))?;
        Ok(Folder(path.to_owned()))
    }

    /// Writes a backup, reads it back, and then removes the oldest beyond `keep`.
    pub fn add(&self, cut: Cut, files: Files, now: Micros, keep: usize) -> Result<Kept, BackupError> {
        let path = self.0.join(name(now));
        let whole = write_file(&path, |out| super::write(cut, files, out, &mut |_, _| {}).map(drop))?;
        let bytes = path.metadata().map_err(failed(&path))?.len();
        let mut all = self.all()?;
        all.retain(|other| *other != path);
        for old in all.iter().rev().skip(keep.max(1) - 1) {
            std::fs::remove_file(old).map_err(failed(old))?;
            tracing::info!(backup = %old.display(), "removed an old backup");
        }
        Ok(Kept { path, bytes, whole })
    }

    /// Removes what a hub that was killed left half written.
    pub fn clear(&self) {
        for path in self.named(&format!("{END}{PARTIAL}")).unwrap_or_default() {
            // It is in nobody's way.
            let _ = std::fs::remove_file(path);
        }
    }

    /// All backups, oldest first.
    pub fn all(&self) -> Result<Vec<PathBuf>, BackupError> {
        self.named(END)
    }

    /// When the newest backup was begun, by its name, and its size.
    pub fn newest(&self) -> Option<(Micros, u64)> {
        let path = self.all().ok()?.pop()?;
        let name = path.file_name()?.to_str()?.strip_prefix(BEGIN)?.strip_suffix(END)?;
        Some((Micros::parse(name).ok()?, path.metadata().ok()?.len()))
    }

    fn named(&self, end: &str) -> Result<Vec<PathBuf>, BackupError> {
        let entries = std::fs::read_dir(&self.0).map_err(failed(&self.0))?;
        let named = |path: &PathBuf| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.starts_with(BEGIN) && name.ends_with(end)
        };
        let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(named).collect();
        all.sort();
        Ok(all)
    }
}

/// The newest backup in a folder that is whole, and how many newer ones are not.
pub fn newest_good(folder: &Path) -> Result<(Option<(PathBuf, Whole)>, usize), BackupError> {
    let mut bad = 0;
    for path in Folder(folder.to_owned()).all()?.into_iter().rev() {
        match verify_file(&path) {
            Ok(whole) => return Ok((Some((path, whole)), bad)),
            Err(_) => bad += 1,
        }
    }
    Ok((None, bad))
}

/// `koh-20260131T100000.123Z.backup`
fn name(at: Micros) -> String {
    let digits: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{BEGIN}{digits}{END}")
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> BackupError + '_ {
    move |error| BackupError::Io { what: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_backup_is_read_off_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.newest(), None);
        let at = Micros::parse("2026-01-31T10:00:00.123Z").unwrap();
        for other in ["koh-20270101T000000.000Z.backup.partial", "notes.txt"] {
            std::fs::write(dir.path().join(other), "x").unwrap();
        }
        std::fs::write(dir.path().join(name(at)), "12345").unwrap();
        std::fs::write(dir.path().join(name(at.plus(-86_400_000_000))), "1").unwrap();
        assert_eq!(folder.newest(), Some((at, 5)));
        folder.clear();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
