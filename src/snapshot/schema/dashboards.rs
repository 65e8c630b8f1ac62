//! The views behind dashboards and alerts: health, histories, metrics, and spans that graphs over time count.
//!
//! Invariant: as for the other views; a span has a start and an end, and what a graph counts is how many spans hold an instant.

use super::views::{CLUSTER_TYPE, COMMIT_URL, DESIRED_VERSION, REGION, RING, SOURCE_COMMIT_URL};
use super::*;

/// The views, in an order in which each comes after those it selects from.
pub(super) const VIEWS: [View; 14] = [
    TARGET_HEALTH,
    ENVIRONMENT_MATRIX,
    ENVIRONMENT_COMPARISON,
    SILENT_HOSTS,
    APPLICATION_HISTORY,
    WORKLOAD_HISTORY,
    DORA_METRICS,
    PROMOTION_WAITS,
    ANNOTATIONS,
    REPORTS,
    HOST_TIMELINE,
    VERSION_SPANS,
    ROLLOUT_SUCCESSES,
    LIVENESS_SPANS,
];

const ENDED_AT: Column = time_or_null("ended_at", "Until; null while it lasts.");
const STATE: Column =
    text("state", "First that applies: nobody (subscribes), failing, stalled, progressing, drifted, silent, in_sync.");
const SOURCE_REPO: Column = text_or_null("source_repo", "Source repository, canonical.");
const SOURCE_COMMIT: Column = text_or_null("source_commit", "Source commit, normal form.");
const BUILD: Column = text_or_null("build", "Build id.");
const BUILD_TIME: Column = time_or_null("build_time", "When it was built.");
const CONTACT: Column = text_or_null("contact", "Whom to ask.");

const TARGET_HEALTH: View = View {
    schema: TableSchema {
        name: "target_health",
        doc: "One row per living target: its reconcilers by the rule of drift that applies to each, and one word for all.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            DESIRED_VERSION,
            text("verdict", "Of the assignment in force: complete, failed, stalled or in_progress."),
            STATE,
            count("reconcilers", "Reconcilers that report for the target."),
            count("in_sync", "Those in sync."),
            count("progressing", "Those applying."),
            count("behind", "Those on an earlier assignment."),
            count("ahead", "Those past what is wanted."),
            count("failing", "Those failing."),
            count("stalled", "Those in progress for too long."),
            count("silent", "Those whose host is silent."),
            count("silent_hosts", "Different silent hosts."),
            count("unknown_commit", "Those on a commit that nothing explains."),
            count("missing", "Expected hosts that never reported for the target; not in `reconcilers`."),
            count(
                "drifted",
                "ahead, failing, stalled, unknown_commit, missing, and behind unless the rollout is in progress.",
            ),
            count("rollout_failures", "Reconcilers failing at the commits of the assignment in force."),
            count(
                "unchanged_seconds",
                "Seconds since anything changed while the rollout is not complete; 0 when it is, or when nobody subscribes.",
            ),
            time("assigned_at", "Start of the assignment in force."),
            CONTACT,
        ],
    },
    sql: include_str!("../../../schema/views/target_health.sql"),
};

const ENVIRONMENT_MATRIX: View = View {
    schema: TableSchema {
        name: "environment_matrix",
        doc: "One row per component (workload and target name) and environment: one cell of a matrix.",
        columns: &[
            text("component", "Workspace, application, workload and deployment target in one name."),
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            ENVIRONMENT,
            DESIRED_VERSION,
            text(
                "deployed",
                "The version that runs; several with how many reconcilers run them, the commonest three first; empty: nobody.",
            ),
            count("versions", "Different versions that run; what nothing explains counts as one."),
            STATE,
            count("reconcilers", "Reconcilers that report."),
            count("successful", "Those among them with status success."),
        ],
    },
    sql: include_str!("../../../schema/views/environment_matrix.sql"),
};

const ENVIRONMENT_COMPARISON: View = View {
    schema: TableSchema {
        name: "environment_comparison",
        doc: "One row per workload and ordered pair of environments of which at least one has it: both sides, and what differs first.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            ENVIRONMENT,
            text("other_environment", "The environment it is compared with."),
            text(
                "difference",
                "First that applies: only_here, only_there, scheduled (other versions are wanted), deployed (other versions run), same.",
            ),
            text_or_null(
                "desired",
                "Versions wanted in `environment`; several with on how many targets, the commonest three first.",
            ),
            text_or_null("other_desired", "The same of `other_environment`, as all that begins with other_."),
            text_or_null(
                "deployed",
                "Versions that run; several with how many reconcilers run them; null: nobody reports.",
            ),
            text_or_null("other_deployed", "… there."),
            text_or_null(
                "state",
                "The worst of its targets: failing, stalled, drifted, progressing, silent, in_sync, nobody.",
            ),
            text_or_null("other_state", "… there."),
            time_or_null("assigned_at", "Start of the newest assignment in force."),
            time_or_null("other_assigned_at", "… there."),
            count("targets", "Targets."),
            count("other_targets", "… there."),
            count("reconcilers", "Reconcilers that report for them."),
            count("other_reconcilers", "… there."),
            count("in_sync", "Those in sync."),
            count("other_in_sync", "… there."),
        ],
    },
    sql: include_str!("../../../schema/views/environment_comparison.sql"),
};

const SILENT_HOSTS: View = View {
    schema: TableSchema {
        name: "silent_hosts",
        doc: "One row per living target with silent hosts, and one with empty names per contact of silent hosts that serve no target.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            count("silent_hosts", "How many."),
            CONTACT,
        ],
    },
    sql: include_str!("../../../schema/views/silent_hosts.sql"),
};

const APPLICATION_HISTORY: View = View {
    schema: TableSchema {
        name: "application_history",
        doc: "One row per assignment, all time: what was wanted where, where it came from, and how it spread.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            VERSION,
            BUILD,
            BUILD_TIME,
            SOURCE_REPO,
            SOURCE_COMMIT,
            SOURCE_COMMIT_URL,
            text("repo", "Repository of the manifests, canonical."),
            text_or_null("commit", "First GitOps commit of the assignment."),
            COMMIT_URL,
            text_or_null("author", "Author of the change."),
            text_or_null("pull_request", "Pull request of the change."),
            text_or_null("pull_request_url", "The same if it is an address."),
            CONTACT,
            time("assigned_at", "Wanted since."),
            time_or_null("ended_at", "Wanted until; null while it is in force."),
            time_or_null("completed_at", "When the last of its reconcilers first succeeded; null unless complete."),
            text("verdict", "complete, superseded, failed, stalled or in_progress, under the default policy."),
            count("total", "Reconcilers counted."),
            count("success", "Success at the assignment's commits or past them."),
            count("failure", "Failing there."),
            count("in_progress", "Being applied, or status unknown."),
            count("behind", "Still before the assignment, rolled back, or on an unknown commit."),
            count("silent", "Their host is silent."),
            flag("rollback", "The target had been assigned this version earlier, with another in between."),
            count("sequence", "1 for the first assignment of the target, 2 for the next."),
        ],
    },
    sql: include_str!("../../../schema/views/application_history.sql"),
};

const WORKLOAD_HISTORY: View = View {
    schema: TableSchema {
        name: "workload_history",
        doc: "One row per version of a workload and environment that it was assigned in, all time; of each target its newest assignment counts.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            VERSION,
            ENVIRONMENT,
            BUILD,
            BUILD_TIME,
            SOURCE_REPO,
            SOURCE_COMMIT,
            SOURCE_COMMIT_URL,
            text_or_null("author", "Author of a newest assignment."),
            time("first_assigned_at", "Start of the first assignment."),
            time("last_assigned_at", "Start of the last assignment."),
            time_or_null("completed_at", "When the last target was complete; null unless all are."),
            count("targets", "Targets that got the version."),
            count("wanted", "Those on which it is in force now."),
            count("complete", "Those that are complete."),
            count("failed", "Those that are failed."),
            count("total", "Reconcilers counted."),
            count("success", "Those that succeeded."),
            count("failure", "Those failing."),
        ],
    },
    sql: include_str!("../../../schema/views/workload_history.sql"),
};

const DORA_METRICS: View = View {
    schema: TableSchema {
        name: "dora_metrics",
        doc: "One row per workload, environment and week in which anything was assigned there: frequency, lead time, failures, restoring.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            ENVIRONMENT,
            time("week", "Monday, midnight UTC; assignments count in the week they began."),
            count("rollouts", "Assignments."),
            count("completed", "Those that are complete."),
            count(
                "failed",
                "Those whose verdict is failed, or that the next assignment took back to an earlier version.",
            ),
            count("change_failure_percent", "Failed of all, rounded."),
            count_or_null(
                "lead_p50_seconds",
                "Half of the complete ones took no longer, from the build or the first assignment anywhere.",
            ),
            count_or_null("lead_p90_seconds", "Nine in ten took no longer."),
            count_or_null(
                "restore_p50_seconds",
                "Half of the failed ones were followed no later by a complete assignment; null while none was.",
            ),
        ],
    },
    sql: include_str!("../../../schema/views/dora_metrics.sql"),
};

const PROMOTION_WAITS: View = View {
    schema: TableSchema {
        name: "promotion_waits",
        doc: "One row per workload and ordered pair of environments of which something complete in the first waits for the second.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            ENVIRONMENT,
            text("next_environment", "Where it is not complete yet."),
            flag("usual", "After `environment`, changes most often went to `next_environment`."),
            text("version", "The version that has waited longest."),
            SOURCE_COMMIT,
            SOURCE_COMMIT_URL,
            count("waiting", "How many changes wait."),
            time("waiting_since", "When the one that has waited longest was complete in `environment`."),
            count("waiting_seconds", "For how long."),
            CONTACT,
        ],
    },
    sql: include_str!("../../../schema/views/promotion_waits.sql"),
};

const ANNOTATIONS: View = View {
    schema: TableSchema {
        name: "annotations",
        doc: "One row per thing to mark in a graph; failures are counted by the minute.",
        columns: &[
            time("time", "When, or from when."),
            time_or_null("time_end", "Until when a rollout lasted; null for a point in time, and while it lasts."),
            text("kind", "rollout, rollback, failure or verification."),
            text("title", "What, in a few words."),
            text("text", "What more there is to say."),
            text("tags", "Kind, environment and workload, separated by commas."),
            text_or_null("workspace", "The team."),
            text_or_null("application", "Application."),
            text_or_null("environment", "Environment."),
            text_or_null("workload", "Workload."),
            text_or_null("deployment_target", "Deployment target."),
            text_or_null("version", "Version; of a verification the commit where one was judged."),
        ],
    },
    sql: include_str!("../../../schema/views/annotations.sql"),
};

const REPORTS: View = View {
    schema: TableSchema {
        name: "reports",
        doc: "One row per change of what a reconciler says and target that it is about; `transitions` with names and links. \
              It reads all of `transitions`, so it is dear; a filter by host makes it cheap.",
        columns: &[
            time("reported_at", "Event time."),
            HOST,
            RECONCILER,
            text("status", "success, failure, in_progress or unknown."),
            text("raw_status", "The source's own word."),
            text_or_null("commit", "The commit it speaks of."),
            COMMIT_URL,
            text_or_null("workspace", "The team; null where nothing explains the commit."),
            text_or_null("application", "Application."),
            text_or_null("environment", "Environment."),
            text_or_null("workload", "Workload."),
            text_or_null("deployment_target", "Deployment target."),
            text_or_null("version", "Version that the commit stands for."),
            text_or_null("message", "The source's message."),
            SOURCE,
            count("seq", "As in `transitions`."),
        ],
    },
    sql: include_str!("../../../schema/views/reports.sql"),
};

const HOST_TIMELINE: View = View {
    schema: TableSchema {
        name: "host_timeline",
        doc: "One row per stretch of one status of a reconciler on a target, and of one liveness of a host (its reconciler is empty). \
              It reads all of `transitions`, so it is dear; a filter by host makes it cheap.",
        columns: &[
            time("time", "From."),
            ENDED_AT,
            HOST,
            text("reconciler", "Name of the reconciler on its host; empty for the liveness of the host itself."),
            text_or_null("workspace", "The team; null where nothing explains the commit."),
            text_or_null("application", "Application."),
            text_or_null("environment", "Environment."),
            text_or_null("workload", "Workload."),
            text_or_null("deployment_target", "Deployment target."),
            text_or_null("version", "Version that the attempted commit stands for."),
            text("status", "success, failure, in_progress or unknown; online, late, silent, unknown or retired."),
            count(
                "code",
                "The same as a number: success 1, in_progress 2, failure 3, unknown 4, online 5, late 6, silent 7, retired 8.",
            ),
        ],
    },
    sql: include_str!("../../../schema/views/host_timeline.sql"),
};

const VERSION_SPANS: View = View {
    schema: TableSchema {
        name: "version_spans",
        doc: "One row per deployment and target: from when to when a reconciler was at a version, from its first attempt on.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            VERSION,
            HOST,
            RECONCILER,
            time("started_at", "From."),
            ENDED_AT,
        ],
    },
    sql: include_str!("../../../schema/views/version_spans.sql"),
};

const ROLLOUT_SUCCESSES: View = View {
    schema: TableSchema {
        name: "rollout_successes",
        doc: "One row per assignment and reconciler that succeeded at it, from the first success until the assignment ended; and one \
              without a start per assignment. It reads all of `transitions`, so it is dear.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            VERSION,
            count("total", "Reconcilers that the rollout counts."),
            count_or_null("reconciler_no", "Number of the reconciler, inside one generation."),
            time_or_null("started_at", "First success, not before the assignment."),
            ENDED_AT,
        ],
    },
    sql: include_str!("../../../schema/views/rollout_successes.sql"),
};

const LIVENESS_SPANS: View = View {
    schema: TableSchema {
        name: "liveness_spans",
        doc: "One row per stretch of one liveness of a host, with the labels the host has now.",
        columns: &[
            text("liveness", "online, late, silent, unknown or retired."),
            HOST,
            CLUSTER_TYPE,
            RING,
            REGION,
            time("started_at", "From."),
            ENDED_AT,
        ],
    },
    sql: include_str!("../../../schema/views/liveness_spans.sql"),
};
