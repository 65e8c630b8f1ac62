-- One row per version of a workload and environment that it was assigned in, all time. Of each target counts the newest
-- assignment of the version.
WITH ranked AS (
  SELECT *, row_number() OVER (PARTITION BY workspace, application, workload, environment, deployment_target, version
                               ORDER BY sequence DESC) AS back
  FROM application_history
)
SELECT workspace, application, workload, version, environment, max(build) AS build, max(build_time) AS build_time,
       max(source_repo) AS source_repo, max(source_commit) AS source_commit, max(source_commit_url) AS source_commit_url,
       max(CASE WHEN back = 1 THEN author END) AS author,
       min(assigned_at) AS first_assigned_at, max(assigned_at) AS last_assigned_at,
       CASE WHEN sum(CASE WHEN back = 1 AND completed_at IS NULL THEN 1 ELSE 0 END) = 0 THEN max(completed_at) END AS completed_at,
       sum(CASE WHEN back = 1 THEN 1 ELSE 0 END) AS targets,
       sum(CASE WHEN back = 1 AND ended_at IS NULL THEN 1 ELSE 0 END) AS wanted,
       sum(CASE WHEN back = 1 AND verdict = 'complete' THEN 1 ELSE 0 END) AS complete,
       sum(CASE WHEN back = 1 AND verdict = 'failed' THEN 1 ELSE 0 END) AS failed,
       sum(CASE WHEN back = 1 THEN total ELSE 0 END) AS total,
       sum(CASE WHEN back = 1 THEN success ELSE 0 END) AS success,
       sum(CASE WHEN back = 1 THEN failure ELSE 0 END) AS failure
FROM ranked
GROUP BY workspace, application, workload, version, environment
