//! `koh backup` and `koh restore`: all that a hub remembers in one file or object, and back.
//!
//! Invariant: a file has its name only when it is whole and was read back; a data directory has a ledger only when all of the backup
//! was read and its checksums are right. What was done is told on standard error.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::ask::{self, HubArgs};
use super::progress::Progress;
use super::say;
use crate::backup::{self, Place, Whole};
use crate::ledger::Cut;
use crate::snapshot::{ARCHIVE, Archive};

/// Options of `koh backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// File or object (s3://BUCKET/NAME, az://CONTAINER/NAME, gs://BUCKET/NAME) to write, or - for standard output.
    #[arg(value_name = "FILE|URL")]
    file: PathBuf,
    #[command(flatten)]
    hub: HubArgs,
    /// Copy this data directory, which no hub has open, instead of asking a hub.
    #[arg(long, env = "KOH_BACKUP_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Options of `koh restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup: a file, an object (s3://BUCKET/NAME, az://CONTAINER/NAME, gs://BUCKET/NAME), or - for standard input.
    #[arg(value_name = "FILE|URL")]
    file: PathBuf,
    /// Data directory to make; absent or empty.
    #[arg(long, env = "KOH_DATA", value_name = "DIR")]
    data: PathBuf,
}

impl BackupArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let BackupArgs { file, hub, data } = self;
        let mut progress = Progress::new("copied");
        let to_stdout = file == Path::new("-");
        if to_stdout {
            fill(&hub, data.as_deref(), &mut std::io::stdout().lock(), &mut progress)?;
            progress.finish();
            return Ok(ExitCode::SUCCESS);
        }
        let place = Place::parse(&file)?;
        let put = place.put(|out| fill(&hub, data.as_deref(), out, &mut progress));
        progress.finish();
        let (whole, bytes) = put?;
        say::note(format_args!("{place}: {}, {}", indicatif::HumanBytes(bytes), in_words(&whole)));
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the backup of a directory, or of a hub.
fn fill(hub: &HubArgs, data: Option<&Path>, out: &mut dyn Write, progress: &mut Progress) -> anyhow::Result<()> {
    match data {
        Some(directory) => {
            let cut = Cut::of_file(&backup::ledger_of(directory))?;
            let place = directory.join(ARCHIVE);
            let archive = Archive::open(&place).context("the archive cannot be copied")?;
            Archive::lost(&place, None, (cut.lineage(), cut.origin().seq))?;
            let files = backup::Files::of(archive.as_ref(), &cut)?;
            backup::write(cut, files, out, &mut |bytes, left| progress.at(bytes, left))?;
            Ok(())
        }
        None => ask::block_on(download(hub, out, progress)),
    }
}

async fn download(hub: &HubArgs, out: &mut dyn Write, progress: &mut Progress) -> anyhow::Result<()> {
    // A backup takes as long as it takes; what must not take long is its next byte.
    let client = hub.builder()?.connect_timeout(hub.request_timeout).read_timeout(hub.request_timeout).build();
    let client = client.context("cannot make an HTTP client")?;
    let mut response = hub.send(client.get(hub.at("/api/v1/backup", &[] as &[(&str, String)])?)).await?;
    let mut bytes = 0;
    while let Some(piece) = response
        .chunk()
        .await
        .context("the backup broke off, for a reason that the log of the hub tells; nothing was kept of it")?
    {
        out.write_all(&piece).context("cannot write the backup")?;
        bytes += piece.len() as u64;
        progress.at(bytes, None);
    }
    out.flush().context("cannot write the backup")
}

impl RestoreArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let RestoreArgs { file, data } = self;
        let mut progress = Progress::new("read");
        let from: Box<dyn Read> = if file == Path::new("-") {
            Box::new(BufReader::with_capacity(1 << 18, std::io::stdin().lock()))
        } else {
            let (from, bytes) = Place::parse(&file)?.read().context("cannot read the backup")?;
            progress.of(bytes);
            from
        };
        let restored = backup::restore(from, &data, &mut |bytes, left| progress.at(bytes, left));
        progress.finish();
        let (whole, _) = restored.with_context(|| format!("nothing was restored from {}", file.display()))?;
        say::note(format_args!(
            "restored into {}: {}. Start it with koh serve --data {0}; positions and ETags of before do not count any more",
            data.display(),
            in_words(&whole)
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// What a backup is, for people.
pub(super) fn in_words(whole: &Whole) -> String {
    let Whole { head, end } = whole;
    let entries = if end.entries > 0 { format!(" and {} journal entries", end.entries) } else { String::new() };
    let files = if end.files > 0 { format!(", {} files of the archive", end.files) } else { String::new() };
    format!(
        "everything up to sequence {} as of {} ({} blocks{entries}{files}, sha256 {})",
        head.seq, head.taken_at, end.blocks, end.sha256
    )
}
