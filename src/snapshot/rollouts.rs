//! How each assignment spread over the reconcilers that subscribe to its target, by the rules of the gate (design §8).
//!
//! Invariant: a pure function of the tables and of "now"; the policy is the default one, and the rules are those of
//! [`crate::rollout`].

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::coverage::number;
use super::expectations;
use super::generation::Shared;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::Micros;
use crate::rollout::{Bucket, Buckets, Policy, Range, Verdict, subscribed};
use crate::state::standing::Standing;
use crate::state::target::TargetRecord;
use crate::state::walk::Walk;

/// One assignment's rollout.
#[derive(Clone, Copy, Debug)]
pub struct RolloutState {
    target: u32,
    index: u32,
    verdict: Verdict,
    completed_at: Micros,
    changed_at: Micros,
    buckets: Buckets,
}

/// The reconcilers at one endpoint, by where they stand.
#[derive(Debug, Default)]
struct Subscribers {
    groups: BTreeMap<Standing, Vec<u32>>,
    last_change: Option<Micros>,
}

fn rollouts(s: &Shared) -> Vec<RolloutState> {
    let mut subscribers: HashMap<u32, Subscribers> = HashMap::new();
    for (id, r) in s.tables.reconcilers.iter().filter(|(_, r)| s.counts(r.host)) {
        let here = subscribers.entry(r.now.endpoint).or_default();
        here.groups.entry(*r.standing).or_default().push(id);
        if r.standing.alive {
            here.last_change = here.last_change.max(Some(r.now.since));
        }
    }
    let missing = expectations::missing(s);
    let nobody = Subscribers::default();
    let default = Policy::default();
    let (mut walk, mut all) = (Walk::default(), Vec::new());
    for (target, record) in s.tables.targets.iter() {
        let first = all.len();
        for (index, a) in record.assignments.list.iter().enumerate() {
            // A tie of declarations can leave an assignment of no length; it never rolled out.
            if a.end == a.start {
                continue;
            }
            let here = subscribers.get(&subscribed(record, index)).unwrap_or(&nobody);
            let mut buckets = counted(s, &range(s, (target, index), record), here, &mut walk);
            buckets.add(Bucket::NeverReported, missing.get(&target).copied().unwrap_or(0));
            let superseded = record.assignments.in_force().map(|f| f.0) != Some(index);
            let changed_at = here.last_change.map_or(a.start, |at| at.max(a.start));
            let unchanged = s.taken_at.since(changed_at);
            // Every host with a success is one; the policy asks for one at least.
            let (verdict, _) = default.verdict(&buckets, buckets.success, superseded, unchanged);
            let completed_at = if verdict == Verdict::Complete { a.start } else { Micros::MAX };
            all.push(RolloutState { target, index: index as u32, verdict, completed_at, changed_at, buckets });
        }
        complete(s, record, &subscribers, &mut all[first..], &mut walk);
    }
    all
}

fn range<'a>(s: &'a Shared, (target, index): (u32, usize), record: &'a TargetRecord) -> Range<'a> {
    let log = s.assigned().logs.get(record.assignments.list[index].log as usize);
    let ends = s.assigned().ends((target, index as u32)).zip(log);
    let ends = ends.and_then(|(e, log)| Some((e.commit, log.commits.get(e.last as usize - 1)?.commit)));
    Range::between(&s.tables, record, index, ends)
}

fn counted(s: &Shared, range: &Range<'_>, here: &Subscribers, walk: &mut Walk) -> Buckets {
    let mut buckets = Buckets::default();
    for (standing, ids) in &here.groups {
        match range.stand(standing) {
            Some((bucket, _)) => buckets.add(bucket, ids.len() as u64),
            None => ids.iter().for_each(|id| buckets.add(range.stand_of(*id, s.reconciler(*id), walk).0, 1)),
        }
    }
    buckets
}

/// The times of completion: when the last reconciler came there, and the assignment was. Complete means that all living ones have.
fn complete(
    s: &Shared,
    record: &TargetRecord,
    subscribers: &HashMap<u32, Subscribers>,
    rollouts: &mut [RolloutState],
    walk: &mut Walk,
) {
    let complete = rollouts.iter_mut().filter(|r| r.verdict == Verdict::Complete);
    let mut by_endpoint: BTreeMap<u32, Vec<(Range<'_>, &mut Micros)>> = BTreeMap::new();
    for r in complete {
        let range = range(s, (r.target, r.index as usize), record);
        by_endpoint.entry(subscribed(record, r.index as usize)).or_default().push((range, &mut r.completed_at));
    }
    for (endpoint, mut ranges) in by_endpoint {
        let living = subscribers.get(&endpoint).into_iter().flat_map(|here| &here.groups).filter(|(s, _)| s.alive);
        for id in living.flat_map(|(_, ids)| ids) {
            s.tables.walk(*id, walk);
            for (range, completed_at) in &mut ranges {
                let succeeded = range.succeeded_at(&walk.words, endpoint);
                **completed_at = succeeded.map_or(**completed_at, |at| at.max(**completed_at));
            }
        }
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
            "verdict" => |_, r| Cell::Text(r.verdict.as_str()),
            "started_at" => |s, r| Cell::time(s.0.assignment((r.target, r.index)).start),
            "total" => |_, r| Cell::Number(r.buckets.total() as i64),
            "success" => |_, r| Cell::Number(r.buckets.success as i64),
            "failure" => |_, r| Cell::Number(r.buckets.failure as i64),
            "in_progress" => |_, r| Cell::Number(r.buckets.in_progress as i64),
            "behind" => |_, r| Cell::Number(r.buckets.behind as i64),
            "silent" => |_, r| Cell::Number(r.buckets.silent as i64),
            "never_reported" => |_, r| Cell::Number(r.buckets.never_reported as i64),
            "retired" => |_, r| Cell::Number(r.buckets.retired as i64),
            "completed_at" => |_, r| Cell::time(r.completed_at),
            "changed_at" => |_, r| Cell::time(r.changed_at),
            "assignment_no" => |_, r| Cell::Number(number((r.target, r.index))),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        self.0.rollouts.get().map(Vec::len)
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.target(row.target)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &RolloutState) -> Option<u32> {
        Some(row.target)
    }
}
