// What several dashboards show.

import { link } from "./links.mjs";
import { graph, is, lines, RANGE, stats, table, TARGET } from "./panels.mjs";

export const DIMS = ["workspace", "application", "workload", "environment", "deployment_target"];
export const PLACE = ["workspace", "application", "workload", "environment"];
export const view = (name) => `/api/v1/views/${name}`;

export const red = [
  ["green", null],
  ["red", 1],
];
export const orange = [
  ["green", null],
  ["orange", 1],
];
export const blue = [
  ["text", null],
  ["blue", 1],
];
export const to = (uid) => ["Details", `/d/${uid}?\${__all_variables}&\${__url_time_range}`];

export const summary = (title, columns, more = {}) =>
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
export const TILES = [
  {
    name: "in_sync_percent",
    title: "Targets in sync",
    unit: "percent",
    decimals: 0,
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

export const environmentState = (more = {}) =>
  table({
    title: "Environments state",
    description:
      "What should run and what does, per deployment target: a row for each version that runs there and each status.",
    url: view("environment-state"),
    params: TARGET,
    columns: [
      "workspace application environment workload deployment_target desired_version deployed_version status hosts silent reported_at contact",
    ],
    sort: [["environment"]],
    empty: "No deployment target is known to the hub for this choice.",
    height: 11,
    ...more,
  });

/** Nodes have the names that their links choose; what they are not about stays at All. */
export const servedBy = (more = {}) =>
  graph({
    title: "Who serves what",
    description:
      "From workloads over their deployment targets to the clusters that serve them; rings show how their reconcilers stand. Click a node for links.",
    params: TARGET,
    nodes: {
      url: view("graph-nodes"),
      columns: [
        { name: "id" },
        { name: "title" },
        { name: "subtitle" },
        { name: "main", as: "mainstat" },
        { name: "second", as: "secondarystat" },
      ],
    },
    edges: {
      url: view("graph-edges"),
      columns: [
        { name: "id" },
        { name: "source" },
        { name: "target" },
        { name: "main", as: "mainstat" },
        { name: "second", as: "secondarystat" },
      ],
    },
    arcs: [
      ["in_sync", "in sync", "green"],
      ["progressing", "progressing", "blue"],
      ["drifted", "drifted", "yellow"],
      ["failing", "failing", "red"],
      ["silent", "silent", "dark-orange"],
    ],
    names: [...DIMS, "host"],
    links: [
      ["Application", link("kalypso-application", Object.fromEntries(DIMS.slice(0, 3).map((d) => [d, d])))],
      ["Environment", link("kalypso-environment", Object.fromEntries(DIMS.map((d) => [d, d])))],
      ["Clusters", link("kalypso-cluster", Object.fromEntries([...DIMS, "host"].map((d) => [d, d])))],
    ],
    empty: "No deployment target is known to the hub for this choice.",
    ...more,
  });

export const versionsOverTime = (more = {}) =>
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

export const rolloutProgress = (more = {}) =>
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

export const rollouts = (more = {}) =>
  table({
    title: "Rollouts",
    description: "What was scheduled in this span of time, and how far it came: reconcilers by where they stand.",
    url: "/api/v1/rollouts",
    params: [...TARGET, ...RANGE],
    columns: [
      ...DIMS,
      "version verdict started_at completed_at total success failure in_progress behind silent never_reported commit",
    ],
    sort: [["started_at", true]],
    empty: "Nothing was rolled out in this span of time.",
    ...more,
  });

export const drift = (more) =>
  table({
    url: view("drift"),
    columns: [...DIMS, "host reconciler drift since desired_version deployed_version behind_by behind_seconds ring region"],
    ...more,
  });

export const hostState = (more) =>
  table({
    url: view("host-state"),
    absent: DIMS,
    columns: [
      "host reconciler reconciler_type workspace application environment workload deployment_target desired_version deployed_version status drift liveness commit deployed_at reported_at message",
    ],
    ...more,
  });

/** All that is not as scheduled. */
export const DRIFTED = ["missing", "silent", "failing", "unknown_commit", "ahead", "stalled", "behind"].map((word) =>
  is("drift", word),
);
