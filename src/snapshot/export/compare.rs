//! Holds an export against the generation it is of.
//!
//! Invariant: every file that the manifest names is read to its end; rows are compared as a whole, whatever their order, and at most
//! one batch of either side is held.

use std::path::Path;

use datafusion::common::DataFusionError;

use super::manifest::{Exported, Manifest};
use super::rows::{RowHashes, RowSum};
use super::{ExportError, Generation, open_export};
use crate::query::Table;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// There is no export yet.
    None,
    /// Every file reads, but the export is of an earlier moment, or of another store, so that its rows say nothing about this one.
    Earlier {
        /// Its sequence.
        seq: u64,
        /// Whether it is of this store.
        same_store: bool,
    },
    /// All rows are those of the generation.
    Same {
        /// How many there are.
        rows: u64,
    },
    /// A table has other rows than the generation.
    Different {
        /// Tables, and how many rows they have in the export and in the ledger.
        tables: Vec<(String, u64, u64)>,
    },
}

/// Compares the newest export of a directory with the ledger; `generation` gives its tables as of the export's own instant, if the
/// export is of this store and of this sequence.
pub fn compare(
    dir: &Path,
    epoch: u64,
    generation: impl FnOnce(&Exported) -> Option<Generation>,
) -> Result<Compared, ExportError> {
    let Some(export) = Manifest::load(dir)?.map(Manifest::into_current) else { return Ok(Compared::None) };
    sound(dir, &export)?;
    let same_store = export.epoch == epoch;
    let files = open_export(dir)?;
    let Some(generation) = same_store.then(|| generation(&export)).flatten() else {
        for table in files.tables() {
            sum_of(table.as_ref(), dir)?;
        }
        return Ok(Compared::Earlier { seq: export.seq, same_store });
    };
    let (mut rows, mut different) = (0, Vec::new());
    let ledger = generation.tables();
    for table in files.tables() {
        let Some(other) = ledger.iter().find(|t| t.name() == table.name()) else { continue };
        let (kept, told) = (sum_of(table.as_ref(), dir)?, sum_of(other.as_ref(), dir)?);
        rows += kept.rows;
        if kept != told {
            different.push((table.name().to_owned(), kept.rows, told.rows));
        }
    }
    Ok(if different.is_empty() { Compared::Same { rows } } else { Compared::Different { tables: different } })
}

/// Sizes and checksums are those of the manifest.
fn sound(dir: &Path, export: &Exported) -> Result<(), ExportError> {
    export.tables.iter().flat_map(|t| &t.files).try_for_each(|file| file.whole(dir))
}

fn sum_of(table: &dyn Table, dir: &Path) -> Result<RowSum, ExportError> {
    let failed = |e: DataFusionError| ExportError::Format {
        path: format!("{}: table {}", dir.display(), table.name()),
        error: e.to_string(),
    };
    let schema = table.schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let hashes = RowHashes::whole(&schema).map_err(failed)?;
    let mut sum = RowSum::default();
    for batch in (0..table.partitions()).flat_map(|p| table.scan(p, &all)) {
        batch.and_then(|batch| sum.add(&hashes, &batch)).map_err(failed)?;
    }
    Ok(sum)
}
