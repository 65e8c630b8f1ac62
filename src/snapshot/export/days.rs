//! History by day, and by month once a month is long over: which of them changed since the last export, and their files.
//!
//! Invariant: a fingerprint is a function of the rows, whatever their order; equal fingerprints mean equal files, so a period whose
//! fingerprint the last manifest knows is not written again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, Encoding, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::ColumnPath;
use twox_hash::XxHash3_128;

use super::ExportError;
use super::durable::{Durable, failed};
use super::manifest;
use super::period::{Period, day_of};
use super::sum::sum_of;
use crate::model::Micros;
use crate::query::{Batches, Table};
use crate::snapshot::scan::{Builder, Rows};
use crate::snapshot::schema::{Kind, TableSchema};

/// Rows that one pass over the table gathers, of as many days as have so few together: some tens of megabytes.
pub(in crate::snapshot) const GATHER: usize = 400_000;
/// Rows that are encoded at a time.
pub(in crate::snapshot) const PIECE: usize = 4096;
/// Days stay by themselves for so long after they are over; then late rows are rare, and many small files are slow to read.
const DAYS_APART: i64 = 35;

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
    fn export(&self, disk: &Durable, known: &[manifest::File], epoch: u64, now: Micros)
    -> Result<Written, ExportError>;
    fn open(&self) -> Arc<dyn Table>;
}

impl History {
    pub(super) fn of<R: Dated>(rows: R) -> History {
        History(Box::new(ByDay(Arc::new(rows))))
    }

    /// Writes the periods that changed, as of an instant.
    pub(super) fn export(
        &self,
        disk: &Durable,
        known: &[manifest::File],
        epoch: u64,
        now: Micros,
    ) -> Result<Written, ExportError> {
        self.0.export(disk, known, epoch, now)
    }

    /// The rows that are not history yet.
    pub(super) fn open(&self) -> Arc<dyn Table> {
        self.0.open()
    }
}

struct ByDay<R>(Arc<R>);

/// How many rows there are, and what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Print {
    pub(in crate::snapshot) rows: u64,
    pub(in crate::snapshot) sum: u64,
}

/// What the rows of each day are, by a hash of each.
pub(in crate::snapshot) fn days<R: Dated>(
    disk: &Durable,
    rows: &R,
    hash: impl Fn(&R, &R::Row) -> u64,
) -> Result<BTreeMap<i64, Print>, ExportError> {
    let mut days: BTreeMap<i64, Print> = BTreeMap::new();
    for chunk in 0..rows.chunks() {
        disk.go_on()?;
        for row in rows.chunk(chunk) {
            if let Some(at) = rows.instant(&row) {
                let print = days.entry(day_of(at)).or_default();
                print.rows += 1;
                print.sum = print.sum.wrapping_add(hash(rows, &row));
            }
        }
    }
    Ok(days)
}

/// The periods of days, in order; days from `closed` on stay by themselves, and so do those of its month.
pub(in crate::snapshot) fn periods(days: &BTreeMap<i64, Print>, closed: i64) -> Vec<(Period, Print)> {
    let mut periods: Vec<(Period, Print)> = Vec::new();
    for (day, print) in days {
        match periods.last_mut().filter(|(period, _)| period.days.contains(day)) {
            Some((_, all)) => {
                all.rows += print.rows;
                all.sum = all.sum.wrapping_add(print.sum);
            }
            None => periods.push((Period::of(*day, closed), *print)),
        }
    }
    periods
}

impl<R: Dated> ByDay<R> {
    /// Writes some periods in one pass over the rows; gives the size of each file. One file is open at a time, unless a period has
    /// more rows than are gathered.
    fn write(&self, disk: &Durable, mut days: Vec<Dirty<R>>) -> Result<Vec<manifest::File>, ExportError> {
        let mut gathered = 0;
        for chunk in 0..self.0.chunks() {
            disk.go_on()?;
            for row in self.0.chunk(chunk) {
                let Some(day) = self.0.instant(&row).map(day_of) else { continue };
                if let Some(i) = place(&days, day) {
                    days[i].gathered.push(row);
                    gathered += 1;
                }
            }
            if gathered >= GATHER {
                days.iter_mut().try_for_each(|d| d.flush(disk, &self.0))?;
                gathered = 0;
            }
        }
        let written = days.into_iter().map(|mut day| {
            day.flush(disk, &self.0)?;
            day.finish(disk)
        });
        written.collect()
    }
}

/// Which of some periods, that come in order, a day is in.
fn place<R: Dated>(dirty: &[Dirty<R>], day: i64) -> Option<usize> {
    let next = dirty.partition_point(|d| d.days.end <= day);
    dirty.get(next).filter(|d| d.days.contains(&day)).map(|_| next)
}

/// A period that is to be written.
struct Dirty<R: Dated> {
    days: Range<i64>,
    file: manifest::File,
    gathered: Vec<R::Row>,
    writer: Option<Writing<R>>,
}

impl<R: Dated> Dirty<R> {
    /// Encodes what was gathered, in order of time: neighbours then differ little, which is what makes the files small.
    fn flush(&mut self, disk: &Durable, rows: &R) -> Result<(), ExportError> {
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.sort_by_key(|row| rows.instant(row));
        let path = &self.file.path;
        let wrong = |error: String| format_error(disk, path, error);
        let (builder, writer) = match &mut self.writer {
            Some(open) => open,
            closed => closed.insert(open(disk, rows, path)?),
        };
        for piece in gathered.chunks(PIECE) {
            let batch = builder.build(rows, piece).map_err(|e| wrong(e.to_string()))?;
            writer.write(&batch).map_err(|e| wrong(e.to_string()))?;
        }
        Ok(())
    }

    fn finish(self, disk: &Durable) -> Result<manifest::File, ExportError> {
        let Dirty { mut file, writer, .. } = self;
        if let Some((_, writer)) = writer {
            let written = writer.into_inner().map_err(|e| format_error(disk, &file.path, e.to_string()))?;
            file.bytes = disk.finish(&file.path, written)?;
            let place = disk.dir().join(&file.path);
            file.checksum = Some(sum_of(&place).map_err(failed(&place))?.text());
        }
        Ok(file)
    }
}

type Writing<R> = (Builder<R>, ArrowWriter<BufWriter<File>>);

fn open<R: Dated>(disk: &Durable, rows: &R, path: &str) -> Result<Writing<R>, ExportError> {
    let wrong = |error: String| format_error(disk, path, error);
    let schema = rows.table().arrow();
    let builder = Builder::all(&schema, rows.table()).map_err(|e| wrong(e.to_string()))?;
    let file = disk.begin(path)?;
    let properties = properties(rows.table());
    let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| wrong(e.to_string()))?;
    Ok((builder, writer))
}

/// A hash of the columns a table has.
fn fingerprint(table: &TableSchema) -> u64 {
    let columns: Vec<&str> = table.columns.iter().flat_map(|c| [c.name, c.kind.word()]).collect();
    XxHash3_128::oneshot(columns.join("\0").as_bytes()) as u64
}

/// How the files are encoded. Dictionaries are for words and names; numbers and times are differences from one row to the next,
/// and ids are all different.
pub(in crate::snapshot) fn properties(table: &TableSchema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(128 * 1024));
    for column in table.columns {
        let path = ColumnPath::from(column.name);
        properties = match column.kind {
            Kind::Count | Kind::Time => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Kind::Text if column.name.ends_with("_id") => properties.set_column_dictionary_enabled(path, false),
            Kind::Text | Kind::Flag | Kind::Share => properties,
        };
    }
    properties.build()
}

fn format_error(disk: &Durable, path: &str, error: String) -> ExportError {
    ExportError::Format { path: disk.dir().join(path).display().to_string(), error }
}

impl<R: Dated> Exports for ByDay<R> {
    fn export(
        &self,
        disk: &Durable,
        known: &[manifest::File],
        epoch: u64,
        now: Micros,
    ) -> Result<Written, ExportError> {
        let table = self.0.table().name;
        let columns = fingerprint(self.0.table());
        let mut files = Vec::new();
        let (mut some, mut rows, mut written) = (Vec::new(), 0, 0);
        for (period, print) in periods(&days(disk, &*self.0, R::fingerprint)?, day_of(now) - DAYS_APART) {
            // Numbers inside rows mean something inside one epoch only, and another version of koh may have other columns.
            let sum = print.sum ^ columns;
            let folder = period.folder();
            let path = format!("history/{table}/{folder}/{epoch:x}-{:x}-{sum:016x}.parquet", print.rows);
            if let Some(file) = known.iter().find(|f| f.path == path) {
                files.push(file.clone());
                continue;
            }
            if rows + print.rows > GATHER as u64 && !some.is_empty() {
                files.extend(self.write(disk, std::mem::take(&mut some))?);
                rows = 0;
            }
            rows += print.rows;
            written += 1;
            let file = manifest::File::history(path, print.rows, &period);
            some.push(Dirty { days: period.days, file, gathered: Vec::new(), writer: None });
        }
        if !some.is_empty() {
            files.extend(self.write(disk, some)?);
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
