//! `POST /deployment_state`, the endpoint of the hub before this one, so that its pipelines keep working.
//!
//! Invariant: the counters come from [`crate::rollout::deployment_state`]; errors have that hub's shape, `{"error": …}`.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::access::Viewer;
use super::problem::Problem;
use super::rollouts::place;
use super::sql::whole;
use crate::rollout::{self, DeploymentState};
use crate::sources::json::Object;

/// Which commit on which endpoint is asked about.
#[derive(Debug, serde::Deserialize, ToSchema)]
struct DeploymentStateRequest {
    /// The manifests endpoint, in any spelling.
    manifests_endpoint: String,
    /// The commit, in any spelling.
    commit_id: String,
}

/// What a refused request gets.
#[derive(Debug, serde::Serialize, ToSchema)]
struct DeploymentStateError {
    /// What is wrong.
    error: String,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(deployment_state))
}

/// How many subscribers of an endpoint succeeded, failed or are in progress at a commit.
#[utoipa::path(
    post, path = "/deployment_state", tag = "rollouts",
    request_body = DeploymentStateRequest,
    responses(
        (status = 200, description = "The subscribers by their last word on the commit.", body = DeploymentState),
        (status = 400, description = "The request is not readable.", body = DeploymentStateError),
    )
)]
async fn deployment_state(
    State(app): State<App>,
    Extension(Viewer(sees)): Extension<Viewer>,
    request: Request,
) -> Result<Json<DeploymentState>, Problem> {
    let body = whole(request).await?;
    let Object(asked) = serde_json::from_slice::<Object<DeploymentStateRequest>>(&body).map_err(|e| {
        Problem::body("the body is not an object with 'manifests_endpoint' and 'commit_id'", e.to_string())
    })?;
    for (name, value) in [("manifests_endpoint", &asked.manifests_endpoint), ("commit_id", &asked.commit_id)] {
        if value.trim().is_empty() {
            return Err(Problem::body(format!("'{name}' is empty"), "Both name one thing, in any spelling."));
        }
    }
    place(&asked.manifests_endpoint)?;
    let (endpoint, commit) = (&asked.manifests_endpoint, &asked.commit_id);
    Ok(Json(app.hub.evaluate(|state| rollout::deployment_state(state, endpoint, commit, &sees))))
}
