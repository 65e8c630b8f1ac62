//! The ledger: journal, checkpoints and change feed over redb.
//!
//! Invariant: what is acknowledged is fsynced, and what is shown is what the journal says.

pub mod record;
