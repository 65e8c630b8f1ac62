//! What statements may take, and where they may spill.
//!
//! Invariant: every limit is finite; the spill directory belongs to the engine alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};

/// Spilled runs that one merge reads at a time, each with a batch in memory.
const MERGED_RUNS: usize = 16;

/// What statements may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From acceptance to the last byte.
    pub timeout: Duration,
    /// Statements that run at the same time.
    pub concurrency: usize,
    /// Statements that wait for a slot; more are told to come back.
    pub queue: usize,
    /// Bytes one statement may reserve, unless the catalog wants more.
    pub statement_memory: usize,
    /// Bytes all statements may reserve together, unless the catalog wants more.
    pub total_memory: usize,
    /// Where intermediate rows go that do not fit; none: such statements fail.
    pub spill: Option<PathBuf>,
    /// Bytes of all spilled rows together.
    pub spill_bytes: u64,
    /// Rows of a JSON answer.
    pub json_rows: usize,
    /// Rows of `Engine::rows`.
    pub rows: usize,
    /// Bytes of an answer.
    pub bytes: usize,
    /// Parallel streams within one statement.
    pub partitions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            timeout: Duration::from_secs(30),
            concurrency: 4,
            queue: 16,
            statement_memory: 96 * MIB,
            total_memory: 128 * MIB,
            spill: None,
            spill_bytes: 1024 * MIB as u64,
            json_rows: 50_000,
            rows: 100_000,
            bytes: 512 * MIB,
            partitions: 2,
        }
    }
}

impl Limits {
    /// Bytes that one statement may reserve, and all together, where a catalog wants so much for them.
    pub(super) fn memory(&self, wanted: usize) -> (usize, usize) {
        (self.statement_memory.max(wanted / 4 * 3), self.total_memory.max(wanted))
    }

    /// The files of intermediate rows.
    pub(super) fn disk(&self) -> std::io::Result<DiskManagerBuilder> {
        let Some(directory) = &self.spill else {
            return Ok(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled));
        };
        prepare_spill(directory)?;
        Ok(DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![directory.clone()]))
            .with_max_temp_directory_size(self.spill_bytes)
            .with_max_spill_merge_fan_in(MERGED_RUNS))
    }
}

/// The spill directory exists and holds nothing of an earlier, killed process.
fn prepare_spill(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("datafusion-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
