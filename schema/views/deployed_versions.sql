-- One row per deployment target, deployed version and status, now, as in environment_state but without hosts: to count different hosts
-- costs several times what all the rest does. A target nobody subscribes to has one row with reconcilers = 0 and null status.
-- The fleet stands on the right of every join, which an engine lets pass by.
WITH placed AS (
  SELECT t.target_no, r.commit_no, r.status
  FROM deployment_targets t
  JOIN reconcilers r ON r.endpoint_no = t.endpoint_no
  WHERE t.retired_at IS NULL AND r.retired_at IS NULL
),
running AS (
  SELECT p.target_no, c.version AS deployed_version, p.status, count(*) AS reconcilers
  FROM running_commits c
  RIGHT JOIN placed p ON c.target_no = p.target_no AND c.commit_no = p.commit_no
  GROUP BY p.target_no, c.version, p.status
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       a.version AS desired_version, s.deployed_version, s.status, coalesce(s.reconcilers, 0) AS reconcilers
FROM deployment_targets t
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
LEFT JOIN running s ON s.target_no = t.target_no
WHERE t.retired_at IS NULL
