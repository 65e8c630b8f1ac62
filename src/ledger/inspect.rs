//! Reads a file as a restart would, and more carefully: for whoever wants to know whether it is sound.
//!
//! Invariant: nothing in the file is changed, and what is wrong is an error that says where, never a repair.

use std::path::Path;

use redb::{DatabaseError, ReadTransaction, ReadableDatabase};

use super::checkpoint::{Stored, Version};
use super::cut::{Origin, Piece, examined};
use super::journal::{self, Entries};
use super::lineage::Lineage;
use super::store::{self, Looked, OpenError};
use crate::state::blocks::BLOCK;
use crate::state::{State, Tables};

/// What a sound file holds.
#[derive(Debug)]
pub struct Inspected {
    /// What it is of.
    pub origin: Origin,
    /// Where it comes from.
    pub lineage: Lineage,
    /// The state at the end of its journal, as the hub has it that wrote it: folded, fact by fact, after the checkpoint.
    pub state: State,
    /// Blocks of the checkpoint.
    pub blocks: u64,
    /// Entries of the journal after it.
    pub entries: u64,
}

/// Reads a file that nobody has open.
pub fn inspect(path: &Path) -> Result<Inspected, OpenError> {
    let Looked { mut db, format, lineage, checkpoint, lock } = store::look(path)?;
    let pages = |why: String| OpenError::Damaged { what: format!("{} ({why})", path.display()), source: None };
    match db.check_integrity() {
        Ok(true) => {}
        Ok(false) => return Err(pages("pages are not as their checksums say".into())),
        Err(DatabaseError::Storage(redb::StorageError::Corrupted(why))) => return Err(pages(why)),
        Err(error) => return Err(error.into()),
    }
    let txn = db.begin_read()?;
    let (mut tables, mut blocks, mut entries) = (Tables::default(), 0, 0);
    read_blocks(&txn, checkpoint, |table, block, record| {
        blocks += 1;
        let damaged = |e| OpenError::Damaged { what: format!("block {block} of table {table}"), source: Some(e) };
        tables.restore(table, &record).map_err(damaged)
    })?;
    let mut state = State::from_tables(tables);
    let seq = journal::replay(&db, checkpoint, |seq, fact| {
        state.apply(seq, fact);
    })?;
    entries += seq - checkpoint;
    drop((txn, db, lock));
    let origin = Origin { format, epoch: lineage.epoch, checkpoint, seq };
    Ok(Inspected { origin, lineage, state, blocks, entries })
}

/// Reads everything in one transaction, and keeps nothing; gives how many blocks and entries there are.
pub(super) fn examine(txn: &ReadTransaction, checkpoint: u64) -> Result<(u64, u64), OpenError> {
    let (mut blocks, mut entries) = (0, 0);
    read_blocks(txn, checkpoint, |_, _, _| {
        blocks += 1;
        Ok(())
    })?;
    for entry in Entries::after(txn, checkpoint)? {
        let (seq, record) = entry?;
        examined(Piece::Entry { seq, record })?;
        entries += 1;
    }
    Ok((blocks, entries))
}

/// Gives every block of a checkpoint; all of a table are full but its last.
fn read_blocks(
    txn: &ReadTransaction,
    checkpoint: u64,
    mut each: impl FnMut(u8, u32, Vec<u8>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let mut short = None;
    for version in Stored::at(txn, checkpoint)? {
        let Version::Current(table, block, record) = version? else { continue };
        let what = || format!("block {block} of table {table}");
        let records = Tables::examine(table, &record)
            .map_err(|source| OpenError::Damaged { what: what(), source: Some(source) })?;
        if short == Some(table) {
            let what = format!("block {} of table {table} (records are missing)", block - 1);
            return Err(OpenError::Damaged { what, source: None });
        }
        short = (records < BLOCK).then_some(table);
        each(table, block, record)?;
    }
    Ok(())
}
