//! Backups: all that a ledger holds, in one file that says itself whether it is whole.
//!
//! ```text
//! 8 bytes   "kohback\n"
//! u32       version of this format; all numbers are little endian
//! frames    u8 kind · u32 length as stored · u32 length unpacked · u128 checksum · the stored bytes, one zstd frame
//!     head     JSON: koh, taken_at, and of the ledger: format, epoch, checkpoint, seq
//!     pieces   blocks of tables (1 · u8 table · u32 block · u32 length · record), then entries of the journal
//!              (2 · u64 seq · u32 length · record), as many as make about a MiB
//!              and then files of the archive (3 · u16 length · path · u64 offset · u32 length · bytes), its manifest last
//!     end      JSON: how many blocks, entries, files and bytes came before it, and their SHA-256
//! ```
//! A backup with files has version 2: a koh that knows no archive must not leave it out.
//!
//! A frame's checksum is the XXH3-128 of its number (u64), its kind, its lengths and its stored bytes; so frames that were changed,
//! swapped or left out are noticed where they are, and a file that was cut short has no end. Records are those of
//! [`crate::ledger::tables`], not packed; the format of the ledger says how they read, and an old one is migrated when it is restored.
//!
//! Invariant: writing and reading hold one frame at a time, and nothing is restored from a file whose end did not prove it whole.

mod archive;
mod bucket;
mod folder;
mod frame;
mod place;
mod read;
mod refusal;
mod write;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use archive::Files;
pub use bucket::Object;
pub use folder::{Folder, Kept};
pub use frame::Part;
pub use place::Place;
pub use read::{Reader, verify, verify_file};
pub use write::{write, write_file};

use crate::ledger::{OpenError, Origin, Rebuild, RestoreError};
use crate::model::Micros;

/// The first bytes of a backup.
const MAGIC: [u8; 8] = *b"kohback\n";
/// The newest version of the format that is read.
const VERSION: u32 = 2;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of koh that wrote it.
    pub koh: String,
    /// When it was begun.
    pub taken_at: String,
    /// Format of the ledger.
    pub format: u64,
    /// Epoch of the store; a restore draws a new one.
    pub epoch: u64,
    /// The blocks show the state at this sequence.
    pub checkpoint: u64,
    /// Everything up to this sequence is in it.
    pub seq: u64,
    /// Epochs of the stores that it was restored from, and the sequence of each that the next went on from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<(u64, u64)>,
}

impl Head {
    fn origin(&self) -> Origin {
        Origin { format: self.format, epoch: self.epoch, checkpoint: self.checkpoint, seq: self.seq }
    }
}

/// What is in a backup, by its own end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Blocks of tables.
    pub blocks: u64,
    /// Entries of the journal.
    pub entries: u64,
    /// Files of the archive.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub files: u64,
    /// Bytes before the end.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// What it is of.
    pub head: Head,
    /// What is in it.
    pub end: End,
}

/// Why a backup was not made, or not read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system, or whoever reads, said no.
    #[error("{what}: {error}")]
    Io {
        /// The file, and what was done with it.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// What should be the address of a backup is none.
    #[error("{text}: {why}")]
    Address {
        /// The address, without what may be a secret.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It does not begin like one.
    #[error("this is not a backup of koh: it begins with other bytes")]
    Foreign,
    /// A newer koh wrote it.
    #[error(
        "this backup has format {found}, and this koh reads up to {VERSION}: restore it with the koh that wrote it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error("the backup is cut short: it ends at byte {at}, {within}. Copy it again, or take another one")]
    Short {
        /// Where.
        at: u64,
        /// Within what.
        within: &'static str,
    },
    /// It holds something else than what was written.
    #[error(
        "the backup is damaged in its frame {frame}, which begins at byte {at}: {what}. Copy it again, or take another one"
    )]
    Damaged {
        /// Number of the frame, from 0.
        frame: u64,
        /// Where that begins.
        at: u64,
        /// How it shows.
        what: String,
    },
    /// A file of the archive is not what was archived.
    #[error(
        "{path}, a part of the archive: {what}. No backup is made of that: restore the archive from the newest backup first"
    )]
    Archive {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The archive is gone.
    #[error(
        "history before {since} left the ledger for an archive that is not there, or not all of it. No backup is made without it: koh \
         check says what to do"
    )]
    NoArchive {
        /// What was before this is in the archive.
        since: Micros,
    },
    /// The ledger that is copied cannot be read.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The ledger cannot be made of it.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// How far something has come: bytes of the backup, and pieces left where that is known.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Makes the ledger of a data directory from a backup. Gives what was restored, and the new epoch.
pub fn restore(from: impl std::io::Read, data: &Path, progress: Progress<'_>) -> Result<(Whole, u64), BackupError> {
    let mut reader = Reader::open(from)?;
    let mut rebuild = Rebuild::begin(&ledger_of(data), reader.head().origin(), reader.head().former.clone())?;
    let mut unpacked = archive::Unpacked::new(data);
    while let Some(parts) = reader.next()? {
        for part in parts {
            match part {
                Part::Piece(piece) => rebuild.piece(piece)?,
                Part::File { path, offset, bytes } => unpacked.put(&path, offset, &bytes)?,
            }
        }
        progress(reader.bytes(), None);
    }
    let whole = reader.finish()?;
    // Before the ledger, which is what makes the directory one of a hub.
    unpacked.finish()?;
    match rebuild.finish() {
        Ok(epoch) => Ok((whole, epoch)),
        Err(error) => {
            unpacked.take_back()?;
            Err(error.into())
        }
    }
}

/// The file of the ledger in a data directory.
pub fn ledger_of(data: &Path) -> PathBuf {
    data.join("hub.redb")
}
