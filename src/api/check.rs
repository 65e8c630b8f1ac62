//! `GET /api/v1/check`: whether all that the running hub keeps is sound.
//!
//! Invariant: what is found is the answer, also when it is bad; a status other than 200 means that nothing was looked at.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::backup::refusal;
use super::lease::GoesOn;
use super::problem::{Problem, ProblemBody};
use crate::runtime::Finding;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(check))
}

/// Reads the store as a restart would, counts again what the state counts, and holds the export against it.
#[utoipa::path(
    get, path = "/check", tag = "operations", operation_id = "check",
    description = "What `koh check` asks. The hub goes on meanwhile; it takes seconds to minutes, by the size of the fleet. Needs the scope admin.",
    responses(
        (status = 200, description = "One row per check.", body = Vec<Finding>),
        (status = 429, description = "Another backup or check is under way.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The hub cannot answer now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn check(State(app): State<App>) -> Result<Response, Problem> {
    let check = app.hub.begin_check().map_err(refusal)?;
    let (tell, mut found) = mpsc::channel(1);
    tokio::spawn(check.run(tell));
    // Every row is sent when it is known, on a line of its own; an answer that broke off lacks the last bracket.
    let rows = futures::stream::poll_fn(move |cx| found.poll_recv(cx));
    let rows = rows.enumerate().map(|(nth, row)| {
        let row = serde_json::to_string(&row)?;
        Ok::<_, serde_json::Error>(format!("{}{row}\n", if nth == 0 { "" } else { "," }))
    });
    let edge = |text: &str| futures::stream::iter([Ok(text.to_owned())]);
    let body = Body::from_stream(edge("[\n").chain(rows).chain(edge("]\n")));
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((Extension(GoesOn), head, body).into_response())
}
