//! Opening the ledger's file: who may, and which formats are understood.
//!
//! Invariant: at most one process has a file open, and a file that this binary does not understand is not touched.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, Durability, ReadableDatabase, StorageBackend, TableError, WriteTransaction};

use super::lineage::Lineage;
use super::migrations::{MIGRATIONS, migrate, newest};
use super::overlay::Overlay;
use super::record::RecordError;
use super::tables::{BLOCKS, CHECKPOINT, EPOCH, FORMAT, JOURNAL, META};
use crate::model::Micros;

/// Where a ledger lives. All places run the same code.
pub struct Store(Place);

enum Place {
    File(PathBuf),
    Backend(Box<Create>),
    Memory,
}

type Create = dyn Fn(&redb::Builder) -> Result<Database, DatabaseError> + Send;

impl Store {
    /// A file, created if it is missing; beside it a file `LOCK` says who has it open.
    pub fn file(path: &Path) -> Store {
        Store(Place::File(path.to_owned()))
    }

    /// The file, where it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Backend(_) | Place::Memory => None,
        }
    }

    /// Memory: for tests, and for a hub that keeps nothing.
    pub fn memory() -> Store {
        Store(Place::Memory)
    }

    /// Anything redb can write to; clones are the same place.
    pub fn backend(backend: impl StorageBackend + Clone) -> Store {
        Store(Place::Backend(Box::new(move |builder| builder.create_with_backend(backend.clone()))))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "Store({})", path.display()),
            Place::Backend(_) => f.write_str("Store(backend)"),
            Place::Memory => f.write_str("Store(memory)"),
        }
    }
}

/// Why a ledger does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "{path} is already open ({holder}): one data directory serves one hub; stop the other one, or choose another directory"
    )]
    Locked {
        /// The file.
        path: String,
        /// Who has it, in words.
        holder: String,
    },
    /// The file is from the future.
    #[error(
        "written by a newer koh (format {found}, this one reads up to {supported}): upgrade koh or restore a backup"
    )]
    Newer {
        /// The file's format.
        found: u64,
        /// The newest format known here.
        supported: u64,
    },
    /// A redb file of somebody else.
    #[error("{path} is a redb file, but not a ledger of koh: choose another data directory")]
    Foreign {
        /// The file.
        path: String,
    },
    /// A restore that did not end.
    #[error(
        "a restore into {path} did not finish: run koh restore again with the same backup, or delete {unfinished}, \
         and the folder archive beside it, to begin with an empty hub"
    )]
    Unfinished {
        /// The file that is not there.
        path: String,
        /// What the restore left.
        unfinished: String,
    },
    /// Nothing there to look at.
    #[error("there is no ledger at {path}: name the data directory of a hub")]
    Absent {
        /// The file.
        path: String,
    },
    /// A migration failed.
    #[error("migration {name:?} failed; the file is unchanged since the step before it")]
    Migration {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored bytes do not read as what they should be.
    #[error("{what} is damaged: restore a backup")]
    Damaged {
        /// Which part.
        what: String,
        /// Why, where a record told.
        #[source]
        source: Option<RecordError>,
    },
    /// The file system said no.
    #[error("cannot open {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// redb said no.
    #[error("cannot open the ledger: {0}")]
    Database(Box<redb::Error>),
}

impl OpenError {
    /// Whether the file itself is at fault, so that a backup helps, rather than who asks or what asks.
    pub fn is_damage(&self) -> bool {
        match self {
            OpenError::Damaged { .. } | OpenError::Foreign { .. } => true,
            OpenError::Database(error) => matches!(**error, redb::Error::Corrupted(_)),
            // How redb says that the first bytes are not its own, or that the file ends too early.
            OpenError::Io { error, .. } => {
                matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
            }
            _ => false,
        }
    }
}

/// redb has one error type per family of operations; each of them ends an opening in the same way.
macro_rules! ends_an_opening {
    ($($error:ty),*) => {
        $(impl From<$error> for OpenError {
            fn from(error: $error) -> OpenError {
                OpenError::Database(Box::new(error.into()))
            }
        })*
    };
}

ends_an_opening!(
    redb::Error,
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// An open file of a format this binary reads.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: Database,
    pub(super) lineage: Lineage,
    pub(super) checkpoint: u64,
    /// Held as long as the database is.
    pub(super) lock: Option<Lock>,
}

/// Starts a transaction whose commit is on disk when it returns, and after which a crash needs no repair.
pub(super) fn begin(db: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    Ok(txn)
}

/// Opens or creates the file and brings it to the newest format.
pub(super) fn open(store: &Store, cache_bytes: usize) -> Result<Opened, OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let (path, db, lock) = match &store.0 {
        Place::File(path) => {
            let name = path.display().to_string();
            let lock = Lock::take(path)?;
            if !path.exists() {
                let unfinished = beside(path, RESTORING);
                if unfinished.exists() {
                    return Err(left_by_a_restore(name, &unfinished));
                }
                create(path, &builder)?;
            }
            let db = builder.create(path).map_err(|error| explain(error, path))?;
            (name, db, Some(lock))
        }
        Place::Backend(create) => (NAMELESS.to_owned(), create(&builder)?, None),
        Place::Memory => {
            let backend = redb::backends::InMemoryBackend::new();
            (NAMELESS.to_owned(), builder.create_with_backend(backend)?, None)
        }
    };
    let format = match format(&db)? {
        Format::Known(format) => format,
        Format::Foreign => return Err(OpenError::Foreign { path }),
        Format::Blank => {
            initialise(&db)?;
            newest(MIGRATIONS)
        }
    };
    migrate(&db, format, MIGRATIONS)?;
    let (lineage, checkpoint) = position(&db, &path)?;
    Ok(Opened { db, lineage, checkpoint, lock })
}

/// Opens what this process had open already, and has the lock of: after an error the storage engine takes nothing any more
/// until then. Gives the checkpoint too, for nobody knows which of the last commits were whole.
pub(super) fn reopen(store: &Store, cache_bytes: usize) -> Result<(Database, u64), OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let (path, db) = match &store.0 {
        Place::File(path) => (path.display().to_string(), builder.open(path).map_err(|error| explain(error, path))?),
        Place::Backend(create) => (NAMELESS.to_owned(), create(&builder)?),
        Place::Memory => return Err(redb::Error::DatabaseClosed.into()),
    };
    let (_, checkpoint) = position(&db, &path)?;
    Ok((db, checkpoint))
}

/// What a store without a path is called.
const NAMELESS: &str = "the store";

/// The lineage and the checkpoint of a file.
fn position(db: &Database, path: &str) -> Result<(Lineage, u64), OpenError> {
    let txn = db.begin_read()?;
    let meta = txn.open_table(META)?;
    let number = |key: &str| -> Result<u64, OpenError> {
        let damaged = || OpenError::Damaged { what: format!("the field {key:?} of {path}"), source: None };
        Ok(meta.get(key)?.ok_or_else(damaged)?.value())
    };
    Ok((Lineage::read(&txn, number(EPOCH)?)?, number(CHECKPOINT)?))
}

/// A file that is only looked at, of this format or an older one.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) db: Database,
    pub(super) format: u64,
    pub(super) lineage: Lineage,
    pub(super) checkpoint: u64,
    /// Held as long as the database is.
    pub(super) lock: Lock,
}

/// Opens a file that nobody else has open, to read it; nothing in it is changed.
pub(super) fn look(path: &Path) -> Result<Looked, OpenError> {
    let name = path.display().to_string();
    if !path.exists() {
        let unfinished = beside(path, RESTORING);
        return Err(if unfinished.exists() {
            left_by_a_restore(name, &unfinished)
        } else {
            OpenError::Absent { path: name }
        });
    }
    let lock = Lock::take(path)?;
    let overlay = Overlay::over(path).map_err(|error| OpenError::Io { path: name.clone(), error })?;
    let mut builder = Database::builder();
    builder.set_cache_size(LOOK_CACHE);
    let db = builder.create_with_backend(overlay).map_err(|error| explain(error, path))?;
    let format = match format(&db)? {
        Format::Known(format) if format > newest(MIGRATIONS) => {
            return Err(OpenError::Newer { found: format, supported: newest(MIGRATIONS) });
        }
        Format::Known(format) => format,
        Format::Foreign | Format::Blank => return Err(OpenError::Foreign { path: name }),
    };
    let (lineage, checkpoint) = position(&db, &name)?;
    Ok(Looked { db, format, lineage, checkpoint, lock })
}

fn left_by_a_restore(path: String, unfinished: &Path) -> OpenError {
    OpenError::Unfinished { path, unfinished: unfinished.display().to_string() }
}

/// The page cache for looking: what is read is read once.
const LOOK_CACHE: usize = 16 << 20;

/// What a restore under way is called, after the name of what it makes.
pub(super) const RESTORING: &str = ".restoring";

/// The name of a file with something after it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes what an attempt before this one may have left.
pub(super) fn remove(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OpenError::Io { path: path.display().to_string(), error })
        }
        _ => Ok(()),
    }
}

/// Creates the file under another name and renames it, so that a crash leaves a whole file or none.
fn create(path: &Path, builder: &redb::Builder) -> Result<(), OpenError> {
    let unfinished = beside(path, ".new");
    remove(&unfinished)?;
    let db = builder.create(&unfinished).map_err(|error| explain(error, &unfinished))?;
    initialise(&db)?;
    drop(db);
    put_in_place(&unfinished, path)
}

/// Makes a file durable, and then gives it its name.
pub(super) fn put_in_place(unfinished: &Path, path: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: unfinished.display().to_string(), error };
    File::open(unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(unfinished, path).map_err(io)?;
    // The name is durable when the directory is; where directories cannot be synced, they need not be.
    if let Some(Ok(directory)) = path.parent().filter(|p| !p.as_os_str().is_empty()).map(File::open) {
        let _ = directory.sync_all();
    }
    Ok(())
}

pub(super) fn explain(error: DatabaseError, path: &Path) -> OpenError {
    let path = path.display().to_string();
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            OpenError::Locked { path, holder: "by a process that left no name".into() }
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) => OpenError::Io { path, error },
        other => other.into(),
    }
}

enum Format {
    Blank,
    Foreign,
    Known(u64),
}

fn format(db: &Database) -> Result<Format, OpenError> {
    let txn = db.begin_read()?;
    match txn.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT)?.map_or(Format::Foreign, |v| Format::Known(v.value()))),
        Err(TableError::TableDoesNotExist(_)) if txn.list_tables()?.next().is_none() => Ok(Format::Blank),
        Err(TableError::TableDoesNotExist(_)) => Ok(Format::Foreign),
        Err(error) => Err(error.into()),
    }
}

fn initialise(db: &Database) -> Result<(), OpenError> {
    let txn = begin(db)?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT, newest(MIGRATIONS))?;
        meta.insert(CHECKPOINT, 0)?;
        let epoch = getrandom::u64().map_err(|error| redb::StorageError::Io(error.into()))?;
        meta.insert(EPOCH, epoch)?;
        txn.open_table(JOURNAL)?;
        txn.open_table(BLOCKS)?;
    }
    txn.commit()?;
    Ok(())
}

/// The file `LOCK` beside the ledger, locked, with the name of its holder inside.
#[derive(Debug)]
pub(super) struct Lock {
    /// The operating system releases the lock with the handle; the file stays, for deleting it would race.
    _file: File,
}

impl Lock {
    pub(super) fn take(ledger: &Path) -> Result<Lock, OpenError> {
        let path = ledger.with_file_name("LOCK");
        let io = |error| OpenError::Io { path: path.display().to_string(), error };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever is just writing its name is as good as unnamed.
                let _ = file.take(256).read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "by another process" } else { holder.trim() };
                return Err(OpenError::Locked { path: ledger.display().to_string(), holder: holder.to_owned() });
            }
            // Some network file systems know no locks; redb still guards the file where it can.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        // The lock holds without the name, for which a full volume has no room.
        if let Err(error) = writeln!(file, "by process {} on {} since {}", std::process::id(), host(), Micros::now()) {
            tracing::debug!(%error, "the holder of the lock has no name");
        }
        Ok(Lock { _file: file })
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "an unnamed host".into())
}
