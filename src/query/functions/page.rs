//! Functions that give addresses for links: `commit_page(repo, commit)` and `web_page(text)`, null where there is no page.
//!
//! Invariant: the addresses are those of [`crate::normalize`]; nothing here knows a forge.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::bounded::{CELL, COLUMN, too_long};
use crate::normalize;

/// The functions.
pub fn pages() -> [Arc<ScalarUDF>; 2] {
    [Which::Commit, Which::Web].map(|which| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Page { which, signature }))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Commit,
    Web,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Page {
    which: Which,
    signature: Signature,
}

impl ScalarUDFImpl for Page {
    fn name(&self) -> &str {
        match self.which {
            Which::Commit => "commit_page",
            Which::Web => "web_page",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.which, types) {
            (Which::Commit, [_, _]) => Ok(vec![DataType::Utf8, DataType::Utf8]),
            (Which::Web, [_]) => Ok(vec![DataType::Utf8]),
            (Which::Commit, _) => plan_err!("commit_page takes a repository and a commit"),
            (Which::Web, _) => plan_err!("web_page takes one text"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let (first, last) = (columns[0].as_string::<i32>(), columns[columns.len() - 1].as_string::<i32>());
        let mut text = StringBuilder::with_capacity(rows, 0);
        let mut total = 0usize;
        for (first, last) in first.iter().zip(last) {
            let page = match self.which {
                Which::Commit => first.zip(last).and_then(|(repo, commit)| normalize::commit_page(repo, commit)),
                Which::Web => first.and_then(normalize::web_page),
            };
            let page = page.filter(|page| page.len() <= CELL);
            total += page.as_ref().map_or(0, String::len);
            if total > COLUMN {
                return Err(too_long(self.name()));
            }
            text.append_option(page);
        }
        let text: ArrayRef = Arc::new(text.finish());
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?)),
            false => Ok(ColumnarValue::Array(text)),
        }
    }
}
