-- One row per living reconciler and target it serves, now; target columns are null when nobody described its endpoint.
SELECT host, cluster_type, ring, region, labels, liveness, reconciler, reconciler_type,
       workspace, application, environment, workload, deployment_target, desired_version, deployed_version,
       commit, commit_url, attempted_commit, status, raw_status, message, drift, behind_by, rolled_back,
       deployed_at, reported_at, source, contact
FROM subscriptions
