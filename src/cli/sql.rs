//! `koh sql`: one statement, asked of a hub or of the files in a data directory.
//!
//! Invariant: rows go to standard output and nothing else does, so that `--output csv` and `json` can be piped; how old an export is
//! goes to standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::ask::{self, HubArgs};
use super::{say, table};
use crate::model::Micros;
use crate::query::Format;
use crate::runtime::FileAnswer;

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// An aligned table.
    Table,
    /// A JSON array.
    Json,
    /// CSV with a header.
    Csv,
}

/// Options of `koh sql`.
#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// The statement, or - to read it from standard input.
    sql: String,
    #[command(flatten)]
    hub: HubArgs,
    /// Read the last export in this data directory instead of asking a hub.
    #[arg(long, env = "KOH_SQL_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// How rows are shown.
    #[arg(long, short, env = "KOH_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl SqlArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let SqlArgs { sql, hub, data, output } = self;
        let sql = if sql == "-" {
            std::io::read_to_string(std::io::stdin()).context("cannot read the statement from standard input")?
        } else {
            sql
        };
        let text = match data {
            Some(directory) => {
                let format = if output == Output::Csv { Format::Csv } else { Format::Json };
                let FileAnswer { bytes, as_of } = crate::runtime::sql_over_files(&directory, sql, format)?;
                say::note(freshness(as_of, Micros::now()));
                String::from_utf8(bytes).context("the answer is not UTF-8")?
            }
            None => ask::block_on(over_http(&hub, sql, if output == Output::Csv { "csv" } else { "json" }))?,
        };
        show(&text, output)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn over_http(hub: &HubArgs, sql: String, format: &str) -> anyhow::Result<String> {
    let request = hub
        .client()?
        .post(hub.at("/api/v1/sql", &[("format", format.to_owned())])?)
        .header("content-type", "application/sql")
        .body(sql);
    hub.send(request).await?.text().await.context("the answer broke off")
}

fn show(text: &str, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Table => {
            let rows: Vec<Row> = serde_json::from_str(text).context("the hub's answer is not an array of rows")?;
            let columns = rows.first().map(|r| r.columns.clone()).unwrap_or_default();
            let rows: Vec<Map<String, Value>> = rows.into_iter().map(|r| r.values).collect();
            say::out(table::draw(&columns, &rows))?;
        }
        Output::Json => say::out(format_args!("{text}\n"))?,
        Output::Csv => say::out(unix_lines(text))?,
    }
    Ok(())
}

/// How old the rows of an export are.
fn freshness(as_of: Micros, now: Micros) -> String {
    let age = jiff::SignedDuration::from_secs(now.since(as_of).max(0) / 1_000_000);
    format!("export of {as_of}, {age:#} ago; what the hub heard since is not in it")
}

/// CSV with the line ends of unix tools; over HTTP they are those of RFC 4180. What stands in quotes stays as it is.
fn unix_lines(csv: &str) -> String {
    let mut lines = String::with_capacity(csv.len());
    let mut quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        quoted ^= c == '"';
        if quoted || c != '\r' || chars.peek() != Some(&'\n') {
            lines.push(c);
        }
    }
    lines
}

/// A row that remembers the order of its columns, which the statement chose.
#[derive(Debug)]
struct Row {
    columns: Vec<String>,
    values: Map<String, Value>,
}

impl<'de> serde::Deserialize<'de> for Row {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Row;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut row = Row { columns: Vec::new(), values: Map::new() };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    row.columns.push(name.clone());
                    row.values.insert(name, value);
                }
                Ok(row)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_csv_end_as_unix_tools_expect_and_values_are_left_alone() {
        assert_eq!(unix_lines("a,b\r\n1,\"x\r\n\"\"y\"\"\"\r\n"), "a,b\n1,\"x\r\n\"\"y\"\"\"\n");
    }

    #[test]
    fn the_age_of_an_export_is_told_in_words() {
        let as_of = Micros::parse("2026-01-31T10:00:00Z").unwrap();
        let said = freshness(as_of, as_of.plus(200_000_000));
        assert_eq!(said, "export of 2026-01-31T10:00:00.000Z, 3m 20s ago; what the hub heard since is not in it");
    }

    #[test]
    fn columns_keep_the_order_of_the_statement() {
        let row: Row = serde_json::from_str(r#"{"z": 1, "a": null}"#).unwrap();
        assert_eq!(row.columns, ["z", "a"]);
    }
}
