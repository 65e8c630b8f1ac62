//! Answers on their way out.
//!
//! Invariant: nothing is announced before the first [`HELD`] bytes are there or the answer is complete, so that early
//! failures are clean errors; afterwards the stream ends either complete or with an error, also when the producer
//! vanishes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use super::error::{QueryError, from_engine};
use super::format::{Encoder, Format, plain_batch, plain_schema};
use super::log::Running;
use super::prepare::too_many_rows;

/// Bytes held back before an answer starts.
pub(super) const HELD: usize = 1024 * 1024;

/// An answer.
pub struct Output {
    /// The media type of the body.
    pub content_type: &'static str,
    /// The columns, as they leave.
    pub schema: SchemaRef,
    /// Whether the body is complete already: then it cannot fail.
    pub complete: bool,
    /// The body; an error in it means that what came before is not the whole answer.
    pub body: BoxStream<'static, Result<Bytes, QueryError>>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// What the producer says first.
pub(super) struct Head {
    pub(super) schema: SchemaRef,
    pub(super) first: Vec<Bytes>,
    pub(super) complete: bool,
}

/// What the producer says afterwards.
pub(super) enum Piece {
    Bytes(Bytes),
    End,
}

/// The producer's end of an answer.
pub(super) struct Sender {
    pub(super) head: Option<oneshot::Sender<Result<Head, QueryError>>>,
    pub(super) pieces: mpsc::Sender<Result<Piece, QueryError>>,
}

impl Sender {
    /// Tells the caller that the statement failed, in whatever way is left.
    pub(super) fn fail(&mut self, error: QueryError) {
        match self.head.take() {
            Some(head) => drop(head.send(Err(error))),
            // A slow reader learns of the failure when it comes to it; the statement's slot does not wait for that.
            None => {
                let pieces = self.pieces.clone();
                drop(tokio::spawn(async move { pieces.send(Err(error)).await }));
            }
        }
    }

    /// Encodes all batches and sends them.
    pub(super) async fn send(
        &mut self,
        mut batches: SendableRecordBatchStream,
        format: Format,
        limits: (usize, usize),
        running: &mut Running,
    ) -> Result<(), QueryError> {
        let (most_rows, most_bytes) = limits;
        let schema = plain_schema(&batches.schema())?;
        let mut encoder = Encoder::new(format, &schema)?;
        let mut held = Vec::new();
        let mut bytes = 0usize;
        while let Some(batch) = batches.next().await {
            let batch = plain_batch(&batch.map_err(|e| from_engine(&e, &[]))?, &schema)?;
            running.rows += batch.num_rows();
            if running.rows > most_rows {
                return Err(too_many_rows(most_rows, None));
            }
            let piece = encoder.batch(&batch)?;
            if piece.is_empty() {
                continue;
            }
            bytes += piece.len();
            if bytes > most_bytes {
                return Err(QueryError::too_large(
                    format!("The answer is longer than {most_bytes} bytes"),
                    "Add LIMIT, select fewer columns, or ask for the rest in further statements.",
                ));
            }
            held.push(piece);
            if bytes >= HELD {
                self.pass_on(&schema, &mut held, false).await?;
            }
        }
        held.push(encoder.finish()?);
        self.pass_on(&schema, &mut held, true).await
    }

    async fn pass_on(&mut self, schema: &SchemaRef, held: &mut Vec<Bytes>, complete: bool) -> Result<(), QueryError> {
        if let Some(head) = self.head.take() {
            let head = head.send(Ok(Head { schema: Arc::clone(schema), first: std::mem::take(held), complete }));
            return head.map_err(|_| gone());
        }
        for piece in held.drain(..) {
            self.pieces.send(Ok(Piece::Bytes(piece))).await.map_err(|_| gone())?;
        }
        if complete {
            self.pieces.send(Ok(Piece::End)).await.map_err(|_| gone())?;
        }
        Ok(())
    }
}

/// The caller went away: nobody reads this.
fn gone() -> QueryError {
    QueryError::invalid("The caller went away", "Nothing to do.")
}

/// The body of an answer; dropping it stops the statement.
pub(super) fn body(
    head: Head,
    pieces: mpsc::Receiver<Result<Piece, QueryError>>,
    stop: DropGuard,
    cut_off: QueryError,
) -> BoxStream<'static, Result<Bytes, QueryError>> {
    struct Body {
        // Dropped first: when a piece cannot be sent any more, the producer knows already that nobody reads.
        _stop: DropGuard,
        first: VecDeque<Bytes>,
        pieces: mpsc::Receiver<Result<Piece, QueryError>>,
        ended: bool,
        cut_off: Option<QueryError>,
    }
    let body = Body { _stop: stop, first: head.first.into(), pieces, ended: head.complete, cut_off: Some(cut_off) };
    let stream = stream::unfold(body, |mut body| async move {
        if let Some(first) = body.first.pop_front() {
            return Some((Ok(first), body));
        }
        if body.ended {
            return None;
        }
        match body.pieces.recv().await {
            Some(Ok(Piece::Bytes(piece))) => Some((Ok(piece), body)),
            Some(Ok(Piece::End)) => None,
            Some(Err(error)) => {
                body.ended = true;
                Some((Err(error), body))
            }
            None => {
                body.ended = true;
                body.cut_off.take().map(|error| (Err(error), body))
            }
        }
    });
    stream.boxed()
}
