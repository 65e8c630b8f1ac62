//! The views: their SQL (hand-written, in `schema/views`) and what their columns mean.
//!
//! Invariant: the columns of a view are a public contract; a test compares what the SQL yields with what is declared here.

use std::sync::LazyLock;

use super::*;

/// One view.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Name, meaning and columns.
    pub schema: TableSchema,
    /// The statement behind it.
    pub sql: &'static str,
}

/// Every view; one that selects from another comes after it.
pub static VIEWS: LazyLock<Vec<View>> =
    LazyLock::new(|| STATE.iter().chain(&super::dashboards::VIEWS).copied().collect());

/// What is, was, and comes next.
const STATE: [View; 12] = [
    SUBSCRIPTIONS,
    DEPLOYED_VERSIONS,
    ENVIRONMENT_STATE,
    HOST_STATE,
    ENVIRONMENT_HISTORY,
    ENVIRONMENT_DISCREPANCIES,
    MISSING_HOSTS,
    DRIFT,
    ROLLOUTS,
    PROMOTIONS,
    ROLLOUT_DURATIONS,
    HOST_ROLLOUT_DURATIONS,
];

pub(super) const DESIRED_VERSION: Column =
    text_or_null("desired_version", "Version of the assignment in force on the target.");
const DEPLOYED_VERSION: Column =
    text_or_null("deployed_version", "Version that the commit that runs stands for; null where nothing explains it.");
const RUNNING_VERSION: Column =
    text_or_null("deployed_version", "Version that runs; null: never reported, or the commit is unexplained.");
const RUNNING_STATUS: Column =
    text_or_null("status", "success, failure, in_progress or unknown; null: nobody subscribes.");
const DRIFT_WORD: Column = text(
    "drift",
    "First that applies: missing, unassigned, silent, failing, unknown_commit, ahead, stalled, progressing, behind, in_sync.",
);
const BEHIND_BY: Column =
    count_or_null("behind_by", "Assignments of the target between deployed and desired; null where nothing tells.");
pub(super) const CLUSTER_TYPE: Column = text_or_null("cluster_type", "Label of the host.");
pub(super) const RING: Column = text_or_null("ring", "Label of the host.");
pub(super) const REGION: Column = text_or_null("region", "Label of the host.");
const TARGET_WORKSPACE: Column = text_or_null("workspace", "The team; null when nobody described the endpoint.");
const TARGET_APPLICATION: Column = text_or_null("application", "Application; null when nobody described the endpoint.");
const TARGET_WORKLOAD: Column = text_or_null("workload", "Workload; null when nobody described the endpoint.");
const TARGET_ENVIRONMENT: Column = text_or_null("environment", "Environment; null when nobody described the endpoint.");
const TARGET_NAME: Column =
    text_or_null("deployment_target", "Deployment target; null when nobody described the endpoint.");

const LABELS: Column = text_or_null("labels", "Labels of the host, as JSON.");
const LIVENESS: Column = text("liveness", "online, late, silent, unknown or retired.");
const RECONCILER_TYPE: Column = text("reconciler_type", "flux, argocd, ansible …");
const COMMIT: Column = text_or_null("commit", "The commit that runs (applied).");
pub(super) const COMMIT_URL: Column =
    text_or_null("commit_url", "Page of the commit; null where the repository has none or is not known.");
pub(super) const SOURCE_COMMIT_URL: Column =
    text_or_null("source_commit_url", "Page of the source commit; null where its repository has none or is not known.");
const ATTEMPTED_COMMIT: Column = text_or_null("attempted_commit", "The commit last attempted.");
const STATUS: Column = text("status", "success, failure, in_progress or unknown: its word on the attempted commit.");
const RAW_STATUS: Column = text("raw_status", "The source's own word.");
const MESSAGE: Column = text_or_null("message", "The source's message.");
const ROLLED_BACK: Column =
    flag("rolled_back", "What runs had been deployed here before, with another commit in between.");
const DEPLOYED_AT: Column = time_or_null("deployed_at", "Start of the current deployment.");
const REPORTED_AT: Column = time("reported_at", "Event time of the last word.");
const CONTACT: Column = text_or_null("contact", "Whom to ask: of the target, else of the host.");
const SINCE: Column = time_or_null("since", "Since when this rule applies.");
const BEHIND_SECONDS: Column = count_or_null("behind_seconds", "Seconds since the first assignment that it lacks.");

const SUBSCRIPTIONS: View = View {
    schema: TableSchema {
        name: "subscriptions",
        doc: "One row per living reconciler and target it serves, now: everything `host_state` and `drift` show.",
        columns: &[
            TARGET_WORKSPACE,
            TARGET_APPLICATION,
            TARGET_ENVIRONMENT,
            TARGET_WORKLOAD,
            TARGET_NAME,
            HOST,
            RECONCILER,
            CLUSTER_TYPE,
            RING,
            REGION,
            DRIFT_WORD,
            SINCE,
            DESIRED_VERSION,
            DEPLOYED_VERSION,
            BEHIND_BY,
            BEHIND_SECONDS,
            LABELS,
            LIVENESS,
            RECONCILER_TYPE,
            COMMIT,
            COMMIT_URL,
            ATTEMPTED_COMMIT,
            STATUS,
            RAW_STATUS,
            MESSAGE,
            ROLLED_BACK,
            DEPLOYED_AT,
            REPORTED_AT,
            SOURCE,
            CONTACT,
            HOST_NO,
            RECONCILER_NO,
            count_or_null("target_no", "Number of the deployment target, inside one generation."),
        ],
    },
    sql: include_str!("../../../schema/views/subscriptions.sql"),
};

const DEPLOYED_VERSIONS: View = View {
    schema: TableSchema {
        name: "deployed_versions",
        doc: "One row per target, deployed version and status, now: environment_state without hosts, for which it costs a part.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            DESIRED_VERSION,
            RUNNING_VERSION,
            RUNNING_STATUS,
            count("reconcilers", "Reconcilers."),
        ],
    },
    sql: include_str!("../../../schema/views/deployed_versions.sql"),
};

const ENVIRONMENT_STATE: View = View {
    schema: TableSchema {
        name: "environment_state",
        doc: "One row per target, deployed version and status, now. A target nobody subscribes to has one row with \
              reconcilers = 0 and null status.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            DESIRED_VERSION,
            text_or_null("desired_commit", "First commit of the assignment in force; null while nobody knows it."),
            RUNNING_VERSION,
            RUNNING_STATUS,
            count("reconcilers", "Reconcilers."),
            count("hosts", "Different hosts among them."),
            count("silent", "Reconcilers among them whose host is silent."),
            time_or_null("assigned_at", "Start of the assignment in force."),
            time_or_null("reported_at", "Event time of the last word of any of them."),
            text_or_null("author", "Author of the assignment in force."),
            text_or_null("contact", "Whom to ask."),
        ],
    },
    sql: include_str!("../../../schema/views/environment_state.sql"),
};

/// The view `host_state`.
pub const HOST_STATE: View = View {
    schema: TableSchema {
        name: "host_state",
        doc: "One row per living reconciler and target it serves, now; target columns are null when nobody described \
              its endpoint.",
        columns: &[
            HOST,
            CLUSTER_TYPE,
            RING,
            REGION,
            LABELS,
            LIVENESS,
            RECONCILER,
            RECONCILER_TYPE,
            TARGET_WORKSPACE,
            TARGET_APPLICATION,
            TARGET_ENVIRONMENT,
            TARGET_WORKLOAD,
            TARGET_NAME,
            DESIRED_VERSION,
            DEPLOYED_VERSION,
            COMMIT,
            COMMIT_URL,
            ATTEMPTED_COMMIT,
            STATUS,
            RAW_STATUS,
            MESSAGE,
            DRIFT_WORD,
            BEHIND_BY,
            ROLLED_BACK,
            DEPLOYED_AT,
            REPORTED_AT,
            SOURCE,
            CONTACT,
        ],
    },
    sql: include_str!("../../../schema/views/host_state.sql"),
};

const ENVIRONMENT_HISTORY: View = View {
    schema: TableSchema {
        name: "environment_history",
        doc: "One row per target and GitOps commit deployed there, all time, also by reconcilers that are retired.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            text_or_null("version", "Version that the commit stands for on this target; null: unexplained."),
            text("commit", "GitOps commit."),
            COMMIT_URL,
            time_or_null("assigned_at", "Start of the assignment that covers it."),
            time_or_null("first_deployed_at", "First start of a deployment."),
            time_or_null("last_deployed_at", "Last start of a deployment; heartbeats do not move it."),
            count("success", "Reconcilers whose last word on the commit is success."),
            count("failure", "… failure."),
            count("in_progress", "… in progress."),
            count("unknown", "… unknown."),
            flag("rolled_back", "A reconciler came back to the commit after another one."),
        ],
    },
    sql: include_str!("../../../schema/views/environment_history.sql"),
};

const ENVIRONMENT_DISCREPANCIES: View = View {
    schema: TableSchema {
        name: "environment_discrepancies",
        doc: "One row per workload and target name, environment and deployed version; every current target, also with \
              nobody on it.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            ENVIRONMENT,
            DESIRED_VERSION,
            DEPLOYED_VERSION,
            count("reconcilers", "Reconcilers that run it."),
            count("successful", "Those among them with status success."),
        ],
    },
    sql: include_str!("../../../schema/views/environment_discrepancies.sql"),
};

const MISSING_HOSTS: View = View {
    schema: TableSchema {
        name: "missing_hosts",
        doc: "One row per host and living target that it is expected to serve, and of which nothing ever reported for it.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            HOST,
            CLUSTER_TYPE,
            RING,
            REGION,
            time("since", "Since when it is expected and the target is there."),
            text("desired_version", "The version wanted on the target."),
            HOST_NO,
            TARGET_NO,
        ],
    },
    sql: include_str!("../../../schema/views/missing_hosts.sql"),
};

const DRIFT: View = View {
    schema: TableSchema {
        name: "drift",
        doc: "One row per target and reconciler, now, and one without a reconciler per expected host that has none.",
        columns: &[
            TARGET_WORKSPACE,
            TARGET_APPLICATION,
            TARGET_ENVIRONMENT,
            TARGET_WORKLOAD,
            TARGET_NAME,
            HOST,
            text_or_null("reconciler", "Name of the reconciler on its host; null when it is missing."),
            CLUSTER_TYPE,
            RING,
            REGION,
            DRIFT_WORD,
            SINCE,
            DESIRED_VERSION,
            DEPLOYED_VERSION,
            BEHIND_BY,
            BEHIND_SECONDS,
        ],
    },
    sql: include_str!("../../../schema/views/drift.sql"),
};

const ROLLOUTS: View = View {
    schema: TableSchema {
        name: "rollouts",
        doc: "One row per assignment: how it spread over the reconcilers that subscribe to its target.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            VERSION,
            text_or_null("commit", "First GitOps commit of the assignment."),
            COMMIT_URL,
            text("verdict", "complete, superseded, failed, stalled or in_progress, under the default policy."),
            time("started_at", "Start of the assignment."),
            time_or_null("completed_at", "When the last of its reconcilers first succeeded; null unless complete."),
            time_or_null("over_at", "The same, or when it was superseded before that; null while it may go on."),
            count("total", "Reconcilers counted."),
            count("success", "Success at the assignment's commits or past them."),
            count("failure", "Failing there."),
            count("in_progress", "Being applied, or status unknown."),
            count("behind", "Still before the assignment, rolled back, or on an unknown commit."),
            count("silent", "Their host is silent."),
            count("never_reported", "Expected and never heard."),
            count("retired", "Retired; not in `total`."),
        ],
    },
    sql: include_str!("../../../schema/views/rollouts.sql"),
};

const PROMOTIONS: View = View {
    schema: TableSchema {
        name: "promotions",
        doc: "One row per source commit of a workload and environment that it was assigned in: where it is on its way. \
              Versions without a source commit have a row each.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            WORKLOAD,
            text_or_null("source_commit", "Source commit, normal form; null where the version names none."),
            SOURCE_COMMIT_URL,
            text("version", "Version of the newest assignment of the commit in the environment."),
            ENVIRONMENT,
            time("assigned_at", "Start of the first assignment of the commit in the environment, to the millisecond."),
            time_or_null(
                "complete_at",
                "When every target of the environment that got the commit was complete; null until then.",
            ),
            count_or_null(
                "lead_seconds",
                "Seconds to `complete_at` from the build, or from the first assignment in any environment where no build \
                 before it is known; null while not complete.",
            ),
            count_or_null(
                "hop_seconds",
                "Seconds to `complete_at` from that of the environment assigned before this one; null for the first, and \
                 while either is not complete.",
            ),
            text("verdict", "The first that any target has of superseded, failed, stalled, in_progress, complete."),
            text_or_null("author", "Author of the newest assignment of the commit in the environment."),
            count("targets", "Targets of the environment that got the commit; of each its newest assignment counts."),
            text_or_null("contact", "Whom to ask."),
        ],
    },
    sql: include_str!("../../../schema/views/promotions.sql"),
};

const P50_SECONDS: Column = count_or_null("p50_seconds", "Half of them took no longer.");
const P90_SECONDS: Column = count_or_null("p90_seconds", "Nine in ten took no longer.");

const ROLLOUT_DURATIONS: View = View {
    schema: TableSchema {
        name: "rollout_durations",
        doc: "One row per target: how long its complete rollouts took, from `started_at` to `completed_at`.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            count("rollouts", "Complete rollouts."),
            P50_SECONDS,
            P90_SECONDS,
            count_or_null("max_seconds", "The longest."),
            time_or_null("completed_at", "When the newest of them was complete."),
        ],
    },
    sql: include_str!("../../../schema/views/rollout_durations.sql"),
};

const HOST_ROLLOUT_DURATIONS: View = View {
    schema: TableSchema {
        name: "host_rollout_durations",
        doc: "One row per target and host: how long assignments took to succeed there, each from its start to the first \
              success of the host at it. It reads all of `transitions`, so it is dear; a filter by host makes it cheap.",
        columns: &[
            WORKSPACE,
            APPLICATION,
            ENVIRONMENT,
            WORKLOAD,
            DEPLOYMENT_TARGET,
            HOST,
            count("deployments", "Assignments that succeeded on the host."),
            P50_SECONDS,
            P90_SECONDS,
        ],
    },
    sql: include_str!("../../../schema/views/host_rollout_durations.sql"),
};
