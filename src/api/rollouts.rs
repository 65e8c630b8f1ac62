//! `GET /api/v1/rollouts/status`: the gate's question, read from query parameters. The rows of `/api/v1/rollouts` are in
//! [`super::rows`].
//!
//! Invariant: an unknown thing is an answer (200 with its verdict), a malformed question is a 400; the verdict itself is
//! [`crate::rollout`]'s.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answers;
use super::params::Params;
use super::problem::{Problem, ProblemBody};
use crate::model::{ManifestsSaid, Micros};
use crate::rollout::{self, Answer, Asked, Policy, Question, SilentPolicy};

const KNOWN: [&str; 15] = [
    "workspace",
    "application",
    "workload",
    "environment",
    "deployment_target",
    "version",
    "commit",
    "manifests_endpoint",
    "source_commit",
    "min_success_percent",
    "max_failures",
    "min_hosts",
    "silent",
    "stall_after",
    "min_seq",
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status))
}

/// Is my commit or version live everywhere it should be?
#[utoipa::path(
    get, path = "/rollouts/status", tag = "rollouts", operation_id = "rollout_status",
    params(
        ("environment" = Option<String>, Query, description = "The environment; needed unless manifests_endpoint is given."),
        ("workload" = Option<String>, Query, description = "The workload; needed unless manifests_endpoint is given."),
        ("workspace" = Option<String>, Query, description = "Narrows the question where names repeat."),
        ("application" = Option<String>, Query, description = "Narrows the question where names repeat."),
        ("deployment_target" = Option<String>, Query, description = "Narrows the question to one target name."),
        ("manifests_endpoint" = Option<String>, Query, description = "Instead of environment and workload, with commit; any spelling."),
        ("version" = Option<String>, Query, description = "The version asked about."),
        ("commit" = Option<String>, Query, description = "The GitOps commit asked about; any spelling."),
        ("source_commit" = Option<String>, Query, description = "The source commit asked about; any spelling."),
        ("min_success_percent" = Option<f64>, Query, description = "Policy: so many percent of the reconcilers must succeed (100)."),
        ("max_failures" = Option<u64>, Query, description = "Policy: more failures than this fail the rollout (0)."),
        ("min_hosts" = Option<u64>, Query, description = "Policy: at least so many hosts in success (1)."),
        ("silent" = Option<String>, Query, description = "Policy for silent hosts: block, ignore or fail (block)."),
        ("stall_after" = Option<String>, Query, description = "Policy: no change for this long is a stall (30m)."),
        ("min_seq" = Option<String>, Query, description = "Everything up to this sequence number is in the answer."),
    ),
    responses(
        (status = 200, description = "The verdict, also for unknown things.", body = Answer),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", description = "The hub cannot answer now.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn status(State(app): State<App>, uri: Uri) -> Result<Json<Answer>, Problem> {
    let params = Params::of(&uri)?;
    params.only(&KNOWN)?;
    let question = question(&params)?;
    let policy = policy(&params)?;
    answers::reach(&app, &params).await?;
    Ok(Json(app.hub.read(|state| rollout::status(state, &question, &policy, Micros::now()))))
}

/// The selectors.
fn question(params: &Params) -> Result<Question, Problem> {
    let owned = |name: &str| params.one(name).map(|v| v.filter(|v| *v != "*").map(str::to_owned));
    let asked =
        [("version", owned("version")?), ("commit", owned("commit")?), ("source_commit", owned("source_commit")?)];
    let mut given = asked.into_iter().filter_map(|(name, value)| value.map(|v| (name, v)));
    let asked = match (given.next(), given.next()) {
        (Some((_, one)), None) if params.one("version")?.is_some() => Asked::Version(one),
        (Some((_, one)), None) if params.one("commit")?.is_some() => Asked::Commit(one),
        (Some((_, one)), None) => Asked::SourceCommit(one),
        (None, _) => {
            return Err(Problem::parameter(
                "what is asked about: version, commit or source_commit is missing",
                "As in ?environment=prod&workload=web&version=1.2.0.",
            ));
        }
        (Some((one, _)), Some((other, _))) => {
            return Err(Problem::parameter(
                format!("'{one}' and '{other}' exclude each other; ask about one of them"),
                "Ask by version, by commit (of the GitOps repository) or by source_commit, one question each.",
            ));
        }
    };
    let question = Question {
        workspace: owned("workspace")?,
        application: owned("application")?,
        workload: owned("workload")?,
        environment: owned("environment")?,
        deployment_target: owned("deployment_target")?,
        manifests_endpoint: owned("manifests_endpoint")?,
        asked,
    };
    if let Some(endpoint) = &question.manifests_endpoint {
        place(endpoint)?;
        if !matches!(question.asked, Asked::Commit(_)) {
            return Err(Problem::parameter(
                "'manifests_endpoint' goes with 'commit'",
                "Ask ?manifests_endpoint=...&commit=...; a version is asked about with environment and workload.",
            ));
        }
    } else {
        for (name, value) in [("environment", &question.environment), ("workload", &question.workload)] {
            if value.is_none() && !matches!(question.asked, Asked::SourceCommit(_)) {
                return Err(Problem::parameter(
                    format!("'{name}' is missing"),
                    "Ask with environment and workload, or with manifests_endpoint and commit.",
                ));
            }
        }
    }
    Ok(question)
}

/// Refuses what names no place at all: that is no unknown endpoint but a malformed question.
pub(super) fn place(endpoint: &str) -> Result<(), Problem> {
    let said = ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: endpoint.to_owned() };
    match crate::normalize::endpoint(said) {
        Ok(_) => Ok(()),
        Err(rejection) => Err(Problem::parameter(rejection.title, rejection.detail)),
    }
}

/// The policy; what is not said has its default.
fn policy(params: &Params) -> Result<Policy, Problem> {
    let mut policy = Policy::default();
    if let Some(text) = params.one("min_success_percent")? {
        match text.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => policy.min_success_percent = percent,
            _ => {
                return Err(Problem::parameter(
                    format!("'min_success_percent' is a number from 0 to 100, not '{text}'"),
                    "So many percent of the reconcilers must succeed; 100 when absent.",
                ));
            }
        }
    }
    if let Some(n) = params.number("max_failures", 0, u64::from(u32::MAX))? {
        policy.max_failures = n;
    }
    if let Some(n) = params.number("min_hosts", 0, u64::from(u32::MAX))? {
        policy.min_hosts = n;
    }
    if let Some(word) = params.one("silent")? {
        policy.silent = match word {
            "block" => SilentPolicy::Block,
            "ignore" => SilentPolicy::Ignore,
            "fail" => SilentPolicy::Fail,
            other => {
                return Err(Problem::parameter(
                    format!("'silent' is block, ignore or fail, not '{other}'"),
                    "What a silent host does to the verdict: it holds it up (block, the default), does not count, or fails it.",
                ));
            }
        };
    }
    if let Some(span) = params.span("stall_after")? {
        policy.stall_after = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_question_names_one_thing_and_where() {
        assert!(question(&params("environment=dev&workload=web&version=1")).is_ok());
        assert!(question(&params("manifests_endpoint=x&commit=abc")).is_ok());
        for bad in [
            "environment=dev&workload=web",
            "environment=dev&workload=web&version=1&commit=2",
            "workload=web&version=1",
            "manifests_endpoint=x&version=1",
            "manifests_endpoint=///&commit=abc",
        ] {
            assert!(question(&params(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_policy_is_checked() {
        assert!(policy(&params("silent=ignore&min_success_percent=99.5&stall_after=1h")).is_ok());
        for bad in ["silent=maybe", "min_success_percent=101", "max_failures=-1", "stall_after=soon"] {
            assert!(policy(&params(bad)).is_err(), "{bad}");
        }
    }
}
