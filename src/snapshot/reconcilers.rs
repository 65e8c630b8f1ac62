//! The tables about reconcilers as they are now.

use std::sync::Arc;

use super::generation::Shared;
use super::ids::id;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::state::tables::{ReconcilerRecord, SourceWord};

impl Shared {
    pub(super) fn reconciler(&self, reconciler: u32) -> &ReconcilerRecord {
        self.tables.reconcilers.get(reconciler).expect("rows are made from the reconcilers there are")
    }
}

/// The table `reconcilers`.
#[derive(Debug)]
pub(super) struct Reconcilers(pub(super) Arc<Shared>);

impl Rows for Reconcilers {
    type Row = u32;

    fn table(&self) -> &'static TableSchema {
        &schema::RECONCILERS
    }

    fn chunks(&self) -> usize {
        self.0.tables.reconcilers.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<u32> {
        chunk_of(self.0.tables.reconcilers.len(), chunk).map(|i| i as u32).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "reconciler_id" => |s, r| {
                let record = s.0.reconciler(*r);
                Cell::Made(id("reconciler", &[s.0.tables.host_name(record.host), s.0.tables.text(record.name)]))
            },
            "reconciler_type" => |s, r| Cell::Text(s.0.tables.text(s.0.reconciler(*r).kind)),
            "storage_type" => |s, r| s.0.storage_type(s.0.reconciler(*r).now.endpoint),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(s.0.reconciler(*r).now.endpoint)),
            "commit" => |s, r| Cell::some(s.0.tables.text(s.0.reconciler(*r).now.applied)),
            "attempted_commit" => |s, r| Cell::some(s.0.tables.text(s.0.reconciler(*r).now.attempted)),
            "status" => |s, r| Cell::Text(s.0.reconciler(*r).now.status.as_str()),
            "raw_status" => |s, r| Cell::Text(s.0.tables.text(s.0.reconciler(*r).now.raw)),
            "message" => |s, r| Cell::some(s.0.tables.text(s.0.reconciler(*r).now.message)),
            "liveness" => |s, r| Cell::Text(s.0.liveness(s.0.reconciler(*r).host)),
            "rolled_back" => |s, r| Cell::Flag(s.0.reconciler(*r).now.rolled_back),
            "deployed_at" => |s, r| Cell::time(s.0.reconciler(*r).now.deployed_at),
            "status_since" => |s, r| Cell::time(s.0.reconciler(*r).now.since),
            "reported_at" => |s, r| Cell::time(s.0.reconciler(*r).now.reported_at),
            "received_at" => |s, r| {
                let newest = s.0.reconciler(*r).history.newest().filter(|n| !n.gone);
                newest.map_or(Cell::Null, |n| Cell::time(n.received_at))
            },
            "first_reported_at" => |s, r| s.0.reconciler(*r).history.first_report().map_or(Cell::Null, Cell::time),
            "source" => |s, r| Cell::Text(s.0.tables.text(s.0.reconciler(*r).now.source)),
            "retired_at" => |s, r| Cell::time(s.0.reconciler(*r).now.retired_at),
            "endpoint_no" => |s, r| Cell::Number(i64::from(s.0.reconciler(*r).now.endpoint)),
            "commit_no" => |s, r| match s.0.reconciler(*r).now.applied {
                0 => Cell::Null,
                commit => Cell::Number(i64::from(commit)),
            },
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.reconcilers.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        let r = self.0.reconciler(*row);
        seen.word(r.host, r.now.endpoint)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn reconciler(row: &u32) -> Option<u32> {
        Some(*row)
    }
}

/// The table `reconciler_sources`: a row is (reconciler, word).
#[derive(Debug)]
pub(super) struct ReconcilerSources(pub(super) Arc<Shared>);

impl Rows for ReconcilerSources {
    type Row = (u32, SourceWord);

    fn table(&self) -> &'static TableSchema {
        &schema::RECONCILER_SOURCES
    }

    fn chunks(&self) -> usize {
        self.0.tables.reconcilers.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Self::Row> {
        let mut rows = Vec::new();
        for i in chunk_of(self.0.tables.reconcilers.len(), chunk) {
            let id = i as u32;
            let r = self.0.reconciler(id);
            let n = &r.now;
            // Only a reconciler with several sources keeps a word of each; what one source says is what is so now.
            if r.sources.is_empty() {
                let word = SourceWord {
                    source: n.source,
                    at: n.reported_at,
                    endpoint: n.endpoint,
                    commit: n.attempted,
                    status: n.status,
                };
                rows.push((id, word));
            }
            rows.extend(r.sources.iter().map(|w| (id, *w)));
        }
        rows
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "source" => |s, r| Cell::Text(s.0.tables.text(r.1.source)),
            "prevails" => |s, r| Cell::Flag(s.0.reconciler(r.0).now.source == r.1.source),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(r.1.endpoint)),
            "attempted_commit" => |s, r| Cell::some(s.0.tables.text(r.1.commit)),
            "status" => |_, r| Cell::Text(r.1.status.as_str()),
            "reported_at" => |_, r| Cell::time(r.1.at),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        None
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        let r = self.0.reconciler(row.0);
        seen.word(r.host, r.now.endpoint) && seen.endpoint(row.1.endpoint)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn reconciler(row: &Self::Row) -> Option<u32> {
        Some(row.0)
    }
}
