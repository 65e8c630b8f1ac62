import { WORDS } from "../columns.mjs";
import { dashboard } from "../dashboard.mjs";
import { link } from "../links.mjs";
import { matrix, table, TARGET } from "../panels.mjs";
import { DIMS, environmentState, summary, TILES, view } from "../shared.mjs";

export default dashboard({
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
        description: "How the same workloads stand, by the worst of their clusters.",
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
          "workload deployment_target environment desired_version deployed_version",
          { name: "reconcilers", link: ["Clusters", link("kalypso-cluster", Object.fromEntries(DIMS.map((d) => [d, d])))] },
          "successful workspace application",
        ],
        sort: [["workload"]],
        empty: "No deployment target is known to the hub for this choice.",
      }),
    ],
  ],
});
