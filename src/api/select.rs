//! Turns query parameters into one SELECT with bound parameters.
//!
//! Invariant: no value a client sent is ever part of the SQL text; the text is made of names in [`super::resource`] alone.

use super::params::Params;
use super::problem::Problem;
use super::resource::{Kind, Resource, Span};
use crate::model::Micros;
use serde_json::Value;

/// A SELECT in the making.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) table: &'static str,
    conditions: Vec<String>,
    pub(super) order: &'static [&'static str],
    newest_first: bool,
    bound: Vec<Value>,
    /// The filters behind the conditions, as long as they are all that the conditions say.
    pub(super) filters: Option<Vec<Filtered>>,
}

/// A filter with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    /// The text of a column is one of these, or null.
    AnyOf { column: &'static str, values: Vec<String>, or_null: bool },
    /// A column is one of these.
    Flag { column: &'static str, values: Vec<bool> },
}

/// The value that filters for null.
const NULL: &str = "null";

impl Select {
    /// Every row of a resource.
    fn all(resource: &'static Resource) -> Select {
        Select {
            table: resource.table,
            conditions: Vec::new(),
            order: resource.order,
            newest_first: resource.newest_first,
            bound: Vec::new(),
            filters: Some(Vec::new()),
        }
    }

    /// Reads the filters of a resource.
    pub(super) fn new(resource: &'static Resource, params: &Params) -> Result<Select, Problem> {
        let mut select = Select::all(resource);
        for filter in resource.filters() {
            let Some(values) = params.list(filter.name)? else { continue };
            match filter.kind {
                Kind::Text => select.any_of(filter.name, values),
                Kind::Commit => select.any_of(filter.name, values.iter().map(|v| commit(v)).collect()),
                Kind::Flag => select.flag(filter.name, &values)?,
            }
        }
        let (from, to) = params.range()?;
        select.within(resource.span, from, to);
        Ok(select)
    }

    /// Only rows of this range of time.
    pub(super) fn within(&mut self, span: Span, from: Option<Micros>, to: Option<Micros>) {
        match span {
            Span::Now => {}
            Span::At(at) => {
                self.time(from, |bound| format!("{at} >= {bound}"));
                self.time(to, |bound| format!("{at} < {bound}"));
            }
            Span::During(start, end) => {
                self.time(from, |bound| format!("({end} IS NULL OR {end} >= {bound})"));
                self.time(to, |bound| format!("({start} IS NULL OR {start} < {bound})"));
            }
            Span::Mark(start, end) => {
                self.time(from, |bound| format!("coalesce({end}, {start}) >= {bound}"));
                self.time(to, |bound| format!("{start} < {bound}"));
            }
        }
    }

    /// Only rows with this id; where a name alone is unique, the name does as well.
    pub(super) fn by_id(resource: &'static Resource, id: &str) -> Select {
        let mut select = Select::all(resource);
        let bound = select.bind(Value::from(id));
        let named: Vec<String> = resource.id.iter().map(|c| format!("CAST({c} AS VARCHAR) = {bound}")).collect();
        select.conditions.push(format!("({})", named.join(" OR ")));
        select.filters = None;
        select
    }

    /// Only rows after this key, in the resource's order.
    pub(super) fn after(&mut self, resource: &Resource, key: Vec<Value>) {
        let bound: Vec<String> = key.into_iter().map(|p| self.bind(p)).collect();
        let columns = resource.key();
        let after = if resource.newest_first { "<" } else { ">" };
        let mut steps = Vec::with_capacity(columns.len());
        for (i, (column, value)) in columns.iter().zip(&bound).enumerate() {
            let mut step: Vec<String> = columns.iter().zip(&bound).take(i).map(|(c, v)| format!("{c} = {v}")).collect();
            step.push(format!("{column} {after} {value}"));
            steps.push(format!("({})", step.join(" AND ")));
        }
        self.conditions.push(format!("({})", steps.join(" OR ")));
        self.filters = None;
    }

    /// Only rows for which this holds; the text is the hub's own.
    pub(super) fn only(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
        self.filters = None;
    }

    /// The condition of all that was said (` WHERE …`, or nothing) and its values, for a statement of another form.
    pub(super) fn condition(self) -> (String, Vec<Value>) {
        (self.where_clause(), self.bound)
    }

    fn where_clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!(" WHERE {}", self.conditions.join(" AND ")) }
    }

    /// The statement for at most `limit` rows.
    pub(super) fn finish(self, limit: usize) -> (String, Vec<Value>) {
        let conditions = self.where_clause();
        let order = self.order.join(if self.newest_first { " DESC, " } else { ", " });
        let order = if self.newest_first { format!("{order} DESC") } else { order };
        let sql = format!("SELECT * FROM {}{conditions} ORDER BY {order} LIMIT {limit}", self.table);
        (sql, self.bound)
    }

    /// The placeholder of a value.
    pub(super) fn bind(&mut self, value: Value) -> String {
        self.bound.push(value);
        format!("${}", self.bound.len())
    }

    fn any_of(&mut self, column: &'static str, mut values: Vec<String>) {
        let all = values.len();
        values.retain(|v| v != NULL);
        let or_null = values.len() < all;
        let bound: Vec<String> = values.iter().map(|v| self.bind(Value::from(v.as_str()))).collect();
        self.conditions.push(match (bound.as_slice(), or_null) {
            ([], _) => format!("{column} IS NULL"),
            ([one], false) => format!("{column} = {one}"),
            (_, false) => format!("{column} IN ({})", bound.join(", ")),
            (_, true) => format!("({column} IS NULL OR {column} IN ({}))", bound.join(", ")),
        });
        self.filters.iter_mut().for_each(|f| f.push(Filtered::AnyOf { column, values: values.clone(), or_null }));
    }

    fn flag(&mut self, column: &'static str, values: &[String]) -> Result<(), Problem> {
        let read = |value: &String| match value.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(Problem::parameter(
                format!("'{column}' is true or false, not '{other}'"),
                "Leave the parameter out to see both.",
            )),
        };
        let values = values.iter().map(read).collect::<Result<Vec<bool>, Problem>>()?;
        let words: Vec<String> =
            values.iter().map(|is| if *is { column.to_owned() } else { format!("NOT {column}") }).collect();
        self.conditions.push(format!("({})", words.join(" OR ")));
        self.filters.iter_mut().for_each(|f| f.push(Filtered::Flag { column, values: values.clone() }));
        Ok(())
    }

    fn time(&mut self, at: Option<Micros>, condition: impl Fn(&str) -> String) {
        if let Some(at) = at {
            let bound = self.bind(Value::from(rfc3339(at)));
            self.conditions.push(condition(&bound));
            self.filters = None;
        }
    }
}

/// The first instant that an event can have.
const FIRST: Micros = Micros(0);
/// Later than every event, and still what the engine can compare with: it counts nanoseconds, and these end in 2262.
const LAST: Micros = Micros(9_214_646_400_000_000);

/// An instant with all its digits, so that a comparison is exact.
fn rfc3339(at: Micros) -> String {
    let at = at.clamp(FIRST, LAST);
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.to_string(), |t| t.to_string())
}

/// A commit in the spelling the tables have; what is no commit matches nothing rather than everything.
fn commit(value: &str) -> String {
    if value == NULL { value.to_owned() } else { crate::normalize::commit(value).unwrap_or_else(|| value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::resource::{LISTS, PROMOTIONS, VIEWS};
    use super::*;

    fn select(resource: &'static Resource, query: &str) -> (String, Vec<Value>) {
        let params = Params::of(&format!("/x?{query}").parse().unwrap()).unwrap();
        Select::new(resource, &params).unwrap().finish(10)
    }

    fn named(name: &str) -> &'static Resource {
        LISTS.iter().chain(&VIEWS).find(|r| r.name == name).unwrap()
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let (sql, bound) = select(named("environments"), "environment=x'%3B--,dev");
        assert_eq!(sql, "SELECT * FROM environments WHERE environment IN ($1, $2) ORDER BY environment LIMIT 10");
        assert_eq!(bound, [Value::from("dev"), Value::from("x';--")]);
    }

    #[test]
    fn null_can_be_asked_for() {
        let (sql, _) = select(named("environment-state"), "status=null,failure");
        assert!(sql.contains("WHERE (status IS NULL OR status IN ($1))"), "{sql}");
    }

    #[test]
    fn a_page_goes_on_after_the_whole_key() {
        let resource = named("applications");
        let mut select = Select::new(resource, &Params::default()).unwrap();
        select.after(resource, ["w", "a"].map(Value::from).to_vec());
        let (sql, _) = select.finish(2);
        assert!(sql.contains("((workspace > $1) OR (workspace = $1 AND application > $2))"), "{sql}");
        let resource = named("transitions");
        let mut select = Select::new(resource, &Params::default()).unwrap();
        select.after(resource, vec![Value::from(7), Value::from("x")]);
        let (sql, _) = select.finish(5);
        assert!(sql.contains("((seq > $1) OR (seq = $1 AND transition_id > $2))"), "{sql}");
    }

    #[test]
    fn what_comes_newest_first_goes_on_with_what_is_older() {
        let mut select = Select::new(&PROMOTIONS, &Params::default()).unwrap();
        select.after(&PROMOTIONS, ["2026-01-01T00:00:00.000Z", "w", "a", "l", "e", "v"].map(Value::from).to_vec());
        let (sql, _) = select.finish(5);
        assert!(sql.contains("WHERE ((assigned_at < $1) OR (assigned_at = $1 AND workspace < $2) OR"), "{sql}");
        assert!(sql.contains("ORDER BY assigned_at DESC, workspace DESC,"), "{sql}");
        assert!(sql.ends_with("version DESC LIMIT 5"), "{sql}");
    }

    #[test]
    fn intervals_are_touched_and_instants_lie_inside() {
        let (sql, _) =
            select(named("deployments"), "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&rolled_back=true");
        assert!(
            sql.contains(
                "(rolled_back) AND (ended_at IS NULL OR ended_at >= $1) AND (deployed_at IS NULL OR deployed_at < $2)"
            ),
            "{sql}"
        );
        let (sql, _) = select(named("transitions"), "to=1795132800000");
        assert!(sql.contains("WHERE reported_at < $1 ORDER BY seq"), "{sql}");
    }
}
