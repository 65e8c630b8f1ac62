-- One row per deployment target and reconciler, now, with the first rule of drift that applies; and one row (without a
-- reconciler) per host that is expected to serve a target and of which nothing ever reported for it.
SELECT workspace, application, environment, workload, deployment_target, host, reconciler, cluster_type, ring, region,
       drift, since, desired_version, deployed_version, behind_by, behind_seconds
FROM subscriptions
UNION ALL
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target, e.host, NULL, h.cluster_type, h.ring,
       h.region, 'missing', greatest(e.expected_since, t.first_declared_at), a.version, NULL, NULL, NULL
FROM expectations e
JOIN hosts h ON h.host_no = e.host_no AND h.retired_at IS NULL
JOIN deployment_targets t ON t.target_no = e.target_no AND t.retired_at IS NULL
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
WHERE NOT e.reported
