//! The four statuses of a deployment, in the order that breaks ties between equal times.
//!
//! The order of the variants is part of the stored format and of design §3.7: append only.

use crate::ledger::record::{Decode, Encode};

use std::fmt;

/// What a reconciler says of the commit it was asked to apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[repr(u8)]
pub enum Status {
    /// The source does not know, or said a word we have no meaning for.
    #[default]
    Unknown = 0,
    /// Being applied.
    InProgress = 1,
    /// Applied and healthy.
    Success = 2,
    /// Not applied, or not healthy.
    Failure = 3,
}

impl Status {
    /// All statuses, in tie-breaking order.
    pub const ALL: [Status; 4] = [Status::Unknown, Status::InProgress, Status::Success, Status::Failure];

    /// The word used in answers, tables and custom resources.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::InProgress => "in_progress",
            Status::Success => "success",
            Status::Failure => "failure",
        }
    }

    /// The inverse of the numeric representation; anything else is `Unknown`.
    pub fn from_u8(n: u8) -> Status {
        *Status::ALL.get(usize::from(n)).unwrap_or(&Status::Unknown)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
