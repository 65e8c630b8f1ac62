-- One row per stretch of one status of a reconciler on a target, and (with an empty reconciler) per stretch of one liveness of a
-- host. Numbers stand beside the words, for graphs that want a number.
WITH changes AS (
  SELECT host, reconciler, manifests_endpoint, commit, status, reported_at,
         lead(reported_at) OVER (PARTITION BY host, reconciler ORDER BY reported_at, seq) AS ended_at
  FROM transitions
)
SELECT r.reported_at AS time, r.ended_at, r.host, r.reconciler, c.workspace, c.application, c.environment, c.workload,
       c.deployment_target, c.version, r.status,
       CASE r.status WHEN 'success' THEN 1 WHEN 'in_progress' THEN 2 WHEN 'failure' THEN 3 ELSE 4 END AS code
FROM changes r
LEFT JOIN assignment_commits c ON c.manifests_endpoint = r.manifests_endpoint AND c.commit = r.commit
UNION ALL
SELECT started_at, ended_at, host, '', NULL, NULL, NULL, NULL, NULL, NULL, liveness,
       CASE liveness WHEN 'online' THEN 5 WHEN 'late' THEN 6 WHEN 'silent' THEN 7 WHEN 'retired' THEN 8 ELSE 4 END
FROM host_transitions
