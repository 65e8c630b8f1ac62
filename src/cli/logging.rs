//! Where the log goes and how it looks.
//!
//! Invariant: the log goes to standard error, so that standard output stays an answer that can be piped.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of the log; `RUST_LOG` picks what is logged.
#[derive(Debug, Args)]
pub(super) struct LoggingArgs {
    /// How log lines look. What is logged is picked by RUST_LOG, as in RUST_LOG=koh=debug.
    #[arg(long, env = "KOH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
}

impl LoggingArgs {
    /// Starts logging; a server says more than a command that asks one.
    pub(super) fn init(&self, server: bool) {
        let default = if server { "info,koh::access=warn" } else { "warn" };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let outcome = match self.log_format {
            LogFormat::Text => builder.with_ansi(false).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        if let Err(error) = outcome {
            eprintln!("koh: the log could not be started: {error}");
            return;
        }
        if server {
            // A panic is one log line like any other, so that JSON logs stay JSON.
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
        }
    }
}
