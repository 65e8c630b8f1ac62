//! The gate over HTTP: the answer now, the answer once it is final, the answer as it changes, and who holds a rollout up. The
//! rows of `/api/v1/rollouts` are in [`super::rows`].
//!
//! Invariant: an unknown thing is an answer (200 with its verdict), a malformed question is a 400; the verdict itself is
//! [`crate::rollout`]'s.

mod ask;
mod wait;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::access::Viewer;
use super::answers;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use super::rows::{PAGE, PAGE_MAX, leads_on};
use crate::model::Micros;
use crate::rollout::{self, Answer, Bucket, HoldsUp, Links, NamedPolicy, Policy, Scope};
use ask::Ask;
pub(super) use ask::place;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(hosts))
        .routes(routes!(policies))
        .routes(routes!(wait::events))
}

/// Is my commit or version live everywhere it should be?
#[utoipa::path(
    get, path = "/rollouts/status", tag = "rollouts", operation_id = "rollout_status",
    params(
        ("environment" = Option<String>, Query, description = "Environments; needed unless manifests_endpoint or source_commit is given. `*` means all."),
        ("workload" = Option<String>, Query, description = "Workloads; needed unless manifests_endpoint or source_commit is given. `*` means all."),
        ("workspace" = Option<String>, Query, description = "Narrows the question where names repeat."),
        ("application" = Option<String>, Query, description = "Narrows the question where names repeat."),
        ("deployment_target" = Option<String>, Query, description = "Narrows the question to target names."),
        ("manifests_endpoint" = Option<String>, Query, description = "Instead of environment and workload, with commit; any spelling."),
        ("version" = Option<String>, Query, description = "The version asked about."),
        ("commit" = Option<String>, Query, description = "The GitOps commit asked about; any spelling."),
        ("source_commit" = Option<String>, Query, description = "The source commit asked about, the application's own; any spelling."),
        ("policy" = Option<String>, Query, description = "The named policy to judge by; else that of each target, else the default."),
        ("min_success_percent" = Option<f64>, Query, description = "Policy: so many percent of the reconcilers must succeed (100)."),
        ("min_success" = Option<u64>, Query, description = "Policy: so many reconcilers must succeed; alone it stands for the percentage."),
        ("max_failures" = Option<u64>, Query, description = "Policy: more failures than this fail the rollout (0)."),
        ("min_hosts" = Option<u64>, Query, description = "Policy: at least so many hosts in success (1)."),
        ("silent" = Option<String>, Query, description = "Policy for silent hosts: block, ignore or fail (block)."),
        ("stall_after" = Option<String>, Query, description = "Policy: no change for this long is a stall (30m)."),
        ("failure_grace" = Option<String>, Query, description = "Policy: a failure is final once it has stood for this long (2m)."),
        ("soak" = Option<String>, Query, description = "Policy: enough must have succeeded for this long (0s)."),
        ("ring" = Option<String>, Query, description = "Policy: only hosts of these rings count."),
        ("cluster_type" = Option<String>, Query, description = "Policy: only hosts of these cluster types count."),
        ("region" = Option<String>, Query, description = "Policy: only hosts of these regions count."),
        ("label" = Option<String>, Query, description = "Policy: only hosts with this label (`key=value`) count; repeatable."),
        ("verifications" = Option<String>, Query, description = "Policy: these verifications must have passed."),
        ("after" = Option<String>, Query, description = "Policy: the same source commit must be complete in these environments first."),
        ("wait" = Option<String>, Query, description = "Answer when the answer is final, at most this long from now (10m at most)."),
        ("unknown_grace" = Option<String>, Query, description = "With wait: how long to wait for what is not known yet (the whole wait)."),
        ("min_seq" = Option<String>, Query, description = "Everything up to this sequence number is in the answer."),
        ("fresh" = Option<bool>, Query, description = "Taken as elsewhere; the gate always answers from the newest state."),
    ),
    responses(
        (status = 200, description = "The verdict, also for unknown things.", body = Answer),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many are waiting.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The hub cannot answer now; one that shuts down says so to those who wait, who ask again.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn status(State(app): State<App>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let ask = Ask::of(&app, &viewer, &params, &["wait", "unknown_grace"])?;
    let patience = wait::patience(&params)?;
    answers::reach(&app, &params).await?;
    if let Some(patience) = patience {
        return wait::until_final(&app, ask, patience).await;
    }
    let mut answer = app.hub.evaluate(|state| rollout::status(state, &ask.question, &ask.rules, Micros::now()));
    answer.links = links(&ask);
    Ok(Json(app.hub.recall(answer, &viewer.0).await).into_response())
}

/// Where to go on from an answer.
fn links(ask: &Ask) -> Links {
    let to = |path: &str| format!("/api/v1/rollouts/{path}?{}", ask.text);
    Links { this: to("status"), hosts: to("hosts"), events: to("events") }
}

/// Who holds a rollout up: all of them, the worst first.
#[utoipa::path(
    get, path = "/rollouts/hosts", tag = "rollouts", operation_id = "rollout_hosts",
    description = "Takes the parameters of /rollouts/status.",
    params(
        ("bucket" = Option<String>, Query, description = "One bucket only: failure, silent, never_reported, behind or in_progress."),
        ("limit" = Option<usize>, Query, description = "Rows of a page (500, at most 5000)."),
        ("cursor" = Option<usize>, Query, description = "From the Link header of the page before."),
    ),
    responses(
        (status = 200, description = "A page; the header Link names the next one.", body = Vec<HoldsUp>),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn hosts(State(app): State<App>, Extension(viewer): Extension<Viewer>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let ask = Ask::of(&app, &viewer, &params, &["bucket", "limit", "cursor"])?;
    let bucket = match params.one("bucket")? {
        None => None,
        Some("failure") => Some(Bucket::Failure),
        Some("silent") => Some(Bucket::Silent),
        Some("never_reported") => Some(Bucket::NeverReported),
        Some("behind") => Some(Bucket::Behind),
        Some("in_progress") => Some(Bucket::InProgress),
        Some(other) => {
            return Err(Problem::parameter(
                format!("no host in '{other}' holds a rollout up"),
                "bucket is failure, silent, never_reported, behind or in_progress.",
            ));
        }
    };
    let limit = params.limit(PAGE_MAX)?.unwrap_or(PAGE);
    let skip = params.number("cursor", 0, u64::from(u32::MAX))?.map_or(0, |n| n as usize);
    answers::reach(&app, &params).await?;
    let page = app
        .hub
        .read(|state| rollout::holding_up(state, &ask.question, &ask.rules, Micros::now(), bucket, (skip, limit)));
    let more = skip.saturating_add(limit) < page.total;
    let mut response = Json(page.rows).into_response();
    if more {
        let bucket = params.one("bucket")?.map(|b| format!("&bucket={b}")).unwrap_or_default();
        let next = format!("{}{bucket}&limit={limit}&cursor={}", links(&ask).hosts, skip + limit);
        leads_on(&mut response, &next);
    }
    Ok(response)
}

/// A named policy.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyRow {
    /// The targets it is for without being named; null when it must be named.
    #[serde(rename = "for")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    scope: Option<Scope>,
    /// Its clauses.
    #[serde(flatten)]
    policy: Policy,
}

/// The policies there are.
#[utoipa::path(
    get, path = "/rollouts/policies", tag = "rollouts", operation_id = "rollout_policies",
    responses((status = 200, description = "In the order of the file; the default comes last unless the file has one.", body = Vec<PolicyRow>))
)]
async fn policies(
    State(app): State<App>,
    Extension(Viewer(sees)): Extension<Viewer>,
    uri: Uri,
) -> Result<Json<Vec<PolicyRow>>, Problem> {
    Params::of(&uri)?.only([])?;
    let (_, policies) = app.hub.policies();
    let row =
        |p: &NamedPolicy| PolicyRow { scope: p.scope.as_ref().map(|s| s.seen_by(&sees)), policy: p.policy.clone() };
    let mut rows: Vec<PolicyRow> = policies.iter().filter(|p| p.is_seen_by(&sees)).map(row).collect();
    if !rows.iter().any(|r| r.policy.name == "default") {
        rows.push(PolicyRow { scope: Some(Scope::default()), policy: Policy::default() });
    }
    Ok(Json(rows))
}
