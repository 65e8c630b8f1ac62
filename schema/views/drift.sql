-- One row per deployment target and reconciler, now, with the first rule of drift that applies; and one row (without a
-- reconciler) per host that is expected to serve a target and has no living reconciler there.
SELECT workspace, application, environment, workload, deployment_target, host, reconciler, cluster_type, ring, region,
       drift, since, desired_version, deployed_version, behind_by, behind_seconds
FROM subscriptions
UNION ALL
SELECT w.workspace, w.application, e.environment, e.workload, e.deployment_target, e.host, NULL, h.cluster_type, h.ring,
       h.region, 'missing', greatest(e.expected_since, w.first_declared_at), w.version, NULL, NULL, NULL
FROM expectations e
JOIN hosts h ON h.host_no = e.host_no AND h.retired_at IS NULL
LEFT JOIN (
  SELECT t.endpoint_no, t.workspace, t.application, t.workload, t.environment, t.deployment_target, t.first_declared_at,
         a.version
  FROM deployment_targets t
  LEFT JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
  WHERE t.retired_at IS NULL
) w ON w.workload = e.workload AND w.environment = e.environment AND w.deployment_target = e.deployment_target
WHERE NOT EXISTS (
  SELECT 1 FROM reconcilers r
  WHERE r.host_no = e.host_no AND r.endpoint_no = w.endpoint_no AND r.retired_at IS NULL
)
