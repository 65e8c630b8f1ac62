//! One normal form for commits, endpoints, statuses and names: pure, and the only place that decides it.
//!
//! [`fact`] checks an observation and turns it into a [`crate::model::Fact`], or says what is wrong and what to do.

use crate::model::{Fact, Micros, Observation};

/// Why an observation was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, in one line.
    pub title: String,
    /// Where, and what to do.
    pub detail: String,
}

/// Checks an observation and brings it into normal form.
pub fn fact(_observation: Observation, _received_at: Micros) -> Result<Fact, Rejection> {
    Err(Rejection { title: String::new(), detail: String::new() })
}
