//! What all answers that wait have in common: how long at most, and how a stream is kept open.
//!
//! Invariant: nothing between the hub and the client may hold a stream back or take it for dead.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::TryStream;

use super::lease::GoesOn;

/// The longest that a question may wait.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(600);
/// Something is said so often where nothing happens, lest somebody between takes the connection for dead.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An answer that goes on.
pub(super) fn streamed<S>(content_type: &'static str, cache_control: &'static str, stream: S) -> Response
where
    S: TryStream + Send + 'static,
    S::Ok: Into<Bytes>,
    S::Error: Into<axum::BoxError>,
{
    let headers = [
        (header::CONTENT_TYPE.as_str(), content_type),
        (header::CACHE_CONTROL.as_str(), cache_control),
        // What some proxies would otherwise hold back until there is more of it.
        ("x-accel-buffering", "no"),
    ];
    (Extension(GoesOn), headers, Body::from_stream(stream)).into_response()
}
