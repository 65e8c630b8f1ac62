-- One row per workload and target name, environment and deployed version; every current target, also with nobody on it.
-- Compare environments by pivoting on environment; a distribution of versions stays several rows.
SELECT workspace, application, workload, deployment_target, environment, desired_version, deployed_version,
       sum(reconcilers) AS reconcilers,
       sum(CASE WHEN status = 'success' THEN reconcilers ELSE 0 END) AS successful
FROM deployed_versions
GROUP BY workspace, application, workload, deployment_target, environment, desired_version, deployed_version
