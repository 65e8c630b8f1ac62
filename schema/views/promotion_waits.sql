-- One row per workload and ordered pair of its living environments of which something that is complete in the first waits for the
-- second: the change that has waited longest. A change is a source commit, or a version where none is known. What came into the
-- first environment later than what is wanted there now was taken back and does not wait; neither does what was there before
-- the newest change that the second has complete. `usual`: after the first, changes most often went to the second.
WITH moved AS (
  SELECT *, coalesce('commit ' || source_commit, 'version ' || version) AS change FROM promotions
),
living AS (
  SELECT DISTINCT workspace, application, workload, environment FROM deployment_targets WHERE retired_at IS NULL
),
hops AS (
  SELECT workspace, application, workload, environment AS next_environment, assigned_at,
         lag(environment) OVER (PARTITION BY workspace, application, workload, change ORDER BY assigned_at, environment) AS environment
  FROM moved
),
ways AS (
  SELECT workspace, application, workload, environment, next_environment,
         row_number() OVER (PARTITION BY workspace, application, workload, environment
                            ORDER BY count(*) DESC, max(assigned_at) DESC, next_environment) AS place
  FROM hops
  WHERE environment IS NOT NULL
  GROUP BY workspace, application, workload, environment, next_environment
),
wanted AS (
  SELECT m.workspace, m.application, m.workload, m.environment, max(m.assigned_at) AS newest_at
  FROM moved m
  JOIN assignments a ON a.workspace = m.workspace AND a.application = m.application AND a.workload = m.workload
                    AND a.environment = m.environment AND a.version = m.version AND a.ended_at IS NULL
  GROUP BY m.workspace, m.application, m.workload, m.environment
),
arrived AS (
  SELECT a.workspace, a.application, a.workload, a.environment, b.environment AS next_environment,
         max(a.assigned_at) AS newest_at
  FROM moved a
  JOIN moved b ON b.workspace = a.workspace AND b.application = a.application AND b.workload = a.workload AND b.change = a.change
  WHERE b.complete_at IS NOT NULL AND a.environment <> b.environment
  GROUP BY a.workspace, a.application, a.workload, a.environment, b.environment
),
waiting AS (
  SELECT m.workspace, m.application, m.workload, m.environment, n.environment AS next_environment, m.version,
         m.source_commit, m.source_commit_url, m.complete_at, m.contact,
         row_number() OVER (PARTITION BY m.workspace, m.application, m.workload, m.environment, n.environment
                            ORDER BY m.complete_at, m.assigned_at, m.version) AS place,
         count(*) OVER (PARTITION BY m.workspace, m.application, m.workload, m.environment, n.environment) AS waiting
  FROM moved m
  JOIN wanted w ON w.workspace = m.workspace AND w.application = m.application AND w.workload = m.workload
               AND w.environment = m.environment AND w.newest_at >= m.assigned_at
  JOIN living n ON n.workspace = m.workspace AND n.application = m.application AND n.workload = m.workload
  LEFT JOIN arrived r ON r.workspace = m.workspace AND r.application = m.application AND r.workload = m.workload
                     AND r.environment = m.environment AND r.next_environment = n.environment
  WHERE m.complete_at IS NOT NULL AND n.environment <> m.environment
    AND (r.newest_at IS NULL OR m.assigned_at > r.newest_at)
)
SELECT s.workspace, s.application, s.workload, s.environment, s.next_environment, y.place IS NOT NULL AS usual,
       s.version, s.source_commit, s.source_commit_url, s.waiting, s.complete_at AS waiting_since,
       CAST(greatest(date_part('epoch', g.taken_at) - date_part('epoch', s.complete_at), 0) AS BIGINT) AS waiting_seconds, s.contact
FROM waiting s
CROSS JOIN generation g
LEFT JOIN ways y ON y.workspace = s.workspace AND y.application = s.application AND y.workload = s.workload
                AND y.environment = s.environment AND y.next_environment = s.next_environment AND y.place = 1
WHERE s.place = 1
