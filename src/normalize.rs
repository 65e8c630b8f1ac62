//! One normal form for commits, endpoints, statuses, names and messages: pure, and the only place that decides it.
//!
//! [`fact()`] checks an observation and turns it into a [`crate::model::Fact`], or says what is wrong and what to do.
//! Invariant: equal statements in different spellings become equal facts, and a normal form is its own normal form.

mod commit;
mod endpoint;
mod fact;
pub mod keys;
mod name;
mod page;
mod redact;
mod selector;
mod status;
mod verification;

pub use commit::{Revision, commit, in_message, revision};
pub use endpoint::{Place, endpoint, repository, storage};
pub use fact::fact;
pub use name::{LIMIT as NAME_LIMIT, MAX_LABELS, labels, name, optional, unnameable};
pub use page::{commit_page, web_page};
pub use redact::{LIMIT as MESSAGE_LIMIT, message, scrub};
pub use status::status;

/// Why an observation was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, in one line.
    pub title: String,
    /// Where, and what to do.
    pub detail: String,
}

impl Rejection {
    /// A rejection from what is wrong, and where and what to do.
    pub fn new(title: impl Into<String>, detail: impl Into<String>) -> Rejection {
        Rejection { title: title.into(), detail: detail.into() }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Rejection {}
