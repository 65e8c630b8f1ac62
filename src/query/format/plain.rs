//! Column types as they leave the hub: dictionaries and views become plain text, nested values stay for the encoders.
//!
//! Invariant: names are unique, so that an object can hold a row.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::error::QueryError;

/// The schema of answers with rows of `schema`.
pub(in super::super) fn plain_schema(schema: &Schema) -> Result<SchemaRef, QueryError> {
    let mut names = HashSet::new();
    for field in schema.fields() {
        if !names.insert(field.name()) {
            return Err(QueryError::invalid(
                format!("Two columns of the answer are called {}", field.name()),
                "Rename one with AS: a row is an object, and its names must differ.",
            ));
        }
    }
    let fields: Vec<Field> =
        schema.fields().iter().map(|f| Field::new(f.name(), plain_type(f.data_type()), f.is_nullable())).collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

/// A batch with the columns of `schema`.
pub(in super::super) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|e| QueryError::internal(&e))?;
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|e| QueryError::internal(&e))
}
