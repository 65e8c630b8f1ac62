//! What is wanted on one deployment target: the declarations, and the assignments that follow from them (design §3.2-3.4, §3.14).
//!
//! Invariants: every distinct declaration is kept, ordered by (time, tie rule); assignments are a pure function of the
//! declarations and of the times in which their carriers named this target; they do not overlap.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ledger::record::{Decode, Derived, Encode};
use hashbrown::HashMap;

use super::carrier::Span;
use crate::model::Micros;

/// One declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Declared {
    /// Event time.
    pub at: Micros,
    /// Receipt.
    pub received_at: Micros,
    /// Carrier id.
    pub carrier: u32,
    /// Version id.
    pub version: u32,
    /// Endpoint id.
    pub endpoint: u32,
    /// Commit log id.
    pub log: u32,
    /// GitOps commit (name id); 0 while unknown.
    pub commit: u32,
    /// Contact (name id).
    pub contact: u32,
    /// Labels (name id).
    pub labels: u32,
    /// Source (name id).
    pub source: u32,
    /// The claimed time lay in the future.
    pub future: bool,
}

impl Declared {
    /// The same words, whenever and however received.
    pub fn same(&self, o: &Declared) -> bool {
        (self.at, self.carrier, self.version, self.endpoint, self.log, self.commit, self.contact, self.labels)
            == (o.at, o.carrier, o.version, o.endpoint, o.log, o.commit, o.contact, o.labels)
    }

    fn wanted(&self) -> (u32, u32) {
        (self.version, self.endpoint)
    }
}

/// A version wanted on the target for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Version id.
    pub version: u32,
    /// Endpoint id.
    pub endpoint: u32,
    /// Commit log id.
    pub log: u32,
    /// The commit it began at, whatever that commit came to stand for later; 0 when nobody named one.
    pub commit: u32,
    /// Start.
    pub start: Micros,
    /// End; `Micros::MAX` while in force.
    pub end: Micros,
    /// Contact as last declared.
    pub contact: u32,
    /// Labels as last declared.
    pub labels: u32,
    /// The carrier whose declaration is in force.
    pub carrier: u32,
    /// Source of the declaration that started it.
    pub source: u32,
    /// The claimed time lay in the future.
    pub future: bool,
}

/// What follows from the declarations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// In order of time.
    pub list: Vec<Assignment>,
    /// (log, commit) to the assignment that the newest record names.
    pub records: HashMap<(u32, u32), (Micros, usize)>,
    /// Times without any carrier.
    pub gaps: Vec<(Micros, Micros)>,
    /// First declaration.
    pub declared_at: Micros,
}

impl Assignments {
    /// The assignment in force.
    pub fn in_force(&self) -> Option<(usize, &Assignment)> {
        self.list.last().filter(|a| a.end == Micros::MAX).map(|a| (self.list.len() - 1, a))
    }

    /// End of life; `None` while a carrier declares the target.
    pub fn retired_at(&self) -> Option<Micros> {
        self.gaps.last().filter(|g| g.1 == Micros::MAX).map(|g| g.0)
    }

    /// The assignment that covers a commit: the newest record, else the one in force at the commit's first place.
    pub fn cover(&self, log: u32, commit: u32, first_place: impl FnOnce() -> Option<Micros>) -> Option<usize> {
        if let Some((_, i)) = self.records.get(&(log, commit)) {
            return Some(*i);
        }
        let at = first_place()?;
        let next = self.list.partition_point(|a| a.start <= at);
        let i = next.checked_sub(1)?;
        (at < self.list[i].end && self.list[i].log == log).then_some(i)
    }

    /// Whether a version was on the target before this assignment, as another version.
    pub fn was_before(&self, version: u32, index: usize) -> bool {
        self.list[index].version != version && self.list[..index].iter().any(|a| a.version == version)
    }
}

/// A deployment target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TargetRecord {
    /// Workspace (name id).
    pub workspace: u32,
    /// Application (name id).
    pub application: u32,
    /// Workload (name id).
    pub workload: u32,
    /// Environment (name id).
    pub environment: u32,
    /// Name (name id).
    pub name: u32,
    /// Declarations, ordered.
    pub declarations: Vec<Declared>,
    /// Carriers that ever declared it.
    pub carriers: Vec<u32>,
    /// Derived.
    pub assignments: Derived<Arc<Assignments>>,
    /// The selectors of hosts that take it in while it lives (name ids); derived.
    pub selected: Derived<BTreeSet<u32>>,
}

impl TargetRecord {
    /// The endpoint in force, while it lives.
    pub fn endpoint(&self) -> Option<u32> {
        self.assignments.in_force().map(|(_, a)| a.endpoint)
    }

    /// Files a declaration; false when it was known. `later` is the tie rule.
    pub fn declare(&mut self, new: Declared, later: impl Fn(&Declared, &Declared) -> bool) -> bool {
        if self.knows(&new) {
            return false;
        }
        if !self.carriers.contains(&new.carrier) {
            self.carriers.push(new.carrier);
        }
        let next = self.declarations.partition_point(|d| d.at < new.at || (d.at == new.at && later(&new, d)));
        self.declarations.insert(next, new);
        true
    }

    /// Whether exactly this was declared before.
    pub fn knows(&self, new: &Declared) -> bool {
        let from = self.declarations.partition_point(|d| d.at < new.at);
        self.declarations[from..].iter().take_while(|d| d.at == new.at).any(|d| d.same(new))
    }
}

/// Which declarations were made too early (§3.4): at a commit that already had another version here, and repeated at a newer one.
fn too_early(declarations: &[Declared]) -> Vec<bool> {
    let mut first_at: HashMap<(u32, u32), (Micros, u32)> = HashMap::new();
    let mut more_than_one: HashMap<(u32, u32), Vec<(Micros, u32)>> = HashMap::new();
    for d in declarations.iter().filter(|d| d.commit != 0) {
        let key = (d.log, d.commit);
        let first = first_at.entry(key).or_insert((d.at, d.version));
        if first.1 != d.version {
            more_than_one.entry(key).or_default().push((d.at, d.version));
        }
    }
    let mut early: Vec<bool> = Vec::with_capacity(declarations.len());
    for d in declarations {
        let here = (d.log, d.commit);
        let had_another = || {
            // What was itself too early gave the commit no version.
            let before = declarations.iter().zip(&early).filter(|(o, early)| !**early && o.at < d.at);
            before.map(|(o, _)| o).any(|o| (o.log, o.commit) == here && o.version != d.version)
        };
        let is_repeated = || {
            let later = declarations.iter().filter(|o| o.at > d.at && o.commit != 0);
            later.into_iter().any(|o| (o.log, o.commit) != here && o.version == d.version)
        };
        early.push(d.commit != 0 && more_than_one.contains_key(&here) && had_another() && is_repeated());
    }
    early
}

/// One carrier during the sweep.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    carrier: u32,
    living: bool,
    latest: Option<Declared>,
    since: Micros,
}

/// Computes the assignments. `spans` are the times in which carriers named this target.
pub fn assignments(declarations: &[Declared], spans: &[(u32, Span)]) -> Assignments {
    let early = too_early(declarations);
    let mut times: Vec<Micros> = declarations.iter().map(|d| d.at).collect();
    times.extend(spans.iter().flat_map(|(_, s)| [s.from, s.to]).filter(|t| *t != Micros::MAX));
    times.sort_unstable();
    times.dedup();
    let mut result = Assignments {
        gaps: super::carrier::gaps(spans.iter().map(|(_, s)| (s.from, s.to)).collect()),
        declared_at: declarations.first().map_or(Micros::MAX, |d| d.at),
        ..Assignments::default()
    };
    let mut carriers: Vec<Claimed> = Vec::new();
    let mut next = 0;
    for at in times {
        let of = |c: &Claimed| spans.iter().filter(|s| s.0 == c.carrier).map(|s| &s.1).collect::<Vec<_>>();
        let turned = |c: &Claimed| of(c).iter().any(|s| s.to == at && !s.gone) && of(c).iter().any(|s| s.from == at);
        // Named another object and this one again, all at one time: what it says next is said anew.
        for c in carriers.iter_mut().filter(|c| turned(c)) {
            c.latest = None;
        }
        // Declarations of one time follow each other in the order of the tie rule; departures come after all of them.
        while next < declarations.len() && declarations[next].at == at {
            let d = declarations[next];
            if !early[next] {
                hear(&mut carriers, d);
                result.step(at, wanted(&carriers), true);
                result.record(at, &d);
            }
            next += 1;
        }
        // All that leave at one time leave together.
        let names = |s: &Span| s.from <= at && at < s.to;
        for c in &mut carriers {
            c.living = spans.iter().any(|(carrier, s)| *carrier == c.carrier && names(s));
            if !c.living {
                c.latest = None;
            }
        }
        let anyone = spans.iter().any(|(_, s)| names(s));
        result.step(at, wanted(&carriers), anyone);
    }
    result
}

/// The newest declaration among the living carriers.
fn wanted(carriers: &[Claimed]) -> Option<Declared> {
    let living = carriers.iter().filter(|c| c.living && c.latest.is_some());
    living.max_by_key(|c| c.since).and_then(|c| c.latest)
}

fn hear(carriers: &mut Vec<Claimed>, d: Declared) {
    let heard = Claimed { carrier: d.carrier, living: true, latest: Some(d), since: d.at };
    if let Some(i) = carriers.iter().position(|c| c.carrier == d.carrier) {
        if carriers[i].latest.is_some_and(|l| l.wanted() == d.wanted()) {
            carriers[i] = Claimed { since: carriers[i].since, ..heard };
            return;
        }
        carriers.remove(i);
    }
    // Behind its equals: of two declarations of one time the later by tie rule is the newest.
    carriers.push(heard);
}

impl Assignments {
    fn step(&mut self, at: Micros, wanted: Option<Declared>, anyone: bool) {
        let open = self.list.last().copied().filter(|a| a.end == Micros::MAX);
        match wanted {
            Some(d) if open.is_some_and(|a| (a.version, a.endpoint) == d.wanted()) => {
                let a = self.list.last_mut().expect("an open assignment is the last one");
                (a.contact, a.labels) = (d.contact, d.labels);
                if std::mem::replace(&mut a.carrier, d.carrier) != d.carrier {
                    self.name(at, &d);
                }
            }
            Some(d) => {
                self.end(at);
                self.list.push(Assignment {
                    version: d.version,
                    endpoint: d.endpoint,
                    log: d.log,
                    commit: d.commit,
                    start: at,
                    end: Micros::MAX,
                    contact: d.contact,
                    labels: d.labels,
                    carrier: d.carrier,
                    source: d.source,
                    future: d.future,
                });
                // What is wanted again, because another carrier left, counts as recorded anew.
                self.name(at, &d);
            }
            None if !anyone => self.end(at),
            // The only living carriers have said nothing but what was too early: what was wanted stays.
            None => {}
        }
    }

    fn end(&mut self, at: Micros) {
        if let Some(a) = self.list.last_mut()
            && a.end == Micros::MAX
        {
            a.end = at;
        }
    }

    fn record(&mut self, at: Micros, d: &Declared) {
        if self.in_force().is_some_and(|(_, a)| (a.version, a.endpoint) == d.wanted()) {
            self.name(at, d);
        }
    }

    fn name(&mut self, at: Micros, d: &Declared) {
        if d.commit != 0 {
            self.records.insert((d.log, d.commit), (at, self.list.len() - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(at: i64, carrier: u32, version: u32, commit: u32) -> Declared {
        Declared {
            at: Micros(at),
            received_at: Micros(at),
            carrier,
            version,
            endpoint: 1,
            log: 1,
            commit,
            contact: 0,
            labels: 0,
            source: 0,
            future: false,
        }
    }

    fn span(carrier: u32, from: i64, to: i64) -> (u32, Span) {
        (carrier, Span { from: Micros(from), to: Micros(to), gone: true })
    }

    fn always(carrier: u32) -> (u32, Span) {
        span(carrier, 0, i64::MAX)
    }

    fn seen(a: &Assignments) -> Vec<(u32, i64, u32)> {
        a.list.iter().map(|a| (a.version, a.start.0, a.commit)).collect()
    }

    #[test]
    fn a_later_commit_with_the_same_version_extends_the_assignment() {
        let a = assignments(&[d(1, 1, 10, 7), d(2, 1, 10, 8)], &[always(1)]);
        assert_eq!(seen(&a), [(10, 1, 7)]);
        assert_eq!(a.cover(1, 8, || None), Some(0));
        assert_eq!(
            a.cover(1, 9, || Some(Micros(5))),
            Some(0),
            "a commit nobody recorded here is covered by what is in force"
        );
    }

    #[test]
    fn a_version_recorded_too_early_starts_no_assignment() {
        let a = assignments(&[d(1, 1, 10, 7), d(5, 1, 11, 7), d(6, 1, 11, 8)], &[always(1)]);
        assert_eq!(seen(&a), [(10, 1, 7), (11, 6, 8)]);
        assert_eq!(a.cover(1, 7, || None), Some(0));
    }

    #[test]
    fn two_versions_at_one_commit_without_a_correction_are_named_by_the_newest() {
        let a = assignments(&[d(1, 1, 10, 7), d(5, 1, 11, 7)], &[always(1)]);
        assert_eq!(a.cover(1, 7, || None), Some(1));
    }

    #[test]
    fn when_the_carrier_in_force_goes_what_the_others_declare_is_wanted_again() {
        let spans = [always(1), span(2, 5, 9)];
        let a = assignments(&[d(1, 1, 10, 7), d(5, 2, 11, 8)], &spans);
        assert_eq!(seen(&a), [(10, 1, 7), (11, 5, 8), (10, 9, 7)]);
        assert_eq!(a.cover(1, 7, || None), Some(2), "recorded anew");
    }

    #[test]
    fn repeating_ones_own_version_is_a_confirmation_and_not_newer() {
        let a = assignments(&[d(1, 1, 10, 7), d(5, 2, 11, 8), d(6, 1, 10, 7)], &[always(1), span(2, 5, i64::MAX)]);
        assert_eq!(a.in_force().unwrap().1.version, 11);
    }

    #[test]
    fn a_retired_target_wants_nothing() {
        let a = assignments(&[d(1, 1, 10, 7)], &[span(1, 1, 4)]);
        assert_eq!((a.in_force(), a.retired_at()), (None, Some(Micros(4))));
        assert_eq!(a.list[0].end, Micros(4));
    }
}
