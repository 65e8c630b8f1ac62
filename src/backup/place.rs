//! Where a backup is: a file, or an object of a store.
//!
//! Invariant: what has its name is whole and was read back, and nothing that is there is overwritten.

use std::fmt;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::bucket::Object;
use super::refusal::Cloud;
use super::write::PARTIAL;
use super::{BackupError, Progress, Whole, verify, write_file};

/// The place of a backup, or of a folder of them.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file system.
    File(PathBuf),
    /// In an object store.
    Object(Object),
}

impl Place {
    /// Reads what an option says: a path, or `s3://bucket/name`, `az://container/name`, `gs://bucket/name`. Nobody is asked yet.
    pub fn parse(option: &Path) -> Result<Place, BackupError> {
        let Some((scheme, text)) = option.to_str().and_then(|text| Some((text.split_once("://")?.0, text))) else {
            return Ok(Place::File(option.to_owned()));
        };
        let object = match Cloud::of(scheme) {
            Some(cloud) => Object::parse(text, cloud),
            None => Err("a backup goes to a path, or to s3://, az://, abfss:// or gs://".to_owned()),
        };
        object.map(Place::Object).map_err(|why| BackupError::Address { text: shown(text), why })
    }

    /// Puts a backup here: whole and read back, or not at all. Tells its size.
    pub fn put<E: From<BackupError>>(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(Whole, u64), E> {
        match self {
            Place::File(path) => {
                let whole = write_file(path, |out| fill(out))?;
                let bytes = path.metadata().map_err(|error| failed(self)(error))?.len();
                Ok((whole, bytes))
            }
            Place::Object(object) => {
                if object.is_bucket() {
                    let why = "this is a bucket; name the object, as in s3://bucket/hub.backup".to_owned();
                    return Err(BackupError::Address { text: object.to_string(), why }.into());
                }
                if object.exists().map_err(failed(self))? {
                    let there = "it is there already, and is not overwritten";
                    let there = std::io::Error::new(std::io::ErrorKind::AlreadyExists, there);
                    return Err(failed(self)(there).into());
                }
                let mut upload = object.write().map_err(failed(self))?;
                fill(&mut upload)?;
                let bytes = upload.finish().map_err(failed(self))?;
                let whole = self.verify(&mut |_, _| {});
                if whole.is_err() {
                    // It is worth nothing; if it cannot be removed, whoever reads it sees that.
                    let _ = object.remove();
                }
                Ok((whole?, bytes))
            }
        }
    }

    /// Its bytes, and how many they are.
    pub fn read(&self) -> Result<(Box<dyn Read>, u64), BackupError> {
        match self {
            Place::File(path) => {
                let file = crate::plain_file::open(path).map_err(failed(self))?;
                let bytes = file.metadata().map(|m| m.len()).unwrap_or_default();
                Ok((Box::new(BufReader::with_capacity(1 << 18, file)), bytes))
            }
            Place::Object(object) => {
                let download = object.read().map_err(failed(self))?;
                let bytes = download.size();
                Ok((Box::new(download), bytes))
            }
        }
    }

    /// Reads a backup to its end, and tells what it is if it is whole.
    pub fn verify(&self, progress: Progress<'_>) -> Result<Whole, BackupError> {
        let (from, _) = self.read()?;
        verify(from, progress)
    }

    pub(super) fn child(&self, name: &str) -> Place {
        match self {
            Place::File(path) => Place::File(path.join(name)),
            Place::Object(object) => Place::Object(object.child(name)),
        }
    }

    /// Names and sizes of what is in a folder.
    pub(super) fn children(&self) -> Result<Vec<(String, u64)>, BackupError> {
        let list = || match self {
            Place::File(path) => {
                let sized = |entry: std::fs::DirEntry| {
                    Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()))
                };
                Ok(std::fs::read_dir(path)?.flatten().filter_map(sized).collect())
            }
            Place::Object(object) => object.children(),
        };
        list().map_err(failed(self))
    }

    pub(super) fn remove(&self) -> Result<(), BackupError> {
        let removed = match self {
            Place::File(path) => std::fs::remove_file(path),
            Place::Object(object) => object.remove(),
        };
        removed.map_err(failed(self))
    }

    /// Makes a folder where there are folders.
    pub(super) fn make(&self) -> Result<(), BackupError> {
        match self {
            Place::File(path) => std::fs::create_dir_all(path).map_err(failed(self)),
            Place::Object(_) => Ok(()),
        }
    }

    /// How files that are not whole yet end here; an object that is not whole has no name.
    pub(super) fn partial(&self) -> Option<&'static str> {
        matches!(self, Place::File(_)).then_some(PARTIAL)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => path.display().fmt(f),
            Place::Object(object) => object.fmt(f),
        }
    }
}

/// An address without what may be a secret: a password, and what follows the name.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (user, host))) if user.contains(':') || !scheme.starts_with("abfs") => {
            format!("{scheme}://{host}")
        }
        _ => text.to_owned(),
    }
}

fn failed(place: &Place) -> impl Fn(std::io::Error) -> BackupError + '_ {
    move |error| BackupError::Io { what: place.to_string(), error }
}
