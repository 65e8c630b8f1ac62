-- One row per deployment target: how long its rollouts took that are complete, from assignment to the last reconciler.
WITH took AS (
  SELECT target_no, completed_at, date_part('epoch', completed_at) - date_part('epoch', started_at) AS seconds
  FROM rollout_states
  WHERE completed_at IS NOT NULL
),
summed AS (
  SELECT target_no, count(*) AS rollouts, max(seconds) AS longest, max(completed_at) AS completed_at,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50,
         percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) AS p90
  FROM took
  GROUP BY target_no
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target, coalesce(s.rollouts, 0) AS rollouts,
       CAST(round(s.p50) AS BIGINT) AS p50_seconds, CAST(round(s.p90) AS BIGINT) AS p90_seconds,
       CAST(round(s.longest) AS BIGINT) AS max_seconds, s.completed_at
FROM deployment_targets t
LEFT JOIN summed s ON s.target_no = t.target_no
