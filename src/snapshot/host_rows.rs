//! What a few hosts show in `host_state`, `hosts` and `reconcilers`, read off the records without the engine: a page about
//! one host must not cost what a statement over the fleet costs.
//!
//! Invariant: the rows are those that SQL gives for the same hosts; the meaning is that of `schema/views/subscriptions.sql`,
//! and tests compare the two for every row of a fleet and over random histories.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;

use super::generation::{Generation, STALL_AFTER, Shared};
use super::hosts::{Hosts, known_labels};
use super::reconcilers::Reconcilers;
use super::scan::{Builder, Cell, Reader, Rows};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::{Liveness, Micros, Status};
use crate::rollout::Range;
use crate::state::State;
use crate::state::host::HostRecord;
use crate::state::tables::ReconcilerRecord;
use crate::state::target::Assignment;

/// Where the records of some hosts are in a generation.
#[derive(Debug, Default)]
pub struct HostRows {
    hosts: Vec<u32>,
    /// Reconcilers, and the targets that ever were at the endpoint of each.
    reconcilers: Vec<(u32, Vec<u32>)>,
}

impl Generation {
    /// Finds hosts by their names. The indexes of the state may be newer than the generation: they only grow, and what the
    /// generation does not hold yet is left out.
    pub fn find_hosts(&self, state: &State, names: &[String]) -> HostRows {
        let (t, index) = (&self.shared.tables, state.index());
        let mut found = HostRows::default();
        for host in names.iter().filter_map(|name| index.host(state.view(), name)) {
            if t.hosts.get(host).is_none() {
                continue;
            }
            found.hosts.push(host);
            for &id in index.reconcilers_of(host) {
                if let Some(r) = t.reconcilers.get(id) {
                    found.reconcilers.push((id, index.targets_at(r.now.endpoint).to_vec()));
                }
            }
        }
        found
    }

    /// The rows of a table or view that are about these hosts, in no order; `None` where they are not at hand.
    pub fn rows_of_hosts(&self, table: &str, found: &HostRows) -> Option<Result<RecordBatch, DataFusionError>> {
        if self.shared.seen.is_some() {
            // What a restricted reader sees is left to the scans, which look at every row.
            return None;
        }
        let s = || Arc::clone(&self.shared);
        let reconcilers = || found.reconcilers.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        Some(match table {
            "hosts" => batch(&Hosts(s()), &found.hosts),
            "reconcilers" => batch(&Reconcilers(s()), &reconcilers()),
            "host_state" => {
                let labels = found.hosts.iter().map(|h| (*h, labels(&self.shared, *h))).collect();
                let rows: Vec<Subscription> =
                    found.reconcilers.iter().flat_map(|r| subscriptions(&self.shared, r)).collect();
                batch(&HostState { shared: s(), labels }, &rows)
            }
            _ => return None,
        })
    }
}

fn batch<R: Rows>(source: &R, rows: &[R::Row]) -> Result<RecordBatch, DataFusionError> {
    Builder::<R>::all(&source.table().arrow(), source.table())?.build(source, rows)
}

fn labels(s: &Shared, host: u32) -> [Option<String>; 3] {
    known_labels(s.tables.text(s.tables.hosts.get(host).map_or(0, HostRecord::labels)))
}

/// A living reconciler and a target it serves; one without a target where nobody described its endpoint.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    reconciler: u32,
    target: Option<u32>,
    /// Number of the assignment that covers what runs.
    deployed: Option<u32>,
    drift: &'static str,
}

fn subscriptions(s: &Shared, (id, targets): &(u32, Vec<u32>)) -> Vec<Subscription> {
    let r = s.reconciler(*id);
    if !r.now.alive() {
        return Vec::new();
    }
    let lives_here = |target: &&u32| {
        s.tables.targets.get(**target).is_some_and(|t| {
            let at = t.assignments.in_force().map(|(_, a)| a.endpoint);
            at == Some(r.now.endpoint) && t.assignments.retired_at().is_none()
        })
    };
    let row = |target| {
        let (deployed, drift) = judged(s, r, target);
        Subscription { reconciler: *id, target, deployed, drift }
    };
    let rows: Vec<Subscription> = targets.iter().filter(lives_here).map(|t| row(Some(*t))).collect();
    if rows.is_empty() { vec![row(None)] } else { rows }
}

/// The assignment that covers what runs, and the first rule of drift that applies.
fn judged(s: &Shared, r: &ReconcilerRecord, target: Option<u32>) -> (Option<u32>, &'static str) {
    let Some((target, (wanted, a))) = target.and_then(|t| Some((s.target(t), s.target(t).assignments.in_force()?)))
    else {
        return (None, "unassigned");
    };
    let now = &r.now;
    let deployed = s.tables.cover(&target.assignments, a.log, now.applied);
    let placed = now.applied != 0 && s.tables.place(a.log, now.applied).is_some();
    let differs = deployed != Some(wanted);
    let ahead = || Range::whole(&s.tables, target, wanted).is_past(now.applied);
    let stalled_before = s.taken_at.plus(-STALL_AFTER);
    let drift = match () {
        () if s.liveness(r.host) == Liveness::Silent.as_str() => "silent",
        () if now.status == Status::Failure => "failing",
        () if deployed.is_none() && !placed => "unknown_commit",
        () if differs && ahead() => "ahead",
        () if now.status != Status::Success && now.since != Micros::MIN && now.since < stalled_before => "stalled",
        () if now.status != Status::Success => "progressing",
        () if differs => "behind",
        () => "in_sync",
    };
    (deployed.map(|i| i as u32), drift)
}

/// The view `host_state`, of some hosts.
#[derive(Debug)]
struct HostState {
    shared: Arc<Shared>,
    /// Cluster type, ring and region of each host.
    labels: Vec<(u32, [Option<String>; 3])>,
}

impl HostState {
    fn record(&self, row: &Subscription) -> &ReconcilerRecord {
        self.shared.reconciler(row.reconciler)
    }

    fn host(&self, row: &Subscription) -> Option<&HostRecord> {
        self.shared.tables.hosts.get(self.record(row).host)
    }

    fn label(&self, row: &Subscription, which: usize) -> Cell<'_> {
        let host = self.record(row).host;
        let found = self.labels.iter().find(|(h, _)| *h == host).and_then(|(_, l)| l[which].as_deref());
        found.map_or(Cell::Null, Cell::some)
    }

    fn wanted(&self, row: &Subscription) -> Option<(usize, &Assignment)> {
        self.shared.target(row.target?).assignments.in_force()
    }

    fn text(&self, name: u32) -> Cell<'_> {
        Cell::Text(self.shared.tables.text(name))
    }

    fn some(&self, name: u32) -> Cell<'_> {
        Cell::some(self.shared.tables.text(name))
    }
}

impl Rows for HostState {
    type Row = Subscription;

    fn table(&self) -> &'static TableSchema {
        &schema::HOST_STATE.schema
    }

    fn chunks(&self) -> usize {
        0
    }

    fn chunk(&self, _: usize) -> Vec<Subscription> {
        Vec::new()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "cluster_type" => |s, r| s.label(r, 0),
            "ring" => |s, r| s.label(r, 1),
            "region" => |s, r| s.label(r, 2),
            "labels" => |s, r| s.host(r).map_or(Cell::Null, |h| s.some(h.labels())),
            "liveness" => |s, r| Cell::Text(s.shared.liveness(s.record(r).host)),
            "reconciler_type" => |s, r| s.text(s.record(r).kind),
            "desired_version" => {
                |s, r| s.wanted(r).map_or(Cell::Null, |(_, a)| Cell::Text(s.shared.tables.version_text(a.version)))
            }
            "deployed_version" => |s, r| match (r.target, r.deployed) {
                (Some(t), Some(i)) => Cell::Text(s.shared.tables.version_text(s.shared.assignment((t, i)).version)),
                _ => Cell::Null,
            },
            "commit" => |s, r| s.some(s.record(r).now.applied),
            "attempted_commit" => |s, r| s.some(s.record(r).now.attempted),
            "status" => |s, r| Cell::Text(s.record(r).now.status.as_str()),
            "raw_status" => |s, r| s.text(s.record(r).now.raw),
            "message" => |s, r| s.some(s.record(r).now.message),
            "drift" => |_, r| Cell::Text(r.drift),
            "behind_by" => |s, r| match (s.wanted(r), r.deployed) {
                (Some((wanted, _)), Some(deployed)) => Cell::Number(wanted as i64 - i64::from(deployed)),
                _ => Cell::Null,
            },
            "rolled_back" => |s, r| Cell::Flag(s.record(r).now.rolled_back),
            "deployed_at" => |s, r| Cell::time(s.record(r).now.deployed_at),
            "reported_at" => |s, r| Cell::time(s.record(r).now.reported_at),
            "source" => |s, r| s.text(s.record(r).now.source),
            "contact" => |s, r| {
                let of_target = s.wanted(r).map_or(0, |(_, a)| a.contact);
                let of_host = || s.host(r).and_then(|h| h.declared.as_ref()).map_or(0, |d| d.contact);
                s.some(if of_target == 0 { of_host() } else { of_target })
            },
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        None
    }

    fn shows(&self, row: &Subscription, seen: &Seen) -> bool {
        let r = self.record(row);
        seen.word(r.host, r.now.endpoint) && seen.maybe_target(row.target)
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn target(row: &Subscription) -> Option<u32> {
        row.target
    }

    fn reconciler(row: &Subscription) -> Option<u32> {
        Some(row.reconciler)
    }
}
