//! Hand-made tables as text, so that a test of a view reads like its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use koh::model::Micros;
use koh::snapshot::schema::{Kind, TABLES, TableSchema, VIEWS};
use tokio_util::sync::CancellationToken;

/// For what is written to its end: nobody says stop.
pub fn go_on() -> CancellationToken {
    CancellationToken::new()
}

/// Tables by name; the ones not given are empty.
#[derive(Default)]
pub struct World(BTreeMap<&'static str, RecordBatch>);

impl World {
    /// Adds a table: a header line, then one line per row, cells separated by `|`. An empty cell is null, or the
    /// empty value where null is not allowed; so is a column that the header leaves out. Times are `hh:mm` of one day.
    pub fn with(mut self, name: &str, text: &str) -> World {
        let table = TABLES.iter().find(|t| t.name == name).expect("a declared table");
        self.0.insert(table.name, batch(table, text));
        self
    }

    /// Adds a table as a batch.
    pub fn with_batch(mut self, name: &str, batch: RecordBatch) -> World {
        let table = TABLES.iter().find(|t| t.name == name).expect("a declared table");
        self.0.insert(table.name, batch);
        self
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        rows_of(&self.context().await, sql).await
    }

    /// A session with every table and view.
    pub async fn context(&self) -> SessionContext {
        let context = SessionContext::new();
        for function in koh::query::pages() {
            context.register_udf(function.as_ref().clone());
        }
        for table in TABLES {
            let batch = self.0.get(table.name).cloned().unwrap_or_else(|| RecordBatch::new_empty(table.arrow()));
            let memory = MemTable::try_new(table.arrow(), vec![vec![batch]]).expect("the batch has the table's schema");
            context.register_table(table.name, Arc::new(memory)).expect("registered once");
        }
        for view in VIEWS.iter() {
            let statement = format!("CREATE VIEW {} AS {}", view.schema.name, view.sql);
            context.sql(&statement).await.unwrap_or_else(|e| panic!("view {}: {e}", view.schema.name));
        }
        context
    }
}

/// The rows of a query, one line per row, cells separated by ` | `, null as `-`.
pub async fn rows_of(context: &SessionContext, sql: &str) -> Vec<String> {
    let frame = context.sql(sql).await.expect("the statement plans");
    lines(&frame.collect().await.expect("the statement runs"))
}

/// Batches, one line per row.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let options = FormatOptions::new().with_null("-");
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).expect("printable")).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| short(c.value(row).to_string())).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

/// `2026-01-01T10:30:00Z` as `10:30`.
fn short(cell: String) -> String {
    match cell.strip_prefix("2026-01-01T").and_then(|rest| rest.strip_suffix(":00Z")) {
        Some(time) => time.to_string(),
        None => cell,
    }
}

fn batch(table: &TableSchema, text: &str) -> RecordBatch {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let split = |line: &str| line.split('|').map(|c| c.trim().to_string()).collect::<Vec<_>>();
    let header = split(lines.next().expect("a header line"));
    for name in &header {
        assert!(table.columns.iter().any(|c| c.name == name), "{} has no column {name}", table.name);
    }
    let rows: Vec<Vec<String>> = lines.map(split).collect();
    let columns = table.columns.iter().map(|column| {
        let at = header.iter().position(|h| h == column.name);
        let cells: Vec<Option<&str>> =
            rows.iter().map(|r| at.and_then(|i| r.get(i)).map(String::as_str).filter(|c| !c.is_empty())).collect();
        let default = |value| if column.nullable { None } else { Some(value) };
        let array: ArrayRef = match column.kind {
            Kind::Text => Arc::new(cells.iter().map(|c| c.or(default(""))).collect::<StringArray>()),
            Kind::Count => Arc::new(
                cells
                    .iter()
                    .map(|c| c.map(|c| c.parse().expect("a number")).or(default("").map(|_| 0)))
                    .collect::<Int64Array>(),
            ),
            Kind::Flag => Arc::new(
                cells.iter().map(|c| c.map(|c| c == "true").or(default("").map(|_| false))).collect::<BooleanArray>(),
            ),
            Kind::Share => panic!("no table holds shares"),
            Kind::Time => Arc::new(
                cells
                    .iter()
                    .map(|c| c.map(instant).or(default("").map(|_| instant("00:00"))))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        };
        array
    });
    RecordBatch::try_new(table.arrow(), columns.collect()).expect("columns follow the declaration")
}

fn instant(clock: &str) -> i64 {
    Micros::parse(&format!("2026-01-01T{clock}:00Z")).expect("hh:mm").0
}
