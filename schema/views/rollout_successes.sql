-- One row per assignment and reconciler that succeeded at one of its commits, from the first success until the assignment ended;
-- and one row without a start per assignment, so that one at which nobody succeeded is there. `total` is how many its rollout counts.
WITH succeeded AS (
  SELECT c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version, c.assignment_no,
         r.reconciler_no, min(r.reported_at) AS succeeded_at
  FROM assignment_commits c
  JOIN transitions r ON r.manifests_endpoint = c.manifests_endpoint AND r.commit = c.commit
  WHERE r.status = 'success'
  GROUP BY c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version, c.assignment_no, r.reconciler_no
)
SELECT r.workspace, r.application, r.environment, r.workload, r.deployment_target, r.version, s.total, r.reconciler_no,
       greatest(r.succeeded_at, a.assigned_at) AS started_at, a.ended_at
FROM succeeded r
JOIN assignments a ON a.assignment_no = r.assignment_no
JOIN rollout_states s ON s.assignment_no = r.assignment_no
UNION ALL
SELECT s.workspace, s.application, s.environment, s.workload, s.deployment_target, s.version, s.total, NULL, NULL, a.ended_at
FROM rollout_states s
JOIN assignments a ON a.assignment_no = s.assignment_no
