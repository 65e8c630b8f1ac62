//! Rows as hashes: what they say, whatever their order and the batches they come in.
//!
//! Invariant: equal rows have equal hashes wherever they are read from, in memory or in a file; one batch is held.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::DataFusionError;
use twox_hash::XxHash3_128;

/// Hashes of some columns of rows.
pub(in crate::snapshot) struct RowHashes {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl RowHashes {
    /// Of these columns of a schema.
    pub(in crate::snapshot) fn of(schema: &SchemaRef, columns: Vec<usize>) -> Result<RowHashes, DataFusionError> {
        let fields = columns.iter().map(|i| SortField::new(schema.field(*i).data_type().clone())).collect();
        Ok(RowHashes { converter: RowConverter::new(fields)?, columns })
    }

    /// Of all columns.
    pub(in crate::snapshot) fn whole(schema: &SchemaRef) -> Result<RowHashes, DataFusionError> {
        RowHashes::of(schema, (0..schema.fields().len()).collect())
    }

    /// One for each row.
    pub(in crate::snapshot) fn read(&self, batch: &RecordBatch) -> Result<Vec<u128>, DataFusionError> {
        let columns: Vec<_> = self.columns.iter().map(|i| Arc::clone(batch.column(*i))).collect();
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| XxHash3_128::oneshot(row.as_ref())).collect())
    }
}

/// How many rows there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct RowSum {
    pub(in crate::snapshot) rows: u64,
    sum: u128,
}

impl RowSum {
    /// Adds the rows of a batch.
    pub(in crate::snapshot) fn add(&mut self, hashes: &RowHashes, batch: &RecordBatch) -> Result<(), DataFusionError> {
        for hash in hashes.read(batch)? {
            self.rows += 1;
            self.sum = self.sum.wrapping_add(hash);
        }
        Ok(())
    }
}
