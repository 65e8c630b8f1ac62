//! The change feed: which objects changed, by sequence, for as long as memory keeps it.
//!
//! Invariant: a reader that asks with the sequence it has seen gets every change after it, or is told to read everything anew.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::state::Object;

/// Changes kept; a reader further behind resyncs.
pub const FEED_LENGTH: usize = 65_536;

/// One changed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The sequence that changed it.
    pub seq: u64,
    /// What changed.
    pub object: Object,
}

/// What happened after a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Too long ago, or of another life of the hub: read everything anew, then follow from the sequence read.
    Resync,
    /// All of it, oldest first.
    Changes {
        /// The sequence to ask with next time.
        through: u64,
        /// The changed objects; an object appears once per sequence.
        changes: Vec<Change>,
    },
}

/// The ring of changes.
#[derive(Debug)]
pub struct Feed(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    length: usize,
    changes: VecDeque<Change>,
    /// All changes after this sequence are in the ring.
    floor: u64,
    through: u64,
}

impl Feed {
    /// A feed that starts after `seq`.
    pub fn starting_at(seq: u64, length: usize) -> Feed {
        Feed(Mutex::new(Ring { length, changes: VecDeque::new(), floor: seq, through: seq }))
    }

    /// All changes after `seq`.
    pub fn since(&self, seq: u64) -> Since {
        let ring = self.0.lock();
        if seq < ring.floor || seq > ring.through {
            return Since::Resync;
        }
        let first = ring.changes.partition_point(|c| c.seq <= seq);
        Since::Changes { through: ring.through, changes: ring.changes.range(first..).copied().collect() }
    }

    /// Adds the changes of complete sequences up to `through`.
    pub(super) fn publish(&self, through: u64, mut changes: Vec<Change>) {
        let order = |c: &Change| (c.seq, c.object.kind, c.object.id);
        changes.sort_unstable_by_key(order);
        changes.dedup_by_key(|c| order(c));
        let mut ring = self.0.lock();
        ring.through = through;
        for change in changes {
            if ring.changes.len() == ring.length
                && let Some(lost) = ring.changes.pop_front()
            {
                ring.floor = lost.seq;
            }
            ring.changes.push_back(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ObjectKind;

    fn change(seq: u64, id: u32) -> Change {
        Change { seq, object: Object { kind: ObjectKind::Host, id, rank: 0 } }
    }

    #[test]
    fn a_reader_gets_what_came_after_it() {
        let feed = Feed::starting_at(10, 100);
        assert_eq!(feed.since(10), Since::Changes { through: 10, changes: vec![] });
        feed.publish(12, vec![change(12, 3), change(11, 1), change(12, 2), change(12, 3)]);
        assert_eq!(feed.since(11), Since::Changes { through: 12, changes: vec![change(12, 2), change(12, 3)] });
        feed.publish(13, vec![]);
        assert_eq!(feed.since(12), Since::Changes { through: 13, changes: vec![] });
    }

    #[test]
    fn a_reader_of_another_life_or_far_behind_resyncs() {
        let feed = Feed::starting_at(10, 2);
        assert_eq!(feed.since(9), Since::Resync);
        assert_eq!(feed.since(11), Since::Resync);
        feed.publish(12, vec![change(11, 1), change(11, 2), change(12, 3)]);
        assert_eq!(feed.since(10), Since::Resync, "half of sequence 11 is gone");
        assert_eq!(feed.since(11), Since::Changes { through: 12, changes: vec![change(12, 3)] });
    }
}
