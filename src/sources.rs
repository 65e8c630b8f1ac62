//! Where statements come from: each source turns its own wire format into observations, and knows nothing of what follows.
//!
//! Invariant: a source never guesses. What it cannot read it rejects, saying where and what to do.

pub mod directory;
pub mod flat;
pub(crate) mod json;
pub mod kubernetes;
pub mod push;
pub mod resource;
mod selector;
pub mod upstream;
