//! What a job of GitHub Actions is told: a summary in Markdown and the outputs of the step.
//!
//! Invariant: text of the fleet is text in the summary and one line in the outputs; a file that cannot be written is a warning, for
//! the verdict does not hang on it.

use std::io::Write as _;

use super::answer::{Answer, Verdict};
use super::report::Report;
use super::text;
use crate::cli::say;

/// Writes to the files that GitHub names, where it does.
pub(super) fn tell(report: &Report) {
    let (verdict, reason) = report.verdict();
    append("GITHUB_STEP_SUMMARY", || summary(report));
    append("GITHUB_OUTPUT", || format!("verdict={verdict}\nreason={reason}\n"));
}

fn append(variable: &str, text: impl FnOnce() -> String) {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(text().as_bytes())) {
        say::note(format_args!("koh: warning: {variable} cannot be written: {error}"));
    }
}

fn summary(report: &Report) -> String {
    let (verdict, reason) = report.verdict();
    let mut lines = vec![format!("### {}: {}", escape(&report.asked), escape(verdict)), String::new(), escape(&reason)];
    if let Ok(answer) = report.outcome() {
        facts(answer, &report.asked, &mut lines);
        targets(answer, &mut lines);
        hosts(answer, &mut lines);
    }
    lines.join("\n") + "\n\n"
}

/// A list of what else is known.
fn facts(answer: &Answer, asked: &str, lines: &mut Vec<String>) {
    let facts = [
        text::missing(answer.verdict, asked),
        (answer.total > 0).then(|| answer.buckets.in_words(answer.total)),
        text::policy(answer),
        answer.eta.as_ref().map(|eta| eta.in_words(&answer.as_of)),
        answer.last_good.as_ref().map(|good| good.in_words()),
    ];
    lines.push(String::new());
    lines.extend(facts.into_iter().flatten().map(|fact| format!("- {}", escape(&fact))));
}

fn targets(answer: &Answer, lines: &mut Vec<String>) {
    let (shown, rest) = text::picked(&answer.targets);
    if shown.is_empty() {
        return;
    }
    table(
        lines,
        ["Target", "Version", "Verdict", "Success", "Else"],
        shown.iter().map(|target| {
            let verdict = if target.verdict == Verdict::Complete {
                "complete".into()
            } else {
                format!("**{}**", escape(target.verdict.word()))
            };
            let success = format!("{} of {}", target.buckets.success, target.total);
            [escape(&target.place()), escape(&target.version), verdict, success, escape(&target.details(&answer.as_of))]
        }),
    );
    lines.extend(rest.map(|rest| format!("\n{rest}")));
}

fn hosts(answer: &Answer, lines: &mut Vec<String>) {
    if answer.hosts.is_empty() {
        return;
    }
    table(
        lines,
        ["Held up by", "Reconciler", "Because", "Details"],
        answer.hosts.iter().map(|host| {
            [
                escape(&host.host),
                escape(&host.reconciler),
                escape(&host.bucket.replace('_', " ")),
                escape(&host.details()),
            ]
        }),
    );
}

fn table<const N: usize>(lines: &mut Vec<String>, head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    lines.extend([String::new(), row(&head.map(str::to_owned)), row(&head.map(|_| "---".to_owned()))]);
    lines.extend(rows.map(|cells| row(&cells)));
}

/// Text that Markdown shows as it is, also in a table. It has been cleaned, so it is one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // An entity, not a backslash: a table splits its cells before anything else is read.
            '|' => out.push_str("&#124;"),
            // Nobody is to be notified by what a host says, and no picture is to be loaded.
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '~' | '!' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rollout::report::Ending;
    use serde_json::json;

    #[test]
    fn text_of_the_fleet_stays_text_and_a_row_stays_a_row() {
        let answer = json!({
            "verdict": "failed", "reason": "`a` | <script>\n# [x](http://e) @all", "total": 1, "buckets": {"failure": 1},
            "targets": [{"environment": "prod", "workload": "w|x", "deployment_target": "t", "verdict": "failed", "total": 1}],
            "hosts": [{"host": "h|1", "bucket": "never_reported", "message": "a\nb|c", "contact": "<o@ps>"}]
        });
        let answer = Answer::read(&answer.to_string()).ok();
        let said = summary(&Report { asked: "version 1".into(), answer, ending: Ending::Answered });
        assert_eq!(
            said,
            "### version 1: failed\n\n\
             \\`a\\` &#124; &lt;script&gt; \\# \\[x\\]\\(http://e\\) &#64;all\n\n\
             - 0 of 1 reconcilers in success: 1 failing\n\n\
             | Target | Version | Verdict | Success | Else |\n\
             | --- | --- | --- | --- | --- |\n\
             | prod/w&#124;x/t |  | **failed** | 0 of 1 |  |\n\n\
             | Held up by | Reconciler | Because | Details |\n\
             | --- | --- | --- | --- |\n\
             | h&#124;1 |  | never reported | a b&#124;c; ask &lt;o&#64;ps&gt; |\n\n"
        );
    }
}
