-- One row per living deployment target: its reconcilers by the rule of drift that applies to each, and one word for all of them.
-- What is behind while the rollout is on its way is progress, not drift.
-- Reconcilers are grouped by numbers, and hosts counted by grouping twice: names or sets of millions would have to be kept in memory.
WITH judged AS (
  SELECT target_no, 1 AS reconciler, drift FROM subscriptions WHERE target_no IS NOT NULL
  UNION ALL
  SELECT target_no, 0, 'missing' FROM missing_hosts
),
counted AS (
  SELECT target_no, sum(reconciler) AS reconcilers, count(*) AS total,
         sum(CASE WHEN drift = 'in_sync' THEN 1 ELSE 0 END) AS in_sync,
         sum(CASE WHEN drift = 'progressing' THEN 1 ELSE 0 END) AS progressing,
         sum(CASE WHEN drift = 'behind' THEN 1 ELSE 0 END) AS behind,
         sum(CASE WHEN drift = 'ahead' THEN 1 ELSE 0 END) AS ahead,
         sum(CASE WHEN drift = 'failing' THEN 1 ELSE 0 END) AS failing,
         sum(CASE WHEN drift = 'stalled' THEN 1 ELSE 0 END) AS stalled,
         sum(CASE WHEN drift = 'silent' THEN 1 ELSE 0 END) AS silent,
         sum(CASE WHEN drift = 'unknown_commit' THEN 1 ELSE 0 END) AS unknown_commit,
         sum(CASE WHEN drift = 'missing' THEN 1 ELSE 0 END) AS missing
  FROM judged
  GROUP BY target_no
),
-- By the first rule of drift that can apply to what has a target.
silent AS (
  SELECT target_no, count(*) AS hosts
  FROM (
    SELECT DISTINCT t.target_no, r.host_no
    FROM deployment_targets t
    JOIN reconcilers r ON r.endpoint_no = t.endpoint_no
    WHERE t.retired_at IS NULL AND r.retired_at IS NULL AND r.liveness = 'silent'
  )
  GROUP BY target_no
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target,
       a.version AS desired_version, s.verdict,
       CASE
         WHEN c.total IS NULL THEN 'nobody'
         WHEN c.failing > 0 THEN 'failing'
         WHEN c.stalled > 0 THEN 'stalled'
         WHEN c.progressing > 0 OR (c.behind > 0 AND s.verdict = 'in_progress') THEN 'progressing'
         WHEN c.behind + c.ahead + c.unknown_commit + c.missing > 0 THEN 'drifted'
         WHEN c.silent > 0 THEN 'silent'
         ELSE 'in_sync'
       END AS state,
       coalesce(c.reconcilers, 0) AS reconcilers, coalesce(c.in_sync, 0) AS in_sync,
       coalesce(c.progressing, 0) AS progressing, coalesce(c.behind, 0) AS behind, coalesce(c.ahead, 0) AS ahead,
       coalesce(c.failing, 0) AS failing, coalesce(c.stalled, 0) AS stalled, coalesce(c.silent, 0) AS silent,
       coalesce(q.hosts, 0) AS silent_hosts, coalesce(c.unknown_commit, 0) AS unknown_commit,
       coalesce(c.missing, 0) AS missing,
       coalesce(c.ahead + c.failing + c.stalled + c.unknown_commit + c.missing
                + CASE WHEN s.verdict = 'in_progress' THEN 0 ELSE c.behind END, 0) AS drifted,
       coalesce(s.failure, 0) AS rollout_failures,
       CASE WHEN s.verdict = 'complete' OR s.total = 0 THEN 0
            ELSE CAST(greatest(date_part('epoch', g.taken_at) - date_part('epoch', s.changed_at), 0) AS BIGINT)
       END AS unchanged_seconds,
       a.assigned_at, a.contact
FROM deployment_targets t
CROSS JOIN generation g
JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
JOIN rollout_states s ON s.assignment_no = a.assignment_no
LEFT JOIN counted c ON c.target_no = t.target_no
LEFT JOIN silent q ON q.target_no = t.target_no
WHERE t.retired_at IS NULL
