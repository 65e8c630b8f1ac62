//! Writes what the hub observed back into the resources: one writer, at a limited rate, only what differs, only the leader.
//!
//! Invariant: what is queued is the newest observation per object; what the object already shows is never written again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::ObjectName;
use crate::model::ResourceKind;
use crate::sources::resource;

/// The name under which the hub owns the fields it writes.
const MANAGER: &str = "koh";
/// The time between two writes.
const PACE: Duration = Duration::from_millis(20);
/// The most objects that wait for their status; beyond it a new list finds what was passed over.
const MOST: usize = 20_000;
/// The longest message of a condition.
const MESSAGE: usize = 1024;

/// What an object should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Desired {
    pub(super) ready: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) generation: i64,
    /// Of a descriptor: the commit it is recorded at.
    pub(super) commit: Option<String>,
    /// Of a descriptor: the resourceVersion at which its generation was first seen.
    pub(super) since: Option<u64>,
    /// Whether a person should see it as an event.
    pub(super) event: bool,
}

/// What an object shows now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shown {
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) generation: Option<i64>,
    pub(super) ready: Option<Condition>,
    pub(super) commit: Option<String>,
    pub(super) since: Option<u64>,
}

impl Shown {
    pub(super) fn of(object: &DynamicObject) -> Shown {
        let status = &object.data["status"];
        let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
        Shown {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            generation: status["observedGeneration"].as_i64(),
            ready: conditions.into_iter().find(|c| c.type_ == "Ready"),
            commit: status["gitOpsCommitId"].as_str().map(str::to_owned),
            since: status["observedResourceVersion"].as_str().and_then(|version| version.parse().ok()),
        }
    }

    fn shows(&self, desired: &Desired) -> bool {
        self.generation == Some(desired.generation)
            && self.commit == desired.commit
            && self.since == desired.since
            && self.ready.as_ref().is_some_and(|c| {
                c.status == status_word(desired.ready)
                    && c.reason == desired.reason
                    && c.message == cut(&desired.message)
            })
    }
}

/// Where observations are put for the writer.
#[derive(Clone, Debug)]
pub(super) struct Statuses(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Key>,
    entries: HashMap<Key, (Shown, Desired)>,
    /// Some objects were passed over.
    overflowed: bool,
}

type Key = (&'static str, ObjectName);

/// A queue and its writer.
pub(super) fn queue(client: Client) -> (Statuses, Writer) {
    let queue = Arc::new(Queue::default());
    let recorder = Recorder::new(client.clone(), MANAGER.into());
    (Statuses(Arc::clone(&queue)), Writer { queue, client, recorder, again: watch::Sender::new(0) })
}

impl Statuses {
    /// An object shows one thing and should show another; or it shows it already, then nothing is to be written any more.
    pub(super) fn set(&self, kind: ResourceKind, name: &ObjectName, shown: Shown, desired: Desired) {
        let key = (kind.as_str(), name.clone());
        let mut waiting = self.0.waiting.lock();
        if shown.shows(&desired) {
            waiting.entries.remove(&key);
            return;
        }
        let known = waiting.entries.contains_key(&key);
        if !known && waiting.entries.len() >= MOST {
            waiting.overflowed = true;
            return;
        }
        waiting.entries.insert(key.clone(), (shown, desired));
        if !known {
            waiting.order.push_back(key);
        }
        self.0.arrived.notify_one();
    }

    /// An object is gone.
    pub(super) fn forget(&self, kind: ResourceKind, name: &ObjectName) {
        self.0.waiting.lock().entries.remove(&(kind.as_str(), name.clone()));
    }
}

/// The one writer.
pub(super) struct Writer {
    queue: Arc<Queue>,
    client: Client,
    recorder: Recorder,
    again: watch::Sender<u64>,
}

impl Writer {
    /// Moves when everything must be listed again.
    pub(super) fn again(&self) -> watch::Receiver<u64> {
        self.again.subscribe()
    }

    /// Writes while this hub is the leader, until cancelled.
    pub(super) async fn run(self, mut leader: watch::Receiver<bool>, cancel: CancellationToken) {
        let work = async {
            loop {
                // Without anybody who competes for the lease this hub never leads.
                if leader.wait_for(|leads| *leads).await.is_err() {
                    std::future::pending::<()>().await;
                }
                match self.next() {
                    Some((key, shown, desired)) => {
                        self.write(key, shown, desired).await;
                        tokio::time::sleep(PACE).await;
                    }
                    None => self.queue.arrived.notified().await,
                }
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = work => {}
        }
    }

    fn next(&self) -> Option<(Key, Shown, Desired)> {
        let mut waiting = self.queue.waiting.lock();
        while let Some(key) = waiting.order.pop_front() {
            if let Some((shown, desired)) = waiting.entries.remove(&key) {
                return Some((key, shown, desired));
            }
        }
        if std::mem::take(&mut waiting.overflowed) {
            self.again.send_modify(|times| *times += 1);
        }
        None
    }

    async fn write(&self, key: Key, shown: Shown, desired: Desired) {
        let (kind, name) = &key;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("hub.kalypso.io", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let patch = patch(kind, name, &shown, &desired);
        match api.patch_status(&name.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(_) => self.tell(kind, name, &shown, &desired).await,
            // Changed or gone since: its next event says what to write.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 422) => {
                tracing::warn!(kind, %name, error = status.message, "the status cannot be written");
            }
            Err(error) => {
                tracing::debug!(kind, %name, %error, "the status could not be written; trying again");
                self.again_later(key, shown, desired);
                tokio::time::sleep(PACE * 50).await;
            }
        }
    }

    fn again_later(&self, key: Key, shown: Shown, desired: Desired) {
        let mut waiting = self.queue.waiting.lock();
        if !waiting.entries.contains_key(&key) {
            waiting.order.push_back(key.clone());
            waiting.entries.insert(key, (shown, desired));
        }
    }

    async fn tell(&self, kind: &str, name: &ObjectName, shown: &Shown, desired: &Desired) {
        let known =
            shown.ready.as_ref().is_some_and(|c| c.reason == desired.reason && c.message == cut(&desired.message));
        if !desired.event || known {
            return;
        }
        let event = Event {
            type_: if desired.ready || desired.reason == reason::AWAITING {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: desired.reason.to_owned(),
            note: Some(cut(&desired.message)),
            action: "Observe".to_owned(),
            secondary: None,
        };
        let about = ObjectReference {
            api_version: Some(resource::API_VERSION.to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            uid: Some(shown.uid.clone()),
            ..ObjectReference::default()
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            tracing::debug!(kind, %name, %error, "the event could not be written");
        }
    }
}

/// The reasons of the condition Ready.
pub(super) mod reason {
    /// A descriptor is recorded at its commit.
    pub(crate) const RECORDED: &str = "Recorded";
    /// A report or declaration is taken.
    pub(crate) const ACCEPTED: &str = "Accepted";
    /// Nobody told the commit of a descriptor yet.
    pub(crate) const AWAITING: &str = "AwaitingRevision";
    /// The hub cannot take what the resource says.
    pub(crate) const INVALID: &str = "Invalid";
}

fn patch(kind: &str, name: &ObjectName, shown: &Shown, desired: &Desired) -> serde_json::Value {
    let same = shown.ready.as_ref().filter(|c| c.status == status_word(desired.ready));
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: status_word(desired.ready).to_owned(),
        reason: desired.reason.to_owned(),
        message: cut(&desired.message),
        observed_generation: Some(desired.generation),
        last_transition_time: same.map_or_else(|| Time(Timestamp::now()), |c| c.last_transition_time.clone()),
    };
    let mut status = json!({ "observedGeneration": desired.generation, "conditions": [ready] });
    if let Some(commit) = &desired.commit {
        status["gitOpsCommitId"] = json!(commit);
    }
    let mut metadata = json!({ "name": name.name, "namespace": name.namespace });
    if let Some(since) = desired.since {
        status["observedResourceVersion"] = json!(since.to_string());
        // Written over a newer state this would say that the hub saw it.
        metadata["resourceVersion"] = json!(shown.resource_version);
    }
    json!({ "apiVersion": resource::API_VERSION, "kind": kind, "metadata": metadata, "status": status })
}

fn status_word(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
