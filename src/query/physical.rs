//! Checks of the physical plan, and what it says about how to run it.
//!
//! Invariant: a plan that passes pairs at most [`MAX_PAIRS`] rows in joins without equal keys, compiles no pattern per
//! row, and runs with batches so small that its widest rows fit into [`BATCH_BYTES`].

mod meter;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, LikeExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;

use super::error::QueryError;
use super::functions::bounded::{CELL, growth};
use super::functions::collect::COLLECTED;
use super::functions::{COLLECTING, PATTERNS, concat};
use super::table::TableScan;

pub(super) use meter::metered;

/// Most pairs of rows that a join without equal keys may look at.
pub(super) const MAX_PAIRS: u64 = 100_000_000;
/// Rows of a batch where rows are ordinary.
pub(super) const BATCH_ROWS: usize = 8192;
/// Bytes that the texts of one batch may have at worst, where a plan can make long ones.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// Columns of text or lists that an ordinary plan has at most at any place.
const ORDINARY_WIDTH: usize = 64;
/// Aggregates that an ordinary plan has at most in one node.
const ORDINARY_AGGREGATES: usize = 24;
/// Rows of a batch where groups are heavy: spilled runs of them are merged with a batch of each in memory.
const HEAVY_ROWS: usize = 512;
/// Rows of a batch where regular expressions are matched: the hardest ones that compile take milliseconds a row.
const REGEX_ROWS: usize = 1024;
/// Most calls with a pattern.
const MAX_PATTERNS: usize = 32;
/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1_000;
/// A literal this long counts as a long text.
const LONG_LITERAL: usize = 256;
/// Rows assumed where nothing is known.
const UNKNOWN_ROWS: u64 = 10_000;

/// How a plan is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Rows of a batch.
    pub(super) batch_rows: usize,
    /// By how much the statement's memory is divided: what the engine counts too low must not reach as far.
    pub(super) memory_divisor: usize,
}

/// Refuses plans that would not end, and tells how to run the others.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<Shape, QueryError> {
    let mut look = Look::default();
    look.node(plan)?;
    let mut rows = BATCH_ROWS;
    if look.cell > 0 {
        rows = rows.min(BATCH_BYTES / (look.cell * look.width.max(1)));
    }
    rows = rows.min(BATCH_ROWS * ORDINARY_WIDTH / look.width.max(ORDINARY_WIDTH));
    let heavy = look.adapted || look.aggregates > ORDINARY_AGGREGATES;
    if heavy {
        rows = rows.min(HEAVY_ROWS);
    }
    if look.regexes {
        rows = rows.min(REGEX_ROWS);
    }
    let memory_divisor = if heavy { 2 } else { 1 };
    Ok(Shape { batch_rows: rows.max(16), memory_divisor })
}

/// Rows the plan gives, where that is certain.
pub(super) fn exact_rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if let Some(scan) = plan.downcast_ref::<TableScan>() {
        return scan.rows();
    }
    let keeps = plan.is::<ProjectionExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortPreservingMergeExec>()
        || matches!(plan.name(), "CoalescePartitionsExec" | "CooperativeExec" | "RepartitionExec");
    let rows = match (keeps, plan.children().as_slice()) {
        (true, [input]) => exact_rows(input)?,
        _ => return None,
    };
    Some(rows.min(plan.fetch().unwrap_or(usize::MAX)))
}

#[derive(Default)]
struct Look {
    /// Most columns of text or lists at any place.
    width: usize,
    /// Largest value that the plan can make, 0 where it makes none.
    cell: usize,
    /// Most aggregates in one node.
    aggregates: usize,
    /// Some aggregate keeps an object per group; handing them on takes several times what they reserve.
    adapted: bool,
    patterns: usize,
    /// Some of them are regular expressions.
    regexes: bool,
}

impl Look {
    fn node(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<(), QueryError> {
        self.width = self.width.max(wide_columns(&plan.schema()));
        if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            // Every grouping set keeps groups of its own for the same batch.
            let sets = aggregate.group_expr().groups().len();
            self.aggregates = self.aggregates.max(aggregate.aggr_expr().len()).max(2 * sets);
            let grouped = !aggregate.group_expr().expr().is_empty();
            self.adapted |= grouped && aggregate.aggr_expr().iter().any(|a| !a.groups_accumulator_supported());
            if aggregate.aggr_expr().iter().any(|a| COLLECTING.contains(&a.fun().name())) {
                self.cell = self.cell.max(COLLECTED);
            }
        }
        if plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() {
            let pairs = plan.children().iter().map(|side| estimate(side)).fold(1u64, u64::saturating_mul);
            if pairs > MAX_PAIRS {
                return Err(QueryError::refused(
                    "A join without equal keys would pair too many rows",
                    format!(
                        "About {pairs} pairs; at most {MAX_PAIRS} are accepted. Join ON equal columns, or filter both sides first."
                    ),
                ));
            }
        }
        let mut failed = None;
        let visited = plan.apply_expressions(&mut |expr| {
            Ok(match self.expression(expr) {
                Ok(()) => TreeNodeRecursion::Continue,
                Err(e) => {
                    failed = Some(e);
                    TreeNodeRecursion::Stop
                }
            })
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        visited.map_err(|e| QueryError::internal(&e))?;
        for input in plan.children() {
            self.node(input)?;
        }
        Ok(())
    }

    fn expression(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Result<(), QueryError> {
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            if growth(call.name()).is_some() || call.name() == concat::NAME {
                self.cell = self.cell.max(CELL);
            }
            if PATTERNS.contains(&call.name()) {
                self.regexes = true;
                self.pattern(call.args().get(1))?;
            }
        } else if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            use Operator::*;
            let matches = matches!(
                binary.op(),
                RegexMatch
                    | RegexIMatch
                    | RegexNotMatch
                    | RegexNotIMatch
                    | LikeMatch
                    | ILikeMatch
                    | NotLikeMatch
                    | NotILikeMatch
            );
            if matches {
                self.regexes |= matches!(binary.op(), RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch);
                self.pattern(Some(binary.right()))?;
            }
        } else if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            self.pattern(Some(like.pattern()))?;
        } else if let Some(literal) = expr.downcast_ref::<Literal>()
            && literal.value().size() > LONG_LITERAL
        {
            self.cell = self.cell.max(CELL);
        }
        for child in expr.children() {
            self.expression(child)?;
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: Option<&Arc<dyn PhysicalExpr>>) -> Result<(), QueryError> {
        self.patterns += 1;
        let length = pattern.and_then(|p| p.downcast_ref::<Literal>()).map(|p| match p.value().try_as_str() {
            Some(text) => text.unwrap_or("").len(),
            None => 0,
        });
        match length {
            None => Err(QueryError::refused(
                "A pattern must be a literal",
                "Patterns out of columns are compiled for every row. Write the pattern as text or parameter; starts_with and contains take columns.",
            )),
            Some(length) if length > MAX_PATTERN_BYTES => Err(QueryError::refused(
                "A pattern is too long",
                format!("At most {MAX_PATTERN_BYTES} bytes are accepted."),
            )),
            Some(_) if self.patterns > MAX_PATTERNS => Err(QueryError::refused(
                "The statement matches too many patterns",
                format!("At most {MAX_PATTERNS} are accepted; combine them with | in one regular expression."),
            )),
            Some(_) => Ok(()),
        }
    }
}

fn wide_columns(schema: &Schema) -> usize {
    schema
        .fields()
        .iter()
        .filter(|f| f.data_type().primitive_width().is_none() && *f.data_type() != DataType::Boolean)
        .count()
}

/// Rows a node gives, guessed upwards rather than downwards.
fn estimate(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let inputs: Vec<u64> = plan.children().iter().map(|input| estimate(input)).collect();
    let product = || inputs.iter().copied().fold(1u64, u64::saturating_mul);
    let most = inputs.iter().copied().max();
    let rows = if let Some(scan) = plan.downcast_ref::<TableScan>() {
        scan.most_rows().map_or(UNKNOWN_ROWS * 100, |rows| rows as u64)
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        if aggregate.group_expr().expr().is_empty() { 1 } else { most.unwrap_or(1) }
    } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        (most.unwrap_or(1) / selectivity(filter.predicate())).max(1)
    } else if plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() {
        product()
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        joined(join.join_type(), &inputs)
    } else if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        joined(&join.join_type(), &inputs)
    } else if plan.is::<UnionExec>() || plan.name() == "InterleaveExec" {
        inputs.iter().copied().fold(0, u64::saturating_add)
    } else if plan.is::<UnnestExec>() {
        most.unwrap_or(1).saturating_mul(100)
    } else {
        match plan.name() {
            "PlaceholderRowExec" => 1,
            "EmptyExec" => 0,
            _ => most.unwrap_or(UNKNOWN_ROWS),
        }
    };
    rows.min(plan.fetch().map_or(u64::MAX, |n| n as u64))
}

fn joined(kind: &JoinType, inputs: &[u64]) -> u64 {
    let (left, right) = (inputs.first().copied().unwrap_or(1), inputs.get(1).copied().unwrap_or(1));
    match kind {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
        _ => left.max(right),
    }
}

/// By how much a filter is taken to thin out its input: ten for every equality with a literal, at most a hundred.
fn selectivity(predicate: &Arc<dyn PhysicalExpr>) -> u64 {
    let Some(binary) = predicate.downcast_ref::<BinaryExpr>() else { return 2 };
    match binary.op() {
        Operator::And => (selectivity(binary.left()) * selectivity(binary.right())).min(100),
        Operator::Eq if binary.left().is::<Literal>() || binary.right().is::<Literal>() => 10,
        _ => 2,
    }
}
