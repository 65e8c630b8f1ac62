//! Reads an export without a server: the same tables and views, over files.
//!
//! Invariant: only what the manifest names is read; files are opened when a statement scans them.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ExportError;
use super::manifest::{Form, Manifest};
use crate::model::Micros;
use crate::plain_file;
use crate::query::{Batches, Catalog, Table};
use crate::snapshot::generation::catalog;
use crate::snapshot::schema::{TABLES, TableSchema};

/// How many partitions a table is scanned in, at most.
const PARTITIONS: usize = 4;
/// Rows per batch.
const PIECE: u32 = 8192;

/// Opens the newest export of a directory.
pub fn open_export(dir: &Path) -> Result<Catalog, ExportError> {
    let missing = || ExportError::Missing { path: dir.display().to_string() };
    let manifest = Manifest::load(dir)?.ok_or_else(missing)?.into_current();
    let mut tables: Vec<Arc<dyn Table>> = Vec::new();
    for table in TABLES {
        let files = manifest.tables.iter().find(|t| t.name == table.name).map(|t| &t.files);
        let detail = || format!("it has no table {}", table.name);
        let files = files.ok_or_else(|| ExportError::Version { path: dir.display().to_string(), detail: detail() })?;
        let files = files.iter().map(|f| Part { path: dir.join(&f.path), form: f.form, rows: f.rows as usize });
        let opened = Opened { table, schema: table.arrow(), files: files.collect() };
        opened.check()?;
        tables.push(Arc::new(opened));
    }
    Ok(catalog(tables))
}

/// The instant of which the newest export of a directory tells.
pub fn exported_at(dir: &Path) -> Result<Micros, ExportError> {
    let missing = || ExportError::Missing { path: dir.display().to_string() };
    Ok(Micros(Manifest::load(dir)?.ok_or_else(missing)?.into_current().taken_at))
}

/// A file of rows.
#[derive(Clone, Debug)]
pub(in crate::snapshot) struct Part {
    pub(in crate::snapshot) path: PathBuf,
    pub(in crate::snapshot) form: Form,
    pub(in crate::snapshot) rows: usize,
}

/// A table over files.
#[derive(Debug)]
pub(in crate::snapshot) struct Opened {
    pub(in crate::snapshot) table: &'static TableSchema,
    pub(in crate::snapshot) schema: SchemaRef,
    pub(in crate::snapshot) files: Vec<Part>,
}

impl Opened {
    /// Files of another version may have other columns: said once at the start rather than in the middle of an answer.
    fn check(&self) -> Result<(), ExportError> {
        let Some(part) = self.files.last() else { return Ok(()) };
        let found = part
            .schema()
            .map_err(|e| ExportError::Format { path: part.path.display().to_string(), error: e.to_string() })?;
        let plain = |f: &Field| match f.data_type() {
            DataType::Dictionary(_, text) => f.clone().with_data_type(text.as_ref().clone()),
            _ => f.clone(),
        };
        if !found.fields().iter().map(|f| plain(f)).eq(self.schema.fields().iter().map(|f| f.as_ref().clone())) {
            let detail = format!("the columns of {} differ", self.table.name);
            return Err(ExportError::Version { path: part.path.display().to_string(), detail });
        }
        Ok(())
    }
}

impl Table for Opened {
    fn name(&self) -> &str {
        self.table.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        self.files.len().clamp(1, PARTITIONS)
    }

    fn scan(&self, partition: usize, projection: &[usize]) -> Batches {
        let n = self.partitions();
        let (files, columns) = (self.files.len(), projection.to_vec());
        let parts = self.files[files * partition / n..files * (partition + 1) / n].to_vec();
        let schema = match self.schema.project(projection) {
            Ok(schema) => Arc::new(schema),
            Err(e) => return Box::new(std::iter::once(Err(e.into()))),
        };
        Box::new(parts.into_iter().flat_map(move |part| part.read(&columns, &schema)))
    }

    fn rows(&self) -> Option<usize> {
        Some(self.files.iter().map(|f| f.rows).sum())
    }
}

impl Part {
    fn schema(&self) -> Result<SchemaRef, DataFusionError> {
        let file = plain_file::open(&self.path)?;
        Ok(match self.form {
            Form::Arrow => FileReader::try_new(BufReader::new(file), None)?.schema(),
            Form::Parquet => Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file)?.schema()),
        })
    }

    fn read(&self, columns: &[usize], schema: &SchemaRef) -> Batches {
        if columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
            let counted = RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options);
            return Box::new(std::iter::once(counted.map_err(Into::into)));
        }
        self.batches(columns, schema).unwrap_or_else(|e| {
            let named = e.context(format!("reading {}", self.path.display()));
            Box::new(std::iter::once(Err(named)))
        })
    }

    fn batches(&self, columns: &[usize], schema: &SchemaRef) -> Result<Batches, DataFusionError> {
        let file = plain_file::open(&self.path)?;
        Ok(match self.form {
            Form::Arrow => {
                let (ascending, arrange) = arrange(columns.iter().map(|c| Some(*c)).collect(), Arc::clone(schema));
                let reader = FileReader::try_new_buffered(file, Some(ascending))?;
                Box::new(reader.flat_map(move |b| pieces(b.map_err(Into::into).and_then(&arrange))))
            }
            Form::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(PIECE as usize);
                // The archive keeps files of every koh that ever wrote one, also of those that knew fewer columns.
                let found = |field: &Arc<Field>| builder.schema().index_of(field.name()).ok();
                let (ascending, arrange) = arrange(schema.fields().iter().map(found).collect(), Arc::clone(schema));
                let mask = ProjectionMask::roots(builder.parquet_schema(), ascending);
                let reader = builder.with_projection(mask).build()?;
                Box::new(reader.map(move |b| arrange(b?)))
            }
        })
    }
}

/// Readers give the columns in the order of the file: which of them to ask for, and how to put what comes in the order wanted. A
/// column that a file does not have is null.
fn arrange(
    wanted: Vec<Option<usize>>,
    schema: SchemaRef,
) -> (Vec<usize>, impl Fn(RecordBatch) -> Result<RecordBatch, DataFusionError>) {
    let mut ascending: Vec<usize> = wanted.iter().flatten().copied().collect();
    ascending.sort_unstable();
    ascending.dedup();
    let order: Vec<Option<usize>> = wanted.iter().map(|c| c.and_then(|c| ascending.binary_search(&c).ok())).collect();
    let arrange = move |batch: RecordBatch| {
        let arrays = order.iter().zip(schema.fields()).map(|(place, field)| match place {
            Some(place) => cast(batch.column(*place), field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), arrays.collect::<Result<_, _>>()?, &options)?)
    };
    (ascending, arrange)
}

/// Cuts the one batch of an Arrow file. Its columns are slices of one buffer, and each would be accounted as all of it: the
/// pieces are copies with buffers of their own.
fn pieces(batch: Result<RecordBatch, DataFusionError>) -> Vec<Result<RecordBatch, DataFusionError>> {
    let batch = match batch {
        Ok(batch) => batch,
        Err(e) => return vec![Err(e)],
    };
    let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
    let piece = |from: u32| {
        let rows = UInt32Array::from_iter_values(from..rows.min(from.saturating_add(PIECE)));
        take_record_batch(&batch, &rows).map_err(Into::into)
    };
    (0..rows).step_by(PIECE as usize).map(piece).collect()
}
