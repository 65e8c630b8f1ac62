//! `koh rollout`: the gate, asked once (`status`) or until it knows (`wait`), and what was rolled out (`list`).
//!
//! Invariant: the exit code is the verdict, so that a pipeline need not read the answer: 0 complete, 1 failed or stalled, 3 in
//! progress, 4 no targets or unknown, 5 the hub cannot be asked, 6 superseded (2 is a wrong command line).

mod answer;
mod events;
mod github;
mod junit;
mod list;
mod progress;
mod question;
mod report;
mod text;
mod wait;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use self::answer::Answer;
use self::question::Question;
use self::report::{Ending, Output, Report};
use super::ask::{self, HubArgs};

const EXIT_CODES: &str = "Exit codes: 0 complete, 1 failed or stalled, 2 wrong command line, 3 in progress (also at the timeout of a \
     wait), 4 no targets or unknown, 5 hub unreachable or question refused, 6 superseded, 130 and 143 interrupted.";

/// Options of `koh rollout`.
#[derive(Debug, Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Ask once; the exit code is the verdict.
    #[command(after_help = EXIT_CODES)]
    Status(Box<StatusArgs>),
    /// Wait until the verdict is final; the exit code is the verdict.
    #[command(after_help = EXIT_CODES)]
    Wait(Box<wait::WaitArgs>),
    /// List rollouts, the newest first.
    List(Box<list::ListArgs>),
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// How the answer is shown.
    #[arg(long, short, env = "KOH_ROLLOUT_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    question: Question,
}

impl RolloutArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            RolloutCommand::Status(args) => Ok(args.run()),
            RolloutCommand::Wait(args) => args.run(),
            RolloutCommand::List(args) => args.run(),
        }
    }
}

impl StatusArgs {
    fn run(&self) -> ExitCode {
        let (answer, ending) = match ask::block_on(self.ask()) {
            Ok(answer) => (Some(answer), Ending::Answered),
            Err(error) => (None, Ending::NotAnswered(format!("{error:#}"))),
        };
        Report { asked: self.question.in_words(), answer, ending }.publish(self.output)
    }

    async fn ask(&self) -> anyhow::Result<Answer> {
        let query = question::query(&self.question)?;
        let request = self.hub.client()?.get(self.hub.at("/api/v1/rollouts/status", &query)?);
        let text = self.hub.send(request).await?.text().await.context("the answer broke off")?;
        Answer::read(&text).context("the hub's answer is none of a gate")
    }
}
