//! Health, the front page, and the documents about the API itself.
//!
//! Invariant: alive means the process answers; ready means it answers rightly, so not before the first generation and the first
//! complete scan of every source. A hub that can only be read stays ready: whoever asks for readiness would take it from those who
//! ask, and those who report are told by their own answers.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::App;
use super::problem::{Problem, ProblemBody};

/// How the hub is.
#[derive(Debug, serde::Serialize, ToSchema)]
struct Health {
    /// `alive`, `ready` or `ok`.
    status: &'static str,
    /// The hub's version.
    version: &'static str,
    /// The last acknowledged sequence number.
    seq: u64,
    /// Why the hub takes nothing at present, if it is so; questions are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only: Option<String>,
    /// Files that were changed to what the hub does not take: what they said before is in force, and a restart would fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused_files: Vec<&'static str>,
}

impl Health {
    fn of(status: &'static str, app: &App) -> Json<Health> {
        let read_only = app.hub.trouble().map(|trouble| trouble.advice().to_owned());
        let files = app.hub.refused_files().all();
        let refused_files = files.into_iter().filter(|(_, refused)| *refused).map(|(what, _)| what).collect();
        Json(Health { status, version: env!("CARGO_PKG_VERSION"), seq: app.hub.seq(), read_only, refused_files })
    }
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// What Grafana asks: it lies below `/api/v1`, so that whoever may not read the rest may not read this.
pub(super) fn grafana() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health_grafana))
}

/// Does the datasource work?
#[utoipa::path(
    get, path = "/health/grafana", tag = "operations",
    responses((status = 200, description = "The address is right and may be read.", body = Health))
)]
async fn health_grafana(State(app): State<App>) -> Json<Health> {
    Health::of("ok", &app)
}

/// Is the process alive?
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "It is.", body = Health)))]
async fn livez(State(app): State<App>) -> Json<Health> {
    Health::of("alive", &app)
}

/// May it be asked?
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "Every source has been heard once and a generation is published. `read_only` says why nothing is \
taken at present, if it is so.", body = Health),
        (status = 503, description = "Not yet, or not any more.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(app): State<App>) -> Result<Json<Health>, Problem> {
    if app.hub.stopping().is_cancelled() {
        return Err(Problem::unavailable(
            "the hub is shutting down",
            5,
            "It finishes what it began; ask again after its restart.",
        ));
    }
    let unheard = app.hub.unheard();
    if !unheard.is_empty() {
        return Err(Problem::unavailable(
            "not ready: the first scan of the sources is not complete",
            1,
            format!("Answers would leave out what was not read yet of: {}.", unheard.join(", ")),
        ));
    }
    Ok(Health::of("ready", &app))
}

/// The page at `/`.
async fn front() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Kalypso Observability Hub</title>",
        "<h1>Kalypso Observability Hub ",
        env!("CARGO_PKG_VERSION"),
        "</h1><ul>",
        "<li><a href=\"/docs/\">API documentation</a> (<a href=\"/openapi.json\">openapi.json</a>)",
        "<li><a href=\"/api/v1/views/environment-state\">What runs where</a>",
        "<li><a href=\"/api/v1/views/drift\">Drift</a>",
        "<li><a href=\"/api/v1/rollouts\">Rollouts</a>",
        "<li><a href=\"/readyz\">Health</a></ul></html>"
    ))
}

/// The front page, the OpenAPI document and its browser; all of it is in the binary, nothing is fetched.
pub(super) fn documents(openapi: String) -> axum::Router<App> {
    let openapi = axum::body::Bytes::from(openapi);
    let document = get(async move || {
        ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], openapi.clone())
            .into_response()
    });
    let browser: axum::Router<App> = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    axum::Router::new()
        .route("/", get(front))
        .route("/openapi.json", document)
        .merge(browser)
        .layer(super::compression())
        .fallback(async || StatusCode::NOT_FOUND)
}
