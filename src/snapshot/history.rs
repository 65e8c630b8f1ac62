//! The tables of the past: every deployment and transition, and the last words per endpoint and commit.
//!
//! Invariant: histories are packed; a chunk unpacks those of [`STEP`] reconcilers and forgets them again.

use std::sync::Arc;

use hashbrown::HashMap;
use twox_hash::XxHash3_128;

use super::archive::Archives;
use super::export::Dated;
use super::generation::Shared;
use super::ids;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::{Micros, Status};
use crate::state::walk::{Deployment, Transition, Walk};

/// Reconcilers whose histories make one chunk.
pub(super) const STEP: usize = 512;

fn walk(s: &Shared, chunk: usize, mut each: impl FnMut(u32, &Walk)) {
    let mut walk = Walk::default();
    for i in (chunk * STEP..(chunk + 1) * STEP).take_while(|i| *i < s.tables.reconcilers.len()) {
        let id = i as u32;
        if s.counts(s.reconciler(id).host) {
            s.tables.walk(id, &mut walk);
            each(id, &walk);
        }
    }
}

fn steps(s: &Shared) -> usize {
    s.tables.reconcilers.len().div_ceil(STEP)
}

/// The first half of a reconciler's id.
fn half_id(s: &Shared, reconciler: u32) -> u64 {
    let record = s.reconciler(reconciler);
    (ids::hash("reconciler", &[s.tables.host_name(record.host), s.tables.text(record.name)]) >> 64) as u64
}

/// Which rows of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Those that are shown from memory: what is older than all that is kept is in the archive, or nowhere.
    Kept,
    /// Also those that are still in memory, and shown from the archive or not at all.
    Whole,
}

impl Past {
    fn holds(self, s: &Shared, at: Option<Micros>) -> bool {
        self == Past::Whole || at.is_none_or(|at| at >= s.past_since())
    }
}

/// The table `deployments`: a row is (reconciler, sequence, deployment).
#[derive(Debug)]
pub(super) struct Deployments(pub(super) Arc<Shared>, pub(super) Past);

impl Rows for Deployments {
    type Row = (u32, u32, Deployment);

    fn table(&self) -> &'static TableSchema {
        &schema::DEPLOYMENTS
    }

    fn chunks(&self) -> usize {
        steps(&self.0)
    }

    fn chunk(&self, chunk: usize) -> Vec<Self::Row> {
        let mut rows = Vec::new();
        walk(&self.0, chunk, |r, w| {
            rows.extend(w.deployments.iter().zip(w.old_deployments + 1..).map(|(d, n)| (r, n, *d)))
        });
        rows.retain(|row| self.1.holds(&self.0, self.instant(row)));
        rows
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "deployment_id" => |s, r| {
                // Half a hash and the sequence: the rows of history are many, and a hash does not compress.
                Cell::Made(format!("{:016x}-{}", half_id(&s.0, r.0), r.1))
            },
            "sequence" => |_, r| Cell::Number(i64::from(r.1)),
            "storage_type" => |s, r| s.0.storage_type(r.2.endpoint),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(r.2.endpoint)),
            "commit" => |s, r| Cell::Text(s.0.tables.text(r.2.commit)),
            "status" => |_, r| Cell::Text(r.2.status.as_str()),
            "rolled_back" => |_, r| Cell::Flag(r.2.rolled_back),
            "deployed_at" => |_, r| Cell::time(r.2.start),
            "ended_at" => |_, r| Cell::time(r.2.end),
            "reported_at" => |_, r| Cell::time(r.2.reported_at),
            "endpoint_no" => |_, r| Cell::Number(i64::from(r.2.endpoint)),
            "commit_no" => |_, r| Cell::Number(i64::from(r.2.commit)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        None
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.word(self.0.reconciler(row.0).host, row.2.endpoint)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn reconciler(row: &Self::Row) -> Option<u32> {
        Some(row.0)
    }
}

impl Dated for Deployments {
    fn instant(&self, row: &Self::Row) -> Option<Micros> {
        (row.2.end != Micros::MAX).then_some(row.2.end)
    }

    fn fingerprint(&self, (reconciler, sequence, d): &Self::Row) -> u64 {
        let flags = u64::from(d.status as u8) << 1 | u64::from(d.rolled_back);
        mixed([
            u64::from(*reconciler) << 32 | u64::from(*sequence),
            u64::from(d.endpoint) << 32 | u64::from(d.commit),
            d.start.0 as u64,
            d.end.0 as u64,
            d.reported_at.0 as u64,
            flags,
        ])
    }
}

impl Archives for Deployments {
    // Not its number: one that comes a second time has another one then.
    const IDENTITY: &'static [&'static str] = &["host", "reconciler", "manifests_endpoint", "commit", "deployed_at"];

    fn identity(&self, (reconciler, _, d): &Self::Row) -> u64 {
        mixed([u64::from(*reconciler), u64::from(d.endpoint) << 32 | u64::from(d.commit), d.start.0 as u64])
    }
}

/// A number for a transition that is the same wherever it is known. Half a hash, for the rows of history are many and a hash
/// does not compress.
fn transition_id(s: &Shared, (reconciler, t, repeats): &(u32, Transition, u32)) -> u64 {
    let record = s.reconciler(*reconciler);
    let number = |n: i64| n.to_string();
    let parts = [
        s.tables.host_name(record.host),
        s.tables.text(record.name),
        &number(t.reported_at.0),
        s.tables.endpoint_text(t.endpoint),
        s.tables.text(t.commit),
        t.status.as_str(),
        &number(i64::from(*repeats)),
    ];
    (ids::hash("transition", &parts) >> 64) as u64
}

/// How many transitions just before this one are the same change at the same instant: hardly ever any.
fn repeats(before: &[Transition], t: &Transition) -> u32 {
    let change = |t: &Transition| (t.endpoint, t.commit, t.status);
    let at_once = before.iter().rev().take_while(|b| b.reported_at == t.reported_at);
    at_once.filter(|b| change(b) == change(t)).count() as u32
}

/// The table `transitions`: a row is (reconciler, transition, how many before it are the same change).
#[derive(Debug)]
pub(super) struct Transitions(pub(super) Arc<Shared>, pub(super) Past);

impl Rows for Transitions {
    type Row = (u32, Transition, u32);

    fn table(&self) -> &'static TableSchema {
        &schema::TRANSITIONS
    }

    fn chunks(&self) -> usize {
        steps(&self.0)
    }

    fn chunk(&self, chunk: usize) -> Vec<Self::Row> {
        let mut rows = Vec::new();
        walk(&self.0, chunk, |r, w| {
            let all = w.transitions.iter().enumerate();
            rows.extend(all.map(|(i, t)| (r, *t, repeats(&w.transitions[..i], t))));
        });
        rows.retain(|row| self.1.holds(&self.0, self.instant(row)));
        rows
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "transition_id" => |s, r| Cell::Made(format!("{:016x}", transition_id(&s.0, r))),
            // Every statement has a time of receipt of its own.
            "seq" => |_, r| Cell::Number(r.1.received_at.0),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(r.1.endpoint)),
            "commit" => |s, r| Cell::some(s.0.tables.text(r.1.commit)),
            "applied_commit" => {
                |s, r| if r.1.applied == r.1.commit { Cell::Null } else { Cell::some(s.0.tables.text(r.1.applied)) }
            }
            "status" => |_, r| Cell::Text(r.1.status.as_str()),
            "raw_status" => |s, r| Cell::Text(s.0.tables.text(r.1.raw)),
            "message" => |s, r| Cell::some(s.0.tables.text(r.1.message)),
            "reported_at" => |_, r| Cell::time(r.1.reported_at),
            "received_at" => |_, r| Cell::time(r.1.received_at),
            "last_confirmed_at" => |_, r| Cell::time(r.1.last_confirmed_at),
            "time_refused" => |_, r| Cell::Flag(r.1.future),
            "source" => |s, r| Cell::Text(s.0.tables.text(r.1.source)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        None
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.word(self.0.reconciler(row.0).host, row.1.endpoint)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn reconciler(row: &Self::Row) -> Option<u32> {
        Some(row.0)
    }
}

impl Dated for Transitions {
    fn instant(&self, row: &Self::Row) -> Option<Micros> {
        Some(row.1.reported_at)
    }

    fn fingerprint(&self, (reconciler, t, _): &Self::Row) -> u64 {
        mixed([
            u64::from(*reconciler) << 32 | u64::from(t.endpoint),
            u64::from(t.commit) << 32 | u64::from(t.applied),
            u64::from(t.raw) << 32 | u64::from(t.message),
            u64::from(t.source) << 8 | u64::from(t.status as u8),
            t.reported_at.0 as u64,
            t.received_at.0 as u64 ^ (t.last_confirmed_at.0 as u64).rotate_left(32),
        ])
    }
}

impl Archives for Transitions {
    const IDENTITY: &'static [&'static str] = &["transition_id"];

    fn identity(&self, row: &Self::Row) -> u64 {
        transition_id(&self.0, row)
    }
}

/// A hash of some numbers.
pub(super) fn mixed<const N: usize>(numbers: [u64; N]) -> u64 {
    let mut bytes = [0u8; 64];
    for (place, n) in bytes.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&n.to_le_bytes());
    }
    XxHash3_128::oneshot(&bytes) as u64
}

/// What reconcilers last said of one commit at one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointCommit {
    /// Endpoint id.
    pub endpoint: u32,
    /// Commit (name id).
    pub commit: u32,
    by_status: [u32; 4],
    rollbacks: u32,
    first_deployed_at: Micros,
    last_deployed_at: Micros,
    last_reported_at: Micros,
}

impl EndpointCommit {
    fn new(endpoint: u32, commit: u32) -> EndpointCommit {
        EndpointCommit {
            endpoint,
            commit,
            by_status: [0; 4],
            rollbacks: 0,
            first_deployed_at: Micros::MAX,
            last_deployed_at: Micros::MIN,
            last_reported_at: Micros::MIN,
        }
    }

    fn merge(&mut self, other: &EndpointCommit) {
        for (mine, theirs) in self.by_status.iter_mut().zip(other.by_status) {
            *mine += theirs;
        }
        self.rollbacks += other.rollbacks;
        self.first_deployed_at = self.first_deployed_at.min(other.first_deployed_at);
        self.last_deployed_at = self.last_deployed_at.max(other.last_deployed_at);
        self.last_reported_at = self.last_reported_at.max(other.last_reported_at);
    }
}

type Counted = HashMap<(u32, u32), EndpointCommit>;

fn count(s: &Shared, chunks: std::ops::Range<usize>) -> Counted {
    let mut all = Counted::new();
    for chunk in chunks {
        walk(s, chunk, |_, w| {
            for word in &w.words {
                let e = all
                    .entry((word.endpoint, word.commit))
                    .or_insert_with(|| EndpointCommit::new(word.endpoint, word.commit));
                e.by_status[word.status as usize] += 1;
                e.last_reported_at = e.last_reported_at.max(word.last);
            }
            for (old, (first, last)) in w.old.iter().filter_map(|old| Some((old, old.deployed?))) {
                let word = &old.word;
                let e = all
                    .entry((word.endpoint, word.commit))
                    .or_insert_with(|| EndpointCommit::new(word.endpoint, word.commit));
                e.first_deployed_at = e.first_deployed_at.min(first);
                e.last_deployed_at = e.last_deployed_at.max(last);
                e.rollbacks += u32::from(old.rolled_back);
            }
            for (i, d) in w.deployments.iter().enumerate() {
                let e = all.entry((d.endpoint, d.commit)).or_insert_with(|| EndpointCommit::new(d.endpoint, d.commit));
                e.first_deployed_at = e.first_deployed_at.min(d.start);
                e.last_deployed_at = e.last_deployed_at.max(d.start);
                let earlier = || {
                    let this = (d.endpoint, d.commit);
                    w.deployments[..i].iter().any(|o| o.rolled_back && (o.endpoint, o.commit) == this)
                        || w.old.iter().any(|o| o.rolled_back && (o.word.endpoint, o.word.commit) == this)
                };
                e.rollbacks += u32::from(d.rolled_back && !earlier());
            }
        });
    }
    all
}

fn endpoint_commits(s: &Shared) -> Vec<EndpointCommit> {
    let half = steps(s) / 2;
    // Two halves at once: reading every history is the most expensive thing a statement can ask of a generation.
    let (mut all, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| count(s, half..steps(s)));
        let first = count(s, 0..half);
        (first, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    for (key, e) in &other {
        all.entry(*key).or_insert_with(|| EndpointCommit::new(key.0, key.1)).merge(e);
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_unstable_by_key(|e| (e.endpoint, e.first_deployed_at, e.commit));
    all
}

impl Shared {
    pub(super) fn endpoint_commits(&self) -> &[EndpointCommit] {
        self.endpoint_commits.get_or_init(|| endpoint_commits(self))
    }
}

/// The table `endpoint_commits`.
#[derive(Debug)]
pub(super) struct EndpointCommits(pub(super) Arc<Shared>);

impl Rows for EndpointCommits {
    type Row = EndpointCommit;

    fn table(&self) -> &'static TableSchema {
        &schema::ENDPOINT_COMMITS
    }

    fn chunks(&self) -> usize {
        self.0.endpoint_commits().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<EndpointCommit> {
        let rows = self.0.endpoint_commits();
        rows[chunk_of(rows.len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "storage_type" => |s, r| s.0.storage_type(r.endpoint),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(r.endpoint)),
            "commit" => |s, r| Cell::Text(s.0.tables.text(r.commit)),
            "success" => |_, r| Cell::Number(i64::from(r.by_status[Status::Success as usize])),
            "failure" => |_, r| Cell::Number(i64::from(r.by_status[Status::Failure as usize])),
            "in_progress" => |_, r| Cell::Number(i64::from(r.by_status[Status::InProgress as usize])),
            "unknown" => |_, r| Cell::Number(i64::from(r.by_status[Status::Unknown as usize])),
            "rollbacks" => |_, r| Cell::Number(i64::from(r.rollbacks)),
            "first_deployed_at" => |_, r| Cell::time(r.first_deployed_at),
            "last_deployed_at" => |_, r| Cell::time(r.last_deployed_at),
            "last_reported_at" => |_, r| Cell::time(r.last_reported_at),
            "endpoint_no" => |_, r| Cell::Number(i64::from(r.endpoint)),
            "commit_no" => |_, r| Cell::Number(i64::from(r.commit)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        self.0.endpoint_commits.get().map(Vec::len)
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.endpoint(row.endpoint)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}
