//! SQL straight from the files of a data directory, without a server.
//!
//! Invariant: reads only; the ledger's file is not touched, so that a running hub is not disturbed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures::TryStreamExt;

use super::background::export_directory;
use crate::query::{Engine, Format, Limits, Statement};
use crate::snapshot;

/// Runs one statement over the last export in a data directory, or over an export that was copied elsewhere.
pub fn sql_over_files(directory: &Path, sql: String, format: Format) -> anyhow::Result<Vec<u8>> {
    let export = export_directory(directory);
    let catalog = snapshot::open_export(if export.is_dir() { &export } else { directory })?;
    let engine = Engine::new(Limits::default())?;
    let threads =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    threads.block_on(async {
        let output = engine.run(Arc::new(catalog), Statement::new(sql), format).await?;
        let pieces: Vec<bytes::Bytes> = output.body.try_collect().await?;
        Ok(pieces.concat())
    })
}
