//! `GET /api/v1/changes`: what changed after a position, for systems that decide: as NDJSON, or as server-sent events.
//!
//! Invariant: a position is told only when everything up to it has been told, so whoever goes on from the last one it read loses
//! nothing. A position of another store, or of longer ago than the feed reaches, is answered `resync` and never with silence.

mod follow;
mod object;

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answers::sequence;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use super::waits::{WAIT_MAX, streamed};
use follow::{Follower, Form, Until};
use object::{Filter, KINDS, NAMES};

/// A position of another store: no sequence ever gets there, so it is answered like one that was never given.
const ELSEWHERE: u64 = u64::MAX;

const KNOWN: [&str; 5] = ["since", "follow", "wait", "limit", "kind"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(changes))
}

/// What changed after a position: one line per changed object with its state as of now, then where to go on.
#[utoipa::path(
    get, path = "/changes", tag = "changes", operation_id = "changes",
    description = "Every line has `seq`, `cursor` and `kind`. Of the kinds `reconciler`, `host`, `deployment_target` and `verification` it has \
`id`, the natural names and what the lists say of the object now. `resync` says that what happened since cannot be told any \
more: read the lists anew with `min_seq` set to its `seq`, then go on. `through` is the position that all was told up to; it \
ends an answer, and comes now and then while following. An object that changed several times is told once, with its newest \
state; heartbeats that confirm what is known are no changes. A filter looks at what is so now: what left it is not told.",
    params(
        ("since" = Option<String>, Query, description = "Where to go on: a `cursor` (which also names the store) or a `seq`; absent: from now on."),
        ("follow" = Option<bool>, Query, description = "true: the answer goes on; at most four rounds a second. Server-sent events always do."),
        ("wait" = Option<String>, Query, description = "Wait so long for something to tell, as in 30s; at most 10m."),
        ("limit" = Option<u64>, Query, description = "End after so many objects, and the rest of what changed with the last of them."),
        ("kind" = Option<String>, Query, description = "reconciler, host, deployment_target or verification; lists as in the other filters."),
        ("workspace" = Option<String>, Query, description = "Targets, the reconcilers at their endpoints, and the hosts of these."),
        ("application" = Option<String>, Query, description = "The same."),
        ("workload" = Option<String>, Query, description = "The same."),
        ("environment" = Option<String>, Query, description = "The same."),
        ("deployment_target" = Option<String>, Query, description = "The same."),
        ("host" = Option<String>, Query, description = "Hosts and their reconcilers."),
        ("reconciler" = Option<String>, Query, description = "Reconcilers."),
        ("Last-Event-ID" = Option<String>, Header, description = "Of server-sent events: a cursor; wins over since."),
    ),
    responses(
        (status = 200, description = "Lines, or events where `Accept` names them: `id` is the cursor, `event` the kind, `data` the line.", content(
            (String = "application/x-ndjson"), (String = "text/event-stream"),
        )),
        (status = 429, description = "Too many are waiting.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The hub cannot answer now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn changes(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    params.only(KNOWN.into_iter().chain(NAMES))?;
    let form = if accepts_events(&headers) { Form::Events } else { Form::Lines };
    let until = until(&params, form)?;
    let since = match (form, headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").trim())) {
        (Form::Events, Some(id)) if !id.is_empty() => Some(("Last-Event-ID", id)),
        _ => params.one("since")?.map(|since| ("since", since)),
    };
    let limit = params.number("limit", 1, u64::from(u32::MAX))?;
    let filter = filter(&params)?;
    let from = since.map(|(name, text)| position(name, text, app.hub.epoch())).transpose()?;
    let place = match until {
        Until::Told(Duration::ZERO) => None,
        _ => Some(app.hub.place_to_wait().map_err(Problem::crowded)?),
    };
    let follower = Follower::new(app.hub, (form, until), from, limit, filter, place);
    Ok(streamed(form.content_type(), "no-store", follower.stream()))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    named.filter_map(|range| range.split(';').next()).any(|range| range.trim() == "text/event-stream")
}

fn until(params: &Params, form: Form) -> Result<Until, Problem> {
    let wait = params.span("wait")?;
    let follow = params.flag("follow")? || form == Form::Events;
    match wait {
        Some(_) if follow => Err(Problem::parameter(
            "'wait' and following exclude each other",
            "wait= answers once, as soon as there is something; follow=true and text/event-stream go on until you stop.",
        )),
        Some(wait) if wait > WAIT_MAX => Err(Problem::parameter(
            format!("'wait' is at most {} minutes", WAIT_MAX.as_secs() / 60),
            "Ask again with the last cursor when it is over, or follow with follow=true.",
        )),
        _ if follow => Ok(Until::Stopped),
        wait => Ok(Until::Told(wait.unwrap_or_default())),
    }
}

/// The sequence that a text names.
fn position(name: &str, text: &str, epoch: u64) -> Result<u64, Problem> {
    match sequence(text) {
        Some((of, seq)) => Ok(if of.is_none_or(|of| of == epoch) { seq } else { ELSEWHERE }),
        None => Err(Problem::parameter(
            format!("'{name}' is a cursor or a sequence number, not '{text}'"),
            "Take the 'cursor' of the last line that you read, or the 'seq' of an ingest answer; leave it out to begin now.",
        )),
    }
}

fn filter(params: &Params) -> Result<Filter, Problem> {
    let kinds = params.list("kind")?;
    if let Some(other) = kinds.iter().flatten().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Problem::parameter(
            format!("there is no kind '{other}'"),
            format!("Kinds that change are {}.", KINDS.join(", ")),
        ));
    }
    let mut names = NAMES.map(|_| None);
    for (wanted, name) in names.iter_mut().zip(NAMES) {
        *wanted = params.list(name)?;
    }
    Ok(Filter { kinds, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_position_is_a_number_or_a_cursor_and_one_of_another_store_is_nowhere() {
        assert_eq!(position("since", "7", 3).unwrap(), 7);
        assert_eq!(position("since", "3-7", 3).unwrap(), 7);
        assert_eq!(position("since", "4-7", 3).unwrap(), ELSEWHERE);
        for bad in ["", "-7", "3-", "x", "3-7-1", "1.5"] {
            assert!(position("since", bad, 3).unwrap_err().title().contains("cursor or a sequence number"), "{bad}");
        }
    }

    #[test]
    fn what_excludes_each_other_or_waits_too_long_is_refused() {
        assert!(matches!(until(&params(""), Form::Lines).unwrap(), Until::Told(Duration::ZERO)));
        assert!(matches!(until(&params("wait=10m"), Form::Lines).unwrap(), Until::Told(WAIT_MAX)));
        assert!(matches!(until(&params(""), Form::Events).unwrap(), Until::Stopped));
        assert!(until(&params("wait=11m"), Form::Lines).is_err());
        assert!(until(&params("wait=1s&follow=true"), Form::Lines).is_err());
        assert!(until(&params("wait=1s"), Form::Events).is_err());
        assert!(filter(&params("kind=host,reconciler")).is_ok());
        assert!(filter(&params("kind=assignment")).is_err());
    }
}
