-- One row per assignment, all time: what was wanted where since when, where it came from, and how it spread. A rollback is a
-- version that the target had been assigned earlier, with another one in between.
WITH told AS (
  SELECT *,
         row_number() OVER (PARTITION BY target_no, version ORDER BY sequence) AS times,
         lag(version) OVER (PARTITION BY target_no ORDER BY sequence) AS version_before
  FROM assignments
)
SELECT a.workspace, a.application, a.environment, a.workload, a.deployment_target, a.version, v.build, v.build_time,
       v.source_repo, v.source_commit, commit_page(v.source_repo, v.source_commit) AS source_commit_url,
       t.repo, a.commit, commit_page(t.repo, a.commit) AS commit_url,
       a.author, a.pull_request, web_page(a.pull_request) AS pull_request_url, a.contact,
       a.assigned_at, a.ended_at, s.completed_at, s.verdict, s.total, s.success, s.failure, s.in_progress, s.behind, s.silent,
       a.times > 1 AND a.version_before <> a.version AS rollback, a.sequence
FROM told a
JOIN rollout_states s ON s.assignment_no = a.assignment_no
JOIN deployment_targets t ON t.target_no = a.target_no
LEFT JOIN workload_versions v ON v.workspace = a.workspace AND v.application = a.application
                             AND v.workload = a.workload AND v.version = a.version
