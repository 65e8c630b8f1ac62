//! Push: streamed bodies in, per-item answers out.
//!
//! Invariant: an item is in the counters only after the ledger has acknowledged it, and a stream that breaks keeps what was read
//! whole before it broke. Decoding runs on the ingest threads, apart from SQL and from the answering of other requests. A full
//! ledger stops the reading of the body; only a request whose body has not begun is turned away. At shutdown a stream is read until
//! it pauses, so that what its client has sent counts. Every group is stored by the token as it is then: once it is revoked or
//! changed, nothing more is; and a stream ends with its lease, whether or not anything comes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::grant::Grant;
use super::lease::Lease;
use super::params::Params;
use super::problem::Problem;
use super::sql::content_type;
use super::{App, Limits, openapi};
use crate::ledger::{AppendError, Receipt};
use crate::metrics::Metrics;
use crate::model::{Fact, Micros};
use crate::normalize::{self, Rejection};
use crate::runtime::{Filed, Hub, SourceKind};
use crate::sources::push::{Decoder, Form, Item};

/// Facts are stored in groups of this many …
const GROUP: usize = 500;
/// … or when this much time has passed, whatever comes first.
const LINGER: Duration = Duration::from_millis(200);
/// While a group is being stored, this many facts may wait; then the body is not read any further.
const WAITING_MAX: usize = 4 * GROUP;
/// At shutdown a stream that pauses for this part of the time to drain has sent what it had ...
const QUIET: u32 = 8;
/// ... and one that never pauses is read for this part of it.
const GRACE: u32 = 2;
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

/// One way of pushing.
#[derive(Debug)]
pub(super) struct Push {
    /// The path, below `/api/v1`.
    pub(super) path: &'static str,
    /// The operation's id.
    pub(super) id: &'static str,
    /// What it is for, in one line.
    pub(super) summary: &'static str,
    form: Form,
}

static PUSHES: [Push; 5] = [
    Push {
        path: "/ingest",
        id: "mixed",
        summary: "Push custom resources and Kubernetes watch events in any mixture, in order.",
        form: Form::Resources,
    },
    Push {
        path: "/ingest/descriptors",
        id: "descriptors",
        summary: "Push descriptors in the flat shape: what should run where, as of which GitOps commit.",
        form: Form::Descriptors,
    },
    Push {
        path: "/ingest/reconcilers",
        id: "reconcilers",
        summary: "Push reports of reconcilers in the flat shape: what runs where, and how it fares.",
        form: Form::Reconcilers,
    },
    Push {
        path: "/ingest/hosts",
        id: "hosts",
        summary: "Push hosts in the flat shape: who exists, what it is expected to run, heartbeats and retirements.",
        form: Form::Hosts,
    },
    Push {
        path: "/rollouts/verifications",
        id: "verifications",
        summary: "Push what tests or people outside judged a rollout to be: `name` and `result` (passed, failed or pending) of \
                  one `version` (with `workload`), `commit` or `source_commit`, where `workspace`, `application`, `workload`, \
                  `environment` and `deployment_target` say; with `link`, `message`, `reported_by` and `reported_at`.",
        form: Form::Verifications,
    },
];

pub(super) fn routes() -> OpenApiRouter<App> {
    PUSHES.iter().fold(OpenApiRouter::new(), |router, push| {
        let handler = async |State(app): State<App>, request: Request| take(app, push.form, request).await;
        router.routes(openapi::pushed(push, post(handler).put(handler)))
    })
}

/// Checks the request, then hands its body to the ingest threads.
async fn take(app: App, form: Form, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let lease: Option<Lease> = parts.extensions.remove();
    let grant = lease.as_ref().map(|lease| lease.grant.clone()).unwrap_or_default();
    if content_type(&parts.headers) == "multipart/form-data" {
        return Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "multipart forms are not taken; send the file itself",
            "With curl: --data-binary @FILE or -T FILE in the place of -F.",
        )
        .into_response();
    }
    let (source, key) = match said(&parts.uri, &parts.headers, &grant) {
        Ok(said) => said,
        Err(problem) => return problem.into_response(),
    };
    let Ok(slot) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "too many ingest streams at once; try again",
            "Nothing of the body was read. Send larger batches on fewer connections, or raise --max-ingest-streams.",
        )
        .retry_after(1)
        .into_response();
    };
    let decoder = Decoder::new(form, source.clone(), key);
    let stream_of = source.clone();
    let stream = Stream::new(&app, source, decoder, grant);
    let (end, over) = oneshot::channel();
    let work = async move {
        let outcome = stream.run(body, pin!(refusal(over))).await;
        drop(slot);
        outcome
    };
    let span = tracing::debug_span!(target: crate::TRACES, "ingest", koh.source = stream_of);
    let mut work = app.ingest_threads.spawn(work.instrument(span));
    let outcome = match lease {
        None => work.await,
        // Watched here and not on the ingest threads: an API server may be asked.
        Some(lease) => tokio::select! {
            outcome = &mut work => outcome,
            problem = Box::pin(lease.over()) => {
                // A stream that has just ended does not listen any more.
                let _ = end.send(problem);
                work.await
            }
        },
    };
    match outcome {
        Ok((taken, ended)) => answer(taken, ended),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// Ends with why nothing more is taken; never where nobody says so.
async fn refusal(over: oneshot::Receiver<Problem>) -> Problem {
    match over.await {
        Ok(problem) => problem,
        Err(_) => std::future::pending().await,
    }
}

/// The source's name and the idempotency key of a request.
fn said(uri: &axum::http::Uri, headers: &HeaderMap, grant: &Grant) -> Result<(String, Option<String>), Problem> {
    let params = Params::of(uri)?;
    params.only(["source"])?;
    let source = params.one("source")?;
    let names = |source: &str| {
        source.len() <= 128 && source.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
    };
    if !source.is_none_or(names) {
        return Err(Problem::parameter(
            "'source' is at most 128 letters, digits and . _ : / -",
            "It names who speaks, as in ?source=pipeline/eu; without it the source is 'push'.",
        ));
    }
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(_), Some(_)) => {
            return Err(Problem::parameter(
                "'Idempotency-Key' comes twice",
                "A batch is known again by one key; send the header once.",
            ));
        }
        (Some(value), None) => match value.to_str() {
            Ok(key) if (1..=200).contains(&key.trim().len()) => Some(key.trim().to_owned()),
            _ => {
                return Err(Problem::parameter(
                    "'Idempotency-Key' is 1 to 200 ASCII characters",
                    "Any text that is new for each batch will do, and the same when the batch is sent again.",
                ));
            }
        },
    };
    Ok((grant.client.source(source), key))
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
    /// The token is not taken any more, or not as it was; or the account may not tell any more.
    Refused(Problem),
}

/// Ends with what became of a group; the first are the places in the body of its items.
type Storing = Pin<Box<dyn Future<Output = (Vec<usize>, Filed)> + Send>>;

/// One body on its way into the ledger.
struct Stream {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    source: String,
    grant: Grant,
    decoder: Decoder,
    limits: Limits,
    taken: Taken,
    waiting: Vec<(usize, Fact)>,
    waiting_since: Instant,
    storing: Option<Storing>,
}

impl Stream {
    fn new(app: &App, source: String, decoder: Decoder, grant: Grant) -> Stream {
        Stream {
            hub: Arc::clone(&app.hub),
            metrics: Arc::clone(&app.metrics),
            source,
            grant,
            decoder,
            limits: app.limits,
            taken: Taken::default(),
            waiting: Vec::new(),
            waiting_since: Instant::now(),
            storing: None,
        }
    }

    async fn run(mut self, body: Body, mut over: Pin<&mut impl Future<Output = Problem>>) -> (Taken, Ended) {
        let mut body = body.into_data_stream();
        let stop = self.hub.stopping().clone();
        let mut ended: Option<Ended> = None;
        let mut any = false;
        let mut idle = self.limits.ingest_idle;
        let mut patience = Instant::now() + idle;
        let mut last: Option<Instant> = None;
        loop {
            if ended.is_none() && last.is_some_and(|last| last <= Instant::now()) {
                ended = Some(Ended::Stopping);
            }
            if let Err(problem) = self.store_if_due(ended.is_some()) {
                ended = Some(Ended::Refused(problem));
            }
            if ended.is_some() && self.storing.is_none() {
                // Nothing more can come, and everything that came is settled.
                break;
            }
            let reading = ended.is_none() && self.waiting.len() < WAITING_MAX;
            if !reading {
                patience = Instant::now() + idle;
            }
            let linger = self.waiting_since + LINGER;
            tokio::select! {
                (places, filed) = settle(&mut self.storing), if self.storing.is_some() => {
                    self.storing = None;
                    self.count(filed.receipt);
                    self.reject(filed.refused.into_iter().map(|(nth, why)| (places[nth], why)), Micros::now());
                    if let Some(error) = filed.failed {
                        self.refused(0, &error.to_string(), Micros::now());
                        self.waiting.clear();
                        ended = Some(Ended::Ledger(error));
                    }
                }
                problem = &mut over, if ended.is_none() => {
                    let waiting = std::mem::take(&mut self.waiting);
                    self.refused(waiting.len() as u64, problem.title(), Micros::now());
                    ended = Some(Ended::Refused(problem));
                }
                () = stop.cancelled(), if ended.is_none() && last.is_none() => {
                    idle = idle.min(self.limits.drain / QUIET);
                    patience = Instant::now() + idle;
                    last = Some(Instant::now() + self.limits.drain / GRACE);
                }
                () = tokio::time::sleep_until(linger), if self.storing.is_none() && !self.waiting.is_empty() => {}
                frame = tokio::time::timeout_at(patience, body.next()), if reading => match frame {
                    Ok(Some(Ok(bytes))) => {
                        any = any || !bytes.is_empty();
                        patience = Instant::now() + idle;
                        self.metrics.traffic.pushed.inc_by(bytes.len() as u64);
                        let items = self.decoder.push(&bytes);
                        self.note(items);
                    }
                    Ok(None) => {
                        let items = self.decoder.finish();
                        self.note(items);
                        ended = Some(if any { Ended::Whole } else { Ended::Empty });
                    }
                    Ok(Some(Err(error))) => ended = Some(Ended::Broken(error.to_string())),
                    Err(_) => ended = Some(if last.is_some() { Ended::Stopping } else { Ended::Idle }),
                },
            }
        }
        if self.taken.seq == 0 {
            self.taken.seq = self.hub.seq();
        }
        self.taken.items.sort_by_key(|item| item.index);
        (self.taken, ended.unwrap_or(Ended::Whole))
    }

    /// Normalises decoded items; the good ones wait to be stored.
    fn note(&mut self, items: Vec<Item>) {
        let now = Micros::now();
        let mut rejected = Vec::new();
        for Item { index, observation } in items {
            match observation.and_then(|o| normalize::fact(o, self.hub.receipt(now))) {
                Ok(fact) => {
                    if self.waiting.is_empty() {
                        self.waiting_since = Instant::now();
                    }
                    self.waiting.push((index, fact));
                }
                Err(why) => rejected.push((index, why)),
            }
        }
        self.reject(rejected.into_iter(), now);
    }

    fn reject(&mut self, rejected: impl Iterator<Item = (usize, Rejection)>, now: Micros) {
        let before = self.taken.rejected;
        let mut last = String::new();
        for (index, Rejection { title, detail }) in rejected {
            self.taken.rejected += 1;
            last = format!("{title}: {detail}");
            if self.taken.items.len() < ITEMS_MAX {
                self.taken.items.push(RejectedItem { index, title, detail });
            }
        }
        if self.taken.rejected > before {
            self.refused(self.taken.rejected - before, &last, now);
        }
    }

    /// Counts the items of this source that were not taken.
    fn refused(&self, count: u64, why: &str, now: Micros) {
        self.hub.sources().refused(&self.source, SourceKind::Push, count, why, now);
    }

    /// Begins to store what waits, when it is time; what a token may not say any more is dropped, and why is said.
    fn store_if_due(&mut self, ended: bool) -> Result<(), Problem> {
        let due = ended || self.waiting.len() >= GROUP || self.waiting_since.elapsed() >= LINGER;
        if self.storing.is_some() || self.waiting.is_empty() || !due {
            return Ok(());
        }
        let (places, facts): (Vec<usize>, Vec<Fact>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        if let Err(problem) = self.grant.check(self.hub.tokens().as_deref()) {
            self.refused(facts.len() as u64, problem.title(), Micros::now());
            return Err(problem);
        }
        let part = Some(Arc::clone(&self.grant.client.sees)).filter(|sees| !sees.is_none());
        let hub = Arc::clone(&self.hub);
        let span = tracing::debug_span!(target: crate::TRACES, "store", koh.facts = facts.len());
        let store = async move {
            let filed = match part {
                Some(part) => hub.append_within(&part, facts).await,
                None => match hub.append(facts).await {
                    Ok(receipt) => Filed { receipt, ..Filed::default() },
                    Err(error) => Filed { failed: Some(error), ..Filed::default() },
                },
            };
            (places, filed)
        };
        self.storing = Some(Box::pin(store.instrument(span)));
        Ok(())
    }

    fn count(&mut self, receipt: Receipt) {
        if receipt == Receipt::default() {
            return;
        }
        self.taken.accepted += receipt.changed as u64;
        self.taken.unchanged += receipt.unchanged as u64;
        self.taken.seq = self.taken.seq.max(receipt.seq);
        self.hub.sources().taken(&self.source, SourceKind::Push, &receipt, Micros::now());
    }
}

/// Drives what is being stored; never ends where nothing is.
async fn settle(storing: &mut Option<Storing>) -> (Vec<usize>, Filed) {
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
            Problem::new(
                StatusCode::BAD_REQUEST,
                "nothing-taken",
                format!("no item was taken: {first}"),
                "Each entry of 'items' says what is wrong with one item and what to do.",
            )
        }
        Ended::Empty => Problem::body("the body is empty", "Send one JSON object, an array of objects, or NDJSON."),
        Ended::Broken(why) => Problem::body(
            "the body could not be read to its end",
            format!("Items read whole before that are stored and counted here. Resend the rest. ({why})"),
        ),
        Ended::Idle => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "idle-body",
            "the body stopped coming",
            "Items read before that are stored and counted here.",
        ),
        Ended::Stopping => Problem::unavailable(
            "the hub is shutting down",
            5,
            "Items counted here are stored; resend the others after the hub is back.",
        ),
        Ended::Ledger(error) => {
            // The ledger said so aloud once; every sender would say it again.
            tracing::debug!(%error, "an ingest stream ended because the ledger takes nothing");
            let (title, seconds) = match error {
                AppendError::NoRoom => ("the hub cannot store now: its volume is full", 10),
                _ => ("the hub cannot store now", 30),
            };
            Problem::unavailable(title, seconds, "Items counted here are stored; resend the others.")
        }
        Ended::Refused(problem) => problem,
    };
    match serde_json::to_value(taken) {
        Ok(Value::Object(counters)) => problem.with(counters).into_response(),
        _ => problem.with(Map::new()).into_response(),
    }
}
