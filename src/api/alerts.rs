//! Rows for alert rules: `GET /api/v1/alerts/{name}`.
//!
//! Invariant: every row has the same columns, all of them text but `value`, a whole number; no two rows have the same texts; there is
//! always a row. A row stands for something over its threshold and says how much was measured, which is never 0; when nothing is, one
//! row without texts says 0. So a rule is `threshold gt 0`, and what is resolved goes away.

mod hub;
mod measure;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answers::FRESHNESS;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use super::resource::NAMES;
use super::rows;
use super::select::Select;
use super::sql::read_rows;
use crate::runtime::Published;
use measure::{ALERTS, Alert};

/// The most rows of an answer.
const ROWS_MAX: usize = 5_000;
/// The most rows that are measured for it.
const MEASURED_MAX: usize = 50_000;

/// A row of any alert; which texts there are depends on the alert.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes rows that are made as maps")]
pub(super) struct AlertRow {
    /// Whom to ask: the target's contact, else that of the thresholds, else the hub's default, else empty.
    contact: String,
    /// What to do.
    action: String,
    /// How much was measured; 0 when nothing is over its threshold.
    value: u64,
}

/// Answered from generations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alert))
}

/// Answered from the running hub.
pub(super) fn own_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(hub::alert))
}

/// What is over its threshold, as rows for an alert rule `threshold gt 0`.
#[utoipa::path(
    get, path = "/alerts/{name}", tag = "views", operation_id = "list_alert",
    description = "Texts and one number `value`. A row for everything that is over its threshold, with what was measured; one row with \
empty texts and 0 when nothing is. Thresholds are in the file of policies, under `alerts`. \
failed-rollouts: failing reconcilers; stalled-rollouts: seconds without a change; drift: percent of the target's reconcilers, rounded up; \
silent-hosts: hosts; unknown-commits: reconcilers; promotion-lag: seconds that something complete in `environment` has waited for \
`next_environment`.",
    params(
        ("name" = String, Path, description = "failed-rollouts, stalled-rollouts, drift, silent-hosts, unknown-commits or promotion-lag."),
        ("workspace" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("application" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("workload" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("environment" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("deployment_target" = Option<String>, Query, description = "Any of these values, as elsewhere; not for promotion-lag."),
        ("from" = Option<String>, Query, description = "Taken and without effect."),
        ("to" = Option<String>, Query, description = "Taken and without effect."),
    ),
    responses(
        (status = 200, description = "At least one row.", body = Vec<AlertRow>),
        (status = "4XX", description = "The question is malformed, or there is no such alert.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn alert(
    State(app): State<App>,
    Extension(published): Extension<Arc<Published>>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let Some(alert) = ALERTS.iter().find(|a| a.name == name) else {
        let known: Vec<&str> = ALERTS.iter().map(|a| a.name).chain(["hub"]).collect();
        return Err(Problem::not_found(format!("no alert '{name}'"), format!("There are: {}.", known.join(", "))));
    };
    let params = Params::of(&uri)?;
    let filters = alert.of.filters().map(|f| f.name).filter(|f| NAMES.contains(f) || *f == "next_environment");
    params.only(filters.chain(["from", "to"]).chain(FRESHNESS))?;
    let mut select = Select::new(alert.of, &params)?;
    select.only(alert.some);
    let measured: Vec<Map<String, Value>> = read_rows(&app, &published, select.finish(MEASURED_MAX)).await?;
    let (_, policies) = app.hub.policies();
    let over = measured.iter().filter_map(|row| {
        let value = (alert.over)(row, &policies)?;
        Some((labelled(alert, row, &app, measure::contact(row, &policies)), value))
    });
    let mut over = distinct(over);
    if over.is_empty() {
        over.push(nothing(alert));
    }
    let more = over.len() > ROWS_MAX;
    over.truncate(ROWS_MAX);
    let mut response = rows::written(&over)?;
    if more {
        rows::truncated(&mut response);
    }
    Ok(response)
}

/// The texts of a row.
fn labelled(alert: &Alert, row: &Map<String, Value>, app: &App, contact: Option<String>) -> Map<String, Value> {
    let texts = alert.labels.iter().map(|label| ((*label).to_owned(), Value::from(measure::text(row, label))));
    let contact = contact.unwrap_or_else(|| app.default_contact.to_string());
    let more = [("contact", Value::from(contact)), ("action", alert.action.into())];
    texts.chain(more.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// Rows of the same texts become one: hosts of nobody and hosts of the default contact, for example.
fn distinct(rows: impl Iterator<Item = (Map<String, Value>, u64)>) -> Vec<Value> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut distinct: Vec<(Map<String, Value>, u64)> = Vec::new();
    for (texts, value) in rows.take(MEASURED_MAX) {
        let place = *places.entry(Value::Object(texts.clone()).to_string()).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some(known) => known.1 += value,
            None => distinct.push((texts, value)),
        }
    }
    let whole = |(mut texts, value): (Map<String, Value>, u64)| {
        texts.insert("value".to_owned(), value.into());
        Value::Object(texts)
    };
    distinct.into_iter().map(whole).collect()
}

/// The row that says that all is well.
fn nothing(alert: &Alert) -> Value {
    let texts = alert.labels.iter().chain(&["contact", "action"]).map(|label| ((*label).to_owned(), Value::from("")));
    Value::Object(texts.chain([("value".to_owned(), Value::from(0))]).collect())
}
