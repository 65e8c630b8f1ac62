//! What was said of one verification of one subject, in event time (design §3.7).
//!
//! Invariants: judgements are ordered by (time, outcome, content); neighbours that say the same are one run with a first and a
//! last time, and one that comes late splits the run it falls into. So the last one - the current one - is the same for every
//! order of arrival, duplication and batching.

use std::cmp::Ordering;

use crate::ledger::record::{Decode, Encode};
use crate::model::{Micros, Outcome, Subject};

/// The natural key, in name ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Key {
    /// What was done.
    pub name: u32,
    /// Where it holds, as [`SELECTORS`](crate::model::verification::SELECTORS); 0 stands for all.
    pub selectors: [u32; 5],
    /// What was judged.
    pub subject: Subject<u32>,
}

/// A judgement, or a run of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Judgement {
    /// Time of the first one.
    pub first: Micros,
    /// Time of the last one.
    pub last: Micros,
    /// When the hub received the first one.
    pub received_at: Micros,
    /// How it went.
    pub outcome: Outcome,
    /// The source's own word for that (name id).
    pub raw: u32,
    /// Link (name id).
    pub link: u32,
    /// Message (name id).
    pub message: u32,
    /// Who says so (name id).
    pub reported_by: u32,
    /// Source of the first one (name id).
    pub source: u32,
    /// The source claimed a time in the future; it was taken as received.
    pub future: bool,
}

impl Judgement {
    /// What it says, beside the outcome (name ids).
    pub fn content(&self) -> [u32; 4] {
        [self.raw, self.link, self.message, self.reported_by]
    }

    fn same(&self, o: &Judgement) -> bool {
        (self.outcome, self.content()) == (o.outcome, o.content())
    }
}

/// A verification of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VerificationRecord {
    /// Its natural key.
    pub key: Key,
    /// What was said, oldest first.
    pub said: Vec<Judgement>,
}

impl VerificationRecord {
    /// The newest judgement.
    pub fn current(&self) -> Option<&Judgement> {
        self.said.last()
    }

    /// Since when it has gone as it goes now, whatever else was said about that.
    pub fn since(&self) -> Micros {
        let outcome = self.current().map(|j| j.outcome);
        let alike = self.said.iter().rev().take_while(|j| Some(j.outcome) == outcome);
        alike.last().map_or(Micros::MAX, |j| j.first)
    }

    /// Whether exactly this was said before.
    pub fn knows(&self, new: &Judgement) -> bool {
        let from = self.said.partition_point(|j| j.last < new.first);
        self.said[from..].iter().take_while(|j| j.first <= new.first).any(|j| j.same(new))
    }

    /// Files a judgement in its place; false when it was known. `tie` orders what was said at one time.
    pub fn file(&mut self, new: Judgement, tie: impl Fn(&Judgement, &Judgement) -> Ordering) -> bool {
        if self.knows(&new) {
            return false;
        }
        let order = |at: Micros, j: &Judgement| at.cmp(&new.first).then_with(|| tie(j, &new));
        let next = self.said.partition_point(|j| order(j.first, j) == Ordering::Less);
        let (before, after) = self.said.split_at_mut(next);
        match (before.last_mut(), after.first_mut()) {
            (Some(p), _) if p.same(&new) => p.last = new.first,
            (Some(p), _) if order(p.last, p) == Ordering::Greater => {
                let ending = Judgement { first: p.last, ..*p };
                p.last = p.first;
                self.said.splice(next..next, [new, ending]);
            }
            (_, Some(n)) if n.same(&new) => *n = Judgement { last: n.last, ..new },
            _ => self.said.insert(next, new),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(at: i64, outcome: Outcome, message: u32) -> Judgement {
        Judgement {
            first: Micros(at),
            last: Micros(at),
            received_at: Micros(at),
            outcome,
            raw: 0,
            link: 0,
            message,
            reported_by: 0,
            source: 0,
            future: false,
        }
    }

    fn tie(a: &Judgement, b: &Judgement) -> Ordering {
        (a.outcome, a.content()).cmp(&(b.outcome, b.content()))
    }

    fn told(all: &[Judgement]) -> VerificationRecord {
        let key = Key { name: 1, selectors: [0; 5], subject: Subject::Commit(1) };
        let mut record = VerificationRecord { key, said: Vec::new() };
        for judgement in all {
            let known = record.knows(judgement);
            assert_eq!(record.file(*judgement, tie), !known);
            assert!(record.knows(judgement), "{judgement:?} in {record:?}");
        }
        record
    }

    fn seen(all: &[Judgement]) -> Vec<(i64, i64, Outcome)> {
        told(all).said.iter().map(|j| (j.first.0, j.last.0, j.outcome)).collect()
    }

    use Outcome::{Failed, Passed, Pending};

    #[test]
    fn a_changed_result_is_a_row_and_a_repetition_makes_the_last_one_longer() {
        let all = [judged(1, Pending, 0), judged(2, Passed, 0), judged(5, Passed, 0), judged(6, Failed, 0)];
        assert_eq!(seen(&all), [(1, 1, Pending), (2, 5, Passed), (6, 6, Failed)]);
    }

    #[test]
    fn it_has_gone_as_it_goes_since_it_last_went_otherwise() {
        let all = [judged(1, Failed, 0), judged(2, Passed, 0), judged(3, Failed, 1), judged(5, Failed, 2)];
        assert_eq!(told(&all).since(), Micros(3));
        assert_eq!(told(&all[..2]).since(), Micros(2));
    }

    #[test]
    fn a_late_judgement_splits_the_run_it_falls_into() {
        let all = [judged(1, Passed, 0), judged(5, Passed, 0), judged(3, Failed, 0)];
        assert_eq!(seen(&all), [(1, 1, Passed), (3, 3, Failed), (5, 5, Passed)]);
        let all = [judged(2, Passed, 0), judged(5, Passed, 0), judged(1, Passed, 0)];
        assert_eq!(seen(&all), [(1, 5, Passed)]);
    }

    #[test]
    fn of_one_time_the_grave_word_counts() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let all = [judged(1, Pending, 9), judged(1, Passed, 9), judged(1, Failed, 0)];
            assert_eq!(told(&order.map(|i| all[i])).current().unwrap().outcome, Failed);
        }
    }

    fn some() -> impl Strategy<Value = Judgement> {
        (0i64..8, 0usize..3, 0u32..2).prop_map(|(at, o, message)| judged(at, [Pending, Passed, Failed][o], message))
    }

    proptest! {
        #[test]
        fn the_current_judgement_does_not_depend_on_the_order_of_arrival(
            (all, shuffled) in prop::collection::vec(some(), 1..20)
                .prop_flat_map(|all| (Just(all.clone()), Just([all.clone(), all].concat()).prop_shuffle())),
        ) {
            let (one, other) = (told(&all), told(&shuffled));
            let newest = all.iter().max_by(|a, b| a.first.cmp(&b.first).then_with(|| tie(a, b))).unwrap();
            for record in [&one, &other] {
                let current = record.current().unwrap();
                prop_assert_eq!((current.last, current.outcome, current.message), (newest.last, newest.outcome, newest.message));
                prop_assert!(record.said.windows(2).all(|w| !w[0].same(&w[1]) && w[0].last <= w[1].first));
            }
            prop_assert_eq!(one.said[0].first, other.said[0].first);
        }
    }
}
