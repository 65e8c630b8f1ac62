//! `koh check`: is all that is kept sound, and if not, what to do.
//!
//! Invariant: exit code 0 only when everything was looked at and is as it should be; 1 when something is wrong, 2 when nothing could be
//! looked at. What was found goes to standard output.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::header::ACCEPT_ENCODING;
use serde::Deserialize;

use super::ask::{self, HubArgs};
use super::backup::in_words;
use super::progress::Progress;
use super::{foreign, say};
use crate::backup::{BackupError, Place};
use crate::runtime::{CHECKS, Finding, check_directory};

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
        let mut told = Told::new();
        let looked = match (data, backup) {
            (Some(data), _) => directory(&data, backup_dir.as_deref(), &mut told),
            (None, Some(file)) => of_backup(&file, &mut told),
            (None, None) => ask::block_on(ask_hub(&hub, &mut told)),
        };
        told.finish();
        if let Err(error) = looked {
            say::note(format_args!("koh: {error:#}"));
            return Ok(ExitCode::from(2));
        }
        Ok(if told.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What was found so far, told as it is found; on a terminal a line below says what is looked at.
struct Told {
    bar: Option<ProgressBar>,
    found: usize,
    sound: bool,
}

impl Told {
    fn new() -> Told {
        Told { bar: None, found: 0, sound: true }
    }

    /// Several things are looked at, and this is the first.
    fn begin(&mut self) {
        self.bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} looking at {msg}, {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        self.next();
    }

    fn next(&mut self) {
        match (CHECKS.get(self.found), &self.bar) {
            (Some(next), Some(bar)) => bar.set_message(format!("{next} ({} of {})", self.found + 1, CHECKS.len())),
            _ => self.finish(),
        }
    }

    fn tell(&mut self, Found { check, ok, detail }: Found) -> std::io::Result<()> {
        let word = if ok { "ok" } else { "FAILED" };
        let line = format!("{word:6}  {:8}  {}\n", foreign::clean(&check), foreign::clean(&detail));
        match &self.bar {
            Some(bar) => bar.suspend(|| say::out(line))?,
            None => say::out(line)?,
        }
        self.sound &= ok;
        self.found += 1;
        self.next();
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn directory(data: &Path, backups: Option<&Path>, told: &mut Told) -> anyhow::Result<()> {
    let backups = backups.map(Place::parse).transpose().context("--backup-dir")?;
    told.begin();
    let mut written = Ok(());
    // What the storage engine stumbles over is a finding, and told as one.
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("redb-")) {
            others(panic);
        }
    }));
    check_directory(data, backups.as_ref(), &mut |found| {
        let Finding { check, ok, detail } = found;
        let told = told.tell(Found { check: check.to_owned(), ok, detail });
        if written.is_ok() {
            written = told;
        }
    })?;
    Ok(written?)
}

fn of_backup(backup: &Path, told: &mut Told) -> anyhow::Result<()> {
    let place = Place::parse(backup)?;
    let mut progress = Progress::new("read");
    let whole = place.verify(&mut |bytes, left| progress.at(bytes, left));
    progress.finish();
    let (ok, detail) = match whole {
        Ok(whole) => (true, in_words(&whole)),
        Err(error @ BackupError::Io { .. }) => return Err(error.into()),
        Err(error) => (false, error.to_string()),
    };
    Ok(told.tell(Found { check: "backup".to_owned(), ok, detail })?)
}

async fn ask_hub(hub: &HubArgs, told: &mut Told) -> anyhow::Result<()> {
    // It takes as long as it takes: each finding comes when it is known, on a line of its own.
    let client = hub.builder()?.connect_timeout(hub.request_timeout).build()?;
    let request = client.get(hub.at("/api/v1/check", &[] as &[(&str, String)])?);
    let mut answer = hub.send(request.header(ACCEPT_ENCODING, "identity")).await?;
    told.begin();
    let mut text = Vec::new();
    loop {
        let piece = answer.chunk().await.context(BROKE_OFF)?;
        text.extend_from_slice(piece.as_deref().unwrap_or_default());
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match line.trim_ascii() {
                b"[" => {}
                b"]" => return Ok(()),
                row => {
                    let row = serde_json::from_slice(row.strip_prefix(b",").unwrap_or(row));
                    told.tell(row.context("the hub answers in another way than this koh knows")?)?;
                }
            }
        }
        anyhow::ensure!(piece.is_some(), BROKE_OFF);
    }
}

const BROKE_OFF: &str = "the answer broke off; not everything was looked at";
