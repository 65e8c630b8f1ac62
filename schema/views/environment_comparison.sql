-- One row per workload and ordered pair of environments of which at least one has it, now: what is wanted and what runs on either
-- side. Several versions are listed with on how many targets or reconcilers, the commonest first; more than three are counted.
-- Each side is read once and given to all pairs that it is in, for an engine reads a part of a statement anew wherever it is named.
WITH versions AS (
  SELECT t.workspace, t.application, t.workload, t.environment, true AS wanted, a.version, count(*) AS times
  FROM deployment_targets t
  JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
  WHERE t.retired_at IS NULL
  GROUP BY t.workspace, t.application, t.workload, t.environment, a.version
  UNION ALL
  SELECT workspace, application, workload, environment, false, coalesce(deployed_version, 'unexplained'), sum(reconcilers)
  FROM deployed_versions
  WHERE reconcilers > 0
  GROUP BY workspace, application, workload, environment, coalesce(deployed_version, 'unexplained')
),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY workspace, application, workload, environment, wanted
                               ORDER BY times DESC, version) AS place,
         count(*) OVER (PARTITION BY workspace, application, workload, environment, wanted) AS versions
  FROM versions
),
told AS (
  SELECT *, CASE WHEN versions = 1 THEN version ELSE version || ' (' || times || ')' END AS told FROM ranked
),
-- The text stands in the row of the commonest.
listed AS (
  SELECT workspace, application, workload, environment, wanted, version,
         CASE WHEN place = 1 THEN told
           || coalesce(', ' || lead(told, 1) OVER commonest_first, '')
           || coalesce(', ' || lead(told, 2) OVER commonest_first, '')
           || CASE WHEN versions > 3 THEN ' +' || (versions - 3) ELSE '' END
         END AS told
  FROM told
  WINDOW commonest_first AS (PARTITION BY workspace, application, workload, environment, wanted ORDER BY place)
),
health AS (
  SELECT workspace, application, workload, environment, count(*) AS targets, max(assigned_at) AS assigned_at,
         sum(reconcilers) AS reconcilers, sum(in_sync) AS in_sync,
         min(CASE state WHEN 'failing' THEN 1 WHEN 'stalled' THEN 2 WHEN 'drifted' THEN 3 WHEN 'progressing' THEN 4
                        WHEN 'silent' THEN 5 WHEN 'in_sync' THEN 6 ELSE 7 END) AS worst
  FROM target_health
  GROUP BY workspace, application, workload, environment
),
sides AS (
  SELECT l.workspace, l.application, l.workload, l.environment AS side, l.wanted, l.version, l.told,
         h.targets, h.targets > 0 AS lives, h.assigned_at, h.reconcilers, h.in_sync, h.worst
  FROM listed l
  JOIN health h ON h.workspace = l.workspace AND h.application = l.application AND h.workload = l.workload
               AND h.environment = l.environment
),
-- Every living environment, as the one that a side is compared with and as the one that is compared with it.
others AS (
  SELECT environment, count(*) > 0 AS lives, true AS here FROM deployment_targets WHERE retired_at IS NULL GROUP BY environment
  UNION ALL
  SELECT environment, count(*) > 0, false FROM deployment_targets WHERE retired_at IS NULL GROUP BY environment
),
paired AS (
  SELECT s.*, o.here,
         CASE WHEN o.here THEN s.side ELSE o.environment END AS environment,
         CASE WHEN o.here THEN o.environment ELSE s.side END AS other_environment
  FROM sides s
  JOIN others o ON o.lives = s.lives AND o.environment <> s.side
),
-- Each version once, with the sides that it is on.
by_version AS (
  SELECT workspace, application, workload, environment, other_environment, wanted, version,
         sum(CASE WHEN here THEN 1 ELSE 0 END) AS on_this, sum(CASE WHEN here THEN 0 ELSE 1 END) AS on_other,
         max(CASE WHEN here THEN told END) AS told, max(CASE WHEN NOT here THEN told END) AS other_told,
         max(CASE WHEN here THEN worst END) AS worst, max(CASE WHEN NOT here THEN worst END) AS other_worst,
         max(CASE WHEN here THEN assigned_at END) AS assigned_at, max(CASE WHEN NOT here THEN assigned_at END) AS other_assigned_at,
         max(CASE WHEN here THEN targets ELSE 0 END) AS targets, max(CASE WHEN here THEN 0 ELSE targets END) AS other_targets,
         max(CASE WHEN here THEN reconcilers ELSE 0 END) AS reconcilers,
         max(CASE WHEN here THEN 0 ELSE reconcilers END) AS other_reconcilers,
         max(CASE WHEN here THEN in_sync ELSE 0 END) AS in_sync, max(CASE WHEN here THEN 0 ELSE in_sync END) AS other_in_sync
  FROM paired
  GROUP BY workspace, application, workload, environment, other_environment, wanted, version
),
compared AS (
  SELECT workspace, application, workload, environment, other_environment,
         sum(CASE WHEN wanted THEN on_this ELSE 0 END) AS wanted_here,
         sum(CASE WHEN wanted THEN on_other ELSE 0 END) AS wanted_there,
         sum(CASE WHEN wanted THEN 1 ELSE 0 END) AS wanted_anywhere,
         sum(CASE WHEN wanted THEN 0 ELSE on_this END) AS running_here,
         sum(CASE WHEN wanted THEN 0 ELSE on_other END) AS running_there,
         sum(CASE WHEN wanted THEN 0 ELSE 1 END) AS running_anywhere,
         max(CASE WHEN wanted THEN told END) AS desired, max(CASE WHEN wanted THEN other_told END) AS other_desired,
         max(CASE WHEN NOT wanted THEN told END) AS deployed, max(CASE WHEN NOT wanted THEN other_told END) AS other_deployed,
         max(worst) AS worst, max(other_worst) AS other_worst,
         max(assigned_at) AS assigned_at, max(other_assigned_at) AS other_assigned_at,
         max(targets) AS targets, max(other_targets) AS other_targets,
         max(reconcilers) AS reconcilers, max(other_reconcilers) AS other_reconcilers,
         max(in_sync) AS in_sync, max(other_in_sync) AS other_in_sync
  FROM by_version
  GROUP BY workspace, application, workload, environment, other_environment
)
SELECT workspace, application, workload, environment, other_environment,
       CASE
         WHEN wanted_there = 0 THEN 'only_here'
         WHEN wanted_here = 0 THEN 'only_there'
         WHEN wanted_here <> wanted_anywhere OR wanted_there <> wanted_anywhere THEN 'scheduled'
         WHEN running_here <> running_anywhere OR running_there <> running_anywhere THEN 'deployed'
         ELSE 'same'
       END AS difference,
       desired, other_desired, deployed, other_deployed,
       CASE worst WHEN 1 THEN 'failing' WHEN 2 THEN 'stalled' WHEN 3 THEN 'drifted' WHEN 4 THEN 'progressing'
                  WHEN 5 THEN 'silent' WHEN 6 THEN 'in_sync' WHEN 7 THEN 'nobody' END AS state,
       CASE other_worst WHEN 1 THEN 'failing' WHEN 2 THEN 'stalled' WHEN 3 THEN 'drifted' WHEN 4 THEN 'progressing'
                        WHEN 5 THEN 'silent' WHEN 6 THEN 'in_sync' WHEN 7 THEN 'nobody' END AS other_state,
       assigned_at, other_assigned_at, targets, other_targets, reconcilers, other_reconcilers, in_sync, other_in_sync
FROM compared
