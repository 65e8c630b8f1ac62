//! The journal: facts under sequence numbers, from their acknowledgement to the checkpoint that makes them superfluous.
//!
//! Invariant: entries follow each other without gaps after the checkpoint, and a group is stored whole or not at all.

use redb::{Database, Range, ReadTransaction, ReadableDatabase, ReadableTable};

use super::former::FactV1;
use super::record::{self, Packer, RecordError, Sequence, Unpacker};
use super::store::{OpenError, begin};
use super::tables::JOURNAL;
use crate::model::Fact;

/// Version byte of an entry: a sequence of [`Fact`]s as this binary knows them.
pub const ENTRY_VERSION: u8 = 2;

/// An entry is closed when its facts reach this size; packed it then has some tens of KiB, which redb stores without much waste.
const ENTRY_BYTES: usize = 256 << 10;

/// One value of the journal.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// How many facts it holds.
    pub(super) facts: usize,
    pub(super) packed: Vec<u8>,
}

/// Cuts facts into entries, the first of which gets `seq`.
pub(super) fn entries<'a>(seq: u64, facts: impl IntoIterator<Item = &'a Fact>, packer: &mut Packer) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut open = Sequence::default();
    let mut count = 0;
    let mut close = |open: &mut Sequence, facts: &mut usize| {
        let packed = packer.pack(&open.finish(ENTRY_VERSION));
        entries.push(Entry { seq: seq + entries.len() as u64, facts: std::mem::take(facts), packed });
    };
    for fact in facts {
        open.push(fact);
        count += 1;
        if open.bytes() >= ENTRY_BYTES {
            close(&mut open, &mut count);
        }
    }
    if !open.is_empty() {
        close(&mut open, &mut count);
    }
    entries
}

/// Makes entries durable, all or none.
pub(super) fn append(db: &Database, entries: &[Entry]) -> Result<(), redb::Error> {
    let txn = begin(db)?;
    {
        let mut journal = txn.open_table(JOURNAL)?;
        for entry in entries {
            journal.insert(entry.seq, entry.packed.as_slice())?;
        }
    }
    txn.commit()?;
    Ok(())
}

/// The facts of an entry of any version.
pub(super) fn facts(record: &[u8]) -> Result<Vec<Fact>, RecordError> {
    match record::version(record)? {
        1 => Ok(record::decode::<Vec<FactV1>>(record, 1)?.into_iter().map(Fact::from).collect()),
        _ => record::decode(record, ENTRY_VERSION),
    }
}

/// Gives every fact after `checkpoint` to `fold`, in order; returns the last sequence.
pub(super) fn replay(db: &Database, checkpoint: u64, mut fold: impl FnMut(u64, &Fact)) -> Result<u64, OpenError> {
    let mut last = checkpoint;
    for entry in Entries::after(&db.begin_read()?, checkpoint)? {
        let (seq, record) = entry?;
        let damaged = |source| OpenError::Damaged { what: format!("journal entry {seq}"), source: Some(source) };
        facts(&record).map_err(damaged)?.iter().for_each(|fact| fold(seq, fact));
        last = seq;
    }
    Ok(last)
}

/// The records of the entries after a checkpoint, which follow each other without gaps.
pub(super) struct Entries {
    entries: Range<'static, u64, &'static [u8]>,
    last: u64,
    unpacker: Unpacker,
}

impl Entries {
    /// After a checkpoint.
    pub(super) fn after(txn: &ReadTransaction, checkpoint: u64) -> Result<Entries, OpenError> {
        let unpacker = Unpacker::new().map_err(|error| OpenError::Io { path: "the journal".into(), error })?;
        let entries = txn.open_table(JOURNAL)?.range(checkpoint + 1..)?;
        Ok(Entries { entries, last: checkpoint, unpacker })
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Iterator for Entries {
    type Item = Result<(u64, Vec<u8>), OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (seq, packed) = match self.entries.next()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        let seq = seq.value();
        if seq != self.last + 1 {
            let what = format!("the journal (no entry {})", self.last + 1);
            return Some(Err(OpenError::Damaged { what, source: None }));
        }
        self.last = seq;
        let damaged = |source| OpenError::Damaged { what: format!("journal entry {seq}"), source: Some(source) };
        Some(self.unpacker.unpack(packed.value()).map(|record| (seq, record)).map_err(damaged))
    }
}

/// Deletes entries up to `checkpoint`, at most `limit` of them; true when none is left.
pub(super) fn trim(db: &Database, checkpoint: u64, limit: u64) -> Result<bool, redb::Error> {
    let txn = begin(db)?;
    let done = {
        let mut journal = txn.open_table(JOURNAL)?;
        let first = journal.first()?.map(|(seq, _)| seq.value());
        match first.filter(|first| *first <= checkpoint) {
            None => true,
            Some(first) => {
                let end = checkpoint.min(first.saturating_add(limit - 1));
                journal.retain_in(first..=end, |_, _| false)?;
                end == checkpoint
            }
        }
    };
    txn.commit()?;
    Ok(done)
}
