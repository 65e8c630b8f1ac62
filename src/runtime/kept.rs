//! Which generations are in memory and which exports are on disk: what is behind `system.snapshots`.
//!
//! Invariant: this only looks; a generation that nobody reads any more is gone, whatever is remembered of it here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::model::Micros;
use crate::query::Catalog;
use crate::snapshot::export::manifest::Exported;
use crate::snapshot::{Archive, Cell, Generation, parts_of};

/// The generations and exports there are.
#[derive(Debug, Default)]
pub(super) struct Kept {
    directory: OnceLock<PathBuf>,
    generations: Mutex<Vec<Taken>>,
    export: Mutex<Option<Arc<Exported>>>,
    archive: Mutex<Option<Arc<Archive>>>,
    failed_exports: AtomicU64,
    exports: Exports,
}

/// Exports since the start.
#[derive(Debug)]
pub struct Exports {
    /// How long each took, in seconds.
    pub durations: Histogram,
    /// Those that failed.
    pub failures: Counter,
}

impl Default for Exports {
    fn default() -> Exports {
        Exports { durations: Histogram::new([0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]), failures: Counter::default() }
    }
}

#[derive(Clone, Debug)]
struct Taken {
    id: String,
    seq: u64,
    taken_at: Micros,
    catalog: Weak<Catalog>,
}

/// What is known of the files of one table in one export.
#[derive(Default)]
struct Files {
    rows: Option<u64>,
    files: usize,
    bytes: u64,
    days: Option<(String, String)>,
}

impl Files {
    fn add(&mut self, bytes: u64, day: Option<&str>) {
        self.files += 1;
        self.bytes += bytes;
        let Some(day) = day else { return };
        match &mut self.days {
            Some((first, last)) => {
                if day < first.as_str() {
                    *first = day.to_owned();
                }
                if day > last.as_str() {
                    *last = day.to_owned();
                }
            }
            None => self.days = Some((day.to_owned(), day.to_owned())),
        }
    }
}

impl Kept {
    /// A generation was taken.
    pub(super) fn took(&self, generation: &Generation, catalog: &Arc<Catalog>) {
        let Generation { id, seq, taken_at, .. } = generation;
        let mut all = self.generations.lock();
        all.retain(|g| g.catalog.strong_count() > 0);
        all.push(Taken { id: id.clone(), seq: *seq, taken_at: *taken_at, catalog: Arc::downgrade(catalog) });
    }

    /// Exports go there, from now on.
    pub(super) fn exports_go_to(&self, directory: &Path) {
        // It is told once, at the start.
        let _ = self.directory.set(directory.to_owned());
    }

    /// Where exports go, where there are any.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.get().map(PathBuf::as_path)
    }

    /// This export is on disk now.
    pub(super) fn exported(&self, export: Exported) {
        *self.export.lock() = Some(Arc::new(export));
    }

    /// This is archived now.
    pub(super) fn archived(&self, archive: Archive) {
        *self.archive.lock() = Some(Arc::new(archive));
    }

    /// What is archived.
    pub(super) fn archive(&self) -> Option<Arc<Archive>> {
        self.archive.lock().clone()
    }

    /// Size of all files of exports, also of those that are about to go.
    pub(super) fn export_bytes(&self) -> u64 {
        let export = self.export.lock();
        let files = |e: &Arc<Exported>| {
            let files = e.tables.iter().flat_map(|t| &t.files).filter(|f| !f.path.starts_with(".."));
            files.map(|f| f.bytes).chain(e.superseded.iter().map(|s| s.bytes)).sum()
        };
        export.as_ref().map_or(0, files)
    }

    /// An export ended, well or not.
    pub(super) fn ended(&self, well: bool) {
        match well {
            true => self.failed_exports.store(0, Ordering::Relaxed),
            false => _ = self.failed_exports.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How many exports failed since one went well.
    pub(super) fn failed_exports(&self) -> u64 {
        self.failed_exports.load(Ordering::Relaxed)
    }

    /// The sequence that the newest export shows, and when it was taken.
    pub(super) fn newest_export(&self) -> Option<(u64, Micros)> {
        self.export.lock().as_ref().map(|export| (export.seq, Micros(export.taken_at)))
    }

    /// Exports in numbers.
    pub(super) fn exports(&self) -> &Exports {
        &self.exports
    }

    /// The rows of `system.snapshots`, when the ledger is at `reached`.
    pub(super) fn rows(&self, reached: u64) -> Vec<Vec<Cell<'static>>> {
        let mut rows = Vec::new();
        let taken = self.generations.lock().clone();
        let held = taken.iter().filter_map(|g| Some((g, g.catalog.upgrade()?)));
        let newest = taken.last().map(|g| g.id.clone());
        for (g, catalog) in held {
            for (table, count) in catalog.counts() {
                let files = Files { rows: count.map(|n| n as u64), ..Files::default() };
                let newest = newest.as_ref() == Some(&g.id);
                rows.push(row("generation", (&g.id, g.seq, g.taken_at), reached, newest, table, files));
            }
        }
        let export = self.export.lock().clone();
        if let Some(export) = &export {
            let of = (export.generation.as_str(), export.seq, Micros(export.taken_at));
            for table in &export.tables {
                let mut files = Files { rows: Some(table.files.iter().map(|f| f.rows).sum()), ..Files::default() };
                table.files.iter().for_each(|f| files.add(f.bytes, f.first_day().as_deref()));
                rows.push(row("export", of, reached, true, &table.name, files));
            }
            let mut earlier: BTreeMap<(&str, &str), Files> = BTreeMap::new();
            for file in &export.superseded {
                let table = file.path.split('/').nth(1).unwrap_or_default();
                let day =
                    file.path.split('/').find_map(|part| part.strip_prefix("day=").or(part.strip_prefix("month=")));
                earlier.entry((&file.generation, table)).or_default().add(file.bytes, day);
            }
            for ((id, table), files) in earlier {
                if let Some((_, seq, taken_at)) = parts_of(id) {
                    rows.push(row("export", (id, seq, taken_at), reached, false, table, files));
                }
            }
        }
        rows
    }
}

fn row(
    kind: &'static str,
    (id, seq, taken_at): (&str, u64, Micros),
    reached: u64,
    newest: bool,
    table: &str,
    files: Files,
) -> Vec<Cell<'static>> {
    let number = |n: u64| Cell::Number(i64::try_from(n).unwrap_or(i64::MAX));
    let (first, last) = files.days.unzip();
    let text = |day: Option<String>| day.map_or(Cell::Null, Cell::Made);
    vec![
        Cell::Text(kind),
        Cell::Made(id.to_owned()),
        number(seq),
        number(reached.saturating_sub(seq)),
        Cell::time(taken_at),
        Cell::Flag(newest),
        Cell::Made(table.to_owned()),
        files.rows.map_or(Cell::Null, number),
        number(files.files as u64),
        if kind == "export" { number(files.bytes) } else { Cell::Null },
        text(first),
        text(last),
    ]
}
