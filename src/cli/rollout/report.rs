//! How a question ended, told to everybody who is to know: standard output, the exit code, the summary of a GitHub job.
//!
//! Invariant: only an answer of the hub makes an exit code other than 5; standard output holds nothing but that answer.

use std::process::ExitCode;

use clap::ValueEnum;

use super::answer::Answer;
use super::{github, junit, text};
use crate::cli::say;

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// The hub's answer as it is.
    Json,
    /// A JUnit document, one test case per deployment target.
    Junit,
}

/// Why nobody asks any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The answer is what was waited for.
    Answered,
    /// The time for waiting is over; the answer, if there is one, is the last one.
    GaveUp(String),
    /// The hub cannot be reached or refuses the question; if there is an answer, it is an old one.
    NotAnswered(String),
}

/// What came of a question.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The question in words.
    pub(super) asked: String,
    pub(super) answer: Option<Answer>,
    pub(super) ending: Ending,
}

impl Report {
    /// The answer that counts, or why there is none.
    pub(super) fn outcome(&self) -> Result<&Answer, String> {
        match (&self.ending, &self.answer) {
            (Ending::Answered | Ending::GaveUp(_), Some(answer)) => Ok(answer),
            (Ending::NotAnswered(why), Some(answer)) => {
                Err(format!("{why}; the last answer was {}", answer.headline()))
            }
            (Ending::NotAnswered(why), None) => Err(why.clone()),
            (Ending::GaveUp(why), None) => Err(format!("{why}: the hub did not answer")),
            (Ending::Answered, None) => Err("the hub did not answer".to_owned()),
        }
    }

    /// The verdict and why, each on one line.
    pub(super) fn verdict(&self) -> (&'static str, String) {
        match self.outcome() {
            Ok(answer) => match &self.ending {
                Ending::GaveUp(why) => (answer.verdict.word(), format!("{} ({why})", answer.reason)),
                _ => (answer.verdict.word(), answer.reason.to_string()),
            },
            Err(why) => ("not_answered", crate::cli::foreign::clean(&why)),
        }
    }

    pub(super) fn gave_up(&self) -> bool {
        matches!(self.ending, Ending::GaveUp(_))
    }

    /// Tells everybody.
    pub(super) fn publish(&self, output: Output) -> ExitCode {
        match (&self.ending, self.outcome()) {
            (_, Err(why)) => say::note(format_args!("koh: {why}")),
            (Ending::GaveUp(why), _) => say::note(format_args!("koh: {why}")),
            _ => {}
        }
        let written = match (output, self.outcome()) {
            (Output::Junit, _) => say::out(junit::document(self)),
            (Output::Text, Ok(answer)) => say::out(text::said(answer, &self.asked)),
            (Output::Json, Ok(answer)) => say::out(format_args!("{}\n", answer.document)),
            (Output::Text | Output::Json, Err(_)) => Ok(()),
        };
        if let Err(error) = written {
            say::note(format_args!("koh: warning: the answer cannot be written: {error}"));
        }
        github::tell(self);
        ExitCode::from(self.outcome().map_or(5, |answer| answer.verdict.exit_code()))
    }
}
