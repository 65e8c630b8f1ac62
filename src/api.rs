//! The HTTP API: thin handlers over [`crate::runtime::Hub`], described by OpenAPI from the same lines that route them.
//!
//! Invariant: meaning lives in the SQL views and in [`crate::rollout`]; nothing here computes it a second time. Values of clients
//! reach SQL as bound parameters only, and every answer of 400 and above leaves through [`edge`] as a problem document.

mod access;
mod alerts;
mod answers;
mod backup;
mod badges;
mod changes;
mod check;
mod cursor;
mod deployment_state;
mod edge;
mod few;
mod grant;
mod graph;
mod health;
mod inflate;
mod ingest;
mod lease;
pub mod listen;
mod metrics;
mod openapi;
mod params;
mod problem;
mod resource;
mod rollouts;
mod rows;
mod select;
mod series;
mod sql;
mod summary;
mod trace;
mod variables;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tower::Layer;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::metrics::{Metrics, Traffic};
use crate::runtime::Hub;

pub use openapi::document;

/// Answers smaller than this are not compressed.
const COMPRESS_FROM: u16 = 1024;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct App {
    hub: Arc<Hub>,
    streams: Arc<tokio::sync::Semaphore>,
    ingest_threads: tokio::runtime::Handle,
    limits: Limits,
    shelf: Arc<answers::Shelf>,
    /// Whom alerts name where nobody else is named; may be empty.
    default_contact: Arc<str>,
    metrics: Arc<Metrics>,
}

/// The limits of the API.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Ingest streams at once; one more is told to come back.
    pub ingest_streams: usize,
    /// An ingest body may pause this long.
    pub ingest_idle: Duration,
    /// Every other answer must begin within this time.
    pub answer_within: Duration,
    /// The time to finish in at shutdown.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            ingest_streams: 512,
            ingest_idle: Duration::from_secs(300),
            answer_within: Duration::from_secs(60),
            drain: listen::Patience::default().drain,
        }
    }
}

/// The API as one service, ready for [`listen::serve`]. Bodies of pushes are decoded on `ingest_threads`;
/// alerts name `default_contact` where nobody else is named.
pub fn service(
    hub: Arc<Hub>,
    limits: Limits,
    default_contact: &str,
    ingest_threads: tokio::runtime::Handle,
) -> impl listen::Answers {
    let streams = Arc::new(tokio::sync::Semaphore::new(limits.ingest_streams));
    let metrics = Arc::new(Metrics::new(Traffic::new(Arc::clone(&streams), limits.ingest_streams)));
    let app = App {
        hub,
        streams,
        ingest_threads,
        limits,
        shelf: Arc::default(),
        default_contact: default_contact.into(),
        metrics: Arc::clone(&metrics),
    };
    let (router, document) = described_routes_for(&app);
    let document = document.to_json().unwrap_or_default();
    let router = router
        .merge(health::documents(document))
        .layer(DefaultBodyLimit::max(sql::BODY_MAX))
        .layer(axum::middleware::from_fn(inflate::inflate))
        .layer(from_fn_with_state(app.clone(), access::check))
        .layer(axum::middleware::from_fn(edge::note_route))
        .with_state(app);
    from_fn_with_state(edge::Edge::new(limits.answer_within, metrics), edge::outer).layer(router)
}

/// The routes and their description, for the document alone.
fn described_routes() -> (axum::Router<App>, utoipa::openapi::OpenApi) {
    split(from_generations())
}

/// The routes of a running hub: rows are answered from generations and kept for as long as these are current.
fn described_routes_for(app: &App) -> (axum::Router<App>, utoipa::openapi::OpenApi) {
    let rows = from_generations().layer(compression()).layer(from_fn_with_state(app.clone(), answers::from_generation));
    split(rows)
}

/// What is answered from generations.
fn from_generations() -> OpenApiRouter<App> {
    let made = OpenApiRouter::new()
        .merge(summary::routes())
        .merge(graph::routes())
        .merge(series::routes())
        .merge(variables::routes());
    made.merge(alerts::routes()).merge(badges::routes()).merge(rows::routes())
}

fn split(rows: OpenApiRouter<App>) -> (axum::Router<App>, utoipa::openapi::OpenApi) {
    let others = OpenApiRouter::new()
        .merge(rollouts::routes())
        .merge(sql::routes())
        .merge(alerts::own_routes())
        .layer(compression());
    let operations = OpenApiRouter::new().merge(metrics::routes()).layer(compression());
    let v1 = OpenApiRouter::new()
        .merge(ingest::routes())
        .merge(changes::routes())
        .merge(backup::routes())
        .merge(check::routes())
        .merge(others)
        .merge(health::grafana())
        .merge(rows);
    OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .nest("/api/v1", v1)
        .merge(deployment_state::routes())
        .merge(health::routes())
        .merge(operations)
        .split_for_parts()
}

/// Gzip and nothing else: some clients ask for whatever they can name and read only this.
fn compression() -> CompressionLayer<And<And<SizeAbove, NotForContentType>, NotForContentType>> {
    let worthwhile = SizeAbove::new(COMPRESS_FROM)
        .and(NotForContentType::const_new("application/vnd.apache.parquet"))
        // Events are sent as they happen, not when enough of them can be packed.
        .and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worthwhile)
}
