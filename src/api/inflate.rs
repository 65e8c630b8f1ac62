//! Unpacks gzip bodies before anybody reads them.
//!
//! Invariant: every member of a body is read, or the body is broken; what is packed several times over or in another coding is
//! refused before it is read. (Logs appended to each other and parallel compressors make bodies of several members.)

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};

/// Unpacked bytes handed on at once: what a small packed frame can grow to before back-pressure sets in.
const PIECE: usize = 32 * 1024;

/// The middleware.
pub(super) async fn inflate(mut request: Request, next: Next) -> Response {
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let coding = codings.next().map(|c| c.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match (coding.as_deref(), codings.next()) {
        (None | Some("" | "identity"), None) => {}
        (Some("gzip" | "x-gzip"), None) => {
            let packed = std::mem::take(request.body_mut()).into_data_stream().map_err(io::Error::other);
            let mut unpacked = GzipDecoder::new(StreamReader::new(packed));
            unpacked.multiple_members(true);
            *request.body_mut() = Body::from_stream(ReaderStream::with_capacity(unpacked, PIECE));
            request.headers_mut().remove(header::CONTENT_ENCODING);
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        _ => {
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::ACCEPT_ENCODING, "gzip, identity")]).into_response();
        }
    }
    next.run(request).await
}
