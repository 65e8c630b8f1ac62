-- One row per source commit of a workload (per version where no source commit is known) and environment that it was assigned in:
-- when it came there, whether and when it was complete, and how long that took. Of each target counts the newest assignment of
-- the commit: one that came back has one verdict; a retired target counts where no living one is left. Times from build to complete and from one environment to the next are whole
-- seconds.
WITH assigned AS (
  SELECT a.workspace, a.application, a.workload, a.environment, a.deployment_target, a.target_no, a.sequence, a.version,
         a.assigned_at, a.author, a.contact, v.source_repo, v.source_commit, v.build_time,
         coalesce('commit ' || v.source_commit, 'version ' || a.version) AS change, s.verdict, s.completed_at,
         CASE WHEN t.retired_at IS NULL THEN 1 ELSE 0 END AS lives
  FROM rollout_states s
  JOIN assignments a ON a.assignment_no = s.assignment_no
  LEFT JOIN deployment_targets t ON t.target_no = a.target_no
  LEFT JOIN workload_versions v ON v.workspace = a.workspace AND v.application = a.application
                               AND v.workload = a.workload AND v.version = a.version
),
ranked AS (
  SELECT *,
         row_number() OVER (PARTITION BY target_no, change ORDER BY sequence DESC) AS back_on_target,
         row_number() OVER (PARTITION BY workspace, application, workload, environment, change
                            ORDER BY assigned_at DESC, deployment_target DESC) AS back_here,
         max(lives) OVER (PARTITION BY workspace, application, workload, environment, change) AS any_lives
  FROM assigned
),
environments AS (
  SELECT workspace, application, workload, environment, change, min(source_commit) AS source_commit,
         max(CASE WHEN back_here = 1 THEN commit_page(source_repo, source_commit) END) AS source_commit_url,
         -- To the millisecond, as answers show it, for pages go on from what was shown.
         date_trunc('millisecond', min(assigned_at)) AS assigned_at,
         min(build_time) AS build_time, count(DISTINCT target_no) AS targets,
         max(CASE WHEN back_here = 1 THEN version END) AS version,
         max(CASE WHEN back_here = 1 THEN author END) AS author,
         max(CASE WHEN back_here = 1 THEN contact END) AS contact,
         max(CASE WHEN back_on_target = 1 AND lives = any_lives THEN completed_at END) AS last_completed_at,
         min(CASE WHEN back_on_target > 1 OR lives < any_lives THEN NULL
                  WHEN verdict = 'superseded' THEN 1
                  WHEN verdict = 'failed' THEN 2
                  WHEN verdict = 'stalled' THEN 3
                  WHEN verdict = 'in_progress' THEN 4
                  ELSE 5 END) AS worst
  FROM ranked
  GROUP BY workspace, application, workload, environment, change
),
travelled AS (
  SELECT *, CASE WHEN worst = 5 THEN last_completed_at END AS complete_at,
         min(assigned_at) OVER (PARTITION BY workspace, application, workload, change) AS first_assigned_at,
         min(build_time) OVER (PARTITION BY workspace, application, workload, change) AS built_at
  FROM environments
),
compared AS (
  SELECT *, date_part('epoch', complete_at) AS complete_second,
         date_part('epoch', CASE WHEN built_at <= first_assigned_at THEN built_at ELSE first_assigned_at END) AS first_second,
         date_part('epoch', lag(complete_at) OVER (PARTITION BY workspace, application, workload, change
                                                   ORDER BY assigned_at, environment)) AS before_second
  FROM travelled
)
SELECT workspace, application, workload, source_commit, source_commit_url, version, environment, assigned_at, complete_at,
       CAST(complete_second - first_second AS BIGINT) AS lead_seconds,
       CAST(complete_second - before_second AS BIGINT) AS hop_seconds,
       CASE worst WHEN 1 THEN 'superseded' WHEN 2 THEN 'failed' WHEN 3 THEN 'stalled' WHEN 4 THEN 'in_progress'
                  ELSE 'complete' END AS verdict,
       author, targets, contact
FROM compared
