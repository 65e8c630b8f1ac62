//! A generation: the tables of one instant, immutable, with the small derived tables computed at most once.
//!
//! Invariant: everything a statement sees comes from one [`Tables`] snapshot; two scans of one generation give the same rows.

use std::sync::{Arc, OnceLock};

use super::archive::Archive;
use super::history::Past;
use super::scan::{Cell, Reader, Rows, Scan};
use super::schema::{self, TableSchema, VIEWS};
use super::seen::Seen;
use super::{coverage, desired, expectations, history, hosts, reconcilers, rollouts, verifications};
use crate::access::Restriction;
use crate::model::Micros;
use crate::query::{Catalog, Table};
use crate::state::Tables;

/// How long something may be in progress before it counts as stalled: 30 minutes.
pub(super) const STALL_AFTER: i64 = 30 * 60 * 1_000_000;

/// The folder of the archive, beside that of exports.
pub const ARCHIVE: &str = "archive";

/// The tables of one instant.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its id: names the store's epoch, the sequence and the instant; the entity tag of answers.
    pub id: String,
    /// Everything up to this sequence is in it.
    pub seq: u64,
    /// "Now" of the views.
    pub taken_at: Micros,
    pub(super) shared: Arc<Shared>,
}

/// What all tables of a generation read from.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) taken_at: Micros,
    pub(super) tables: Tables,
    /// What the reader sees of them; everything when absent.
    pub(super) seen: Option<Seen>,
    pub(super) assigned: OnceLock<coverage::Assigned>,
    pub(super) running: OnceLock<Vec<coverage::Running>>,
    pub(super) commits: OnceLock<Vec<coverage::Covered>>,
    pub(super) endpoint_commits: OnceLock<Vec<history::EndpointCommit>>,
    pub(super) rollouts: OnceLock<Vec<rollouts::RolloutState>>,
    pub(super) labels: OnceLock<hosts::LabelSets>,
    pub(super) groups: OnceLock<desired::Groups>,
    /// Where rows are that the tables do not hold any more.
    archive: OnceLock<Arc<Archive>>,
}

impl Shared {
    fn new(id: String, (epoch, seq): (u64, u64), taken_at: Micros, tables: Tables, seen: Option<Seen>) -> Shared {
        Shared {
            id,
            epoch,
            seq,
            taken_at,
            tables,
            seen,
            assigned: OnceLock::new(),
            running: OnceLock::new(),
            commits: OnceLock::new(),
            endpoint_commits: OnceLock::new(),
            rollouts: OnceLock::new(),
            labels: OnceLock::new(),
            groups: OnceLock::new(),
            archive: OnceLock::new(),
        }
    }
}

impl Shared {
    /// From when on rows of the past are shown from memory. What is archived is shown from the archive, also while the ledger still has
    /// it: before it is trimmed, and where a crash or a restore took the trimming back.
    pub(super) fn past_since(&self) -> Micros {
        let archived = self.archive.get().map_or(Micros::MIN, |archive| archive.through());
        self.tables.kept_since().max(archived)
    }
}

/// The epoch, sequence and instant that the id of a generation names.
pub fn parts_of(id: &str) -> Option<(u64, u64, Micros)> {
    let mut parts = id.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (Some(epoch), Some(seq), Some(at), None) => Some((epoch, seq, Micros(i64::try_from(at).ok()?))),
        _ => None,
    }
}

impl Generation {
    /// Takes a generation of these tables; `seq` and `epoch` are those of the ledger, `now` is the "now" of its views.
    pub fn take(epoch: u64, seq: u64, tables: Tables, now: Micros) -> Generation {
        let id = format!("{epoch:x}-{seq:x}-{:x}", now.0);
        let shared = Arc::new(Shared::new(id.clone(), (epoch, seq), now, tables, None));
        Generation { id, seq, taken_at: now, shared }
    }

    /// With the rows that are in an archive.
    pub fn with_archive(self, archive: Option<Arc<Archive>>) -> Generation {
        if let Some(archive) = archive {
            // It is told once, where a generation is made.
            let _ = self.shared.archive.set(archive);
        }
        self
    }

    /// The records that it shows.
    pub fn snapshot(&self) -> Tables {
        self.shared.tables.clone()
    }

    /// The files that hold rows of a table which are not shown from memory, as an export beside the archive names them.
    pub(super) fn archived(&self, table: &str) -> Vec<super::export::manifest::File> {
        let Some(archive) = self.shared.archive.get() else { return Vec::new() };
        let beside = |file: super::export::manifest::File| super::export::manifest::File {
            path: format!("../{ARCHIVE}/{}", file.path),
            ..file
        };
        archive.files(table).map(beside).collect()
    }

    /// The same instant as a restricted reader sees it.
    pub fn seen_by(&self, restriction: &Restriction) -> Generation {
        let Shared { id, epoch, seq, taken_at, tables, archive, .. } = &*self.shared;
        let seen = Seen::by(restriction, tables);
        let shared = Shared::new(id.clone(), (*epoch, *seq), *taken_at, tables.clone(), Some(seen));
        Generation { shared: Arc::new(shared), ..self.clone() }.with_archive(archive.get().cloned())
    }

    /// The epoch of the store it was taken from.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The SQL tables.
    pub fn tables(&self) -> Vec<Arc<dyn Table>> {
        let s = || Arc::clone(&self.shared);
        let mut all = desired::tables(&self.shared);
        all.extend([
            Scan::of(coverage::Assignments(s())),
            Scan::of(coverage::AssignmentCommits(s())),
            Scan::of(coverage::RunningCommits(s())),
            Scan::of(rollouts::RolloutStates(s())),
            Scan::of(verifications::Verifications(s())),
            Scan::of(hosts::Hosts(s())),
            Scan::of(hosts::HostTransitions::new(s())),
            Scan::of(expectations::Expectations::new(s())),
            Scan::of(reconcilers::Reconcilers(s())),
            Scan::of(reconcilers::ReconcilerSources(s())),
            self.with_past(Scan::of(history::Deployments(s(), Past::Kept))),
            self.with_past(Scan::of(history::Transitions(s(), Past::Kept))),
            Scan::of(history::EndpointCommits(s())),
            Scan::of(Itself(s())),
        ]);
        all
    }

    fn with_past(&self, kept: Arc<dyn Table>) -> Arc<dyn Table> {
        match self.shared.archive.get() {
            Some(archive) => archive.with(kept, self.shared.seen_by_name()),
            None => kept,
        }
    }

    /// Tables and views for the SQL engine.
    pub fn catalog(&self) -> Catalog {
        catalog(self.tables())
    }
}

/// Bytes that statements may reserve for every reconciler: views that count hosts hold a few dozen for each at a time, in each of
/// some statements.
const MEMORY: usize = 256;

/// Tables for the SQL engine, with the views.
pub(super) fn catalog(tables: Vec<Arc<dyn Table>>) -> Catalog {
    let reconcilers = tables.iter().find(|t| t.name() == schema::RECONCILERS.name).and_then(|t| t.most_rows());
    Catalog::new(tables, views()).with_memory(reconcilers.unwrap_or(0) * MEMORY)
}

/// The views as the SQL engine takes them.
fn views() -> Vec<(String, String)> {
    VIEWS.iter().map(|v| (v.schema.name.to_owned(), v.sql.to_owned())).collect()
}

/// The table `generation`.
#[derive(Debug)]
struct Itself(Arc<Shared>);

impl Rows for Itself {
    type Row = ();

    fn table(&self) -> &'static TableSchema {
        &schema::GENERATION
    }

    fn chunks(&self) -> usize {
        1
    }

    fn chunk(&self, _: usize) -> Vec<()> {
        vec![()]
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "generation" => |s, ()| Cell::Text(&s.0.id),
            "seq" => |s, ()| Cell::Number(s.0.seq as i64),
            "epoch" => |s, ()| Cell::Number(s.0.epoch as i64),
            "taken_at" => |s, ()| Cell::Number(s.0.taken_at.0),
            "stalled_before" => |s, ()| Cell::Number(s.0.taken_at.plus(-STALL_AFTER).0),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(1)
    }

    fn shows(&self, _: &Self::Row, _: &Seen) -> bool {
        true
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}
