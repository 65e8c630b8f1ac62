//! Read-only SQL over the tables and views of a generation: the engine, its limits, its output formats.
//!
//! Statements are written by anybody who may read. What stands between them and the process:
//!
//! 1. `guard`: counts tokens before parsing (length, operators, set operations, nesting, lists, literals, one statement).
//! 2. `verify`: the syntax tree and the logical plan only read, stay small when views and common table expressions are
//!    unfolded, and cannot explode when columns are inlined into columns.
//! 3. `functions`: an allow-list; what grows or collects has a bound per value and per batch.
//! 4. `physical`: no huge joins without equal keys, no pattern per row; wide rows run in small batches; window
//!    operators, which reserve nothing themselves, are metered.
//! 5. `engine`: its own threads with deep stacks, a memory pool per statement under a total, bounded spill files, a
//!    deadline that every batch looks at, slots that come back only when a statement has really stopped, limits on rows and bytes.
//!
//! Invariant: a failing statement costs its caller an answer and nobody else anything; an answer is complete or its
//! stream ends in an error, it is never silently shorter.

mod catalog;
mod engine;
mod error;
mod format;
mod functions;
mod guard;
mod limits;
mod log;
mod memory;
mod params;
mod physical;
mod prepare;
mod stop;
mod stream;
mod table;
mod tally;
mod verify;
mod within;

pub use catalog::Catalog;
pub use engine::{Engine, Rows, Statement, Usage};
pub use error::{ErrorKind, QueryError};
pub use format::Format;
pub use functions::page::pages;
pub use guard::MAX_SQL_BYTES;
pub use limits::Limits;
pub use params::Params;
pub use stream::Output;
pub use table::{Batches, Table};
pub use tally::Tally;

/// The Arrow and engine crates that [`Table`] speaks; all modules use these copies.
pub use datafusion::{arrow, common::DataFusionError};

#[cfg(test)]
mod tests;
