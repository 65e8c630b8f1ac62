//! Checkpoints: the state's tables, written in slices beside the journal, and read back at start.
//!
//! Invariant: what [`load`] reads is the state at exactly one sequence, the checkpoint. Slices write new versions of blocks that
//! nobody reads until the transaction of the last slice moves the checkpoint; only then do old versions and journal go.

use std::fmt;
use std::iter::Peekable;
use std::time::Instant;

use redb::{Database, Range, ReadTransaction, ReadableDatabase};

use super::journal;
use super::record::{Packer, Unpacker};
use super::store::{OpenError, begin};
use super::tables::{BLOCKS, BlockKey, CHECKPOINT, META};
use crate::state::tables::BlockRef;
use crate::state::{State, Tables};

/// Deletions per slice.
const SLICE_DELETIONS: usize = 256;

/// A checkpoint under way.
#[derive(Debug)]
pub(super) struct Checkpoint {
    seq: u64,
    /// Blocks still to be written; each is released when it is.
    blocks: std::vec::IntoIter<BlockRef>,
    written: Vec<(u8, u32)>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Writing blocks.
    Write,
    /// The checkpoint stands; deleting the versions it replaced, from this block on.
    Replace(usize),
    /// Deleting the journal before it.
    Trim,
    Done,
}

impl Checkpoint {
    /// A checkpoint of the state at `seq`; the one before it was at `since`.
    pub(super) fn new(tables: &Tables, since: u64, seq: u64) -> Checkpoint {
        Checkpoint { seq, blocks: tables.blocks(since).into_iter(), written: Vec::new(), phase: Phase::Write }
    }

    /// The sequence it is of.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// True when this checkpoint is the one a restart reads.
    pub(super) fn stands(&self) -> bool {
        !matches!(self.phase, Phase::Write)
    }

    /// True when nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Does one slice, in one transaction of about `slice_bytes`.
    pub(super) fn step(&mut self, db: &Database, packer: &mut Packer, slice_bytes: usize) -> Result<(), redb::Error> {
        self.phase = match self.phase {
            Phase::Write => self.write(db, packer, slice_bytes)?,
            Phase::Replace(from) => {
                let to = self.written.len().min(from + SLICE_DELETIONS);
                delete(db, &stale_versions(db, &self.written[from..to], self.seq)?)?;
                if to == self.written.len() { Phase::Trim } else { Phase::Replace(to) }
            }
            Phase::Trim => {
                if journal::trim(db, self.seq, SLICE_DELETIONS as u64)? {
                    Phase::Done
                } else {
                    Phase::Trim
                }
            }
            Phase::Done => Phase::Done,
        };
        Ok(())
    }

    fn write(&mut self, db: &Database, packer: &mut Packer, slice_bytes: usize) -> Result<Phase, redb::Error> {
        let txn = begin(db)?;
        let mut bytes = 0;
        let mut stored = txn.open_table(BLOCKS)?;
        let phase = loop {
            if bytes >= slice_bytes {
                break Phase::Write;
            }
            let Some(block) = self.blocks.next() else {
                txn.open_table(META)?.insert(CHECKPOINT, self.seq)?;
                break Phase::Replace(0);
            };
            let packed = packer.pack(&block.encode());
            stored.insert((block.table, block.block, self.seq), packed.as_slice())?;
            self.written.push((block.table, block.block));
            bytes += packed.len();
        };
        drop(stored);
        txn.commit()?;
        Ok(phase)
    }
}

/// The versions of these blocks that a checkpoint at `seq` replaced.
fn stale_versions(db: &Database, blocks: &[(u8, u32)], seq: u64) -> Result<Vec<BlockKey>, redb::Error> {
    let stored = db.begin_read()?.open_table(BLOCKS)?;
    let mut stale = Vec::new();
    for &(table, block) in blocks {
        for version in stored.range((table, block, 0)..(table, block, seq))? {
            stale.push(version?.0.value());
        }
    }
    Ok(stale)
}

fn delete(db: &Database, keys: &[BlockKey]) -> Result<(), redb::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let txn = begin(db)?;
    {
        let mut stored = txn.open_table(BLOCKS)?;
        for key in keys {
            stored.remove(key)?;
        }
    }
    txn.commit()?;
    Ok(())
}

/// Reads the state at `checkpoint`, and clears away what unfinished checkpoints left.
pub(super) fn load(db: &Database, checkpoint: u64) -> Result<State, OpenError> {
    let began = Instant::now();
    let (tables, stale) = read(db, checkpoint)?;
    let read = began.elapsed().as_secs_f64();
    for slice in stale.chunks(SLICE_DELETIONS) {
        delete(db, slice)?;
    }
    while !journal::trim(db, checkpoint, SLICE_DELETIONS as u64)? {}
    let began = Instant::now();
    let state = State::from_tables(tables);
    tracing::debug!(read_seconds = read, derive_seconds = began.elapsed().as_secs_f64(), "opened the ledger");
    Ok(state)
}

/// Clears away what unfinished checkpoints left: a later one writes what changed since the one that stands, which need not be all
/// that they wrote.
pub(super) fn clear(db: &Database, checkpoint: u64) -> Result<(), redb::Error> {
    let mut unfinished = Vec::new();
    for version in db.begin_read()?.open_table(BLOCKS)?.range::<BlockKey>(..)? {
        unfinished.push(version?.0.value());
    }
    unfinished.retain(|(_, _, seq)| *seq > checkpoint);
    unfinished.chunks(SLICE_DELETIONS).try_for_each(|slice| delete(db, slice))
}

/// The tables at `checkpoint`, and the stored versions that no longer or never belonged to it.
pub(super) fn read(db: &Database, checkpoint: u64) -> Result<(Tables, Vec<BlockKey>), OpenError> {
    let mut tables = Tables::default();
    let mut stale = Vec::new();
    for version in Stored::at(&db.begin_read()?, checkpoint)? {
        match version? {
            Version::Stale(key) => stale.push(key),
            Version::Current(table, block, record) => {
                let what = || format!("block {block} of table {table}");
                let damaged = |source| OpenError::Damaged { what: what(), source: Some(source) };
                tables.restore(table, &record).map_err(damaged)?;
            }
        }
    }
    Ok((tables, stale))
}

/// The blocks of a file, by table and number: of each the version that a checkpoint names, and the others.
pub(super) struct Stored {
    versions: Peekable<Range<'static, BlockKey, &'static [u8]>>,
    checkpoint: u64,
    expected: (u8, u32),
    unpacker: Unpacker,
}

/// A stored version of a block.
pub(super) enum Version {
    /// Table, block and record, as of the checkpoint.
    Current(u8, u32, Vec<u8>),
    /// No longer or never part of the checkpoint.
    Stale(BlockKey),
}

impl Stored {
    /// As of a checkpoint.
    pub(super) fn at(txn: &ReadTransaction, checkpoint: u64) -> Result<Stored, OpenError> {
        let unpacker = Unpacker::new().map_err(|error| OpenError::Io { path: "the tables".into(), error })?;
        let versions = txn.open_table(BLOCKS)?.range::<BlockKey>(..)?.peekable();
        Ok(Stored { versions, checkpoint, expected: (0, 0), unpacker })
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("checkpoint", &self.checkpoint).finish_non_exhaustive()
    }
}

impl Iterator for Stored {
    type Item = Result<Version, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, packed) = match self.versions.next()? {
            Ok(version) => version,
            Err(error) => return Some(Err(error.into())),
        };
        let (table, block, seq) = key.value();
        let replaced = match self.versions.peek() {
            Some(Ok((next, _))) => {
                let next = next.value();
                (next.0, next.1) == (table, block) && next.2 <= self.checkpoint
            }
            _ => false,
        };
        if seq > self.checkpoint || replaced {
            return Some(Ok(Version::Stale((table, block, seq))));
        }
        if table != self.expected.0 {
            self.expected = (table, 0);
        }
        if (table, block) != self.expected {
            let missing = format!("table {table} (no block {})", self.expected.1);
            return Some(Err(OpenError::Damaged { what: missing, source: None }));
        }
        self.expected.1 += 1;
        let damaged =
            |source| OpenError::Damaged { what: format!("block {block} of table {table}"), source: Some(source) };
        Some(self.unpacker.unpack(packed.value()).map(|record| Version::Current(table, block, record)).map_err(damaged))
    }
}
