//! Entity tags, and answers kept for as long as the generation they were made from is the current one.
//!
//! Invariant: what is kept belongs to one generation and one way of asking; a new generation empties the shelf. Many dashboards
//! that poll the same rows cost one query per generation, and one `304` each where the client knows the tag.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::App;
use super::access::Viewer;
use super::params::Params;
use super::problem::Problem;
use super::resource::{self, Span};
use crate::runtime::{Freshness, Published, Stale};

/// The parameters that say how fresh an answer must be.
pub(super) const FRESHNESS: [&str; 2] = ["fresh", "min_seq"];
/// Larger answers are not kept.
const ANSWER_MAX: usize = 8 * 1024 * 1024;
/// All that is kept together is not larger than this.
const SHELF_MAX: usize = 32 * 1024 * 1024;

/// The answers of one generation.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    generation: String,
    bytes: usize,
    answers: HashMap<String, Place>,
}

#[derive(Clone, Debug)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.headers_mut() = self.headers;
        response
    }
}

/// Where an answer is kept; `None` says that there is one, too large to be kept.
type Place = Arc<OnceCell<Option<Answer>>>;

/// What one kept question takes besides its text and its answer.
const ENTRY: usize = 256;

impl Shelf {
    /// The place for an answer; empty until somebody fills it.
    fn place(&self, generation: &str, key: String) -> Place {
        let mut kept = self.kept.lock();
        if kept.generation != generation || kept.bytes > SHELF_MAX {
            *kept = Kept { generation: generation.to_owned(), ..Kept::default() };
        }
        // A question counts as well: whoever asks a great many different ones must not fill the memory with them.
        kept.bytes += key.len() + ENTRY;
        Arc::clone(kept.answers.entry(key).or_default())
    }

    fn weigh(&self, generation: &str, bytes: usize) {
        let mut kept = self.kept.lock();
        if kept.generation == generation {
            kept.bytes += bytes;
        }
    }
}

/// A sequence number, alone or as `<epoch>-<number>`, which names the store as well.
pub(super) fn sequence(text: &str) -> Option<(Option<u64>, u64)> {
    match text.split_once('-') {
        Some((epoch, seq)) => Some((Some(epoch.parse().ok()?), seq.parse().ok()?)),
        None => Some((None, text.parse().ok()?)),
    }
}

/// How fresh the answer to these parameters must be.
pub(super) fn freshness(params: &Params, epoch: u64) -> Result<Freshness, Problem> {
    let Some(text) = params.one("min_seq")? else {
        return Ok(if params.flag("fresh")? { Freshness::Now } else { Freshness::Recent });
    };
    match sequence(text) {
        Some((of, seq)) if of.is_none_or(|of| of == epoch) => Ok(Freshness::AtLeast(seq)),
        Some(_) => Err(Problem::new(
            StatusCode::GONE,
            "stale-sequence",
            "the sequence number belongs to an earlier store; read without min_seq",
            "The hub was restored or its data replaced since; sequence numbers of before mean nothing now.",
        )),
        None => Err(Problem::parameter(
            format!("'min_seq' must be a sequence number, not '{text}'"),
            "Use the 'seq' of an ingest answer of this hub.",
        )),
    }
}

/// The generation an answer must come from.
pub(super) async fn generation(app: &App, params: &Params, viewer: &Viewer) -> Result<Arc<Published>, Problem> {
    let freshness = freshness(params, app.hub.epoch())?;
    let published = app.hub.generation(freshness).await.map_err(stale)?;
    Ok(published.seen_by(&viewer.0))
}

/// Waits until the state holds what the parameters ask for; for answers that come from the state and not from a generation.
pub(super) async fn reach(app: &App, params: &Params) -> Result<(), Problem> {
    match freshness(params, app.hub.epoch())? {
        Freshness::AtLeast(seq) => app.hub.reach(seq).await.map_err(stale),
        Freshness::Recent | Freshness::Now => Ok(()),
    }
}

fn stale(stale: Stale) -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "stale",
        "the hub has not seen that sequence yet",
        format!("{stale}. Use the 'seq' of an ingest answer of this hub."),
    )
    .retry_after(1)
}

/// Picks the generation of a request, keeps what was answered, and answers 304 where the client has it. A malformed question gets
/// its error, and what does not exist its 404, whatever tag the client names: 304 stands for a 200 and nothing else.
pub(super) async fn from_generation(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    // Where the range has no effect it is no part of the question that is kept; malformed it is an error all the same.
    let params = match Params::of(request.uri()).and_then(|params| params.range().map(|_| params)) {
        Ok(params) => params,
        Err(problem) => return problem.into_response(),
    };
    let Some(viewer) = request.extensions().get::<Viewer>().cloned() else {
        return Problem::internal(&"nobody said who asks").into_response();
    };
    let published = match generation(&app, &params, &viewer).await {
        Ok(published) => published,
        Err(problem) => return problem.into_response(),
    };
    let id = published.generation.id.clone();
    // Who sees another part of the fleet has other answers, and other tags.
    let part = if viewer.0.is_none() { String::new() } else { format!("-{}", viewer.0.key()) };
    let tag = format!("W/\"{id}-{}{part}\"", env!("CARGO_PKG_VERSION"));
    let known = knows(request.headers(), &tag);
    let place = app.shelf.place(&id, key(&request, &params, &part));
    // The body of a HEAD is dropped further out; up to there it is the GET it asks about.
    *request.method_mut() = Method::GET;
    request.extensions_mut().insert(published);

    let mut asked = Some((request, next));
    let mut large = None;
    let made = place.get_or_try_init(async || {
        let answer = run(asked.take(), &tag).await?;
        if answer.body.len() <= ANSWER_MAX {
            app.shelf.weigh(&id, answer.body.len());
            Ok(Some(answer))
        } else {
            large = Some(answer);
            Ok(None)
        }
    });
    let kept = match made.await {
        Ok(_) if known => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            label(response.headers_mut(), &tag);
            return response;
        }
        Ok(kept) => kept.clone(),
        Err(response) => return response,
    };
    let answer = match kept.or(large) {
        Some(answer) => Ok(answer),
        None => run(asked, &tag).await,
    };
    answer.map_or_else(|failed| failed, Answer::into_response)
}

/// Asks the handler; whatever is no 200 is not kept.
async fn run(asked: Option<(Request, Next)>, tag: &str) -> Result<Answer, Response> {
    let Some((request, next)) = asked else {
        return Err(Problem::internal(&"a question was put twice").into_response());
    };
    let response = next.run(request).await;
    if response.status() != StatusCode::OK {
        return Err(response);
    }
    let (mut parts, body) = response.into_parts();
    label(&mut parts.headers, tag);
    match body.collect().await {
        Ok(body) => Ok(Answer { headers: parts.headers, body: body.to_bytes() }),
        Err(error) => Err(Problem::internal(&error).into_response()),
    }
}

/// What makes two requests the same question: who sees what, the path, the parameters that matter, and what the client can
/// decompress. Each with its length: a value may hold whatever else would tell where the next begins.
fn key(request: &Request, params: &Params, part: &str) -> String {
    let path = request.uri().path();
    let name = path.rsplit('/').next().unwrap_or_default();
    let state = resource::ALL.iter().any(|r| r.name == name && matches!(r.span, Span::Now));
    let now = state || name == "summary" || path.contains("/variables/") || path.contains("/alerts/");
    let mut key = String::new();
    let mut add = |text: &str| key.push_str(&format!("{}:{text}", text.len()));
    add(part);
    add(path);
    for (name, value) in params.pairs() {
        if FRESHNESS.contains(&name.as_str()) || (now && matches!(name.as_str(), "from" | "to")) {
            continue;
        }
        add(name);
        add(value);
    }
    let encodings = request.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    add(encodings.unwrap_or_default());
    key
}

/// True when the client already has what this tag names; weak comparison, as RFC 9110 wants for `If-None-Match`.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |t: &str| t.trim().trim_start_matches("W/").to_owned();
    let wanted = bare(tag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|t| t.trim() == "*" || bare(t) == wanted)
}

fn label(headers: &mut HeaderMap, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, authorization"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_compare_weakly_and_lists_of_tags_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", \"g1\""));
        assert!(knows(&headers, "W/\"g1\""));
        assert!(!knows(&headers, "W/\"g2\""));
    }

    #[test]
    fn a_sequence_of_another_store_is_refused() {
        let params = |q: &str| Params::of(&format!("/x?{q}").parse().unwrap()).unwrap();
        assert_eq!(freshness(&params("min_seq=5"), 7).unwrap(), Freshness::AtLeast(5));
        assert_eq!(freshness(&params("min_seq=7-5"), 7).unwrap(), Freshness::AtLeast(5));
        assert_eq!(freshness(&params("min_seq=8-5"), 7).unwrap_err().status(), StatusCode::GONE);
        assert_eq!(freshness(&params("min_seq=-5"), 7).unwrap_err().status(), StatusCode::BAD_REQUEST);
        assert_eq!(freshness(&params("fresh=true"), 7).unwrap(), Freshness::Now);
    }

    #[test]
    fn no_value_passes_for_more_parameters_or_for_another_part_of_the_fleet() {
        let key = |uri: &str, encodings: &str, part: &str| {
            let request = Request::get(uri).header(header::ACCEPT_ENCODING, encodings).body(Body::empty()).unwrap();
            key(&request, &Params::of(request.uri()).unwrap(), part)
        };
        let two = key("/api/v1/hosts?host=a&limit=5", "", "");
        for one in ["host=a%01limit%025", "host=a5:limit1:5", "host=a%00limit%005", "host=a%26limit=5"] {
            assert_ne!(key(&format!("/api/v1/hosts?{one}"), "", ""), two, "{one}");
        }
        assert_ne!(key("/api/v1/hosts", "gzip-0f", ""), key("/api/v1/hosts", "gzip", "-0f"));
        assert_eq!(key("/api/v1/hosts?host=a&fresh=true", "gzip", "-0f"), key("/api/v1/hosts?host=a", "gzip", "-0f"));
    }

    #[test]
    fn a_new_generation_empties_the_shelf() {
        let shelf = Shelf::default();
        let first = shelf.place("g1", "k".into());
        assert!(Arc::ptr_eq(&first, &shelf.place("g1", "k".into())));
        assert!(!Arc::ptr_eq(&first, &shelf.place("g2", "k".into())));
    }
}
