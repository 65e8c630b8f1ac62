//! JSON, NDJSON and CSV.
//!
//! Invariant: one JSON type per column (text, number or boolean; null for absence), times as RFC 3339 UTC with
//! milliseconds, no NaN or infinity, nested values as text.

use std::io::Write;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::super::error::QueryError;
use super::failed;
use crate::model::Micros;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    NdJson,
    Csv,
}

/// A text document in the making.
pub(in super::super) struct Text {
    style: Style,
    /// Per column what stands before its value: `{"name":` or `,"name":`.
    keys: Vec<Vec<u8>>,
    header: Vec<u8>,
    any: bool,
}

impl Text {
    pub(super) fn new(style: Style, schema: &SchemaRef) -> Text {
        let mut keys = Vec::new();
        let mut header = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            quote_json(field.name(), &mut key);
            key.push(b':');
            keys.push(key);
            if i > 0 {
                header.push(b',');
            }
            quote_csv(field.name(), &mut header);
        }
        header.extend_from_slice(b"\r\n");
        Text { style, keys, header: if style == Style::Csv { header } else { Vec::new() }, any: false }
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
        let mut out = std::mem::take(&mut self.header);
        out.reserve(batch.num_rows() * self.keys.len() * 16);
        for row in 0..batch.num_rows() {
            match self.style {
                Style::Json => out.extend_from_slice(if self.any { b",\n" } else { b"[" }),
                Style::NdJson | Style::Csv => {}
            }
            self.any = true;
            for (i, column) in batch.columns().iter().enumerate() {
                match self.style {
                    Style::Csv => {
                        if i > 0 {
                            out.push(b',');
                        }
                        csv_value(column, row, &mut out)?;
                    }
                    Style::Json | Style::NdJson => {
                        out.extend_from_slice(&self.keys[i]);
                        json_value(column, row, &mut out, true)?;
                    }
                }
            }
            match self.style {
                Style::Csv => out.extend_from_slice(b"\r\n"),
                Style::Json | Style::NdJson if self.keys.is_empty() => out.extend_from_slice(b"{}"),
                Style::Json | Style::NdJson => out.push(b'}'),
            }
            if self.style == Style::NdJson {
                out.push(b'\n');
            }
        }
        Ok(out)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.header);
        if self.style == Style::Json {
            out.extend_from_slice(if self.any { b"]\n" } else { b"[]\n" });
        }
        out
    }
}

/// Writes one value; `flat` puts nested values and binaries into text.
fn json_value(column: &ArrayRef, row: usize, out: &mut Vec<u8>, flat: bool) -> Result<(), QueryError> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    macro_rules! number {
        ($kind:ty) => {
            write!(out, "{}", column.as_primitive::<$kind>().value(row)).map_err(failed)
        };
    }
    match column.data_type() {
        DataType::Utf8 => quote_json(column.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => quote_json(column.as_string::<i64>().value(row), out),
        DataType::Utf8View => quote_json(column.as_string_view().value(row), out),
        DataType::Boolean => {
            out.extend_from_slice(if column.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Int8 => number!(Int8Type)?,
        DataType::Int16 => number!(Int16Type)?,
        DataType::Int32 => number!(Int32Type)?,
        DataType::Int64 => number!(Int64Type)?,
        DataType::UInt8 => number!(UInt8Type)?,
        DataType::UInt16 => number!(UInt16Type)?,
        DataType::UInt32 => number!(UInt32Type)?,
        DataType::UInt64 => number!(UInt64Type)?,
        DataType::Float16 => float(column.as_primitive::<Float16Type>().value(row).to_f64(), out)?,
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row)), out)?,
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row), out)?,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Duration(_) => {
            match moment(column, row) {
                Some(Moment::Text(text)) => quote_json(&text, out),
                Some(Moment::Seconds(seconds)) => float(seconds, out)?,
                None => out.extend_from_slice(b"null"),
            }
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            out.extend_from_slice(displayed(column, row)?.as_bytes());
        }
        DataType::List(_) if flat => {
            let mut nested = Vec::new();
            json_value(column, row, &mut nested, false)?;
            quote_json(&String::from_utf8_lossy(&nested), out);
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            out.push(b'[');
            for i in 0..values.len() {
                if i > 0 {
                    out.push(b',');
                }
                json_value(&values, i, out, false)?;
            }
            out.push(b']');
        }
        _ => quote_json(&displayed(column, row)?, out),
    }
    Ok(())
}

fn csv_value(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), QueryError> {
    if column.is_null(row) {
        return Ok(());
    }
    match column.data_type() {
        DataType::Utf8 => quote_csv(column.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => quote_csv(column.as_string::<i64>().value(row), out),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Duration(_) => {
            match moment(column, row) {
                Some(Moment::Text(text)) => quote_csv(&text, out),
                Some(Moment::Seconds(seconds)) => float(seconds, out)?,
                None => {}
            }
        }
        DataType::List(_) => {
            let mut nested = Vec::new();
            json_value(column, row, &mut nested, false)?;
            quote_csv(&String::from_utf8_lossy(&nested), out);
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let at = out.len();
            json_value(column, row, out, true)?;
            if out[at..] == *b"null" {
                out.truncate(at);
            }
        }
        DataType::Boolean => json_value(column, row, out, true)?,
        kind if kind.is_integer() => json_value(column, row, out, true)?,
        _ => quote_csv(&displayed(column, row)?, out),
    }
    Ok(())
}

enum Moment {
    Text(String),
    Seconds(f64),
}

/// Times as text, durations as seconds; `None` where the calendar ends.
fn moment(column: &ArrayRef, row: usize) -> Option<Moment> {
    let micros = |value: i64| Some(Moment::Text(Micros(value).to_string())).filter(|_| calendar(value));
    let date = |days: i64| {
        let text = Micros(days.checked_mul(86_400_000_000)?).to_string();
        text.get(..text.find('T')?).map(|day| Moment::Text(day.to_string()))
    };
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            micros(column.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)?)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            micros(column.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)?)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            micros(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            micros(column.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000))
        }
        DataType::Date32 => date(i64::from(column.as_primitive::<Date32Type>().value(row))),
        DataType::Date64 => date(column.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000)),
        DataType::Duration(unit) => {
            let seconds = match unit {
                TimeUnit::Second => column.as_primitive::<DurationSecondType>().value(row) as f64,
                TimeUnit::Millisecond => column.as_primitive::<DurationMillisecondType>().value(row) as f64 / 1e3,
                TimeUnit::Microsecond => column.as_primitive::<DurationMicrosecondType>().value(row) as f64 / 1e6,
                TimeUnit::Nanosecond => column.as_primitive::<DurationNanosecondType>().value(row) as f64 / 1e9,
            };
            Some(Moment::Seconds(seconds))
        }
        _ => None,
    }
}

fn calendar(micros: i64) -> bool {
    jiff::Timestamp::from_microsecond(micros).is_ok()
}

/// JSON has no NaN and no infinity.
fn float(value: f64, out: &mut Vec<u8>) -> Result<(), QueryError> {
    match value.is_finite() {
        true => serde_json::to_writer(out, &value).map_err(failed),
        false => {
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
}

fn displayed(column: &ArrayRef, row: usize) -> Result<String, QueryError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed)?;
    formatter.value(row).try_to_string().map_err(failed)
}

fn quote_json(text: &str, out: &mut Vec<u8>) {
    // Writing text into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn quote_csv(text: &str, out: &mut Vec<u8>) {
    let bare = !text.is_empty()
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.bytes().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n'));
    if bare {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}
