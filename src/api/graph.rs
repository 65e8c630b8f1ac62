//! The graph workload, deployment target, host, as the nodes and the edges that Grafana's node graph draws.
//!
//! Invariant: an edge leads from a node to a node, and neither answer is ever empty, since the panel fails on anything else. It
//! asks for nodes and edges one after the other, so what has a node hangs on names alone, not on how things stand at the moment.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::Uri;
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

static TARGETS_NOW: Resource = view("graph", "deployment_targets", TARGET);

/// The two answers: the path, the columns, the end of the statement, and the rows where there is nothing.
static PARTS: [(&str, &TableSchema, &str, &str); 2] = [
    ("/views/graph-nodes", &schema::GRAPH_NODES, NODES, NO_NODES),
    ("/views/graph-edges", &schema::GRAPH_EDGES, EDGES, NO_EDGES),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    let more = ["from", "to"].map(|name| (name, "Taken and without effect: the graph is of now.".to_owned()));
    let mut router = OpenApiRouter::new();
    for (path, table, part, nothing) in PARTS {
        let route = get(
            async move |State(app): State<App>,
                        Extension(published): Extension<Arc<Published>>,
                        OriginalUri(uri): OriginalUri| {
                let rows = answer(&app, &published, part, &uri).await?;
                Ok::<_, Problem>(rows::json(if rows.trim_ascii() == b"[]" {
                    Bytes::from_static(nothing.as_bytes())
                } else {
                    rows
                }))
            },
        );
        router = router.routes(openapi::made(path, table, NAMES.iter().copied(), &more, route));
    }
    router
}

async fn answer(app: &App, published: &Published, part: &str, uri: &Uri) -> Result<Bytes, Problem> {
    let params = Params::of(uri)?;
    params.only(NAMES.iter().copied().chain(["from", "to"]).chain(FRESHNESS))?;
    // The names are columns of both tables, so one condition is right for both.
    let (condition, bound) = Select::new(&TARGETS_NOW, &params)?.condition();
    json_rows(app, published, (format!("{}{part}", common(&condition)), bound)).await
}

/// A row per target and host that serves it, or should; one for a target without hosts, and one for all that have no node.
fn common(condition: &str) -> String {
    format!(
        "WITH found AS (
           SELECT t.workspace, t.application, t.workload, t.environment, t.deployment_target, t.deployment_target_id AS target_id,
                  a.version AS desired_version, s.verdict, count(*) OVER () AS targets,
                  row_number() OVER (ORDER BY t.workspace, t.application, t.workload, t.environment, t.deployment_target)
                    AS place
           FROM (SELECT * FROM deployment_targets{condition}) t
           JOIN assignments a ON a.target_no = t.target_no AND a.ended_at IS NULL
           JOIN rollout_states s ON s.assignment_no = a.assignment_no
           WHERE t.retired_at IS NULL
         ),
         served AS (
           SELECT d.workspace, d.application, d.workload, d.environment, d.deployment_target, d.host, count(*) AS total,
                  min(d.deployed_version) AS version, max(d.deployed_version) AS last_version,
                  min(CASE d.drift WHEN 'failing' THEN 1 WHEN 'missing' THEN 2 WHEN 'stalled' THEN 3
                                   WHEN 'unknown_commit' THEN 4 WHEN 'behind' THEN 5 WHEN 'ahead' THEN 6
                                   WHEN 'progressing' THEN 7 WHEN 'silent' THEN 8 ELSE 9 END) AS worst,
                  count(CASE WHEN d.drift = 'in_sync' THEN 1 END) AS in_sync,
                  count(CASE WHEN d.drift = 'progressing' THEN 1 END) AS progressing,
                  count(CASE WHEN d.drift IN ('behind', 'ahead', 'stalled', 'unknown_commit', 'missing') THEN 1 END) AS drifted,
                  count(CASE WHEN d.drift = 'failing' THEN 1 END) AS failing,
                  count(CASE WHEN d.drift = 'silent' THEN 1 END) AS silent
           FROM (SELECT * FROM drift{condition}) d
           JOIN found f ON f.workspace = d.workspace AND f.application = d.application AND f.workload = d.workload
                       AND f.environment = d.environment AND f.deployment_target = d.deployment_target
           WHERE f.place <= {TARGETS}
           GROUP BY d.workspace, d.application, d.workload, d.environment, d.deployment_target, d.host
         ),
         told AS (
           SELECT *, row_number() OVER (PARTITION BY workspace, application, workload, environment, deployment_target
                                        ORDER BY host) AS place,
                  CASE WHEN version <> last_version THEN 'several versions' ELSE coalesce(version, '') END AS runs
           FROM served
         ),
         joined AS (
           SELECT f.workspace, f.application, f.workload, f.environment, f.deployment_target, f.target_id, f.desired_version,
                  f.verdict, f.targets - {TARGETS} AS without_node, f.place <= {TARGETS} AS shown, coalesce(t.place, 1) = 1 AS leads, w.workload_id, h.host_id, t.host, concat_ws(', ', h.cluster_type, h.region) AS labels, t.runs,
                  t.worst, t.total, t.in_sync, t.progressing, t.drifted, t.failing, t.silent,
                  t.place <= CASE WHEN {HOSTS} / least(f.targets, {TARGETS}) > {HOSTS_EACH} THEN {HOSTS_EACH}
                                  ELSE {HOSTS} / least(f.targets, {TARGETS}) END AS own
           FROM found f
           JOIN workloads w ON w.workspace = f.workspace AND w.application = f.application AND w.workload = f.workload
           LEFT JOIN told t ON t.workspace = f.workspace AND t.application = f.application AND t.workload = f.workload
                           AND t.environment = f.environment AND t.deployment_target = f.deployment_target
           LEFT JOIN hosts h ON h.host = t.host
           WHERE f.place <= {TARGETS} + 1
         )"
    )
}

/// How a host stands, by the number that `served` gives to the worst of it.
macro_rules! stands {
    ($worst:literal) => {
        concat!(
            "CASE ",
            $worst,
            " WHEN 1 THEN 'failing' WHEN 2 THEN 'missing' WHEN 3 THEN 'stalled' WHEN 4 THEN 'unknown commit' WHEN 5 THEN 'behind' \
             WHEN 6 THEN 'ahead' WHEN 7 THEN 'progressing' WHEN 8 THEN 'silent' ELSE 'in sync' END"
        )
    };
}

/// Every row counts in a node of its workload, of its target, and of its host, or of those that have none of their own.
const NODES: &str = concat!(
    "
, kinds AS (
  SELECT column1 AS layer, column2 AS kind, column3 AS shown
  FROM (VALUES (1, 'workload', true), (2, 'target', true), (3, 'host', true), (4, 'hosts', true), (5, 'targets', false))
),
nodes AS (
  SELECT k.layer, k.kind,
         CASE k.kind WHEN 'workload' THEN j.workload_id WHEN 'target' THEN j.target_id WHEN 'host' THEN j.host_id
                     WHEN 'hosts' THEN 'hosts ' || j.target_id ELSE 'targets' END AS id,
         min(j.workspace) AS workspace, min(j.application) AS application, min(j.workload) AS workload,
         min(j.environment) AS environment, min(j.deployment_target) AS deployment_target, min(j.host) AS host,
         min(j.desired_version) AS desired_version, min(j.labels) AS labels, min(j.runs) AS runs, min(j.worst) AS worst,
         sum(CASE WHEN j.leads THEN 1 ELSE 0 END) AS targets, max(j.without_node) AS without_node, count(*) AS rows,
         coalesce(sum(j.total), 0) AS total, coalesce(sum(j.in_sync), 0) AS in_sync, coalesce(sum(j.progressing), 0) AS progressing,
         coalesce(sum(j.drifted), 0) AS drifted, coalesce(sum(j.failing), 0) AS failing, coalesce(sum(j.silent), 0) AS silent
  FROM joined j
  JOIN kinds k ON k.shown = j.shown AND (k.kind NOT IN ('host', 'hosts') OR (j.host IS NOT NULL AND j.own = (k.kind = 'host')))
  GROUP BY k.layer, k.kind,
           CASE k.kind WHEN 'workload' THEN j.workload_id WHEN 'target' THEN j.target_id WHEN 'host' THEN j.host_id
                       WHEN 'hosts' THEN 'hosts ' || j.target_id ELSE 'targets' END
)
SELECT id, kind,
       CASE kind WHEN 'workload' THEN workload WHEN 'target' THEN deployment_target WHEN 'host' THEN host
                 WHEN 'hosts' THEN rows || ' more' ELSE without_node || ' more targets' END AS title,
       CASE kind WHEN 'workload' THEN workspace || ' / ' || application WHEN 'target' THEN environment
                 WHEN 'host' THEN coalesce(labels, '') WHEN 'hosts' THEN environment || ' / ' || deployment_target
                 ELSE 'choose fewer to see them' END AS subtitle,
       CASE kind
         WHEN 'workload' THEN targets || CASE WHEN targets = 1 THEN ' target' ELSE ' targets' END
         WHEN 'target' THEN desired_version
         WHEN 'host' THEN ", stands!("worst"), "
         WHEN 'hosts' THEN CASE WHEN failing > 0 THEN failing || ' failing' ELSE rows || ' hosts' END
         ELSE ''
       END AS main,
       CASE WHEN kind = 'targets' THEN ''
            WHEN kind = 'host' THEN CASE WHEN rows > 1 THEN rows || ' targets' ELSE runs END
            WHEN total = 0 THEN 'nobody'
            ELSE in_sync || ' of ' || total || ' in sync' END AS second,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(in_sync AS DOUBLE) / total END AS in_sync,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(progressing AS DOUBLE) / total END AS progressing,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(drifted AS DOUBLE) / total END AS drifted,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(failing AS DOUBLE) / total END AS failing,
       CASE WHEN total = 0 THEN 0.0 ELSE CAST(silent AS DOUBLE) / total END AS silent,
       CASE WHEN kind IN ('workload', 'target', 'hosts') THEN workspace END AS workspace,
       CASE WHEN kind IN ('workload', 'target', 'hosts') THEN application END AS application,
       CASE WHEN kind IN ('workload', 'target', 'hosts') THEN workload END AS workload,
       CASE WHEN kind IN ('target', 'hosts') THEN environment END AS environment,
       CASE WHEN kind IN ('target', 'hosts') THEN deployment_target END AS deployment_target,
       CASE WHEN kind = 'host' THEN host END AS host
FROM nodes
ORDER BY layer, title, id"
);

const NO_NODES: &str = r#"[{"id":"nothing","kind":"nothing","title":"No deployment target","subtitle":"","main":"","second":"","in_sync":0.0,"progressing":0.0,"drifted":0.0,"failing":0.0,"silent":0.0,"workspace":null,"application":null,"workload":null,"environment":null,"deployment_target":null,"host":null},
{"id":"nothing here","kind":"nothing","title":"is known for this choice","subtitle":"","main":"","second":"","in_sync":0.0,"progressing":0.0,"drifted":0.0,"failing":0.0,"silent":0.0,"workspace":null,"application":null,"workload":null,"environment":null,"deployment_target":null,"host":null}]"#;

const EDGES: &str = concat!(
    "
, kinds AS (
  SELECT column1 AS kind, column2 AS shown FROM (VALUES ('target', true), ('host', true), ('hosts', true))
),
ends AS (
  SELECT k.kind, CASE WHEN k.kind = 'target' THEN j.workload_id ELSE j.target_id END AS source,
         CASE k.kind WHEN 'target' THEN j.target_id WHEN 'host' THEN j.host_id ELSE 'hosts ' || j.target_id END AS target,
         j.environment, j.verdict, j.host, j.runs, j.worst
  FROM joined j
  JOIN kinds k ON k.shown = j.shown AND (k.kind = 'target' OR (j.host IS NOT NULL AND j.own = (k.kind = 'host')))
)
SELECT source || ' ' || target AS id, source, target,
       CASE min(kind) WHEN 'target' THEN min(environment) WHEN 'host' THEN min(runs) ELSE '' END AS main,
       CASE min(kind)
         WHEN 'target' THEN replace(min(verdict), '_', ' ')
         WHEN 'host' THEN ", stands!("min(worst)"), "
         ELSE count(*) || ' hosts'
       END AS second
FROM ends
GROUP BY source, target
ORDER BY source, target"
);

const NO_EDGES: &str =
    r#"[{"id":"nothing nothing here","source":"nothing","target":"nothing here","main":"","second":""}]"#;
