//! Scalar functions whose results can outgrow their arguments, behind a bound.
//!
//! Invariant: the engine's function never runs on rows for which it could produce more than [`TRANSIENT`] bytes at
//! once, and no value over [`CELL`] bytes leaves it. The bound comes from the longest arguments, so it costs one pass
//! over offsets; where it is too pessimistic the rows are taken in smaller groups.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::super::error::QueryError;

/// Most bytes of one computed text or list.
pub(in super::super) const CELL: usize = 8 * 1024;
/// Most bytes one call may produce at a time.
const TRANSIENT: usize = 8 * 1024 * 1024;
/// Most bytes of one computed column of a batch.
pub(super) const COLUMN: usize = 32 * 1024 * 1024;

/// How large a result can be, given the longest arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Growth {
    /// All arguments one after the other.
    Sum,
    /// All arguments with the first between them.
    Separated,
    /// Every byte of the first may become the third.
    Replace,
    /// Every byte may become a character.
    Translate,
    /// Every position may become the replacement, which may repeat what was found.
    Regex,
    /// As many characters as the second argument says.
    Pad,
    /// As many copies as the second argument says.
    Repeat,
    /// Every byte of the format may become a name.
    Format,
    /// Elements written out with a separator.
    Join,
    /// Text taken apart into a list.
    Split,
}

/// The growth of a function by name; `None` where results stay within their arguments.
pub(in super::super) fn growth(name: &str) -> Option<Growth> {
    Some(match name {
        "concat" | "overlay" | "make_array" | "array_append" | "array_prepend" | "array_concat" => Growth::Sum,
        "concat_ws" => Growth::Separated,
        "replace" => Growth::Replace,
        "translate" => Growth::Translate,
        "regexp_replace" => Growth::Regex,
        "lpad" | "rpad" => Growth::Pad,
        "repeat" => Growth::Repeat,
        "to_char" => Growth::Format,
        "array_to_string" => Growth::Join,
        "string_to_array" | "regexp_match" => Growth::Split,
        _ => return None,
    })
}

/// Puts `udf` behind its bound.
pub(in super::super) fn bound(udf: Arc<ScalarUDF>, growth: Growth) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Bounded { inner: udf, growth }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    // `simplify` is not passed on: it would put the unbounded function into the plan.

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = if args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
        let sizes = args.args.iter().map(longest).collect::<Result<Vec<_>>>()?;
        let most = self.most(&sizes, &args.args)?;
        if most > TRANSIENT {
            return Err(too_long(self.name()));
        }
        if most <= CELL && most.saturating_mul(rows) <= TRANSIENT {
            return self.inner.invoke_with_args(args);
        }
        let group = (TRANSIENT / most.max(1)).max(1);
        if group >= rows {
            let result = self.inner.invoke_with_args(args)?;
            check(self.name(), &result)?;
            return Ok(result);
        }
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let mut total = 0usize;
        for from in (0..rows).step_by(group) {
            let length = group.min(rows - from);
            let piece = self.inner.invoke_with_args(ScalarFunctionArgs {
                args: args.args.iter().map(|a| slice(a, from, length)).collect(),
                arg_fields: args.arg_fields.clone(),
                number_rows: length,
                return_field: Arc::clone(&args.return_field),
                config_options: Arc::clone(&args.config_options),
            })?;
            total += check(self.name(), &piece)?;
            if total > COLUMN {
                return Err(too_long(self.name()));
            }
            pieces.push(piece.into_array(length)?);
        }
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&pieces)?))
    }
}

impl Bounded {
    /// The largest value one row can give.
    fn most(&self, sizes: &[usize], args: &[ColumnarValue]) -> Result<usize> {
        let at = |i: usize| sizes.get(i).copied().unwrap_or(0);
        let sum = sizes.iter().fold(0usize, |a, b| a.saturating_add(*b)).saturating_add(16 * sizes.len());
        let times = |a: usize, b: usize| a.saturating_mul(b);
        Ok(match self.growth {
            Growth::Sum => sum,
            Growth::Separated => sum.saturating_add(times(at(0), sizes.len())),
            Growth::Replace => at(0).saturating_add(times(at(0) + 1, at(2))),
            Growth::Translate => times(at(0), 4),
            Growth::Regex => {
                let replaced = times(at(0) + 1, at(2));
                at(0).saturating_add(replaced).saturating_add(times(at(0), at(2) / 2))
            }
            Growth::Pad => times(largest(args.get(1))?, 4).saturating_add(at(0)),
            Growth::Repeat => times(at(0).max(1), largest(args.get(1))?),
            Growth::Format => times(at(1), 64),
            Growth::Join => times(at(0).saturating_add(16), at(1).saturating_add(32)),
            Growth::Split => times(at(0).saturating_add(1), 20),
        })
    }
}

/// Bytes of the longest value of an argument.
fn longest(arg: &ColumnarValue) -> Result<usize> {
    Ok(match arg {
        ColumnarValue::Scalar(scalar) => longest_of(&scalar.to_array_of_size(1)?),
        ColumnarValue::Array(array) => longest_of(array),
    })
}

fn longest_of(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().offsets().lengths().max().unwrap_or(0),
        DataType::LargeUtf8 => array.as_string::<i64>().offsets().lengths().max().unwrap_or(0),
        // The low half of a view is its length.
        DataType::Utf8View => {
            array.as_string_view().views().iter().map(|view| *view as u32 as usize).max().unwrap_or(0)
        }
        kind if kind.primitive_width().is_some() => kind.primitive_width().unwrap_or(16).max(32),
        _ => (0..array.len()).map(|i| span(array, i, i + 1)).max().unwrap_or(0),
    }
}

/// Bytes of the values `from..to` of an array.
pub(in super::super) fn span(array: &ArrayRef, from: usize, to: usize) -> usize {
    let (from, to) = (from.min(array.len()), to.min(array.len()));
    match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets(), from, to),
        DataType::LargeUtf8 => between(array.as_string::<i64>().value_offsets(), from, to),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets(), from, to),
        DataType::Utf8View => array.as_string_view().views()[from..to].iter().map(|view| *view as u32 as usize).sum(),
        DataType::BinaryView => array.as_binary_view().views()[from..to].iter().map(|view| *view as u32 as usize).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            span(list.values(), offsets[from] as usize, offsets[to] as usize) + 4 * (to - from)
        }
        DataType::Dictionary(..) => {
            let values = array.as_any_dictionary();
            longest_of(values.values()).saturating_mul(to - from)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| span(column, from, to)).sum(),
        kind => kind.primitive_width().unwrap_or(16) * (to - from),
    }
}

fn between<O: Copy + Into<i64>>(offsets: &[O], from: usize, to: usize) -> usize {
    let (from, to): (i64, i64) = (offsets[from].into(), offsets[to].into());
    (to - from).max(0) as usize
}

/// The largest number of an integer argument.
fn largest(arg: Option<&ColumnarValue>) -> Result<usize> {
    let array = match arg {
        None => return Ok(0),
        Some(ColumnarValue::Scalar(scalar)) => scalar.to_array_of_size(1)?,
        Some(ColumnarValue::Array(array)) => Arc::clone(array),
    };
    let numbers = datafusion::arrow::compute::cast(&array, &DataType::Int64)?;
    let most = numbers.as_primitive::<Int64Type>().iter().flatten().max().unwrap_or(0);
    Ok(usize::try_from(most).unwrap_or(0))
}

fn slice(arg: &ColumnarValue, from: usize, length: usize) -> ColumnarValue {
    match arg {
        ColumnarValue::Scalar(scalar) => ColumnarValue::Scalar(scalar.clone()),
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, length)),
    }
}

/// Refuses values over [`CELL`]; gives the bytes of all of them.
fn check(name: &str, result: &ColumnarValue) -> Result<usize> {
    let array = match result {
        ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(1)?,
        ColumnarValue::Array(array) => Arc::clone(array),
    };
    match longest_of(&array) <= CELL {
        true => Ok(span(&array, 0, array.len())),
        false => Err(too_long(name)),
    }
}

/// Refuses a collected value over `most` bytes.
pub(in super::super) fn check_scalar(name: &str, scalar: &ScalarValue, most: usize) -> Result<()> {
    if longest_of(&scalar.to_array_of_size(1)?) <= most { Ok(()) } else { Err(too_long_together(name, most)) }
}

/// What a collecting aggregate gathers for one group is too long.
pub(in super::super) fn too_long_together(name: &str, most: usize) -> datafusion::common::DataFusionError {
    QueryError::too_large(
        format!("{name} gives a value that is too long"),
        format!("At most {most} bytes fit into one collected value. Group by more columns, or filter first."),
    )
    .into_engine()
}

pub(in super::super) fn too_long(name: &str) -> datafusion::common::DataFusionError {
    QueryError::too_large(
        format!("{name} gives, or could give, a value that is too long"),
        format!(
            "At most {CELL} bytes fit into one computed value. Shorten the arguments, for instance with left(text, n)."
        ),
    )
    .into_engine()
}
