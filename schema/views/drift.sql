-- One row per deployment target and reconciler, now, with the first rule of drift that applies; and one row (without a
-- reconciler) per host that is expected to serve a target and of which nothing ever reported for it.
SELECT workspace, application, environment, workload, deployment_target, host, reconciler, cluster_type, ring, region,
       drift, since, desired_version, deployed_version, behind_by, behind_seconds
FROM subscriptions
UNION ALL
SELECT workspace, application, environment, workload, deployment_target, host, NULL, cluster_type, ring, region,
       'missing', since, desired_version, NULL, NULL, NULL
FROM missing_hosts
