-- One row per thing to mark in a graph. rollout: an assignment, until it was complete; rollback: one that went back to an earlier
-- version; failure: a minute in which reconcilers of a target turned to failure; verification: a result of one.
SELECT assigned_at AS time, completed_at AS time_end, CASE WHEN rollback THEN 'rollback' ELSE 'rollout' END AS kind,
       workload || ' ' || version || CASE WHEN rollback THEN ' back in ' ELSE ' in ' END || environment AS title,
       workspace || ' / ' || application || ' / ' || deployment_target || ': ' || verdict
         || coalesce(', by ' || author, '') || coalesce(', ' || pull_request, '') AS text,
       CASE WHEN rollback THEN 'rollback,' ELSE 'rollout,' END || environment || ',' || workload AS tags,
       workspace, application, environment, workload, deployment_target, version
FROM application_history
UNION ALL
SELECT date_trunc('minute', r.reported_at), NULL, 'failure', c.workload || ' ' || c.version || ' fails in ' || c.environment,
       c.workspace || ' / ' || c.application || ' / ' || c.deployment_target || ': '
         || CASE WHEN count(DISTINCT r.host) = 1 THEN min(r.host) ELSE count(DISTINCT r.host) || ' hosts' END,
       'failure,' || c.environment || ',' || c.workload,
       c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version
FROM transitions r
JOIN assignment_commits c ON c.manifests_endpoint = r.manifests_endpoint AND c.commit = r.commit
WHERE r.status = 'failure'
GROUP BY date_trunc('minute', r.reported_at), c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version
UNION ALL
SELECT reported_at, NULL, 'verification', name || ' ' || result, coalesce(message, '') || coalesce(' ' || link, ''),
       'verification,' || result || coalesce(',' || environment, '') || coalesce(',' || workload, ''),
       workspace, application, environment, workload, deployment_target, coalesce(version, commit, source_commit)
FROM verifications
