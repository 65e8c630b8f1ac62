//! One look at the folder: which files there are, which changed, what is in them.
//!
//! Invariant: a file that cannot be read, or a folder that cannot be listed, makes the look broken or incomplete, never empty.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use walkdir::{DirEntry, WalkDir};

use super::document::{MAX_FILE, parse};
use super::git::{Checkout, checkout};
use super::scan::{Found, Look};
use crate::normalize::Rejection;

/// A file written this recently may be half written, or change again within one tick of its clock: it is read again.
const FRESH: Duration = Duration::from_secs(2);

/// Remembers what files looked like, so that only changed ones are read.
#[derive(Debug)]
pub struct Looker {
    dir: PathBuf,
    source: String,
    stamps: HashMap<String, Stamp>,
    checkouts: HashSet<PathBuf>,
    busy: bool,
    said: HashSet<String>,
}

/// By what a changed file is known without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    revision: Option<String>,
}

impl Looker {
    /// Looks at a folder for a source.
    pub fn new(dir: PathBuf, source: String) -> Looker {
        Looker { dir, source, stamps: HashMap::new(), checkouts: HashSet::new(), busy: false, said: HashSet::new() }
    }

    /// The git directories of the checkouts the files are in.
    pub fn git_dirs(&self) -> Vec<PathBuf> {
        self.checkouts.iter().cloned().collect()
    }

    /// Git or somebody else was writing during the last look or just before.
    pub fn busy(&self) -> bool {
        self.busy
    }

    /// Looks at the folder now.
    pub fn look(&mut self) -> Look {
        let mut look = Look { files: BTreeMap::new(), complete: true };
        self.busy = false;
        let mut checkouts: HashMap<PathBuf, Option<(Checkout, Option<String>)>> = HashMap::new();
        let walk =
            WalkDir::new(&self.dir).follow_links(true).sort_by_file_name().into_iter().filter_entry(is_of_interest);
        let mut stamps = HashMap::new();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                // A link to a folder above is no reason for doubt; its files are found on the way already.
                Err(error) if error.loop_ancestor().is_some() => continue,
                // A file that went between listing and looking is simply not there.
                Err(error) if error.depth() > 0 && is_missing(&error) => continue,
                Err(error) => {
                    look.complete = false;
                    let place = error.path().unwrap_or(&self.dir).display().to_string();
                    self.say(
                        &place,
                        &Rejection::new(
                            error.to_string(),
                            "let the hub read the folder; until then nothing in it counts as deleted",
                        ),
                    );
                    continue;
                }
            };
            if !entry.file_type().is_file() || !has_documents(entry.path()) {
                continue;
            }
            let Ok(below) = entry.path().strip_prefix(&self.dir) else { continue };
            let path = below.to_string_lossy().into_owned();
            let folder = entry.path().parent().unwrap_or(&self.dir).to_owned();
            let revision = checkouts
                .entry(folder)
                .or_insert_with_key(|folder| checkout(folder).map(|found| (found.clone(), found.revision())))
                .as_ref()
                .and_then(|(_, revision)| revision.clone());
            let (found, stamp) = self.file(&path, &entry, revision);
            stamps.insert(path.clone(), stamp);
            look.files.insert(path, found);
        }
        if !look.complete {
            // What could not be looked at keeps its stamp.
            for (path, stamp) in std::mem::take(&mut self.stamps) {
                stamps.entry(path).or_insert(stamp);
            }
        }
        self.stamps = stamps;
        let found: Vec<Checkout> = checkouts.into_values().flatten().map(|(checkout, _)| checkout).collect();
        self.busy |= found.iter().any(Checkout::busy);
        self.checkouts = found.into_iter().map(|checkout| checkout.git_dir).collect();
        look
    }

    fn file(&mut self, path: &str, entry: &DirEntry, revision: Option<String>) -> (Found, Stamp) {
        let metadata = entry.metadata().ok();
        let mut stamp = Stamp {
            modified: metadata.as_ref().and_then(|metadata| metadata.modified().ok()),
            length: metadata.as_ref().map_or(0, Metadata::len),
            revision,
        };
        let fresh = stamp.modified.is_none_or(|at| at.elapsed().is_ok_and(|age| age < FRESH));
        self.busy |= fresh;
        if !fresh && self.stamps.get(path) == Some(&stamp) {
            return (Found::Same, stamp);
        }
        match read(entry.path()) {
            Ok(bytes) => {
                let parsed = parse(path, &bytes, &self.source, stamp.revision.as_deref());
                for error in &parsed.errors {
                    self.say(path, error);
                }
                if parsed.errors.is_empty() {
                    let own = format!("{path}\0");
                    self.said.retain(|said| !said.starts_with(&own));
                }
                (parsed.into(), stamp)
            }
            Err(rejection) => {
                self.say(path, &rejection);
                // It is read again at the next look, whatever its time says.
                stamp.modified = None;
                (Found::Broken { documents: Vec::new(), refused: Vec::new(), unreadable: true }, stamp)
            }
        }
    }

    /// Says what is wrong with a file, once until it is right again.
    fn say(&mut self, path: &str, error: &Rejection) {
        if self.said.insert(format!("{path}\0{}", error.title)) {
            tracing::error!(file = path, "{}: {}; its last good documents stay in force", error.title, error.detail);
        }
    }
}

fn is_missing(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound)
}

fn read(path: &Path) -> Result<Vec<u8>, Rejection> {
    let unreadable =
        |error: std::io::Error| Rejection::new(format!("cannot be read: {error}"), "let the hub read the file");
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Rejection::new(
            "the file is longer than 64 MiB",
            "split it, or send it to POST /api/v1/ingest, which reads streams of any length",
        ));
    }
    Ok(bytes)
}

/// Git's own folder is none of ours, and `..data` is how Kubernetes mounts the same files a second time.
fn is_of_interest(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() == 0 || !(name == ".git" || name.starts_with(".."))
}

fn has_documents(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json" | "ndjson"))
}
