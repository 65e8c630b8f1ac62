import { WORDS } from "../columns.mjs";
import { dashboard } from "../dashboard.mjs";
import { by, matrix, RANGE, table, TARGET } from "../panels.mjs";
import { DIMS, PLACE, servedBy, summary, TILES, versionsOverTime, view } from "../shared.mjs";

export default dashboard({
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
    [servedBy()],
    [versionsOverTime()],
    [
      table({
        title: "History of the application",
        description: "What was scheduled in this span of time, the newest first, with the commit that asked for it.",
        url: view("application-history"),
        params: [...TARGET, ...RANGE],
        columns: [
          "assigned_at environment workload deployment_target version verdict completed_at total success failure rollback author",
          "source_commit commit pull_request workspace application",
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
          "workload version environment build build_time first_assigned_at completed_at targets complete failed success failure total author source_commit workspace application",
        ],
        sort: [["first_assigned_at", true]],
        empty: "No version was scheduled in this span of time.",
        height: 10,
      }),
    ],
  ],
});
