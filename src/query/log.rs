//! What was asked lately: the table `system.queries`.
//!
//! Invariant: bounded in entries and in bytes; a statement enters when it is accepted and its entry is closed exactly once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::DataFusionError;
use parking_lot::Mutex;

use super::table::{Batches, Table};
use super::tally::Tally;
use crate::model::Micros;

/// Statements remembered.
const ENTRIES: usize = 200;
/// Bytes kept of each text.
const TEXT: usize = 1_000;

/// The last statements, running ones included.
#[derive(Debug)]
pub(super) struct QueryLog {
    schema: SchemaRef,
    entries: Mutex<(i64, VecDeque<Entry>)>,
    /// All of them, in numbers.
    pub(super) tally: Tally,
}

#[derive(Clone, Debug)]
struct Entry {
    id: i64,
    sql: String,
    started_at: i64,
    began: Instant,
    duration_ms: Option<i64>,
    rows: Option<i64>,
    status: String,
}

impl QueryLog {
    pub(super) fn new() -> Arc<QueryLog> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("sql", DataType::Utf8, false),
            Field::new("started_at", time, false),
            Field::new("duration_ms", DataType::Int64, false),
            Field::new("rows", DataType::Int64, true),
            Field::new("status", DataType::Utf8, false),
        ]));
        Arc::new(QueryLog { schema, entries: Mutex::new((0, VecDeque::new())), tally: Tally::new() })
    }

    /// Enters a statement.
    pub(super) fn begin(self: &Arc<Self>, sql: &str) -> Running {
        let mut entries = self.entries.lock();
        entries.0 += 1;
        let id = entries.0;
        let cut = (0..=TEXT.min(sql.len())).rev().find(|i| sql.is_char_boundary(*i)).unwrap_or(0);
        entries.1.push_back(Entry {
            id,
            sql: sql[..cut].to_string(),
            started_at: Micros::now().0,
            began: Instant::now(),
            duration_ms: None,
            rows: None,
            status: "running".into(),
        });
        if entries.1.len() > ENTRIES {
            entries.1.pop_front();
        }
        Running { log: Arc::clone(self), id, began: Instant::now(), rows: 0, status: "cancelled" }
    }

    fn batch(&self) -> Result<RecordBatch, DataFusionError> {
        let entries = self.entries.lock();
        let all = || entries.1.iter();
        let lasted = |e: &Entry| e.duration_ms.unwrap_or_else(|| e.began.elapsed().as_millis() as i64);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(all().map(|e| Some(e.id.to_string())).collect::<StringArray>()),
            Arc::new(all().map(|e| Some(e.sql.as_str())).collect::<StringArray>()),
            Arc::new(TimestampMicrosecondArray::from_iter_values(all().map(|e| e.started_at)).with_timezone("UTC")),
            Arc::new(Int64Array::from_iter_values(all().map(lasted))),
            Arc::new(all().map(|e| e.rows).collect::<Int64Array>()),
            Arc::new(all().map(|e| Some(e.status.as_str())).collect::<StringArray>()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Table for QueryLog {
    fn name(&self) -> &str {
        "queries"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        1
    }

    fn scan(&self, _: usize, projection: &[usize]) -> Batches {
        let batch = self.batch().and_then(|batch| Ok(batch.project(projection)?));
        Box::new(std::iter::once(batch))
    }

    fn rows(&self) -> Option<usize> {
        None
    }
}

/// A statement that runs; closes its entry when dropped, as cancelled unless told otherwise.
#[derive(Debug)]
pub(super) struct Running {
    log: Arc<QueryLog>,
    id: i64,
    began: Instant,
    /// Rows given so far.
    pub(super) rows: usize,
    status: &'static str,
}

impl Running {
    /// How it ended.
    pub(super) fn ended(&mut self, status: &'static str) {
        self.status = status;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.log.tally.ended(self.status, self.began.elapsed());
        let mut entries = self.log.entries.lock();
        if let Some(entry) = entries.1.iter_mut().rev().find(|e| e.id == self.id) {
            entry.duration_ms = Some(entry.began.elapsed().as_millis() as i64);
            entry.rows = Some(self.rows as i64);
            entry.status = self.status.into();
        }
    }
}
