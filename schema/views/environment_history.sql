-- One row per deployment target and GitOps commit deployed there, all time, also by reconcilers that are retired.
-- A commit that no assignment of the target explains is shown (with null version) if it was deployed, or still spoken of,
-- while the target was at that endpoint.
WITH stays AS (
  SELECT target_no, endpoint_no, min(assigned_at) AS arrived_at,
         CASE WHEN count(ended_at) = count(*) THEN max(ended_at) END AS left_at
  FROM assignments
  GROUP BY target_no, endpoint_no
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       c.version, e.commit, a.assigned_at, e.first_deployed_at, e.last_deployed_at,
       e.success, e.failure, e.in_progress, e.unknown, e.rollbacks > 0 AS rolled_back
FROM stays p
JOIN deployment_targets t ON t.target_no = p.target_no
JOIN endpoint_commits e ON e.endpoint_no = p.endpoint_no
LEFT JOIN assignment_commits c
       ON c.target_no = p.target_no AND c.endpoint_no = p.endpoint_no AND c.commit_no = e.commit_no
LEFT JOIN assignments a ON a.assignment_no = c.assignment_no
WHERE e.first_deployed_at IS NOT NULL
  AND (c.assignment_no IS NOT NULL
       OR (e.last_reported_at >= p.arrived_at AND (p.left_at IS NULL OR e.first_deployed_at < p.left_at)))
