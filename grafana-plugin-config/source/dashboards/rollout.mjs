import { dashboard } from "../dashboard.mjs";
import { by, is, RANGE, table, TARGET } from "../panels.mjs";
import { blue, DIMS, DRIFTED, orange, red, rolloutProgress, rollouts, summary, view } from "../shared.mjs";

export default dashboard({
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
          decimals: 0,
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
        params: [...TARGET, ...DRIFTED, is("drift", "progressing")],
        columns: [
          "host reconciler environment workload deployment_target drift since desired_version deployed_version ring region workspace application",
        ],
        sort: [["since"]],
        empty: "Nobody is left behind.",
        width: 12,
      }),
      table({
        title: "How long it takes",
        description: "Complete rollouts per target, of all time, from schedule to the last reconciler.",
        url: view("rollout-durations"),
        params: TARGET,
        columns: ["environment workload deployment_target rollouts p50_seconds p90_seconds max_seconds workspace application"],
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
        absent: [...DIMS, "version"],
        params: [...TARGET, ...by("version"), ...RANGE, is("limit", 500)],
        columns: [
          { name: "reported_at", title: "Reported at" },
          "name result current workload environment deployment_target version message reported_by workspace application",
        ],
        sort: [["reported_at", true]],
        empty: "Nobody verified anything in this span of time.",
        height: 7,
      }),
    ],
  ],
});
