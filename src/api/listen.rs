//! The accept loop: HTTP/1.1 connections under limits of number and patience, and a shutdown that drains.
//!
//! Invariant: no client can hold up another. A connection is one task; a slow head, a slow reader and a silent peer each run into
//! a limit of their own, and the number of connections is bounded. HTTP/2 is not spoken: reason phrases exist only in HTTP/1.1.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// How patient the hub is with its clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections: usize,
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
            connections: 1024,
            head: Duration::from_secs(30),
            reader: Duration::from_secs(30),
            drain: Duration::from_secs(20),
        }
    }
}

/// The largest request head hyper will buffer; the outer layer refuses less than this with a readable answer.
const HEAD_MAX: usize = 128 * 1024;

/// Serves until `stop` is cancelled, then stops accepting and lets requests in flight finish.
pub async fn serve<S>(listener: TcpListener, service: S, patience: Patience, stop: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let slots = Arc::new(Semaphore::new(patience.connections));
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a peer that went away at once: neither is a reason to stop serving.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = connection(stream, service.clone(), patience, stop.clone());
        let abort = abort.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = connection => {}
            }
            drop(slot);
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection<S>(stream: TcpStream, service: S, patience: Patience, stop: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not turn Nagle's algorithm off");
    }
    let service =
        tower::util::MapRequest::new(service, |request: Request<hyper::body::Incoming>| request.map(Body::new));
    let io = TokioIo::new(ImpatientWriter::new(stream, patience.reader));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A stream whose writes fail when the peer takes nothing for a while.
struct ImpatientWriter {
    stream: TcpStream,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl ImpatientWriter {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        ImpatientWriter { stream, patience, waiting: None }
    }

    /// Turns a write that has been pending for too long into an error.
    fn bounded(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let patience = self.patience;
        let sleep = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl AsyncRead for ImpatientWriter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ImpatientWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
