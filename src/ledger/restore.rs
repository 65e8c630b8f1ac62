//! A ledger made of the pieces of a cut.
//!
//! Invariant: until [`Rebuild::finish`] there is nothing that opens as a ledger. Pieces are written to a file of another name, which
//! gets its own only when all of them are durable; the store epoch is a new one, so that positions of before mean nothing here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use redb::Database;

use super::cut::{Origin, Piece, examined};
use super::lineage::Lineage;
use super::migrations::{MIGRATIONS, migrate, newest};
use super::record::Packer;
use super::store::{Lock, OpenError, RESTORING, begin, beside, explain, put_in_place, remove};
use super::tables::{BLOCKS, CHECKPOINT, EPOCH, FORMAT, JOURNAL, META};
use crate::state::Tables;
use crate::state::blocks::BLOCK;

/// Bytes of pieces in one transaction.
const BATCH: usize = 16 << 20;
const CACHE: usize = 32 << 20;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is there that a restore would bury.
    #[error(
        "{directory} is not empty ({found} is there): a restore goes into an empty directory. Name another one, or move away what \
         is there"
    )]
    NotEmpty {
        /// The directory.
        directory: String,
        /// One of the things in it.
        found: String,
    },
    /// The pieces are not those of one cut.
    #[error("the pieces do not make a ledger: {0}")]
    Disorder(String),
    /// The file cannot be made of them.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The restore under way; dropping it removes what it wrote.
#[derive(Debug)]
pub struct Rebuild {
    origin: Origin,
    /// Those before the one that it is made of.
    former: Vec<(u64, u64)>,
    path: PathBuf,
    unfinished: PathBuf,
    db: Option<Database>,
    packer: Packer,
    waiting: Vec<Piece>,
    bytes: usize,
    /// The block that must come next, and whether the one before it was full.
    next: (u8, u32),
    full: bool,
    seq: u64,
    _lock: Lock,
}

impl Rebuild {
    /// Begins a ledger at a path whose directory is empty or not there; `former` are the ledgers that the one it is made of was
    /// restored from.
    pub fn begin(path: &Path, origin: Origin, former: Vec<(u64, u64)>) -> Result<Rebuild, RestoreError> {
        let supported = newest(MIGRATIONS);
        if origin.format == 0 || origin.format > supported {
            return Err(OpenError::Newer { found: origin.format, supported }.into());
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(io(directory))?;
        let unfinished = beside(path, RESTORING);
        must_be_empty(directory, &unfinished)?;
        let lock = Lock::take(path)?;
        // A hub may have begun and ended in between.
        must_be_empty(directory, &unfinished)?;
        remove(&unfinished)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let db = builder.create(&unfinished).map_err(|error| explain(error, &unfinished))?;
        let packer = Packer::new().map_err(io(&unfinished))?;
        Ok(Rebuild {
            origin,
            former,
            path: path.to_owned(),
            unfinished,
            db: Some(db),
            packer,
            waiting: Vec::new(),
            bytes: 0,
            next: (0, 0),
            full: true,
            seq: origin.checkpoint,
            _lock: lock,
        })
    }

    /// Adds a piece, if it is the one that must come next and reads as what it should be.
    pub fn piece(&mut self, piece: Piece) -> Result<(), RestoreError> {
        let disorder = |what: String| Err(RestoreError::Disorder(what));
        match &piece {
            Piece::Block { table, block, record } => {
                if self.seq > self.origin.checkpoint {
                    return disorder(format!("block {block} of table {table} comes after the journal"));
                }
                if *table > self.next.0 {
                    (self.next, self.full) = ((*table, 0), true);
                }
                if (*table, *block) != self.next || !self.full {
                    let (table, expected) = self.next;
                    return disorder(format!(
                        "block {block} of table {table} comes where block {expected} is expected"
                    ));
                }
                self.next.1 += 1;
                self.full = Tables::examine(*table, record).is_ok_and(|records| records == BLOCK);
                self.bytes += record.len();
            }
            Piece::Entry { seq, record } => {
                if *seq != self.seq + 1 {
                    return disorder(format!("journal entry {seq} comes where {} is expected", self.seq + 1));
                }
                self.seq = *seq;
                self.bytes += record.len();
            }
        }
        self.waiting.push(examined(piece)?);
        if self.bytes >= BATCH {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what waits.
    fn write(&mut self) -> Result<(), OpenError> {
        let Some(db) = &self.db else { return Ok(()) };
        let mut stored = || -> Result<(), redb::Error> {
            let txn = begin(db)?;
            {
                let (mut blocks, mut journal) = (txn.open_table(BLOCKS)?, txn.open_table(JOURNAL)?);
                for piece in self.waiting.drain(..) {
                    match piece {
                        Piece::Block { table, block, record } => {
                            let key = (table, block, self.origin.checkpoint);
                            blocks.insert(key, self.packer.pack(&record).as_slice())?;
                        }
                        Piece::Entry { seq, record } => {
                            journal.insert(seq, self.packer.pack(&record).as_slice())?;
                        }
                    }
                }
            }
            txn.commit()?;
            Ok(())
        };
        self.bytes = 0;
        stored().map_err(|error| self.explained(error))
    }

    /// All pieces are there: makes them a ledger, of the newest format, and puts it in its place. Gives its epoch.
    pub fn finish(mut self) -> Result<u64, RestoreError> {
        if self.seq != self.origin.seq {
            let (got, wanted) = (self.seq, self.origin.seq);
            return Err(RestoreError::Disorder(format!("the journal ends at {got}, and {wanted} was announced")));
        }
        self.write()?;
        let epoch = self.new_epoch()?;
        let before = Lineage { epoch: self.origin.epoch, former: std::mem::take(&mut self.former) };
        let lineage = before.restored(self.origin.seq, epoch);
        if let Some(db) = self.db.take() {
            let numbered = || -> Result<(), redb::Error> {
                let txn = begin(&db)?;
                {
                    let mut meta = txn.open_table(META)?;
                    meta.insert(FORMAT, self.origin.format)?;
                    meta.insert(CHECKPOINT, self.origin.checkpoint)?;
                    meta.insert(EPOCH, epoch)?;
                }
                lineage.write(&txn)?;
                txn.commit()?;
                Ok(())
            };
            numbered().map_err(|error| self.explained(error))?;
            migrate(&db, self.origin.format, MIGRATIONS)?;
        }
        put_in_place(&self.unfinished, &self.path)?;
        Ok(epoch)
    }

    fn new_epoch(&self) -> Result<u64, OpenError> {
        loop {
            let epoch = getrandom::u64().map_err(|error| redb::Error::Io(error.into()))?;
            if epoch != self.origin.epoch {
                return Ok(epoch);
            }
        }
    }

    /// A full disk is told by the file that could not be written.
    fn explained(&self, error: redb::Error) -> OpenError {
        match error {
            redb::Error::Io(error) => OpenError::Io { path: self.unfinished.display().to_string(), error },
            other => other.into(),
        }
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        drop(self.db.take());
        // After a success it is gone already; what cannot be removed is replaced by the next attempt.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// What may be in an empty directory: the lock, what an unfinished restore left, and the folder of a new file system.
fn must_be_empty(directory: &Path, unfinished: &Path) -> Result<(), RestoreError> {
    // The archive of a backup gets its name before the ledger does.
    let begun = unfinished.exists().then(|| OsString::from("archive"));
    let allowed = ["LOCK", "lost+found", "archive.restoring"].map(OsString::from);
    for entry in std::fs::read_dir(directory).map_err(io(directory))? {
        let entry = entry.map_err(io(directory))?;
        let known = allowed.iter().chain(&begun).any(|name| *name == entry.file_name());
        if !known && entry.path() != unfinished {
            let found = entry.file_name().to_string_lossy().into_owned();
            return Err(RestoreError::NotEmpty { directory: directory.display().to_string(), found });
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> OpenError + '_ {
    move |error| OpenError::Io { path: path.display().to_string(), error }
}
