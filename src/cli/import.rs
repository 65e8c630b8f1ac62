//! `koh import`: what another hub remembers, sent to this one as if it had been there.
//!
//! Invariant: everything goes through the ordinary road of pushes, with its own times and under one source, so that an import can be
//! repeated and says nothing new then. What could not be taken or cannot be told is said at the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::ask::{self, HubArgs};
use super::progress::Progress;
use super::{foreign, say};
use crate::sources::upstream::{Export, ImportError, Tally};

/// Lines of one request.
const BATCH: usize = 2_000;
/// Requests at once.
const AT_ONCE: usize = 2;
/// Refused statements that are told one by one.
const TOLD: usize = 10;

/// Options of `koh import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// The existing hub's Postgres tables, as CSV files of one directory.
    Upstream(UpstreamArgs),
}

/// Options of `koh import upstream`.
#[derive(Debug, Args)]
struct UpstreamArgs {
    /// Directory with a file TABLE.csv of each table, best with a header: \copy TABLE to 'TABLE.csv' csv header
    directory: PathBuf,
    #[command(flatten)]
    hub: HubArgs,
    /// Name under which what it says is filed.
    #[arg(long, env = "KOH_IMPORT_SOURCE", default_value = "upstream", value_name = "NAME")]
    source: String,
    /// Read everything and say what there is; send nothing.
    #[arg(long, env = "KOH_IMPORT_DRY_RUN")]
    dry_run: bool,
}

/// What the hub said of a batch.
#[derive(Debug, Default, Deserialize)]
struct Taken {
    accepted: u64,
    unchanged: u64,
    rejected: u64,
    items: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    title: String,
}

/// A batch on its way: its route and its lines.
type Batch = (&'static str, Vec<u8>);

impl ImportArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let From::Upstream(UpstreamArgs { directory, hub, source, dry_run }) = self.from;
        let export = Export::open(&directory)?;
        let (tally, taken) = ask::block_on(send(export, &hub, &source, dry_run))?;
        tell(&tally, (!dry_run).then_some(&taken))?;
        Ok(if tally.broken + taken.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Reads on a thread of its own, and sends what it gives.
async fn send(export: Export, hub: &HubArgs, source: &str, dry_run: bool) -> anyhow::Result<(Tally, Taken)> {
    let (batches, mut waiting) = mpsc::channel::<Batch>(AT_ONCE);
    let reading = tokio::task::spawn_blocking(move || read(export, &batches));
    let client = hub.client()?;
    let mut taken = Taken::default();
    let mut under_way = tokio::task::JoinSet::new();
    while let Some((route, lines)) = waiting.recv().await {
        if dry_run {
            continue;
        }
        if under_way.len() == AT_ONCE
            && let Some(done) = under_way.join_next().await
        {
            taken.add(done??);
        }
        let url = hub.at(route, &[("source", source.to_owned())])?;
        under_way.spawn(post(client.clone(), url, hub.shown(), lines));
    }
    while let Some(done) = under_way.join_next().await {
        taken.add(done??);
    }
    Ok((reading.await.context("the export could not be read to its end")??, taken))
}

impl Taken {
    fn add(&mut self, mut other: Taken) {
        self.accepted += other.accepted;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        let room = TOLD.saturating_sub(self.items.len());
        self.items.extend(other.items.drain(..).take(room));
    }
}

fn read(mut export: Export, to: &mpsc::Sender<Batch>) -> Result<Tally, ImportError> {
    let mut progress = Progress::new("read");
    progress.of(export.bytes());
    let mut lines = Vec::new();
    let mut count = 0;
    let mut before = 0;
    for route in ["/api/v1/ingest/descriptors", "/api/v1/ingest/reconcilers"] {
        let mut read = 0;
        let flush = |lines: &mut Vec<u8>, count: &mut usize| {
            *count = 0;
            let gone = |_| ImportError::Given("the import was given up".to_owned());
            to.blocking_send((route, std::mem::take(lines))).map_err(gone)
        };
        let give = |line: String, bytes: u64| {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
            count += 1;
            read = bytes;
            progress.at(before + bytes, None);
            if count == BATCH { flush(&mut lines, &mut count) } else { Ok(()) }
        };
        if route.ends_with("descriptors") { export.descriptors(give) } else { export.reports(give) }?;
        if count > 0 {
            flush(&mut lines, &mut count)?;
        }
        before += read;
    }
    progress.finish();
    Ok(export.tally())
}

async fn post(client: reqwest::Client, url: reqwest::Url, shown: String, lines: Vec<u8>) -> anyhow::Result<Taken> {
    loop {
        let request = client.post(url.clone()).header("content-type", "application/x-ndjson").body(lines.clone());
        let response =
            request.send().await.map_err(ask::explained).with_context(|| format!("cannot reach the hub at {shown}"))?;
        match response.status().as_u16() {
            200 | 207 | 400 => {
                let text = response.text().await.context("the answer broke off")?;
                let Ok(taken) = serde_json::from_str::<Taken>(&text) else {
                    bail!("the hub refused a batch: {}", foreign::clean(&text))
                };
                return Ok(taken);
            }
            // It says when there is room again.
            429 => {
                let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
                tokio::time::sleep(Duration::from_secs(after.unwrap_or(1))).await;
            }
            _ => return Err(ask::refusal(response).await),
        }
    }
}

fn tell(tally: &Tally, taken: Option<&Taken>) -> anyhow::Result<()> {
    let Tally { targets, assignments, hosts, reconcilers, deployments, overwritten, rolled_back, broken, told } = tally;
    say::out(format_args!(
        "{assignments} assignments on {targets} deployment targets, {deployments} deployments of {reconcilers} reconcilers on {hosts} hosts\n"
    ))?;
    if let Some(Taken { accepted, unchanged, rejected, items }) = taken {
        say::out(format_args!("{accepted} statements were news, {unchanged} were known, {rejected} were refused\n"))?;
        for Refused { title } in items {
            say::out(format_args!("  refused: {}\n", foreign::clean(title)))?;
        }
    }
    say::out(format_args!(
        "{rolled_back} reconcilers run another commit than the row that was inserted last: taken from updated_on, as rollbacks\n\
         {overwritten} deployments were updated since they were first reported: what was said first is not in the export, and unknown here\n\
         Not in an export: labels, who was retired or deleted when, targets under earlier names and endpoints, commits that left a\n\
         descriptor as it was, and returns to a version at a commit it had before. What was imported counts until it is retired.\n"
    ))?;
    if *broken > 0 {
        say::out(format_args!("{broken} rows were left out:\n"))?;
        for row in told {
            say::out(format_args!("  {}\n", foreign::clean(row)))?;
        }
    }
    Ok(())
}
