//! What one reconciler said, in event time: statements, and runs of statements that say the same (design §3.7).
//!
//! Invariants: statements are ordered by (time, tie rule); a run keeps its first and its last time; neighbours never say the
//! same unless something that cannot be merged (a report without a commit, a departure) stands between them. The newest run is
//! kept unpacked, so that a report in order costs no decoding.

use std::cmp::Ordering;

use crate::ledger::record::{Decode, Encode};

use crate::model::{Micros, Status};

use super::dropped::Dropped;
use super::packed;

/// One statement, or a run of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Statement {
    /// Time of the first statement of the run.
    pub first: Micros,
    /// Time of the last statement of the run.
    pub last: Micros,
    /// When the hub received the first one.
    pub received_at: Micros,
    /// Endpoint id.
    pub endpoint: u32,
    /// Attempted commit (name id); 0 when the report named none.
    pub commit: u32,
    /// Applied commit (name id) when it differs from the attempted one, else 0.
    pub applied: u32,
    /// Source (name id) of the first statement.
    pub source: u32,
    /// The source's own word for the status.
    pub raw: u32,
    /// Message.
    pub message: u32,
    /// Status.
    pub status: Status,
    /// Not a report: a carrier left, or the host was declared retired. Nothing is merged across it.
    pub gone: bool,
    /// The source claimed a time in the future; it was taken as received.
    pub future: bool,
}

impl Statement {
    /// A departure at this time.
    pub fn departure(at: Micros, received_at: Micros) -> Statement {
        Statement {
            first: at,
            last: at,
            received_at,
            endpoint: 0,
            commit: 0,
            applied: 0,
            source: 0,
            raw: 0,
            message: 0,
            status: Status::Unknown,
            gone: true,
            future: false,
        }
    }

    /// Whether the two say the same and may be one run.
    pub fn confirms(&self, other: &Statement) -> bool {
        self.same(other) && !self.gone && self.commit != 0
    }

    /// Whether the two say the same.
    pub fn same(&self, other: &Statement) -> bool {
        (self.endpoint, self.commit, self.applied, self.status, self.gone, self.raw, self.message)
            == (other.endpoint, other.commit, other.applied, other.status, other.gone, other.raw, other.message)
    }

    /// The commit that runs, where it names one.
    pub fn runs(&self) -> Option<u32> {
        (self.commit != 0).then_some(if self.applied != 0 { self.applied } else { self.commit })
    }

    fn starting(self) -> Statement {
        Statement { last: self.first, ..self }
    }

    /// The end of a run that a statement received at this time splits. It is a change of its own as of then, and takes the
    /// microsecond that [`crate::model::Receipts`] leave free, so that no two statements share a time of receipt.
    fn ending(self, split_at: Micros) -> Statement {
        Statement { first: self.last, received_at: split_at.plus(1), ..self }
    }
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The history said so already.
    Known,
    /// The newest run was confirmed at a later time.
    Confirmed,
    /// Something new.
    Changed,
}

/// Breaks ties between statements of one time: which of the two counts as later.
pub type Tie<'a> = &'a dyn Fn(&Statement, &Statement) -> Ordering;

/// The history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct History {
    dropped: Option<Box<Dropped>>,
    earlier: Vec<u8>,
    newest: Option<Statement>,
    before_newest: Option<(Micros, u32, u32)>,
}

/// A history as files of record version 1 hold it: nothing was ever dropped.
#[derive(Debug, Default, Decode)]
#[cfg_attr(test, derive(Encode))]
pub(super) struct HistoryV1 {
    earlier: Vec<u8>,
    newest: Option<Statement>,
    before_newest: Option<(Micros, u32, u32)>,
}

impl From<HistoryV1> for History {
    fn from(HistoryV1 { earlier, newest, before_newest }: HistoryV1) -> History {
        History { dropped: None, earlier, newest, before_newest }
    }
}

impl History {
    /// What is left of statements before a time, and those since.
    pub fn since(dropped: Dropped, statements: &[Statement]) -> History {
        let mut history = History { dropped: Some(Box::new(dropped)), ..History::default() };
        if let Some((newest, earlier)) = statements.split_last() {
            earlier.iter().for_each(|s| history.pack(s));
            history.newest = Some(*newest);
        }
        history.earlier.shrink_to_fit();
        history
    }

    /// What was dropped, if anything was.
    pub fn dropped(&self) -> Option<&Dropped> {
        self.dropped.as_deref()
    }

    /// Time of the first report, dropped or not.
    pub fn first_report(&self) -> Option<Micros> {
        let kept = self.iter().find(|s| !s.gone).map(|s| s.first);
        self.dropped.as_ref().map(|d| d.first).into_iter().chain(kept).min()
    }

    /// Before this time statements were dropped.
    fn settled(&self) -> Micros {
        self.dropped.as_ref().map_or(Micros::MIN, |dropped| dropped.cut)
    }

    /// The endpoints that were ever reported; some more than once.
    pub fn endpoints(&self) -> impl Iterator<Item = u32> {
        let dropped = self.dropped.iter().flat_map(|d| d.known.iter().map(|k| k.0));
        dropped.chain(self.iter().filter(|s| !s.gone).map(|s| s.endpoint))
    }

    /// The newest run.
    pub fn newest(&self) -> Option<&Statement> {
        self.newest.as_ref()
    }

    /// All runs that were not dropped, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Statement> {
        packed::unpack(&self.earlier).chain(self.newest)
    }

    /// What [`History::insert`] would do, without doing it.
    pub fn would(&self, new: &Statement, tie: Tie<'_>) -> Inserted {
        match self.newest {
            Some(n) if new.first > n.last => in_order(&n, new),
            _ => {
                let mut all: Vec<_> = self.iter().collect();
                insert(&mut all, *new, self.settled(), tie)
            }
        }
    }

    /// Files a statement in its place.
    pub fn insert(&mut self, new: Statement, tie: Tie<'_>) -> Inserted {
        match &mut self.newest {
            None => {
                self.newest = Some(new);
                Inserted::Changed
            }
            Some(n) if new.first > n.last => {
                let outcome = in_order(n, &new);
                if n.confirms(&new) {
                    n.last = new.first;
                } else {
                    let n = *n;
                    self.pack(&n);
                    self.newest = Some(new);
                }
                outcome
            }
            Some(_) => {
                let mut all: Vec<_> = self.iter().collect();
                let outcome = insert(&mut all, new, self.settled(), tie);
                if outcome != Inserted::Known {
                    self.earlier.clear();
                    self.before_newest = None;
                    self.newest = all.pop();
                    for s in &all {
                        self.pack(s);
                    }
                }
                outcome
            }
        }
    }

    fn pack(&mut self, s: &Statement) {
        let before = self.before_newest.map(|(first, endpoint, source)| Statement {
            endpoint,
            source,
            ..Statement::departure(first, first)
        });
        // Histories are most of the memory: they grow by a little, not by doubling.
        if self.earlier.capacity() - self.earlier.len() < packed::USUAL {
            self.earlier.reserve_exact(2 * packed::USUAL);
        }
        packed::push(&mut self.earlier, s, before.as_ref());
        self.before_newest = Some((s.first, s.endpoint, s.source));
    }
}

fn in_order(newest: &Statement, new: &Statement) -> Inserted {
    if newest.confirms(new) { Inserted::Confirmed } else { Inserted::Changed }
}

/// Files a statement; what was said before `settled` is no neighbour of what was said since, for what stood between them was dropped.
fn insert(all: &mut Vec<Statement>, new: Statement, settled: Micros, tie: Tie<'_>) -> Inserted {
    let at = new.first;
    let beside = |s: &Statement| (s.first < settled) == (at < settled);
    let order = |a: Micros, s: &Statement| a.cmp(&at).then_with(|| tie(s, &new));
    if all.iter().any(|s| s.same(&new) && (s.first == at || s.last == at)) {
        return Inserted::Known;
    }
    let next = all.partition_point(|s| order(s.first, s) == Ordering::Less);
    if next > 0 {
        let p = all[next - 1];
        if order(p.last, &p) == Ordering::Greater {
            if p.confirms(&new) {
                return Inserted::Known;
            }
            all.splice(next - 1..next, [p.starting(), new, p.ending(new.received_at)]);
            return Inserted::Changed;
        }
        if p.confirms(&new) && beside(&p) {
            all[next - 1].last = at;
            return Inserted::Changed;
        }
    }
    if let Some(n) = all.get_mut(next)
        && n.confirms(&new)
        && beside(n)
    {
        n.first = at;
        n.received_at = new.received_at;
        n.source = new.source;
        n.future = new.future;
        return Inserted::Changed;
    }
    all.insert(next, new);
    Inserted::Changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn st(at: i64, commit: u32, status: Status) -> Statement {
        Statement { commit, status, gone: false, endpoint: 1, ..Statement::departure(Micros(at), Micros(at)) }
    }

    fn tie(a: &Statement, b: &Statement) -> Ordering {
        (a.gone, a.status, a.commit, a.message).cmp(&(b.gone, b.status, b.commit, b.message))
    }

    fn filled(statements: &[Statement]) -> History {
        let mut h = History::default();
        for s in statements {
            h.insert(*s, &tie);
        }
        h
    }

    fn spans(h: &History) -> Vec<(i64, i64, u32)> {
        h.iter().map(|s| (s.first.0, s.last.0, s.commit)).collect()
    }

    use Status::{Failure, Success};

    #[test]
    fn a_run_keeps_its_first_and_last_time_and_a_late_change_splits_it() {
        let h = filled(&[st(1, 7, Success), st(4, 7, Success), st(10, 7, Success)]);
        assert_eq!(spans(&h), [(1, 10, 7)]);
        let h = filled(&[st(1, 7, Success), st(4, 7, Success), st(10, 7, Success), st(3, 8, Success)]);
        assert_eq!(spans(&h), [(1, 1, 7), (3, 3, 8), (10, 10, 7)]);
    }

    #[test]
    fn late_confirmations_extend_their_neighbours() {
        let h = filled(&[st(1, 7, Success), st(10, 8, Success), st(4, 7, Success), st(8, 8, Success)]);
        assert_eq!(spans(&h), [(1, 4, 7), (8, 10, 8)]);
    }

    #[test]
    fn reports_without_a_commit_are_never_merged() {
        let h = filled(&[st(1, 0, Failure), st(2, 0, Failure), st(2, 0, Failure), st(3, 0, Failure)]);
        assert_eq!(h.iter().count(), 3);
    }

    #[test]
    fn at_equal_times_the_tie_rule_decides_whatever_the_order_of_arrival() {
        let a = filled(&[st(5, 7, Failure), st(5, 7, Success)]);
        let b = filled(&[st(5, 7, Success), st(5, 7, Failure)]);
        assert_eq!(a, b);
        assert_eq!(a.newest().unwrap().status, Failure);
    }

    #[test]
    fn what_would_happen_is_what_happens() {
        let mut h = filled(&[st(1, 7, Success), st(9, 8, Failure)]);
        for s in [st(9, 8, Failure), st(12, 8, Failure), st(5, 7, Success), st(11, 9, Success), st(3, 7, Success)] {
            let would = h.would(&s, &tie);
            assert_eq!(would, h.insert(s, &tie), "{s:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn packing_keeps_every_statement(raw in proptest::collection::vec((0i64..1_000_000_000, 0u32..4, 0u8..4, 0u32..3, -5i64..5), 0..40)) {
            let mut bytes = Vec::new();
            let mut before = None;
            let statements: Vec<_> = raw.iter().map(|&(t, c, s, e, r)| Statement {
                endpoint: e, applied: c / 2, message: c, received_at: Micros(t + r), last: Micros(t),
                ..st(t, c, Status::from_u8(s))
            }).collect();
            for s in &statements {
                packed::push(&mut bytes, s, before.as_ref());
                before = Some(*s);
            }
            proptest::prop_assert_eq!(packed::unpack(&bytes).collect::<Vec<_>>(), statements);
        }

        #[test]
        fn resending_a_history_in_order_changes_nothing(raw in proptest::collection::vec((0i64..20, 1u32..4, 1u8..4), 1..15)) {
            let statements: Vec<_> = raw.iter().map(|&(t, c, s)| st(t, c, Status::from_u8(s))).collect();
            let mut h = filled(&statements);
            let before: Vec<_> = h.iter().collect();
            for s in &before {
                proptest::prop_assert_eq!(h.insert(s.starting(), &tie), Inserted::Known);
                proptest::prop_assert_eq!(h.insert(s.ending(s.received_at), &tie), Inserted::Known);
            }
            proptest::prop_assert_eq!(h.iter().collect::<Vec<_>>(), before);
        }
    }
}
