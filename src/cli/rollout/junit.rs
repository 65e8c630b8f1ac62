//! An answer as a JUnit document, which every CI system shows as test results: a suite per environment and workload, a case per
//! deployment target.
//!
//! Invariant: the document is well-formed whatever the fleet says, and it has a failure or an error unless the exit code is 0 - or
//! 3 of a question asked once, where nothing is decided and the cases are skipped.

use std::fmt::Write as _;

use super::answer::{Answer, Verdict};
use super::report::Report;

/// One case: suite, name, and what became of it.
struct Case {
    suite: String,
    name: String,
    verdict: Verdict,
    reason: String,
    details: String,
}

/// The document.
pub(super) fn document(report: &Report) -> String {
    let cases = match report.outcome() {
        Ok(answer) => cases(answer, &report.asked),
        Err(why) => vec![overall(Verdict::Other, why, String::new(), &report.asked)],
    };
    let mut suites: Vec<(&str, Vec<(&Case, String)>)> = Vec::new();
    for case in &cases {
        let said = (case, element(case, report.gave_up()));
        match suites.iter_mut().find(|(name, _)| *name == case.suite) {
            Some((_, cases)) => cases.push(said),
            None => suites.push((&case.suite, vec![said])),
        }
    }
    let all: Vec<&(&Case, String)> = suites.iter().flat_map(|(_, cases)| cases).collect();
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(out, "<testsuites name=\"rollout\" {}>", counts(all.iter().map(|(_, e)| e.as_str())));
    for (name, cases) in &suites {
        let counted = counts(cases.iter().map(|(_, e)| e.as_str()));
        let _ = writeln!(out, "  <testsuite name=\"{}\" {counted}>", escape(name));
        for (case, element) in cases {
            let head = format!("<testcase classname=\"{}\" name=\"{}\"", escape(name), escape(&case.name));
            let _ = match element.as_str() {
                "" => writeln!(out, "    {head} time=\"0\"/>"),
                element => writeln!(out, "    {head} time=\"0\">\n      {element}\n    </testcase>"),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out + "</testsuites>\n"
}

fn cases(answer: &Answer, asked: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = answer
        .targets
        .iter()
        .map(|target| Case {
            suite: format!("{}/{}", target.environment, target.workload),
            name: format!("{} {}", target.deployment_target, target.version).trim_end().to_owned(),
            verdict: target.verdict,
            reason: target.reason.to_string(),
            details: target.details(&answer.as_of),
        })
        .collect();
    // The whole may be worse than what is shown of it: there may be no target, or more than an answer names.
    if !cases.iter().any(|case| case.verdict == answer.verdict) {
        let details = answer.failing_clause.as_ref().map(|clause| clause.in_words()).unwrap_or_default();
        cases.push(overall(answer.verdict, answer.reason.to_string(), details, asked));
    }
    cases
}

fn overall(verdict: Verdict, reason: String, details: String, asked: &str) -> Case {
    Case { suite: "rollout".to_owned(), name: asked.to_owned(), verdict, reason, details }
}

/// What is inside a case; nothing where it passed.
fn element(case: &Case, timed_out: bool) -> String {
    let message = escape(&case.reason);
    let (tag, kind) = match case.verdict {
        Verdict::Complete => return String::new(),
        Verdict::InProgress if !timed_out => return format!("<skipped message=\"{message}\"/>"),
        Verdict::InProgress => ("failure", "timeout"),
        Verdict::Failed | Verdict::Stalled | Verdict::Superseded => ("failure", case.verdict.word()),
        Verdict::NoTargets | Verdict::UnknownCommit | Verdict::Other => ("error", case.verdict.word()),
    };
    format!("<{tag} type=\"{kind}\" message=\"{message}\">{}</{tag}>", escape(&case.details))
}

fn counts<'a>(elements: impl Iterator<Item = &'a str>) -> String {
    let [mut tests, mut failures, mut errors, mut skipped] = [0; 4];
    for element in elements {
        tests += 1;
        failures += u32::from(element.starts_with("<failure"));
        errors += u32::from(element.starts_with("<error"));
        skipped += u32::from(element.starts_with("<skipped"));
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"0\"")
}

/// Text as XML may hold it, in an attribute or between tags; what XML forbids even as a reference becomes a question mark in a box.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
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

    fn report(answer: Option<serde_json::Value>, ending: Ending) -> Report {
        let answer = answer.map(|value| Answer::read(&value.to_string()).unwrap());
        Report { asked: "version 1 on workload web".into(), answer, ending }
    }

    #[test]
    fn a_case_per_target_tells_what_became_of_it() {
        let target = |environment: &str, name: &str, verdict: &str| {
            json!({"environment": environment, "workload": "web", "deployment_target": name, "version": "1", "verdict": verdict,
                   "reason": "<b>\"it's\" & \u{ffff}\u{0}so</b>", "buckets": {"failure": 1}})
        };
        let answer = json!({"verdict": "failed", "targets": [
            target("dev", "a", "complete"), target("prod", "b", "failed"), target("dev", "c", "in_progress"),
        ]});
        let timed_out = document(&report(Some(answer.clone()), Ending::GaveUp("gave up".into())));
        assert_eq!(
            timed_out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"rollout\" tests=\"3\" failures=\"2\" errors=\"0\" skipped=\"0\" time=\"0\">\n  \
             <testsuite name=\"dev/web\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0\">\n    \
             <testcase classname=\"dev/web\" name=\"a 1\" time=\"0\"/>\n    \
             <testcase classname=\"dev/web\" name=\"c 1\" time=\"0\">\n      \
             <failure type=\"timeout\" message=\"&lt;b&gt;&quot;it&apos;s&quot; &amp; \u{fffd}\\u{0}so&lt;/b&gt;\">1 failing</failure>\n    \
             </testcase>\n  \
             </testsuite>\n  \
             <testsuite name=\"prod/web\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0\">\n    \
             <testcase classname=\"prod/web\" name=\"b 1\" time=\"0\">\n      \
             <failure type=\"failed\" message=\"&lt;b&gt;&quot;it&apos;s&quot; &amp; \u{fffd}\\u{0}so&lt;/b&gt;\">1 failing</failure>\n    \
             </testcase>\n  \
             </testsuite>\n\
             </testsuites>\n"
        );
        let asked_once = document(&report(Some(answer), Ending::Answered));
        assert!(asked_once.contains("failures=\"1\" errors=\"0\" skipped=\"1\""), "{asked_once}");
    }

    #[test]
    fn what_no_target_shows_is_a_case_of_its_own() {
        let unknown =
            document(&report(Some(json!({"verdict": "unknown_commit", "reason": "Not known."})), Ending::Answered));
        assert!(unknown.contains("<error type=\"unknown_commit\" message=\"Not known.\">"), "{unknown}");
        let unreachable = document(&report(None, Ending::NotAnswered("cannot reach the hub".into())));
        assert!(unreachable.contains("message=\"cannot reach the hub\""), "{unreachable}");
        let hidden = document(&report(
            Some(json!({"verdict": "failed", "targets": [{"verdict": "complete"}]})),
            Ending::Answered,
        ));
        assert!(hidden.contains("tests=\"2\" failures=\"1\""), "{hidden}");
    }
}
