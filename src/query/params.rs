//! Parameters of statements: JSON values put in the place of `$1` or `$name`.
//!
//! Invariant: a value becomes a literal of the syntax tree, never text of the statement, so it cannot be read as SQL.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions_mut};
use serde_json::Value as Json;

use super::error::QueryError;
use super::guard::MAX_LITERAL_BYTES;

/// Values for the placeholders of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Params {
    /// None given.
    #[default]
    None,
    /// For `$1`, `$2` …
    Positional(Vec<Json>),
    /// For `$name`.
    Named(serde_json::Map<String, Json>),
}

impl Params {
    /// An array is positional, an object is named, null is none.
    pub fn from_json(json: Json) -> Result<Params, QueryError> {
        match json {
            Json::Null => Ok(Params::None),
            Json::Array(values) => Ok(Params::Positional(values)),
            Json::Object(values) => Ok(Params::Named(values)),
            _ => Err(QueryError::invalid(
                "params must be a JSON array or object",
                "Give an array for $1, $2 …, or an object for $name.",
            )),
        }
    }

    fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Params::None => None,
            Params::Positional(values) => values.get(name.parse::<usize>().ok()?.checked_sub(1)?),
            Params::Named(values) => values.get(name),
        }
    }

    /// Every placeholder has a value, and every value a placeholder.
    pub(super) fn check(&self, placeholders: &[String]) -> Result<(), QueryError> {
        for name in placeholders {
            let Some(value) = self.get(name) else {
                return Err(QueryError::invalid(
                    format!("The parameter ${name} has no value"),
                    "Give params: an array for $1, $2 …, or an object for $name.",
                ));
            };
            literal(name, value)?;
        }
        let used: BTreeSet<&str> = placeholders.iter().map(String::as_str).collect();
        let given: Vec<String> = match self {
            Params::None => Vec::new(),
            Params::Positional(values) => (1..=values.len()).map(|n| n.to_string()).collect(),
            Params::Named(values) => values.keys().cloned().collect(),
        };
        match given.iter().find(|name| !used.contains(name.as_str())) {
            Some(name) => Err(QueryError::invalid(
                format!("The parameter ${name} does not occur in the statement"),
                "Write it where its value belongs, or leave it out of params.",
            )),
            None => Ok(()),
        }
    }

    /// Puts the values in.
    pub(super) fn bind(&self, statement: &mut Parsed) -> Result<(), QueryError> {
        match statement {
            Parsed::Statement(statement) => {
                let bound = visit_expressions_mut(statement.as_mut(), |expr| {
                    if let Expr::Value(value) = expr
                        && let Value::Placeholder(name) = &value.value
                    {
                        let name = name.trim_start_matches('$');
                        let json = self.get(name).unwrap_or(&Json::Null);
                        match literal(name, json) {
                            Ok(literal) => value.value = literal,
                            Err(e) => return ControlFlow::Break(e),
                        }
                    }
                    ControlFlow::Continue(())
                });
                match bound {
                    ControlFlow::Break(e) => Err(e),
                    ControlFlow::Continue(()) => Ok(()),
                }
            }
            Parsed::Explain(explain) => self.bind(&mut explain.statement),
            _ => Ok(()),
        }
    }
}

fn literal(name: &str, json: &Json) -> Result<Value, QueryError> {
    match json {
        Json::Null => Ok(Value::Null),
        Json::Bool(value) => Ok(Value::Boolean(*value)),
        Json::Number(value) => Ok(Value::Number(value.to_string(), false)),
        Json::String(value) if value.len() <= MAX_LITERAL_BYTES => Ok(Value::SingleQuotedString(value.clone())),
        Json::String(_) => Err(QueryError::refused(
            format!("The parameter ${name} is too long"),
            format!("A text parameter may have {MAX_LITERAL_BYTES} bytes."),
        )),
        Json::Array(_) | Json::Object(_) => Err(QueryError::invalid(
            format!("The parameter ${name} is no single value"),
            "Use a string, a number, true, false or null; for a list write IN ($1, $2, …) with one parameter each.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_placeholders_must_match() {
        let two = Params::from_json(json!(["a", 1])).unwrap();
        two.check(&["1".into(), "2".into(), "1".into()]).unwrap();
        assert_eq!(two.check(&["1".into()]).unwrap_err().title, "The parameter $2 does not occur in the statement");
        assert_eq!(two.check(&["3".into()]).unwrap_err().title, "The parameter $3 has no value");
        let named = Params::from_json(json!({"env": [1]})).unwrap();
        assert_eq!(named.check(&["env".into()]).unwrap_err().title, "The parameter $env is no single value");
        assert!(Params::from_json(json!("x")).is_err());
    }
}
