import { dashboard } from "../dashboard.mjs";
import { by, is, RANGE, table } from "../panels.mjs";
import { PLACE, view } from "../shared.mjs";

export default dashboard({
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
        params: [...by(...PLACE), is("usual", true)],
        columns: [
          "workload environment next_environment version waiting waiting_seconds waiting_since source_commit contact workspace application",
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
          "assigned_at workload version environment verdict complete_at lead_seconds hop_seconds targets author source_commit workspace application",
        ],
        sort: [["assigned_at", true]],
        empty: "Nothing was promoted in this span of time.",
        height: 11,
      }),
    ],
    [
      table({
        title: "Delivery by week",
        description:
          "Weeks that begin in this span of time: rollouts, failures among them, lead time from build to complete, time to restore.",
        url: view("dora-metrics"),
        params: [...by(...PLACE), ...RANGE],
        columns: [
          "week workload environment rollouts completed failed change_failure_percent lead_p50_seconds lead_p90_seconds restore_p50_seconds workspace application",
        ],
        sort: [["week", true]],
        empty: "No week with a rollout begins in this span of time.",
      }),
    ],
    [
      table({
        title: "How long rollouts take",
        description: "Complete rollouts per target, of all time, from schedule to the last reconciler.",
        url: view("rollout-durations"),
        params: by(...PLACE),
        columns: [
          "environment workload deployment_target rollouts p50_seconds p90_seconds max_seconds completed_at workspace application",
        ],
        sort: [["p90_seconds", true]],
        empty: "No rollout was ever complete here.",
      }),
    ],
  ],
});
