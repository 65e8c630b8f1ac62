//! Turns records into Arrow batches, lazily and only for the columns asked.
//!
//! Invariant: a table is cut into chunks of some thousand rows; one chunk is in memory per running partition, and a column that
//! nobody projected is never built.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;

use super::generation::Shared;
use super::schema::{Kind, TableSchema};
use super::seen::Seen;
use crate::model::Micros;
use crate::query::{Batches, Table};
use crate::state::tables::ReconcilerRecord;
use crate::state::target::TargetRecord;

/// How many partitions a table is scanned in, at most.
const PARTITIONS: usize = 4;

/// One value of one row.
#[derive(Debug)]
pub enum Cell<'a> {
    /// Null, or (where null is not allowed) the empty value.
    Null,
    /// Text that lives elsewhere.
    Text(&'a str),
    /// Text made for this row.
    Made(String),
    /// A number, or an instant as microseconds.
    Number(i64),
    /// True or false.
    Flag(bool),
}

impl<'a> Cell<'a> {
    /// Text, null when empty.
    pub fn some(text: &'a str) -> Cell<'a> {
        if text.is_empty() { Cell::Null } else { Cell::Text(text) }
    }

    /// The same value, borrowed.
    pub(super) fn again(&self) -> Cell<'_> {
        match self {
            Cell::Null => Cell::Null,
            Cell::Text(text) => Cell::Text(text),
            Cell::Made(text) => Cell::Text(text),
            Cell::Number(n) => Cell::Number(*n),
            Cell::Flag(flag) => Cell::Flag(*flag),
        }
    }

    /// An instant; the two ends of time are null.
    pub fn time(at: Micros) -> Cell<'a> {
        if at == Micros::MIN || at == Micros::MAX { Cell::Null } else { Cell::Number(at.0) }
    }
}

/// Reads one column of a row.
pub(super) type Reader<R> = for<'a> fn(&'a R, &'a <R as Rows>::Row) -> Cell<'a>;

/// The rows of one table.
pub(super) trait Rows: Debug + Send + Sync + 'static {
    /// What a row is while its columns are read.
    type Row: Send;
    /// The declaration of the table.
    fn table(&self) -> &'static TableSchema;
    /// Number of chunks.
    fn chunks(&self) -> usize;
    /// The rows of one chunk.
    fn chunk(&self, chunk: usize) -> Vec<Self::Row>;
    /// How to read a column; `None` when the table has no such column.
    fn reader(column: &str) -> Option<Reader<Self>>
    where
        Self: Sized;
    /// Number of rows, where it is known without reading them.
    fn count(&self) -> Option<usize>;
    /// Whether a restricted reader sees a row; said for every table, so that none is forgotten.
    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool;
    /// Where the names are.
    fn shared(&self) -> &Shared;
    /// The deployment target a row speaks of: gives it its natural names.
    fn target(_row: &Self::Row) -> Option<u32> {
        None
    }
    /// The reconciler a row speaks of: gives it its natural names.
    fn reconciler(_row: &Self::Row) -> Option<u32> {
        None
    }
}

/// The natural names and numbers of what a row speaks of; the same for every table.
fn natural<R: Rows>(column: &str) -> Option<Reader<R>> {
    Some(match column {
        "workspace" => |s, r| target(s, r, |t| t.workspace),
        "application" => |s, r| target(s, r, |t| t.application),
        "workload" => |s, r| target(s, r, |t| t.workload),
        "environment" => |s, r| target(s, r, |t| t.environment),
        "deployment_target" => |s, r| target(s, r, |t| t.name),
        "target_no" => |_, r| R::target(r).map_or(Cell::Null, |n| Cell::Number(i64::from(n))),
        "host" => |s, r| reconciler(s, r).map_or(Cell::Null, |f| Cell::Text(s.shared().tables.host_name(f.host))),
        "reconciler" => |s, r| reconciler(s, r).map_or(Cell::Null, |f| Cell::Text(s.shared().tables.text(f.name))),
        "host_no" => |s, r| reconciler(s, r).map_or(Cell::Null, |f| Cell::Number(i64::from(f.host))),
        "reconciler_no" => |_, r| R::reconciler(r).map_or(Cell::Null, |n| Cell::Number(i64::from(n))),
        _ => return None,
    })
}

fn target<'a, R: Rows>(s: &'a R, row: &R::Row, name: fn(&TargetRecord) -> u32) -> Cell<'a> {
    let tables = &s.shared().tables;
    let found = R::target(row).and_then(|t| tables.targets.get(t));
    found.map_or(Cell::Null, |t| Cell::Text(tables.text(name(t))))
}

fn reconciler<'a, R: Rows>(s: &'a R, row: &R::Row) -> Option<&'a ReconcilerRecord> {
    s.shared().tables.reconcilers.get(R::reconciler(row)?)
}

/// Makes [`Rows`] a table of SQL.
#[derive(Debug)]
pub(super) struct Scan<R> {
    rows: Arc<R>,
    schema: SchemaRef,
}

impl<R: Rows> Scan<R> {
    /// The table of these rows.
    pub fn of(rows: R) -> Arc<dyn Table> {
        let schema = rows.table().arrow();
        Arc::new(Scan { rows: Arc::new(rows), schema })
    }
}

impl<R: Rows> Table for Scan<R> {
    fn name(&self) -> &str {
        self.rows.table().name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        self.rows.chunks().clamp(1, PARTITIONS)
    }

    fn scan(&self, partition: usize, projection: &[usize]) -> Batches {
        let builder = match Builder::<R>::new(&self.schema, self.rows.table(), projection) {
            Ok(builder) => builder,
            Err(e) => return Box::new(std::iter::once(Err(e))),
        };
        let (chunks, partitions) = (self.rows.chunks(), self.partitions());
        let range = chunks * partition / partitions..chunks * (partition + 1) / partitions;
        let rows = Arc::clone(&self.rows);
        let batches = range.map(move |chunk| builder.build(&rows, &shown(&*rows, chunk)));
        Box::new(batches.filter(|b| !b.as_ref().is_ok_and(|b| b.num_rows() == 0)))
    }

    fn rows(&self) -> Option<usize> {
        // How many there are of what is not seen is nobody's business.
        if self.rows.shared().seen.is_some() { None } else { self.rows.count() }
    }

    fn most_rows(&self) -> Option<usize> {
        self.rows.count()
    }
}

/// The rows of a chunk that the reader sees.
fn shown<R: Rows>(rows: &R, chunk: usize) -> Vec<R::Row> {
    let mut all = rows.chunk(chunk);
    if let Some(seen) = &rows.shared().seen {
        all.retain(|row| rows.shows(row, seen));
    }
    all
}

/// Builds batches of some columns.
pub(super) struct Builder<R: Rows> {
    schema: SchemaRef,
    columns: Vec<(Kind, bool, Reader<R>)>,
}

impl<R: Rows> Builder<R> {
    /// All columns.
    pub(super) fn all(schema: &SchemaRef, table: &TableSchema) -> Result<Self, DataFusionError> {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        Builder::new(schema, table, &all)
    }

    /// The columns of a projection.
    pub(super) fn new(schema: &SchemaRef, table: &TableSchema, projection: &[usize]) -> Result<Self, DataFusionError> {
        let column = |&i: &usize| {
            let found = table
                .columns
                .get(i)
                .and_then(|c| Some((c.kind, c.nullable, R::reader(c.name).or_else(|| natural(c.name))?)));
            found.ok_or_else(|| DataFusionError::Internal(format!("no reader for column {i} of {}", table.name)))
        };
        let columns = projection.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Builder { schema: Arc::new(schema.project(projection)?), columns })
    }

    /// A batch of rows.
    pub(super) fn build(&self, source: &R, rows: &[R::Row]) -> Result<RecordBatch, DataFusionError> {
        let column = |(kind, nullable, read): &(Kind, bool, Reader<R>)| {
            array(rows.iter().map(|row| read(source, row)), rows.len(), *kind, *nullable)
        };
        let arrays = self.columns.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

/// A column of cells.
pub(super) fn array<'a>(cells: impl Iterator<Item = Cell<'a>>, rows: usize, kind: Kind, nullable: bool) -> ArrayRef {
    match kind {
        Kind::Text => {
            let mut out = StringBuilder::with_capacity(rows, rows * 16);
            for cell in cells {
                match cell {
                    Cell::Text(text) => out.append_value(text),
                    Cell::Made(text) => out.append_value(text),
                    _ if nullable => out.append_null(),
                    _ => out.append_value(""),
                }
            }
            Arc::new(out.finish())
        }
        Kind::Count => {
            let mut out = Int64Builder::with_capacity(rows);
            cells.for_each(|cell| out.append_option(number(&cell).or(if nullable { None } else { Some(0) })));
            Arc::new(out.finish())
        }
        Kind::Time => {
            let mut out = TimestampMicrosecondBuilder::with_capacity(rows);
            cells.for_each(|cell| out.append_option(number(&cell).or(if nullable { None } else { Some(0) })));
            Arc::new(out.finish().with_timezone("UTC"))
        }
        Kind::Flag => {
            let mut out = BooleanBuilder::with_capacity(rows);
            for cell in cells {
                match cell {
                    Cell::Flag(flag) => out.append_value(flag),
                    _ if nullable => out.append_null(),
                    _ => out.append_value(false),
                }
            }
            Arc::new(out.finish())
        }
    }
}

fn number(cell: &Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Number(n) => Some(*n),
        _ => None,
    }
}

/// Rows per chunk of a kept table.
pub const CHUNK: usize = 8192;

/// The part of `0..len` that a chunk holds.
pub fn chunk_of(len: usize, chunk: usize) -> std::ops::Range<usize> {
    (chunk * CHUNK).min(len)..((chunk + 1) * CHUNK).min(len)
}
