import { COLUMNS } from "../columns.mjs";
import { dashboard } from "../dashboard.mjs";
import { link } from "../links.mjs";
import { RANGE, table, TARGET } from "../panels.mjs";
import { DIMS, rolloutProgress, summary, TILES, versionsOverTime, view } from "../shared.mjs";

const TO_TARGET = Object.fromEntries(DIMS.map((name) => [name, name]));
/** Counts by status lead to the clusters that stand so now. */
const counts = ["success", "failure", "in_progress", "unknown"].map((status) => ({
  name: status,
  link: [`${COLUMNS[status].title} now`, link("kalypso-cluster", TO_TARGET, `&var-status=${status}`)],
}));

export default dashboard({
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
          "desired_version verdict reconcilers in_sync progressing behind failing stalled silent missing ahead unknown_commit assigned_at",
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
        absent: ["version"],
        params: [...TARGET, ...RANGE],
        columns: [
          "workspace application environment workload deployment_target last_deployed_at version commit",
          ...counts,
          "rolled_back",
        ],
        sort: [["last_deployed_at", true]],
        empty: "Nothing was deployed in this span of time.",
        height: 11,
      }),
    ],
  ],
});
