//! The table of what tests and people outside judged rollouts to be.

use super::*;

/// `verifications`
pub static VERIFICATIONS: TableSchema = TableSchema {
    name: "verifications",
    doc: "One row per result of a verification: somebody outside (a smoke test, a load test, a change board) judged a version \
          or commit. A repeated result makes its row longer, a changed one is a row of its own; absent names stand for all.",
    columns: &[
        text(
            "verification_id",
            "Stable id: hash of the natural key (name, selectors, subject); its results share it and differ by `sequence`.",
        ),
        text("name", "What was done: smoke, load, change-board …"),
        count("sequence", "1 for the first result of the verification, 2 for the next."),
        flag("current", "The newest result of the verification, by event time."),
        text("result", "pending, passed or failed."),
        text("raw_result", "The source's own word for the result."),
        text_or_null("workspace", "The team it is limited to; null: all."),
        text_or_null("application", "Application it is limited to; null: all."),
        text_or_null("workload", "Workload it is limited to; null: all."),
        text_or_null("environment", "Environment it is limited to; null: all."),
        text_or_null("deployment_target", "Deployment target it is limited to; null: all."),
        text_or_null("version", "Version that was judged; null where a commit was."),
        text_or_null("commit", "GitOps commit that was judged, normal form."),
        text_or_null("source_commit", "Source commit that was judged, normal form."),
        text_or_null("link", "Where to read more."),
        text_or_null("message", "What was said with the result."),
        text_or_null("reported_by", "Who judged."),
        time("reported_at", "Event time of the result."),
        time("last_confirmed_at", "Event time of its last repetition."),
        time("received_at", "When the hub received it."),
        flag(
            "time_refused",
            "The source claimed a time more than five minutes ahead; the time of receipt stands for it.",
        ),
        SOURCE,
    ],
};
