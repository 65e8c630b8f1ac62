//! One table of an export: a CSV file with a header, or without one in the order that the other hub's columns have.
//!
//! Invariant: a column is found by its name; what is wrong with a value is said with its table, line and column.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{Reader, ReaderBuilder, StringRecord};

use super::Tally;
use crate::model::Micros;

/// The columns of files without a header.
const PLAIN: [(&str, &str); 10] = [
    ("workspace", "id,name,description"),
    ("application", "id,name,description,workspace_id"),
    ("workload", "id,name,description,source_storage_type,source_endpoint,application_id"),
    ("environment", "id,name,description"),
    ("deployment_target", "id,name,description,workload_id,environment_id,manifests_storage_type,manifests_endpoint"),
    ("workload_version", "id,version,build_id,build_commit_id,workload_id,created_on"),
    ("deployment_assignment", "id,deployment_target_id,workload_version_id,gitops_commit_id,created_on"),
    ("host", "id,name,description,host_type,labels"),
    ("reconciler", "id,name,host_id,description,reconciler_type,manifests_storage_type,manifests_endpoint"),
    ("deployment", "id,gitops_commit_id,reconciler_id,status,status_message,created_on,updated_on"),
];

/// Why an export cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is not there, or cannot be read.
    #[error("cannot read {path}: {error}. Export the table with: \\copy {table} to '{table}.csv' csv header")]
    File {
        /// The table.
        table: &'static str,
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// The columns are not known.
    #[error(
        "{path} has no header and {found} columns, where {expected} are expected. Export it with its header: \
         \\copy {table} to '{table}.csv' csv header"
    )]
    Columns {
        /// The table.
        table: &'static str,
        /// The file.
        path: String,
        /// How many columns it has.
        found: usize,
        /// How many files without a header have.
        expected: usize,
    },
    /// A row of a table on which others hang.
    #[error("{place}: {why}")]
    Row {
        /// Table and line.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// What was read could not be handed on.
    #[error("{0}")]
    Given(String),
}

/// Where a table lies.
pub(super) fn file(directory: &Path, table: &str) -> PathBuf {
    directory.join(format!("{table}.csv"))
}

/// The file that is being read.
pub(super) struct Table {
    name: &'static str,
    path: PathBuf,
    reader: Reader<File>,
    columns: HashMap<String, usize>,
    /// The first row, when it turned out to be no header.
    first: Option<StringRecord>,
}

/// A row of it.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    table: &'a str,
    columns: HashMap<String, usize>,
    record: StringRecord,
}

impl Table {
    pub(super) fn open(directory: &Path, name: &str) -> Result<Table, ImportError> {
        let (name, plain) =
            PLAIN.into_iter().find(|(table, _)| *table == name).expect("only known tables are asked for");
        let path = file(directory, name);
        let failed = |error: String| ImportError::File { table: name, path: path.display().to_string(), error };
        let opened = crate::plain_file::open(&path).map_err(|e| failed(e.to_string()))?;
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(opened);
        let mut first = StringRecord::new();
        let any = reader.read_record(&mut first).map_err(|e| failed(e.to_string()))?;
        let is_header = first.iter().any(|column| column.trim_start_matches('\u{feff}') == "id");
        let plain: Vec<&str> = plain.split(',').collect();
        if any && !is_header && first.len() != plain.len() {
            let path = path.display().to_string();
            return Err(ImportError::Columns { table: name, path, found: first.len(), expected: plain.len() });
        }
        let named: Vec<&str> = if is_header { first.iter().collect() } else { plain };
        let columns =
            named.iter().enumerate().map(|(at, c)| (c.trim_start_matches('\u{feff}').trim().to_owned(), at)).collect();
        let first = (any && !is_header).then_some(first);
        Ok(Table { name, path, reader, columns, first })
    }

    /// Reads the next row; false at the end.
    pub(super) fn next(&mut self, row: &mut Row<'_>) -> Result<bool, ImportError> {
        row.table = self.name;
        if row.columns.is_empty() {
            row.columns.clone_from(&self.columns);
        }
        if let Some(first) = self.first.take() {
            row.record = first;
            return Ok(true);
        }
        self.reader.read_record(&mut row.record).map_err(|error| ImportError::File {
            table: self.name,
            path: self.path.display().to_string(),
            error: error.to_string(),
        })
    }

    /// Does something with every row; the first that is wrong is an error.
    pub(super) fn each(mut self, mut with: impl FnMut(&Row<'_>) -> Result<(), String>) -> Result<(), ImportError> {
        let mut row = Row::default();
        while self.next(&mut row)? {
            with(&row).map_err(|why| ImportError::Row { place: row.place(), why })?;
        }
        Ok(())
    }

    /// The same; those that are wrong are counted.
    pub(super) fn each_or(
        mut self,
        tally: &mut Tally,
        mut with: impl FnMut(&Row<'_>) -> Result<(), String>,
    ) -> Result<(), ImportError> {
        let mut row = Row::default();
        while self.next(&mut row)? {
            if let Err(why) = with(&row) {
                tally.broken(&row, why);
            }
        }
        Ok(())
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }
}

impl Row<'_> {
    /// Table and line.
    pub(super) fn place(&self) -> String {
        let line = self.record.position().map_or(0, csv::Position::line);
        format!("{}.csv, line {line}", self.table)
    }

    /// A value that is there.
    pub(super) fn optional(&self, column: &str) -> Option<&str> {
        let value = self.record.get(*self.columns.get(column)?)?;
        // How exports of other tools spell what is not there.
        (!value.is_empty() && value != "\\N").then_some(value)
    }

    /// A value that must be there.
    pub(super) fn text(&self, column: &str) -> Result<&str, String> {
        self.optional(column).ok_or_else(|| format!("{column} is empty or not there"))
    }

    pub(super) fn id(&self, column: &str) -> Result<i64, String> {
        let text = self.text(column)?;
        text.trim().parse().map_err(|_| format!("{column} is no number: {text}"))
    }

    /// What an id of another table stands for.
    pub(super) fn known<'k, T>(&self, known: &'k HashMap<i64, T>, column: &str) -> Result<&'k T, String> {
        let id = self.id(column)?;
        known.get(&id).ok_or_else(|| format!("{column} is {id}, which the export does not have"))
    }

    /// A time. Postgres writes it with a blank, and without an offset where the column has none: that hub's server runs in UTC.
    pub(super) fn time(&self, column: &str) -> Result<Micros, String> {
        let text = self.text(column)?.trim();
        let zoned = text.parse::<jiff::Timestamp>();
        let time = zoned.or_else(|_| {
            text.parse::<jiff::civil::DateTime>()
                .and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
                .map(|z| z.timestamp())
        });
        time.map(|t| Micros(t.as_microsecond())).map_err(|_| format!("{column} is no time: {text}"))
    }
}
