//! How far a long command has come: a bar on a terminal, plain lines elsewhere.
//!
//! Invariant: it goes to standard error, and few enough lines for a log.

use std::io::IsTerminal;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::say;

/// A plain line is written once per so many bytes.
const EVERY: u64 = 64 << 20;

/// What is told, and where.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    verb: &'static str,
    told: u64,
    most_left: u64,
}

impl Progress {
    /// Bytes that were `verb`: copied, read.
    pub(super) fn new(verb: &'static str) -> Progress {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            style(bar, "{spinner:.cyan} {bytes} {msg}, {bytes_per_sec:.dim}");
            bar.set_message(verb);
        }
        Progress { bar, verb, told: 0, most_left: 0 }
    }

    /// There are so many bytes.
    pub(super) fn of(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(bytes);
            style(bar, "{bar:30.cyan} {bytes} of {total_bytes} {msg}, {bytes_per_sec:.dim}, {eta} left");
        }
    }

    /// It has come to so many bytes, and so many pieces are left, where that is known.
    pub(super) fn at(&mut self, bytes: u64, left: Option<u64>) {
        self.most_left = self.most_left.max(left.unwrap_or(0));
        let share = left.filter(|_| self.most_left > 0).map(|left| 100 - 100 * left / self.most_left);
        match &self.bar {
            Some(bar) => {
                bar.set_position(bytes);
                if let Some(share) = share {
                    bar.set_message(format!("{} ({share} %)", self.verb));
                }
            }
            None if bytes - self.told >= EVERY => {
                self.told = bytes;
                let share = share.map_or(String::new(), |share| format!(", {share} %"));
                say::note(format_args!("{} {}{share}", HumanBytes(bytes), self.verb));
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
