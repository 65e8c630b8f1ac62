//! `GET /api/v1/backup`: all that the hub remembers, as one file.
//!
//! Invariant: the answer is streamed as it is read, and ends with the frame that proves it whole; an answer that broke off has none,
//! and is refused by whatever reads it. A client that goes away, or that is let in no more, ends the backup.

use std::io::{self, BufWriter, Write};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::lease::GoesOn;
use super::problem::{Problem, ProblemBody};
use crate::runtime::NoBackup;

/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for the client.
const AHEAD: usize = 4;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// A backup: everything acknowledged before the request, as one packed file with a checksum at its end.
#[utoipa::path(
    get, path = "/backup", tag = "operations", operation_id = "backup",
    description = "`koh backup` asks for it and checks what it gets; `koh restore` makes a data directory of it. A file that was cut short \
lacks its end and is refused. The hub goes on taking and answering meanwhile, and gives one backup at a time, within an hour. \
Needs the scope admin: it holds all that any token may see.",
    responses(
        (status = 200, description = "The file. `X-Kalypso-Seq`: everything up to this sequence is in it.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 429, description = "Another backup or check is under way.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The hub cannot answer now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn backup(State(app): State<App>) -> Result<Response, Problem> {
    let backup = app.hub.begin_backup().await.map_err(refusal)?;
    let seq = backup.seq();
    let (pieces, mut taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let out = BufWriter::with_capacity(PIECE, Pipe(pieces.clone()));
        match backup.write(out) {
            Ok(whole) => tracing::info!(seq, bytes = whole.end.bytes, "gave a backup"),
            Err(error) => {
                tracing::warn!(%error, "a backup broke off");
                // Nobody reads it any more, or it must not look as if it were whole.
                let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
            }
        }
    });
    let stream = futures::stream::poll_fn(move |cx| taken.poll_recv(cx));
    let mut response = Body::from_stream(stream).into_response();
    response.extensions_mut().insert(GoesOn);
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    map.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"koh.backup\""));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    map.insert("x-kalypso-seq", HeaderValue::from(seq));
    Ok(response)
}

/// What it means to an HTTP client that no backup or check begins.
pub(super) fn refusal(why: NoBackup) -> Problem {
    match why {
        NoBackup::Busy => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "backup-under-way",
            "another backup or check is under way",
            "One is made at a time; ask again when it is done.",
        )
        .retry_after(10),
        NoBackup::Archive => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "archive-not-whole",
            "the archive is not whole",
            "History that left the ledger is not where it should be, and there is no backup without it: koh check and the log of the hub \
             say what to do.",
        ),
        NoBackup::Closed => Problem::unavailable(
            "the ledger gives no backup",
            5,
            "The hub is shutting down, or its writer ended; its log says which.",
        ),
    }
}

/// Sends what is written to it; fails when nobody takes it any more.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
