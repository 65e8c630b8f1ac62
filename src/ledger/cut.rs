//! A cut: all that a ledger holds at exactly one sequence, piece by piece, for whoever copies it elsewhere.
//!
//! Invariant: a cut of a running ledger holds what was acknowledged before it was asked for, and nothing that is half folded. It is
//! made as a checkpoint is: of references to blocks, which are copied only when they are written meanwhile, and each is let go of as
//! soon as it was read. So it holds no transaction of the file, however long it is read, and at most one more copy of the state.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::checkpoint::{Stored, Version};
use super::journal::Entries;
use super::lineage::Lineage;
use super::migrations::{MIGRATIONS, newest};
use super::store::{self, Lock, OpenError};
use super::tables::JOURNAL;
use crate::state::Tables;
use crate::state::tables::BlockRef;

/// What a cut is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Format of the file.
    pub format: u64,
    /// Epoch of the store.
    pub epoch: u64,
    /// The blocks show the state at this sequence.
    pub checkpoint: u64,
    /// The journal after them goes up to this one.
    pub seq: u64,
}

/// A part of a cut: first all blocks, by table and number, then the journal, by sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A block of a table.
    Block {
        /// Table number.
        table: u8,
        /// Block number.
        block: u32,
        /// The record, not packed.
        record: Vec<u8>,
    },
    /// An entry of the journal.
    Entry {
        /// Its sequence.
        seq: u64,
        /// The record, not packed.
        record: Vec<u8>,
    },
}

/// The cut.
#[derive(Debug)]
pub struct Cut {
    origin: Origin,
    lineage: Lineage,
    /// About how many pieces there are, for a bar.
    len: u64,
    pieces: Pieces,
}

#[derive(Debug)]
enum Pieces {
    Memory(std::vec::IntoIter<BlockRef>),
    File {
        blocks: Box<Stored>,
        entries: Box<Entries>,
        /// Closed, and then unlocked, after everything was read.
        _db: Box<Database>,
        _lock: Option<Lock>,
    },
}

impl Cut {
    /// Of the state at a sequence.
    pub(super) fn of_state(tables: &Tables, lineage: Lineage, seq: u64) -> Cut {
        let blocks = tables.blocks(0);
        let origin = Origin { format: newest(MIGRATIONS), epoch: lineage.epoch, checkpoint: seq, seq };
        Cut { origin, lineage, len: blocks.len() as u64, pieces: Pieces::Memory(blocks.into_iter()) }
    }

    /// Of a file that nobody has open; it is not changed, and not brought to a newer format.
    pub fn of_file(path: &Path) -> Result<Cut, OpenError> {
        let store::Looked { db, format, lineage, checkpoint, lock } = store::look(path)?;
        let txn = db.begin_read()?;
        let journal = txn.open_table(JOURNAL)?;
        let seq = journal.last()?.map_or(checkpoint, |(seq, _)| seq.value().max(checkpoint));
        let (blocks, entries) = (Stored::at(&txn, checkpoint)?, Entries::after(&txn, checkpoint)?);
        let len = redb::ReadableTableMetadata::len(&txn.open_table(super::tables::BLOCKS)?)? + (seq - checkpoint);
        let (blocks, entries) = (Box::new(blocks), Box::new(entries));
        let pieces = Pieces::File { blocks, entries, _db: Box::new(db), _lock: Some(lock) };
        let origin = Origin { format, epoch: lineage.epoch, checkpoint, seq };
        Ok(Cut { origin, lineage, len, pieces })
    }

    /// What it is of.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Where what it is of comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// About how many pieces are left.
    pub fn pieces_left(&self) -> u64 {
        self.len
    }
}

impl Iterator for Cut {
    type Item = Result<Piece, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.len = self.len.saturating_sub(1);
        match &mut self.pieces {
            Pieces::Memory(blocks) => {
                let block = blocks.next()?;
                Some(Ok(Piece::Block { table: block.table, block: block.block, record: block.encode() }))
            }
            Pieces::File { blocks, entries, .. } => {
                for version in blocks.by_ref() {
                    match version {
                        Ok(Version::Current(table, block, record)) => {
                            return Some(examined(Piece::Block { table, block, record }));
                        }
                        Ok(Version::Stale(_)) => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                entries.next().map(|entry| entry.and_then(|(seq, record)| examined(Piece::Entry { seq, record })))
            }
        }
    }
}

/// A piece whose record reads as what it should be: a copy of anything else would be worth nothing.
pub(super) fn examined(piece: Piece) -> Result<Piece, OpenError> {
    let (what, read) = match &piece {
        Piece::Block { table, block, record } => {
            (format!("block {block} of table {table}"), Tables::examine(*table, record).map(drop))
        }
        Piece::Entry { seq, record } => (format!("journal entry {seq}"), super::journal::facts(record).map(drop)),
    };
    match read {
        Ok(()) => Ok(piece),
        Err(source) => Err(OpenError::Damaged { what, source: Some(source) }),
    }
}
