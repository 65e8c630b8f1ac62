//! What is seen while a rollout is waited for, on standard error: bars on a terminal, lines elsewhere.
//!
//! Invariant: without a terminal, and where the environment asks for it, not one escape sequence is written; what is shown is the
//! newest answer, and slow output never holds up the wait.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::answer::Answer;
use super::text;
use super::wait::Seen;
use crate::cli::say;

/// At most one set of lines in this time: the rollout of a large fleet changes its answer several times a second.
const PAUSE: Duration = Duration::from_secs(2);

/// Shows what is seen, for as long as it is polled.
pub(super) async fn show(mut seen: watch::Receiver<Seen>, asked: &str) -> Infallible {
    let mut screen = if may_draw() { Screen::Bars(Bars::new(asked)) } else { Screen::Lines(Vec::new()) };
    screen.draw(&[format!("waiting for {asked}")], &Seen::default());
    while seen.changed().await.is_ok() {
        let now = seen.borrow_and_update().clone();
        screen.draw(&lines(&now), &now);
        if matches!(screen, Screen::Lines(_)) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    std::future::pending().await
}

/// How it is shown.
enum Screen {
    Bars(Bars),
    /// The lines that were written last.
    Lines(Vec<String>),
}

impl Screen {
    fn draw(&mut self, lines: &[String], seen: &Seen) {
        match self {
            Screen::Bars(bars) => bars.draw(seen),
            Screen::Lines(told) => {
                let time = jiff::Timestamp::now().strftime("%H:%M:%SZ");
                lines
                    .iter()
                    .filter(|line| !told.contains(line))
                    .for_each(|line| say::note(format_args!("{time} {line}")));
                lines.clone_into(told);
            }
        }
    }
}

/// True where bars may be drawn.
fn may_draw() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !dumb && !set("NO_COLOR") && !set("CI")
}

/// The lines for what is seen. An answer is told again once the hub is back.
fn lines(seen: &Seen) -> Vec<String> {
    match (&seen.trouble, &seen.answer) {
        (Some(trouble), _) => vec![format!("{trouble}; trying again")],
        (None, answer) => answer.as_ref().map(text::lines).unwrap_or_default(),
    }
}

/// A line for the whole and a bar per target, redrawn in place.
struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    tail: ProgressBar,
    targets: Vec<ProgressBar>,
}

impl Bars {
    fn new(asked: &str) -> Bars {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner().with_style(style("{spinner:.cyan} {elapsed} {wide_msg}")));
        let tail = all.add(ProgressBar::new_spinner().with_style(style("  {wide_msg}")));
        head.set_message(format!("waiting for {asked}"));
        head.enable_steady_tick(Duration::from_millis(120));
        Bars { all, head, tail, targets: Vec::new() }
    }

    fn draw(&mut self, seen: &Seen) {
        if let Some(answer) = &seen.answer {
            self.draw_answer(answer);
        }
        if let Some(trouble) = &seen.trouble {
            self.tail.set_message(format!("{trouble}; trying again"));
        }
    }

    fn draw_answer(&mut self, answer: &Answer) {
        let (shown, rest) = text::picked(&answer.targets);
        self.head.set_message(answer.headline());
        let eta = answer.eta.as_ref().map(|eta| eta.in_words(&answer.as_of));
        self.tail.set_message(rest.into_iter().chain(eta).collect::<Vec<_>>().join("; "));
        while self.targets.len() < shown.len() {
            let style = style("  {prefix} [{bar:24.green/dim}] {pos}/{len} {wide_msg}").progress_chars("=> ");
            self.targets.push(self.all.insert_before(&self.tail, ProgressBar::new(0).with_style(style)));
        }
        for surplus in self.targets.drain(shown.len()..) {
            self.all.remove(&surplus);
        }
        let longest = shown.iter().map(|target| target.place().chars().count()).max().unwrap_or(0);
        for (bar, target) in self.targets.iter().zip(shown) {
            bar.set_prefix(format!("{:<longest$}", target.place()));
            bar.set_length(target.total);
            bar.set_position(target.buckets.success);
            bar.set_message(format!("{} {}", target.verdict.word(), target.details(&answer.as_of)));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // What stays on the terminal is the answer. A terminal that is gone needs no clearing.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
