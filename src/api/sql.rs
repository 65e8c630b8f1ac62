//! Ad-hoc SQL over HTTP: the statement in the query string, as a body, as JSON or as a form.
//!
//! Invariant: values go beside the statement, never into it, and every limit on untrusted SQL is the engine's; nothing here parses
//! a statement.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use http_body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::access::Viewer;
use super::answers::{self, FRESHNESS};
use super::params::{self, Params};
use super::problem::{Problem, ProblemBody};
use crate::query::{ErrorKind, Format, Params as Bound, QueryError, Statement};
use crate::runtime::Published;
use crate::sources::json::Object;

/// The largest body of a request other than a push: a statement of 64 KiB, its parameters and their encoding.
pub(super) const BODY_MAX: usize = 512 * 1024;

/// Such a body must be whole within this time.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// A body as it should be.
const SQL_EXAMPLE: &str = r#"{"sql": "SELECT * FROM hosts WHERE host = $1", "params": ["h1"]}"#;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_sql, post_sql))
}

/// A statement and its parameters.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    /// One read-only statement; `$1` or `$name` where values belong.
    #[schema(example = "SELECT * FROM environment_state WHERE environment = $1")]
    sql: String,
    /// An array for `$1`, `$2` …, or an object for `$name`.
    #[serde(default)]
    params: Value,
}

/// Run one read-only SQL statement given as `q`.
#[utoipa::path(
    get, path = "/sql", tag = "sql", operation_id = "get_sql",
    params(
        ("q" = String, Query, description = "The statement."),
        ("format" = Option<String>, Query, description = "json, ndjson, csv, arrow or parquet; wins over Accept."),
        ("fresh" = Option<bool>, Query, description = "true: everything acknowledged before this question is seen."),
        ("min_seq" = Option<String>, Query, description = "Everything up to this sequence number is seen."),
    ),
    responses(
        (status = 200, description = "The rows, in the format asked for.", content(
            (Vec<Object> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = "4XX", description = "The statement is wrong, refused or too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The statement took too long, or the hub cannot run it now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn get_sql(
    State(app): State<App>,
    Extension(viewer): Extension<Viewer>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    params.only(["q", "format"].into_iter().chain(FRESHNESS))?;
    let sql = params.one("q")?.ok_or_else(|| {
        Problem::parameter("the parameter 'q' is missing", "Ask as /api/v1/sql?q=SELECT%201, or POST the statement.")
    })?;
    let statement = Statement { sql: sql.to_owned(), params: Bound::None };
    run(&app, &viewer, &params, &headers, statement).await
}

/// Run one read-only SQL statement: as text, as JSON with parameters, or as a form whose other fields are named parameters.
#[utoipa::path(
    post, path = "/sql", tag = "sql", operation_id = "post_sql",
    params(
        ("format" = Option<String>, Query, description = "json, ndjson, csv, arrow or parquet; wins over Accept."),
        ("fresh" = Option<bool>, Query, description = "true: everything acknowledged before this question is seen."),
        ("min_seq" = Option<String>, Query, description = "Everything up to this sequence number is seen."),
    ),
    request_body(content(
        (SqlBody = "application/json"), (String = "text/plain"), (String = "application/sql"),
        (SqlBody = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "The rows, in the format asked for.", content(
            (Vec<Object> = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = "4XX", description = "The statement is wrong, refused or too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The statement took too long, or the hub cannot run it now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn post_sql(
    State(app): State<App>,
    Extension(viewer): Extension<Viewer>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::of(request.uri())?;
    params.only(["format"].into_iter().chain(FRESHNESS))?;
    let headers = request.headers().clone();
    let statement = statement(request).await?;
    run(&app, &viewer, &params, &headers, statement).await
}

/// Reads the statement out of a body, whatever its type.
async fn statement(request: Request) -> Result<Statement, Problem> {
    let kind = content_type(request.headers());
    match kind.as_str() {
        "application/json" => {
            let body = text(request).await?;
            let Object(SqlBody { sql, params }) = serde_json::from_str(&body).map_err(|e| {
                Problem::body("the body is not an object with 'sql' and 'params'", format!("{e}. Send {SQL_EXAMPLE}."))
            })?;
            Ok(Statement { sql, params: Bound::from_json(params).map_err(|e| problem_of(&e))? })
        }
        "application/x-www-form-urlencoded" => from_form(request).await,
        "multipart/form-data" => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "multipart forms are not taken; send x-www-form-urlencoded or text/plain",
            "In Grafana's Infinity choose the body type 'x-www-form-urlencoded' or 'Raw' instead of 'Form data'.",
        )),
        "" | "text/plain" | "application/sql" => Ok(Statement { sql: text(request).await?, params: Bound::None }),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            format!("a statement is not sent as '{other}'"),
            "Send text/plain, application/sql, application/json or application/x-www-form-urlencoded.",
        )),
    }
}

async fn from_form(request: Request) -> Result<Statement, Problem> {
    let raw = text(request).await?;
    let form = params::pairs(&raw).map_err(|params::Garbled(what)| {
        Problem::body(
            "the form does not decode to UTF-8",
            format!("Percent-encode the bytes of UTF-8; this field does not decode to it: {what}"),
        )
    })?;
    let mut sql = None;
    let mut named = Map::new();
    let mut seen = HashSet::new();
    for (name, value) in form {
        if !seen.insert(name.clone()) {
            return Err(Problem::body(
                format!("the form field '{name}' comes twice"),
                "Each $name of the statement has one value; for a list use a name for each element.",
            ));
        }
        if name == "sql" {
            sql = Some(value);
        } else {
            named.insert(name, Value::from(value));
        }
    }
    let sql = sql.ok_or_else(|| {
        Problem::body(
            "the form has no field 'sql'",
            "The other fields are the values of $name in the statement. A bare statement goes as Content-Type: text/plain.",
        )
    })?;
    Ok(Statement { sql, params: if named.is_empty() { Bound::None } else { Bound::Named(named) } })
}

/// The whole body as text.
async fn text(request: Request) -> Result<String, Problem> {
    String::from_utf8(whole(request).await?.to_vec()).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Problem::body("the body is not UTF-8", format!("Send it as UTF-8; it stops being that at byte {at}."))
    })
}

/// The whole body. One that is announced as too large is refused before it is read.
pub(super) async fn whole(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body is larger than {BODY_MAX} bytes"),
            "The limit counts bytes after decompression; a statement itself may have 64 KiB.",
        )
    };
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, &())).await.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "idle-body",
            "the body did not come in time",
            format!("All of it must be there within {} s.", BODY_WITHIN.as_secs()),
        )
    })?;
    read.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::body(
            "the body could not be read to its end",
            format!("Send it again, whole, and packed as Content-Encoding says. ({})", e.body_text()),
        ),
    })
}

/// The bare media type, lower-case.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The rows of a statement with `$1` … as a JSON array, whole.
pub(super) async fn json_rows(
    app: &App,
    published: &Published,
    (sql, bound): (String, Vec<Value>),
) -> Result<Bytes, Problem> {
    let statement = Statement { sql, params: Bound::Positional(bound) };
    let output = app.hub.rows().run(Arc::clone(&published.catalog), statement, Format::Json).await;
    let pieces: Vec<Bytes> =
        output.map_err(|e| problem_of(&e))?.body.try_collect().await.map_err(|e| problem_of(&e))?;
    Ok(match <[Bytes; 1]>::try_from(pieces) {
        Ok([whole]) => whole,
        Err(pieces) => pieces.concat().into(),
    })
}

/// The same rows, read.
pub(super) async fn read_rows<T: DeserializeOwned>(
    app: &App,
    published: &Published,
    statement: (String, Vec<Value>),
) -> Result<Vec<T>, Problem> {
    let body = json_rows(app, published, statement).await?;
    serde_json::from_slice(&body).map_err(|e| Problem::internal(&e))
}

async fn run(
    app: &App,
    viewer: &Viewer,
    params: &Params,
    headers: &HeaderMap,
    statement: Statement,
) -> Result<Response, Problem> {
    let format = format(params, headers)?;
    let published = answers::generation(app, params, viewer).await?;
    let output =
        app.hub.sql().run(Arc::clone(&published.catalog), statement, format).await.map_err(|e| problem_of(&e))?;
    let mut response = Body::from_stream(output.body.fuse()).into_response();
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(output.content_type));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(seq) = HeaderValue::from_str(&published.generation.seq.to_string()) {
        map.insert("x-kalypso-seq", seq);
    }
    Ok(response)
}

/// The format asked for: `format=` first, then what `Accept` prefers.
fn format(params: &Params, headers: &HeaderMap) -> Result<Format, Problem> {
    if let Some(name) = params.one("format")? {
        return Format::from_name(name).ok_or_else(|| {
            Problem::parameter(format!("unknown format '{name}'"), "Known: json, ndjson, csv, arrow, parquet.")
        });
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    Format::from_accept(accept).ok_or_else(|| {
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "no format that Accept names is offered", "Offered: application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream, application/vnd.apache.parquet.")
    })
}

/// What a failed statement means to an HTTP client.
pub(super) fn problem_of(error: &QueryError) -> Problem {
    let (status, kind) = match error.kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid-sql"),
        ErrorKind::Refused => (StatusCode::FORBIDDEN, "refused-sql"),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        ErrorKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ErrorKind::TooLarge => (StatusCode::UNPROCESSABLE_ENTITY, "too-large"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    let problem = Problem::new(status, kind, error.title.clone(), error.detail.clone());
    if error.kind == ErrorKind::Busy { problem.retry_after(1) } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str, accept: &str) -> Result<Format, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        format(&Params::of(&format!("/x?{query}").parse().unwrap()).unwrap(), &headers)
    }

    #[test]
    fn the_format_comes_from_the_parameter_then_from_accept_then_is_json() {
        assert_eq!(asked("format=csv", "application/json").unwrap(), Format::Csv);
        assert_eq!(asked("", "application/json;q=0.9,text/plain").unwrap(), Format::Json);
        assert_eq!(asked("", "text/html, text/csv").unwrap(), Format::Csv);
        assert!(asked("", "text/html").is_err());
        assert_eq!(asked("", "*/*").unwrap(), Format::Json);
        assert!(asked("format=xml", "*/*").is_err());
    }
}
