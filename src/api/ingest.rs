//! Push: streamed bodies in, per-item answers out.
//!
//! Invariant: an item is in the counters only after the ledger has acknowledged it, and a stream that breaks keeps what was read
//! whole before it broke. Decoding runs on the ingest threads, apart from SQL and from the answering of other requests. A full
//! ledger stops the reading of the body; only a request whose body has not begun is turned away.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use crate::ledger::{AppendError, Receipt};
use crate::model::{Fact, Micros};
use crate::normalize::{self, Rejection};
use crate::runtime::{Hub, SourceKind};
use crate::sources::push::{Decoder, Form, Item};

/// Facts are stored in groups of this many …
const GROUP: usize = 500;
/// … or when this much time has passed, whatever comes first.
const LINGER: Duration = Duration::from_millis(200);
/// While a group is being stored, this many facts may wait; then the body is not read any further.
const WAITING_MAX: usize = 4 * GROUP;
/// How many rejected items an answer lists.
const ITEMS_MAX: usize = 100;

/// What became of a pushed batch.
#[derive(Debug, Default, serde::Serialize, ToSchema)]
pub(super) struct Taken {
    /// Items stored because they said something new.
    accepted: u64,
    /// Items taken that said nothing new; at most a last-heard time moved.
    unchanged: u64,
    /// Items not taken.
    rejected: u64,
    /// The sequence number after the last stored item: pass it as `min_seq` to read your own writes.
    seq: u64,
    /// What is wrong with the rejected items; the first 100 of them.
    items: Vec<RejectedItem>,
}

/// An item that was not taken.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct RejectedItem {
    /// Which one: its place in the body, from 0.
    index: usize,
    /// What is wrong, in one line.
    title: String,
    /// Where, and what to do.
    detail: String,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(mixed))
        .routes(routes!(descriptors))
        .routes(routes!(reconcilers))
        .routes(routes!(hosts))
}

/// Push custom resources and Kubernetes watch events in any mixture, in order: one object, an array, or NDJSON.
#[utoipa::path(
    post, path = "/ingest", tag = "ingest",
    params(
        ("source" = Option<String>, Query, description = "Names the source; `push` when absent."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a resent batch known again."),
    ),
    request_body(content(
        (Value = "application/json"), (Value = "application/x-ndjson"),
    ), description = "Streamed; `Content-Encoding: gzip` is taken. At most 1 MiB per item, after decompression."),
    responses(
        (status = 200, description = "Every item was taken.", body = Taken),
        (status = 207, description = "Some items were taken, some not; `items` says which and why.", body = Taken),
        (status = 400, description = "No item was taken; the counters and `items` stand beside the problem's fields.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped coming; what was read before is kept and counted.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many streams; nothing was read. See Retry-After.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The hub cannot store now; what was acknowledged before is counted.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn mixed(State(app): State<App>, request: Request) -> Response {
    take(app, Form::Resources, request).await
}

/// Push descriptors in the flat shape: what should run where, as of which GitOps commit.
#[utoipa::path(
    post, path = "/ingest/descriptors", tag = "ingest",
    params(
        ("source" = Option<String>, Query, description = "Names the source; `push` when absent."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a resent batch known again."),
    ),
    request_body(content(
        (Value = "application/json"), (Value = "application/x-ndjson"),
    ), description = "One object, an array, or NDJSON."),
    responses(
        (status = 200, description = "Every item was taken.", body = Taken),
        (status = 207, description = "Some items were taken, some not.", body = Taken),
        (status = "4XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn descriptors(State(app): State<App>, request: Request) -> Response {
    take(app, Form::Descriptors, request).await
}

/// Push reports of reconcilers in the flat shape: what runs where, and how it fares.
#[utoipa::path(
    post, path = "/ingest/reconcilers", tag = "ingest",
    params(
        ("source" = Option<String>, Query, description = "Names the source; `push` when absent."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a resent batch known again."),
    ),
    request_body(content(
        (Value = "application/json"), (Value = "application/x-ndjson"),
    ), description = "One object, an array, or NDJSON."),
    responses(
        (status = 200, description = "Every item was taken.", body = Taken),
        (status = 207, description = "Some items were taken, some not.", body = Taken),
        (status = "4XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn reconcilers(State(app): State<App>, request: Request) -> Response {
    take(app, Form::Reconcilers, request).await
}

/// Push hosts in the flat shape: who exists, what it is expected to run, heartbeats and retirements.
#[utoipa::path(
    post, path = "/ingest/hosts", tag = "ingest",
    params(
        ("source" = Option<String>, Query, description = "Names the source; `push` when absent."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a resent batch known again."),
    ),
    request_body(content(
        (Value = "application/json"), (Value = "application/x-ndjson"),
    ), description = "One object, an array, or NDJSON."),
    responses(
        (status = 200, description = "Every item was taken.", body = Taken),
        (status = 207, description = "Some items were taken, some not.", body = Taken),
        (status = "4XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "As for /api/v1/ingest.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn hosts(State(app): State<App>, request: Request) -> Response {
    take(app, Form::Hosts, request).await
}

/// Checks the request, then hands its body to the ingest threads.
async fn take(app: App, form: Form, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (source, key) = match said(&parts.uri, &parts.headers) {
        Ok(said) => said,
        Err(problem) => return problem.into_response(),
    };
    let Ok(slot) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "too many ingest streams at once; try again",
        )
        .retry_after(1)
        .into_response();
    };
    let decoder = Decoder::new(form, source.clone(), key);
    let stream = Stream::new(Arc::clone(&app.hub), source, decoder, app.ingest_idle);
    let work = app.ingest_threads.spawn(async move {
        let outcome = stream.run(body).await;
        drop(slot);
        outcome
    });
    match work.await {
        Ok((taken, ended)) => answer(taken, ended),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// The source's name and the idempotency key of a request.
fn said(uri: &axum::http::Uri, headers: &HeaderMap) -> Result<(String, Option<String>), Problem> {
    let params = Params::of(uri)?;
    params.only(&["source"])?;
    let source = params.one("source")?.unwrap_or("push");
    if source.len() > 128 || !source.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b)) {
        return Err(Problem::parameter("'source' is at most 128 letters, digits and . _ : / -"));
    }
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(value) => match value.to_str() {
            Ok(key) if (1..=200).contains(&key.trim().len()) => Some(key.trim().to_owned()),
            _ => return Err(Problem::parameter("'Idempotency-Key' is 1 to 200 ASCII characters")),
        },
    };
    Ok((source.to_owned(), key))
}

/// Why the reading of a body ended.
#[derive(Debug)]
enum Ended {
    /// It was whole.
    Whole,
    /// It held nothing at all.
    Empty,
    /// The client went away or sent what cannot be decompressed.
    Broken(String),
    /// It stopped coming.
    Idle,
    /// The hub is shutting down.
    Stopping,
    /// The ledger would not take any more.
    Ledger(AppendError),
}

type Storing = Pin<Box<dyn Future<Output = Result<Receipt, AppendError>> + Send>>;

/// One body on its way into the ledger.
struct Stream {
    hub: Arc<Hub>,
    source: String,
    decoder: Decoder,
    idle: Duration,
    taken: Taken,
    waiting: Vec<Fact>,
    waiting_since: Instant,
    storing: Option<Storing>,
}

impl Stream {
    fn new(hub: Arc<Hub>, source: String, decoder: Decoder, idle: Duration) -> Stream {
        Stream {
            hub,
            source,
            decoder,
            idle,
            taken: Taken::default(),
            waiting: Vec::new(),
            waiting_since: Instant::now(),
            storing: None,
        }
    }

    async fn run(mut self, body: Body) -> (Taken, Ended) {
        let mut body = body.into_data_stream();
        let stop = self.hub.stopping().clone();
        let mut ended: Option<Ended> = None;
        let mut any = false;
        let mut patience = Instant::now() + self.idle;
        loop {
            self.store_if_due(ended.is_some());
            if ended.is_some() && self.storing.is_none() {
                // Nothing more can come, and everything that came is settled.
                break;
            }
            let reading = ended.is_none() && self.waiting.len() < WAITING_MAX;
            if !reading {
                patience = Instant::now() + self.idle;
            }
            let linger = self.waiting_since + LINGER;
            tokio::select! {
                stored = settle(&mut self.storing), if self.storing.is_some() => {
                    self.storing = None;
                    match stored {
                        Ok(receipt) => self.count(receipt),
                        Err(error) => {
                            self.refused(0, &error.to_string(), Micros::now());
                            self.waiting.clear();
                            ended = Some(Ended::Ledger(error));
                        }
                    }
                }
                () = stop.cancelled(), if ended.is_none() => ended = Some(Ended::Stopping),
                () = tokio::time::sleep_until(linger), if self.storing.is_none() && !self.waiting.is_empty() => {}
                frame = tokio::time::timeout_at(patience, body.next()), if reading => match frame {
                    Ok(Some(Ok(bytes))) => {
                        any = any || !bytes.is_empty();
                        patience = Instant::now() + self.idle;
                        let items = self.decoder.push(&bytes);
                        self.note(items);
                    }
                    Ok(None) => {
                        let items = self.decoder.finish();
                        self.note(items);
                        ended = Some(if any { Ended::Whole } else { Ended::Empty });
                    }
                    Ok(Some(Err(error))) => ended = Some(Ended::Broken(error.to_string())),
                    Err(_) => ended = Some(Ended::Idle),
                },
            }
        }
        if self.taken.seq == 0 {
            self.taken.seq = self.hub.seq();
        }
        (self.taken, ended.unwrap_or(Ended::Whole))
    }

    /// Normalises decoded items; the good ones wait to be stored.
    fn note(&mut self, items: Vec<Item>) {
        let now = Micros::now();
        let before = self.taken.rejected;
        let mut why = String::new();
        for Item { index, observation } in items {
            match observation.and_then(|o| normalize::fact(o, self.hub.receipt(now))) {
                Ok(fact) => {
                    if self.waiting.is_empty() {
                        self.waiting_since = Instant::now();
                    }
                    self.waiting.push(fact);
                }
                Err(Rejection { title, detail }) => {
                    self.taken.rejected += 1;
                    why = format!("{title}: {detail}");
                    if self.taken.items.len() < ITEMS_MAX {
                        self.taken.items.push(RejectedItem { index, title, detail });
                    }
                }
            }
        }
        if self.taken.rejected > before {
            self.refused(self.taken.rejected - before, &why, now);
        }
    }

    /// Counts the items of this source that were not taken.
    fn refused(&self, count: u64, why: &str, now: Micros) {
        self.hub.sources().refused(&self.source, SourceKind::Push, count, why, now);
    }

    fn store_if_due(&mut self, ended: bool) {
        let due = ended || self.waiting.len() >= GROUP || self.waiting_since.elapsed() >= LINGER;
        if self.storing.is_none() && !self.waiting.is_empty() && due {
            let facts = std::mem::take(&mut self.waiting);
            let hub = Arc::clone(&self.hub);
            self.storing = Some(Box::pin(async move { hub.append(facts).await }));
        }
    }

    fn count(&mut self, receipt: Receipt) {
        self.taken.accepted += receipt.changed as u64;
        self.taken.unchanged += receipt.unchanged as u64;
        self.taken.seq = self.taken.seq.max(receipt.seq);
        self.hub.sources().taken(&self.source, SourceKind::Push, &receipt, Micros::now());
    }
}

/// Drives what is being stored; never ends where nothing is.
async fn settle(storing: &mut Option<Storing>) -> Result<Receipt, AppendError> {
    match storing {
        Some(storing) => storing.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The answer to a batch.
fn answer(taken: Taken, ended: Ended) -> Response {
    let good = taken.accepted + taken.unchanged;
    let problem = match ended {
        Ended::Whole if taken.rejected == 0 => return Json(taken).into_response(),
        Ended::Whole if good > 0 => return (StatusCode::MULTI_STATUS, Json(taken)).into_response(),
        Ended::Whole => {
            let first = taken.items.first().map_or("", |i| i.title.as_str());
            Problem::new(StatusCode::BAD_REQUEST, "nothing-taken", format!("no item was taken: {first}"))
                .detail("Each entry of 'items' says what is wrong with one item and what to do.")
        }
        Ended::Empty => {
            Problem::body("the body is empty").detail("Send one JSON object, an array of objects, or NDJSON.")
        }
        Ended::Broken(why) => Problem::body("the body could not be read to its end")
            .detail(format!("Items read whole before that are stored and counted here. Resend the rest. ({why})")),
        Ended::Idle => Problem::new(StatusCode::REQUEST_TIMEOUT, "idle-body", "the body stopped coming")
            .detail("Items read before that are stored and counted here."),
        Ended::Stopping => Problem::unavailable("the hub is shutting down", 5)
            .detail("Items counted here are stored; resend the others after the hub is back."),
        Ended::Ledger(error) => {
            tracing::error!(%error, "an ingest stream ended because the ledger takes nothing");
            Problem::unavailable("the hub cannot store now", 30)
                .detail("Items counted here are stored; resend the others.")
        }
    };
    match serde_json::to_value(taken) {
        Ok(Value::Object(counters)) => problem.with(counters).into_response(),
        _ => problem.with(Map::new()).into_response(),
    }
}
