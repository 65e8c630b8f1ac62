//! Rows of the API that no view has: they are made for one question, of views, over the range of time it names.
//!
//! Invariant: as for the tables, what is declared here is what is answered; a test compares them.

use super::*;

/// All of them, for the data dictionary.
pub static ANSWERS: [&TableSchema; 5] =
    [&SUMMARY, &ROLLOUT_PROGRESS, &VERSIONS_OVER_TIME, &HOSTS_OVER_TIME, &TRANSITIONS_OVER_TIME];

/// `GET /api/v1/views/summary`
pub static SUMMARY: TableSchema = TableSchema {
    name: "summary",
    doc: "One row about everything that the filters let through, now.",
    columns: &[
        count("targets", "Living deployment targets."),
        count("targets_in_sync", "Those whose reconcilers are all in sync."),
        count("in_sync_percent", "Of the targets that anybody subscribes to, rounded down; 0 where there are none."),
        count("environments", "Different environments among them."),
        count("workloads", "Different workloads among them."),
        count("hosts", "Different hosts that report for them or should."),
        count("reconcilers", "Reconcilers that report for them."),
        count("reconcilers_in_sync", "Those in sync."),
        count("failing_hosts", "Hosts with a failing reconciler."),
        count("drifted_hosts", "Hosts with a reconciler that is behind, ahead, stalled or on an unknown commit."),
        count("silent_hosts", "Silent hosts."),
        count("missing_hosts", "Hosts that never reported where they should."),
        count("unknown_commits", "Reconcilers on a commit that nothing explains."),
        count("rollouts_in_progress", "Targets whose rollout is on its way."),
        count("rollouts_failed", "Targets whose rollout failed."),
        count("rollouts_stalled", "Targets whose rollout stalled."),
        time("taken_at", "When this was so."),
    ],
};

const TIME: Column = time("time", "The instant; each series has a row for every one.");

/// `GET /api/v1/views/rollout-progress`
pub static ROLLOUT_PROGRESS: TableSchema = TableSchema {
    name: "rollout_progress",
    doc: "One row per instant and rollout: how many reconcilers had succeeded by then. Rollouts that were in force in the range.",
    columns: &[
        TIME,
        WORKSPACE,
        APPLICATION,
        ENVIRONMENT,
        WORKLOAD,
        DEPLOYMENT_TARGET,
        VERSION,
        count("total", "Reconcilers that the rollout counts."),
        count("succeeded", "Those that had succeeded; 0 before the rollout and after it."),
    ],
};

/// `GET /api/v1/views/versions-over-time`
pub static VERSIONS_OVER_TIME: TableSchema = TableSchema {
    name: "versions_over_time",
    doc: "One row per instant, target and version: how many reconcilers were at it, counted from the first attempt.",
    columns: &[
        TIME,
        WORKSPACE,
        APPLICATION,
        ENVIRONMENT,
        WORKLOAD,
        DEPLOYMENT_TARGET,
        VERSION,
        count("reconcilers", "Reconcilers at the version."),
    ],
};

/// `GET /api/v1/views/hosts-over-time`
pub static HOSTS_OVER_TIME: TableSchema = TableSchema {
    name: "hosts_over_time",
    doc: "One row per instant and liveness: how many hosts were so.",
    columns: &[TIME, text("liveness", "online, late, silent, unknown or retired."), count("hosts", "Hosts.")],
};

/// `GET /api/v1/views/transitions-over-time`
pub static TRANSITIONS_OVER_TIME: TableSchema = TableSchema {
    name: "transitions_over_time",
    doc: "One row per instant and status: how many reconcilers turned to it since the instant before.",
    columns: &[
        TIME,
        text("status", "success, failure, in_progress or unknown."),
        count("transitions", "Transitions to the status."),
    ],
};
