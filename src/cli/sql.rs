//! `koh sql`: one statement, asked of a hub or of the files in a data directory.
//!
//! Invariant: rows go to standard output and nothing else does, so that `--output csv` and `json` can be piped.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::ask::{self, HubArgs};
use super::table;
use crate::query::Format;

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
                let bytes = crate::runtime::sql_over_files(&directory, sql, format)?;
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
            print!("{}", table::draw(&columns, &rows));
        }
        Output::Json => println!("{text}"),
        Output::Csv => print!("{text}"),
    }
    Ok(())
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
    fn columns_keep_the_order_of_the_statement() {
        let row: Row = serde_json::from_str(r#"{"z": 1, "a": null}"#).unwrap();
        assert_eq!(row.columns, ["z", "a"]);
    }
}
