-- One row per workload, environment and week (it begins on Monday, UTC) in which anything was assigned there: how often, how fast,
-- how badly, and how soon it was well again. A change failed when its rollout is failed, or when the next assignment of the
-- target went back to an earlier version; it was well again when a later assignment of the target was complete.
WITH followed AS (
  SELECT *,
         lead(rollback) OVER target_in_order AS taken_back,
         min(completed_at) OVER (PARTITION BY workspace, application, workload, environment, deployment_target
                                 ORDER BY sequence ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS well_at,
         min(assigned_at) OVER (PARTITION BY workspace, application, workload, version) AS first_assigned_at
  FROM application_history
  WINDOW target_in_order AS (PARTITION BY workspace, application, workload, environment, deployment_target ORDER BY sequence)
),
judged AS (
  SELECT *, verdict = 'failed' OR coalesce(taken_back, false) AS bad,
         date_part('epoch', completed_at)
           - date_part('epoch', CASE WHEN build_time <= first_assigned_at THEN build_time ELSE first_assigned_at END) AS lead,
         CASE WHEN (verdict = 'failed' OR taken_back) AND well_at IS NOT NULL
              THEN greatest(date_part('epoch', well_at) - date_part('epoch', assigned_at), 0) END AS restore
  FROM followed
)
SELECT workspace, application, workload, environment, date_trunc('week', assigned_at) AS week,
       count(*) AS rollouts, count(completed_at) AS completed, sum(CASE WHEN bad THEN 1 ELSE 0 END) AS failed,
       CAST(round(100.0 * sum(CASE WHEN bad THEN 1 ELSE 0 END) / count(*)) AS BIGINT) AS change_failure_percent,
       CAST(round(percentile_cont(0.5) WITHIN GROUP (ORDER BY lead)) AS BIGINT) AS lead_p50_seconds,
       CAST(round(percentile_cont(0.9) WITHIN GROUP (ORDER BY lead)) AS BIGINT) AS lead_p90_seconds,
       CAST(round(percentile_cont(0.5) WITHIN GROUP (ORDER BY restore)) AS BIGINT) AS restore_p50_seconds
FROM judged
GROUP BY workspace, application, workload, environment, date_trunc('week', assigned_at)
