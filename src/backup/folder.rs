//! A folder of backups, in a file system or an object store: how they are named, which of them to keep, and which is the newest good
//! one.
//!
//! Invariant: a backup is removed only when a newer one that was just written and read back is there; files of other names are
//! nobody's business here.

use std::io::Write;

use super::place::Place;
use super::{BackupError, Whole};
use crate::model::{FUTURE_TOLERANCE, Micros};

/// How names begin and end; between stands the time at which it was begun, so that names sort by time.
const BEGIN: &str = "koh-";
const END: &str = ".backup";

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder(Place);

/// A backup that was put into a folder.
#[derive(Debug)]
pub struct Kept {
    /// Where it is.
    pub place: Place,
    /// Its size.
    pub bytes: u64,
    /// What it is.
    pub whole: Whole,
    /// Older ones beyond those to keep are gone, or why not.
    pub removed: Result<(), BackupError>,
}

impl Folder {
    /// Makes the folder where it is absent, and could be present.
    pub fn open(place: &Place) -> Result<Folder, BackupError> {
        place.make()?;
        Ok(Folder(place.clone()))
    }

    /// Takes a backup from `write`, reads it back, and then removes the oldest beyond `keep`.
    pub fn add(
        &self,
        now: Micros,
        keep: usize,
        write: impl FnOnce(&mut dyn Write) -> Result<(), BackupError>,
    ) -> Result<Kept, BackupError> {
        let added = name(now);
        let place = self.0.child(&added);
        let (whole, bytes) = place.put(write)?;
        let removed = self.remove_beyond(keep.max(1) - 1, &added);
        Ok(Kept { place, bytes, whole, removed })
    }

    fn remove_beyond(&self, keep: usize, added: &str) -> Result<(), BackupError> {
        let mut all = self.named(END)?;
        all.retain(|(other, _)| other != added);
        for (old, _) in all.iter().rev().skip(keep) {
            let old = self.0.child(old);
            old.remove()?;
            tracing::info!(backup = %old, "removed an old backup");
        }
        Ok(())
    }

    /// Removes what a hub that was killed left half written.
    pub fn clear(&self) {
        let Some(partial) = self.0.partial() else { return };
        for (name, _) in self.named(&format!("{END}{partial}")).unwrap_or_default() {
            // It is in nobody's way.
            let _ = self.0.child(&name).remove();
        }
    }

    /// All backups, oldest first.
    pub fn all(&self) -> Result<Vec<Place>, BackupError> {
        Ok(self.named(END)?.iter().map(|(name, _)| self.0.child(name)).collect())
    }

    /// When the newest backup was begun, by its name, and its size.
    pub fn newest(&self) -> Result<Option<(Micros, u64)>, BackupError> {
        Ok(self.named(END)?.pop().and_then(|(name, bytes)| Some((time(&name)?, bytes))))
    }

    /// The newest backup that is whole, and how many newer ones are not. That there is none is said only of those that could be read.
    pub fn newest_good(&self) -> Result<(Option<(Place, Whole)>, usize), BackupError> {
        let (mut bad, mut unread) = (0, None);
        for place in self.all()?.into_iter().rev() {
            match place.verify(&mut |_, _| {}) {
                Ok(whole) => return Ok((Some((place, whole)), bad)),
                Err(error @ BackupError::Io { .. }) => unread = Some(error),
                Err(_) => {}
            }
            bad += 1;
        }
        unread.map_or(Ok((None, bad)), Err)
    }

    /// Names that end so and their sizes, oldest first. Those of a time that is still to come are of a clock that was ahead: nobody
    /// knows how old they are, and they must not stand for what is newest.
    fn named(&self, end: &str) -> Result<Vec<(String, u64)>, BackupError> {
        let now = Micros::now();
        let mut all = self.0.children()?;
        all.retain(|(name, _)| name.starts_with(BEGIN) && name.ends_with(end));
        all.sort_by_cached_key(|(name, _)| {
            let ahead = time(name).is_some_and(|at| at.since(now) > FUTURE_TOLERANCE);
            (!ahead, name.clone())
        });
        Ok(all)
    }
}

/// The time in a name.
fn time(name: &str) -> Option<Micros> {
    Micros::parse(name.strip_prefix(BEGIN)?.strip_suffix(END)?).ok()
}

/// `koh-20260131T100000.123Z.backup`
fn name(at: Micros) -> String {
    let digits: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{BEGIN}{digits}{END}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_backup_is_read_off_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&Place::File(dir.path().to_owned())).unwrap();
        assert_eq!(folder.newest().unwrap(), None);
        let at = Micros::parse("2026-01-31T10:00:00.123Z").unwrap();
        for other in ["koh-20270101T000000.000Z.backup.partial", "notes.txt"] {
            std::fs::write(dir.path().join(other), "x").unwrap();
        }
        std::fs::write(dir.path().join(name(at)), "12345").unwrap();
        std::fs::write(dir.path().join(name(at.plus(-86_400_000_000))), "1").unwrap();
        assert_eq!(folder.newest().unwrap(), Some((at, 5)));
        folder.clear();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        // A clock that is ahead makes nothing that counts as newer than all that comes after.
        let now = Micros::now();
        std::fs::write(dir.path().join(name(now.plus(400 * 86_400_000_000))), "1").unwrap();
        assert_eq!(folder.newest().unwrap(), Some((at, 5)));
        folder.remove_beyond(2, &name(now)).unwrap();
        assert_eq!(folder.all().unwrap().len(), 2, "and it is the first to go");
        assert!(!dir.path().join(name(now.plus(400 * 86_400_000_000))).exists());
    }
}
