//! The numbers of a dashboard's first row: one row about all that the filters let through.
//!
//! Invariant: one row, without nulls, also of an empty hub. The words counted here (state, verdict, drift) are those of the views.

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
use crate::snapshot::schema;

static HEALTH: Resource = view("summary", "target_health", TARGET);

pub(super) fn routes() -> OpenApiRouter<App> {
    let route = get(
        async move |State(app): State<App>,
                    Extension(published): Extension<Arc<Published>>,
                    OriginalUri(uri): OriginalUri| { summary(&app, &published, &uri).await },
    );
    let more = ["from", "to"].map(|name| (name, "Taken and without effect: the row is about now.".to_owned()));
    OpenApiRouter::new().routes(openapi::made("/views/summary", &schema::SUMMARY, NAMES.iter().copied(), &more, route))
}

async fn summary(app: &App, published: &Published, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    params.only(NAMES.iter().copied().chain(["from", "to"]).chain(FRESHNESS))?;
    // The names are columns of both views, so one condition is right for both.
    let (condition, bound) = Select::new(&HEALTH, &params)?.condition();
    let sql = format!(
        "WITH of_targets AS (
           SELECT count(*) AS targets, count(CASE WHEN state = 'in_sync' THEN 1 END) AS targets_in_sync,
                  count(CASE WHEN state <> 'nobody' THEN 1 END) AS subscribed,
                  count(DISTINCT environment) AS environments,
                  count(DISTINCT workspace || '/' || application || '/' || workload) AS workloads,
                  count(CASE WHEN verdict = 'in_progress' AND state <> 'nobody' THEN 1 END) AS rollouts_in_progress,
                  count(CASE WHEN verdict = 'failed' THEN 1 END) AS rollouts_failed,
                  count(CASE WHEN verdict = 'stalled' THEN 1 END) AS rollouts_stalled
           FROM target_health{condition}
         ),
         of_hosts AS (
           SELECT count(DISTINCT host) AS hosts, count(reconciler) AS reconcilers,
                  count(CASE WHEN drift = 'in_sync' THEN 1 END) AS reconcilers_in_sync,
                  count(DISTINCT CASE WHEN drift = 'failing' THEN host END) AS failing_hosts,
                  count(DISTINCT CASE WHEN drift IN ('behind', 'ahead', 'stalled', 'unknown_commit') THEN host END)
                    AS drifted_hosts,
                  count(DISTINCT CASE WHEN drift = 'silent' THEN host END) AS silent_hosts,
                  count(DISTINCT CASE WHEN drift = 'missing' THEN host END) AS missing_hosts,
                  count(CASE WHEN drift = 'unknown_commit' THEN 1 END) AS unknown_commits
           FROM drift{condition}
         )
         SELECT t.targets, t.targets_in_sync,
                CASE WHEN t.subscribed = 0 THEN 0 ELSE 100 * t.targets_in_sync / t.subscribed END AS in_sync_percent,
                t.environments, t.workloads, h.hosts, h.reconcilers, h.reconcilers_in_sync, h.failing_hosts,
                h.drifted_hosts, h.silent_hosts, h.missing_hosts, h.unknown_commits, t.rollouts_in_progress,
                t.rollouts_failed, t.rollouts_stalled, g.taken_at
         FROM of_targets t CROSS JOIN of_hosts h CROSS JOIN generation g"
    );
    Ok(rows::json(json_rows(app, published, (sql, bound)).await?))
}
