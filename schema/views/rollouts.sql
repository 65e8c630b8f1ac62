-- One row per assignment: how it spread over the reconcilers that subscribe to its target, under the default policy.
SELECT s.workspace, s.application, s.environment, s.workload, s.deployment_target, s.version, s.commit,
       commit_page(t.repo, s.commit) AS commit_url, s.verdict, s.started_at, s.completed_at,
       coalesce(s.completed_at, a.ended_at) AS over_at, s.total, s.success, s.failure,
       s.in_progress, s.behind, s.silent, s.never_reported, s.retired
FROM rollout_states s
LEFT JOIN deployment_targets t ON t.target_no = s.target_no
LEFT JOIN assignments a ON a.assignment_no = s.assignment_no
