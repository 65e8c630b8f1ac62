//! Reads off the conditions of a statement in which span of time its rows lie, so that files of other times are not opened.
//!
//! Invariant: the span holds every row that the conditions let through; what is not understood bounds nothing, and the conditions are
//! tested on every row all the same.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// The first and the last microsecond that `column` can have where all of these hold.
pub(super) fn within<'a>(conditions: impl IntoIterator<Item = &'a Expr>, column: &str) -> (i64, i64) {
    conditions.into_iter().map(|condition| of(condition, column)).fold(EVER, both)
}

/// Whether a condition says anything of the column's time.
pub(super) fn bounds(condition: &Expr, column: &str) -> bool {
    of(condition, column) != EVER
}

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

fn both(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.max(b.0), a.1.min(b.1))
}

fn of(condition: &Expr, column: &str) -> (i64, i64) {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => both(of(left, column), of(right, column)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (true, Some(at)) = (is(left, column), instant(right)) {
                side(*op, at)
            } else if let (Some(at), true, Some(op)) = (instant(left), is(right, column), op.swap()) {
                side(op, at)
            } else {
                EVER
            }
        }
        Expr::Between(between) if !between.negated && is(&between.expr, column) => {
            let (low, high) = (instant(&between.low), instant(&between.high));
            (low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX))
        }
        _ => EVER,
    }
}

/// Where the column is, when it stands so to an instant. Instants finer than a microsecond are cut, so both ends count.
fn side(op: Operator, at: i64) -> (i64, i64) {
    match op {
        Operator::Gt | Operator::GtEq => (at, i64::MAX),
        Operator::Lt | Operator::LtEq => (i64::MIN, at),
        Operator::Eq => (at, at),
        _ => EVER,
    }
}

fn is(expression: &Expr, column: &str) -> bool {
    matches!(expression, Expr::Column(c) if c.name == column)
}

fn instant(expression: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expression else { return None };
    match value {
        ScalarValue::TimestampSecond(at, _) => at.map(|at| at.saturating_mul(1_000_000)),
        ScalarValue::TimestampMillisecond(at, _) => at.map(|at| at.saturating_mul(1_000)),
        ScalarValue::TimestampMicrosecond(at, _) => *at,
        ScalarValue::TimestampNanosecond(at, _) => at.map(|at| at.div_euclid(1_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};

    #[test]
    fn conditions_on_the_column_bound_it_and_others_do_not() {
        let at = |n: i64| lit(ScalarValue::TimestampMicrosecond(Some(n), Some("UTC".into())));
        let of = |conditions: &[Expr]| within(conditions, "t");
        assert_eq!(of(&[col("t").gt_eq(at(5)), col("t").lt(at(9))]), (5, 9));
        assert_eq!(of(&[col("t").gt(at(5)).and(at(7).gt(col("t")))]), (5, 7));
        assert_eq!(of(&[col("t").between(at(1), at(2)), col("t").eq(at(2))]), (2, 2));
        assert_eq!(of(&[lit(ScalarValue::TimestampNanosecond(Some(5_999), None)).lt_eq(col("t"))]), (5, i64::MAX));
        for nothing in [col("u").gt(at(5)), col("t").gt(at(5)).or(col("u").lt(at(5))), col("t").not_eq(at(5))] {
            assert_eq!(of(std::slice::from_ref(&nothing)), EVER, "{nothing}");
            assert!(!bounds(&nothing, "t"));
        }
    }
}
