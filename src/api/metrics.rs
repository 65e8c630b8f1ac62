//! The hub in numbers, for Prometheus.
//!
//! Invariant: answers while the store is read-only, and never waits long for a count of the fleet.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::Problem;
use crate::metrics::Format;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Metrics, as OpenMetrics 1.0 or as the classic text format, by `Accept`.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "All families; schema/metrics.md describes them.", content(
        (String = "text/plain; version=0.0.4; charset=utf-8"),
        (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    )))
)]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let named: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let format = Format::accepted(&named.join(","));
    let text = app.metrics.text(&app.hub, format).await.map_err(|error| Problem::internal(&error))?;
    let head =
        [(header::CONTENT_TYPE, format.content_type()), (header::CACHE_CONTROL, "no-store"), (header::VARY, "accept")];
    Ok((head, text).into_response())
}
