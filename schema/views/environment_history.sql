-- One row per deployment target and GitOps commit deployed there, all time, also by reconcilers that are retired.
-- The counts are reconcilers by their last word on that commit.
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       c.version, e.commit, commit_page(t.repo, e.commit) AS commit_url, a.assigned_at, e.first_deployed_at, e.last_deployed_at,
       e.success, e.failure, e.in_progress, e.unknown, e.rollbacks > 0 AS rolled_back
FROM assignment_commits c
JOIN endpoint_commits e ON e.endpoint_no = c.endpoint_no AND e.commit_no = c.commit_no
JOIN assignments a ON a.assignment_no = c.assignment_no
JOIN deployment_targets t ON t.target_no = c.target_no
