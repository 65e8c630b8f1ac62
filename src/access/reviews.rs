//! ServiceAccounts as clients: the API server says whose token it is (TokenReview) and what that account may do
//! (SubjectAccessReview on the resource `hubs` of the group `hub.kalypso.io`, with the scope as the verb).
//!
//! Invariant: nobody gets in on an answer that was not given: an API server that cannot be asked is an error of its own, never a
//! refusal and never a pass. What was answered is kept for a minute, under the hash of the token.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Digest, Scope};

/// The group of the resource that roles name.
pub const GROUP: &str = "hub.kalypso.io";
/// The resource that roles name.
pub const RESOURCE: &str = "hubs";

/// An answer is good for this long; so long may an account that was deleted still get in.
const GOOD: Duration = Duration::from_secs(60);
/// A refusal is remembered for less: roles are bound after the first attempt.
const BAD: Duration = Duration::from_secs(5);
/// An API server that has not answered by then does not answer: the client would go on asking.
const ANSWERS: Duration = Duration::from_secs(5);
/// The most tokens that are remembered.
const KNOWN_MAX: usize = 10_000;
/// Questions to the API server at once.
const ASKING: usize = 16;
/// No token of an account is longer.
const TOKEN_MAX: usize = 16 * 1024;

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is nobody's, or not meant for this hub.
    Unknown,
    /// It is this account's, which may not do that.
    Denied(String),
    /// It is this account's, which may.
    Allowed(String),
}

/// The API server could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the API server cannot be asked about a token: {0}")]
pub struct Unavailable(String);

/// Asks an API server.
pub struct Reviews {
    client: Client,
    audience: String,
    namespace: String,
    known: Mutex<HashMap<Digest, Known>>,
    asking: Semaphore,
}

/// What is remembered of one token.
#[derive(Clone)]
struct Known {
    until: Instant,
    user: Option<UserInfo>,
    scopes: HashMap<Scope, (bool, Instant)>,
}

impl Reviews {
    /// Accounts present tokens made for this audience; roles in this namespace, or cluster roles, say what they may.
    pub fn new(client: Client, audience: String, namespace: String) -> Reviews {
        Reviews { client, audience, namespace, known: Mutex::default(), asking: Semaphore::new(ASKING) }
    }

    /// Whether a token looks like one that an API server signed.
    pub fn concerns(token: &str) -> bool {
        token.len() <= TOKEN_MAX && token.split('.').count() == 3 && token.split('.').all(|part| !part.is_empty())
    }

    /// Whether the account of a token may do what needs this scope.
    pub async fn verdict(&self, token: &str, scope: Scope) -> Result<Verdict, Unavailable> {
        let digest = Digest::of(token);
        let Some(user) = self.user(digest, token).await? else { return Ok(Verdict::Unknown) };
        let name = user.username.clone().unwrap_or_default();
        for asked in [scope, Scope::Admin] {
            if self.may(digest, &user, asked).await? {
                return Ok(Verdict::Allowed(name));
            }
        }
        Ok(Verdict::Denied(name))
    }

    async fn user(&self, digest: Digest, token: &str) -> Result<Option<UserInfo>, Unavailable> {
        if let Some(known) = self.known.lock().get(&digest).filter(|k| k.until > Instant::now()) {
            return Ok(known.user.clone());
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) },
            ..TokenReview::default()
        };
        let status = self.ask(review).await?.status.unwrap_or_default();
        let meant = status.audiences.unwrap_or_default().contains(&self.audience);
        let user = status.user.filter(|_| status.authenticated == Some(true) && meant);
        let until = Instant::now() + if user.is_some() { GOOD } else { BAD };
        self.remember(digest, Known { until, user: user.clone(), scopes: HashMap::new() });
        Ok(user)
    }

    async fn may(&self, digest: Digest, user: &UserInfo, scope: Scope) -> Result<bool, Unavailable> {
        let now = Instant::now();
        let known = self.known.lock().get(&digest).and_then(|k| k.scopes.get(&scope).copied());
        if let Some((allowed, _)) = known.filter(|(_, until)| *until > now) {
            return Ok(allowed);
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                groups: user.groups.clone(),
                uid: user.uid.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(RESOURCE.to_owned()),
                    verb: Some(scope.as_str().to_owned()),
                    namespace: Some(self.namespace.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let allowed = self.ask(review).await?.status.is_some_and(|status| status.allowed);
        if let Some(known) = self.known.lock().get_mut(&digest) {
            known.scopes.insert(scope, (allowed, now + if allowed { GOOD } else { BAD }));
        }
        Ok(allowed)
    }

    async fn ask<K>(&self, review: K) -> Result<K, Unavailable>
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
        K: Clone + Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        // The semaphore is never closed.
        let _slot = self.asking.acquire().await.map_err(|e| Unavailable(e.to_string()))?;
        let api: Api<K> = Api::all(self.client.clone());
        let kind = K::plural(&());
        let why = match tokio::time::timeout(ANSWERS, api.create(&PostParams::default(), &review)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                format!(
                    "the hub may not create {kind}: bind the role of schema/rbac-reviews.yaml to its ServiceAccount"
                )
            }
            // The request holds the token, the message does not.
            Ok(Err(error)) => format!("{kind}: {error}"),
            Err(_) => format!("{kind}: no answer within {} s", ANSWERS.as_secs()),
        };
        tracing::warn!("{why}");
        Err(Unavailable(why))
    }

    fn remember(&self, digest: Digest, answer: Known) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            let now = Instant::now();
            known.retain(|_, k| k.until > now);
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
        }
        known.insert(digest, answer);
    }
}

impl Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews")
            .field("audience", &self.audience)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_signed_token_is_shown_to_the_api_server() {
        assert!(Reviews::concerns("aaa.bbb.ccc"));
        for other in ["koh_0123", "a.b", "a.b.c.d", "..", ""] {
            assert!(!Reviews::concerns(other), "{other}");
        }
        assert!(!Reviews::concerns(&format!("a.{}.c", "b".repeat(TOKEN_MAX))));
    }
}
