-- One row per deployment and target it happened on, all time: from when to when a reconciler was at a version, from its first
-- attempt on. Commits that nothing explains are left out.
SELECT c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version, d.host, d.reconciler,
       d.deployed_at AS started_at, d.ended_at
FROM deployments d
JOIN assignment_commits c ON c.endpoint_no = d.endpoint_no AND c.commit_no = d.commit_no
