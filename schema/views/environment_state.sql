-- One row per deployment target, deployed version and status, now. A target nobody subscribes to has one row with
-- reconcilers = 0 and null status. deployed_version is null where the commit that runs is unexplained.
-- The fleet stands on the right of every join, which an engine lets pass by, and hosts are counted by grouping twice, for sets of them
-- would be kept in memory.
WITH placed AS (
  SELECT t.target_no, r.host_no, r.commit_no, r.status, r.liveness, r.reported_at
  FROM deployment_targets t
  JOIN reconcilers r ON r.endpoint_no = t.endpoint_no
  WHERE t.retired_at IS NULL AND r.retired_at IS NULL
),
by_host AS (
  SELECT p.target_no, c.version AS deployed_version, p.status, p.host_no, count(*) AS reconcilers,
         sum(CASE WHEN p.liveness = 'silent' THEN 1 ELSE 0 END) AS silent, max(p.reported_at) AS reported_at
  FROM running_commits c
  RIGHT JOIN placed p ON c.target_no = p.target_no AND c.commit_no = p.commit_no
  GROUP BY p.target_no, c.version, p.status, p.host_no
),
running AS (
  SELECT target_no, deployed_version, status, sum(reconcilers) AS reconcilers, count(*) AS hosts, sum(silent) AS silent,
         max(reported_at) AS reported_at
  FROM by_host
  GROUP BY target_no, deployed_version, status
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       a.version AS desired_version, a.commit AS desired_commit, s.deployed_version, s.status,
       coalesce(s.reconcilers, 0) AS reconcilers, coalesce(s.hosts, 0) AS hosts, coalesce(s.silent, 0) AS silent,
       a.assigned_at, s.reported_at, a.author, a.contact
FROM deployment_targets t
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
LEFT JOIN running s ON s.target_no = t.target_no
WHERE t.retired_at IS NULL
