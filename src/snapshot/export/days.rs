//! History by day: which days changed since the last export, and their files.
//!
//! Invariant: a day's fingerprint is a function of its rows, whatever their order; equal fingerprints mean equal files, so a
//! day whose fingerprint the last manifest knows is not written again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use super::ExportError;
use super::durable::Durable;
use super::manifest::{self, Form};
use crate::model::Micros;
use crate::query::{Batches, Table};
use crate::snapshot::scan::{Builder, Rows};

/// Days that are written in one pass over the rows: what is open at a time is buffered in memory.
const DAYS_AT_ONCE: usize = 16;
/// Rows that are gathered for a day before they are encoded.
const GATHER: usize = 4096;
const DAY: i64 = 86_400_000_000;

/// Rows that belong to a day.
pub(in crate::snapshot) trait Dated: Rows {
    /// The instant whose day the row belongs to; `None` while it is not history yet.
    fn instant(&self, row: &Self::Row) -> Option<Micros>;
    /// A hash of everything the row says.
    fn fingerprint(&self, row: &Self::Row) -> u64;
}

/// The files of a table's history.
pub(super) struct Written {
    pub(super) files: Vec<manifest::File>,
    pub(super) written: usize,
}

/// A table whose rows become history.
pub(super) struct History(Box<dyn Exports>);

trait Exports {
    fn export(&self, disk: &Durable, known: &[manifest::File], epoch: u64) -> Result<Written, ExportError>;
    fn open(&self) -> Arc<dyn Table>;
}

impl History {
    pub(super) fn of<R: Dated>(rows: R) -> History {
        History(Box::new(ByDay(Arc::new(rows))))
    }

    /// Writes the days that changed.
    pub(super) fn export(&self, disk: &Durable, known: &[manifest::File], epoch: u64) -> Result<Written, ExportError> {
        self.0.export(disk, known, epoch)
    }

    /// The rows that are not history yet.
    pub(super) fn open(&self) -> Arc<dyn Table> {
        self.0.open()
    }
}

struct ByDay<R>(Arc<R>);

#[derive(Default)]
struct Print {
    rows: u64,
    sum: u64,
}

fn day_of(at: Micros) -> i64 {
    at.0.div_euclid(DAY)
}

fn date(day: i64) -> String {
    let midnight = Micros(day.saturating_mul(DAY)).to_string();
    midnight.split('T').next().unwrap_or_default().to_owned()
}

impl<R: Dated> ByDay<R> {
    fn days(&self) -> BTreeMap<i64, Print> {
        let mut days: BTreeMap<i64, Print> = BTreeMap::new();
        for chunk in 0..self.0.chunks() {
            for row in self.0.chunk(chunk) {
                if let Some(at) = self.0.instant(&row) {
                    let print = days.entry(day_of(at)).or_default();
                    print.rows += 1;
                    print.sum = print.sum.wrapping_add(self.0.fingerprint(&row));
                }
            }
        }
        days
    }

    fn write(&self, disk: &Durable, days: &mut [Open<R>]) -> Result<(), ExportError> {
        for chunk in 0..self.0.chunks() {
            for row in self.0.chunk(chunk) {
                let Some(day) = self.0.instant(&row).map(day_of) else { continue };
                if let Ok(i) = days.binary_search_by_key(&day, |d| d.day) {
                    days[i].gathered.push(row);
                    if days[i].gathered.len() == GATHER {
                        days[i].flush(disk, &self.0)?;
                    }
                }
            }
        }
        days.iter_mut().try_for_each(|d| d.flush(disk, &self.0))
    }
}

struct Open<R: Dated> {
    day: i64,
    path: String,
    gathered: Vec<R::Row>,
    builder: Builder<R>,
    writer: ArrowWriter<BufWriter<File>>,
}

impl<R: Dated> Open<R> {
    fn new(disk: &Durable, rows: &R, day: i64, path: String) -> Result<Open<R>, ExportError> {
        let schema = rows.table().arrow();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(128 * 1024))
            .build();
        let wrong = |error: String| format_error(disk, &path, error);
        let builder = Builder::all(&schema, rows.table()).map_err(|e| wrong(e.to_string()))?;
        let file = disk.begin(&path)?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| wrong(e.to_string()))?;
        Ok(Open { day, path, gathered: Vec::new(), builder, writer })
    }

    fn flush(&mut self, disk: &Durable, rows: &R) -> Result<(), ExportError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let batch =
            self.builder.build(rows, &self.gathered).map_err(|e| format_error(disk, &self.path, e.to_string()))?;
        self.gathered.clear();
        self.writer.write(&batch).map_err(|e| format_error(disk, &self.path, e.to_string()))
    }

    fn finish(self, disk: &Durable) -> Result<u64, ExportError> {
        let path = self.path;
        let file = self.writer.into_inner().map_err(|e| format_error(disk, &path, e.to_string()))?;
        disk.finish(&path, file)
    }
}

fn format_error(disk: &Durable, path: &str, error: String) -> ExportError {
    ExportError::Format { path: disk.dir().join(path).display().to_string(), error }
}

impl<R: Dated> Exports for ByDay<R> {
    fn export(&self, disk: &Durable, known: &[manifest::File], epoch: u64) -> Result<Written, ExportError> {
        let table = self.0.table().name;
        let mut files = Vec::new();
        let mut dirty = Vec::new();
        for (day, print) in self.days() {
            let date = date(day);
            // Numbers inside rows mean something inside one epoch only.
            let path = format!("history/{table}/day={date}/{epoch:x}-{:x}-{:016x}.parquet", print.rows, print.sum);
            match known.iter().find(|f| f.path == path) {
                Some(file) => files.push(file.clone()),
                None => dirty.push((
                    day,
                    path,
                    manifest::File {
                        path: String::new(),
                        form: Form::Parquet,
                        rows: print.rows,
                        bytes: 0,
                        day: Some(date),
                    },
                )),
            }
        }
        let written = dirty.len();
        for some in dirty.chunks(DAYS_AT_ONCE) {
            let open = some.iter().map(|(day, path, _)| Open::new(disk, self.0.as_ref(), *day, path.clone()));
            let mut open = open.collect::<Result<Vec<_>, _>>()?;
            self.write(disk, &mut open)?;
            for (day, (_, path, file)) in open.into_iter().zip(some) {
                let bytes = day.finish(disk)?;
                files.push(manifest::File { path: path.clone(), bytes, ..file.clone() });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Written { files, written })
    }

    fn open(&self) -> Arc<dyn Table> {
        Arc::new(StillOpen { rows: Arc::clone(&self.0), schema: self.0.table().arrow() })
    }
}

/// The rows that are not history yet, as a table.
#[derive(Debug)]
struct StillOpen<R> {
    rows: Arc<R>,
    schema: SchemaRef,
}

impl<R: Dated> Table for StillOpen<R> {
    fn name(&self) -> &str {
        self.rows.table().name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        1
    }

    fn scan(&self, _: usize, projection: &[usize]) -> Batches {
        let builder = match Builder::<R>::new(&self.schema, self.rows.table(), projection) {
            Ok(builder) => builder,
            Err(e) => return Box::new(std::iter::once(Err(e))),
        };
        let rows = Arc::clone(&self.rows);
        let batches = (0..rows.chunks()).map(move |chunk| -> Result<RecordBatch, DataFusionError> {
            let mut open = rows.chunk(chunk);
            open.retain(|row| rows.instant(row).is_none());
            builder.build(&rows, &open)
        });
        Box::new(batches.filter(|b| !b.as_ref().is_ok_and(|b| b.num_rows() == 0)))
    }

    fn rows(&self) -> Option<usize> {
        None
    }
}
