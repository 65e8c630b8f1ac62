//! Those who wait for an answer: the long poll, and the answer as it changes as server-sent events.
//!
//! Invariant: whoever waits holds no lock and computes nothing: all who ask the same share one answer, which
//! [`crate::runtime`] renews when it may have changed.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};

use super::super::App;
use super::super::access::Viewer;
use super::super::answers;
use super::super::params::Params;
use super::super::problem::{Problem, ProblemBody};
use super::super::rows::json;
use super::super::waits::{KEEP_ALIVE, WAIT_MAX, streamed};
use super::Ask;
use crate::rollout::Verdict;
use crate::runtime::{Topic, Waiter};

/// How long somebody waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    wait: Duration,
    /// For what is not known yet.
    unknown: Duration,
}

/// Reads it; `None` when nobody waits.
pub(super) fn patience(params: &Params) -> Result<Option<Patience>, Problem> {
    let unknown = params.span("unknown_grace")?;
    let Some(wait) = params.span("wait")? else {
        return match unknown {
            None => Ok(None),
            Some(_) => Err(Problem::parameter(
                "'unknown_grace' goes with 'wait'",
                "It says how much of the wait is spent on what is not known yet: ?wait=10m&unknown_grace=2m.",
            )),
        };
    };
    if wait > WAIT_MAX {
        return Err(Problem::parameter(
            format!("'wait' is {} s; the longest wait is {} s", wait.as_secs(), WAIT_MAX.as_secs()),
            "Wait in several requests, each from where the last one ended: an answer with \"final\": false asks for another.",
        ));
    }
    Ok(Some(Patience { wait, unknown: unknown.unwrap_or(wait) }))
}

fn topic(ask: Ask) -> Topic {
    let links = super::links(&ask);
    let sees = &ask.rules.sees;
    // Who sees another part of the fleet does not ask the same.
    let text = if sees.is_none() { ask.text } else { format!("{} ({sees}, {})", ask.text, sees.key()) };
    Topic { text, question: ask.question, rules: ask.rules, links }
}

/// Answers once the answer is final, or when patience ends.
pub(super) async fn until_final(app: &App, ask: Ask, patience: Patience) -> Result<Response, Problem> {
    let mut waiter = app.hub.wait_for(topic(ask)).await.map_err(Problem::crowded)?;
    let begun = tokio::time::Instant::now();
    loop {
        let now = waiter.current();
        let unknown = matches!(now.verdict, Verdict::UnknownCommit | Verdict::NoTargets);
        let until = begun + if unknown { patience.unknown.min(patience.wait) } else { patience.wait };
        if now.is_final {
            return Ok(json(now.body.clone()));
        }
        tokio::select! {
            biased;
            () = app.hub.stopping().cancelled() => {
                return Err(Problem::unavailable(
                    "the hub is shutting down",
                    1,
                    "The answer is not final yet; ask again, the hub that comes up knows all that this one knew.",
                ));
            }
            () = waiter.changed() => {}
            // Others may have waited long before: what is answered at the end is as fresh as any answer.
            () = tokio::time::sleep_until(until) => return Ok(json(waiter.renewed().await.body.clone())),
        }
    }
}

/// The answer, whenever it changes.
#[utoipa::path(
    get, path = "/rollouts/events", tag = "rollouts", operation_id = "rollout_events",
    description = "Takes the parameters of /rollouts/status, and sends its answer at once and whenever it changes (at most four \
                   times a second), as server-sent events named `answer`. The stream ends after an answer that is final. Who \
                   comes back with the id of the last event (`Last-Event-ID`) gets only what is new; 204 says that the answer \
                   with this id is final.",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen.")),
    responses(
        (status = 200, description = "A stream of events.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "There is nothing more to come."),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many are waiting.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(app): State<App>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let ask = Ask::of(&app, &viewer, &params, &[])?;
    answers::reach(&app, &params).await?;
    let seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let waiter = app.hub.wait_for(topic(ask)).await.map_err(Problem::crowded)?;
    let now = waiter.current();
    if now.is_final && seen.as_deref() == Some(&now.id) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = follow(waiter, seen, app.hub.stopping().clone());
    Ok(streamed("text/event-stream", "no-cache", stream))
}

fn follow(
    waiter: Waiter,
    seen: Option<String>,
    stopping: tokio_util::sync::CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((waiter, seen, false), move |(mut waiter, seen, over)| {
        let stopping = stopping.clone();
        async move {
            if over {
                return None;
            }
            loop {
                let now = waiter.current();
                if seen.as_deref() != Some(&now.id) {
                    return Some((Ok(now.event.clone()), (waiter, Some(now.id.clone()), now.is_final)));
                }
                tokio::select! {
                    () = stopping.cancelled() => return None,
                    () = waiter.changed() => {}
                    () = tokio::time::sleep(KEEP_ALIVE) => {
                        return Some((Ok(Bytes::from_static(b":\n\n")), (waiter, seen, false)));
                    }
                }
            }
        }
    })
}
