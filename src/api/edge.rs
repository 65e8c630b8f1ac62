//! The one outer layer: whatever happens inside, what leaves the hub is well formed.
//!
//! Invariant: every answer of 400 and above is a problem document with the request id, whoever made it (a handler, the router, an
//! extractor, a layer, a panic). The access log names neither query strings nor headers, for both may carry secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::middleware::Next;
use futures::FutureExt;
use http_body_util::{BodyExt, Limited};

use super::problem::Problem;
use crate::metrics::Metrics;

/// The longest request target: longer statements go into a body.
const TARGET_MAX: usize = 32 * 1024;
/// The most header bytes of a request.
const HEADERS_MAX: usize = 32 * 1024;
/// What a bare text answer may say at most before it is turned into a problem.
const BARE_MAX: usize = 2048;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the outer layer needs to know.
#[derive(Debug)]
pub(super) struct Edge {
    /// How long a handler may take to begin its answer; ingest streams are not under it.
    pub(super) answer_within: Duration,
    metrics: Arc<Metrics>,
}

/// The template of the route that a request went to: the router knows it, the outer layer counts by it.
#[derive(Clone, Debug, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

/// Inside the router: notes which route was found.
pub(super) async fn note_route(request: Request, next: Next) -> Response<Body> {
    if let (Some(route), Some(found)) = (request.extensions().get::<Route>(), request.extensions().get::<MatchedPath>())
    {
        // Noted once, for the layer is passed once.
        let _ = route.0.set(found.clone());
    }
    next.run(request).await
}

impl Edge {
    pub(super) fn new(answer_within: Duration, metrics: Arc<Metrics>) -> Arc<Edge> {
        Arc::new(Edge { answer_within, metrics })
    }
}

/// A new request id, unlike those of this and of earlier runs.
fn new_id() -> String {
    static BOOT: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_microsecond());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut seed = [0u8; 16];
    seed[..8].copy_from_slice(&BOOT.to_le_bytes());
    seed[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    format!("{:016x}", twox_hash::XxHash3_128::oneshot(&seed) as u64)
}

/// The answer, as bytes, to what is no readable request: it is given on the wire, for no layer ever sees such a request.
pub(super) fn unreadable(status: StatusCode) -> Vec<u8> {
    let problem = match status {
        StatusCode::URI_TOO_LONG => uri_too_long(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            headers_too_large("there are too many headers, or they are too large")
        }
        _ => Problem::new(
            status,
            "unreadable-request",
            "this is no readable HTTP/1.1 request",
            "The request line, a header or a length is malformed: blanks and non-ASCII characters in an address are \
             percent-encoded, and https is spoken only with --tls-cert.",
        ),
    };
    on_the_wire(&problem)
}

/// The answer, as bytes, to a peer that speaks no TLS where nothing else is spoken.
pub(super) fn not_tls() -> Vec<u8> {
    on_the_wire(&Problem::new(
        StatusCode::BAD_REQUEST,
        "https-only",
        "this port speaks TLS: use https://",
        "Write the address with https://; koh takes the CA of a private certificate from --ca-file or KOH_CA_FILE.",
    ))
}

/// The answer, as bytes, to a peer that holds its share of connections and wants one more.
pub(super) fn too_many_connections(share: usize) -> Vec<u8> {
    on_the_wire(&Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-connections",
        format!("this address has {share} connections at work"),
        "Wait until some of them are answered. Where a proxy stands before the hub, raise --max-connections-per-peer.",
    ))
}

/// A whole answer as bytes; after it the connection is closed.
fn on_the_wire(problem: &Problem) -> Vec<u8> {
    let id = new_id();
    let status = problem.status();
    tracing::info!(target: "koh::access", request_id = %id, status = status.as_u16(), "answered without a request");
    let (title, body) = (problem.title().to_owned(), problem.document(&id).to_string());
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let (status, length) = (status.as_u16(), body.len());
    format!(
        "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {length}\r\n\
         date: {date}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Runs a request and puts its answer in order.
pub(super) async fn outer(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let id: Arc<str> = match request.headers().get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(|v| sane(v)) {
        Some(given) => given.into(),
        None => new_id().into(),
    };
    let refused = too_large(&request);
    tolerate_slashes(&mut request);
    let method = request.method().clone();
    let counted = edge.metrics.traffic.begin(&method);
    let route = Route::default();
    request.extensions_mut().insert(route.clone());
    let path = request.uri().path().to_owned();
    // Whoever waits has a limit of its own.
    let streams = path.starts_with("/api/v1/ingest") || path == "/api/v1/rollouts/status";

    let mut response = match refused {
        Some(problem) => axum::response::IntoResponse::into_response(problem),
        None => {
            let run = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
            let caught =
                if streams { Some(run.await) } else { tokio::time::timeout(edge.answer_within, run).await.ok() };
            match caught {
                Some(Ok(response)) => response,
                Some(Err(_)) => {
                    tracing::error!(request_id = %id, %method, path, "a handler panicked");
                    let problem = Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal",
                        "the hub could not answer",
                        "The cause is in the hub's log under this request id.",
                    );
                    axum::response::IntoResponse::into_response(problem)
                }
                None => axum::response::IntoResponse::into_response(Problem::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "timeout",
                    "no answer within the time limit",
                    format!("The limit is {} s; ask for less.", edge.answer_within.as_secs()),
                )),
            }
        }
    };

    if response.status().as_u16() >= 400 {
        let problem = match response.extensions_mut().remove::<Problem>() {
            Some(problem) => problem,
            None => from_bare(&mut response, &method, &path).await,
        };
        problem.render(&id, path == "/deployment_state", &mut response);
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    counted.answered(route.0.get().map(MatchedPath::as_str), response.status());
    tracing::info!(
        target: "koh::access",
        request_id = %id,
        %method,
        path,
        status = response.status().as_u16(),
        micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// Ids of callers are taken over when they are short and harmless in a log line.
fn sane(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn too_large(request: &Request) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if target > TARGET_MAX {
        return Some(uri_too_long());
    }
    let headers: usize = request.headers().iter().map(|(k, v)| k.as_str().len() + v.len()).sum();
    (headers > HEADERS_MAX).then(|| headers_too_large(&format!("the headers are larger than {HEADERS_MAX} bytes")))
}

fn uri_too_long() -> Problem {
    Problem::new(
        StatusCode::URI_TOO_LONG,
        "uri-too-long",
        format!("the request target is longer than {TARGET_MAX} bytes"),
        "Send long statements as the body of a POST to /api/v1/sql.",
    )
}

fn headers_too_large(title: &str) -> Problem {
    Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers-too-large",
        title,
        format!(
            "At most 100 headers of {HEADERS_MAX} bytes together are taken; cookies of another site on the same host are the \
             usual cause."
        ),
    )
}

/// A base URL that ends in `/` gives `//path`: it means `/path`.
fn tolerate_slashes(request: &mut Request) {
    let Some(target) = request.uri().path_and_query() else { return };
    if !target.as_str().starts_with("//") {
        return;
    }
    let wanted = format!("/{}", target.as_str().trim_start_matches('/'));
    if let Ok(uri) = wanted.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
}

/// Turns the answer of a router, an extractor or a layer into a problem; its headers (Allow, Accept-Encoding ...) stay.
async fn from_bare(response: &mut Response<Body>, method: &Method, path: &str) -> Problem {
    let status = response.status();
    let body = std::mem::take(response.body_mut());
    let said = match Limited::new(body, BARE_MAX).collect().await {
        Ok(whole) if status.is_client_error() => String::from_utf8_lossy(&whole.to_bytes()).into_owned(),
        _ => String::new(),
    };
    let empty = said.trim().is_empty();
    let said = if empty { "Compare the request with /docs or /openapi.json.".to_owned() } else { said };
    match status {
        StatusCode::NOT_FOUND => Problem::new(
            status,
            "no-such-path",
            format!("nothing is served at {path}"),
            "The paths are listed at /docs and in /openapi.json.",
        ),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = response.headers().get(header::ALLOW).and_then(|v| v.to_str().ok()).unwrap_or("GET");
            Problem::new(
                status,
                "method-not-allowed",
                format!("{method} is not served at {path}; use {}", allow.replace(',', ", ")),
                "The header Allow lists the methods; /docs says what each of them takes.",
            )
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "body-too-large", "the body is larger than this path takes", said)
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            status,
            "unsupported-media-type",
            "this content encoding is not taken here",
            "Send the body plain, or once packed with Content-Encoding: gzip.",
        ),
        _ => {
            let name = status.canonical_reason().unwrap_or("error").to_lowercase();
            let title = if empty { name } else { format!("{name}: {said}") };
            Problem::new(status, "http", title, said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_of_callers_are_taken_only_when_harmless() {
        assert!(sane("01J-abc.9_x"));
        assert!(!sane(""));
        assert!(!sane("a b"));
        assert!(!sane(&"a".repeat(65)));
    }

    #[test]
    fn generated_ids_differ() {
        assert_ne!(new_id(), new_id());
    }

    #[test]
    fn leading_slashes_collapse_and_the_query_stays() {
        let mut request = Request::builder().uri("//api/v1/hosts?x=//1").body(Body::empty()).unwrap();
        tolerate_slashes(&mut request);
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/api/v1/hosts?x=//1");
    }
}
