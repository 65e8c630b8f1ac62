//! Parquet answers.
//!
//! Invariant: a row group is closed at 64 Ki rows or 8 MiB, so memory stays bounded however long the answer.

use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use parking_lot::Mutex;

use super::super::error::QueryError;
use super::failed;

const GROUP_BYTES: usize = 8 * 1024 * 1024;
const GROUP_ROWS: usize = 64 * 1024;

/// Where the writer writes and the encoder takes.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A Parquet file in the making.
pub(in super::super) struct Parquet {
    sink: Sink,
    writer: ArrowWriter<Sink>,
}

impl Parquet {
    pub(super) fn new(schema: SchemaRef) -> Result<Parquet, QueryError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let sink = Sink::default();
        let writer = ArrowWriter::try_new(sink.clone(), schema, Some(properties)).map_err(failed)?;
        Ok(Parquet { sink, writer })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
        self.writer.write(batch).map_err(failed)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        Ok(self.sink.take())
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, QueryError> {
        self.writer.close().map_err(failed)?;
        Ok(self.sink.take())
    }
}
