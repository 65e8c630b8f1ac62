//! The one shape of every error: `application/problem+json`, with the title repeated in the HTTP/1.1 reason phrase.
//!
//! Invariant: a handler returns a [`Problem`]; only the outer layer renders it, because only that layer knows the request id. No
//! problem is made without a detail that says what to do. A title is one line of at most 120 printable ASCII characters: it is all that some clients (Grafana's Infinity) ever show.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::runtime::Crowded;

/// The longest title, in characters.
const TITLE_MAX: usize = 120;
/// The longest detail, in bytes: long enough to teach, short enough for a log line.
const DETAIL_MAX: usize = 4096;

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: String,
    detail: String,
    retry_after: Option<u64>,
    extra: Map<String, Value>,
}

/// How a problem looks on the wire (RFC 9457); ingest answers add their counters to it.
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// What kind of problem this is, as a URN; stable, for programs.
    #[schema(example = "urn:kalypso:problem:invalid-parameter")]
    pub r#type: String,
    /// What is wrong, in one line of at most 120 ASCII characters; also the HTTP/1.1 reason phrase.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// Where it is wrong, and what to do.
    pub detail: String,
    /// Names the request in the hub's log; also the header `X-Request-Id`.
    pub request_id: String,
}

impl Problem {
    /// A problem of this status and kind (the last part of its URN): what is wrong, then where, and what to do.
    pub fn new(status: StatusCode, kind: &'static str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem {
            status,
            kind,
            title: one_line(&title.into()),
            detail: cut(detail.into(), DETAIL_MAX),
            retry_after: None,
            extra: Map::new(),
        }
    }

    /// 400: a parameter that is not known, or not readable.
    pub fn parameter(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", title, detail)
    }

    /// 400: a body that is not readable.
    pub fn body(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "invalid-body", title, detail)
    }

    /// 404: no such thing.
    pub fn not_found(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not-found", title, detail)
    }

    /// 503: the hub cannot do this now; the client may come back after `seconds`.
    pub fn unavailable(title: impl Into<String>, seconds: u64, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail).retry_after(seconds)
    }

    /// 429: as many wait as may.
    pub fn crowded(_: Crowded) -> Self {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-waiters",
            "too many are waiting",
            "Ask without waiting and come back, or raise --max-waiters.",
        )
        .retry_after(5)
    }

    /// 500: our fault. The cause goes to the log, never to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed inside the hub");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the hub could not answer",
            "The cause is in the hub's log under this request id.",
        )
    }

    /// Tells the client when to come back.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// Adds fields beside the standard ones.
    pub fn with(mut self, extra: Map<String, Value>) -> Self {
        self.extra = extra;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The document.
    pub(super) fn document(&self, request_id: &str) -> Value {
        let mut body = Map::from_iter([
            ("type".to_owned(), Value::String(format!("urn:kalypso:problem:{}", self.kind))),
            ("title".to_owned(), Value::String(self.title.clone())),
            ("status".to_owned(), Value::from(self.status.as_u16())),
            ("detail".to_owned(), Value::String(self.detail.clone())),
            ("request_id".to_owned(), Value::String(request_id.to_owned())),
        ]);
        body.extend(self.extra.clone());
        Value::Object(body)
    }

    /// Writes the answer. `plain_error` is the shape of the hub before this one: `{"error": …}` and nothing else.
    pub(super) fn render(self, request_id: &str, plain_error: bool, headers: &mut Response<Body>) {
        let bytes = if plain_error {
            Value::from_iter([("error", format!("{}: {}", self.title, self.detail))])
        } else {
            self.document(request_id)
        }
        .to_string();
        let content_type = if plain_error { "application/json" } else { "application/problem+json" };
        *headers.status_mut() = self.status;
        let map = headers.headers_mut();
        map.remove(header::CONTENT_LENGTH);
        map.remove(header::CONTENT_ENCODING);
        map.remove(header::ETAG);
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            map.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Ok(phrase) = ReasonPhrase::try_from(self.title) {
            headers.extensions_mut().insert(phrase);
        }
        *headers.body_mut() = Body::from(bytes);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Makes one line of printable ASCII of any text, at most [`TITLE_MAX`] characters; what a client wrote otherwise is escaped.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        match c {
            ' '..='~' => line.push(c),
            _ if c.is_whitespace() => line.push(' '),
            other => line.extend(other.escape_default()),
        }
        if line.len() > TITLE_MAX {
            line.truncate(TITLE_MAX - 3);
            line.push_str("...");
            break;
        }
    }
    line
}

/// Cuts at a character boundary.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max - 3).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_printable_ascii_and_not_longer_than_120_characters() {
        let problem = Problem::parameter(format!("no field\r\nnamed \u{1F600}{}", "x".repeat(500)), "name another");
        assert_eq!(problem.title.len(), 120);
        assert!(problem.title.starts_with("no field  named \\u{1f600}x"));
        assert!(problem.title.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }

    #[test]
    fn the_title_is_the_reason_phrase_and_the_body_names_the_request() {
        let mut response = Response::new(Body::empty());
        Problem::parameter("bad thing", "do that").render("r-1", false, &mut response);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"bad thing");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
