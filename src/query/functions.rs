//! The functions statements may call.
//!
//! Invariant: a function is here because its name is on a list below. Those whose result can be larger than their
//! arguments run behind `bounded`; those that collect rows into one value behind `collect`.
//!
//! Left out, and why:
//! - `range`, `generate_series`, `array_repeat`, `array_resize`, `unnest` over generated lists: rows and elements out of nothing.
//! - `approx_distinct`, `approx_percentile_cont*`, `approx_median`: sketches of many KiB per group, reserved only after
//!   a whole batch of groups exists; `count(DISTINCT …)`, `median` and `percentile_cont` do reserve.
//! - `levenshtein`: quadratic in its arguments, without a place to stop.
//! - `arrow_cast`, `arrow_typeof`, `arrow_metadata`, `with_metadata`: types and tags of the engine, some with a size in them.
//! - `struct`, `named_struct`, `map`, lambdas: nested values have no place in flat answers and can double at every level.
//! - `input_file_name`, `version`, `digest`, `encode` and the like: nothing the hub's tables need.

pub(super) mod bounded;
pub(super) mod collect;
pub(super) mod concat;
pub(super) mod page;
pub(super) mod planner;

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

/// Aggregates that put many rows into one value.
pub(super) const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];

/// Functions whose pattern must be a literal: a pattern per row means a compiled automaton per row.
pub(super) const PATTERNS: [&str; 5] =
    ["regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// Functions of the engine that are left out on purpose, for the error that says so.
pub(super) const LEFT_OUT: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_repeat",
    "array_resize",
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "cast_to_type",
    "decode",
    "digest",
    "encode",
    "file_row_index",
    "generate_series",
    "input_file_name",
    "levenshtein",
    "list_repeat",
    "list_resize",
    "map",
    "md5",
    "named_struct",
    "range",
    "row",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "struct",
    "try_cast_to_type",
    "version",
    "with_metadata",
];

/// Scalar functions whose result is no larger than their arguments (times three for changes of case).
const PLAIN: &[&str] = &[
    // numbers
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "cot",
    "degrees",
    "exp",
    "factorial",
    "floor",
    "gcd",
    "isnan",
    "iszero",
    "lcm",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "power",
    "radians",
    "random",
    "round",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    // choices
    "coalesce",
    "greatest",
    "least",
    "nullif",
    "nvl",
    "nvl2",
    // time
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "from_unixtime",
    "make_date",
    "now",
    "to_date",
    "to_local_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    // text
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "chr",
    "contains",
    "ends_with",
    "find_in_set",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "octet_length",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substr_index",
    "to_hex",
    "upper",
    "uuid",
    // lists
    "array_any_value",
    "array_dims",
    "array_distinct",
    "array_element",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_reverse",
    "array_slice",
    "array_sort",
    "cardinality",
    "empty",
    "get_field",
];

const AGGREGATES: &[&str] = &[
    "any_value",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// The scalar functions of the allow-list.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let known = SessionStateDefaults::default_scalar_functions().into_iter();
    let mut allowed: Vec<Arc<ScalarUDF>> = known
        .filter_map(|udf| match bounded::growth(udf.name()) {
            Some(growth) => Some(bounded::bound(udf, growth)),
            None => PLAIN.contains(&udf.name()).then_some(udf),
        })
        .collect();
    allowed.push(concat::operator());
    allowed.extend(page::pages());
    allowed
}

/// The aggregate functions of the allow-list.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let known = SessionStateDefaults::default_aggregate_functions().into_iter();
    known
        .filter_map(|udaf| match COLLECTING.contains(&udaf.name()) {
            true => Some(collect::bound(&udaf)),
            false => AGGREGATES.contains(&udaf.name()).then_some(udaf),
        })
        .collect()
}

/// The window functions of the allow-list.
pub(super) fn window() -> Vec<Arc<WindowUDF>> {
    let known = SessionStateDefaults::default_window_functions().into_iter();
    known.filter(|udwf| WINDOWS.contains(&udwf.name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_function_exists_and_no_other_is_offered() {
        let names: Vec<String> = scalar().iter().map(|f| f.name().to_string()).collect();
        for wanted in PLAIN {
            assert!(names.iter().any(|n| n == wanted), "{wanted}");
        }
        for denied in
            ["range", "generate_series", "array_repeat", "array_resize", "arrow_cast", "levenshtein", "named_struct"]
        {
            assert!(!names.iter().any(|n| n == denied), "{denied}");
        }
        let names: Vec<String> = aggregate().iter().map(|f| f.name().to_string()).collect();
        for wanted in AGGREGATES.iter().chain(&COLLECTING) {
            assert!(names.iter().any(|n| n == wanted), "{wanted}");
        }
        let names: Vec<String> = window().iter().map(|f| f.name().to_string()).collect();
        for wanted in WINDOWS {
            assert!(names.iter().any(|n| n == wanted), "{wanted}");
        }
    }
}
