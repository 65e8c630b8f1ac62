//! Where the log goes, how it looks, and how much it says.
//!
//! Invariant: the log goes to standard error, so that standard output stays an answer that can be piped.

use super::traces::{TraceArgs, Traces};
use crate::model::nearest;
use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The name of the option that picks what is logged.
pub(super) const LOG: &str = "log";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of the log.
#[derive(Debug, Args)]
pub(super) struct LoggingArgs {
    /// What is logged: a level, or levels by target as in info,koh::access=info. RUST_LOG is taken where nothing else is said.
    #[arg(long, env = "KOH_LOG", value_name = "FILTER", global = true)]
    log: Option<String>,
    /// How log lines look.
    #[arg(long, env = "KOH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    #[command(flatten)]
    traces: TraceArgs,
}

/// What is logged, from now on.
#[derive(Clone, Debug)]
pub(super) struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
    server: bool,
}

impl Level {
    /// Logs what a filter says; without one what RUST_LOG says, or else the default.
    pub(super) fn set(&self, filter: Option<&str>) -> anyhow::Result<()> {
        let filter = filter_of(filter, self.server)?;
        self.handle.reload(filter).context("the log cannot be changed")
    }
}

/// A server says more than a command that asks one.
fn filter_of(filter: Option<&str>, server: bool) -> anyhow::Result<EnvFilter> {
    let default = if server { "info,koh::access=warn" } else { "warn" };
    match filter {
        Some(filter) => {
            let what = "write a level (error, warn, info, debug, trace, off), or target=level with commas";
            if let Some(word) = filter.split(',').map(str::trim).find(|part| is_no_level(part)) {
                let hint = nearest(&word.to_lowercase(), &LEVELS).map(|near| format!("did you mean {near}? "));
                bail!("--log '{filter}': '{word}' is no level; {}{what}", hint.unwrap_or_default());
            }
            // What the parser says is said here in other words, and with what to do.
            EnvFilter::try_new(filter).map_err(|_| anyhow!("--log '{filter}' picks nothing: {what}"))
        }
        None => Ok(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))),
    }
}

/// Whether a filter is one; an error says why not.
pub(super) fn check(filter: &str) -> Result<(), String> {
    filter_of(Some(filter), true).map(drop).map_err(|why| why.to_string())
}

/// The words for levels.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A word by itself that should be a level, and is none: the parser takes it for a target, and logs nothing of all others.
fn is_no_level(part: &str) -> bool {
    let alone = !part.is_empty() && !part.contains(['=', '[']) && !part.contains("::") && part != "koh";
    alone && !LEVELS.contains(&part.to_lowercase().as_str())
}

impl LoggingArgs {
    /// Starts logging.
    pub(super) fn init(&self, server: bool) -> anyhow::Result<(Level, Option<Traces>)> {
        let filter = filter_of(self.log.as_deref(), server)?;
        let (filter, handle) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Text => lines.with_ansi(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let (spans, traces) = self.traces.layer()?.unzip();
        let outcome = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
        if let Err(error) = outcome {
            eprintln!("koh: the log could not be started: {error}");
        } else if server {
            // A panic is one log line like any other, so that JSON logs stay JSON.
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
        }
        Ok((Level { handle, server }, traces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_and_not_taken_for_a_target() {
        for filter in [
            "info",
            "WARN",
            "info,koh::access=info",
            "koh=debug",
            "off",
            "koh",
            "koh::ledger,warn",
            "warn,[request]=debug",
        ] {
            filter_of(Some(filter), true).unwrap_or_else(|e| panic!("{filter}: {e}"));
        }
        let refused = |filter: &str| filter_of(Some(filter), true).unwrap_err().to_string();
        assert!(refused("warning").contains("'warning' is no level; did you mean warn?"), "{}", refused("warning"));
        assert!(refused("koh=debug,inof").contains("did you mean info?"));
        assert!(refused("koh=inof").contains("picks nothing: write a level"));
    }
}
