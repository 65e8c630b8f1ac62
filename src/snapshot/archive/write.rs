//! Writing files of the archive: each is written beside its place, made durable, read back, and then named by its checksum.
//!
//! Invariant: a file of a period holds every row that was in the files before it, and every row that is in memory and not in these; the
//! rows that are read back are the rows that were written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::common::DataFusionError;
use datafusion::parquet::arrow::ArrowWriter;
use hashbrown::HashSet;

use super::super::export::days::{self, GATHER, PIECE, Print};
use super::super::export::durable::Durable;
use super::super::export::opened::Opened;
use super::super::export::period::{Period, day_of};
use super::super::export::rows::{RowHashes, RowSum};
use super::super::export::sum::sum_of;
use super::super::export::{self, Dated, ExportError};
use super::super::scan::Builder;
use super::manifest::ArchivedFile;
use super::{Archives, TableSchema, part};

/// Brings the files of a table to all rows before the day `closed`; gives them, and how many were written.
pub(super) fn write<R: Archives>(
    disk: &Durable,
    known: &[ArchivedFile],
    rows: &R,
    closed: i64,
) -> Result<(Vec<ArchivedFile>, usize), ExportError> {
    let mut left: BTreeMap<i64, Print> = days::days(disk, rows, R::identity)?;
    left.retain(|day, _| *day < closed);
    // A period has to be looked at where there is a row of it, in memory or in a file.
    let mut all = left.clone();
    for day in known.iter().flat_map(|f| f.days.0..f.days.1) {
        all.entry(day).or_default();
    }
    let mut files = Vec::new();
    let mut dirty = Vec::new();
    let mut waiting = 0;
    let mut written = 0;
    for (period, _) in days::periods(&all, closed) {
        let print = sum(left.range(period.days.clone()).map(|(_, print)| *print));
        let before: Vec<&ArchivedFile> = known.iter().filter(|f| period.days.contains(&f.days.0)).collect();
        let whole = (period.days.start, period.days.end);
        match before.as_slice() {
            [one] if one.days == whole && one.left == (print.rows, print.sum) => {
                files.push((*one).clone());
                continue;
            }
            _ => {}
        }
        if waiting + print.rows > GATHER as u64 && !dirty.is_empty() {
            written += finish(disk, rows, std::mem::take(&mut dirty), &mut files)?;
            waiting = 0;
        }
        waiting += print.rows;
        dirty.push(Dirty::new(disk, rows, period, print, &before, R::IDENTITY)?);
    }
    written += finish(disk, rows, dirty, &mut files)?;
    files.sort_by_key(|f| f.days);
    Ok((files, written))
}

fn sum(prints: impl Iterator<Item = Print>) -> Print {
    prints.fold(Print::default(), |a, b| Print { rows: a.rows + b.rows, sum: a.sum.wrapping_add(b.sum) })
}

/// Gathers the rows of some periods in one pass, and writes their files.
fn finish<R: Dated>(
    disk: &Durable,
    rows: &R,
    mut dirty: Vec<Dirty<R>>,
    files: &mut Vec<ArchivedFile>,
) -> Result<usize, ExportError> {
    let mut gathered = 0;
    for chunk in 0..if dirty.is_empty() { 0 } else { rows.chunks() } {
        disk.go_on()?;
        for row in rows.chunk(chunk) {
            let Some(day) = rows.instant(&row).map(day_of) else { continue };
            let next = dirty.partition_point(|d| d.period.days.end <= day);
            if let Some(found) = dirty.get_mut(next).filter(|d| d.period.days.contains(&day)) {
                found.gathered.push(row);
                gathered += 1;
            }
        }
        if gathered >= GATHER {
            dirty.iter_mut().try_for_each(|d| d.flush(disk, rows))?;
            gathered = 0;
        }
    }
    let written = dirty.len();
    for mut one in dirty {
        one.flush(disk, rows)?;
        files.push(one.finish(disk)?);
    }
    Ok(written)
}

/// A period whose file is to be written.
struct Dirty<R: Dated> {
    period: Period,
    left: Print,
    table: &'static TableSchema,
    /// What it is called while it is written.
    path: String,
    writer: ArrowWriter<BufWriter<File>>,
    builder: Builder<R>,
    identity: RowHashes,
    /// The rows of the files before it.
    there: HashSet<u128>,
    all: RowHashes,
    written: RowSum,
    gathered: Vec<R::Row>,
}

impl<R: Dated> Dirty<R> {
    fn new(
        disk: &Durable,
        rows: &R,
        period: Period,
        left: Print,
        before: &[&ArchivedFile],
        identity: &[&'static str],
    ) -> Result<Dirty<R>, ExportError> {
        let table = rows.table();
        let schema = table.arrow();
        let path = format!("{}/{}/writing.parquet", table.name, period.folder());
        let wrong = |e: DataFusionError| format_error(disk, &path, &e);
        let columns: Vec<usize> =
            identity.iter().filter_map(|name| table.columns.iter().position(|c| c.name == *name)).collect();
        let builder = Builder::all(&schema, table).map_err(wrong)?;
        let identity = RowHashes::of(&schema, columns).map_err(wrong)?;
        let all = RowHashes::whole(&schema).map_err(wrong)?;
        let properties = days::properties(table);
        let writer = ArrowWriter::try_new(disk.begin(&path)?, schema, Some(properties)).map_err(|e| wrong(e.into()))?;
        let mut one = Dirty {
            period,
            left,
            table,
            path: path.clone(),
            writer,
            builder,
            identity,
            there: HashSet::new(),
            all,
            written: RowSum::default(),
            gathered: Vec::new(),
        };
        for file in before {
            file.verify(disk.dir())?;
            for batch in scan(table, disk, &file.file) {
                disk.go_on()?;
                let batch = batch.map_err(wrong)?;
                if left.rows > 0 {
                    one.there.extend(one.identity.read(&batch).map_err(wrong)?);
                }
                one.put(disk, &batch)?;
            }
        }
        Ok(one)
    }

    fn put(&mut self, disk: &Durable, batch: &RecordBatch) -> Result<(), ExportError> {
        let wrong = |e: DataFusionError| format_error(disk, &self.path, &e);
        self.written.add(&self.all, batch).map_err(wrong)?;
        self.writer.write(batch).map_err(|e| wrong(e.into()))
    }

    /// Writes the rows in memory that are in no file yet.
    fn flush(&mut self, disk: &Durable, rows: &R) -> Result<(), ExportError> {
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.sort_by_key(|row| rows.instant(row));
        for piece in gathered.chunks(PIECE) {
            let path = self.path.clone();
            let wrong = |e: DataFusionError| format_error(disk, &path, &e);
            let mut batch = self.builder.build(rows, piece).map_err(wrong)?;
            if !self.there.is_empty() {
                let known = self.identity.read(&batch).map_err(wrong)?;
                let new: BooleanArray = known.iter().map(|hash| Some(!self.there.contains(hash))).collect();
                batch = filter_record_batch(&batch, &new).map_err(|e| wrong(e.into()))?;
            }
            self.put(disk, &batch)?;
        }
        Ok(())
    }

    /// Makes it durable, reads it back, and names it.
    fn finish(self, disk: &Durable) -> Result<ArchivedFile, ExportError> {
        let Dirty { period, left, table, path, writer, all, written, .. } = self;
        let file = writer.into_inner().map_err(|e| format_error(disk, &path, &e.into()))?;
        disk.finish(&path, file)?;
        let (place, lost) = (disk.dir().join(&path), |e: std::io::Error| format_error(disk, &path, &e.into()));
        let sum = sum_of(&place).map_err(lost)?;
        let xxh3 = sum.text();
        let mut file = export::manifest::File::history(path.clone(), written.rows, &period);
        file.bytes = sum.bytes();
        let mut back = RowSum::default();
        for batch in scan(table, disk, &file) {
            batch.and_then(|batch| back.add(&all, &batch)).map_err(|e| format_error(disk, &path, &e))?;
        }
        if back != written {
            let what = format!("{} rows were written, and {} or others were read back", written.rows, back.rows);
            return Err(ExportError::Archive { path: place.display().to_string(), what });
        }
        file.path = format!("{}/{}/{xxh3}.parquet", table.name, period.folder());
        disk.rename(&path, &file.path)?;
        Ok(ArchivedFile { file, days: (period.days.start, period.days.end), xxh3, left: (left.rows, left.sum) })
    }
}

fn scan(table: &'static TableSchema, disk: &Durable, file: &export::manifest::File) -> crate::query::Batches {
    let opened = Opened { table, schema: table.arrow(), files: vec![part(disk.dir(), file)] };
    let all: Vec<usize> = (0..table.columns.len()).collect();
    crate::query::Table::scan(&opened, 0, &all)
}

fn format_error(disk: &Durable, path: &str, error: &DataFusionError) -> ExportError {
    ExportError::Archive { path: disk.dir().join(path).display().to_string(), what: error.to_string() }
}
