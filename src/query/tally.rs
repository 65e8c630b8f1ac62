//! How statements ended and how long they took, in numbers.
//!
//! Invariant: a statement is counted exactly once, when it ends; there is one number per outcome, whatever is asked.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// The ways in which a statement ends.
const OUTCOMES: [&str; 8] = ["done", "invalid", "refused", "timeout", "busy", "too_large", "internal", "cancelled"];
/// From a point lookup to the time limit.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Statements since the start.
#[derive(Debug)]
pub struct Tally {
    outcomes: [Counter; OUTCOMES.len()],
    /// How long each took, in seconds, from its acceptance to its last row; waiting included.
    pub durations: Histogram,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { outcomes: Default::default(), durations: Histogram::new(SECONDS) }
    }

    /// How many ended in which way.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.outcomes.iter().map(Counter::get))
    }

    /// One was turned away before it was accepted, or ended.
    pub(super) fn count(&self, outcome: &str) {
        if let Some(i) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.outcomes[i].inc();
        }
    }

    pub(super) fn ended(&self, outcome: &str, took: Duration) {
        self.count(outcome);
        self.durations.observe(took.as_secs_f64());
    }
}
