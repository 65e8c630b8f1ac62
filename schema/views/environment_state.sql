-- One row per deployment target, deployed version and status, now. A target nobody subscribes to has one row with
-- reconcilers = 0 and null status. deployed_version is null where the commit that runs is unexplained.
WITH running AS (
  SELECT t.target_no, c.version AS deployed_version, r.status,
         count(*) AS reconcilers, count(DISTINCT r.host_no) AS hosts,
         sum(CASE WHEN r.liveness = 'silent' THEN 1 ELSE 0 END) AS silent, max(r.reported_at) AS reported_at
  FROM reconcilers r
  JOIN deployment_targets t ON t.endpoint_no = r.endpoint_no AND t.retired_at IS NULL
  LEFT JOIN running_commits c ON c.target_no = t.target_no AND c.commit_no = r.commit_no
  WHERE r.retired_at IS NULL
  GROUP BY t.target_no, c.version, r.status
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       a.version AS desired_version, a.commit AS desired_commit, s.deployed_version, s.status,
       coalesce(s.reconcilers, 0) AS reconcilers, coalesce(s.hosts, 0) AS hosts, coalesce(s.silent, 0) AS silent,
       a.assigned_at, s.reported_at, a.author, a.contact
FROM deployment_targets t
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
LEFT JOIN running s ON s.target_no = t.target_no
WHERE t.retired_at IS NULL
