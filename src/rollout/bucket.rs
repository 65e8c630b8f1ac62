//! Where one reconciler stands relative to the range of commits asked about: the table of design §8, first row that applies.

use crate::model::{Liveness, Status};
use crate::state::Tables;
use crate::state::tables::{Place, ReconcilerRecord};
use crate::state::target::{Assignment, Assignments, TargetRecord};
use crate::state::walk::Walk;

use super::Bucket;

/// The range asked about on one target.
#[derive(Debug)]
pub(super) struct Range<'a> {
    pub(super) tables: &'a Tables,
    pub(super) target: &'a TargetRecord,
    /// Number of the assignment asked about.
    pub(super) index: usize,
    /// C₁.
    pub(super) first: Option<Place<'a>>,
    /// Cₙ.
    pub(super) last: Option<Place<'a>>,
}

/// Where a reconciler stands, and why where the bucket alone does not say.
pub(super) type Stand = (Bucket, Option<&'static str>);

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
        Range { tables, target, index, first, last: places().max() }
    }

    pub(super) fn assignment(&self) -> &Assignment {
        &self.target.assignments.list[self.index]
    }

    fn place(&self, commit: u32) -> Option<Place<'a>> {
        if commit == 0 { None } else { self.tables.place(self.assignment().log, commit) }
    }

    /// Whether a commit belongs to a version that was on the target before the one asked about.
    fn was_before(&self, commit: u32) -> bool {
        let all: &Assignments = &self.target.assignments;
        let covering = self.tables.cover(all, self.assignment().log, commit);
        covering.is_some_and(|i| all.was_before(all.list[i].version, self.index))
    }

    /// Whether a commit is one of C₁…Cₙ.
    fn holds(&self, commit: u32, place: Option<Place<'_>>) -> bool {
        let all: &Assignments = &self.target.assignments;
        commit != 0
            && self.tables.cover(all, self.assignment().log, commit) == Some(self.index)
            && place.is_none_or(|p| self.first.is_none_or(|f| p >= f))
    }

    fn past(&self, place: Option<Place<'_>>) -> bool {
        place.is_some_and(|p| self.last.is_some_and(|l| p > l))
    }

    /// The bucket. `walk` is scratch space.
    pub(super) fn stand(&self, id: u32, r: &ReconcilerRecord, walk: &mut Walk) -> Stand {
        let now = &r.now;
        if !now.alive() {
            return (Bucket::Retired, None);
        }
        let applied = self.place(now.applied);
        let attempted = if now.attempted == now.applied { applied } else { self.place(now.attempted) };
        if self.past(applied) && self.was_before(now.applied) {
            return (Bucket::Behind, Some("rolled_back"));
        }
        if self.proven(id, r, applied, walk) {
            return (Bucket::Success, None);
        }
        let host = self.tables.hosts.get(r.host);
        if host.is_some_and(|h| h.liveness() == Liveness::Silent) {
            return (Bucket::Silent, None);
        }
        for (commit, place) in [(now.attempted, attempted), (now.applied, applied)] {
            if self.holds(commit, place) {
                self.tables.walk(id, walk);
                let word = walk.word_on(now.endpoint, commit).map_or(now.status, |w| w.status);
                return (unproven(word), None);
            }
        }
        if (self.past(applied) || self.past(attempted)) && now.status != Status::Success {
            return (unproven(now.status), Some("newer_commit"));
        }
        let note = (applied.is_none() && now.applied != 0).then_some("unknown_commit");
        (Bucket::Behind, note)
    }

    /// Whether the latest success that counts stands in the range or past it.
    fn proven(&self, id: u32, r: &ReconcilerRecord, applied: Option<Place<'_>>, walk: &mut Walk) -> bool {
        let Some(first) = self.first else {
            // No order is known: the same commit, successful, is all that can be said.
            return r.now.status == Status::Success
                && self.holds(r.now.applied, applied)
                && r.now.applied == r.now.attempted;
        };
        match applied {
            Some(p) if p < first => return false,
            // What runs succeeded: its own place counts, unless its version was here before.
            Some(_)
                if r.now.status == Status::Success
                    && r.now.attempted == r.now.applied
                    && !self.was_before(r.now.applied) =>
            {
                return true;
            }
            _ => {}
        }
        self.tables.walk(id, walk);
        let limit = applied.or_else(|| self.last_placed(r));
        walk.words.iter().any(|w| {
            w.endpoint == r.now.endpoint
                && w.status == Status::Success
                && self.place(w.commit).is_some_and(|p| p >= first && limit.is_some_and(|l| p <= l))
                && !self.was_before(w.commit)
        })
    }

    /// The place of the last applied commit that has one: an applied commit without a place leaves what was proven as it was.
    fn last_placed(&self, r: &ReconcilerRecord) -> Option<Place<'a>> {
        let said = r.history.iter().filter(|s| !s.gone && s.commit != 0 && s.endpoint == r.now.endpoint);
        said.filter_map(|s| self.place(if s.applied != 0 { s.applied } else { s.commit })).last()
    }
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
