// The dashboards, one function of panels each.

import { link, WORDS } from "./columns.mjs";
import { dashboard } from "./dashboard.mjs";
import { by, is, lines, matrix, RANGE, stats, table, TARGET, timeline, WORKLOAD } from "./panels.mjs";

const DIMS = ["workspace", "application", "workload", "environment", "deployment_target"];
const PLACE = ["workspace", "application", "workload", "environment"];
const view = (name) => `/api/v1/views/${name}`;

const red = [
  ["green", null],
  ["red", 1],
];
const orange = [
  ["green", null],
  ["orange", 1],
];
const blue = [
  ["text", null],
  ["blue", 1],
];
const to = (uid) => ["Details", `/d/${uid}?\${__all_variables}&\${__url_time_range}`];

const summary = (title, columns, more = {}) =>
  stats({
    title,
    url: view("summary"),
    params: TARGET,
    columns,
    empty: "The hub does not answer.",
    description:
      "State of now, of what the variables pick. Silent clusters are those not heard for an hour, unless the hub is told otherwise.",
    ...more,
  });
const TILES = [
  {
    name: "in_sync_percent",
    title: "Targets in sync",
    unit: "percent",
    decimals: 1,
    steps: [
      ["red", null],
      ["orange", 80],
      ["green", 99],
    ],
  },
  { name: "targets", title: "Targets" },
  { name: "failing_hosts", title: "Failing clusters", steps: red, link: to("kalypso-fleet") },
  { name: "drifted_hosts", title: "Drifted clusters", steps: orange, link: to("kalypso-fleet") },
  { name: "silent_hosts", title: "Silent clusters", steps: orange, link: to("kalypso-fleet") },
  { name: "missing_hosts", title: "Never reported", steps: orange, link: to("kalypso-fleet") },
  { name: "rollouts_in_progress", title: "Rollouts in progress", steps: blue, link: to("kalypso-rollout") },
  { name: "rollouts_failed", title: "Rollouts failed", steps: red, link: to("kalypso-rollout") },
];

const environmentState = (more = {}) =>
  table({
    title: "Environments state",
    description: "What should run and what does, per deployment target: a row for each version that runs there and each status.",
    url: view("environment-state"),
    params: TARGET,
    columns: [
      "workspace",
      "application",
      "environment",
      "workload",
      "deployment_target",
      "desired_version",
      "deployed_version",
      "status",
      "hosts",
      "silent",
      "reported_at",
      "contact",
    ],
    sort: [["environment"]],
    empty: "No deployment target is known to the hub for this choice.",
    height: 11,
    ...more,
  });

const versionsOverTime = (more = {}) =>
  lines({
    title: "Versions over time",
    description: "Reconcilers by the version that runs, stacked: a rollout is one colour giving way to the next.",
    url: view("versions-over-time"),
    params: TARGET,
    labels: [...DIMS, "version"],
    value: "reconcilers",
    name: "${__field.labels.workload} ${__field.labels.version} (${__field.labels.environment} ${__field.labels.deployment_target})",
    stack: true,
    empty: "Nobody reported in this span of time.",
    ...more,
  });

const rolloutProgress = (more = {}) =>
  lines({
    title: "Rollout progress",
    description: "Reconcilers that succeeded at a version or past it, since it was scheduled.",
    url: view("rollout-progress"),
    params: TARGET,
    labels: [...DIMS, "version"],
    value: "succeeded",
    name: "${__field.labels.workload} ${__field.labels.version} (${__field.labels.environment} ${__field.labels.deployment_target})",
    empty: "No rollout in this span of time.",
    ...more,
  });

const rollouts = (more = {}) =>
  table({
    title: "Rollouts",
    description: "What was scheduled in this span of time, and how far it came: reconcilers by where they stand.",
    url: "/api/v1/rollouts",
    params: [...TARGET, ...RANGE],
    columns: [
      ...DIMS,
      "version",
      "verdict",
      "started_at",
      "completed_at",
      "total",
      "success",
      "failure",
      "in_progress",
      "behind",
      "silent",
      "never_reported",
      "commit",
    ],
    sort: [["started_at", true]],
    empty: "Nothing was rolled out in this span of time.",
    ...more,
  });

const drift = (more) =>
  table({
    url: view("drift"),
    columns: [
      ...DIMS,
      "host",
      "reconciler",
      "drift",
      "since",
      "desired_version",
      "deployed_version",
      "behind_by",
      "behind_seconds",
      "ring",
      "region",
    ],
    ...more,
  });

const hostState = (more) =>
  table({
    url: view("host-state"),
    columns: [
      "host",
      "reconciler",
      "reconciler_type",
      "workspace",
      "application",
      "environment",
      "workload",
      "deployment_target",
      "desired_version",
      "deployed_version",
      "status",
      "drift",
      "liveness",
      "commit",
      "deployed_at",
      "reported_at",
      "message",
    ],
    ...more,
  });

const deployments = dashboard({
  uid: "kalypso-deployments",
  title: "Deployments",
  description: "What should run where, what does, and where they differ.",
  variables: DIMS,
  rows: [
    [summary("Now", TILES)],
    [environmentState()],
    [
      matrix({
        title: "Environment discrepancies",
        description: "Versions that run, one column per environment; several versions with the number of reconcilers of each.",
        url: view("environment-matrix"),
        params: TARGET,
        row: "component",
        column: "environment",
        value: "deployed",
        mappings: [],
        empty: "No deployment target is known to the hub for this choice.",
        width: 14,
        height: 11,
      }),
      matrix({
        title: "State by environment",
        description: "How the same workloads stand: mixed means that a rollout is on its way.",
        url: view("environment-matrix"),
        params: TARGET,
        row: "component",
        column: "environment",
        value: "state",
        mappings: WORDS.state,
        cell: "color-text",
        empty: "No deployment target is known to the hub for this choice.",
        width: 10,
        height: 11,
      }),
    ],
    [
      table({
        title: "Discrepancies in numbers",
        description: "Per environment and version that runs: what is scheduled, how many run it, how many of them succeeded.",
        url: view("environment-discrepancies"),
        params: TARGET,
        columns: [
          "workload",
          "deployment_target",
          "environment",
          "desired_version",
          "deployed_version",
          { name: "reconcilers", link: ["Clusters", link("kalypso-cluster", Object.fromEntries(DIMS.map((d) => [d, d])))] },
          "successful",
          "workspace",
          "application",
        ],
        sort: [["workload"]],
        empty: "No deployment target is known to the hub for this choice.",
      }),
    ],
  ],
});

const application = dashboard({
  uid: "kalypso-application",
  title: "Application",
  description: "All workloads of an application across environments, and how they got there.",
  variables: DIMS,
  events: true,
  from: "now-7d",
  rows: [
    [summary("Now", TILES)],
    [
      matrix({
        title: "Workloads across environments",
        description: "Versions that run, one column per environment.",
        url: view("environment-matrix"),
        params: TARGET,
        row: "component",
        column: "environment",
        value: "deployed",
        mappings: [],
        empty: "This application has no deployment targets.",
        height: 8,
        width: 14,
      }),
      matrix({
        title: "State",
        description: "How they stand.",
        url: view("environment-matrix"),
        params: TARGET,
        row: "component",
        column: "environment",
        value: "state",
        mappings: WORDS.state,
        cell: "color-text",
        empty: "This application has no deployment targets.",
        height: 8,
        width: 10,
      }),
    ],
    [versionsOverTime()],
    [
      table({
        title: "History of the application",
        description: "What was scheduled in this span of time, the newest first, with the commit that asked for it.",
        url: view("application-history"),
        params: [...TARGET, ...RANGE],
        columns: [
          "assigned_at",
          "environment",
          "workload",
          "deployment_target",
          "version",
          "verdict",
          "completed_at",
          "total",
          "success",
          "failure",
          "rollback",
          "author",
          { name: "source_commit", link: ["Commit", "${__data.fields.source_repo}/commit/${__data.fields.source_commit.text}"] },
          { name: "commit", link: ["Commit", "${__data.fields.repo}/commit/${__data.fields.commit.text}"] },
          "pull_request",
          "workspace",
          "application",
          { name: "source_repo", hidden: true },
          { name: "repo", hidden: true },
        ],
        sort: [["assigned_at", true]],
        empty: "Nothing was scheduled in this span of time.",
        height: 10,
      }),
    ],
    [
      table({
        title: "History of the workloads",
        description: "Each version on its way through the environments.",
        url: view("workload-history"),
        params: [...by(...PLACE), ...RANGE],
        columns: [
          "workload",
          "version",
          "environment",
          "build",
          "build_time",
          "first_assigned_at",
          "completed_at",
          "targets",
          "complete",
          "failed",
          "success",
          "failure",
          "total",
          "author",
          "source_commit",
          "workspace",
          "application",
        ],
        sort: [["first_assigned_at", true]],
        empty: "No version was scheduled in this span of time.",
        height: 10,
      }),
    ],
  ],
});

const environment = dashboard({
  uid: "kalypso-environment",
  title: "Environment",
  description: "What came to an environment, when, and how far it got.",
  variables: DIMS,
  events: true,
  rows: [
    [summary("Now", TILES)],
    [
      table({
        title: "Targets",
        description: "Each deployment target and its reconcilers by how they stand.",
        url: view("target-health"),
        params: TARGET,
        columns: [
          ...DIMS,
          "desired_version",
          "verdict",
          "reconcilers",
          "in_sync",
          "progressing",
          "behind",
          "failing",
          "stalled",
          "silent",
          "missing",
          "assigned_at",
          "contact",
        ],
        sort: [["environment"]],
        empty: "No deployment target is known to the hub for this choice.",
      }),
    ],
    [rolloutProgress({ width: 12 }), versionsOverTime({ width: 12 })],
    [
      table({
        title: "Environment history",
        description: "Every GitOps commit deployed in this span of time; reconcilers by their last word on it.",
        url: view("environment-history"),
        params: [...TARGET, ...RANGE],
        columns: [
          "workspace",
          "application",
          "environment",
          "workload",
          "deployment_target",
          "last_deployed_at",
          "version",
          "commit",
          "success",
          "failure",
          "in_progress",
          "unknown",
          "rolled_back",
        ],
        sort: [["last_deployed_at", true]],
        empty: "Nothing was deployed in this span of time.",
        height: 11,
      }),
    ],
  ],
});

const cluster = dashboard({
  uid: "kalypso-cluster",
  title: "Cluster",
  description: "What runs on clusters, machines and devices, and what they said.",
  variables: [...DIMS, "host", "status"],
  rows: [
    [
      hostState({
        title: "Clusters state",
        description: "Each reconciler and the deployment target that it serves.",
        params: [...TARGET, ...by("host", "status")],
        sort: [["host"]],
        empty: "No reconciler reports for this choice.",
        height: 12,
      }),
    ],
    [
      table({
        title: "Clusters",
        description: "Labels, whom to ask, and when each was last heard.",
        url: "/api/v1/hosts",
        params: [...by("host"), is("limit", 1000)],
        columns: [
          "host",
          "liveness",
          "liveness_since",
          "cluster_type",
          "ring",
          "region",
          "contact",
          { name: "last_heard_at", title: "Last heard", type: "timestamp", unit: "dateTimeAsIso" },
          "labels",
        ],
        sort: [["host"]],
        empty: "The hub knows no such cluster.",
        height: 8,
      }),
    ],
    [
      drift({
        title: "Behind, failing, missing",
        description: "What is not as it should be. Missing: expected there, and nothing ever reported.",
        params: [...TARGET, ...by("host"), ...DRIFTED()],
        sort: [["since"]],
        empty: "All that is expected here runs as scheduled.",
        height: 9,
      }),
    ],
    [
      timeline({
        title: "Statuses over time",
        description: "What the reconcilers of the chosen clusters said. Choose a few clusters.",
        url: view("host-timeline"),
        params: by("host"),
        labels: ["host", "reconciler"],
        value: "code",
        name: "${__field.labels.host} ${__field.labels.reconciler}",
        mappings: WORDS.code,
        empty: "No report in this span of time.",
      }),
    ],
    [
      table({
        title: "Reports",
        description: "Changes of status in this span of time, the newest 500 of the chosen clusters.",
        url: "/api/v1/transitions",
        params: [...by("host", "status"), ...RANGE, is("limit", 500)],
        columns: ["reported_at", "host", "reconciler", "status", "commit", "message", "source"],
        sort: [["reported_at", true]],
        empty: "No report in this span of time.",
      }),
    ],
  ],
});

function DRIFTED() {
  return ["missing", "silent", "failing", "unknown_commit", "ahead", "stalled", "behind"].map((word) => is("drift", word));
}

const rollout = dashboard({
  uid: "kalypso-rollout",
  title: "Rollout",
  description: "How versions spread, who is left, and what checks say.",
  variables: [...DIMS, "version"],
  events: true,
  rows: [
    [
      summary("Rollouts now", [
        { name: "rollouts_in_progress", title: "In progress", steps: blue },
        { name: "rollouts_stalled", title: "Stalled", steps: orange },
        { name: "rollouts_failed", title: "Failed", steps: red },
        {
          name: "in_sync_percent",
          title: "Targets in sync",
          unit: "percent",
          decimals: 1,
          steps: [
            ["red", null],
            ["orange", 80],
            ["green", 99],
          ],
        },
      ]),
    ],
    [rollouts({ params: [...TARGET, ...by("version"), ...RANGE], height: 10 })],
    [rolloutProgress({ width: 24, params: [...TARGET, ...by("version")] })],
    [
      table({
        title: "Left behind",
        description: "Reconcilers that do not run what is scheduled.",
        url: view("drift"),
        params: [...TARGET, ...DRIFTED(), is("drift", "progressing")],
        columns: [
          "host",
          "reconciler",
          "environment",
          "workload",
          "deployment_target",
          "drift",
          "since",
          "desired_version",
          "deployed_version",
          "ring",
          "region",
          "workspace",
          "application",
        ],
        sort: [["since"]],
        empty: "Nobody is left behind.",
        width: 12,
      }),
      table({
        title: "How long it takes",
        description: "Complete rollouts per target, from schedule to the last reconciler.",
        url: view("rollout-durations"),
        params: TARGET,
        columns: [
          "environment",
          "workload",
          "deployment_target",
          "rollouts",
          "p50_seconds",
          "p90_seconds",
          "max_seconds",
          "workspace",
          "application",
        ],
        sort: [["p90_seconds", true]],
        empty: "No rollout was ever complete here.",
        width: 12,
      }),
    ],
    [
      table({
        title: "Verifications",
        description: "What smoke tests, load tests and boards said.",
        url: "/api/v1/rollouts/verifications",
        params: [...TARGET, ...by("version"), ...RANGE, is("limit", 500)],
        columns: [
          "reported_at",
          "name",
          "result",
          "current",
          "workload",
          "environment",
          "deployment_target",
          "version",
          "message",
          "reported_by",
          "workspace",
          "application",
        ],
        sort: [["reported_at", true]],
        empty: "Nobody verified anything in this span of time.",
        height: 7,
      }),
    ],
  ],
});

const fleet = dashboard({
  uid: "kalypso-fleet",
  title: "Fleet health",
  description: "Silence, drift and failures across all clusters.",
  variables: DIMS,
  rows: [
    [
      summary("Fleet now", [
        { name: "hosts", title: "Clusters" },
        { name: "reconcilers", title: "Reconcilers" },
        { name: "reconcilers_in_sync", title: "In sync" },
        { name: "failing_hosts", title: "Failing clusters", steps: red },
        { name: "drifted_hosts", title: "Drifted clusters", steps: orange },
        { name: "silent_hosts", title: "Silent clusters", steps: orange },
        { name: "missing_hosts", title: "Never reported", steps: orange },
        { name: "unknown_commits", title: "Unknown commits", steps: orange },
      ]),
    ],
    [
      lines({
        title: "Clusters by liveness",
        description: "Heard, late, silent, over time.",
        url: view("hosts-over-time"),
        params: [],
        labels: ["liveness"],
        value: "hosts",
        name: "${__field.labels.liveness}",
        colors: { online: "green", late: "yellow", silent: "red", retired: "text" },
        stack: true,
        width: 12,
        empty: "No cluster was heard in this span of time.",
      }),
      lines({
        title: "Changes of status",
        description: "Reports that changed something, by what they said.",
        url: view("transitions-over-time"),
        params: [],
        labels: ["status"],
        value: "transitions",
        name: "${__field.labels.status}",
        colors: { success: "green", failure: "red", in_progress: "blue", unknown: "orange" },
        stack: true,
        bars: true,
        width: 12,
        empty: "No report in this span of time.",
      }),
    ],
    [
      hostState({
        title: "Failures",
        description: "Reconcilers whose last word is a failure.",
        params: [...TARGET, is("status", "failure")],
        columns: [
          "host",
          "reconciler",
          "environment",
          "workload",
          "deployment_target",
          "desired_version",
          "deployed_version",
          "status",
          "reported_at",
          "message",
          "contact",
          "workspace",
          "application",
        ],
        sort: [["reported_at", true]],
        empty: "Nothing fails.",
      }),
    ],
    [
      drift({
        title: "Drift",
        description: "Not as scheduled, with the first rule that applies, the longest first.",
        params: [...TARGET, ...DRIFTED()],
        sort: [["since"]],
        empty: "Everything runs as scheduled.",
        height: 11,
      }),
    ],
    [
      table({
        title: "Silence",
        description: "Clusters not heard for too long. Silence is not failure: what runs there goes on running.",
        url: "/api/v1/hosts",
        params: [is("liveness", "silent"), is("liveness", "late"), is("limit", 1000)],
        columns: ["host", "liveness", "liveness_since", "cluster_type", "ring", "region", "contact"],
        sort: [["liveness_since"]],
        empty: "Every cluster was heard lately.",
      }),
    ],
  ],
});

const promotion = dashboard({
  uid: "kalypso-promotion",
  title: "Promotion and lead time",
  description: "How changes travel from one environment to the next, and how long they take.",
  variables: PLACE,
  from: "now-30d",
  rows: [
    [
      table({
        title: "Waiting for promotion",
        description: "Complete in one environment and not yet in the one that usually comes next.",
        url: view("promotion-waits"),
        params: by(...PLACE),
        columns: [
          "workload",
          "environment",
          "next_environment",
          "version",
          "waiting_seconds",
          "waiting_since",
          "source_commit",
          "contact",
          "workspace",
          "application",
        ],
        sort: [["waiting_seconds", true]],
        empty: "Nothing waits for promotion.",
      }),
    ],
    [
      table({
        title: "Promotions",
        description: "Each change and environment it came to: since when, how it went, how long it took.",
        url: "/api/v1/promotions",
        params: [...by(...PLACE), ...RANGE, is("limit", 500)],
        columns: [
          "assigned_at",
          "workload",
          "version",
          "environment",
          "verdict",
          "complete_at",
          "lead_seconds",
          "hop_seconds",
          "targets",
          "author",
          "source_commit",
          "workspace",
          "application",
        ],
        sort: [["assigned_at", true]],
        empty: "Nothing was promoted in this span of time.",
        height: 11,
      }),
    ],
    [
      table({
        title: "Delivery by week",
        description: "Rollouts, failures among them, lead time from build to complete, time to restore.",
        url: view("dora-metrics"),
        params: [...by(...PLACE), ...RANGE],
        columns: [
          "week",
          "workload",
          "environment",
          "rollouts",
          "completed",
          "failed",
          "change_failure_percent",
          "lead_p50_seconds",
          "lead_p90_seconds",
          "restore_p50_seconds",
          "workspace",
          "application",
        ],
        sort: [["week", true]],
        empty: "No rollout in this span of time.",
      }),
    ],
    [
      table({
        title: "How long rollouts take",
        description: "Complete rollouts per target, from schedule to the last reconciler.",
        url: view("rollout-durations"),
        params: by(...PLACE),
        columns: [
          "environment",
          "workload",
          "deployment_target",
          "rollouts",
          "p50_seconds",
          "p90_seconds",
          "max_seconds",
          "completed_at",
          "workspace",
          "application",
        ],
        sort: [["p90_seconds", true]],
        empty: "No rollout was ever complete here.",
      }),
    ],
  ],
});

/** Fixed statements: no variable ever becomes part of one. */
const sql = (statement) => ({ url: "/api/v1/sql", params: [is("q", statement), is("format", "json")] });

const hub = dashboard({
  uid: "kalypso-hub",
  title: "Hub",
  description: "The hub itself: what it hears, keeps and is asked.",
  rows: [
    [
      stats({
        title: "Generation",
        description: "What SQL and views show, and how far it lags behind what was acknowledged.",
        ...sql(
          "SELECT max(seq) AS seq, max(behind) AS behind, count(DISTINCT snapshot_id) AS held, sum(rows) AS rows FROM system.snapshots WHERE kind = 'generation'",
        ),
        columns: [
          { name: "seq", title: "Sequence" },
          { name: "behind", title: "Behind", steps: orange },
          { name: "held", title: "Generations held" },
          { name: "rows", title: "Rows", unit: "short" },
        ],
        empty: "The hub does not answer.",
      }),
    ],
    [
      table({
        title: "Sources",
        description: "Who speaks to the hub since it started, and what was refused.",
        ...sql("SELECT * FROM system.sources ORDER BY source"),
        columns: [
          "source",
          { name: "kind", title: "Kind" },
          { name: "accepted", title: "Accepted", type: "number", unit: "none" },
          { name: "unchanged", title: "Unchanged", type: "number", unit: "none" },
          {
            name: "rejected",
            title: "Rejected",
            type: "number",
            unit: "none",
            cell: "color-text",
            steps: [
              ["text", null],
              ["red", 1],
            ],
          },
          { name: "last_received_at", title: "Last received", type: "timestamp", unit: "dateTimeAsIso" },
          { name: "last_error_at", title: "Last error", type: "timestamp", unit: "dateTimeAsIso" },
          { name: "last_error", title: "Error", width: 320 },
        ],
        sort: [["source"]],
        empty: "No source has spoken yet.",
      }),
    ],
    [
      table({
        title: "Tables",
        description: "Rows of the newest generation and the export on disk.",
        ...sql(
          "SELECT table_name, kind, rows, files, bytes, taken_at FROM system.snapshots WHERE newest ORDER BY table_name, kind",
        ),
        columns: [
          { name: "table_name", title: "Table" },
          { name: "kind", title: "Kind" },
          { name: "rows", title: "Rows", type: "number", unit: "none" },
          { name: "files", title: "Files", type: "number", unit: "none" },
          { name: "bytes", title: "Size", type: "number", unit: "bytes" },
          { name: "taken_at", title: "Taken", type: "timestamp", unit: "dateTimeAsIso" },
        ],
        sort: [["table_name"]],
        empty: "No generation yet.",
        width: 12,
        height: 11,
      }),
      table({
        title: "Statements",
        description: "SQL that clients asked lately.",
        ...sql("SELECT started_at, duration_ms, rows, status, sql FROM system.queries ORDER BY started_at DESC LIMIT 100"),
        columns: [
          { name: "started_at", width: 180 },
          { name: "duration_ms", title: "Took", type: "number", unit: "ms", width: 90 },
          { name: "rows", title: "Rows", type: "number", unit: "none", width: 90 },
          { name: "status", title: "Outcome", mappings: WORDS.query, width: 100 },
          { name: "sql", title: "Statement" },
        ],
        sort: [["started_at", true]],
        empty: "Nobody asked anything yet.",
        width: 12,
        height: 11,
      }),
    ],
    [
      table({
        title: "Waiting for the gate",
        description: "Questions about rollouts that somebody waits for.",
        ...sql("SELECT question, waiting, verdict, due_at FROM system.gate ORDER BY question"),
        columns: [
          { name: "question", title: "Question" },
          { name: "waiting", title: "Clients", type: "number", unit: "none", width: 100 },
          "verdict",
          { name: "due_at", title: "Time may change it at", type: "timestamp", unit: "dateTimeAsIso" },
        ],
        sort: [["question"]],
        empty: "Nobody waits.",
        height: 7,
      }),
    ],
  ],
});

export const DASHBOARDS = [deployments, application, environment, cluster, rollout, fleet, promotion, hub];
