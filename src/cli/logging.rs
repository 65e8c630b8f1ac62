//! Where the log goes, how it looks, and how much it says.
//!
//! Invariant: the log goes to standard error, so that standard output stays an answer that can be piped.

use anyhow::Context;
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
        Some(filter) => EnvFilter::try_new(filter).with_context(|| {
            format!("--log '{filter}' picks nothing: write a level (error, warn, info, debug, trace), or target=level with commas")
        }),
        None => Ok(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))),
    }
}

impl LoggingArgs {
    /// Starts logging.
    pub(super) fn init(&self, server: bool) -> anyhow::Result<Level> {
        let filter = filter_of(self.log.as_deref(), server)?;
        let (filter, handle) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Text => lines.with_ansi(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let outcome = tracing_subscriber::registry().with(filter).with(lines).try_init();
        if let Err(error) = outcome {
            eprintln!("koh: the log could not be started: {error}");
        } else if server {
            // A panic is one log line like any other, so that JSON logs stay JSON.
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
        }
        Ok(Level { handle, server })
    }
}
