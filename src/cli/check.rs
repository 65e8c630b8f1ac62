//! `koh check`: is all that is kept sound, and if not, what to do.
//!
//! Invariant: exit code 0 only when everything was looked at and is as it should be; 1 when something is wrong, 2 when nothing could be
//! looked at. What was found goes to standard output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use super::ask::{self, HubArgs};
use super::backup::in_words;
use super::{foreign, say};
use crate::backup::{BackupError, Place};
use crate::runtime::check_directory;

/// Options of `koh check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// Check this data directory, which no hub has open, instead of asking a hub.
    #[arg(long, env = "KOH_CHECK_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Check this backup instead.
    #[arg(long, env = "KOH_CHECK_BACKUP", value_name = "FILE|URL", conflicts_with = "data")]
    backup: Option<PathBuf>,
    /// Where backups lie: if the store is damaged, the newest good one of them is named.
    #[arg(long, env = "KOH_BACKUP_DIR", value_name = "DIR|URL")]
    backup_dir: Option<PathBuf>,
}

/// What a check found, here or in a hub.
#[derive(Debug, Deserialize)]
struct Found {
    check: String,
    ok: bool,
    detail: String,
}

impl CheckArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let CheckArgs { hub, data, backup, backup_dir } = self;
        let found = match (data, backup) {
            (Some(data), _) => directory(&data, backup_dir.as_deref()),
            (None, Some(file)) => of_backup(&file),
            (None, None) => ask::block_on(ask_hub(&hub)),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                say::note(format_args!("koh: {error:#}"));
                return Ok(ExitCode::from(2));
            }
        };
        for Found { check, ok, detail } in &found {
            let word = if *ok { "ok" } else { "FAILED" };
            say::out(format_args!("{word:6}  {:8}  {}\n", foreign::clean(check), foreign::clean(detail)))?;
        }
        Ok(if found.iter().all(|f| f.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn directory(data: &Path, backups: Option<&Path>) -> anyhow::Result<Vec<Found>> {
    let backups = backups.map(Place::parse).transpose().context("--backup-dir")?;
    let found = check_directory(data, backups.as_ref())?;
    Ok(found.into_iter().map(|f| Found { check: f.check.to_owned(), ok: f.ok, detail: f.detail }).collect())
}

fn of_backup(backup: &Path) -> anyhow::Result<Vec<Found>> {
    let (ok, detail) = match Place::parse(backup)?.verify() {
        Ok(whole) => (true, in_words(&whole)),
        Err(error @ BackupError::Io { .. }) => return Err(error.into()),
        Err(error) => (false, error.to_string()),
    };
    Ok(vec![Found { check: "backup".to_owned(), ok, detail }])
}

async fn ask_hub(hub: &HubArgs) -> anyhow::Result<Vec<Found>> {
    // It takes as long as it takes: the answer begins when all is read.
    let client = hub.builder()?.connect_timeout(hub.request_timeout).build()?;
    let answer = hub.send(client.get(hub.at("/api/v1/check", &[] as &[(&str, String)])?)).await?;
    Ok(answer.json().await?)
}
