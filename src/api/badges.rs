//! Badges for READMEs: version and state of a workload in an environment, as an SVG image.
//!
//! Invariant: whatever is asked about, a well-formed question gets an image, for a broken one helps nobody; names are text in it and
//! never markup, and it may load and run nothing.

mod svg;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answers::FRESHNESS;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use super::sql::read_rows;
use crate::runtime::Published;
use svg::Badge;

/// What an image may do when it is opened by itself: have its own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(workload)).routes(routes!(target))
}

/// How a workload is in an environment, as an SVG image.
#[utoipa::path(
    get, path = "/badges/{environment}/{workload}", tag = "views", operation_id = "workload_badge",
    description = "The version that most reconcilers run (`+2`: and two others) and the state in colour: success, failing, progressing, \
drifted or unknown. What nobody knows is `unknown`, with 200.",
    params(
        ("environment" = String, Path, description = "The environment, percent-encoded."),
        ("workload" = String, Path, description = "The workload, percent-encoded, followed by `.svg`."),
        ("workspace" = Option<String>, Query, description = "Where names repeat."),
        ("application" = Option<String>, Query, description = "Where names repeat."),
        ("label" = Option<String>, Query, description = "The text on the left; else workload and environment."),
        ("style" = Option<String>, Query, description = "flat, which is the only one."),
    ),
    responses(
        (status = 200, description = "The image.", body = String, content_type = "image/svg+xml"),
        (status = "4XX", description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn workload(
    State(app): State<App>,
    Extension(published): Extension<Arc<Published>>,
    Path((environment, file)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let workload = name_of(&file)?;
    badge(&app, &published, &[("environment", &environment), ("workload", workload)], &uri).await
}

/// How a workload is on one deployment target, as an SVG image.
#[utoipa::path(
    get, path = "/badges/{environment}/{workload}/{deployment_target}", tag = "views", operation_id = "target_badge",
    description = "As for a workload in an environment; `.svg` follows the deployment target.",
    params(
        ("environment" = String, Path, description = "The environment, percent-encoded."),
        ("workload" = String, Path, description = "The workload, percent-encoded."),
        ("deployment_target" = String, Path, description = "The deployment target, percent-encoded, followed by `.svg`."),
        ("workspace" = Option<String>, Query, description = "Where names repeat."),
        ("application" = Option<String>, Query, description = "Where names repeat."),
        ("label" = Option<String>, Query, description = "The text on the left; else workload and environment."),
        ("style" = Option<String>, Query, description = "flat, which is the only one."),
    ),
    responses(
        (status = 200, description = "The image.", body = String, content_type = "image/svg+xml"),
        (status = "4XX", description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn target(
    State(app): State<App>,
    Extension(published): Extension<Arc<Published>>,
    Path((environment, workload, file)): Path<(String, String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let target = name_of(&file)?;
    let names = [("environment", environment.as_str()), ("workload", &workload), ("deployment_target", target)];
    badge(&app, &published, &names, &uri).await
}

fn name_of(file: &str) -> Result<&str, Problem> {
    file.strip_suffix(".svg").ok_or_else(|| {
        Problem::not_found("the address of a badge ends in .svg", "As in /api/v1/badges/prod/cart.svg; it is an image.")
    })
}

#[derive(Deserialize)]
struct Running {
    version: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    state: String,
    version: Option<String>,
}

async fn badge(app: &App, published: &Published, names: &[(&str, &str)], uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    params.only(["workspace", "application", "label", "style"].into_iter().chain(FRESHNESS))?;
    if let Some(style) = params.one("style")?.filter(|style| *style != "flat") {
        return Err(Problem::parameter(format!("there is no style '{style}'"), "The only style is flat."));
    }
    let mut names = names.to_vec();
    for narrowed in ["workspace", "application"] {
        names.extend(params.one(narrowed)?.map(|value| (narrowed, value)));
    }
    let wanted = ask::<Found>(app, published, "state, desired_version AS version", "target_health", &names, "").await?;
    let order = " AND reconcilers > 0 GROUP BY deployed_version ORDER BY sum(reconcilers) DESC, version";
    let running =
        ask::<Running>(app, published, "deployed_version AS version", "environment_state", &names, order).await?;
    let of = |name: &str| names.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| *value);
    let label = match params.one("label")? {
        Some(label) => label.to_owned(),
        None => format!("{} {}", of("workload"), of("environment")),
    };
    let state = svg::State::worst(wanted.iter().map(|found| found.state.as_str()));
    let badge = Badge { label: &label, message: &message(&wanted, &running), state };
    let mut response = Response::new(Body::from(badge.render()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The version that most run and how many others run; what is wanted where nobody reports.
fn message(wanted: &[Found], running: &[Running]) -> String {
    if wanted.is_empty() {
        return "unknown".to_owned();
    }
    let first = match running.first() {
        Some(running) => running.version.as_deref().unwrap_or("unexplained"),
        None => wanted.iter().find_map(|found| found.version.as_deref()).unwrap_or("unknown"),
    };
    match running.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} +{}", more - 1),
    }
}

/// At most a hundred rows about a place.
async fn ask<T: DeserializeOwned>(
    app: &App,
    published: &Published,
    columns: &str,
    table: &str,
    names: &[(&str, &str)],
    rest: &str,
) -> Result<Vec<T>, Problem> {
    let conditions: Vec<String> = names.iter().zip(1..).map(|((column, _), n)| format!("{column} = ${n}")).collect();
    let sql = format!("SELECT {columns} FROM {table} WHERE {}{rest} LIMIT 100", conditions.join(" AND "));
    let bound = names.iter().map(|(_, value)| Value::from(*value)).collect();
    read_rows(app, published, (sql, bound)).await
}
