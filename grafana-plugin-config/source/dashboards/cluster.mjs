import { WORDS } from "../columns.mjs";
import { dashboard } from "../dashboard.mjs";
import { by, is, RANGE, table, TARGET, timeline } from "../panels.mjs";
import { DIMS, drift, DRIFTED, hostState, view } from "../shared.mjs";

export default dashboard({
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
        description: "Labels, whom to ask, and when each was last heard. Only the choice of clusters matters here.",
        url: "/api/v1/hosts",
        params: [...by("host"), is("limit", 1000)],
        columns: [
          "host liveness liveness_since cluster_type ring region contact",
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
        params: [...TARGET, ...by("host"), ...DRIFTED],
        sort: [["since"]],
        empty: "All that is expected here runs as scheduled.",
        height: 9,
      }),
    ],
    [
      timeline({
        title: "Statuses over time",
        description:
          "What the reconcilers of this choice said, and, where no target is chosen, whether the clusters were heard. Choose a few clusters.",
        url: view("host-timeline"),
        params: [...TARGET, ...by("host")],
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
        description: "What changed in this span of time: the newest 500 changes of status or commit for this choice.",
        url: view("reports"),
        absent: [...DIMS, "version"],
        params: [...TARGET, ...by("host", "status"), ...RANGE, is("limit", 500)],
        columns: [
          { name: "reported_at", title: "Reported at" },
          "host reconciler status environment workload deployment_target version commit message source",
        ],
        sort: [["reported_at", true]],
        empty: "No report in this span of time.",
      }),
    ],
  ],
});
