//! The order of commits on one (repository, ref), as those who watch the branch saw them (design §3.2, §3.3).
//!
//! Invariants: the order comes only from watchers; a commit's place is its newest return, and the n-th return stands at the
//! earliest time at which any watcher saw it for the n-th time. Every distinct sighting is kept, so places do not depend on the
//! order of arrival.

use std::cmp::Ordering;
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

/// What a sighting changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Commits that had no place before.
    pub placed: Vec<u32>,
    /// Commits that had a place stand in another order now.
    pub reordered: bool,
    /// Some commit appeared, first or again, at another time than was known: it may belong to another assignment now.
    pub visited: bool,
}

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

    /// Files a sighting. `later` breaks ties between commits of one time.
    pub fn sight(&mut self, watcher: u32, at: Micros, commit: u32, later: impl Fn(u32, u32) -> bool) -> Moved {
        let w = match self.watchers.iter().position(|w| w.id == watcher) {
            Some(i) => &mut self.watchers[i],
            None => {
                self.watchers.push(Watcher { id: watcher, sightings: Vec::new() });
                self.watchers.last_mut().expect("a watcher was just pushed")
            }
        };
        if w.sightings.contains(&(at, commit)) {
            return Moved::default();
        }
        let in_order = w.sightings.last().is_none_or(|s| s.0 < at);
        if in_order {
            let returns = w.sightings.last().is_none_or(|s| s.1 != commit);
            w.sightings.push((at, commit));
            if !returns {
                return Moved::default();
            }
            let nth = w.sightings.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1 == commit).count();
            let before = self.place(commit);
            let visited = Self::visit(Arc::make_mut(&mut self.places), commit, nth, at);
            return Moved { visited, ..self.moved(commit, before, later) };
        }
        let next = w.sightings.partition_point(|s| s.0 < at || (s.0 == at && s.1 != commit && later(commit, s.1)));
        w.sightings.insert(next, (at, commit));
        let before = Arc::clone(&self.places);
        self.rebuild();
        Moved { visited: *before != **self.places, ..self.moved_since(&before, later) }
    }

    /// Whether this very sighting is filed.
    pub fn has_seen(&self, watcher: u32, at: Micros, commit: u32) -> bool {
        self.watchers.iter().any(|w| w.id == watcher && w.sightings.contains(&(at, commit)))
    }

    /// Files the n-th visit of a commit by one watcher; false when it was no news.
    fn visit(places: &mut HashMap<u32, Visits>, commit: u32, nth: usize, at: Micros) -> bool {
        let visits = places.entry(commit).or_default();
        match visits.get_mut(nth - 1) {
            Some(v) => std::mem::replace(v, at.min(*v)) > at,
            None => {
                visits.push(at);
                true
            }
        }
    }

    /// What follows when one commit had another place before, or none.
    fn moved(&self, commit: u32, before: Option<Micros>, later: impl Fn(u32, u32) -> bool) -> Moved {
        let Some(before) = before else { return Moved { placed: vec![commit], ..Moved::default() } };
        let after = self.place(commit).unwrap_or(before);
        let passed = |other: u32, at: Micros| {
            let is_later = |than: Micros| at > than || (at == than && later(other, commit));
            is_later(before) != is_later(after)
        };
        let others = self.commits().filter(|(c, _)| *c != commit && before != after);
        let reordered = others.filter_map(|(c, visits)| Some((c, *visits.last()?))).any(|(c, at)| passed(c, at));
        Moved { reordered, ..Moved::default() }
    }

    fn moved_since(&self, before: &HashMap<u32, Visits>, later: impl Fn(u32, u32) -> bool) -> Moved {
        let order = |a: &(Micros, u32), b: &(Micros, u32)| {
            a.0.cmp(&b.0).then_with(|| if a.1 == b.1 { Ordering::Equal } else { later(a.1, b.1).cmp(&later(b.1, a.1)) })
        };
        let mut known: Vec<(Micros, u32)> = before.iter().filter_map(|(c, v)| Some((*v.last()?, *c))).collect();
        known.sort_unstable_by(order);
        let now: Vec<(Micros, u32)> = known.iter().filter_map(|(_, c)| Some((self.place(*c)?, *c))).collect();
        Moved {
            placed: self.places.keys().filter(|c| !before.contains_key(*c)).copied().collect(),
            reordered: now.len() < known.len() || !now.is_sorted_by(|a, b| order(a, b) == Ordering::Less),
            ..Moved::default()
        }
    }

    /// Recomputes the places from the sightings.
    pub fn rebuild(&mut self) {
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
        *self.places = Arc::new(places);
    }

    /// The time of a commit's newest return: its place.
    pub fn place(&self, commit: u32) -> Option<Micros> {
        self.places.get(&commit).and_then(|v| v.last()).copied()
    }

    /// The time at which a commit first appeared.
    pub fn first_place(&self, commit: u32) -> Option<Micros> {
        self.places.get(&commit).and_then(|v| v.first()).copied()
    }

    /// How many commits have a place.
    pub fn placed(&self) -> usize {
        self.places.len()
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
        fn a_sighting_tells_which_commits_got_a_place_and_whether_others_changed_their_order(
            sightings in proptest::collection::vec((0u32..3, 0i64..12, 0u32..5), 0..25),
        ) {
            let mut log = LogRecord::new(0, 0);
            for (watcher, at, commit) in sightings {
                let order = |log: &LogRecord, known: &LogRecord| {
                    let mut commits: Vec<u32> = known.commits().map(|(c, _)| c).collect();
                    commits.sort_by_key(|c| (log.place(*c), *c));
                    commits
                };
                let before = log.clone();
                let moved = log.sight(watcher, Micros(at), commit, |a, b| a > b);
                let mut placed: Vec<u32> = log.commits().map(|(c, _)| c).filter(|c| before.place(*c).is_none()).collect();
                placed.sort_unstable();
                let mut told = moved.placed.clone();
                told.sort_unstable();
                proptest::prop_assert_eq!(told, placed);
                proptest::prop_assert_eq!(moved.reordered, order(&log, &before) != order(&before, &before));
                proptest::prop_assert_eq!(moved.visited, log.places != before.places);
            }
        }

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
