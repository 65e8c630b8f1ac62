//! An answer as text for people: the whole of it at the end, and the few lines of it that are worth showing while it changes.
//!
//! Invariant: however many targets a question has, what is shown of them is bounded, and what is left out is counted.

use super::answer::{Answer, Clause, Target, Verdict};
use crate::cli::table;

/// The most targets that are shown one by one.
const SHOWN: usize = 20;

/// The answer.
pub(super) fn said(answer: &Answer, asked: &str) -> String {
    let mut lines = vec![answer.headline()];
    lines.extend(missing(answer.verdict, asked));
    // The reason of one target says as much.
    if answer.targets.len() > 1 {
        lines.push(answer.buckets.in_words(answer.total));
    }
    lines.extend(policy(answer));
    lines.extend(answer.eta.as_ref().map(|eta| eta.in_words(&answer.as_of)));
    lines.extend(answer.last_good.as_ref().filter(|_| answer.verdict.went_wrong()).map(|good| good.in_words()));
    if answer.targets.len() > 1 {
        let (shown, rest) = picked(&answer.targets);
        let rows = shown.iter().map(|target| row(target, &answer.as_of));
        lines.extend(["targets:".to_owned(), table::aligned(&rows.collect::<Vec<_>>(), "  ")]);
        lines.extend(rest.map(|rest| format!("  {rest}")));
    }
    if !answer.hosts.is_empty() {
        let several = answer.targets.len() > 1;
        let rows = answer.hosts.iter().map(|h| {
            let place = several.then(|| h.place());
            let named = [h.bucket.replace('_', " "), h.host.to_string(), h.reconciler.to_string()];
            place.into_iter().chain(named).chain([h.details()]).collect()
        });
        lines.extend(["held up by:".to_owned(), table::aligned(&rows.collect::<Vec<_>>(), "  ")]);
    }
    lines.into_iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The policy, and the clause of it that is not met.
pub(super) fn policy(answer: &Answer) -> Option<String> {
    let name = if answer.policy.name.is_empty() { "default" } else { &answer.policy.name };
    let met = (answer.verdict == Verdict::Complete).then(|| "met".to_owned());
    Some(format!("policy {name}: {}", answer.failing_clause.as_ref().map(Clause::in_words).or(met)?))
}

/// What is missing where there is nothing to count.
pub(super) fn missing(verdict: Verdict, asked: &str) -> Option<String> {
    let (missing, hint) = match verdict {
        Verdict::NoTargets => {
            ("no deployment descriptor", "is the name right, and does a source of descriptors report to this hub?")
        }
        Verdict::UnknownCommit => ("no assignment", "was it promoted, and has GitOps delivered it?"),
        _ => return None,
    };
    Some(format!("the hub has {missing} for {asked}: {hint} `koh rollout list` shows what it knows"))
}

/// The targets to show: those that are unfinished where there are many, and a line about the rest.
pub(super) fn picked(targets: &[Target]) -> (Vec<&Target>, Option<String>) {
    if targets.len() <= SHOWN {
        return (targets.iter().collect(), None);
    }
    let (mut shown, mut rest): (Vec<&Target>, Vec<&Target>) =
        targets.iter().partition(|t| t.verdict != Verdict::Complete);
    rest.extend(shown.drain(SHOWN.min(shown.len())..));
    let complete = rest.iter().filter(|t| t.verdict == Verdict::Complete).count();
    let mut counts = vec![format!("{complete} complete")];
    counts.extend((rest.len() > complete).then(|| format!("{} not complete", rest.len() - complete)));
    (shown, Some(format!("and {} more: {}", rest.len(), counts.join(", "))))
}

fn row(target: &Target, as_of: &str) -> Vec<String> {
    let success = format!("{} of {}", target.buckets.success, target.total);
    let named = [&target.environment, &target.workload, &target.deployment_target, &target.version];
    let mut row = vec![target.verdict.word().replace('_', " ")];
    row.extend(named.map(|name| name.to_string()));
    row.extend([success, target.details(as_of)]);
    row
}

/// The lines that tell how it stands: the whole, and each target where there are several.
pub(super) fn lines(answer: &Answer) -> Vec<String> {
    let mut head = answer.headline();
    let eta = answer.eta.as_ref().map(|eta| eta.in_words(&answer.as_of));
    head.extend(eta.map(|eta| format!(" - {eta}")));
    let mut lines = vec![head];
    if answer.targets.len() > 1 {
        let (shown, rest) = picked(&answer.targets);
        lines.extend(
            shown.iter().map(|t| format!("{} {}: {}", t.place(), t.verdict.word(), t.buckets.in_words(t.total))),
        );
        lines.extend(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(value: serde_json::Value) -> Answer {
        Answer::read(&value.to_string()).unwrap()
    }

    #[test]
    fn everything_that_explains_a_failure_is_said() {
        let target = |name: &str, verdict: &str, success: u64| {
            json!({"workload": "web", "environment": "prod", "deployment_target": name, "version": "2.0", "verdict": verdict,
                   "total": 2, "buckets": {"success": success, "failure": 2 - success}})
        };
        let said = said(
            &answer(json!({
                "verdict": "failed", "reason": "1 of 2 targets failed.", "as_of": "2026-01-31T10:00:00Z", "total": 4,
                "buckets": {"success": 3, "failure": 1}, "policy": {"name": "careful"},
                "failing_clause": {"clause": "max_failures", "detail": "1 failing, 0 allowed"},
                "eta": {"at": "2026-01-31T10:01:00Z", "latest": "2026-01-31T10:02:00Z", "basis": "median of 4"},
                "last_good": {"version": "1.0", "commit": "sha1:aa", "since": "2026-01-30T10:00:00Z"},
                "targets": [target("cloud", "complete", 2), target("edge", "failed", 1)],
                "hosts": [{"environment": "prod", "workload": "web", "deployment_target": "edge", "host": "h1", "reconciler": "web", "bucket": "failure", "commit": "sha1:aa",
                           "attempted_commit": "sha1:bb", "message": "no\nmemory", "contact": "ops"}]
            })),
            "",
        );
        assert_eq!(
            said,
            "failed: 1 of 2 targets failed.\n\
             3 of 4 reconcilers in success: 1 failing\n\
             policy careful: max_failures: 1 failing, 0 allowed\n\
             expected in 1m, at the latest in 2m (median of 4)\n\
             last good 1.0 (sha1:aa) since 2026-01-30T10:00:00Z\n\
             targets:\n  \
             complete  prod  web  cloud  2.0  2 of 2\n  \
             failed    prod  web  edge   2.0  1 of 2  1 failing\n\
             held up by:\n  \
             prod/web/edge  failure  h1  web  at sha1:aa; tries sha1:bb; no memory; ask ops\n"
        );
    }

    #[test]
    fn where_nothing_is_known_it_says_what_is_missing() {
        let said = said(
            &answer(json!({"verdict": "no_targets", "reason": "Nothing is described."})),
            "version 1 on workload web",
        );
        assert!(said.contains("no deployment descriptor for version 1 on workload web"), "{said}");
        assert!(!said.contains("0 of 0"), "{said}");
    }

    #[test]
    fn of_many_targets_the_unfinished_are_shown_and_the_rest_is_counted() {
        let verdict = |n: usize| if n < 25 { "complete" } else { "in_progress" };
        let targets =
            |n: usize| (0..n).map(|n| json!({"deployment_target": n.to_string(), "verdict": verdict(n)})).collect();
        let many = answer(json!({"verdict": "in_progress", "targets": serde_json::Value::Array(targets(50))}));
        let (shown, rest) = picked(&many.targets);
        assert!(shown.len() == SHOWN && shown.iter().all(|t| t.verdict == Verdict::InProgress));
        assert_eq!(rest.as_deref(), Some("and 30 more: 25 complete, 5 not complete"));
        assert_eq!(lines(&many).len(), SHOWN + 2);
        let few = answer(json!({"targets": serde_json::Value::Array(targets(3))}));
        assert_eq!((picked(&few.targets).0.len(), picked(&few.targets).1), (3, None));
    }
}
