//! Rows about a few hosts, without the engine: what a page about one host asks for.
//!
//! Invariant: the bytes are those of the statement that [`Select`] would make; whatever is asked beyond filters (a cursor, an
//! id, a span of time) goes to the engine.

use axum::body::Bytes;

use super::App;
use super::problem::Problem;
use super::select::{Filtered, Select};
use super::sql::problem_of;
use crate::query::Rows;
use crate::query::arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use crate::query::arrow::compute::take_record_batch;
use crate::runtime::Published;

/// Beyond so many hosts a statement costs no more.
const HOSTS: usize = 50;

/// At most `limit` rows as a JSON array; `None` where the question is not about a few hosts.
pub(super) fn rows(app: &App, published: &Published, select: &Select, limit: usize) -> Option<Result<Bytes, Problem>> {
    let filters = select.filters.as_deref()?;
    let hosts = filters.iter().find_map(|f| match f {
        Filtered::AnyOf { column: "host", values, or_null: false } if values.len() <= HOSTS => Some(values),
        _ => None,
    })?;
    let found = app.hub.read(|state| published.generation.find_hosts(state, hosts));
    let batch = published.generation.rows_of_hosts(select.table, &found)?;
    Some(batch.map_err(|e| Problem::internal(&e)).and_then(|batch| {
        let mut picked = picked(&batch, filters, select.order);
        picked.truncate(limit);
        let batch = take_record_batch(&batch, &UInt32Array::from(picked)).map_err(|e| Problem::internal(&e))?;
        Rows { schema: batch.schema(), batches: vec![batch] }.json().map_err(|e| problem_of(&e))
    }))
}

/// The numbers of the rows that all filters let through, in order; nulls come last.
fn picked(batch: &RecordBatch, filters: &[Filtered], order: &[&str]) -> Vec<u32> {
    let passes = |row: usize| filters.iter().all(|f| f.passes(batch, row));
    let key = |row: u32| {
        order.iter().map(|c| text(batch, c, row as usize).map_or((true, ""), |t| (false, t))).collect::<Vec<_>>()
    };
    let mut rows: Vec<u32> = (0..batch.num_rows()).filter(|row| passes(*row)).map(|row| row as u32).collect();
    rows.sort_by_cached_key(|row| key(*row));
    rows
}

fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let column = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    column.is_valid(row).then(|| column.value(row))
}

impl Filtered {
    fn passes(&self, batch: &RecordBatch, row: usize) -> bool {
        match self {
            Filtered::AnyOf { column, values, or_null } => match text(batch, column, row) {
                Some(text) => values.iter().any(|v| v == text),
                None => *or_null,
            },
            Filtered::Flag { column, values } => {
                let flags = batch.column_by_name(column).and_then(|c| c.as_boolean_opt());
                flags.is_some_and(|f| f.is_valid(row) && values.contains(&f.value(row)))
            }
        }
    }
}
