//! The order of commits on one (repository, ref), as those who watch the branch saw them (design §3.2, §3.3).
//!
//! Invariants: the order comes only from watchers; a commit's place is its newest return, and the n-th return stands at the
//! earliest time at which any watcher saw it for the n-th time. Every distinct sighting is kept, so places do not depend on the
//! order of arrival.

use std::sync::Arc;

use crate::ledger::record::{Decode, Derived, Encode};
use hashbrown::HashMap;

use crate::model::Micros;

/// Sightings of one watcher, by time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Watcher {
    /// Carrier id, or another id that is unique for the watcher.
    pub id: u32,
    /// (time, commit), ordered by time and tie rule.
    pub sightings: Vec<(Micros, u32)>,
}

/// The visits of a commit: the time of its first, second … appearance.
pub type Visits = Vec<Micros>;

/// A commit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct LogRecord {
    /// Repository (name id).
    pub repo: u32,
    /// Branch or other ref (name id).
    pub branch: u32,
    /// Sightings by watcher.
    pub watchers: Vec<Watcher>,
    /// Commit to visits; derived.
    places: Derived<Arc<HashMap<u32, Visits>>>,
}

impl LogRecord {
    /// An empty log.
    pub fn new(repo: u32, branch: u32) -> LogRecord {
        LogRecord { repo, branch, ..LogRecord::default() }
    }

    /// Files a sighting; true when a place changed. `later` breaks ties between commits seen by one watcher at one time.
    pub fn sight(&mut self, watcher: u32, at: Micros, commit: u32, later: impl Fn(u32, u32) -> bool) -> bool {
        let w = match self.watchers.iter().position(|w| w.id == watcher) {
            Some(i) => &mut self.watchers[i],
            None => {
                self.watchers.push(Watcher { id: watcher, sightings: Vec::new() });
                self.watchers.last_mut().expect("a watcher was just pushed")
            }
        };
        if w.sightings.contains(&(at, commit)) {
            return false;
        }
        let in_order = w.sightings.last().is_none_or(|s| s.0 < at);
        if in_order {
            let returns = w.sightings.last().is_none_or(|s| s.1 != commit);
            w.sightings.push((at, commit));
            if !returns {
                return false;
            }
            let visits = w.sightings.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1 == commit).count();
            return Self::visit(Arc::make_mut(&mut self.places), commit, visits, at);
        }
        let next = w.sightings.partition_point(|s| s.0 < at || (s.0 == at && s.1 != commit && later(commit, s.1)));
        w.sightings.insert(next, (at, commit));
        self.rebuild()
    }

    /// Whether this very sighting is filed.
    pub fn has_seen(&self, watcher: u32, at: Micros, commit: u32) -> bool {
        self.watchers.iter().any(|w| w.id == watcher && w.sightings.contains(&(at, commit)))
    }

    fn visit(places: &mut HashMap<u32, Visits>, commit: u32, nth: usize, at: Micros) -> bool {
        let visits = places.entry(commit).or_default();
        match visits.get_mut(nth - 1) {
            Some(v) if *v <= at => false,
            Some(v) => {
                *v = at;
                true
            }
            None => {
                visits.push(at);
                true
            }
        }
    }

    /// Recomputes the places from the sightings; true when they changed.
    pub fn rebuild(&mut self) -> bool {
        let mut places: HashMap<u32, Visits> = HashMap::new();
        for w in &self.watchers {
            let mut seen: HashMap<u32, usize> = HashMap::new();
            for run in w.sightings.chunk_by(|a, b| a.1 == b.1) {
                let (at, commit) = run[0];
                let nth = seen.entry(commit).or_default();
                *nth += 1;
                Self::visit(&mut places, commit, *nth, at);
            }
        }
        let changed = places != **self.places;
        *self.places = Arc::new(places);
        changed
    }

    /// The time of a commit's newest return: its place.
    pub fn place(&self, commit: u32) -> Option<Micros> {
        self.places.get(&commit).and_then(|v| v.last()).copied()
    }

    /// The time at which a commit first appeared.
    pub fn first_place(&self, commit: u32) -> Option<Micros> {
        self.places.get(&commit).and_then(|v| v.first()).copied()
    }

    /// All commits with their visits.
    pub fn commits(&self) -> impl Iterator<Item = (u32, &Visits)> {
        self.places.iter().map(|(c, v)| (*c, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(sightings: &[(u32, i64, u32)]) -> LogRecord {
        let mut log = LogRecord::new(0, 0);
        for &(w, at, c) in sightings {
            log.sight(w, Micros(at), c, |a, b| a > b);
        }
        log
    }

    #[test]
    fn a_slower_watcher_is_no_return_and_a_watcher_that_had_left_is() {
        let l = log(&[(1, 1, 7), (1, 5, 8), (2, 6, 7), (2, 7, 8)]);
        assert_eq!((l.place(7), l.place(8)), (Some(Micros(1)), Some(Micros(5))));
        let l = log(&[(1, 1, 7), (1, 5, 8), (1, 6, 7)]);
        assert_eq!((l.place(7), l.first_place(7)), (Some(Micros(6)), Some(Micros(1))));
    }

    #[test]
    fn the_nth_return_stands_at_its_earliest_sighting() {
        let l = log(&[(1, 1, 7), (1, 5, 8), (1, 9, 7), (2, 2, 7), (2, 3, 8), (2, 8, 7)]);
        assert_eq!(l.place(7), Some(Micros(8)));
    }

    proptest::proptest! {
        #[test]
        fn places_do_not_depend_on_the_order_of_arrival(
            (s, shuffled) in proptest::collection::vec((0u32..3, 0i64..12, 0u32..4), 0..25)
                .prop_flat_map(|v| (proptest::strategy::Just(v.clone()), proptest::strategy::Just(v).prop_shuffle())),
        ) {
            let (a, b) = (log(&s), log(&shuffled));
            for c in 0..4 {
                proptest::prop_assert_eq!(a.place(c), b.place(c));
                proptest::prop_assert_eq!(a.first_place(c), b.first_place(c));
            }
            let mut rebuilt = a.clone();
            rebuilt.rebuild();
            proptest::prop_assert_eq!(rebuilt.places, a.places);
        }
    }
    use proptest::strategy::Strategy as _;
}
