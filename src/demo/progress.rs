//! How far the demo has come: a bar on a terminal, plain lines elsewhere.
//!
//! Written to standard error, so that standard output holds only what was asked for.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Where progress goes.
#[derive(Debug)]
pub enum Progress {
    /// A spinner that is redrawn in place.
    Terminal(ProgressBar),
    /// Lines, few enough for a log.
    Plain {
        /// Items sent so far.
        sent: AtomicU64,
    },
}

/// Plain progress is told once per so many items.
const EVERY: u64 = 10_000;

impl Progress {
    /// A bar if standard error is a terminal, lines otherwise.
    pub fn new() -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::Plain { sent: AtomicU64::new(0) };
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner:.cyan} {human_pos} statements, {per_sec:.dim}  {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress::Terminal(bar)
    }

    /// What is being done from now on.
    pub fn phase(&self, what: &str) {
        match self {
            Progress::Terminal(bar) => bar.set_message(what.to_string()),
            Progress::Plain { .. } => eprintln!("{what}"),
        }
    }

    /// So many items more were taken.
    pub fn advance(&self, items: u64) {
        match self {
            Progress::Terminal(bar) => bar.inc(items),
            Progress::Plain { sent } => {
                let before = sent.fetch_add(items, Ordering::Relaxed);
                if before / EVERY < (before + items) / EVERY {
                    eprintln!("{} statements", HumanCount(before + items));
                }
            }
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        let time = jiff::Timestamp::now().strftime("%H:%M:%SZ");
        match self {
            Progress::Terminal(bar) => bar.println(format!("{time}  {text}")),
            Progress::Plain { .. } => eprintln!("{time}  {text}"),
        }
    }

    /// Runs `write` while nothing is being redrawn.
    pub fn suspend(&self, write: impl FnOnce()) {
        match self {
            Progress::Terminal(bar) => bar.suspend(write),
            Progress::Plain { .. } => write(),
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Progress::Terminal(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}
