//! The schema of the ledger's file: every redb table, its key and its value.
//!
//! Invariant: nothing else is stored. A table whose key or value changes shape gets a new name (the number behind the dash) and a
//! migration that fills it; [`super::migrations`] holds the list, [`FORMAT`] counts it.

use redb::TableDefinition;

/// Facts about the file itself.
///
/// - Key: one of the names below.
/// - Value: a number.
pub const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta-1");

/// In [`META`]: the format of the file, 1 plus the number of migrations it has been through.
pub const FORMAT: &str = "format";
/// In [`META`]: the store epoch, drawn at creation and again by a restore; cursors and sequence tokens of another epoch are void.
pub const EPOCH: &str = "epoch";
/// In [`META`]: the sequence up to which [`BLOCKS`] hold the state; the journal after it is replayed at start.
pub const CHECKPOINT: &str = "checkpoint";

/// The ledgers that this one was restored from: see [`super::lineage`]. Absent where it was restored from none.
///
/// - Key: the epoch of one.
/// - Value: its sequence that the restored one goes on from.
pub const FORMER: TableDefinition<'_, u64, u64> = TableDefinition::new("former-1");

/// What was accepted and is not yet part of a checkpoint.
///
/// - Key: the sequence number. Without gaps after the checkpoint; entries up to it are waiting to be deleted.
/// - Value: a packed record ([`super::record`]), version [`super::journal::ENTRY_VERSION`]: a sequence of facts, in the order
///   they are folded.
pub const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal-1");

/// The state's tables, cut into blocks of records.
///
/// - Key: (table, block, checkpoint). The numbers of tables belong to [`crate::state`]; blocks count from 0 without gaps; the
///   checkpoint is the sequence whose state the block shows.
/// - Value: a packed record ([`super::record`]); its version byte belongs to the state's table.
///
/// The state at checkpoint S is, of each block, the newest version that is not newer than S. Newer versions are left from a
/// checkpoint that never ended, older ones are waiting to be deleted.
pub const BLOCKS: TableDefinition<'_, BlockKey, &[u8]> = TableDefinition::new("blocks-1");

/// Proves that there is room: it is filled, made durable and deleted again, so most files hold none.
///
/// - Key: nothing.
/// - Value: bytes that mean nothing.
pub const ROOM: TableDefinition<'_, (), &[u8]> = TableDefinition::new("room-1");

/// (table, block, checkpoint).
pub type BlockKey = (u8, u32, u64);
