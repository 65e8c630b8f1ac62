-- One row per change of what a reconciler says and target whose commits explain what it speaks of, all time; target columns are
-- null where none does.
WITH explained AS (
  SELECT DISTINCT c.manifests_endpoint, c.commit, c.workspace, c.application, c.environment, c.workload, c.deployment_target,
         c.version, t.repo
  FROM assignment_commits c
  JOIN deployment_targets t ON t.target_no = c.target_no
)
SELECT r.reported_at, r.host, r.reconciler, r.status, r.raw_status, r.commit, commit_page(c.repo, r.commit) AS commit_url,
       c.workspace, c.application, c.environment, c.workload, c.deployment_target, c.version, r.message, r.source, r.seq
FROM transitions r
LEFT JOIN explained c ON c.manifests_endpoint = r.manifests_endpoint AND c.commit = r.commit
