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
use tokio::sync::{Semaphore, SemaphorePermit};

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
/// Questions to the API server at once about tokens that are new …
const ASKING: usize = 12;
/// … and about those that were good before: however many try what is none, accounts that are at work are let in.
const ASKING_AGAIN: usize = 4;
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
    /// Tokens that are nobody's, and until when that is believed; apart, so that many of them push out none that is good.
    refused: Mutex<HashMap<Digest, Instant>>,
    asking: Semaphore,
    asking_again: Semaphore,
}

/// What is remembered of an account's token.
#[derive(Clone)]
struct Known {
    until: Instant,
    user: UserInfo,
    scopes: HashMap<Scope, (bool, Instant)>,
}

impl Reviews {
    /// Accounts present tokens made for this audience; roles in this namespace, or cluster roles, say what they may.
    pub fn new(client: Client, audience: String, namespace: String) -> Reviews {
        Reviews {
            client,
            audience,
            namespace,
            known: Mutex::default(),
            refused: Mutex::default(),
            asking: Semaphore::new(ASKING),
            asking_again: Semaphore::new(ASKING_AGAIN),
        }
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
        if let Some(known) = self.known_user(digest) {
            return Ok(known);
        }
        let _slot = self.slot(digest).await?;
        // Others may have asked about the same token meanwhile.
        if let Some(known) = self.known_user(digest) {
            return Ok(known);
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) },
            ..TokenReview::default()
        };
        let status = self.ask(review).await?.status.unwrap_or_default();
        let meant = status.audiences.unwrap_or_default().contains(&self.audience);
        let user = status.user.filter(|_| status.authenticated == Some(true) && meant);
        let now = Instant::now();
        match &user {
            Some(user) => {
                self.refused.lock().remove(&digest);
                let known = Known { until: now + GOOD, user: user.clone(), scopes: HashMap::new() };
                remember(&mut self.known.lock(), digest, known, |k| k.until > now);
            }
            None => {
                self.known.lock().remove(&digest);
                remember(&mut self.refused.lock(), digest, now + BAD, |until| *until > now);
            }
        }
        Ok(user)
    }

    /// What is still believed of a token, if anything.
    fn known_user(&self, digest: Digest) -> Option<Option<UserInfo>> {
        let now = Instant::now();
        if let Some(known) = self.known.lock().get(&digest).filter(|k| k.until > now) {
            return Some(Some(known.user.clone()));
        }
        self.refused.lock().get(&digest).is_some_and(|until| *until > now).then_some(None)
    }

    /// Leave to ask the API server about a token.
    async fn slot(&self, digest: Digest) -> Result<SemaphorePermit<'_>, Unavailable> {
        let was_good = self.known.lock().contains_key(&digest);
        let slots = if was_good { &self.asking_again } else { &self.asking };
        match tokio::time::timeout(ANSWERS, slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Unavailable("too many tokens wait to be asked about".to_owned())),
        }
    }

    async fn may(&self, digest: Digest, user: &UserInfo, scope: Scope) -> Result<bool, Unavailable> {
        let now = Instant::now();
        let known = || self.known.lock().get(&digest).and_then(|k| k.scopes.get(&scope).copied()).filter(|k| k.1 > now);
        if let Some((allowed, _)) = known() {
            return Ok(allowed);
        }
        let _slot = self.slot(digest).await?;
        if let Some((allowed, _)) = known() {
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
}

/// Remembers something of a token; of too many, those are forgotten that are not believed any more, or else all.
fn remember<T>(all: &mut HashMap<Digest, T>, digest: Digest, one: T, believed: impl Fn(&T) -> bool) {
    if all.len() >= KNOWN_MAX {
        all.retain(|_, known| believed(known));
        if all.len() >= KNOWN_MAX {
            all.clear();
        }
    }
    all.insert(digest, one);
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
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    const GOOD_TOKEN: &str = "good.to.go";

    /// Reviews by an API server that knows tokens beginning with `good`, lets them read, and counts what it is asked.
    fn reviews() -> (Reviews, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = tower::service_fn(move |request: Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut review: Value = serde_json::from_slice(&body).unwrap();
                // As one that has more to do than this.
                tokio::task::yield_now().await;
                review["status"] = match review["spec"]["token"].as_str() {
                    Some(token) if token.starts_with("good") => {
                        json!({"authenticated": true, "audiences": ["koh"], "user": {"username": token}})
                    }
                    Some(_) => json!({"authenticated": false}),
                    None => json!({"allowed": review["spec"]["resourceAttributes"]["verb"] == "read"}),
                };
                Ok::<_, Infallible>(Response::new(Body::from(serde_json::to_vec(&review).unwrap())))
            }
        });
        (Reviews::new(Client::new(server, "hub"), "koh".to_owned(), "hub".to_owned()), asked)
    }

    async fn reads(reviews: &Reviews, token: &str) -> bool {
        matches!(reviews.verdict(token, Scope::Read).await, Ok(Verdict::Allowed(_)))
    }

    #[tokio::test]
    async fn many_tokens_that_are_nobodys_push_out_no_account() {
        let (reviews, asked) = reviews();
        assert!(reads(&reviews, GOOD_TOKEN).await);
        for n in 0..=KNOWN_MAX {
            assert!(!reads(&reviews, &format!("bad.{n}.x")).await);
        }
        let before = asked.load(Ordering::SeqCst);
        assert!(reads(&reviews, GOOD_TOKEN).await);
        assert_eq!(asked.load(Ordering::SeqCst), before, "it is known still");
        assert!(reviews.refused.lock().len() <= KNOWN_MAX);
    }

    #[tokio::test]
    async fn an_account_at_work_does_not_stand_behind_tokens_that_are_new() {
        let (reviews, asked) = reviews();
        assert!(reads(&reviews, GOOD_TOKEN).await);
        let _all = reviews.asking.acquire_many(ASKING as u32).await.unwrap();
        reviews.known.lock().values_mut().for_each(|known| known.until = Instant::now());
        assert!(reads(&reviews, GOOD_TOKEN).await);
        assert_eq!(asked.load(Ordering::SeqCst), 4, "both reviews once more");
    }

    #[tokio::test]
    async fn a_token_that_many_present_at_once_is_asked_about_a_few_times() {
        let (reviews, asked) = reviews();
        let all = futures::future::join_all((0..500).map(|_| reads(&reviews, GOOD_TOKEN))).await;
        assert!(all.into_iter().all(|read| read));
        assert!(asked.load(Ordering::SeqCst) <= 2 * ASKING, "{asked:?}");
    }

    #[test]
    fn only_what_looks_like_a_signed_token_is_shown_to_the_api_server() {
        assert!(Reviews::concerns("aaa.bbb.ccc"));
        for other in ["koh_0123", "a.b", "a.b.c.d", "..", ""] {
            assert!(!Reviews::concerns(other), "{other}");
        }
        assert!(!Reviews::concerns(&format!("a.{}.c", "b".repeat(TOKEN_MAX))));
    }
}
