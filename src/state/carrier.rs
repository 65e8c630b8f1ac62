//! What a carrier declared over time: which object, or nothing any more (design §3.14).
//!
//! Invariants: statements are ordered by (time, departure last, object). Equal neighbours are one run with a first and a last
//! time, but for departures and targets: of what declares a target every statement is kept, as the gate must not depend on the
//! order of arrival. An object lives while the newest statement of any of its carriers names it.

use crate::ledger::record::{Decode, Encode};

use crate::model::{CarrierKey, Micros};

/// Which object a carrier can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum ObjectKind {
    /// A deployment target.
    Target,
    /// A reconciler.
    Reconciler,
    /// A host.
    Host,
    /// A verification.
    Verification,
}

/// An object by kind and id; two are equal whatever their ranks.
#[derive(Clone, Copy, Debug, Eq, Encode, Decode)]
pub struct Object {
    /// Kind.
    pub kind: ObjectKind,
    /// Id in its table.
    pub id: u32,
    /// Of what was said of several objects at one time, the greatest rank counts as last: status, then commit, then content.
    pub rank: u64,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.id) == (other.kind, other.id)
    }
}

/// A run of equal statements of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// First statement.
    pub first: Micros,
    /// Last statement.
    pub last: Micros,
    /// What is named; `None` when the carrier is gone. Its rank is that of the last statement.
    pub object: Option<Object>,
    /// Rank of the first statement.
    pub first_rank: u64,
}

impl Claim {
    fn starts(&self) -> (Micros, bool, u64) {
        (self.first, self.object.is_none(), self.first_rank)
    }

    fn ends(&self) -> (Micros, bool, u64) {
        (self.last, self.object.is_none(), self.object.map_or(0, |o| o.rank))
    }

    fn starting(self) -> Claim {
        let object = self.object.map(|o| Object { rank: self.first_rank, ..o });
        Claim { last: self.first, object, ..self }
    }

    fn ending(self) -> Claim {
        Claim { first: self.last, first_rank: self.object.map_or(0, |o| o.rank), ..self }
    }
}

/// A time in which a carrier named an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Start.
    pub from: Micros,
    /// End; `Micros::MAX` while it lasts.
    pub to: Micros,
    /// It ended by a departure, and not because the carrier named another object.
    pub gone: bool,
}

/// Whether an identity stands for a content, and not for an object version or an idempotency key.
fn is_content(identity: u64) -> bool {
    identity & 1 == 1
}

/// Whether equal neighbours are kept as one run; departures never are, for what comes late may stand between them.
fn is_run(object: Option<Object>) -> bool {
    object.is_some_and(|o| o.kind != ObjectKind::Target)
}

/// How many statements without a time of their own are known again.
const IDENTITIES: usize = 8;

/// A carrier.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CarrierRecord {
    /// Its key.
    pub key: CarrierKey,
    /// Name id of its source.
    pub source: u32,
    newest: Option<Claim>,
    earlier: Vec<Claim>,
    identities: Vec<(u64, Micros)>,
    latest: u64,
}

impl CarrierRecord {
    /// A carrier that has said nothing yet.
    pub fn new(key: CarrierKey, source: u32) -> CarrierRecord {
        CarrierRecord { key, source, newest: None, earlier: Vec::new(), identities: Vec::new(), latest: 0 }
    }

    /// What it names now.
    pub fn object(&self) -> Option<Object> {
        self.newest.and_then(|c| c.object)
    }

    /// The newest claim.
    pub fn newest(&self) -> Option<&Claim> {
        self.newest.as_ref()
    }

    /// All claims, oldest first.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        self.earlier.iter().copied().chain(self.newest)
    }

    /// When a statement with this identity was first received, if it is remembered.
    ///
    /// A content is known again only while it is the latest that was received; an object version or idempotency key always.
    pub fn remembered(&self, identity: u64) -> Option<Micros> {
        if is_content(identity) && identity != self.latest {
            return None;
        }
        self.identities.iter().find(|(i, _)| *i == identity).map(|(_, at)| *at)
    }

    /// Whether the latest that was received named no time of its own.
    pub fn is_untimed(&self) -> bool {
        self.identities.iter().any(|(identity, _)| *identity == self.latest)
    }

    /// Notes what was received last; what is filed before something known is not the latest word.
    pub fn received(&mut self, identity: u64, at: Micros) {
        if self.newest.is_none_or(|c| c.last <= at) {
            self.latest = identity;
        }
    }

    /// Remembers a statement that had no time of its own.
    pub fn remember(&mut self, identity: u64, at: Micros) {
        let list = &mut self.identities;
        list.retain(|(i, _)| *i != identity);
        if list.len() == IDENTITIES {
            list.remove(0);
        }
        list.push((identity, at));
    }

    /// Files a claim; true when it changed anything but the time of the last confirmation. No run goes across a `barrier`.
    pub fn claim(&mut self, at: Micros, object: Option<Object>, barriers: &[Micros]) -> bool {
        let new = Claim { first: at, last: at, object, first_rank: object.map_or(0, |o| o.rank) };
        match &mut self.newest {
            None => {
                self.newest = Some(new);
                return true;
            }
            Some(n) if at > n.last => {
                let same = n.object == object;
                if same && is_run(object) && !barriers.iter().any(|b| n.last <= *b && *b < at) {
                    (n.last, n.object) = (at, object);
                } else {
                    let n = std::mem::replace(n, new);
                    self.earlier.push(n);
                }
                return !same;
            }
            Some(n) if n.object == object && n.starts() <= new.starts() => {
                if let (Some(o), Some(new), true) = (&mut n.object, object, n.last == at) {
                    o.rank = o.rank.max(new.rank);
                }
                return false;
            }
            Some(_) => {}
        }
        let mut all: Vec<_> = self.claims().collect();
        let stands = new.starts();
        if all.iter().any(|c| c.object == object && c.starts() <= stands && stands <= c.ends()) {
            return false;
        }
        let next = all.partition_point(|c| c.starts() < stands);
        // What comes late is kept apart from its neighbours, so that a departure that comes later still finds its place.
        let inside = next > 0 && all[next - 1].ends() > stands;
        if inside {
            let p = all[next - 1];
            all.splice(next - 1..next, [p.starting(), new, p.ending()]);
        } else {
            all.insert(next, new);
        }
        self.newest = all.pop();
        self.earlier = all;
        true
    }

    /// The same with further times at which it named an object.
    pub fn with(&self, said: &[(Micros, Object)]) -> CarrierRecord {
        let mut all = self.clone();
        for (at, object) in said {
            all.claim(*at, Some(*object), &[]);
        }
        all
    }

    /// Cuts runs of an object that go across this time into their first and their last statement.
    pub fn cut(&mut self, at: Micros, object: Object) {
        let across = |c: &Claim| c.object == Some(object) && c.first <= at && at < c.last;
        if !self.claims().any(|c| across(&c)) {
            return;
        }
        let mut all: Vec<Claim> = Vec::new();
        for c in self.claims() {
            if across(&c) {
                all.extend([c.starting(), c.ending()]);
            } else {
                all.push(c);
            }
        }
        self.newest = all.pop();
        self.earlier = all;
    }

    /// The first statement after this time that names the object.
    pub fn next_claim(&self, at: Micros, kind: ObjectKind, id: u32) -> Option<Micros> {
        let named = |c: &Claim| c.object.is_some_and(|o| o.kind == kind && o.id == id);
        self.claims().filter(named).flat_map(|c| [c.first, c.last]).find(|t| *t > at)
    }

    /// Spans in which it named the object.
    pub fn spans(&self, kind: ObjectKind, id: u32) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut open = false;
        for claim in self.claims() {
            let named = claim.object.is_some_and(|o| o.kind == kind && o.id == id);
            match spans.last_mut() {
                Some(_) if open && named => {}
                Some(span) if open => (span.to, span.gone) = (claim.first, claim.object.is_none()),
                _ if named => {
                    spans.push(Span { from: claim.first, to: Micros::MAX, gone: false });
                }
                _ => {}
            }
            open = named;
        }
        spans
    }

    /// Whether it names the object now and never said anything else.
    pub fn only_ever(&self, kind: ObjectKind, id: u32) -> bool {
        self.earlier.is_empty() && self.object().is_some_and(|o| o.kind == kind && o.id == id)
    }
}

/// Times without life between the first and the last of these spans, and after the last.
pub fn gaps(mut spans: Vec<(Micros, Micros)>) -> Vec<(Micros, Micros)> {
    spans.sort_unstable();
    let mut gaps = Vec::new();
    let Some(mut until) = spans.first().map(|s| s.1) else { return gaps };
    for (from, to) in spans {
        if from > until {
            gaps.push((until, from));
        }
        until = until.max(to);
    }
    if until != Micros::MAX {
        gaps.push((until, Micros::MAX));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(id: u32) -> Option<Object> {
        Some(Object { kind: ObjectKind::Target, id, rank: id.into() })
    }

    fn spans(c: &CarrierRecord, id: u32) -> Vec<(i64, i64)> {
        c.spans(ObjectKind::Target, id).iter().map(|s| (s.from.0, s.to.0)).collect()
    }

    #[test]
    fn a_carrier_that_names_another_object_lets_go_of_the_old_one_at_that_time() {
        let mut c = CarrierRecord::new(CarrierKey(1), 0);
        c.claim(Micros(1), object(1), &[]);
        c.claim(Micros(9), object(2), &[]);
        assert_eq!(spans(&c, 1), [(1, 9)]);
        c.claim(Micros(5), object(2), &[]);
        assert_eq!(spans(&c, 1), [(1, 5)]);
        assert_eq!(spans(&c, 2), [(5, i64::MAX)]);
    }

    #[test]
    fn a_deletion_may_arrive_before_its_object() {
        let mut c = CarrierRecord::new(CarrierKey(1), 0);
        c.claim(Micros(5), None, &[]);
        c.claim(Micros(5), object(1), &[]);
        c.claim(Micros(3), object(1), &[]);
        assert_eq!(c.object(), None);
        assert_eq!(spans(&c, 1), [(3, 5)]);
        c.claim(Micros(6), object(1), &[]);
        assert!(c.object().is_some());
    }

    #[test]
    fn of_one_time_another_object_stands_between_two_words_about_one() {
        let ranked = |id, rank| Some(Object { kind: ObjectKind::Reconciler, id, rank });
        let told = [(7, ranked(1, 1)), (6, ranked(1, 1)), (6, ranked(1, 3)), (6, ranked(2, 2))];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut c = CarrierRecord::new(CarrierKey(1), 0);
            for i in order {
                c.claim(Micros(told[i].0), told[i].1, &[]);
            }
            let of = |id| c.spans(ObjectKind::Reconciler, id).iter().map(|s| (s.from.0, s.to.0)).collect::<Vec<_>>();
            assert_eq!((of(1), of(2)), (vec![(6, 6), (6, i64::MAX)], vec![(6, 6)]), "{order:?}");
        }
    }

    #[test]
    fn what_comes_late_finds_its_place_between_departures() {
        let mut c = CarrierRecord::new(CarrierKey(1), 0);
        for at in [2, 5, 9] {
            c.claim(Micros(at), None, &[]);
        }
        c.claim(Micros(3), object(1), &[]);
        assert_eq!(spans(&c, 1), [(3, 5)]);
    }

    #[test]
    fn gaps_are_what_no_span_covers() {
        let m = |a, b| (Micros(a), Micros(b));
        assert_eq!(gaps(vec![m(5, 7), m(1, 3), m(2, 4)]), [m(4, 5), (Micros(7), Micros::MAX)]);
        assert_eq!(gaps(vec![m(1, i64::MAX)]), []);
    }
}
