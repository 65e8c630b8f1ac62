//! The end of a statement's time, asked between batches by whoever makes them.
//!
//! Invariant: a running statement looks here at every batch that a table gives and that an operator multiplies, so that it ends
//! within the work of one batch of its deadline. The runtime's own way to interrupt a task comes only every hundred batches or so.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::QueryError;

/// When a statement ends.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// Its time is over then.
    pub(super) deadline: Instant,
    /// How long it had.
    pub(super) timeout: Duration,
    /// Cancelled when nobody waits for it any more.
    pub(super) cancelled: CancellationToken,
}

impl Stop {
    /// That of a running statement.
    pub(super) fn of(context: &TaskContext) -> Option<Arc<Stop>> {
        context.session_config().get_extension::<Stop>()
    }

    /// An error once the statement is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancelled.is_cancelled() || Instant::now() >= self.deadline {
            return Err(QueryError::timeout(self.timeout).into_engine());
        }
        Ok(())
    }
}
