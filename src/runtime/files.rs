//! SQL straight from the files of a data directory, without a server.
//!
//! Invariant: reads only; the ledger's file is not touched, so that a running hub is not disturbed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures::TryStreamExt;

use super::exports::export_directory;
use crate::model::Micros;
use crate::query::{Engine, Format, Limits, Statement};
use crate::snapshot;

/// What the files of an export say.
#[derive(Debug)]
pub struct FileAnswer {
    /// The rows.
    pub bytes: Vec<u8>,
    /// Everything up to this instant is in them.
    pub as_of: Micros,
}

/// Runs one statement over the last export in a data directory, or over an export that was copied elsewhere.
pub fn sql_over_files(directory: &Path, sql: String, format: Format) -> anyhow::Result<FileAnswer> {
    let export = export_directory(directory);
    let directory = if export.is_dir() { &export } else { directory };
    // Asked before the files are opened: they may be newer by the time they are, never older.
    let as_of = snapshot::exported_at(directory)?;
    let catalog = snapshot::open_export(directory)?;
    let engine = Engine::new(Limits::default())?;
    let threads =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    threads.block_on(async {
        let output = engine.run(Arc::new(catalog), Statement::new(sql), format).await?;
        let pieces: Vec<bytes::Bytes> = output.body.try_collect().await?;
        Ok(FileAnswer { bytes: pieces.concat(), as_of })
    })
}
