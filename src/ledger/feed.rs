//! The change feed: which objects changed, by sequence, for as long as memory keeps it.
//!
//! Invariant: a reader that asks with the sequence it has seen gets every object that changed after it, or is told to read
//! everything anew. An object is named once, under the sequence that changed it last, whoever asks and however far behind: what
//! changed again later comes later, so a reader needs no memory of its own to be told a busy object once.

use std::collections::VecDeque;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::state::{Object, ObjectKind};

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

impl Change {
    fn named(&self) -> (ObjectKind, u32) {
        (self.object.kind, self.object.id)
    }
}

/// What happened after a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Too long ago, or of another life of the hub: read everything anew, then follow from the sequence read.
    Resync,
    /// What changed, oldest first.
    Changes {
        /// The sequence to ask with next time.
        through: u64,
        /// The changed objects.
        changes: Vec<Change>,
        /// Nothing is known that comes after them.
        all: bool,
    },
}

/// The ring of changes.
#[derive(Debug)]
pub struct Feed(Mutex<Ring>);

#[derive(Debug)]
struct Ring {
    length: usize,
    changes: VecDeque<Change>,
    /// The sequence that changed an object last, of every object in the ring.
    newest: HashMap<(ObjectKind, u32), u64>,
    /// All changes after this sequence are in the ring.
    floor: u64,
    through: u64,
}

impl Feed {
    /// A feed that starts after `seq`.
    pub fn starting_at(seq: u64, length: usize) -> Feed {
        Feed(Mutex::new(Ring { length, changes: VecDeque::new(), newest: HashMap::new(), floor: seq, through: seq }))
    }

    /// What changed after `seq`: about `most` changes, for a sequence is given whole.
    pub fn since(&self, seq: u64, most: usize) -> Since {
        let ring = self.0.lock();
        if seq < ring.floor || seq > ring.through {
            return Since::Resync;
        }
        let first = ring.changes.partition_point(|c| c.seq <= seq);
        let last = match ring.changes.get(first.saturating_add(most).saturating_sub(1)) {
            Some(cut) => ring.changes.partition_point(|c| c.seq <= cut.seq),
            None => ring.changes.len(),
        };
        let all = last == ring.changes.len();
        let through = if all { ring.through } else { ring.changes[last - 1].seq };
        let newest = |c: &&Change| ring.newest.get(&c.named()) == Some(&c.seq);
        Since::Changes { through, changes: ring.changes.range(first..last).filter(newest).copied().collect(), all }
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
                if ring.newest.get(&lost.named()) == Some(&lost.seq) {
                    ring.newest.remove(&lost.named());
                }
            }
            ring.newest.insert(change.named(), change.seq);
            ring.changes.push_back(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(seq: u64, id: u32) -> Change {
        Change { seq, object: Object { kind: ObjectKind::Host, id, rank: 0 } }
    }

    fn all(through: u64, changes: Vec<Change>) -> Since {
        Since::Changes { through, changes, all: true }
    }

    #[test]
    fn a_reader_gets_what_came_after_it() {
        let feed = Feed::starting_at(10, 100);
        assert_eq!(feed.since(10, 9), all(10, vec![]));
        feed.publish(12, vec![change(12, 3), change(11, 1), change(12, 2), change(12, 3)]);
        assert_eq!(feed.since(11, 9), all(12, vec![change(12, 2), change(12, 3)]));
        feed.publish(13, vec![]);
        assert_eq!(feed.since(12, 9), all(13, vec![]));
    }

    #[test]
    fn a_reader_of_another_life_or_far_behind_resyncs() {
        let feed = Feed::starting_at(10, 2);
        assert_eq!(feed.since(9, 9), Since::Resync);
        assert_eq!(feed.since(11, 9), Since::Resync);
        feed.publish(12, vec![change(11, 1), change(11, 2), change(12, 3)]);
        assert_eq!(feed.since(10, 9), Since::Resync, "half of sequence 11 is gone");
        assert_eq!(feed.since(11, 9), all(12, vec![change(12, 3)]));
    }

    #[test]
    fn an_object_is_named_once_under_its_newest_change() {
        let feed = Feed::starting_at(0, 4);
        feed.publish(3, vec![change(1, 1), change(2, 2), change(3, 1)]);
        assert_eq!(feed.since(0, 9), all(3, vec![change(2, 2), change(3, 1)]));
        feed.publish(5, vec![change(4, 2), change(5, 3)]);
        assert_eq!(feed.since(1, 9), all(5, vec![change(3, 1), change(4, 2), change(5, 3)]));
        assert_eq!(feed.0.lock().newest.len(), 3);
        feed.publish(9, vec![change(6, 4), change(7, 4), change(8, 4), change(9, 4)]);
        assert_eq!(feed.0.lock().newest.len(), 1, "what left the ring is forgotten");
    }

    #[test]
    fn a_piece_ends_where_a_sequence_ends() {
        let feed = Feed::starting_at(0, 9);
        feed.publish(3, vec![change(1, 1), change(2, 2), change(2, 3), change(3, 4)]);
        let piece = |through, changes| Since::Changes { through, changes, all: false };
        assert_eq!(feed.since(0, 1), piece(1, vec![change(1, 1)]));
        assert_eq!(feed.since(0, 2), piece(2, vec![change(1, 1), change(2, 2), change(2, 3)]));
        assert_eq!(feed.since(2, 1), all(3, vec![change(3, 4)]));
    }
}
