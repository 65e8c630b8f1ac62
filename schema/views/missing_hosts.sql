-- One row per host and living deployment target that it is expected to serve, and of which nothing ever reported for it.
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target, e.host, h.cluster_type, h.ring, h.region,
       greatest(e.expected_since, t.first_declared_at) AS since, a.version AS desired_version, e.host_no, e.target_no
FROM expectations e
JOIN hosts h ON h.host_no = e.host_no AND h.retired_at IS NULL
JOIN deployment_targets t ON t.target_no = e.target_no AND t.retired_at IS NULL
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
WHERE NOT e.reported
