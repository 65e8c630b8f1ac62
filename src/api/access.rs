//! Asks every request for its token, by a table of what each route needs.
//!
//! Invariant: a route that no rule names needs `admin`, and a test that walks the OpenAPI document fails until it has a rule. What
//! is refused learns nothing about what there is.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::grant::{Grant, Who, client_of, lacks, refused, untaken};
use super::lease::Lease;
use super::problem::Problem;
use super::resource::LISTS;
use crate::access::reviews::{self, Reviews, Verdict};
use crate::access::{Digest, Refusal, Restriction, Scope};
use crate::model::Micros;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: probes, and the documents about the API itself.
    Nothing,
    /// A token with this scope.
    Token(Scope),
}

const GET: &[&str] = &["GET", "HEAD"];
const TELL: &[&str] = &["POST", "PUT"];
const POST: &[&str] = &["POST"];

/// Who asks, and what part of the fleet he sees; every request has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Viewer(pub(super) Arc<Restriction>);

/// The begins of paths whose answers hold nothing that a restricted client does not see: they are made from generations, by the
/// gate, or say nothing of the fleet; and of those that take nothing that is not about its part. Whatever is not named here is
/// closed to such clients.
const RESTRICTED: &[&str] = &[
    "/deployment_state",
    "/api/v1/sql",
    "/api/v1/ingest",
    "/api/v1/rollouts",
    "/api/v1/views/",
    "/api/v1/variables/",
    "/api/v1/alerts/",
    "/api/v1/badges/",
    "/api/v1/annotations",
    "/api/v1/promotions",
    "/api/v1/health/grafana",
];

/// Whether a restricted client may ask at a path. Lists are made from generations.
fn holds(path: &str) -> bool {
    let list = |name: &str| LISTS.iter().any(|list| list.name == name);
    let under = path.strip_prefix("/api/v1/").is_some_and(|rest| list(rest.split('/').next().unwrap_or_default()));
    under || (RESTRICTED.iter().any(|begin| path.starts_with(begin)) && path != "/api/v1/alerts/hub")
}

/// Methods, the begin of a path, and what it needs; the first that fits.
const RULES: &[(&[&str], &str, Need)] = &[
    (GET, "/livez", Need::Nothing),
    (GET, "/readyz", Need::Nothing),
    (GET, "/openapi.json", Need::Nothing),
    (GET, "/docs", Need::Nothing),
    (GET, "/metrics", Need::Token(Scope::Read)),
    (POST, "/deployment_state", Need::Token(Scope::Read)),
    (POST, "/api/v1/sql", Need::Token(Scope::Read)),
    (TELL, "/api/v1/rollouts/verifications", Need::Token(Scope::Report)),
    (TELL, "/api/v1/ingest", Need::Token(Scope::Report)),
    (GET, "/api/v1/backup", Need::Token(Scope::Admin)),
    (GET, "/api/v1/check", Need::Token(Scope::Admin)),
    (GET, "/api/v1/", Need::Token(Scope::Read)),
];

/// What a request needs; `None` when no rule says.
pub(super) fn need(method: &Method, path: &str) -> Option<Need> {
    if path == "/" {
        return Some(Need::Nothing);
    }
    let fits =
        |(methods, begin, _): &&(&[&str], &str, Need)| methods.contains(&method.as_str()) && path.starts_with(*begin);
    RULES.iter().find(fits).map(|(.., need)| *need)
}

/// Lets a request pass that may.
pub(super) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let presented = bearer(request.headers()).map(str::to_owned);
    let grant = match permit(&app, request.method(), request.uri().path(), presented.as_deref()).await {
        Ok(grant) => grant,
        Err(problem) => return turned_away(problem),
    };
    request.extensions_mut().insert(Viewer(Arc::clone(&grant.client.sees)));
    if grant.who == Who::Anybody {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let lease = Lease { app, method, path, presented, grant };
    // What is told before the lease is over counts, and the answer says so: who takes it ends with it himself.
    if need(&lease.method, &lease.path) == Some(Need::Token(Scope::Report)) {
        request.extensions_mut().insert(lease);
        let response = next.run(request).await;
        return if response.status() == StatusCode::UNAUTHORIZED { challenged(response) } else { response };
    }
    // Boxed, so that hubs that ask nobody do not carry it.
    Box::pin(lease.hold(next.run(request))).await.unwrap_or_else(turned_away)
}

fn turned_away(problem: Problem) -> Response {
    let unknown = problem.status() == StatusCode::UNAUTHORIZED;
    let response = problem.into_response();
    if unknown { challenged(response) } else { response }
}

fn challenged(mut response: Response) -> Response {
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"koh\""));
    response
}

/// What whoever asks is granted, if anything.
pub(super) async fn permit(app: &App, method: &Method, path: &str, presented: Option<&str>) -> Result<Grant, Problem> {
    let (tokens, reviews) = (app.hub.tokens(), app.hub.reviews());
    if tokens.is_none() && reviews.is_none() {
        return Ok(Grant::default());
    }
    let scope = match need(method, path) {
        Some(Need::Nothing) => return Ok(Grant::default()),
        Some(Need::Token(scope)) => scope,
        None => Scope::Admin,
    };
    let Some(presented) = presented else {
        return Err(refused(
            "a token is needed",
            "Send Authorization: Bearer TOKEN; koh token create makes one, and koh takes it from KOH_TOKEN or --token-file.",
        ));
    };
    let digest = Digest::of(presented);
    let found = tokens.as_ref().map_or(Err(Refusal::Unknown), |tokens| tokens.entry(digest, Micros::now()));
    let grant = match (found, reviews) {
        (Ok(token), _) => {
            tracing::debug!(target: "koh::access", token = token.name, "a token was presented");
            if !token.allows(scope) {
                return Err(lacks(scope));
            }
            Grant { who: Who::Token(digest, scope), client: token.client() }
        }
        (Err(Refusal::Unknown), Some(reviews)) if Reviews::concerns(presented) => {
            // Boxed: few ask this, and every request that waits would be as large as the question.
            let account = Box::pin(account_of(&reviews, presented, scope)).await?;
            tracing::debug!(target: "koh::access", account, "the token of an account was presented");
            let client = client_of(&account, tokens.as_deref())?;
            Grant { who: Who::Account(account), client }
        }
        (Err(why), _) => return Err(untaken(why)),
    };
    let sees = &grant.client.sees;
    if sees.is_none() || (scope != Scope::Admin && holds(path)) {
        return Ok(grant);
    }
    let whose = if matches!(grant.who, Who::Account(_)) { "account" } else { "token" };
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("the {whose} sees only a part of the fleet"),
        format!("It sees {sees}; what is answered here is about all of it."),
    ))
}

/// The account whose token was presented, if its roles allow this.
async fn account_of(reviews: &Reviews, presented: &str, scope: Scope) -> Result<String, Problem> {
    match reviews.verdict(presented, scope).await {
        Ok(Verdict::Allowed(account)) => Ok(account),
        Ok(Verdict::Denied(account)) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("{account} may not {} here", scope.as_str()),
            format!(
                "Bind it to a role with apiGroups [{}], resources [{}], verbs [{}] in the namespace of the hub.",
                reviews::GROUP,
                reviews::RESOURCE,
                scope.as_str()
            ),
        )),
        Ok(Verdict::Unknown) => Err(refused(
            "the token is not known",
            "It is neither in the hub's file of tokens nor a ServiceAccount's, made for the hub's audience (kubectl create token \
             NAME --audience koh).",
        )),
        Err(unavailable) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-review",
            "the API server cannot be asked about the token",
            unavailable.to_string(),
        )
        .retry_after(5)),
    }
}

/// The token of a request. The scheme is spelled in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_document_has_a_rule() {
        let document: serde_json::Value = serde_json::from_str(&super::super::document()).unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys().filter(|m| *m != "parameters") {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                assert!(need(&method, path).is_some(), "{method} {path} has no rule in src/api/access.rs");
            }
        }
    }

    #[test]
    fn what_tells_needs_another_scope_than_what_asks() {
        let of = |method: Method, path: &str| need(&method, path);
        assert_eq!(of(Method::POST, "/api/v1/ingest/hosts"), Some(Need::Token(Scope::Report)));
        assert_eq!(of(Method::PUT, "/api/v1/ingest"), Some(Need::Token(Scope::Report)));
        assert_eq!(of(Method::POST, "/api/v1/rollouts/verifications"), Some(Need::Token(Scope::Report)));
        assert_eq!(of(Method::GET, "/api/v1/rollouts/verifications"), Some(Need::Token(Scope::Read)));
        assert_eq!(of(Method::POST, "/api/v1/sql"), Some(Need::Token(Scope::Read)));
        assert_eq!(of(Method::HEAD, "/api/v1/hosts"), Some(Need::Token(Scope::Read)));
        assert_eq!(of(Method::GET, "/livez"), Some(Need::Nothing));
        assert_eq!(of(Method::DELETE, "/api/v1/hosts"), None);
    }

    #[test]
    fn a_bearer_token_is_found_in_any_spelling_of_the_scheme() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer x"), Some("x".to_owned()));
        assert_eq!(of("bearer  x "), Some("x".to_owned()));
        for none in ["Basic x", "Bearer ", "Bearer", "x"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
