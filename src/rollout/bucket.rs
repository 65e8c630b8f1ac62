//! Where one reconciler stands relative to the range of commits asked about: the table of design §8, first row that applies.
//!
//! Invariant: the rules stand here once, for the gate and for the table of rollouts. A [`Standing`] decides nearly always;
//! where it cannot, it says so, and the reconciler's history is read.

use std::collections::BTreeSet;

use crate::model::{Micros, Status};
use crate::state::Tables;
use crate::state::standing::{Heard, Standing};
use crate::state::tables::{Place, ReconcilerRecord};
use crate::state::target::{Assignment, Assignments, TargetRecord};
use crate::state::walk::{Walk, Word};

use super::Bucket;

/// The range asked about on one target.
#[derive(Debug)]
pub struct Range<'a> {
    tables: &'a Tables,
    assignments: &'a Assignments,
    /// Number of the assignment asked about.
    index: usize,
    /// C₁.
    pub(super) first: Option<Place<'a>>,
    /// Cₙ.
    last: Option<Place<'a>>,
    /// Whether commits are placed in the log that standings are about.
    home: bool,
}

/// Where a reconciler stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stand {
    /// The bucket.
    pub bucket: Bucket,
    /// Why, where the bucket alone does not say.
    pub note: Option<&'static str>,
    /// It does not count: it is no success, and its host need not report and was not heard for long. The bucket is the one in which
    /// it was when it was.
    pub left_out: bool,
}

impl<'a> Range<'a> {
    /// The range of an assignment, from the given commit on or from its first one.
    pub(super) fn new(tables: &'a Tables, target: &'a TargetRecord, index: usize, from: Option<u32>) -> Range<'a> {
        let assignments: &'a Assignments = &target.assignments;
        let log = assignments.list[index].log;
        let covered = covered(tables, assignments, index);
        let places = || covered.iter().filter_map(|c| tables.place(log, *c));
        let first = match from {
            Some(commit) => tables.place(log, commit),
            None => places().min(),
        };
        Range { first, last: places().max(), ..Range::between(tables, target, index, None) }
    }

    /// The whole ranges of the assignments from `first` up to `end`, in order, by one look at the log.
    pub(super) fn several(tables: &'a Tables, target: &'a TargetRecord, first: usize, end: usize) -> Vec<Range<'a>> {
        let all: &'a Assignments = &target.assignments;
        let mut ends: Vec<Option<(Place<'a>, Place<'a>)>> = vec![None; end.saturating_sub(first)];
        let mut widen = |index: usize, place: Place<'a>| {
            if let Some(ends) = index.checked_sub(first).and_then(|at| ends.get_mut(at)) {
                *ends = Some(ends.map_or((place, place), |(least, most)| (least.min(place), most.max(place))));
            }
        };
        for ((log, commit), (_, index)) in &all.records {
            if all.list[*index].log == *log
                && let Some(place) = tables.place(*log, *commit)
            {
                widen(*index, place);
            }
        }
        let logs: BTreeSet<u32> = all.list[first..end].iter().map(|a| a.log).collect();
        for log in logs {
            let commits = tables.logs.get(log).into_iter().flat_map(|l| l.commits());
            for (commit, visits) in commits.filter(|(c, _)| !all.records.contains_key(&(log, *c))) {
                let covering = all.cover(log, commit, || visits.first().copied());
                if let Some((index, place)) = covering.zip(tables.place(log, commit)) {
                    widen(index, place);
                }
            }
        }
        let ranges = (first..end).zip(ends);
        ranges
            .map(|(index, ends)| Range {
                first: ends.map(|e| e.0),
                last: ends.map(|e| e.1),
                ..Range::between(tables, target, index, None)
            })
            .collect()
    }

    /// The whole range of an assignment.
    pub fn whole(tables: &'a Tables, target: &'a TargetRecord, index: usize) -> Range<'a> {
        Range::new(tables, target, index, None)
    }

    /// The range of an assignment between two commits; `None` where no commit of it has a place.
    pub fn between(tables: &'a Tables, target: &'a TargetRecord, index: usize, ends: Option<(u32, u32)>) -> Range<'a> {
        let assignments: &'a Assignments = &target.assignments;
        let log = assignments.list[index].log;
        Range {
            tables,
            assignments,
            index,
            first: ends.and_then(|e| tables.place(log, e.0)),
            last: ends.and_then(|e| tables.place(log, e.1)),
            home: tables.home_log(subscribed(target, index)) == Some(log),
        }
    }

    pub(super) fn assignment(&self) -> &Assignment {
        &self.assignments.list[self.index]
    }

    fn place(&self, commit: u32) -> Option<Place<'a>> {
        if commit == 0 { None } else { self.tables.place(self.assignment().log, commit) }
    }

    /// Whether a commit belongs to a version that was on the target before the one asked about.
    fn was_before(&self, commit: u32) -> bool {
        let all = self.assignments;
        let covering = self.tables.cover(all, self.assignment().log, commit);
        covering.is_some_and(|i| all.was_before(all.list[i].version, self.index))
    }

    /// Whether a commit is one of C₁…Cₙ.
    fn holds(&self, commit: u32, place: Option<Place<'_>>) -> bool {
        commit != 0
            && self.tables.cover(self.assignments, self.assignment().log, commit) == Some(self.index)
            && place.is_none_or(|p| self.first.is_none_or(|f| p >= f))
    }

    /// Whether a commit is past Cₙ.
    pub fn is_past(&self, commit: u32) -> bool {
        self.past(self.place(commit))
    }

    fn past(&self, place: Option<Place<'_>>) -> bool {
        place.is_some_and(|p| self.last.is_some_and(|l| p > l))
    }

    /// Where all stand that stand so; `None` where only their histories tell.
    pub fn stand(&self, s: &Standing) -> Option<Stand> {
        self.judge(s, |applied| self.proven(s, applied))
    }

    /// Where one reconciler stands, by its history if need be. `walk` is scratch space.
    pub fn stand_of(&self, id: u32, r: &ReconcilerRecord, walk: &mut Walk) -> Stand {
        let s = &r.standing;
        let by_history = |applied| {
            self.proven(s, applied).or_else(|| {
                self.tables.walk(id, walk);
                let limit = applied.or_else(|| self.tables.last_placed(self.assignment().log, r.now.endpoint, r));
                let here = walk.words.iter().filter(|w| w.endpoint == r.now.endpoint && w.status == Status::Success);
                Some(here.map(|w| w.commit).any(|c| self.counts(c) && self.place(c) <= limit))
            })
        };
        self.judge(s, by_history).unwrap_or(Stand {
            bucket: Bucket::Behind,
            note: None,
            left_out: s.heard == Heard::Unknown,
        })
    }

    fn judge(&self, s: &Standing, proven: impl FnOnce(Option<Place<'a>>) -> Option<bool>) -> Option<Stand> {
        let (bucket, note) = self.bucket(s, proven)?;
        let left_out = s.heard == Heard::Unknown && !matches!(bucket, Bucket::Success | Bucket::Retired);
        Some(Stand { bucket, note, left_out })
    }

    fn bucket(
        &self,
        s: &Standing,
        proven: impl FnOnce(Option<Place<'a>>) -> Option<bool>,
    ) -> Option<(Bucket, Option<&'static str>)> {
        if !s.alive {
            return Some((Bucket::Retired, None));
        }
        let applied = self.place(s.applied);
        let attempted = if s.attempted == s.applied { applied } else { self.place(s.attempted) };
        if self.past(applied) && self.was_before(s.applied) {
            return Some((Bucket::Behind, Some("rolled_back")));
        }
        if proven(applied)? {
            return Some((Bucket::Success, None));
        }
        if s.heard == Heard::Silent {
            return Some((Bucket::Silent, None));
        }
        for (commit, place, word) in [(s.attempted, attempted, s.attempted_word), (s.applied, applied, s.applied_word)]
        {
            if self.holds(commit, place) {
                return Some((unproven(word), None));
            }
        }
        if (self.past(applied) || self.past(attempted)) && s.status != Status::Success {
            return Some((unproven(s.status), Some("newer_commit")));
        }
        let note = (applied.is_none() && s.applied != 0).then_some("unknown_commit");
        Some((Bucket::Behind, note))
    }

    /// Whether the latest success that counts stands in the range or past it; `None` where the standing cannot tell.
    fn proven(&self, s: &Standing, applied: Option<Place<'_>>) -> Option<bool> {
        let runs_well = s.status == Status::Success && s.attempted == s.applied;
        let Some(first) = self.first else {
            // No order is known: the same commit, successful, is all that can be said.
            return Some(runs_well && self.holds(s.applied, applied));
        };
        match applied {
            // Nothing after what runs counts.
            Some(p) if p < first => return Some(false),
            // What runs succeeded: its own place counts, unless its version was here before.
            Some(_) if runs_well && !self.was_before(s.applied) => return Some(true),
            _ if !self.home => return None,
            _ => {}
        }
        if self.place(s.proven).is_none_or(|p| p < first) {
            return Some(false);
        }
        // The latest success is of an older version that came back; an earlier one may still count.
        if self.was_before(s.proven) { None } else { Some(true) }
    }

    /// Whether a success on a commit counts for this range: it is placed there or later, and is not of a version that was here before.
    fn counts(&self, commit: u32) -> bool {
        self.place(commit).is_some_and(|p| self.first.is_some_and(|f| p >= f)) && !self.was_before(commit)
    }

    /// When a reconciler first succeeded at the range or past it, if it ever did.
    pub fn succeeded_at(&self, words: &[Word], endpoint: u32) -> Option<Micros> {
        let mut first = Micros::MAX;
        for w in words.iter().filter(|w| w.endpoint == endpoint) {
            if w.succeeded_at < first && self.counts(w.commit) {
                first = w.succeeded_at;
            }
        }
        (first != Micros::MAX).then_some(first)
    }

    /// Whether a reconciler ever succeeded at a commit of the range itself.
    pub(super) fn succeeded_on(&self, words: &[Word], endpoint: u32) -> bool {
        let here = words.iter().filter(|w| w.endpoint == endpoint && w.succeeded_at != Micros::MAX);
        here.into_iter().any(|w| self.holds(w.commit, self.place(w.commit)))
    }

    /// Since when a reconciler stands well at the range or past it: the first success that no failure in the range took back,
    /// since it came there last.
    pub(super) fn good_since(&self, walk: &Walk, endpoint: u32) -> Option<Micros> {
        let mut since = None;
        for t in &walk.transitions {
            match t.status {
                _ if t.endpoint != endpoint || self.is_away(t.applied) => since = None,
                Status::Failure if self.holds(t.commit, self.place(t.commit)) => since = None,
                Status::Success if since.is_none() && self.reaches(t.commit) => since = Some(t.reported_at),
                _ => {}
            }
        }
        since.or_else(|| self.succeeded_at(&walk.words, endpoint))
    }

    /// Whether who runs a commit is elsewhere: before the range, or at another version that was here before; nobody knows where
    /// one without a place is.
    fn is_away(&self, applied: u32) -> bool {
        let place = self.place(applied);
        place.is_some_and(|p| self.first.is_some_and(|f| p < f)) || (place.is_some() && self.was_before(applied))
    }

    /// Whether a success on a commit is one for this range; where no order is known, on the commit itself.
    fn reaches(&self, commit: u32) -> bool {
        if self.first.is_some() { self.counts(commit) } else { self.holds(commit, None) }
    }
}

/// The endpoint whose subscribers an assignment is about: the one in force, else its own.
pub fn subscribed(target: &TargetRecord, index: usize) -> u32 {
    target.assignments.in_force().map_or(target.assignments.list[index].endpoint, |(_, a)| a.endpoint)
}

fn unproven(status: Status) -> Bucket {
    if status == Status::Failure { Bucket::Failure } else { Bucket::InProgress }
}

/// The commits that an assignment covers.
fn covered(tables: &Tables, all: &Assignments, index: usize) -> Vec<u32> {
    let a = &all.list[index];
    let mut commits: Vec<u32> =
        all.records.iter().filter(|((log, _), (_, i))| *log == a.log && *i == index).map(|((_, c), _)| *c).collect();
    if let Some(log) = tables.logs.get(a.log) {
        let unrecorded = log.commits().filter(|(c, visits)| {
            !all.records.contains_key(&(a.log, *c)) && visits.first().is_some_and(|at| a.start <= *at && *at < a.end)
        });
        commits.extend(unrecorded.map(|(c, _)| c));
    }
    commits
}
