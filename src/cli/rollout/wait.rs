//! `koh rollout wait`: follows the answers of the hub until one is final.
//!
//! Invariant: the last answer is kept whatever happens to connections; the exit code is that of an answer, unless the hub cannot be
//! asked when the time is up, or refuses the question.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{StatusCode, header};
use tokio::sync::watch;

use super::answer::{Answer, Verdict};
use super::events::{Events, TooLong};
use super::question::{self, Question};
use super::report::{Ending, Output, Report};
use super::{HubArgs, ask, progress};
use crate::cli::say;

/// A hub says something at least every 15 seconds.
const QUIET: Duration = Duration::from_secs(45);
/// The shortest pause between two attempts that a hub can wish for.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts, unless the hub asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Options of `koh rollout wait`.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// Give up after this long; the exit code is then that of the last answer.
    #[arg(long, env = "KOH_WAIT_TIMEOUT", default_value = "30m", value_parser = crate::model::span, value_name = "SPAN")]
    timeout: Duration,
    /// Give up after this long on targets, versions and commits that the hub has not heard of (default: the whole wait).
    #[arg(long, env = "KOH_UNKNOWN_GRACE", value_name = "SPAN", value_parser = crate::model::span)]
    unknown_grace: Option<Duration>,
    /// How the last answer is shown.
    #[arg(long, short, env = "KOH_ROLLOUT_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    question: Question,
}

/// What is known while waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) answer: Option<Answer>,
    /// The id of that answer.
    id: Option<String>,
    /// Why the hub cannot be asked now.
    pub(super) trouble: Option<String>,
}

impl Seen {
    fn last(&self) -> String {
        let said = self.answer.as_ref().map(|answer| format!("the last answer was {}", answer.headline()));
        said.unwrap_or_else(|| "there was no answer yet".to_owned())
    }

    /// How it ends when nobody waits any longer.
    fn given_up(&self, after: Duration) -> Ending {
        let gave_up = format!("gave up after {:#}", jiff::SignedDuration::try_from(after).unwrap_or_default());
        match &self.trouble {
            Some(trouble) => Ending::NotAnswered(format!("{gave_up}: {trouble}")),
            None => Ending::GaveUp(gave_up),
        }
    }
}

/// Why a connection is of no use any more.
enum Broken {
    /// The hub will not answer this question, ever.
    Refused(anyhow::Error),
    /// The hub cannot be asked now; it may have said for how long.
    Away(String, Option<Duration>),
    /// It answered, and the stream came to an end.
    Ended,
}

impl WaitArgs {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        ask::block_on(self.wait())
    }

    async fn wait(&self) -> anyhow::Result<ExitCode> {
        let asked = self.question.in_words();
        let (seen, watched) = watch::channel(Seen::default());
        let ending = tokio::select! {
            biased;
            (code, name) = interrupted() => {
                say::note(format_args!("koh: {name}; {}", seen.borrow().last()));
                return Ok(ExitCode::from(code));
            }
            outcome = self.follow(&seen) => match outcome {
                Ok(()) => Ending::Answered,
                Err(error) => Ending::NotAnswered(format!("{error:#}")),
            },
            () = tokio::time::sleep(self.timeout) => seen.borrow().given_up(self.timeout),
            grace = self.unknown(seen.subscribe()) => seen.borrow().given_up(grace),
            never = progress::show(watched, &asked) => match never {},
        };
        let answer = seen.borrow().answer.clone();
        Ok(Report { asked, answer, ending }.publish(self.output))
    }

    /// Returns when what is asked about has been unknown for longer than it may be.
    async fn unknown(&self, mut seen: watch::Receiver<Seen>) -> Duration {
        if let Some(grace) = self.unknown_grace {
            tokio::time::sleep(grace).await;
            let unknown = |answer: &Answer| matches!(answer.verdict, Verdict::UnknownCommit | Verdict::NoTargets);
            // A hub that is away may know it when it is back.
            let given_up = |seen: &Seen| seen.trouble.is_none() && seen.answer.as_ref().is_some_and(unknown);
            if seen.wait_for(given_up).await.is_ok() {
                return grace;
            }
        }
        std::future::pending().await
    }

    /// Returns when the last answer is final, or when there will be none.
    async fn follow(&self, seen: &watch::Sender<Seen>) -> anyhow::Result<()> {
        let url = self.hub.at("/api/v1/rollouts/events", &question::query(&self.question)?)?;
        let within = self.hub.request_timeout;
        let client = self.hub.builder()?.connect_timeout(within).read_timeout(within.max(QUIET)).build();
        let client = client.context("cannot make an HTTP client")?;
        let mut pauses = Pauses::default();
        loop {
            let least = match self.listen(client.get(url.clone()), seen, &mut pauses).await {
                Ok(()) => return Ok(()),
                Err(Broken::Refused(error)) => return Err(error),
                Err(Broken::Away(why, least)) => {
                    seen.send_modify(|seen| seen.trouble = Some(why));
                    least.unwrap_or_default()
                }
                Err(Broken::Ended) => Duration::ZERO,
            };
            tokio::time::sleep(pauses.next().max(least)).await;
        }
    }

    /// One connection; returns when an answer is final.
    async fn listen(
        &self,
        mut request: reqwest::RequestBuilder,
        seen: &watch::Sender<Seen>,
        pauses: &mut Pauses,
    ) -> Result<(), Broken> {
        let last = seen.borrow().id.clone();
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last.and_then(|id| header::HeaderValue::from_str(&id).ok()) {
            request = request.header("last-event-id", id);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        match response.status() {
            StatusCode::NO_CONTENT if seen.borrow().answer.is_some() => return Ok(()),
            StatusCode::OK if media_type(&response) == "text/event-stream" => {}
            StatusCode::OK => return Err(Broken::Away("what answers is no hub of this version".to_owned(), None)),
            _ => return Err(refused(response).await),
        }
        pauses.start_over();
        if seen.borrow().trouble.is_some() {
            seen.send_modify(|seen| seen.trouble = None);
        }
        let mut events = Events::default();
        while let Ok(Some(piece)) = response.chunk().await {
            let complete = events.take(&piece).map_err(|TooLong| nonsense())?;
            pauses.base = events.retry.map_or(pauses.base, |wish| Duration::from_millis(wish).max(PAUSE_MIN));
            for event in complete {
                let answer = Answer::read(&event.data).map_err(|_| nonsense())?;
                let is_final = answer.is_final;
                seen.send_modify(|seen| (seen.answer, seen.id) = (Some(answer), event.id));
                if is_final {
                    return Ok(());
                }
            }
        }
        Err(Broken::Ended)
    }

    fn unreachable(&self, error: reqwest::Error) -> Broken {
        let known = error.is_builder();
        let error = ask::explained(error).context(format!("cannot reach the hub at {}", self.hub.shown()));
        // An address that cannot be asked does not get better by waiting.
        if known { Broken::Refused(error) } else { Broken::Away(format!("{error:#}"), None) }
    }
}

fn nonsense() -> Broken {
    Broken::Away("the hub's answer is none of a gate".to_owned(), None)
}

fn media_type(response: &reqwest::Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Tells a hub that says no from one that is restarting, and both from a proxy that misses its hub.
async fn refused(response: reqwest::Response) -> Broken {
    let status = response.status();
    let later = matches!(status.as_u16(), 408 | 425 | 429) || !status.is_client_error();
    let denied = matches!(status.as_u16(), 401 | 403);
    let by_the_hub = media_type(&response) == "application/problem+json";
    let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let error = ask::refusal(response).await;
    if denied || (by_the_hub && !later) {
        return Broken::Refused(error);
    }
    Broken::Away(crate::cli::foreign::clean(&format!("{error:#}")), after.map(|s: u64| Duration::from_secs(s.min(60))))
}

/// Pauses between attempts: longer each time, and not those of the other pipelines that wait for the same hub.
struct Pauses {
    /// The first one.
    base: Duration,
    attempts: u32,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { base: Duration::from_secs(1), attempts: 0 }
    }
}

impl Pauses {
    fn start_over(&mut self) {
        self.attempts = 0;
    }

    fn next(&mut self) -> Duration {
        let full = self.base.saturating_mul(1 << self.attempts.min(16)).min(PAUSE_MAX);
        self.attempts += 1;
        let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        full.mul_f64(0.5 + share / 2.0)
    }
}

/// Returns once somebody wants this process to end: how it is to exit, and what to call it.
async fn interrupted() -> (u8, &'static str) {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = tokio::signal::ctrl_c() => (130, "interrupted"),
            _ = terminate.recv() => (143, "terminated"),
        };
    }
    // Without a handler Ctrl-C ends the process by itself.
    match tokio::signal::ctrl_c().await {
        Ok(()) => (130, "interrupted"),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut pauses = Pauses::default();
        let between =
            |pause: Duration, full: u64| pause >= Duration::from_secs(full) / 2 && pause <= Duration::from_secs(full);
        for full in [1, 2, 4, 8, 15, 15] {
            assert!(between(pauses.next(), full), "{full}");
        }
        assert!((0..100).all(|_| pauses.next() <= PAUSE_MAX));
        pauses.start_over();
        assert!(between(pauses.next(), 1));
    }
}
