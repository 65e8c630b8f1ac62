//! The feed as a stream of bytes: one task per answer, which tells in rounds what changed since the last one.
//!
//! Invariant: a follower holds a position and a piece or two, however far behind it is and however slowly it is read; the state
//! is looked at for one piece at a time. It is woken by the ledger, never by a clock that looks for news.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::super::waits::KEEP_ALIVE;
use super::object::{self, Filter, Line};
use crate::ledger::{Change, Since};
use crate::runtime::Hub;

/// Changes of one piece, at most.
const PIECE: usize = 128;
/// The least time from one round to the next.
const ROUND: Duration = Duration::from_millis(250);

/// How it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// NDJSON.
    Lines,
    /// Server-sent events.
    Events,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Lines => "application/x-ndjson",
            Form::Events => "text/event-stream",
        }
    }
}

/// When it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// When all there is has been told; where there is nothing, so much time is given.
    Told(Duration),
    /// When the client goes or the hub stops.
    Stopped,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Follower {
    hub: Arc<Hub>,
    published: watch::Receiver<u64>,
    form: Form,
    filter: Filter,
    /// Everything up to this sequence has been told.
    position: u64,
    /// The position that the client was told last, and when.
    marked: Option<(u64, Instant)>,
    /// How many objects may still be told.
    left: u64,
    /// Until when there must be something to tell; `None`: it follows.
    deadline: Option<Instant>,
    /// Its place among those who wait, if it does.
    _place: Option<OwnedSemaphorePermit>,
}

/// Where the pieces go.
type Out = mpsc::Sender<Bytes>;

/// The client went away.
#[derive(Debug)]
struct Gone;

/// What every line has.
#[derive(Serialize)]
struct Told<'a> {
    seq: u64,
    cursor: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    line: Option<Line<'a>>,
}

impl Follower {
    /// Begins after `from`, or now.
    pub(super) fn new(
        hub: Arc<Hub>,
        (form, until): (Form, Until),
        from: Option<u64>,
        limit: Option<u64>,
        filter: Filter,
        place: Option<OwnedSemaphorePermit>,
    ) -> Follower {
        let published = hub.published();
        let deadline = match until {
            Until::Told(wait) => Some(Instant::now() + wait),
            Until::Stopped => None,
        };
        let position = from.unwrap_or(*published.borrow());
        let left = limit.unwrap_or(u64::MAX);
        Follower { hub, published, form, filter, position, marked: None, left, deadline, _place: place }
    }

    /// The bytes; dropping them ends it.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        let (out, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            if let Err(Gone) = self.run(&out).await {
                tracing::debug!("a follower of the changes went away");
            }
        });
        stream::unfold(pieces, async |mut pieces| pieces.recv().await.map(|piece| (Ok(piece), pieces)))
    }

    async fn run(mut self, out: &Out) -> Result<(), Gone> {
        if self.form == Form::Events {
            send(out, b"retry: 1000\n\n".to_vec()).await?;
        }
        loop {
            let next_round = Instant::now() + ROUND;
            // Asked before the round: what was published before the end is told.
            let stopping = self.hub.stopping().is_cancelled();
            let told = self.round(out).await?;
            let ends = stopping || self.left == 0 || self.deadline.is_some_and(|d| told || d <= Instant::now());
            if told || ends {
                self.mark(out).await?;
            } else if self.deadline.is_none() && self.due() <= Instant::now() {
                self.keep_alive(out).await?;
            }
            if ends {
                return Ok(());
            }
            self.wait(next_round, out).await?;
        }
    }

    /// Tells what is new; true when that was anything.
    async fn round(&mut self, out: &Out) -> Result<bool, Gone> {
        let mut told = false;
        while self.left > 0 {
            let seen = *self.published.borrow_and_update();
            let most = PIECE.min(usize::try_from(self.left).unwrap_or(PIECE));
            let Since::Changes { through, changes, all } = self.hub.changes(self.position, most) else {
                self.position = seen;
                send(out, self.written(seen, "resync", None)).await?;
                told = true;
                continue;
            };
            for first in (0..changes.len()).step_by(PIECE) {
                let piece = self.piece(&changes, first..changes.len().min(first + PIECE));
                if !piece.is_empty() {
                    send(out, piece).await?;
                    told = true;
                }
            }
            self.position = through;
            if all {
                break;
            }
        }
        Ok(told)
    }

    /// Some of the changes, as far as the filter lets them through.
    fn piece(&mut self, changes: &[Change], part: Range<usize>) -> Vec<u8> {
        let mut piece = Vec::new();
        let hub = Arc::clone(&self.hub);
        hub.read(|state| {
            for nth in part {
                let Change { seq, object } = changes[nth];
                // Only with the last change of a sequence all of it has been told.
                if changes.get(nth + 1).is_none_or(|next| next.seq > seq) {
                    self.position = seq;
                }
                if let Some(line) = object::line(state, &self.filter, object) {
                    piece.append(&mut self.written(seq, object::kind(object), Some(line)));
                    self.left = self.left.saturating_sub(1);
                }
            }
        });
        piece
    }

    /// Waits for news, for the end of the time, for the hub to stop, or until something must be said.
    async fn wait(&mut self, next_round: Instant, out: &Out) -> Result<(), Gone> {
        let stopping = self.hub.stopping().clone();
        let until = self.deadline.unwrap_or_else(|| self.due());
        let news = async {
            sleep_until(next_round).await;
            self.published.changed().await
        };
        tokio::select! {
            _ = news => Ok(()),
            () = stopping.cancelled() => Ok(()),
            () = sleep_until(until) => Ok(()),
            () = out.closed() => Err(Gone),
        }
    }

    /// When something must be said again; what happens elsewhere does not put it off.
    fn due(&self) -> Instant {
        self.marked.map_or_else(Instant::now, |(_, at)| at + KEEP_ALIVE)
    }

    async fn keep_alive(&mut self, out: &Out) -> Result<(), Gone> {
        match (self.form, &mut self.marked) {
            (Form::Events, Some((position, at))) if *position == self.position => {
                *at = Instant::now();
                send(out, b": still here\n\n".to_vec()).await
            }
            _ => self.mark(out).await,
        }
    }

    /// Says where to go on from.
    async fn mark(&mut self, out: &Out) -> Result<(), Gone> {
        self.marked = Some((self.position, Instant::now()));
        send(out, self.written(self.position, "through", None)).await
    }

    fn written(&self, seq: u64, kind: &'static str, line: Option<Line<'_>>) -> Vec<u8> {
        let cursor = format!("{}-{}", self.hub.epoch(), self.position);
        // It is made of text and numbers, of which none can fail to be written.
        let line = serde_json::to_string(&Told { seq, cursor: &cursor, kind, line }).unwrap_or_default();
        match self.form {
            Form::Lines => format!("{line}\n"),
            Form::Events => format!("id: {cursor}\nevent: {kind}\ndata: {line}\n\n"),
        }
        .into_bytes()
    }
}

async fn send(out: &Out, piece: Vec<u8>) -> Result<(), Gone> {
    out.send(piece.into()).await.map_err(|_| Gone)
}
