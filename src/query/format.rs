//! Answers as bytes: JSON, NDJSON, CSV, Arrow IPC stream, Parquet.
//!
//! Invariant: an encoder holds at most one batch (Parquet: one row group of bounded size) and emits a complete, valid
//! document only if [`Encoder::finish`] was called.

mod parquet;
mod plain;
mod text;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;

use super::error::QueryError;

pub(super) use plain::{plain_batch, plain_schema};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// A bare array of flat objects.
    #[default]
    Json,
    /// One object per line.
    NdJson,
    /// RFC 4180, with a header.
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet, zstd.
    Parquet,
}

impl Format {
    /// The media type of answers.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::NdJson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The format an `Accept` header asks for; JSON where it leaves the choice, `None` where it names only others.
    pub fn from_accept(accept: &str) -> Option<Format> {
        let mut best: Option<(f32, Format)> = None;
        for part in accept.split(',') {
            let mut pieces = part.split(';').map(str::trim);
            let format = match pieces.next().unwrap_or("").to_ascii_lowercase().as_str() {
                "" if accept.trim().is_empty() => Format::Json,
                "*/*" | "application/*" | "application/json" | "text/json" => Format::Json,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                    Format::NdJson
                }
                "text/csv" | "text/*" => Format::Csv,
                "application/vnd.apache.arrow.stream" => Format::Arrow,
                "application/vnd.apache.parquet" | "application/x-parquet" => Format::Parquet,
                _ => continue,
            };
            let quality = pieces.find_map(|p| p.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>).unwrap_or(1.0);
            if quality > 0.0 && best.is_none_or(|(q, _)| quality > q) {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
    }

    /// The format called `name` in a query parameter or on the command line.
    pub fn from_name(name: &str) -> Option<Format> {
        Some(match name.to_ascii_lowercase().as_str() {
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::NdJson,
            "csv" => Format::Csv,
            "arrow" => Format::Arrow,
            "parquet" => Format::Parquet,
            _ => return None,
        })
    }
}

/// Turns batches of one schema into bytes.
pub(super) enum Encoder {
    Text(text::Text),
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<parquet::Parquet>),
}

impl Encoder {
    /// An encoder for batches of `schema` (a plain one, see [`plain_schema`]).
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Encoder, QueryError> {
        Ok(match format {
            Format::Json => Encoder::Text(text::Text::new(text::Style::Json, schema)),
            Format::NdJson => Encoder::Text(text::Text::new(text::Style::NdJson, schema)),
            Format::Csv => Encoder::Text(text::Text::new(text::Style::Csv, schema)),
            Format::Arrow => Encoder::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(failed)?)),
            Format::Parquet => Encoder::Parquet(Box::new(parquet::Parquet::new(Arc::clone(schema))?)),
        })
    }

    /// Adds a batch; gives the bytes that are ready.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        match self {
            Encoder::Text(text) => text.batch(batch).map(Bytes::from),
            Encoder::Arrow(writer) => {
                writer.write(batch).map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
            Encoder::Parquet(parquet) => parquet.batch(batch).map(Bytes::from),
        }
    }

    /// Ends the document; gives the last bytes.
    pub(super) fn finish(self) -> Result<Bytes, QueryError> {
        match self {
            Encoder::Text(text) => Ok(text.finish().into()),
            Encoder::Arrow(mut writer) => {
                writer.finish().map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
            Encoder::Parquet(parquet) => parquet.finish().map(Bytes::from),
        }
    }
}

fn failed(cause: impl std::fmt::Display) -> QueryError {
    QueryError::internal(&cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_best_known_format() {
        assert_eq!(Format::from_accept(""), Some(Format::Json));
        assert_eq!(Format::from_accept("*/*"), Some(Format::Json));
        assert_eq!(Format::from_accept("text/html, application/json;q=0.9, */*;q=0.8"), Some(Format::Json));
        assert_eq!(Format::from_accept("application/json;q=0.1, text/csv"), Some(Format::Csv));
        assert_eq!(Format::from_accept("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(Format::from_accept("image/png"), None);
        assert_eq!(Format::from_accept("text/csv;q=0"), None);
    }
}
