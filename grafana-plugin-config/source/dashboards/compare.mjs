import { link } from "../links.mjs";
import { by, is, table } from "../panels.mjs";
import { dashboard } from "../dashboard.mjs";
import { view } from "../shared.mjs";

const VARIABLES = ["workspace", "application", "workload", "environment", "other_environment"];
const SIDES =
  "workload environment other_environment difference desired other_desired deployed other_deployed state other_state";
const clusters = (environment) => ({
  link: [
    "Clusters",
    link("kalypso-cluster", { workspace: "workspace", application: "application", workload: "workload", environment }),
  ],
});
const COUNTS = [
  "in_sync",
  { name: "reconcilers", ...clusters("environment") },
  "other_in_sync",
  { name: "other_reconcilers", ...clusters("other_environment") },
  "assigned_at other_assigned_at workspace application",
];

const compared = (more) =>
  table({
    url: view("environment-comparison"),
    ...more,
    params: [...by(...VARIABLES), ...more.params],
    columns: [SIDES, ...COUNTS],
    sort: [["workload"]],
  });

export default dashboard({
  uid: "kalypso-compare",
  title: "Compare environments",
  description: "Two environments side by side: what is scheduled, what runs, and by how many reconcilers.",
  variables: VARIABLES,
  required: ["environment"],
  rows: [
    [
      compared({
        title: "What differs",
        description:
          "Workloads of which other versions are scheduled, or of which the same are and others run, or that only one of both has. Several versions are listed with on how many targets or reconcilers.",
        params: ["scheduled", "deployed", "only_here", "only_there"].map((word) => is("difference", word)),
        empty: "Nothing differs: the same versions are scheduled and run. Or only one environment is chosen.",
        height: 10,
      }),
    ],
    [
      compared({
        title: "What is the same",
        description: "Workloads of which the same versions are scheduled and run, also if by other numbers of reconcilers.",
        params: [is("difference", "same")],
        empty: "No workload is at the same versions in both.",
        height: 8,
      }),
    ],
    [
      table({
        title: "On its way from here to there",
        description: "Changes that are complete in the environment and not in the one it is compared with.",
        url: view("promotion-waits"),
        params: [
          ...by("workspace", "application", "workload", "environment"),
          { key: "next_environment", value: "${other_environment:json}" },
        ],
        columns: [
          "workload environment next_environment version waiting waiting_seconds waiting_since source_commit contact workspace application",
        ],
        sort: [["waiting_seconds", true]],
        empty: "All that is complete here is complete there too.",
        height: 7,
      }),
    ],
  ],
});
