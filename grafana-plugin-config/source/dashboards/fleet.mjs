import { dashboard } from "../dashboard.mjs";
import { is, lines, table, TARGET } from "../panels.mjs";
import { DIMS, drift, DRIFTED, hostState, orange, red, summary, view } from "../shared.mjs";

export default dashboard({
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
        description: "Heard, late, silent, over time: all clusters, whatever is chosen above.",
        url: view("hosts-over-time"),
        params: [],
        labels: ["liveness"],
        value: "hosts",
        name: "${__field.labels.liveness}",
        colors: { online: "green", late: "yellow", silent: "red", unknown: "purple", retired: "text" },
        stack: true,
        width: 12,
        empty: "No cluster was heard in this span of time.",
      }),
      lines({
        title: "Changes of status",
        description: "Reports that changed something, by what they said: of all clusters, whatever is chosen above.",
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
          "host reconciler environment workload deployment_target desired_version deployed_version status reported_at message contact workspace application",
        ],
        sort: [["reported_at", true]],
        empty: "Nothing fails.",
      }),
    ],
    [
      drift({
        title: "Drift",
        description: "Not as scheduled, with the first rule that applies, the longest first.",
        params: [...TARGET, ...DRIFTED],
        sort: [["since"]],
        empty: "Everything runs as scheduled.",
        height: 11,
      }),
    ],
    [
      table({
        title: "Silence",
        description: "All clusters not heard for too long. Silence is not failure: what runs there goes on running.",
        url: "/api/v1/hosts",
        params: [is("liveness", "silent"), is("liveness", "late"), is("limit", 1000)],
        columns: ["host liveness liveness_since cluster_type ring region contact"],
        sort: [["liveness_since"]],
        empty: "Every cluster was heard lately.",
      }),
    ],
  ],
});
