//! The wiring: the one module that knows everybody. It owns the ledger, the query engine and the current generation, and hands
//! the API a [`Hub`] that shows none of them.
//!
//! Invariant: readers hold an immutable generation; a new one is published by swapping a pointer, never by changing what a reader
//! holds, and a generation that says sequence n holds everything acknowledged up to n.

mod backups;
mod check;
mod classes;
mod disk;
mod exports;
mod files;
mod heard;
mod hub;
mod kept;
pub mod kubernetes;
mod manifests;
mod parts;
mod pasts;
mod reload;
mod retention;
mod start;
mod vitals;
mod waiters;
mod watched;

pub use backups::{Backup, Backups, NoBackup, Schedule};
pub use check::{CHECKS, Check, Finding, check_directory};
pub use disk::Disk;
pub use files::{FileAnswer, sql_over_files};
pub use heard::{SourceKind, Sources, Watch};
pub use hub::{Engines, Freshness, Hub, Published, Stale};
pub use kept::Exports;
pub use parts::Filed;
pub use reload::{Loaded, RefusedFiles, load, text as text_of};
pub use retention::{Retention, Rounds};
pub use start::{Config, Running, StartError, look_at_files, start};
pub use vitals::{Engine, Vitals};
pub use waiters::{Crowded, Heard, MAX_WAITERS, Topic, Waiter};
