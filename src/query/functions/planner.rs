//! Syntax that the engine would turn into unbounded functions, turned into the bounded ones.
//!
//! Invariant: asked before the engine's own planners, so that `||`, `[a, b]` and `OVERLAY` never reach theirs.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::super::error::QueryError;
use super::{bounded, concat};

/// Plans operators and literals with bounded functions.
#[derive(Debug)]
pub(in super::super) struct BoundedSyntax {
    concat: Arc<ScalarUDF>,
    overlay: Arc<ScalarUDF>,
    make_array: Arc<ScalarUDF>,
    array_concat: Arc<ScalarUDF>,
    array_append: Arc<ScalarUDF>,
    array_prepend: Arc<ScalarUDF>,
}

impl BoundedSyntax {
    /// The planner.
    pub(in super::super) fn new() -> BoundedSyntax {
        let sum = |udf| bounded::bound(udf, bounded::Growth::Sum);
        BoundedSyntax {
            concat: concat::operator(),
            overlay: sum(datafusion::functions::core::overlay()),
            make_array: sum(datafusion::functions_nested::make_array::make_array_udf()),
            array_concat: sum(datafusion::functions_nested::concat::array_concat_udf()),
            array_append: sum(datafusion::functions_nested::concat::array_append_udf()),
            array_prepend: sum(datafusion::functions_nested::concat::array_prepend_udf()),
        }
    }
}

impl ExprPlanner for BoundedSyntax {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let is_list = |e: &Expr| -> Result<bool> {
            let kind = e.get_type(schema)?;
            Ok(matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)))
        };
        let udf = match (is_list(&expr.left)?, is_list(&expr.right)?) {
            (false, false) => &self.concat,
            (true, true) => &self.array_concat,
            (true, false) => &self.array_append,
            (false, true) => &self.array_prepend,
        };
        Ok(PlannerResult::Planned(udf.call(vec![expr.left, expr.right])))
    }

    fn plan_array_literal(&self, elements: Vec<Expr>, _: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.make_array.call(elements)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.overlay.call(args)))
    }

    fn plan_dictionary_literal(&self, _: RawDictionaryExpr, _: &DFSchema) -> Result<PlannerResult<RawDictionaryExpr>> {
        Err(nested())
    }

    fn plan_struct_literal(&self, _: Vec<Expr>, _: bool) -> Result<PlannerResult<Vec<Expr>>> {
        Err(nested())
    }

    fn plan_make_map(&self, _: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Err(nested())
    }
}

fn nested() -> datafusion::common::DataFusionError {
    let detail = "Answers are flat rows: select the values as columns of their own.";
    QueryError::refused("Structs and maps cannot be built here", detail).into_engine()
}
