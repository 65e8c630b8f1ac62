//! Rows of the API that no view has: they are made for one question, of views, over the range of time it names.
//!
//! Invariant: as for the tables, what is declared here is what is answered; a test compares them.

use super::*;

/// All of them, for the data dictionary.
pub static ANSWERS: [&TableSchema; 7] = [
    &SUMMARY,
    &GRAPH_NODES,
    &GRAPH_EDGES,
    &ROLLOUT_PROGRESS,
    &VERSIONS_OVER_TIME,
    &HOSTS_OVER_TIME,
    &TRANSITIONS_OVER_TIME,
];

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

/// `GET /api/v1/views/graph-nodes`
pub static GRAPH_NODES: TableSchema = TableSchema {
    name: "graph_nodes",
    doc: "One row per node of the graph workload, deployment target, host; what is too much for a picture is summed up in a node. \
          Never empty: where there is nothing, two nodes say so.",
    columns: &[
        text("id", "Id of the workload, deployment target or host, or of what is summed up."),
        text("kind", "workload, target, host, hosts (of a target, that have no node of their own), targets, nothing."),
        text("title", "Its name."),
        text("subtitle", "Where it belongs."),
        text(
            "main",
            "Of a target the version wanted, of a host how it stands, else how many, or how many of them fail.",
        ),
        text(
            "second",
            "How many reconcilers are in sync; of a host the version that runs, or how many targets it serves.",
        ),
        share(
            "in_sync",
            "Share of its reconcilers, missing ones included, that are in sync; all shares are 0 where there are none.",
        ),
        share("progressing", "… that are applying."),
        share("drifted", "… that are behind, ahead, stalled, on an unknown commit or missing."),
        share("failing", "… that are failing."),
        share("silent", "… that are silent."),
        text_or_null("workspace", "The team, where it is about one; so the names after it."),
        text_or_null("application", "Application."),
        text_or_null("workload", "Workload."),
        text_or_null("environment", "Environment."),
        text_or_null("deployment_target", "Deployment target."),
        text_or_null("host", "Host."),
    ],
};

/// `GET /api/v1/views/graph-edges`
pub static GRAPH_EDGES: TableSchema = TableSchema {
    name: "graph_edges",
    doc: "One row per edge between two rows of `graph-nodes` under the same filters; never empty.",
    columns: &[
        text("id", "Both ends."),
        text("source", "Node it begins at."),
        text("target", "Node it leads to."),
        text("main", "To a target its environment, to a host the version that runs."),
        text("second", "To a target the verdict of its rollout, to a host how it stands for this target."),
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
