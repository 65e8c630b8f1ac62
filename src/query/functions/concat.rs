//! The operator `||`, as a function with the bound of `concat`; unlike `concat` it gives null where either side is null.
//!
//! The engine's own operator has no bound: doubled over thirty levels of subqueries it fills any memory.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::bounded::{CELL, COLUMN, too_long};

/// The name of the operator as a function.
pub(in super::super) const NAME: &str = "string_concat";

/// The function behind `||`.
pub(in super::super) fn operator() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Concat { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    signature: Signature,
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        NAME
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|a| a.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => plan_err!("{NAME} takes two arguments"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let sides = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let (left, right) = (sides[0].as_string::<i32>(), sides[1].as_string::<i32>());
        let mut text = StringBuilder::with_capacity(rows, 0);
        let mut total = 0usize;
        for (left, right) in left.iter().zip(right) {
            let (Some(left), Some(right)) = (left, right) else {
                text.append_null();
                continue;
            };
            let length = left.len() + right.len();
            total += length;
            if length > CELL || total > COLUMN {
                return Err(too_long("||"));
            }
            text.append_value(format!("{left}{right}"));
        }
        let text: ArrayRef = Arc::new(text.finish());
        match constant {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&text, 0)?)),
            false => Ok(ColumnarValue::Array(text)),
        }
    }
}
