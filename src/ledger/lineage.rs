//! Where a ledger comes from: its own epoch, and those of the ledgers that it was restored from.
//!
//! Invariant: a sequence of an epoch stands for one state; what is of such a state, or of an earlier one, belongs to every ledger that
//! has it in its past, and to no other.

use redb::{ReadTransaction, TableError, WriteTransaction};

use super::tables::FORMER;

/// The epochs of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Its own.
    pub epoch: u64,
    /// Those before it, and the sequence of each that it goes on from.
    pub former: Vec<(u64, u64)>,
}

impl Lineage {
    /// Of a ledger that was restored from no other.
    pub fn new(epoch: u64) -> Lineage {
        Lineage { epoch, former: Vec::new() }
    }

    /// Of a ledger that is at `seq` now: whether another one, of this epoch and at this sequence, is in its past.
    pub fn holds(&self, seq: u64, (epoch, reached): (u64, u64)) -> bool {
        let mut own = [(self.epoch, seq)].into_iter().chain(self.former.iter().copied());
        own.any(|(known, seq)| known == epoch && reached <= seq)
    }

    /// Of a ledger with a new epoch that goes on from this one at `seq`.
    pub(super) fn restored(self, seq: u64, epoch: u64) -> Lineage {
        let mut former = self.former;
        former.push((self.epoch, seq));
        Lineage { epoch, former }
    }

    pub(super) fn read(txn: &ReadTransaction, epoch: u64) -> Result<Lineage, redb::Error> {
        let mut former = Vec::new();
        match txn.open_table(FORMER) {
            Ok(table) => {
                for entry in table.range::<u64>(..)? {
                    let (epoch, seq) = entry?;
                    former.push((epoch.value(), seq.value()));
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Lineage { epoch, former })
    }

    pub(super) fn write(&self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let mut table = txn.open_table(FORMER)?;
        for (epoch, seq) in &self.former {
            table.insert(epoch, seq)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_past_of_a_ledger_belongs_to_it_and_what_came_after_a_restore_does_not() {
        let first = Lineage::new(7);
        assert!(first.holds(100, (7, 100)) && !first.holds(100, (7, 101)) && !first.holds(100, (8, 1)));
        let second = first.restored(60, 8).restored(90, 9);
        assert!(second.holds(95, (7, 60)) && second.holds(95, (8, 90)) && second.holds(95, (9, 95)));
        assert!(!second.holds(95, (7, 61)) && !second.holds(95, (8, 91)) && !second.holds(95, (9, 96)));
    }
}
