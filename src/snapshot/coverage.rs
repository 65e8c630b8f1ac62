//! Assignments, and which assignment a commit stands for (design §3.2).
//!
//! Invariant: the answer for a commit is always [`Tables::cover`]; this module only decides for which commits it is asked, so
//! that a branch with many targets and many commits does not multiply.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::export::Dated;
use super::generation::Shared;
use super::history::mixed;
use super::ids::id;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::Micros;
use crate::state::Tables;
use crate::state::commit_log::LogRecord;
use crate::state::target::{Assignment, TargetRecord};

/// A commit in its log.
#[derive(Clone, Copy, Debug)]
pub struct LogEntry {
    /// Commit (name id).
    pub commit: u32,
    /// The time of its place: its newest return.
    pub placed_at: Micros,
    /// When the ref first was at it.
    pub first_seen_at: Micros,
    /// How often the ref came back to it.
    pub returns: u32,
}

/// The commits of one log in order of place.
#[derive(Debug, Default)]
pub struct LogOrder {
    /// The commits.
    pub commits: Vec<LogEntry>,
    /// Commit to its position, from 1.
    pub position: HashMap<u32, i64>,
    /// Indexes of commits that the ref came back to.
    returned: Vec<usize>,
}

/// Assignments of all targets, numbered, with the order of the logs they live in.
#[derive(Debug, Default)]
pub struct Assigned {
    /// (target, index in its list), in order of their numbers.
    pub rows: Vec<(u32, u32)>,
    /// Where a target's assignments begin.
    first: Vec<usize>,
    /// First and last commit of each assignment.
    ends: Vec<Option<Ends>>,
    /// By log.
    pub logs: Vec<LogOrder>,
    /// Living targets by the endpoint in force.
    pub targets_at: HashMap<u32, Vec<u32>>,
}

impl Assigned {
    /// A commit's position in a log.
    pub fn place(&self, log: u32, commit: u32) -> Option<i64> {
        self.logs.get(log as usize)?.position.get(&commit).copied()
    }

    /// First and last commit of an assignment, by place; `None` when none is known.
    pub fn ends(&self, (target, index): (u32, u32)) -> Option<Ends> {
        let first = *self.first.get(target as usize)?;
        self.ends.get(first + index as usize).copied().flatten()
    }
}

/// The number of an assignment: the same in every generation of a store for as long as its place among its target's is.
pub(super) fn number((target, index): (u32, u32)) -> i64 {
    i64::from(target) * 1_000_000 + i64::from(index)
}

/// The range of commits that an assignment covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// First commit (name id), by place.
    pub commit: u32,
    /// Its place.
    pub first: i64,
    /// Place of the last one.
    pub last: i64,
}

impl Shared {
    pub(super) fn assigned(&self) -> &Assigned {
        self.assigned.get_or_init(|| assigned(&self.tables))
    }

    /// The commit at which an assignment began; the first one it covers where its declaration named none. 0 when neither is known.
    pub(super) fn first_commit(&self, row: (u32, u32)) -> u32 {
        match self.assignment(row).commit {
            0 => self.assigned().ends(row).map_or(0, |e| e.commit),
            commit => commit,
        }
    }

    pub(super) fn target(&self, target: u32) -> &TargetRecord {
        self.tables.targets.get(target).expect("rows are made from the targets there are")
    }

    pub(super) fn assignment(&self, (target, index): (u32, u32)) -> &Assignment {
        &self.target(target).assignments.list[index as usize]
    }
}

fn log_order(t: &Tables, log: &LogRecord) -> LogOrder {
    let entry = |(commit, visits): (u32, &Vec<Micros>)| {
        let (first, last) = (visits.first()?, visits.last()?);
        Some(LogEntry { commit, placed_at: *last, first_seen_at: *first, returns: visits.len() as u32 - 1 })
    };
    let mut commits: Vec<_> = log.commits().filter_map(entry).collect();
    commits.sort_unstable_by(|a, b| a.placed_at.cmp(&b.placed_at).then_with(|| t.text(a.commit).cmp(t.text(b.commit))));
    let position = commits.iter().zip(1..).map(|(e, n)| (e.commit, n)).collect();
    let returned = (0..commits.len()).filter(|i| commits[*i].returns > 0).collect();
    LogOrder { commits, position, returned }
}

fn assigned(t: &Tables) -> Assigned {
    let mut all = Assigned { logs: t.logs.iter().map(|(_, l)| log_order(t, l)).collect(), ..Assigned::default() };
    for (target, record) in t.targets.iter() {
        all.first.push(all.rows.len());
        for index in 0..record.assignments.list.len() {
            all.rows.push((target, index as u32));
            let ends = ends(t, &all, record, index);
            all.ends.push(ends);
        }
        if let Some((_, a)) = record.assignments.in_force() {
            all.targets_at.entry(a.endpoint).or_default().push(target);
        }
    }
    all
}

fn ends(t: &Tables, all: &Assigned, target: &TargetRecord, index: usize) -> Option<Ends> {
    let assignments = &target.assignments;
    let a = &assignments.list[index];
    let log = all.logs.get(a.log as usize)?;
    let recorded = assignments.records.iter().filter(|((l, _), (_, i))| *l == a.log && *i == index);
    let recorded = || recorded.clone().filter_map(|((_, c), _)| log.position.get(c).copied());
    let covers = |i: &usize| t.cover(assignments, a.log, log.commits[*i].commit) == Some(index);
    // What was only passed has its first place between start and end, and its place there too unless the ref came back to it:
    // so a branch with many commits is not read for every assignment.
    let from = log.commits.partition_point(|e| e.placed_at < a.start);
    let to = log.commits.partition_point(|e| e.placed_at < a.end).max(from);
    let came_back = || log.returned.iter().copied().filter(|i| *i >= to).filter(covers).map(|i| i as i64 + 1);
    let first = (from..to).find(covers).map(|i| i as i64 + 1).into_iter().chain(came_back()).chain(recorded()).min()?;
    let last =
        (from..to).rev().find(covers).map(|i| i as i64 + 1).into_iter().chain(came_back()).chain(recorded()).max()?;
    Some(Ends { commit: log.commits[first as usize - 1].commit, first, last })
}

/// A commit that an assignment covers.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    target: u32,
    index: u32,
    commit: u32,
    recorded: bool,
}

fn covered(s: &Shared) -> Vec<Covered> {
    let t = &s.tables;
    let mut deployed: HashMap<u32, Vec<u32>> = HashMap::new();
    for e in s.endpoint_commits() {
        deployed.entry(e.endpoint).or_default().push(e.commit);
    }
    let mut all = Vec::new();
    for (target, record) in t.targets.iter() {
        let assignments = &record.assignments;
        let mut here: Vec<Covered> = Vec::new();
        for ((log, commit), (_, index)) in &assignments.records {
            if assignments.list[*index].log == *log {
                here.push(Covered { target, index: *index as u32, commit: *commit, recorded: true });
            }
        }
        let seen: HashSet<(u32, u32)> = assignments.records.keys().copied().collect();
        let at: HashSet<(u32, u32)> = assignments.list.iter().map(|a| (a.endpoint, a.log)).collect();
        for (endpoint, log) in at {
            for &commit in deployed.get(&endpoint).into_iter().flatten() {
                if seen.contains(&(log, commit)) {
                    continue;
                }
                let cover = t.cover(assignments, log, commit);
                if let Some(i) = cover.filter(|i| assignments.list[*i].endpoint == endpoint) {
                    here.push(Covered { target, index: i as u32, commit, recorded: false });
                }
            }
        }
        here.sort_unstable_by_key(|c| {
            (c.index, s.assigned().place(s.assignment((target, c.index)).log, c.commit), c.commit)
        });
        all.extend(here);
    }
    all
}

/// A commit that runs on a target now.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    target: u32,
    commit: u32,
    index: Option<u32>,
    place: Option<i64>,
}

fn running(s: &Shared) -> Vec<Running> {
    let t = &s.tables;
    let assigned = s.assigned();
    let mut seen: HashSet<(u32, u32)> = HashSet::new();
    for (_, r) in t.reconcilers.iter().filter(|(_, r)| r.now.alive() && r.now.applied != 0 && s.counts(r.host)) {
        seen.insert((r.now.endpoint, r.now.applied));
    }
    let mut all = Vec::with_capacity(seen.len());
    for (endpoint, commit) in seen {
        for &target in assigned.targets_at.get(&endpoint).into_iter().flatten() {
            let assignments = &s.target(target).assignments;
            let Some((_, in_force)) = assignments.in_force() else { continue };
            let index = t.cover(assignments, in_force.log, commit).map(|i| i as u32);
            let place = assigned.place(in_force.log, commit);
            if index.is_some() || place.is_some() {
                all.push(Running { target, commit, index, place });
            }
        }
    }
    all.sort_unstable_by_key(|r| (r.target, r.index, r.place, r.commit));
    all
}

/// The table `assignments`.
#[derive(Debug)]
pub(super) struct Assignments(pub(super) Arc<Shared>);

impl Rows for Assignments {
    type Row = (u32, u32);

    fn table(&self) -> &'static TableSchema {
        &schema::ASSIGNMENTS
    }

    fn chunks(&self) -> usize {
        self.0.assigned().rows.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<(u32, u32)> {
        let rows = &self.0.assigned().rows;
        rows[chunk_of(rows.len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "assignment_id" => |s, r| {
                let t = s.0.target(r.0);
                let [w, a, l, e, d] =
                    [t.workspace, t.application, t.workload, t.environment, t.name].map(|n| s.0.tables.text(n));
                let sequence = (r.1 + 1).to_string();
                Cell::Made(id("assignment", &[w, a, l, e, d, &sequence]))
            },
            "sequence" => |_, r| Cell::Number(i64::from(r.1) + 1),
            "version" => |s, r| Cell::Text(s.0.tables.version_text(s.0.assignment(*r).version)),
            "commit" => |s, r| Cell::some(s.0.tables.text(s.0.first_commit(*r))),
            "storage_type" => |s, r| s.0.storage_type(s.0.assignment(*r).endpoint),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(s.0.assignment(*r).endpoint)),
            "author" => |s, r| s.0.version_detail(s.0.assignment(*r).version, |v| v.author),
            "pull_request" => |s, r| s.0.version_detail(s.0.assignment(*r).version, |v| v.pull_request),
            "contact" => |s, r| Cell::some(s.0.tables.text(s.0.assignment(*r).contact)),
            "assigned_at" => |s, r| Cell::time(s.0.assignment(*r).start),
            "ended_at" => |s, r| Cell::time(s.0.assignment(*r).end),
            "last_place" => |s, r| s.0.assigned().ends(*r).map_or(Cell::Null, |e| Cell::Number(e.last)),
            "assignment_no" => |_, r| Cell::Number(number(*r)),
            "endpoint_no" => |s, r| Cell::Number(i64::from(s.0.assignment(*r).endpoint)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.assigned().rows.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.target(row.0)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &(u32, u32)) -> Option<u32> {
        Some(row.0)
    }
}

impl Dated for Assignments {
    fn instant(&self, row: &(u32, u32)) -> Option<Micros> {
        let end = self.0.assignment(*row).end;
        (end != Micros::MAX).then_some(end)
    }

    fn fingerprint(&self, row: &(u32, u32)) -> u64 {
        let a = self.0.assignment(*row);
        let ends = self.0.assigned().ends(*row);
        let version = self.0.tables.versions.get(a.version);
        mixed([
            u64::from(row.0) << 32 | u64::from(row.1),
            u64::from(a.version) << 32 | u64::from(a.endpoint),
            a.start.0 as u64 ^ (a.end.0 as u64).rotate_left(32),
            u64::from(a.contact) << 32 | u64::from(self.0.first_commit(*row)),
            ends.map_or(0, |e| e.last) as u64,
            version.map_or(0, |v| u64::from(v.author) << 32 | u64::from(v.pull_request)),
        ])
    }
}

/// The table `assignment_commits`.
#[derive(Debug)]
pub(super) struct AssignmentCommits(pub(super) Arc<Shared>);

impl AssignmentCommits {
    fn rows(&self) -> &[Covered] {
        self.0.commits.get_or_init(|| covered(&self.0))
    }
}

impl Rows for AssignmentCommits {
    type Row = Covered;

    fn table(&self) -> &'static TableSchema {
        &schema::ASSIGNMENT_COMMITS
    }

    fn chunks(&self) -> usize {
        self.rows().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Covered> {
        self.rows()[chunk_of(self.rows().len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "version" => |s, r| Cell::Text(s.0.tables.version_text(s.0.assignment((r.target, r.index)).version)),
            "commit" => |s, r| Cell::Text(s.0.tables.text(r.commit)),
            "place" => |s, r| {
                let log = s.0.assignment((r.target, r.index)).log;
                s.0.assigned().place(log, r.commit).map_or(Cell::Null, Cell::Number)
            },
            "recorded" => |_, r| Cell::Flag(r.recorded),
            "sequence" => |_, r| Cell::Number(i64::from(r.index) + 1),
            "manifests_endpoint" => {
                |s, r| Cell::Text(s.0.tables.endpoint_text(s.0.assignment((r.target, r.index)).endpoint))
            }
            "assignment_no" => |_, r| Cell::Number(number((r.target, r.index))),
            "endpoint_no" => |s, r| Cell::Number(i64::from(s.0.assignment((r.target, r.index)).endpoint)),
            "commit_no" => |_, r| Cell::Number(i64::from(r.commit)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        // Not asked for the exact number: that would read every history to plan any statement that names this table.
        self.0.commits.get().map(Vec::len)
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.target(row.target)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &Covered) -> Option<u32> {
        Some(row.target)
    }
}

/// The table `running_commits`.
#[derive(Debug)]
pub(super) struct RunningCommits(pub(super) Arc<Shared>);

impl RunningCommits {
    fn rows(&self) -> &[Running] {
        self.0.running.get_or_init(|| running(&self.0))
    }
}

impl Rows for RunningCommits {
    type Row = Running;

    fn table(&self) -> &'static TableSchema {
        &schema::RUNNING_COMMITS
    }

    fn chunks(&self) -> usize {
        self.rows().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Running> {
        self.rows()[chunk_of(self.rows().len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "version" => |s, r| {
                let version = r.index.map(|i| s.0.assignment((r.target, i)).version);
                version.map_or(Cell::Null, |v| Cell::Text(s.0.tables.version_text(v)))
            },
            "commit" => |s, r| Cell::Text(s.0.tables.text(r.commit)),
            "place" => |_, r| r.place.map_or(Cell::Null, Cell::Number),
            "sequence" => |_, r| r.index.map_or(Cell::Null, |i| Cell::Number(i64::from(i) + 1)),
            "missed_at" => |s, r| {
                let next = r.index.and_then(|i| s.0.target(r.target).assignments.list.get(i as usize + 1));
                next.map_or(Cell::Null, |a| Cell::time(a.start))
            },
            "assignment_no" => |_, r| r.index.map_or(Cell::Null, |i| Cell::Number(number((r.target, i)))),
            "commit_no" => |_, r| Cell::Number(i64::from(r.commit)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.rows().len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.target(row.target)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &Running) -> Option<u32> {
        Some(row.target)
    }
}
