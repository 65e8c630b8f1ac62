//! The archive in a backup: its files as they are, and its manifest.
//!
//! Invariant: files are open before the first byte is written, so none that the manifest names can go meanwhile, and one that is not what
//! was archived makes no backup; a restore puts them beside their place, checks each, and gives the folder its name last.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::BackupError;
use super::frame::FRAME;
use crate::ledger::{Cut, Origin};
use crate::model::Micros;
use crate::plain_file;
use crate::snapshot::archive::manifest::{Archived, ArchivedFile, NAME, is_below};
use crate::snapshot::{ARCHIVE, Archive, Sum};

/// The files of an archive, open.
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<(ArchivedFile, File)>,
    manifest: Option<Vec<u8>>,
    /// Up to when everything is in them.
    pub(super) through: Option<Micros>,
}

impl Files {
    /// Those of an archive, beside a cut of its ledger; none where there is none.
    pub fn of(archive: Option<&Archive>, cut: &Cut) -> Result<Files, BackupError> {
        let Some(archive) = archive else { return Ok(Files::default()) };
        let (dir, archived) = archive.parts();
        let open = |archived: &ArchivedFile| -> Result<(ArchivedFile, File), BackupError> {
            let place = dir.join(&archived.file.path);
            let file = plain_file::open(&place).map_err(failed(&place, "cannot read the archive's"))?;
            Ok((archived.clone(), file))
        };
        let files = archived.files().map(open).collect::<Result<_, _>>()?;
        // What is on its way out stays out.
        // It may have grown since the cut, by what the cut has too.
        let Origin { epoch, seq, .. } = cut.origin();
        let of = archived.of.map(|of| if of.0 == epoch { (epoch, of.1.min(seq)) } else { of });
        let kept = Archived { superseded: Vec::new(), of, ..archived.clone() };
        let manifest =
            kept.text().map_err(|e| failed(dir, "cannot write the manifest of")(std::io::Error::other(e)))?;
        Ok(Files { files, manifest: Some(manifest), through: Some(archive.through()) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.manifest.is_none()
    }

    /// How many there are, the manifest included.
    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64 + u64::from(self.manifest.is_some())
    }

    /// All bytes, in pieces, the manifest last.
    pub(super) fn each(
        self,
        mut put: impl FnMut(&str, u64, &[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let mut piece = vec![0; FRAME];
        for (archived, mut file) in self.files {
            let path = &archived.file.path;
            let wrong = |error| failed(Path::new(path), "cannot read")(error);
            file.seek(SeekFrom::Start(0)).map_err(wrong)?;
            let (mut offset, mut sum) = (0, Sum::default());
            loop {
                let read = file.read(&mut piece).map_err(wrong)?;
                if read == 0 {
                    break;
                }
                sum.add(&piece[..read]);
                put(path, offset, &piece[..read])?;
                offset += read as u64;
            }
            archived.expect(&sum).map_err(|what| BackupError::Archive { path: path.clone(), what })?;
        }
        self.manifest.map_or(Ok(()), |text| put(NAME, 0, &text))
    }
}

/// The files of a backup, on their way into a data directory.
#[derive(Debug)]
pub(super) struct Unpacked {
    place: PathBuf,
    beside: PathBuf,
    any: bool,
}

impl Unpacked {
    pub(super) fn new(data: &Path) -> Unpacked {
        let place = data.join(ARCHIVE);
        Unpacked { beside: data.join(format!("{ARCHIVE}{RESTORING}")), place, any: false }
    }

    /// Adds some bytes to a file.
    pub(super) fn put(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), BackupError> {
        if !is_below(path) {
            let stray = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no path below the archive");
            return Err(failed(Path::new(path), "cannot restore")(stray));
        }
        if !self.any {
            // What an attempt before this one left.
            let _ = fs::remove_dir_all(&self.beside);
            self.any = true;
        }
        let place = self.beside.join(path);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(place.parent().unwrap_or(&self.beside))?;
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&place)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        };
        write().map_err(failed(&place, "cannot write"))
    }

    /// Checks all files, makes them durable, and gives the folder its name.
    pub(super) fn finish(&self) -> Result<(), BackupError> {
        // Where a restore may go, it can only be what an interrupted one put there.
        self.take_back()?;
        if !self.any {
            return Ok(());
        }
        let lost = |error: &dyn std::fmt::Display| {
            failed(&self.beside, "cannot restore")(std::io::Error::other(error.to_string()))
        };
        let archive = Archive::open(&self.beside).map_err(|e| lost(&e))?;
        let archive = archive.ok_or_else(|| lost(&"the archive has no manifest"))?;
        archive.verify().map_err(|e| lost(&e))?;
        let sync = || -> std::io::Result<()> {
            for entry in walkdir::WalkDir::new(&self.beside).contents_first(true) {
                File::open(entry?.path())?.sync_all()?;
            }
            fs::rename(&self.beside, &self.place)
        };
        sync().map_err(failed(&self.place, "cannot restore"))
    }

    /// Removes the folder: without the ledger it would be the archive of nothing, or of another hub.
    pub(super) fn take_back(&self) -> Result<(), BackupError> {
        match fs::remove_dir_all(&self.place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed(&self.place, "cannot remove")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Unpacked {
    /// What was not put into its place is worth nothing.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.beside);
    }
}

/// What a restore under way is called, after the name of what it makes.
const RESTORING: &str = ".restoring";

fn failed(path: &Path, what: &str) -> impl Fn(std::io::Error) -> BackupError {
    let what = format!("{what} {}", path.display());
    move |error| BackupError::Io { what: what.clone(), error }
}
