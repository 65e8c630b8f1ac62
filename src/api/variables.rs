//! The values that a dashboard's variables offer: `GET /api/v1/variables/{name}`.
//!
//! Invariant: never an empty answer, since an empty list breaks a variable in Grafana; what stands in for "nothing" and "more" is no
//! name, so that as a filter it matches nothing. Answers are small: browsers freeze on large ones.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{OriginalUri, Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answers::FRESHNESS;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use super::resource::{NAMES, Resource, TARGET, view};
use super::rows;
use super::select::Select;
use super::sql::read_rows;
use crate::runtime::Published;

/// How many values are answered when nobody says.
const VALUES: usize = 1_000;
/// The most values of an answer.
const VALUES_MAX: usize = 5_000;

/// A value of a variable.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Variable {
    /// What is shown.
    __text: String,
    /// What filters take.
    __value: String,
}

/// Where values come from.
enum Source {
    /// A column of the living deployment targets.
    Targets(&'static str),
    /// A column of the assignments, the newest first.
    Assignments(&'static str),
    /// A column of the living hosts; of the drift of targets, where a filter names any.
    Hosts(&'static str),
    /// Words: what is shown where it is another one, and what filters take.
    Words(&'static [(&'static str, &'static str)]),
}

static TARGETS: Resource = view("deployment-targets", "deployment_targets", TARGET);
static ASSIGNMENTS: Resource = view("assignments", "assignments", TARGET);
static HOSTS: Resource = view("hosts", "hosts", &["host"]);
static DRIFT: Resource = view("drift", "drift", TARGET);

/// The variables, by name.
const VARIABLES: [(&str, Source); 15] = [
    ("workspaces", Source::Targets("workspace")),
    ("applications", Source::Targets("application")),
    ("workloads", Source::Targets("workload")),
    ("environments", Source::Targets("environment")),
    ("deployment-targets", Source::Targets("deployment_target")),
    ("versions", Source::Assignments("version")),
    ("commits", Source::Assignments("commit")),
    ("hosts", Source::Hosts("host")),
    ("cluster-types", Source::Hosts("cluster_type")),
    ("rings", Source::Hosts("ring")),
    ("regions", Source::Hosts("region")),
    (
        "statuses",
        Source::Words(&[
            ("success", "success"),
            ("failure", "failure"),
            ("in_progress", "in_progress"),
            ("unknown", "unknown"),
            ("never reported", "null"),
        ]),
    ),
    (
        "drifts",
        Source::Words(&[
            ("missing", "missing"),
            ("unassigned", "unassigned"),
            ("silent", "silent"),
            ("failing", "failing"),
            ("unknown_commit", "unknown_commit"),
            ("ahead", "ahead"),
            ("stalled", "stalled"),
            ("progressing", "progressing"),
            ("behind", "behind"),
            ("in_sync", "in_sync"),
        ]),
    ),
    (
        "liveness",
        Source::Words(&[
            ("online", "online"),
            ("late", "late"),
            ("silent", "silent"),
            ("unknown", "unknown"),
            ("retired", "retired"),
        ]),
    ),
    (
        "verdicts",
        Source::Words(&[
            ("superseded", "superseded"),
            ("failed", "failed"),
            ("stalled", "stalled"),
            ("in_progress", "in_progress"),
            ("complete", "complete"),
        ]),
    ),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(variable))
}

/// Values for a variable of a dashboard, at least one.
#[utoipa::path(
    get, path = "/variables/{name}", tag = "views", operation_id = "list_variable",
    description = "Rows for the variables of dashboards: distinct and sorted, versions and commits with the newest first. Where there is \
no value one row says `(none)`; where there are more than `limit`, the last row says `(more)` and so does X-Kalypso-Truncated. \
Filters as elsewhere; which there are depends on the variable, and every one takes the names of a deployment target.",
    params(
        ("name" = String, Path, description = "workspaces, applications, workloads, environments, deployment-targets, versions, commits, hosts, cluster-types, rings, regions, statuses, drifts, liveness or verdicts."),
        ("workspace" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("application" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("workload" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("environment" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("deployment_target" = Option<String>, Query, description = "Any of these values, as elsewhere."),
        ("search" = Option<String>, Query, description = "Only values that contain this, in any case."),
        ("limit" = Option<usize>, Query, description = "The most values, 1 to 5000; 1000 when absent."),
        ("from" = Option<String>, Query, description = "Taken and without effect."),
        ("to" = Option<String>, Query, description = "Taken and without effect."),
    ),
    responses(
        (status = 200, description = "The values.", body = Vec<Variable>),
        (status = "4XX", description = "The question is malformed, or there is no such variable.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn variable(
    State(app): State<App>,
    Extension(published): Extension<Arc<Published>>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let Some((_, source)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        return Err(Problem::not_found(format!("no variable '{name}'"), format!("There are: {}.", known.join(", "))));
    };
    let params = Params::of(&uri)?;
    let limit = params.limit(VALUES_MAX)?.unwrap_or(VALUES);
    let search = params.one("search")?.map(str::to_lowercase);
    let mut values = match source {
        Source::Words(words) => {
            known(&params, &TARGETS)?;
            let wanted = |text: &str| search.as_deref().is_none_or(|s| text.contains(s));
            let words = words.iter().filter(|(text, _)| wanted(text));
            words.map(|(text, value)| Variable { __text: (*text).to_owned(), __value: (*value).to_owned() }).collect()
        }
        Source::Targets(column) => {
            of_column(&app, &published, (&TARGETS, column, false), &params, search, limit + 1).await?
        }
        Source::Assignments(column) => {
            of_column(&app, &published, (&ASSIGNMENTS, column, true), &params, search, limit + 1).await?
        }
        Source::Hosts(column) => {
            let by_target = NAMES.iter().chain(&["drift"]).map(|n| params.list(n)).collect::<Result<Vec<_>, _>>()?;
            let of = if by_target.iter().any(Option::is_some) { &DRIFT } else { &HOSTS };
            of_column(&app, &published, (of, column, false), &params, search, limit + 1).await?
        }
    };
    let more = values.len() > limit;
    values.truncate(limit);
    let marker = |word: &str| Variable { __text: word.to_owned(), __value: word.to_owned() };
    if values.is_empty() {
        values.push(marker("(none)"));
    } else if more {
        values.push(marker("(more)"));
    }
    let mut response = rows::written(&values)?;
    if more {
        rows::truncated(&mut response);
    }
    Ok(response)
}

/// Refuses parameters that the variable does not know.
fn known(params: &Params, resource: &Resource) -> Result<(), Problem> {
    let filters = resource.filters().map(|f| f.name).chain(NAMES.iter().copied());
    let others = ["drift", "limit", "search", "from", "to"];
    params.only(filters.chain(others).chain(FRESHNESS))
}

/// The different values of a column, sorted, or with the ones assigned last before the others.
async fn of_column(
    app: &App,
    published: &Published,
    (resource, column, newest_first): (&'static Resource, &str, bool),
    params: &Params,
    search: Option<String>,
    limit: usize,
) -> Result<Vec<Variable>, Problem> {
    known(params, resource)?;
    let mut select = Select::new(resource, params)?;
    select.only(format!("{column} IS NOT NULL AND {column} <> ''"));
    if resource.kind("retired_at").is_some() {
        select.only("retired_at IS NULL");
    }
    if let Some(search) = search {
        let bound = select.bind(Value::from(search));
        select.only(format!("contains(lower({column}), {bound})"));
    }
    let order = if newest_first { "max(assigned_at) DESC, value DESC" } else { "value" };
    let (condition, bound) = select.condition();
    let sql = format!(
        "SELECT {column} AS value FROM {}{condition} GROUP BY {column} ORDER BY {order} LIMIT {limit}",
        resource.table
    );
    #[derive(serde::Deserialize)]
    struct Row {
        value: String,
    }
    let rows: Vec<Row> = read_rows(app, published, (sql, bound)).await?;
    Ok(rows.into_iter().map(|Row { value }| Variable { __text: value.clone(), __value: value }).collect())
}
