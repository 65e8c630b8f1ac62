//! Checks of the syntax tree and of the logical plan, before anything is optimised or run.
//!
//! Invariant: a plan that passes only reads, has a bounded number of tables after views and common table expressions
//! are unfolded, and cannot grow exponentially when the optimiser inlines columns into one another.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement as Ast, Visit, Visitor};

use super::error::QueryError;
use super::functions::COLLECTING;

/// Most tables read by one statement, each mention counted, with common table expressions unfolded.
const MAX_TABLES: usize = 256;
/// Most columns at any place of a plan.
const MAX_COLUMNS: usize = 512;
/// How often one output column may name input columns, unfolded through all levels below it.
const MAX_UNFOLDED: u64 = 5_000;

/// Counts tables with every common table expression unfolded where it is used: the engine plans them as copies.
pub(super) fn tables(statement: &Parsed) -> Result<(), QueryError> {
    let statement = match statement {
        Parsed::Statement(statement) => statement,
        Parsed::Explain(explain) => return tables(&explain.statement),
        _ => return Err(read_only()),
    };
    let (direct, ctes) = direct_mentions(statement.as_ref());
    let total = unfold(&direct, &ctes, &mut HashMap::new(), &mut HashSet::new());
    if total > MAX_TABLES {
        return Err(QueryError::refused(
            "The statement reads too many tables",
            format!("At most {MAX_TABLES} mentions are accepted, those inside WITH counted at every use."),
        ));
    }
    Ok(())
}

/// Mentions of a statement, and of every common table expression in it (by lower-case name; equal names add up).
#[derive(Default)]
struct Mentions {
    direct: Vec<String>,
    ctes: HashMap<String, Vec<String>>,
    /// The queries of common table expressions, by address, with their names: what is mentioned inside is theirs.
    bodies: HashMap<usize, String>,
    inside: Vec<String>,
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(name) = self.bodies.get(&address(query)) {
            self.inside.push(name.clone());
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_lowercase();
            self.ctes.entry(name.clone()).or_default();
            self.bodies.insert(address(&cte.query), name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.bodies.contains_key(&address(query)) {
            self.inside.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.to_string().to_lowercase().trim_matches('"').to_string();
        match self.inside.last() {
            Some(body) => self.ctes.entry(body.clone()).or_default().push(name),
            None => self.direct.push(name),
        }
        ControlFlow::Continue(())
    }
}

/// Where a query lies in memory: its identity while the tree is not changed.
fn address(query: &Query) -> usize {
    std::ptr::from_ref(query) as usize
}

fn direct_mentions(statement: &Ast) -> (Vec<String>, HashMap<String, Vec<String>>) {
    let mut mentions = Mentions::default();
    let _ = statement.visit(&mut mentions);
    (mentions.direct, mentions.ctes)
}

/// Counts `names`, each common table expression with all it mentions.
fn unfold(
    names: &[String],
    ctes: &HashMap<String, Vec<String>>,
    known: &mut HashMap<String, usize>,
    open: &mut HashSet<String>,
) -> usize {
    let mut total = 0usize;
    for name in names {
        let weight = match (ctes.get(name), known.get(name)) {
            (None, _) => 1,
            (_, Some(weight)) => *weight,
            (Some(_), None) if open.contains(name) => 1,
            (Some(body), None) => {
                open.insert(name.clone());
                let weight = unfold(body, ctes, known, open).max(1);
                open.remove(name);
                known.insert(name.clone(), weight);
                weight
            }
        };
        total = total.saturating_add(weight);
    }
    total
}

/// Refuses plans that write, or that would explode while being optimised.
pub(super) fn plan(plan: &LogicalPlan) -> Result<(), QueryError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| read_only())?;
    let mut failed = None;
    let mut scans = 0;
    let visited = plan.apply_with_subqueries(|node| {
        failed = node_fails(node, &mut scans);
        Ok(if failed.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.map_err(|e| super::error::from_engine(&e, &[]))?;
    if let Some(failed) = failed {
        return Err(failed);
    }
    unfolded(plan).map(|_| ())
}

fn node_fails(node: &LogicalPlan, scans: &mut usize) -> Option<QueryError> {
    match node {
        LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            return Some(read_only());
        }
        LogicalPlan::Analyze(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Extension(_) => {
            return Some(QueryError::refused("The statement is not accepted", "Use a plain SELECT, or EXPLAIN."));
        }
        LogicalPlan::TableScan(_) => *scans += 1,
        LogicalPlan::Window(window) => {
            let collects = window.window_expr.iter().any(|expr| {
                let mut found = false;
                let _ = expr.apply(|e| {
                    if let Expr::WindowFunction(f) = e {
                        found |= COLLECTING.contains(&f.fun.name());
                    }
                    Ok(TreeNodeRecursion::Continue)
                });
                found
            });
            if collects {
                return Some(QueryError::refused(
                    format!("{} cannot be used with OVER here", COLLECTING.join(" and ")),
                    "They would copy the whole window into every row; group instead.",
                ));
            }
        }
        _ => {}
    }
    if *scans > 2 * MAX_TABLES {
        return Some(QueryError::refused(
            "The statement reads too many tables",
            "Views count with the tables behind them; read fewer of them at once.",
        ));
    }
    if node.schema().fields().len() > MAX_COLUMNS {
        return Some(QueryError::refused(
            "The statement has too many columns",
            format!("At most {MAX_COLUMNS} columns are accepted at any level of it."),
        ));
    }
    None
}

/// For every output column of a node: how many leaves its expression has once all levels below are inlined.
fn unfolded(plan: &LogicalPlan) -> Result<Vec<u64>, QueryError> {
    let mut inputs = Vec::new();
    for input in plan.inputs() {
        inputs.push((input.schema(), unfolded(input)?));
    }
    let lookup = |column: &Column| {
        inputs
            .iter()
            .find_map(|(schema, weights)| schema.maybe_index_of_column(column).and_then(|i| weights.get(i).copied()))
            .unwrap_or(1)
    };
    let weigh = |expr: &Expr| {
        let mut total = 0u64;
        let _ = expr.apply(|e| {
            if let Expr::Column(column) = e {
                total = total.saturating_add(lookup(column));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        total.max(1)
    };
    let width = plan.schema().fields().len();
    let all = || inputs.iter().flat_map(|(_, weights)| weights.iter().copied());
    let weights: Vec<u64> = match plan {
        LogicalPlan::Projection(p) => p.expr.iter().map(weigh).collect(),
        LogicalPlan::Aggregate(a) => a.group_expr.iter().chain(&a.aggr_expr).map(weigh).collect(),
        LogicalPlan::Window(w) => all().chain(w.window_expr.iter().map(weigh)).collect(),
        LogicalPlan::Union(_) => {
            let column = |i: usize| inputs.iter().filter_map(|(_, weights)| weights.get(i).copied()).max().unwrap_or(1);
            (0..width).map(column).collect()
        }
        _ => all().collect(),
    };
    // Whatever keeps neither the columns of its input nor has expressions of its own: every column may be the heaviest.
    let weights = match weights.len() == width {
        true => weights,
        false => vec![all().max().unwrap_or(1); width],
    };
    if weights.iter().any(|weight| *weight > MAX_UNFOLDED) {
        return Err(QueryError::refused(
            "The statement multiplies its own expressions",
            "A column is built from columns that are built from columns …, several times each. Compute it in fewer levels.",
        ));
    }
    Ok(weights)
}

fn read_only() -> QueryError {
    QueryError::refused("The SQL interface is read-only", "Use SELECT, WITH, VALUES, SHOW TABLES, DESCRIBE or EXPLAIN.")
}
