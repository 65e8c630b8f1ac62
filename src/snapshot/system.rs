//! Small tables that are made anew whenever they are read: what the hub knows of itself.
//!
//! Invariant: the columns are those of the declaration, in its order.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::scan::{Cell, array};
use super::schema::TableSchema;
use crate::query::{Batches, Table};

type Make = dyn Fn() -> Vec<Vec<Cell<'static>>> + Send + Sync;

/// A table whose rows a function makes.
pub struct Made {
    table: &'static TableSchema,
    schema: SchemaRef,
    rows: Box<Make>,
}

impl Made {
    /// The table of these rows; each has a cell per declared column.
    pub fn of(
        table: &'static TableSchema,
        rows: impl Fn() -> Vec<Vec<Cell<'static>>> + Send + Sync + 'static,
    ) -> Arc<dyn Table> {
        Arc::new(Made { table, schema: table.arrow(), rows: Box::new(rows) })
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made({})", self.table.name)
    }
}

impl Table for Made {
    fn name(&self) -> &str {
        self.table.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        1
    }

    fn scan(&self, _: usize, projection: &[usize]) -> Batches {
        let rows = (self.rows)();
        let columns = self.table.columns.iter().enumerate();
        let arrays = columns.map(|(i, column)| {
            let cells = rows.iter().map(|row| row.get(i).map_or(Cell::Null, Cell::again));
            array(cells, rows.len(), column.kind, column.nullable)
        });
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect());
        Box::new(std::iter::once(batch.and_then(|b| b.project(projection)).map_err(Into::into)))
    }

    fn rows(&self) -> Option<usize> {
        None
    }
}
