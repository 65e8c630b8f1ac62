//! Verifications in the state: filing them, and what the gate asks - which of them speak of an assignment of a target.
//!
//! Invariant: the answer is a pure function of the records. It is found by workload, environment and subject, never by going
//! through all there are; where there are none it costs nothing.

use std::cmp::Ordering;

use hashbrown::HashMap;

use super::blocks::Blocks;
use super::carrier::{Object, ObjectKind};
use super::fold::WHY;
use super::verification::{Judgement, Key, VerificationRecord};
use super::{State, Tables, Touched};
use crate::model::verification::{ENVIRONMENT, WORKLOAD};
use crate::model::{Clock, Fact, Micros, Outcome, Subject, Verification};

/// Finds verifications; never stored, rebuilt at start.
#[derive(Clone, Debug, Default)]
pub struct Verifications {
    keys: HashMap<Key, u32>,
    places: HashMap<Place, Vec<u32>>,
    changed: u64,
}

/// Workload and environment (0 where a verification names none), and what is judged. All commits are one place: which of them an
/// assignment covers is asked one by one.
type Place = (u32, u32, Subject<u32>);

impl Verifications {
    /// Indexes stored records.
    pub(super) fn rebuild(t: &Tables) -> Verifications {
        let mut all = Verifications::default();
        t.verifications.iter().for_each(|(id, record)| all.add(record.key, id));
        all
    }

    fn add(&mut self, key: Key, id: u32) {
        let subject = match key.subject {
            Subject::Commit(_) => Subject::Commit(0),
            other => other,
        };
        self.keys.insert(key, id);
        self.places.entry((key.selectors[WORKLOAD], key.selectors[ENVIRONMENT], subject)).or_default().push(id);
    }
}

impl super::Index {
    /// Grows with each verification that said something new, since this state was made.
    pub fn verifications_changed(&self) -> u64 {
        self.verifications.changed
    }
}

/// The current judgement under one name, of those that speak of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationView<'a> {
    /// What was done: `smoke`, `load` …
    pub name: &'a str,
    /// How it went.
    pub result: Outcome,
    /// When it was last said, by event time.
    pub at: Micros,
    /// Since when nothing else was said.
    pub since: Micros,
    /// Where to read more.
    pub link: Option<&'a str>,
    /// Message.
    pub message: Option<&'a str>,
    /// Who says so.
    pub reported_by: Option<&'a str>,
}

/// Which of two judgements of one time counts as later: the grave one, then by content.
fn tie(names: &Blocks<Box<str>>, a: &Judgement, b: &Judgement) -> Ordering {
    let texts = |j: &Judgement| j.content().map(|id| super::names::text(names, id));
    a.outcome.cmp(&b.outcome).then_with(|| texts(a).cmp(&texts(b)))
}

impl State {
    /// The current verification under each name that applies to one assignment of a target, by name: its selectors match the
    /// target, and it judges the version, a commit that the assignment covers, or the source commit. Where several subjects of
    /// one name apply, the newest by event time counts.
    pub fn verifications_of(&self, target: u32, assignment: usize) -> Vec<VerificationView<'_>> {
        let (t, places) = (&self.tables, &self.index.verifications.places);
        let record = t.targets.get(target).filter(|_| !places.is_empty());
        let Some((record, a)) = record.and_then(|r| Some((r, r.assignments.list.get(assignment)?))) else {
            return Vec::new();
        };
        let names = [record.workspace, record.application, record.workload, record.environment, record.name];
        let version = t.versions.get(a.version);
        let subjects = [
            version.map(|v| Subject::Version(v.version)),
            version.filter(|v| v.source_commit != 0).map(|v| Subject::SourceCommit(v.source_commit)),
            Some(Subject::Commit(0)),
        ];
        let applies = |key: &Key| {
            let here = key.selectors.iter().zip(names).all(|(want, is)| *want == 0 || *want == is);
            let covered = |commit| t.cover(&record.assignments, a.log, commit) == Some(assignment);
            here && !matches!(key.subject, Subject::Commit(commit) if !covered(commit))
        };
        let mut current: HashMap<u32, (&Judgement, &VerificationRecord)> = HashMap::new();
        for workload in [0, record.workload] {
            for environment in [0, record.environment] {
                let found = subjects.iter().flatten().filter_map(|s| places.get(&(workload, environment, *s)));
                let found = found.flatten().filter_map(|id| t.verifications.get(*id));
                for (record, judgement) in found.filter_map(|v| Some((v, v.current()?))) {
                    let key = &record.key;
                    let newer = current.get(&key.name).is_none_or(|(k, _)| {
                        k.last.cmp(&judgement.last).then_with(|| tie(&t.names, k, judgement)).is_lt()
                    });
                    if newer && applies(key) {
                        current.insert(key.name, (judgement, record));
                    }
                }
            }
        }
        let view = |(name, (j, record)): (u32, (&Judgement, &VerificationRecord))| VerificationView {
            name: t.text(name),
            result: j.outcome,
            at: j.last,
            since: record.since(),
            link: t.some(j.link),
            message: t.some(j.message),
            reported_by: t.some(j.reported_by),
        };
        let mut views: Vec<_> = current.into_iter().map(view).collect();
        views.sort_unstable_by_key(|v| v.name);
        views
    }

    /// Whether exactly this was said before.
    pub(super) fn verification_known(&self, fact: &Fact, v: &Verification) -> bool {
        let find = || {
            let (key, judgement) = told(fact, v, |text| self.index.name(&self.tables, text))?;
            let record = self.tables.verifications.get(*self.index.verifications.keys.get(&key)?)?;
            Some(record.knows(&judgement))
        };
        find().unwrap_or(false)
    }

    pub(super) fn apply_verification(&mut self, seq: u64, fact: &Fact, carrier: u32, v: &Verification) -> Touched {
        let Some((key, judgement)) = told(fact, v, |text| Some(self.intern(text, seq))) else { return Touched::new() };
        let id = match self.index.verifications.keys.get(&key) {
            Some(id) => *id,
            None => {
                let id = self.tables.verifications.push(VerificationRecord { key, said: Vec::new() }, seq);
                self.index.verifications.add(key, id);
                id
            }
        };
        let names = &self.tables.names;
        let record = self.tables.verifications.get_mut(id, seq).expect(WHY);
        let changed = record.file(judgement, |a, b| tie(names, a, b));
        self.index.verifications.changed += u64::from(changed);
        self.claim(seq, fact, carrier, Some(Object { kind: ObjectKind::Verification, id, rank: 0 }), &[])
    }
}

/// Key and judgement that a fact makes, once `id` has told the ids of its words.
fn told(fact: &Fact, v: &Verification, mut id: impl FnMut(&str) -> Option<u32>) -> Option<(Key, Judgement)> {
    let mut selectors = [0; 5];
    for (selector, name) in selectors.iter_mut().zip(&v.selectors) {
        *selector = id(name.as_deref().unwrap_or_default())?;
    }
    let subject = id(v.subject.parts().1)?;
    let key = Key { name: id(&v.name)?, selectors, subject: v.subject.map(|_| subject) };
    let judgement = Judgement {
        first: fact.at,
        last: fact.at,
        received_at: fact.received_at,
        outcome: v.outcome,
        raw: id(&v.raw_result)?,
        link: id(v.link.as_deref().unwrap_or_default())?,
        message: id(&v.message)?,
        reported_by: id(v.reported_by.as_deref().unwrap_or_default())?,
        source: id(&fact.source)?,
        future: fact.clock == Clock::Future,
    };
    Some((key, judgement))
}

#[cfg(test)]
mod tests;
