-- One row per living deployment target, to be turned into a matrix: one cell per component (workload and target name) and
-- environment. Several versions are listed with how many reconcilers run them, the commonest first; more than three are counted.
WITH versions AS (
  SELECT workspace, application, environment, workload, deployment_target,
         coalesce(deployed_version, 'unexplained') AS version, sum(reconcilers) AS reconcilers,
         sum(CASE WHEN status = 'success' THEN reconcilers ELSE 0 END) AS successful
  FROM deployed_versions
  WHERE reconcilers > 0
  GROUP BY workspace, application, environment, workload, deployment_target, coalesce(deployed_version, 'unexplained')
),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY workspace, application, environment, workload, deployment_target
                               ORDER BY reconcilers DESC, version) AS place
  FROM versions
),
listed AS (
  SELECT workspace, application, environment, workload, deployment_target, count(*) AS versions,
         sum(reconcilers) AS reconcilers, sum(successful) AS successful,
         max(CASE WHEN place = 1 THEN version END) AS first_version, max(CASE WHEN place = 1 THEN reconcilers END) AS first_count,
         max(CASE WHEN place = 2 THEN version END) AS second_version, max(CASE WHEN place = 2 THEN reconcilers END) AS second_count,
         max(CASE WHEN place = 3 THEN version END) AS third_version, max(CASE WHEN place = 3 THEN reconcilers END) AS third_count
  FROM ranked
  GROUP BY workspace, application, environment, workload, deployment_target
)
SELECT h.workspace || ' / ' || h.application || ' / ' || h.workload || ' / ' || h.deployment_target AS component,
       h.workspace, h.application, h.workload, h.deployment_target, h.environment, h.desired_version,
       CASE
         WHEN l.versions IS NULL THEN ''
         WHEN l.versions = 1 THEN l.first_version
         ELSE l.first_version || ' (' || l.first_count || '), '
              || l.second_version || ' (' || l.second_count || ')'
              || coalesce(', ' || l.third_version || ' (' || l.third_count || ')', '')
              || CASE WHEN l.versions > 3 THEN ' +' || (l.versions - 3) ELSE '' END
       END AS deployed,
       coalesce(l.versions, 0) AS versions, h.state, coalesce(l.reconcilers, 0) AS reconcilers,
       coalesce(l.successful, 0) AS successful
FROM target_health h
LEFT JOIN listed l ON l.workspace = h.workspace AND l.application = h.application AND l.environment = h.environment
                  AND l.workload = h.workload AND l.deployment_target = h.deployment_target
