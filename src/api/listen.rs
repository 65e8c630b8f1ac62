//! The accept loop: HTTP/1.1 connections under limits of number and patience, and a shutdown that drains.
//!
//! Invariant: no client can hold up another. A connection is one task; a slow head, a slow reader and a silent peer each run into
//! a limit of their own; the number of connections is bounded, and when all are taken an idle one makes room. HTTP/2 is not spoken: reason phrases exist only in HTTP/1.1.

mod table;
pub mod tls;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use super::edge;
use table::{Seat, Table};
use tls::Tls;
use wire::Wire;

/// How patient the hub is with its clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections at once; for one more an idle one makes room, and where none is idle it waits.
    pub connections: usize,
    /// Connections of one address at once; for one more an idle one of the same address makes room, or it is closed.
    pub per_peer: usize,
    /// A request head must be complete within this time; an idle connection is closed after it.
    pub head: Duration,
    /// A client must take some bytes of an answer within this time.
    pub reader: Duration,
    /// Requests in flight get this long to finish at shutdown.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connections: 12_288,
            per_peer: 9_216,
            head: Duration::from_secs(30),
            reader: Duration::from_secs(30),
            drain: Duration::from_secs(20),
        }
    }
}

/// A connection that makes room gets this long to deliver what it answered.
const LAST_BYTES: Duration = Duration::from_secs(1);
/// The largest request head hyper will buffer; the outer layer refuses less than this with a readable answer.
const HEAD_MAX: usize = 128 * 1024;

/// What answers requests, one of its clones each.
pub trait Answers:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Serves until `stop` is cancelled, then stops accepting and lets requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    service: impl Answers,
    patience: Patience,
    stop: CancellationToken,
) {
    let table = Table::new(patience.connections, patience.per_peer);
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a peer that went away at once: neither is a reason to stop serving.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let admitted = tokio::select! {
            () = stop.cancelled() => break,
            admitted = table.admit(peer.ip().to_canonical()) => admitted,
        };
        let Some(seat) = admitted else {
            tracing::warn!(peer = %peer.ip(), limit = patience.per_peer, "refused a connection: its address has too many at work");
            // Whether the peer gets to read it is its own affair: nothing waits for that, and no handshake is made for it.
            if tls.is_none() {
                let _ = stream.try_write(&edge::too_many_connections(patience.per_peer));
            }
            continue;
        };
        let connection = greet(stream, tls.clone(), seat, service.clone(), patience, stop.clone());
        let abort = abort.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = connection => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(patience.drain, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "closing connections that did not finish in time");
        abort.cancel();
        tasks.wait().await;
    }
}

/// Makes a connection of what was accepted; a handshake is given as much time as the head of a request.
async fn greet(
    stream: TcpStream,
    tls: Option<Tls>,
    seat: Arc<Seat>,
    service: impl Answers,
    patience: Patience,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn Nagle's algorithm off");
    }
    let Some(tls) = tls else { return connection(stream, seat, service, patience, stop).await };
    let place = seat.place();
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(patience.head, Box::pin(tls.accept(stream))) => shaken,
        () = stop.cancelled() => return,
        () = place.given_up.cancelled() => return,
    };
    match shaken {
        // Boxed: a connection in the clear would be as large as one that has keys and buffers of its own.
        Ok(Ok(Some(stream))) => Box::pin(connection(stream, seat, service, patience, stop)).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    seat: Arc<Seat>,
    service: impl Answers,
    patience: Patience,
    stop: CancellationToken,
) {
    let seated = Arc::clone(&seat);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let at_work = seated.begin();
        let answer = service.clone().oneshot(request.map(Body::new));
        async move { answer.await.map(|response| response.map(|body| at_work.until_sent(body))) }
    });
    let io = TokioIo::new(Wire::new(stream, patience.reader));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let place = seat.place();
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
        () = place.given_up.cancelled() => {
            if place.unheard() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            // What is left of the last answer may still be on its way; a head that began to come since is not waited for.
            match tokio::time::timeout(LAST_BYTES, connection.as_mut()).await {
                Err(_) if place.at_work() => connection.as_mut().await,
                Err(_) => return,
                Ok(outcome) => outcome,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}
