//! How each assignment spread over the reconcilers that subscribe to its target, by the rules of the gate (design §8).
//!
//! Invariant: a pure function of the tables and of "now"; the policy is the default one.

use std::sync::Arc;

use hashbrown::HashMap;

use super::coverage::{Ends, number};
use super::generation::{STALL_AFTER, Shared};
use super::hosts;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use crate::model::{Liveness, Micros, Status};
use crate::state::target::TargetRecord;
use crate::state::walk::{Now, Walk};

/// Buckets of §8, in the order of the counts.
const SUCCESS: usize = 0;
const FAILURE: usize = 1;
const IN_PROGRESS: usize = 2;
const BEHIND: usize = 3;
const SILENT: usize = 4;
const NEVER_REPORTED: usize = 5;
const RETIRED: usize = 6;

/// One assignment's rollout.
#[derive(Clone, Copy, Debug)]
pub struct RolloutState {
    target: u32,
    index: u32,
    verdict: &'static str,
    completed_at: Micros,
    buckets: [u32; 7],
}

/// A commit a reconciler spoke of at the target's endpoint: its place, the assignment it stands for, and the last word on it.
#[derive(Clone, Copy, Debug)]
struct Spoken {
    commit: u32,
    place: Option<i64>,
    index: Option<usize>,
    status: Status,
    succeeded_at: Micros,
}

/// What the buckets of one reconciler depend on.
#[derive(Debug, Default)]
struct Subscriber {
    alive: bool,
    silent: bool,
    now: Now,
    spoken: Vec<Spoken>,
    /// The place of what runs; that of an earlier one when it has none.
    limit: Option<i64>,
}

fn rollouts(s: &Shared) -> Vec<RolloutState> {
    let mut subscribers: HashMap<u32, Vec<u32>> = HashMap::new();
    for (id, r) in s.tables.reconcilers.iter().filter(|(_, r)| r.history.newest().is_some()) {
        subscribers.entry(r.now.endpoint).or_default().push(id);
    }
    let mut missing: HashMap<u32, u32> = HashMap::new();
    for target in hosts::expected(s).iter().filter(|e| !e.reported).filter_map(|e| e.target) {
        *missing.entry(target).or_default() += 1;
    }
    let mut walk = Walk::default();
    let mut all = Vec::new();
    for (target, record) in s.tables.targets.iter() {
        let list = &record.assignments.list;
        let in_force = record.assignments.in_force().map(|(i, a)| (i, a.endpoint));
        let places: Vec<(u32, u32)> = list.iter().map(|a| (in_force.map_or(a.endpoint, |f| f.1), a.log)).collect();
        let mut known: HashMap<(u32, u32), Vec<Subscriber>> = HashMap::new();
        for (index, place) in places.iter().enumerate() {
            // A tie of declarations can leave an assignment of no length; it never rolled out.
            if list[index].end == list[index].start {
                continue;
            }
            let members = known.entry(*place).or_insert_with(|| {
                let ids = subscribers.get(&place.0).into_iter().flatten();
                ids.map(|r| subscriber(s, *r, record, *place, &mut walk)).collect()
            });
            let mut state = rollout(s, (target, index), record, members);
            state.buckets[NEVER_REPORTED] = missing.get(&target).copied().unwrap_or(0);
            let last_change = members.iter().map(|m| m.now.since).fold(list[index].start, Micros::max);
            let stalled = s.taken_at.since(last_change) > STALL_AFTER;
            state.verdict = verdict(&state.buckets, in_force.map(|f| f.0) != Some(index), stalled);
            state.completed_at = state.completed_at.max(list[index].start);
            if state.verdict != "complete" {
                state.completed_at = Micros::MAX;
            }
            all.push(state);
        }
    }
    all
}

fn subscriber(s: &Shared, id: u32, target: &TargetRecord, (endpoint, log): (u32, u32), walk: &mut Walk) -> Subscriber {
    let r = s.reconciler(id);
    s.tables.walk(id, walk);
    let spoken = walk.words.iter().filter(|w| w.endpoint == endpoint).map(|w| Spoken {
        commit: w.commit,
        place: s.assigned().place(log, w.commit),
        index: s.tables.cover(&target.assignments, log, w.commit),
        status: w.status,
        succeeded_at: w.succeeded_at,
    });
    let applied = r.history.iter().filter(|h| !h.gone && h.endpoint == endpoint && h.commit != 0);
    let applied = applied.map(|h| if h.applied == 0 { h.commit } else { h.applied });
    Subscriber {
        alive: r.now.alive(),
        silent: s.liveness(r.host) == Liveness::Silent.as_str(),
        now: *r.now,
        spoken: spoken.collect(),
        limit: applied.filter_map(|c| s.assigned().place(log, c)).last(),
    }
}

fn rollout(s: &Shared, (target, index): (u32, usize), record: &TargetRecord, members: &[Subscriber]) -> RolloutState {
    let asked = Asked { record, index, ends: s.assigned().ends((target, index as u32)) };
    let mut state =
        RolloutState { target, index: index as u32, verdict: "", completed_at: Micros::MIN, buckets: [0; 7] };
    for m in members {
        let bucket = asked.bucket(m);
        state.buckets[bucket] += 1;
        if bucket == SUCCESS {
            state.completed_at = state.completed_at.max(asked.succeeded_at(m));
        }
    }
    state
}

struct Asked<'a> {
    record: &'a TargetRecord,
    index: usize,
    ends: Option<Ends>,
}

impl Asked<'_> {
    fn is_older_version(&self, spoken: &Spoken) -> bool {
        let assignments = &self.record.assignments;
        spoken.index.is_some_and(|i| assignments.was_before(assignments.list[i].version, self.index))
    }

    /// Words that count for this assignment: at its first commit or later, not of a version that was here before it.
    fn counting<'a>(&'a self, m: &'a Subscriber) -> impl Iterator<Item = &'a Spoken> {
        let first = self.ends.map_or(i64::MAX, |e| e.first);
        m.spoken.iter().filter(move |w| w.place.is_some_and(|p| p >= first) && !self.is_older_version(w))
    }

    fn succeeded_at(&self, m: &Subscriber) -> Micros {
        let first = self.counting(m).map(|w| w.succeeded_at).min();
        first.filter(|at| *at != Micros::MAX).unwrap_or(Micros::MIN)
    }

    /// The first row of the table of the gate that applies.
    fn bucket(&self, m: &Subscriber) -> usize {
        let spoken = |commit: u32| m.spoken.iter().find(|w| commit != 0 && w.commit == commit);
        let (attempted, applied) = (spoken(m.now.attempted), spoken(m.now.applied));
        let past =
            |w: Option<&Spoken>| w.and_then(|w| w.place).is_some_and(|place| self.ends.is_some_and(|e| place > e.last));
        if !m.alive {
            return RETIRED;
        }
        if past(applied) && applied.is_some_and(|w| self.is_older_version(w)) {
            return BEHIND;
        }
        let proven = |w: &Spoken| w.status == Status::Success && w.place <= m.limit;
        if self.counting(m).any(proven) {
            return SUCCESS;
        }
        if m.silent {
            return SILENT;
        }
        if let Some(w) = [attempted, applied].into_iter().flatten().find(|w| w.index == Some(self.index)) {
            return unproven(w.status);
        }
        if (past(applied) || past(attempted)) && m.now.status != Status::Success {
            return unproven(m.now.status);
        }
        BEHIND
    }
}

fn unproven(status: Status) -> usize {
    if status == Status::Failure { FAILURE } else { IN_PROGRESS }
}

/// The verdict under the default policy: every one of them, no failure, at least one host.
fn verdict(buckets: &[u32; 7], superseded: bool, stalled: bool) -> &'static str {
    let total: u32 = buckets[..RETIRED].iter().sum();
    match () {
        () if total > 0 && buckets[SUCCESS] == total => "complete",
        () if superseded => "superseded",
        () if buckets[FAILURE] > 0 => "failed",
        () if total > 0 && stalled => "stalled",
        () => "in_progress",
    }
}

/// The table `rollout_states`.
#[derive(Debug)]
pub(super) struct RolloutStates(pub(super) Arc<Shared>);

impl RolloutStates {
    fn rows(&self) -> &[RolloutState] {
        self.0.rollouts.get_or_init(|| rollouts(&self.0))
    }
}

impl Rows for RolloutStates {
    type Row = RolloutState;

    fn table(&self) -> &'static TableSchema {
        &schema::ROLLOUT_STATES
    }

    fn chunks(&self) -> usize {
        self.rows().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<RolloutState> {
        self.rows()[chunk_of(self.rows().len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "version" => |s, r| Cell::Text(s.0.tables.version_text(s.0.assignment((r.target, r.index)).version)),
            "commit" => |s, r| Cell::some(s.0.tables.text(s.0.first_commit((r.target, r.index)))),
            "verdict" => |_, r| Cell::Text(r.verdict),
            "started_at" => |s, r| Cell::time(s.0.assignment((r.target, r.index)).start),
            "total" => |_, r| Cell::Number(r.buckets[..RETIRED].iter().map(|n| i64::from(*n)).sum()),
            "success" => |_, r| Cell::Number(i64::from(r.buckets[SUCCESS])),
            "failure" => |_, r| Cell::Number(i64::from(r.buckets[FAILURE])),
            "in_progress" => |_, r| Cell::Number(i64::from(r.buckets[IN_PROGRESS])),
            "behind" => |_, r| Cell::Number(i64::from(r.buckets[BEHIND])),
            "silent" => |_, r| Cell::Number(i64::from(r.buckets[SILENT])),
            "never_reported" => |_, r| Cell::Number(i64::from(r.buckets[NEVER_REPORTED])),
            "retired" => |_, r| Cell::Number(i64::from(r.buckets[RETIRED])),
            "completed_at" => |_, r| Cell::time(r.completed_at),
            "assignment_no" => |_, r| Cell::Number(number((r.target, r.index))),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        self.0.rollouts.get().map(Vec::len)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &RolloutState) -> Option<u32> {
        Some(row.target)
    }
}
