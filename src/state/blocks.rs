//! A growing table of records in copy-on-write blocks.
//!
//! Invariant: a clone is an immutable snapshot. Cloning costs one reference per block; a block that a snapshot still holds is
//! copied once, when it is next written. The block is also the unit of checkpoints: `changed_at` is the sequence of its last change.

use std::sync::Arc;

/// Records per block: small enough to copy in some microseconds, large enough that a block makes a good stored value.
pub const BLOCK: usize = 128;

/// One block: up to [`BLOCK`] records and the sequence of the last change to any of them.
#[derive(Clone, Debug, Default)]
pub struct Block<T> {
    /// Sequence of the last change.
    pub changed_at: u64,
    /// The records.
    pub records: Vec<T>,
}

/// The table.
#[derive(Debug)]
pub struct Blocks<T> {
    blocks: Vec<Arc<Block<T>>>,
    len: usize,
}

impl<T> Clone for Blocks<T> {
    fn clone(&self) -> Self {
        Blocks { blocks: self.blocks.clone(), len: self.len }
    }
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Blocks { blocks: Vec::new(), len: 0 }
    }
}

impl<T: Clone> Blocks<T> {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The record with this id.
    pub fn get(&self, id: u32) -> Option<&T> {
        let id = id as usize;
        self.blocks.get(id / BLOCK)?.records.get(id % BLOCK)
    }

    /// The record with this id, for writing; `seq` is the sequence of the change.
    pub fn get_mut(&mut self, id: u32, seq: u64) -> Option<&mut T> {
        let id = id as usize;
        let block = Arc::make_mut(self.blocks.get_mut(id / BLOCK)?);
        block.changed_at = block.changed_at.max(seq);
        block.records.get_mut(id % BLOCK)
    }

    /// Appends a record and returns its id.
    pub fn push(&mut self, record: T, seq: u64) -> u32 {
        if self.len.is_multiple_of(BLOCK) {
            self.blocks.push(Arc::new(Block { changed_at: seq, records: Vec::with_capacity(BLOCK.min(8)) }));
        }
        let block = Arc::make_mut(self.blocks.last_mut().expect("a block was just pushed or has room"));
        block.changed_at = block.changed_at.max(seq);
        block.records.push(record);
        self.len += 1;
        u32::try_from(self.len - 1).expect("fewer than 2^32 records fit in memory")
    }

    /// All records with their ids, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.blocks.iter().flat_map(|b| b.records.iter()).enumerate().map(|(i, r)| (i as u32, r))
    }

    /// The blocks, for checkpoints and for scans that hold a snapshot.
    pub fn blocks(&self) -> &[Arc<Block<T>>] {
        &self.blocks
    }

    /// Puts a stored block back; blocks must come in order, and only the last may be short.
    pub fn restore(&mut self, block: Block<T>) {
        self.len += block.records.len();
        self.blocks.push(Arc::new(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut t = Blocks::default();
        for i in 0..300u32 {
            assert_eq!(t.push(i, 1), i);
        }
        let snapshot = t.clone();
        *t.get_mut(200, 7).unwrap() = 9;
        assert_eq!(snapshot.get(200), Some(&200));
        assert_eq!(t.get(200), Some(&9));
        assert_eq!(t.blocks()[1].changed_at, 7);
        assert_eq!(t.iter().count(), 300);
    }
}
