-- One row per workload and ordered pair of environments of which at least one has it, now: what is wanted and what runs on either
-- side. Several versions are listed with on how many targets or reconcilers, the commonest first; more than three are counted.
WITH versions AS (
  SELECT workspace, application, workload, environment, true AS wanted, desired_version AS version, count(*) AS times
  FROM target_health
  GROUP BY workspace, application, workload, environment, desired_version
  UNION ALL
  SELECT workspace, application, workload, environment, false, coalesce(deployed_version, 'unexplained'), sum(reconcilers)
  FROM environment_state
  WHERE reconcilers > 0
  GROUP BY workspace, application, workload, environment, coalesce(deployed_version, 'unexplained')
),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY workspace, application, workload, environment, wanted
                               ORDER BY times DESC, version) AS place,
         count(*) OVER (PARTITION BY workspace, application, workload, environment, wanted) AS versions
  FROM versions
),
listed AS (
  SELECT workspace, application, workload, environment, wanted, max(versions) AS versions,
         max(CASE WHEN place = 1 THEN told END)
           || coalesce(', ' || max(CASE WHEN place = 2 THEN told END), '')
           || coalesce(', ' || max(CASE WHEN place = 3 THEN told END), '')
           || CASE WHEN max(versions) > 3 THEN ' +' || (max(versions) - 3) ELSE '' END AS told
  FROM (SELECT *, CASE WHEN versions = 1 THEN version ELSE version || ' (' || times || ')' END AS told FROM ranked)
  GROUP BY workspace, application, workload, environment, wanted
),
told AS (
  SELECT workspace, application, workload, environment,
         max(CASE WHEN wanted THEN told END) AS desired, max(CASE WHEN NOT wanted THEN told END) AS deployed,
         coalesce(max(CASE WHEN wanted THEN versions END), 0) AS desired_versions,
         coalesce(max(CASE WHEN NOT wanted THEN versions END), 0) AS deployed_versions
  FROM listed
  GROUP BY workspace, application, workload, environment
),
-- How many versions two environments have in common.
common AS (
  SELECT a.workspace, a.application, a.workload, a.environment, b.environment AS other_environment,
         sum(CASE WHEN a.wanted THEN 1 ELSE 0 END) AS desired_versions,
         sum(CASE WHEN a.wanted THEN 0 ELSE 1 END) AS deployed_versions
  FROM versions a
  JOIN versions b ON b.workspace = a.workspace AND b.application = a.application AND b.workload = a.workload
                 AND b.wanted = a.wanted AND b.version = a.version
  GROUP BY a.workspace, a.application, a.workload, a.environment, b.environment
),
served AS (
  SELECT workspace, application, workload, environment, count(DISTINCT host) AS hosts,
         count(DISTINCT CASE WHEN drift = 'in_sync' THEN host END) AS hosts_in_sync
  FROM drift
  WHERE workspace IS NOT NULL
  GROUP BY workspace, application, workload, environment
),
health AS (
  SELECT workspace, application, workload, environment, count(*) AS targets, max(assigned_at) AS assigned_at,
         CASE min(CASE state WHEN 'failing' THEN 1 WHEN 'stalled' THEN 2 WHEN 'drifted' THEN 3 WHEN 'progressing' THEN 4
                             WHEN 'silent' THEN 5 WHEN 'in_sync' THEN 6 ELSE 7 END)
           WHEN 1 THEN 'failing' WHEN 2 THEN 'stalled' WHEN 3 THEN 'drifted' WHEN 4 THEN 'progressing'
           WHEN 5 THEN 'silent' WHEN 6 THEN 'in_sync' ELSE 'nobody' END AS state
  FROM target_health
  GROUP BY workspace, application, workload, environment
),
sides AS (
  SELECT h.*, t.desired, t.deployed, t.desired_versions, t.deployed_versions,
         coalesce(s.hosts, 0) AS hosts, coalesce(s.hosts_in_sync, 0) AS hosts_in_sync
  FROM health h
  JOIN told t ON t.workspace = h.workspace AND t.application = h.application AND t.workload = h.workload
             AND t.environment = h.environment
  LEFT JOIN served s ON s.workspace = h.workspace AND s.application = h.application AND s.workload = h.workload
                    AND s.environment = h.environment
),
environments AS (
  SELECT DISTINCT environment FROM deployment_targets WHERE retired_at IS NULL
),
pairs AS (
  SELECT h.workspace, h.application, h.workload, h.environment, e.environment AS other_environment
  FROM health h CROSS JOIN environments e WHERE e.environment <> h.environment
  UNION
  SELECT h.workspace, h.application, h.workload, e.environment, h.environment
  FROM health h CROSS JOIN environments e WHERE e.environment <> h.environment
)
SELECT p.workspace, p.application, p.workload, p.environment, p.other_environment,
       CASE
         WHEN b.environment IS NULL THEN 'only_here'
         WHEN a.environment IS NULL THEN 'only_there'
         WHEN a.desired_versions <> coalesce(c.desired_versions, 0) OR b.desired_versions <> coalesce(c.desired_versions, 0)
           THEN 'scheduled'
         WHEN a.deployed_versions <> coalesce(c.deployed_versions, 0) OR b.deployed_versions <> coalesce(c.deployed_versions, 0)
           THEN 'deployed'
         ELSE 'same'
       END AS difference,
       a.desired, b.desired AS other_desired, a.deployed, b.deployed AS other_deployed,
       a.state, b.state AS other_state, a.assigned_at, b.assigned_at AS other_assigned_at,
       coalesce(a.targets, 0) AS targets, coalesce(b.targets, 0) AS other_targets,
       coalesce(a.hosts, 0) AS hosts, coalesce(b.hosts, 0) AS other_hosts,
       coalesce(a.hosts_in_sync, 0) AS hosts_in_sync, coalesce(b.hosts_in_sync, 0) AS other_hosts_in_sync
FROM pairs p
LEFT JOIN sides a ON a.workspace = p.workspace AND a.application = p.application AND a.workload = p.workload
                 AND a.environment = p.environment
LEFT JOIN sides b ON b.workspace = p.workspace AND b.application = p.application AND b.workload = p.workload
                 AND b.environment = p.other_environment
LEFT JOIN common c ON c.workspace = p.workspace AND c.application = p.application AND c.workload = p.workload
                  AND c.environment = p.environment AND c.other_environment = p.other_environment
