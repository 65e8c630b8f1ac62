//! The graph workload, deployment target, host, as the nodes and the edges that Grafana's node graph draws.
//!
//! Invariant: an edge leads from a node to a node, and neither answer is ever empty, since the panel fails on anything else. It
//! asks for nodes and edges one after the other, so what has a node hangs on names alone, not on how things stand at the moment.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{OriginalUri, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::answers::FRESHNESS;
use super::openapi;
use super::params::Params;
use super::problem::Problem;
use super::resource::{NAMES, Resource, TARGET, view};
use super::rows;
use super::select::Select;
use super::sql::json_rows;
use crate::runtime::Published;
use crate::snapshot::schema::{self, TableSchema};

/// The most targets with a node; Grafana hides nodes beyond two hundred.
const TARGETS: usize = 30;
/// The most edges to hosts with a node, shared out among the targets.
const HOSTS: usize = 60;
/// The most of them that one target gets.
const HOSTS_EACH: usize = 12;

static HEALTH: Resource = view("graph", "target_health", TARGET);

/// The two answers.
static PARTS: [(&str, &TableSchema, &str); 2] =
    [("/views/graph-nodes", &schema::GRAPH_NODES, NODES), ("/views/graph-edges", &schema::GRAPH_EDGES, EDGES)];

pub(super) fn routes() -> OpenApiRouter<App> {
    let more = ["from", "to"].map(|name| (name, "Taken and without effect: the graph is of now.".to_owned()));
    let mut router = OpenApiRouter::new();
    for (path, table, part) in PARTS {
        let route = get(
            async move |State(app): State<App>,
                        Extension(published): Extension<Arc<Published>>,
                        OriginalUri(uri): OriginalUri| { answer(&app, &published, part, &uri).await },
        );
        router = router.routes(openapi::made(path, table, NAMES.iter().copied(), &more, route));
    }
    router
}

async fn answer(app: &App, published: &Published, part: &str, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    params.only(NAMES.iter().copied().chain(["from", "to"]).chain(FRESHNESS))?;
    // The names are columns of both views, so one condition is right for both.
    let (condition, bound) = Select::new(&HEALTH, &params)?.condition();
    Ok(rows::json(json_rows(app, published, (format!("{}{part}", common(&condition)), bound)).await?))
}

/// The targets that have a node, the hosts that serve them, and which of these have one.
fn common(condition: &str) -> String {
    format!(
        "WITH found AS (
           SELECT *, reconcilers + missing AS total, behind + ahead + stalled + unknown_commit + missing AS drifting,
                  row_number() OVER (ORDER BY workspace, application, workload, environment, deployment_target) <= {TARGETS} AS has_node
           FROM target_health{condition}
         ),
         shown AS (
           SELECT f.*, t.deployment_target_id AS target_id, w.workload_id
           FROM found f
           JOIN deployment_targets t ON t.workspace = f.workspace AND t.application = f.application AND t.workload = f.workload
                                    AND t.environment = f.environment AND t.deployment_target = f.deployment_target
           JOIN workloads w ON w.workspace = f.workspace AND w.application = f.application AND w.workload = f.workload
           WHERE f.has_node
         ),
         served AS (
           SELECT s.target_id, d.host, count(*) AS total, min(d.deployed_version) AS version,
                  count(DISTINCT d.deployed_version) AS versions,
                  min(CASE d.drift WHEN 'failing' THEN 1 WHEN 'missing' THEN 2 WHEN 'stalled' THEN 3
                                   WHEN 'unknown_commit' THEN 4 WHEN 'behind' THEN 5 WHEN 'ahead' THEN 6
                                   WHEN 'progressing' THEN 7 WHEN 'silent' THEN 8 ELSE 9 END) AS worst,
                  count(CASE WHEN d.drift = 'in_sync' THEN 1 END) AS in_sync,
                  count(CASE WHEN d.drift = 'progressing' THEN 1 END) AS progressing,
                  count(CASE WHEN d.drift IN ('behind', 'ahead', 'stalled', 'unknown_commit', 'missing') THEN 1 END) AS drifting,
                  count(CASE WHEN d.drift = 'failing' THEN 1 END) AS failing,
                  count(CASE WHEN d.drift = 'silent' THEN 1 END) AS silent
           FROM (SELECT * FROM drift{condition}) d
           JOIN shown s ON s.workspace = d.workspace AND s.application = d.application AND s.workload = d.workload
                       AND s.environment = d.environment AND s.deployment_target = d.deployment_target
           GROUP BY s.target_id, d.host
         ),
         told AS (
           SELECT *, row_number() OVER (PARTITION BY target_id ORDER BY host) AS place,
                  CASE WHEN versions > 1 THEN versions || ' versions' ELSE coalesce(version, '') END AS runs,
                  CASE worst WHEN 1 THEN 'failing' WHEN 2 THEN 'missing' WHEN 3 THEN 'stalled' WHEN 4 THEN 'unknown commit'
                             WHEN 5 THEN 'behind' WHEN 6 THEN 'ahead' WHEN 7 THEN 'progressing' WHEN 8 THEN 'silent'
                             ELSE 'in sync' END AS stands
           FROM served
         ),
         room AS (
           SELECT CASE WHEN count(*) = 0 THEN 0 WHEN {HOSTS} / count(*) > {HOSTS_EACH} THEN {HOSTS_EACH}
                       ELSE {HOSTS} / count(*) END AS hosts
           FROM shown
         ),
         hosted AS (
           SELECT t.*, t.place <= r.hosts AS own, h.host_id, concat_ws(', ', h.cluster_type, h.region) AS labels
           FROM told t CROSS JOIN room r JOIN hosts h ON h.host = t.host
         )"
    )
}

const NODES: &str = "
, summed AS (
  SELECT workload_id AS id, 2 AS layer, 'workload' AS kind, workload AS title, workspace || ' / ' || application AS subtitle,
         count(*) || CASE WHEN count(*) = 1 THEN ' target' ELSE ' targets' END AS main, CAST(NULL AS VARCHAR) AS second,
         sum(total) AS total, sum(in_sync) AS in_sync, sum(progressing) AS progressing, sum(drifting) AS drifting,
         sum(failing) AS failing, sum(silent) AS silent,
         workspace, application, workload,
         CAST(NULL AS VARCHAR) AS environment, CAST(NULL AS VARCHAR) AS deployment_target, CAST(NULL AS VARCHAR) AS host
  FROM shown
  GROUP BY workload_id, workspace, application, workload
  UNION ALL
  SELECT target_id, 3 AS layer, 'target' AS kind, deployment_target AS title, environment AS subtitle, desired_version AS main,
         NULL AS second, total, in_sync, progressing, drifting, failing, silent,
         workspace, application, workload, environment, deployment_target, NULL AS host
  FROM shown
  UNION ALL
  SELECT min(host_id) AS id, 4 AS layer, 'host' AS kind, host AS title, min(labels) AS subtitle,
         CASE min(worst) WHEN 1 THEN 'failing' WHEN 2 THEN 'missing' WHEN 3 THEN 'stalled' WHEN 4 THEN 'unknown commit'
                         WHEN 5 THEN 'behind' WHEN 6 THEN 'ahead' WHEN 7 THEN 'progressing' WHEN 8 THEN 'silent'
                         ELSE 'in sync' END AS main,
         CASE WHEN count(*) > 1 THEN count(*) || ' targets' ELSE min(runs) END AS second,
         sum(total) AS total, sum(in_sync) AS in_sync, sum(progressing) AS progressing, sum(drifting) AS drifting,
         sum(failing) AS failing, sum(silent) AS silent,
         NULL AS workspace, NULL AS application, NULL AS workload, NULL AS environment, NULL AS deployment_target, host
  FROM hosted
  WHERE own
  GROUP BY host
  UNION ALL
  SELECT 'hosts ' || h.target_id AS id, 5 AS layer, 'hosts' AS kind, count(*) || ' more' AS title,
         min(s.environment || ' / ' || s.deployment_target) AS subtitle, CASE WHEN sum(h.failing) > 0 THEN sum(h.failing) || ' failing' ELSE count(*) || ' hosts' END AS main, NULL AS second,
         sum(h.total) AS total, sum(h.in_sync) AS in_sync, sum(h.progressing) AS progressing, sum(h.drifting) AS drifting,
         sum(h.failing) AS failing, sum(h.silent) AS silent,
         min(s.workspace) AS workspace, min(s.application) AS application, min(s.workload) AS workload,
         min(s.environment) AS environment, min(s.deployment_target) AS deployment_target, NULL AS host
  FROM hosted h
  JOIN shown s ON s.target_id = h.target_id
  WHERE NOT h.own
  GROUP BY h.target_id
  UNION ALL
  SELECT 'targets' AS id, 6 AS layer, 'targets' AS kind, count(*) || ' more targets' AS title,
         'choose fewer to see them' AS subtitle, '' AS main, NULL AS second,
         sum(total) AS total, sum(in_sync) AS in_sync, sum(progressing) AS progressing, sum(drifting) AS drifting,
         sum(failing) AS failing, sum(silent) AS silent,
         NULL AS workspace, NULL AS application, NULL AS workload, NULL AS environment, NULL AS deployment_target, NULL AS host
  FROM found
  WHERE NOT has_node
  HAVING count(*) > 0
  UNION ALL
  SELECT n.id, 1 AS layer, 'nothing' AS kind, n.title, '' AS subtitle, '' AS main, '' AS second, 0 AS total, 0 AS in_sync,
         0 AS progressing, 0 AS drifting, 0 AS failing, 0 AS silent,
         NULL AS workspace, NULL AS application, NULL AS workload, NULL AS environment, NULL AS deployment_target, NULL AS host
  FROM (VALUES ('nothing', 'No deployment target'), ('nothing here', 'is known for this choice')) n (id, title)
  WHERE NOT EXISTS (SELECT 1 FROM shown)
)
SELECT id, kind, title, coalesce(subtitle, '') AS subtitle, main,
       CASE WHEN second IS NOT NULL THEN second WHEN total = 0 THEN 'nobody' ELSE in_sync || ' of ' || total || ' in sync'
       END AS second,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(in_sync AS DOUBLE) / total END AS in_sync,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(progressing AS DOUBLE) / total END AS progressing,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(drifting AS DOUBLE) / total END AS drifted,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(failing AS DOUBLE) / total END AS failing,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(silent AS DOUBLE) / total END AS silent,
       workspace, application, workload, environment, deployment_target, host
FROM summed
ORDER BY layer, title, id";

const EDGES: &str = "
, joined AS (
  SELECT workload_id AS source, target_id AS target, environment AS main, replace(verdict, '_', ' ') AS second
  FROM shown
  UNION ALL
  SELECT target_id AS source, host_id AS target, runs AS main, stands AS second
  FROM hosted
  WHERE own
  UNION ALL
  SELECT target_id AS source, 'hosts ' || target_id AS target, '' AS main, count(*) || ' hosts' AS second
  FROM hosted
  WHERE NOT own
  GROUP BY target_id
  UNION ALL
  SELECT 'nothing' AS source, 'nothing here' AS target, '' AS main, '' AS second WHERE NOT EXISTS (SELECT 1 FROM shown)
)
SELECT source || ' ' || target AS id, source, target, main, second
FROM joined
ORDER BY source, target";
