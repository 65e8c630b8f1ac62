//! Kalypso Observability Hub: what should run where, what does run where, and is my commit live.
//!
//! ```text
//!  sources (push, directory)                 -> Observation
//!      normalize (pure)                      -> Fact
//!          ledger (redb: journal, checkpoints, feed)
//!              state (the fold, pure, in memory, copy-on-write)
//!                  rollout (the gate)   snapshot (tables as Arrow, exports)
//!                                           query (DataFusion, read-only)
//!                          api (axum, OpenAPI)   metrics
//! ```
//!
//! Folders are named after this flow; `runtime` is the only module that knows all of them.
#![forbid(unsafe_code)]

/// The target of spans that a collector of traces is sent, and nobody else.
pub(crate) const TRACES: &str = "koh::trace";

pub mod access;
pub mod api;
pub mod backup;
pub mod cli;
pub mod demo;
pub mod grafana;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod normalize;
mod plain_file;
pub mod query;
pub mod rollout;
pub mod runtime;
pub mod snapshot;
pub mod sources;
pub mod state;
