//! What SQL sees: the tables of the hub as Arrow, immutable per generation, and their exports as files.
//!
//! Invariant: a [`schema::TableSchema`] declares each table once; in-memory scans, exported files and the data dictionary
//! follow it. A generation never changes after it was taken.

pub mod archive;
mod coverage;
mod desired;
mod dictionary;
mod expectations;
pub mod export;
mod generation;
mod history;
mod host_rows;
mod hosts;
pub mod ids;
mod reconcilers;
mod rollouts;
mod scan;
pub mod schema;
mod seen;
mod system;
mod verifications;

pub use archive::Archive;
pub use dictionary::tables_md;
pub use export::sum::Sum;
pub use export::{export, exported_at, open_export};
pub use generation::{ARCHIVE, Generation, parts_of};
pub use host_rows::HostRows;
pub use scan::Cell;
pub use system::Made;
