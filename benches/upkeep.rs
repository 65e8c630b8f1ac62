//! What an operator does with a volume: a backup of the running hub, a check, a restore; how long each takes.
//!
//! Invariant: the commands are those of the binary under measurement, as an operator runs them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::clients::Connection;
use crate::hub::{Hub, disk_mb};
use crate::report::Report;

const MB: f64 = 1e6;

/// Backs up the hub at `url`, and restores the backup elsewhere.
pub fn backup_and_restore(koh: &Path, url: &str, beside: &Path, report: &mut Report) -> anyhow::Result<()> {
    let (file, restored) = (beside.with_extension("backup"), beside.with_extension("restored"));
    let took = run(koh, &["backup", text(&file)?, "--url", url])?;
    report.note("backup of the running hub, read back", took, "s");
    report.note("size of the backup", file.metadata()?.len() as f64 / MB, "MB");
    report.note("restore of it", run(koh, &["restore", text(&file)?, "--data", text(&restored)?])?, "s");
    std::fs::remove_file(&file)?;
    std::fs::remove_dir_all(&restored)?;
    Ok(())
}

/// Checks the data directory of a hub that is stopped.
pub fn check(koh: &Path, data: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.note("check of the stopped hub's directory", run(koh, &["check", "--data", text(data)?])?, "s");
    Ok(())
}

/// Moves all history out of the ledger - the fleet's is older than the window - and tells what that takes and leaves.
pub async fn trim(koh: &Path, data: &Path, report: &mut Report) -> anyhow::Result<()> {
    sizes("before the history is trimmed", data, report);
    let hub = Hub::start(koh, data, &["--hot-window", "1d"]).await?;
    let began = Instant::now();
    let mut connection = Connection::open(&hub.address).await?;
    let done = b"koh_retention_duration_seconds_count 1";
    while !connection.get("/metrics").await?.windows(done.len()).any(|text| text == done) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    report.note("archiving and trimming all history", began.elapsed().as_secs_f64(), "s");
    report.note("memory meanwhile: peak anonymous", hub.peak_anonymous_mib(), "MiB");
    hub.stop().await?;
    sizes("after it", data, report);
    let again = Hub::start(koh, data, &["--hot-window", "1d"]).await?;
    report.note("start after it", again.ready_after.as_secs_f64(), "s");
    // Its memory is looked at ten times a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    report.note("memory after it: peak anonymous", again.peak_anonymous_mib(), "MiB");
    again.stop().await?;
    Ok(())
}

fn sizes(when: &str, data: &Path, report: &mut Report) {
    for part in ["hub.redb", "export", "archive"] {
        report.note(&format!("on disk {when}: {part}"), disk_mb(&data.join(part)), "MB");
    }
}

/// Seconds that a command of the binary takes.
fn run(koh: &Path, arguments: &[&str]) -> anyhow::Result<f64> {
    let began = Instant::now();
    let done = Command::new(koh).args(arguments).output()?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].concat();
        bail!("koh {}: {}", arguments.join(" "), String::from_utf8_lossy(&said));
    }
    Ok(began.elapsed().as_secs_f64())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().ok_or_else(|| anyhow::anyhow!("{} is no text", path.display()))
}
