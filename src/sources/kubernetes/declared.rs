//! `Reconciler` and `Cluster` resources: each says its thing itself, so each change is one observation.
//!
//! Invariant: nothing is kept of an object but its name, and that only while a list is under way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::status::{Desired, Shown, Statuses, reason};
use super::{ObjectName, Taker, object};
use crate::model::{CarrierKey, Observation, ResourceKind};
use crate::normalize::{Rejection, keys};

/// The longest pause before what was not taken is offered again.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// One kind that speaks for itself.
pub(super) struct Declared<T> {
    pub(super) kind: ResourceKind,
    pub(super) source: String,
    pub(super) taker: Arc<T>,
    pub(super) statuses: Statuses,
}

impl<T: Taker> Declared<T> {
    pub(super) async fn run(self, mut events: mpsc::Receiver<Vec<Event<DynamicObject>>>, cancel: CancellationToken) {
        let mut shown = HashSet::new();
        loop {
            let batch = tokio::select! {
                () = cancel.cancelled() => return,
                batch = events.recv() => batch,
            };
            let Some(batch) = batch else { return };
            let mut turn = Turn::default();
            for event in batch {
                match event {
                    Event::Init => shown = HashSet::new(),
                    Event::InitApply(object) => {
                        let name = ObjectName::of(&object.metadata);
                        shown.insert(keys::resource(&self.source, self.kind, &name.namespace, &name.name));
                        self.state(&object, &mut turn);
                    }
                    Event::Apply(object) => self.state(&object, &mut turn),
                    Event::Delete(object) => {
                        self.statuses.forget(self.kind, &ObjectName::of(&object.metadata));
                        turn.said.push(Ok(object::gone(self.kind, &object, &self.source)));
                        turn.about.push(None);
                    }
                    Event::InitDone => {
                        if !self.flush(std::mem::take(&mut turn), &cancel).await
                            || !listed(&*self.taker, self.kind, std::mem::take(&mut shown), &cancel).await
                        {
                            return;
                        }
                    }
                }
            }
            if !self.flush(turn, &cancel).await {
                return;
            }
        }
    }

    fn state(&self, object: &DynamicObject, turn: &mut Turn) {
        turn.said.push(object::stated(self.kind, object, &self.source));
        turn.about.push(Some(About::of(object)));
    }

    async fn flush(&self, turn: Turn, cancel: &CancellationToken) -> bool {
        let Some(rejected) = hand_over(&*self.taker, turn.said, cancel).await else { return false };
        for (about, rejection) in turn.about.into_iter().zip(rejected) {
            match (about, rejection) {
                (Some(about), Some(rejection)) => about.refuse(self.kind, &rejection, &self.statuses),
                (Some(about), None) => about.accept(self.kind, &self.statuses),
                (None, _) => {}
            }
        }
        true
    }
}

/// What one batch of events says, and about whom.
#[derive(Default)]
struct Turn {
    said: Vec<Result<Observation, Rejection>>,
    about: Vec<Option<About>>,
}

/// The object an answer is about.
struct About {
    name: ObjectName,
    generation: i64,
    shown: Shown,
}

impl About {
    fn of(object: &DynamicObject) -> About {
        About {
            name: ObjectName::of(&object.metadata),
            generation: object.metadata.generation.unwrap_or_default(),
            shown: Shown::of(object),
        }
    }

    fn accept(self, kind: ResourceKind, statuses: &Statuses) {
        let desired = Desired {
            ready: true,
            reason: reason::ACCEPTED,
            message: String::new(),
            generation: self.generation,
            commit: None,
            since: None,
            event: false,
        };
        statuses.set(kind, &self.name, self.shown, desired);
    }

    fn refuse(self, kind: ResourceKind, rejection: &Rejection, statuses: &Statuses) {
        tracing::warn!(
            kind = kind.as_str(),
            name = %self.name,
            title = rejection.title,
            detail = rejection.detail,
            "a resource says what the hub cannot take"
        );
        let desired = Desired {
            ready: false,
            reason: reason::INVALID,
            message: format!("{}: {}", rejection.title, rejection.detail),
            generation: self.generation,
            commit: None,
            since: None,
            event: true,
        };
        statuses.set(kind, &self.name, self.shown, desired);
    }
}

/// Offers what was said until it is taken; `None` when cancelled.
pub(super) async fn hand_over<T: Taker>(
    taker: &T,
    said: Vec<Result<Observation, Rejection>>,
    cancel: &CancellationToken,
) -> Option<Vec<Option<Rejection>>> {
    if said.is_empty() {
        return Some(Vec::new());
    }
    insist(cancel, "the hub did not take what the API server says", || taker.take(said.clone())).await
}

/// Says until it is heard that a list is complete; false when cancelled.
pub(super) async fn listed<T: Taker>(
    taker: &T,
    kind: ResourceKind,
    shown: HashSet<CarrierKey>,
    cancel: &CancellationToken,
) -> bool {
    let gone = insist(cancel, "the hub could not let go of what vanished", || taker.listed(kind, shown.clone())).await;
    if let Some(gone) = gone.filter(|gone| *gone > 0) {
        tracing::info!(kind = kind.as_str(), gone, "resources vanished while nobody watched");
    }
    gone.is_some()
}

async fn insist<'a, R>(
    cancel: &CancellationToken,
    complaint: &str,
    attempt: impl Fn() -> futures::future::BoxFuture<'a, anyhow::Result<R>>,
) -> Option<R> {
    let mut pause = Duration::from_millis(250);
    loop {
        match attempt().await {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "{complaint}; trying again"),
        }
        tokio::select! {
            () = cancel.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
