//! Files that are either complete and on disk, or not there.
//!
//! Invariant: the order is file, rename, directory; a name appears only after its content is durable.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::ExportError;
use crate::plain_file;

/// The bytes of a file; `None` when there is none.
pub(in crate::snapshot) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    match plain_file::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path)(e)),
    }
}

/// Where files are until they are complete, below such a directory.
pub(in crate::snapshot) const WRITING: &str = "writing";

/// A directory that files are written into, as long as nobody says stop.
#[derive(Debug)]
pub(in crate::snapshot) struct Durable {
    dir: PathBuf,
    stop: CancellationToken,
}

pub(in crate::snapshot) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError + '_ {
    |error| ExportError::File { path: path.display().to_string(), error }
}

impl Durable {
    /// Makes the directory, and removes what an interrupted export left half written.
    pub(in crate::snapshot) fn new(dir: &Path, stop: &CancellationToken) -> Result<Durable, ExportError> {
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let beside = dir.join(WRITING);
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(failed(&beside))?;
        }
        fs::create_dir_all(&beside).map_err(failed(&beside))?;
        Ok(Durable { dir: dir.to_owned(), stop: stop.clone() })
    }

    /// The directory.
    pub(in crate::snapshot) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An error once somebody said stop.
    pub(in crate::snapshot) fn go_on(&self) -> Result<(), ExportError> {
        if self.stop.is_cancelled() { Err(ExportError::Interrupted) } else { Ok(()) }
    }

    /// Starts a file beside its place.
    pub(in crate::snapshot) fn begin(&self, path: &str) -> Result<BufWriter<File>, ExportError> {
        self.go_on()?;
        let beside = self.beside(path);
        Ok(BufWriter::with_capacity(1 << 18, File::create(&beside).map_err(failed(&beside))?))
    }

    /// Makes a written file durable and gives it its name; returns its size.
    pub(in crate::snapshot) fn finish(&self, path: &str, mut file: BufWriter<File>) -> Result<u64, ExportError> {
        let (beside, place) = (self.beside(path), self.dir.join(path));
        let mut put = || -> std::io::Result<u64> {
            file.flush()?;
            let bytes = file.get_ref().metadata()?.len();
            file.get_ref().sync_all()?;
            let parent = place.parent().unwrap_or(&self.dir);
            fs::create_dir_all(parent)?;
            fs::rename(&beside, &place)?;
            // Up to the export's own directory: a new day is a new directory, and its name must last too.
            for dir in parent.ancestors() {
                File::open(dir)?.sync_all()?;
                if dir == self.dir {
                    break;
                }
            }
            Ok(bytes)
        };
        put().map_err(failed(&place))
    }

    /// Writes a file whole; returns its size.
    pub(in crate::snapshot) fn write(
        &self,
        path: &str,
        fill: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>, String>,
    ) -> Result<u64, ExportError> {
        let filled = fill(self.begin(path)?);
        let file =
            filled.map_err(|error| ExportError::Format { path: self.dir.join(path).display().to_string(), error })?;
        self.finish(path, file)
    }

    /// Gives a file that is durable another name.
    pub(in crate::snapshot) fn rename(&self, path: &str, other: &str) -> Result<(), ExportError> {
        let place = self.dir.join(other);
        let put = || -> std::io::Result<()> {
            fs::rename(self.dir.join(path), &place)?;
            File::open(place.parent().unwrap_or(&self.dir))?.sync_all()
        };
        put().map_err(failed(&place))
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.dir.join(WRITING).join(path.replace('/', "_"))
    }
}

impl Drop for Durable {
    /// What found no room must not take up the last of it until the next attempt.
    fn drop(&mut self) {
        // What cannot be removed now is removed by that.
        let _ = fs::remove_dir_all(self.dir.join(WRITING));
    }
}
