-- One row per deployment target and host: how long assignments took to succeed on that host, each from its start to the first
-- success that any reconciler of the host reported at a commit of it. What a host passed over does not count.
WITH succeeded AS (
  SELECT c.assignment_no, r.host, min(r.reported_at) AS succeeded_at
  FROM transitions r
  JOIN assignment_commits c ON c.manifests_endpoint = r.manifests_endpoint AND c.commit = r.commit
  WHERE r.status = 'success'
  GROUP BY c.assignment_no, r.host
),
took AS (
  SELECT a.target_no, s.host,
         greatest(date_part('epoch', s.succeeded_at) - date_part('epoch', a.assigned_at), 0) AS seconds
  FROM succeeded s
  JOIN assignments a ON a.assignment_no = s.assignment_no
),
summed AS (
  SELECT target_no, host, count(*) AS deployments,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50,
         percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) AS p90
  FROM took
  GROUP BY target_no, host
)
SELECT t.workspace, t.application, t.environment, t.workload, t.deployment_target, s.host, s.deployments,
       CAST(round(s.p50) AS BIGINT) AS p50_seconds, CAST(round(s.p90) AS BIGINT) AS p90_seconds
FROM summed s
JOIN deployment_targets t ON t.target_no = s.target_no
