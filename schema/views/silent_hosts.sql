-- One row per living deployment target with silent hosts, and one without names per contact of silent hosts that serve no target.
SELECT workspace, application, environment, workload, deployment_target, silent_hosts, contact
FROM target_health
WHERE silent_hosts > 0
UNION ALL
SELECT '', '', '', '', '', count(*), h.contact
FROM hosts h
LEFT ANTI JOIN (SELECT host FROM drift WHERE workspace IS NOT NULL) d ON d.host = h.host
WHERE h.liveness = 'silent' AND h.retired_at IS NULL
GROUP BY h.contact
