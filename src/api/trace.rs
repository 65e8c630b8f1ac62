//! The span of a request: what a collector of traces is told of it, which is what the access log says.
//!
//! Invariant: without a collector the span is disabled and costs next to nothing; and no parameter, header or body is in it.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Begins the span of a request; whoever traces its caller finds it below the caller's.
pub(super) fn begin(request: &Request, id: &str) -> Span {
    let span = tracing::debug_span!(
        target: crate::TRACES,
        "request",
        otel.name = %request.method(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %request.method(),
        http.route = Empty,
        http.response.status_code = Empty,
        koh.request_id = id,
    );
    if !span.is_disabled() {
        let caller = opentelemetry::global::get_text_map_propagator(|p| p.extract(&Headers(request.headers())));
        // A caller that sent nonsense is no caller.
        let _ = span.set_parent(caller);
    }
    span
}

/// The request is answered.
pub(super) fn answered(span: &Span, method: &str, route: Option<&str>, status: StatusCode) {
    if span.is_disabled() {
        return;
    }
    if let Some(route) = route {
        // By then the span has begun, and its fields do not name it any more.
        span.context().span().update_name(format!("{method} {route}"));
        span.record("http.route", route);
    }
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
