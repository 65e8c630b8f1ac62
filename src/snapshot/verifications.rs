//! The table `verifications`: a row is a run of equal judgements of one verification.

use std::sync::Arc;

use super::generation::Shared;
use super::ids::id;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::state::verification::{Judgement, Key};

/// The table.
#[derive(Debug)]
pub(super) struct Verifications(pub(super) Arc<Shared>);

/// One result of a verification.
pub(super) struct Row {
    key: Key,
    sequence: i64,
    current: bool,
    judgement: Judgement,
}

impl Verifications {
    fn some(&self, name: u32) -> Cell<'_> {
        Cell::some(self.0.tables.text(name))
    }

    fn subject(&self, row: &Row, kind: &str) -> Cell<'_> {
        match row.key.subject.parts() {
            (is, name) if is == kind => self.some(*name),
            _ => Cell::Null,
        }
    }

    fn id(&self, key: &Key) -> Cell<'_> {
        let (kind, subject) = key.subject.parts();
        let mut parts = vec![self.0.tables.text(key.name), kind, self.0.tables.text(*subject)];
        parts.extend(key.selectors.map(|name| self.0.tables.text(name)));
        Cell::Made(id("verification", &parts))
    }
}

impl Rows for Verifications {
    type Row = Row;

    fn table(&self) -> &'static TableSchema {
        &schema::VERIFICATIONS
    }

    fn chunks(&self) -> usize {
        self.0.tables.verifications.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Row> {
        let all = &self.0.tables.verifications;
        let records = chunk_of(all.len(), chunk).filter_map(|id| all.get(id as u32));
        let rows = records.flat_map(|record| {
            let last = record.said.len();
            (1..).zip(&record.said).map(move |(nth, said)| Row {
                key: record.key,
                sequence: nth as i64,
                current: nth == last,
                judgement: *said,
            })
        });
        rows.collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "verification_id" => |s, r| s.id(&r.key),
            "name" => |s, r| Cell::Text(s.0.tables.text(r.key.name)),
            "sequence" => |_, r| Cell::Number(r.sequence),
            "current" => |_, r| Cell::Flag(r.current),
            "result" => |_, r| Cell::Text(r.judgement.outcome.as_str()),
            "raw_result" => |s, r| Cell::Text(s.0.tables.text(r.judgement.raw)),
            "workspace" => |s, r| s.some(r.key.selectors[0]),
            "application" => |s, r| s.some(r.key.selectors[1]),
            "workload" => |s, r| s.some(r.key.selectors[2]),
            "environment" => |s, r| s.some(r.key.selectors[3]),
            "deployment_target" => |s, r| s.some(r.key.selectors[4]),
            "version" => |s, r| s.subject(r, "version"),
            "commit" => |s, r| s.subject(r, "commit"),
            "source_commit" => |s, r| s.subject(r, "source_commit"),
            "link" => |s, r| s.some(r.judgement.link),
            "message" => |s, r| s.some(r.judgement.message),
            "reported_by" => |s, r| s.some(r.judgement.reported_by),
            "reported_at" => |_, r| Cell::time(r.judgement.first),
            "last_confirmed_at" => |_, r| Cell::time(r.judgement.last),
            "received_at" => |_, r| Cell::time(r.judgement.received_at),
            "time_refused" => |_, r| Cell::Flag(r.judgement.future),
            "source" => |s, r| Cell::Text(s.0.tables.text(r.judgement.source)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.verifications.iter().map(|(_, record)| record.said.len()).sum())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        // What is limited to no workspace is about all of them.
        seen.workspace(row.key.selectors[0])
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}
