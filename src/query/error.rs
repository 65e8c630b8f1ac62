//! What can go wrong with a statement, in words for whoever wrote it.
//!
//! Invariant: nothing of the engine's insides (backtraces, Rust types, "likely a bug") reaches a [`QueryError`]; the
//! original of an internal error goes to the log only.

use datafusion::common::{DataFusionError, SchemaError};

use super::functions::LEFT_OUT;
use crate::model::nearest;

/// What kind of failure it was; handlers turn it into a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The statement is wrong: syntax, names, types, values (400).
    Invalid,
    /// The statement is understood and not allowed here: it writes, or is too big to be run safely (400 or 403).
    Refused,
    /// It did not finish within its time (504).
    Timeout,
    /// Too many statements are running and waiting already (429 or 503).
    Busy,
    /// Its answer, or the memory it needs, is over a limit (413 or 422).
    TooLarge,
    /// The hub's own fault (500).
    Internal,
}

/// A failed statement: a one-line title and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct QueryError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// One line without secrets or internals, fit for a reason phrase.
    pub title: String,
    /// What was wrong, where, and what to do.
    pub detail: String,
}

impl QueryError {
    /// The statement is wrong.
    pub fn invalid(title: impl Into<String>, detail: impl Into<String>) -> QueryError {
        QueryError { kind: ErrorKind::Invalid, title: title.into(), detail: detail.into() }
    }

    /// The statement is not allowed.
    pub fn refused(title: impl Into<String>, detail: impl Into<String>) -> QueryError {
        QueryError { kind: ErrorKind::Refused, title: title.into(), detail: detail.into() }
    }

    /// The answer or the memory needed is over a limit.
    pub fn too_large(title: impl Into<String>, detail: impl Into<String>) -> QueryError {
        QueryError { kind: ErrorKind::TooLarge, title: title.into(), detail: detail.into() }
    }

    /// The deadline passed.
    pub(super) fn timeout(after: std::time::Duration) -> QueryError {
        QueryError {
            kind: ErrorKind::Timeout,
            title: format!("The statement did not finish within {} s", after.as_secs_f32()),
            detail: "Narrow it with WHERE, aggregate less, or join on equal keys; EXPLAIN shows the plan.".into(),
        }
    }

    /// Something broke inside; the cause is logged, not told.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> QueryError {
        tracing::error!(%cause, "a statement failed inside the SQL engine");
        QueryError {
            kind: ErrorKind::Internal,
            title: "The statement failed inside the hub".into(),
            detail: "This is not the statement's fault. The hub's log has the cause; please report it.".into(),
        }
    }

    /// For raising out of code that DataFusion calls; [`from_engine`] finds it again.
    pub(super) fn into_engine(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

/// Translates an error of the engine; `names` are the tables and views there are.
pub(super) fn from_engine(error: &DataFusionError, names: &[String]) -> QueryError {
    if let Some(own) = find_own(error) {
        return own.clone();
    }
    let text = error.to_string();
    if text.contains("used disk space during the spilling") {
        return out_of_memory("Its temporary files are over their limit");
    }
    if ["CompiledTooBig", "regex exceeds size limit", "regex parse error", "egular expression did not compile"]
        .iter()
        .any(|m| text.contains(m))
    {
        return QueryError::invalid(
            "A regular expression cannot be used",
            "Check its syntax, and shorten counted repetitions such as {1,1000}.",
        );
    }
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => from_schema(schema),
        DataFusionError::SQL(parser, _) => QueryError::invalid(
            "The statement is not valid SQL",
            format!("{}. The dialect is that of Apache DataFusion, near to PostgreSQL.", sentence(&parser.to_string())),
        ),
        DataFusionError::Plan(text) => from_plan(text, names),
        DataFusionError::ResourcesExhausted(text) => out_of_memory(match text.contains("of all statements") {
            true => "The memory of all statements together is used up just now; trying again may help",
            false => "Its intermediate rows do not fit",
        }),
        DataFusionError::NotImplemented(text) => {
            QueryError::invalid("The statement uses what this SQL engine does not offer", sentence(text))
        }
        DataFusionError::ArrowError(arrow, _) => {
            QueryError::invalid("A value does not fit the operation", sentence(&arrow.to_string()))
        }
        DataFusionError::Execution(text) | DataFusionError::Configuration(text) => {
            QueryError::invalid("The statement cannot be evaluated", sentence(text))
        }
        other => QueryError::internal(other),
    }
}

fn out_of_memory(why: &str) -> QueryError {
    QueryError::too_large(
        "The statement needs more memory than one statement may use",
        format!("{why}. Narrow it with WHERE, select fewer columns, or aggregate before joining."),
    )
}

/// A [`QueryError`] that travelled through the engine.
fn find_own<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a QueryError> {
    let mut at = Some(error);
    while let Some(e) = at {
        if let Some(own) = e.downcast_ref::<QueryError>() {
            return Some(own);
        }
        if let Some(DataFusionError::External(inner)) = e.downcast_ref::<DataFusionError>()
            && let Some(own) = inner.downcast_ref::<QueryError>()
        {
            return Some(own);
        }
        if let Some(DataFusionError::Collection(all)) = e.downcast_ref::<DataFusionError>() {
            return all.iter().find_map(|one| find_own(one));
        }
        at = e.source();
    }
    None
}

fn from_schema(error: &SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|c| c.name.clone()).collect();
            let hint = nearest(&field.name, &names).map(|n| format!("Did you mean {n}? ")).unwrap_or_default();
            QueryError::invalid(
                format!("There is no column {}", field.flat_name()),
                format!("{hint}{}", listing("Columns at this place", &names)),
            )
        }
        SchemaError::AmbiguousReference { field } => QueryError::invalid(
            format!("The column {} is in several tables", field.name),
            "Write the table or its alias before it, as in t.name.".to_string(),
        ),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            QueryError::invalid(
                format!("Two columns are called {name}"),
                "Rename one with AS, or name the columns instead of using *.".to_string(),
            )
        }
    }
}

fn from_plan(text: &str, names: &[String]) -> QueryError {
    if let Some(rest) = text.strip_prefix("table '")
        && let Some((full, _)) = rest.split_once("' not found")
    {
        let name = full.strip_prefix("koh.public.").or_else(|| full.strip_prefix("koh.")).unwrap_or(full);
        let hint = nearest(name, names).map(|n| format!("Did you mean {n}? ")).unwrap_or_default();
        return QueryError::invalid(
            format!("There is no table or view {name}"),
            format!("{hint}{}", listing("Tables and views", names)),
        );
    }
    if let Some(rest) = text.strip_prefix("Invalid function '")
        && let Some((name, rest)) = rest.split_once('\'')
    {
        if LEFT_OUT.contains(&name.to_lowercase().as_str()) {
            return QueryError::refused(
                format!("The function {name} is not offered here"),
                "It could take unbounded memory or time, or show what is not the hub's. SHOW FUNCTIONS lists what there is.",
            );
        }
        let hint = rest.trim_start_matches(['.', '\n', ' ']).trim();
        let detail = format!("{hint} SHOW FUNCTIONS lists what there is.");
        return QueryError::invalid(format!("There is no function {name}"), detail.trim().to_string());
    }
    if let Some(rest) = text.strip_prefix("table function '")
        && let Some((name, _)) = rest.split_once('\'')
    {
        return QueryError::refused(
            format!("There is no table function {name} here"),
            "Statements read the hub's own tables and views only, never files, addresses or generated rows."
                .to_string(),
        );
    }
    for refused in ["DDL not supported", "DML not supported", "Statement not supported"] {
        if text.starts_with(refused) {
            return QueryError::refused(
                "The SQL interface is read-only",
                "Use SELECT, WITH, VALUES, SHOW TABLES, DESCRIBE or EXPLAIN.".to_string(),
            );
        }
    }
    for mark in ["Function '", "call to the function '", "call to '", "call to function '"] {
        let mismatch = text.contains("match any signature") || text.contains("coerc") && text.contains("signature");
        if mismatch && let Some(name) = text.split(mark).nth(1).and_then(|rest| rest.split('\'').next()) {
            return QueryError::invalid(
                format!("The function {name} does not take these arguments"),
                "Check how many there are and their types; CAST(x AS DOUBLE) or CAST(x AS VARCHAR) converts.",
            );
        }
    }
    QueryError::invalid("The statement cannot be planned", sentence(text))
}

/// The first lines of an engine message, without its prefixes, traces and apologies.
fn sentence(text: &str) -> String {
    let cut = ["\n\nbacktrace:", "This was likely caused by", "This issue was likely caused", "\nHint:"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let text = text[..cut].replace("While expanding wildcard, ", "");
    let mut text = text.trim();
    for prefix in [
        "Internal error: ",
        "SQL error: ",
        "sql parser error: ",
        "ParserError(",
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Invalid argument error: ",
        "Compute error: ",
        "Cast error: ",
        "Parser error: ",
        "This feature is not implemented: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = one_line.chars().take(400).collect();
    if short.len() < one_line.len() {
        short.push('…');
    }
    short.trim_end_matches('.').to_string()
}

fn listing(what: &str, names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(40);
    let shown = names.iter().take(40).copied().collect::<Vec<_>>().join(", ");
    match more {
        0 => format!("{what}: {shown}."),
        n => format!("{what}: {shown} and {n} more."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_messages_lose_prefixes_traces_and_apologies() {
        let text = "Error during planning: boom here.\n\nbacktrace: 0: std::foo";
        assert_eq!(sentence(text), "boom here");
        assert_eq!(sentence("x.\nThis was likely caused by a bug in DataFusion's code"), "x");
    }

    #[test]
    fn a_misspelt_table_is_answered_with_the_nearest_one() {
        let names = vec!["hosts".to_string(), "reconcilers".to_string()];
        let e = from_engine(&DataFusionError::Plan("table 'koh.public.host' not found".into()), &names);
        assert_eq!(e.title, "There is no table or view host");
        assert!(e.detail.contains("Did you mean hosts?"), "{}", e.detail);
    }

    #[test]
    fn own_errors_survive_the_way_through_the_engine() {
        let own = QueryError::refused("no", "because");
        let wrapped = DataFusionError::Context("deep".into(), Box::new(own.clone().into_engine()));
        assert_eq!(from_engine(&wrapped, &[]), own);
    }
}
