//! The bytes of one connection: a write that waits too long for its peer fails, and the bare answers that hyper itself gives to
//! what it cannot read leave as problem documents.
//!
//! Invariant: nothing that a handler answered is changed. hyper writes its own answers in one piece that holds a status of 4xx and
//! three headers; every answer of the layers above has more headers than these.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::api::edge;

/// After a bare answer a client that still sends is read for this long, lest its kernel throws the answer away unread ...
const LINGER: Duration = Duration::from_secs(2);
/// ... and for so many bytes.
const LINGER_MAX: usize = 1024 * 1024;

/// A stream whose writes fail when the peer takes nothing for a while.
pub(super) struct Wire<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    instead: Option<Instead>,
    linger: Option<Linger>,
}

/// What is written in the place of a bare answer.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
}

struct Linger {
    until: Pin<Box<Sleep>>,
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Wire { stream, patience, waiting: None, instead: None, linger: None }
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

    /// Writes a problem document where `bytes` are a bare answer of hyper; `None` where they are not.
    fn instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            let bytes = edge::unreadable(bare(bytes)?);
            self.instead = Some(Instead { bytes, written: 0 });
            self.linger = Some(Linger { until: Box::pin(tokio::time::sleep(LINGER)), read: 0 });
        }
        while let Some(Instead { bytes: all, written }) = &mut self.instead {
            if *written == all.len() {
                self.instead = None;
                break;
            }
            let outcome = Pin::new(&mut self.stream).poll_write(cx, &all[*written..]);
            if let Poll::Ready(Ok(n)) = outcome {
                *written += n;
                continue;
            }
            return Some(self.bounded(cx, outcome));
        }
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

/// The status of an answer that hyper made itself.
fn bare(bytes: &[u8]) -> Option<StatusCode> {
    let head = std::str::from_utf8(bytes.strip_prefix(b"HTTP/1.1 ")?.strip_suffix(b"\r\n\r\n")?).ok()?;
    let mut lines = head.split("\r\n");
    let status: StatusCode = lines.next()?.split(' ').next()?.parse().ok()?;
    let names: Vec<&str> = lines.filter_map(|line| line.split(':').next()).collect();
    let known = |name: &&str| ["connection", "content-length", "date"].iter().any(|k| name.eq_ignore_ascii_case(k));
    (status.is_client_error() && names.len() <= 3 && head.contains("content-length: 0") && names.iter().all(known))
        .then_some(status)
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(outcome) = self.instead(cx, buf) {
            return outcome;
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && let Some(outcome) = self.instead(cx, only)
        {
            return outcome;
        }
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
        let Wire { stream, linger, .. } = &mut *self;
        ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        let Some(Linger { until, read }) = linger else { return Poll::Ready(Ok(())) };
        let mut scratch = [0u8; 8 * 1024];
        while *read < LINGER_MAX && until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *read += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_answers_of_hyper_are_taken_for_such() {
        let hypers = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n\r\n";
        assert_eq!(bare(hypers), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            "HTTP/1.1 404 no hosts\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 no hosts\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "[{\"host\": 1}]",
            "",
        ] {
            assert_eq!(bare(other.as_bytes()), None, "{other}");
        }
    }
}
