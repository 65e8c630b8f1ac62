-- One row per living reconciler and living deployment target whose endpoint it reports for; target columns are null where
-- nobody described the endpoint. The joins and the drift rules live here once; host_state and drift select from it.
WITH wanted AS (
  SELECT t.target_no, t.endpoint_no, t.workspace, t.application, t.workload, t.environment, t.deployment_target, t.repo,
         a.assignment_no, a.sequence, a.last_place, a.version, a.assigned_at, a.contact
  FROM deployment_targets t
  JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
  WHERE t.retired_at IS NULL
),
-- The fleet stands on the right of every join: an engine keeps the left side in memory and lets the right one pass by.
placed AS (
  SELECT r.*, g.taken_at, g.stalled_before,
         w.target_no, w.workspace, w.application, w.workload, w.environment, w.deployment_target, w.repo,
         w.assignment_no AS wanted_no, w.sequence AS wanted_sequence, w.last_place, w.version AS desired_version,
         w.assigned_at, w.contact AS target_contact
  FROM wanted w
  RIGHT JOIN reconcilers r ON w.endpoint_no = r.endpoint_no
  CROSS JOIN generation g
  WHERE r.retired_at IS NULL
),
joined AS (
  SELECT p.*, c.assignment_no AS deployed_no, c.sequence AS deployed_sequence, c.version AS deployed_version, c.place, c.missed_at
  FROM running_commits c
  RIGHT JOIN placed p ON c.target_no = p.target_no AND c.commit_no = p.commit_no
),
judged AS (
  SELECT *,
         CASE
           WHEN target_no IS NULL THEN 'unassigned'
           WHEN liveness = 'silent' THEN 'silent'
           WHEN status = 'failure' THEN 'failing'
           WHEN deployed_no IS NULL AND place IS NULL THEN 'unknown_commit'
           WHEN (deployed_no IS DISTINCT FROM wanted_no) AND place > last_place THEN 'ahead'
           WHEN status <> 'success' AND status_since < stalled_before THEN 'stalled'
           WHEN status <> 'success' THEN 'progressing'
           WHEN (deployed_no IS DISTINCT FROM wanted_no) THEN 'behind'
           ELSE 'in_sync'
         END AS drift,
         wanted_sequence - deployed_sequence AS behind_by
  FROM joined
)
SELECT j.workspace, j.application, j.environment, j.workload, j.deployment_target, j.host, j.reconciler,
       h.cluster_type, h.ring, h.region, j.drift,
       CASE j.drift
         WHEN 'silent' THEN coalesce(h.liveness_since, j.reported_at)
         WHEN 'failing' THEN j.status_since
         WHEN 'stalled' THEN j.status_since
         WHEN 'progressing' THEN j.status_since
         WHEN 'behind' THEN coalesce(j.missed_at, j.assigned_at)
         WHEN 'in_sync' THEN greatest(j.deployed_at, j.assigned_at)
         ELSE coalesce(j.deployed_at, j.first_reported_at)
       END AS since,
       j.desired_version, j.deployed_version, j.behind_by,
       CASE
         WHEN j.behind_by = 0 THEN 0
         WHEN j.behind_by > 0 THEN CAST(date_part('epoch', j.taken_at) - date_part('epoch', j.missed_at) AS BIGINT)
         WHEN j.drift = 'behind' THEN CAST(date_part('epoch', j.taken_at) - date_part('epoch', j.assigned_at) AS BIGINT)
       END AS behind_seconds,
       h.labels, j.liveness, j.reconciler_type, j.commit, commit_page(j.repo, j.commit) AS commit_url, j.attempted_commit, j.status, j.raw_status, j.message,
       j.rolled_back, j.deployed_at, j.reported_at, j.source, coalesce(j.target_contact, h.contact) AS contact,
       j.host_no, j.reconciler_no, j.target_no
FROM hosts h
RIGHT JOIN judged j ON h.host_no = j.host_no
