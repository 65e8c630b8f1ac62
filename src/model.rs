//! The words of the hub as plain types: no I/O, no clock, no wire format.
//!
//! A source says something ([`Observation`], raw spellings), [`crate::normalize`] turns it into a
//! [`Fact`] (one normal form), and the ledger and the state only ever see facts.

mod fact;
mod nearest;
mod observation;
mod receipts;
mod selector;
mod status;
mod time;
pub mod verification;

pub use fact::{
    Body, CarrierKey, Clock, Declaration, Endpoint, Expectation, Fact, HostDeclaration, Liveness, LivenessChange,
    Report, Sighting,
};
pub use nearest::nearest;
pub use observation::{
    Carrier, DescriptorSaid, HostSaid, ManifestsSaid, Observation, ReportSaid, RequirementSaid, ResourceKind, Said,
    SelectorSaid, SightingSaid, VerificationSaid, When,
};
pub use receipts::{Receipts, Received};
pub use selector::{Operator, Requirement, Selector};
pub use status::Status;
pub use time::{FUTURE_TOLERANCE, Micros, micros, span};
pub use verification::{Outcome, Subject, Verification};
