//! `koh rollout list`: what was rolled out, the newest first.
//!
//! Invariant: rows go to standard output and nothing else does; what the hub cut off is said on standard error.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value};

use super::question::{self, Place};
use super::{HubArgs, ask};
use crate::cli::{foreign, say, table};
use crate::model::{Micros, micros};

/// The most rows that the hub gives at once.
const ROWS_MAX: &str = "20000";
/// What is said where there are none.
const NONE: &str =
    "No rollouts: nothing was assigned that matches, or the hub has heard of no deployment descriptor yet.\n";
/// The columns of the table.
const COLUMNS: [&str; 9] = [
    "started_at",
    "environment",
    "workload",
    "deployment_target",
    "version",
    "verdict",
    "success",
    "total",
    "completed_at",
];

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// An aligned table.
    Table,
    /// A JSON array, all columns.
    Json,
}

/// Options of `koh rollout list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    filters: Filters,
    /// Rollouts that started in the last so much time.
    #[arg(long, env = "KOH_ROLLOUT_SINCE", value_name = "SPAN", value_parser = crate::model::span)]
    since: Option<Duration>,
    /// At most so many.
    #[arg(long, env = "KOH_ROLLOUT_LIMIT", value_name = "N", default_value_t = 50)]
    limit: usize,
    /// How rows are shown.
    #[arg(long, short, env = "KOH_ROLLOUT_LIST_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What becomes the query.
#[derive(Debug, Args, Serialize)]
struct Filters {
    #[command(flatten)]
    #[serde(flatten)]
    place: Place,
    /// These versions.
    #[arg(long, env = "KOH_VERSION", value_name = "VERSION", value_delimiter = ',')]
    version: Vec<String>,
    /// These verdicts: complete, superseded, failed, stalled, in_progress.
    #[arg(long, env = "KOH_VERDICT", value_name = "VERDICT", value_delimiter = ',')]
    verdict: Vec<String>,
}

impl ListArgs {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let rows = newest(ask::block_on(self.ask())?, self.since.map(before_now), self.limit);
        match self.output {
            Output::Json => say::out(foreign::clean_json(&serde_json::to_string(&rows)?) + "\n")?,
            Output::Table if rows.is_empty() => say::out(NONE)?,
            Output::Table => say::out(table::draw(&COLUMNS.map(str::to_owned), &rows))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn ask(&self) -> anyhow::Result<Vec<Map<String, Value>>> {
        let mut query = question::query(&self.filters)?;
        query.push(("limit".to_owned(), ROWS_MAX.to_owned()));
        query.extend(self.since.map(|since| ("from".to_owned(), before_now(since))));
        let response = self.hub.send(self.hub.client()?.get(self.hub.at("/api/v1/rollouts", &query)?)).await?;
        if response.headers().contains_key("x-kalypso-truncated") {
            say::note(format_args!(
                "koh: warning: more than {ROWS_MAX} rollouts match, and not all of them were compared; filter by environment or workload"
            ));
        }
        response.json().await.context("the hub's answer is not an array of rows")
    }
}

/// The time so long ago, spelled as the hub spells times; it knows none before 1970.
fn before_now(since: Duration) -> String {
    Micros::now().plus(-micros(since)).max(Micros(0)).to_string()
}

/// The newest rows. The hub orders by name, and its time range holds whatever has not ended.
fn newest(mut rows: Vec<Map<String, Value>>, since: Option<String>, limit: usize) -> Vec<Map<String, Value>> {
    // One spelling of times: their order is that of the texts.
    let started =
        |row: &Map<String, Value>| row.get("started_at").and_then(Value::as_str).unwrap_or_default().to_owned();
    rows.retain(|row| since.as_ref().is_none_or(|since| started(row) >= *since));
    rows.sort_by_key(|row| std::cmp::Reverse(started(row)));
    rows.truncate(limit);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_come_first_and_older_ones_that_have_not_ended_are_left_out() {
        let row = |at: &str| json!({"started_at": at, "completed_at": null}).as_object().cloned().unwrap();
        let days = ["2026-01-01T00:00:00.000Z", "2026-01-03T00:00:00.000Z", "2026-01-02T00:00:00.000Z"];
        let started = |since: Option<&str>, limit: usize| -> Vec<String> {
            let rows = newest(days.map(row).to_vec(), since.map(str::to_owned), limit);
            rows.iter().map(|r| r["started_at"].as_str().unwrap()[8..10].to_owned()).collect()
        };
        assert_eq!(started(None, 2), ["03", "02"]);
        assert_eq!(started(Some(days[2]), 9), ["03", "02"]);
    }
}
