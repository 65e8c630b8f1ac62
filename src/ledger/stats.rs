//! What the writer counts of its own work, for whoever watches the hub.
//!
//! Invariant: counting never fails and never waits; numbers only describe, nothing in the ledger depends on them.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::model::Micros;

/// From a cached disk to one that hangs.
const COMMIT_SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The writer's numbers since the start.
#[derive(Debug)]
pub struct Stats {
    /// Groups made durable.
    pub groups: Counter,
    /// Packed bytes of these groups.
    pub bytes: Counter,
    /// How long each took to get on disk, in seconds.
    pub commits: Histogram,
    checkpoint: Mutex<(u64, Option<Micros>)>,
}

impl Stats {
    pub(super) fn starting_at(checkpoint: u64) -> Stats {
        Stats {
            groups: Counter::default(),
            bytes: Counter::default(),
            commits: Histogram::new(COMMIT_SECONDS),
            checkpoint: Mutex::new((checkpoint, None)),
        }
    }

    /// The sequence of the checkpoint that a restart reads, and when it was written if that was since the start.
    pub fn checkpoint(&self) -> (u64, Option<Micros>) {
        *self.checkpoint.lock()
    }

    pub(super) fn committed(&self, bytes: u64, took: Duration) {
        self.groups.inc();
        self.bytes.inc_by(bytes);
        self.commits.observe(took.as_secs_f64());
    }

    pub(super) fn checkpointed(&self, seq: u64, at: Micros) {
        *self.checkpoint.lock() = (seq, Some(at));
    }
}
