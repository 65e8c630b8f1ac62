-- One row per assignment: how it spread over the reconcilers that subscribe to its target, under the default policy.
SELECT workspace, application, environment, workload, deployment_target, version, commit, verdict, started_at,
       completed_at, total, success, failure, in_progress, behind, silent, never_reported, retired
FROM rollout_states
