//! The answer of the hub that this one replaces: subscribers of an endpoint by their last word on a commit (design §7).
//!
//! Invariant: endpoints and commits match in any spelling, by equality of their normal forms; there are no wildcards.

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Restriction;
use crate::model::Status;
use crate::normalize;
use crate::state::State;
use crate::state::labelled::Labelled;
use crate::state::walk::Walk;

/// A subscriber of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Subscriber {
    /// Reconciler name.
    pub name: String,
    /// Host name.
    pub host: String,
    /// Message of its last word on the commit.
    pub status_message: String,
}

/// Subscribers of an endpoint by their last word on a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeploymentState {
    /// Current subscribers of the endpoint.
    pub total_subscribers: u64,
    /// Those whose last word on the commit is success.
    pub total_succeeded_subscribers: u64,
    /// Those whose last word on it is failure.
    pub total_failed_subscribers: u64,
    /// Those whose last word on it is another.
    pub total_in_progress_subscribers: u64,
    /// Subscribers that run the commit now.
    pub currently_running: u64,
    /// Succeeded.
    pub succeeded_subscribers: Vec<Subscriber>,
    /// Failed.
    pub failed_subscribers: Vec<Subscriber>,
    /// In progress.
    pub in_progress_subscribers: Vec<Subscriber>,
}

/// Who subscribes to the endpoint, and how they fared with the commit.
pub fn deployment_state(state: &State, endpoint: &str, commit: &str, sees: &Restriction) -> DeploymentState {
    let t = state.view();
    let mut answer = DeploymentState::default();
    let commit = normalize::commit(commit).and_then(|c| state.index().name(t, &c));
    let mut walk = Walk::default();
    let theirs = |target: &u32| t.targets.get(*target).is_some_and(|r| sees.sees_workspace(t.text(r.workspace)));
    let mut labelled = Labelled::default();
    for endpoint in super::question::endpoints(state, endpoint) {
        if !sees.workspaces.is_empty() && !state.index().targets_at(endpoint).iter().any(theirs) {
            continue;
        }
        for &id in state.index().subscribers(endpoint) {
            let Some(r) = t.reconcilers.get(id).filter(|r| r.now.alive() && r.now.endpoint == endpoint) else {
                continue;
            };
            if !labelled.has(t, r.host, &sees.hosts) {
                continue;
            }
            answer.total_subscribers += 1;
            let Some(commit) = commit else { continue };
            answer.currently_running += u64::from(r.now.applied == commit);
            t.walk(id, &mut walk);
            let Some(word) = walk.word_on(endpoint, commit) else { continue };
            let subscriber = Subscriber {
                name: t.text(r.name).to_owned(),
                host: t.host_name(r.host).to_owned(),
                status_message: t.text(word.message).to_owned(),
            };
            let (count, list) = match word.status {
                Status::Success => (&mut answer.total_succeeded_subscribers, &mut answer.succeeded_subscribers),
                Status::Failure => (&mut answer.total_failed_subscribers, &mut answer.failed_subscribers),
                Status::InProgress | Status::Unknown => {
                    (&mut answer.total_in_progress_subscribers, &mut answer.in_progress_subscribers)
                }
            };
            *count += 1;
            list.push(subscriber);
        }
    }
    for list in [&mut answer.succeeded_subscribers, &mut answer.failed_subscribers, &mut answer.in_progress_subscribers]
    {
        list.sort_by(|a, b| (&a.host, &a.name).cmp(&(&b.host, &b.name)));
    }
    answer
}
