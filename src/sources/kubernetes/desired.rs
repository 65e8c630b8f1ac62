//! `DeploymentDescriptor` resources and the Flux objects that tell at which commit they stand.
//!
//! One task reads the three streams, so that [`attribution`](super::attribution) sees everything in one order. Invariant: a
//! descriptor is told to the hub at a commit or not at all; what waits is kept here and in the API server, never half stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attribution::{Attribution, Recording, Seen, Step, Waiting};
use super::declared::{hand_over, listed};
use super::status::{Desired as DesiredStatus, Shown, Statuses, reason};
use super::{ObjectName, Options, Taker, flux, object, resource_version};
use crate::model::{Carrier, Observation, ResourceKind, Said, SightingSaid, When};
use crate::normalize::{self, Rejection, keys};

const KIND: ResourceKind = ResourceKind::DeploymentDescriptor;

/// Descriptors that appeared are listed with this page size when the API server is asked about one Kustomization.
const PAGE: u32 = 500;

/// The desired state, as Flux delivers it.
pub(super) struct Desired<T> {
    client: Client,
    namespace: Option<String>,
    source: String,
    taker: Arc<T>,
    statuses: Statuses,
    attribution: Attribution,
    /// What each descriptor shows, and what is wrong with it.
    objects: HashMap<ObjectName, Known>,
    shown: HashSet<ObjectName>,
    owners: HashSet<ObjectName>,
}

/// What is remembered of a descriptor besides its content.
struct Known {
    shown: Shown,
    generation: i64,
    since: u64,
    rejection: Option<Rejection>,
    /// The commit it is recorded at.
    commit: Option<String>,
}

/// An answer about the descriptors of one Kustomization.
type Probed = (ObjectName, Option<HashMap<ObjectName, u64>>);

impl<T: Taker> Desired<T> {
    pub(super) fn new(client: Client, options: &Options, taker: Arc<T>, statuses: Statuses) -> Desired<T> {
        Desired {
            client,
            namespace: options.namespace.clone(),
            source: options.source.clone(),
            taker,
            statuses,
            attribution: Attribution::default(),
            objects: HashMap::new(),
            shown: HashSet::new(),
            owners: HashSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut kustomizations: mpsc::Receiver<Vec<Event<DynamicObject>>>,
        mut repositories: mpsc::Receiver<Vec<Event<DynamicObject>>>,
        mut descriptors: mpsc::Receiver<Vec<Event<DynamicObject>>>,
        cancel: CancellationToken,
    ) {
        let (tell, mut probed) = mpsc::channel::<Probed>(16);
        let mut probes: HashMap<ObjectName, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            let mut turn = Turn::default();
            tokio::select! {
                () = cancel.cancelled() => return,
                Some((owner, answer)) = probed.recv() => {
                    probes.remove(&owner);
                    let steps = self.attribution.probed(&owner, answer);
                    self.follow(steps, &mut turn);
                }
                Some(events) = repositories.recv() => self.repositories(events, &mut turn),
                Some(events) = kustomizations.recv() => self.kustomizations(events, &mut turn),
                Some(events) = descriptors.recv() => self.descriptors(events, &mut turn),
                else => return,
            }
            if !self.flush(&mut turn, &cancel).await {
                return;
            }
            for owner in turn.probes {
                let probe = probe(self.client.clone(), self.namespace.clone(), owner.clone(), tell.clone());
                probes.insert(owner, AbortOnDropHandle::new(tokio::spawn(probe)));
            }
        }
    }

    fn repositories(&mut self, events: Vec<Event<DynamicObject>>, turn: &mut Turn) {
        for event in events {
            let steps = match event {
                Event::Apply(object) | Event::InitApply(object) => {
                    self.attribution.branch(&ObjectName::of(&object.metadata), flux::branch(&object))
                }
                Event::Delete(object) => {
                    self.attribution.branch_gone(&ObjectName::of(&object.metadata));
                    Vec::new()
                }
                Event::Init | Event::InitDone => Vec::new(),
            };
            self.follow(steps, turn);
        }
    }

    fn kustomizations(&mut self, events: Vec<Event<DynamicObject>>, turn: &mut Turn) {
        for event in events {
            match event {
                Event::Init => self.owners = HashSet::new(),
                Event::InitApply(object) => {
                    self.owners.insert(ObjectName::of(&object.metadata));
                    self.kustomization(&object, turn);
                }
                Event::Apply(object) => self.kustomization(&object, turn),
                Event::Delete(object) => {
                    let name = ObjectName::of(&object.metadata);
                    self.attribution.owner_gone(&name);
                    turn.touched.extend(self.attribution.owned(&name));
                }
                Event::InitDone => self.attribution.owners_listed(&std::mem::take(&mut self.owners)),
            }
        }
    }

    fn kustomization(&mut self, object: &DynamicObject, turn: &mut Turn) {
        let name = ObjectName::of(&object.metadata);
        let steps = self.attribution.owner(&name, flux::kustomization(object));
        self.follow(steps, turn);
        turn.touched.extend(self.attribution.owned(&name));
    }

    fn descriptors(&mut self, events: Vec<Event<DynamicObject>>, turn: &mut Turn) {
        for event in events {
            match event {
                Event::Init => {
                    self.shown = HashSet::new();
                    self.attribution.listing();
                }
                Event::InitApply(object) => {
                    self.shown.insert(ObjectName::of(&object.metadata));
                    self.descriptor(&object, turn);
                }
                Event::Apply(object) => self.descriptor(&object, turn),
                Event::Delete(object) => {
                    let name = ObjectName::of(&object.metadata);
                    let steps = self.attribution.descriptor_gone(&name, resource_version(&object.metadata));
                    self.follow(steps, turn);
                    self.objects.remove(&name);
                    self.statuses.forget(KIND, &name);
                    turn.said.push(Ok(object::gone(KIND, &object, &self.source)));
                    turn.about.push(None);
                }
                Event::InitDone => {
                    let steps = self.attribution.listed(&self.shown);
                    self.objects.retain(|name, _| self.shown.contains(name));
                    self.follow(steps, turn);
                    turn.listed = Some(std::mem::take(&mut self.shown));
                }
            }
        }
    }

    fn descriptor(&mut self, object: &DynamicObject, turn: &mut Turn) {
        let name = ObjectName::of(&object.metadata);
        let shown = Shown::of(object);
        let generation = object.metadata.generation.unwrap_or_default();
        let version = resource_version(&object.metadata);
        let since = shown.since.filter(|_| shown.generation == Some(generation));
        let known = self.objects.remove(&name);
        let same = known.filter(|k| k.shown.uid == shown.uid && k.generation == generation);
        let known = Known {
            since: same.as_ref().map_or(since.unwrap_or(version), |k| k.since),
            commit: same.and_then(|k| k.commit),
            rejection: None,
            generation,
            shown,
        };
        match object::stated(KIND, object, &self.source) {
            Ok(Observation { said: Said::Descriptor(said), when, .. }) => {
                let seen = Seen {
                    uid: known.shown.uid.clone(),
                    generation,
                    resource_version: version,
                    since,
                    owner: flux::owner(&object.metadata),
                    said: *said,
                    said_at: when.event,
                };
                self.objects.insert(name.clone(), known);
                let steps = self.attribution.descriptor(&name, seen);
                self.follow(steps, turn);
            }
            Ok(_) => {}
            Err(rejection) => {
                self.objects.insert(name.clone(), known);
                turn.said.push(Err(rejection));
                turn.about.push(Some((name.clone(), generation, None)));
                let steps = self.attribution.descriptor_gone(&name, version);
                self.follow(steps, turn);
            }
        }
        turn.touched.insert(name);
    }

    fn follow(&mut self, steps: Vec<Step>, turn: &mut Turn) {
        for step in steps {
            match step {
                Step::Probe { owner } => turn.probes.push(owner),
                Step::Sight { owner, repo, branch, revision, at } => {
                    let watcher = format!("Kustomization/{owner}");
                    turn.said.push(Ok(Observation {
                        source: self.source.clone(),
                        carrier: Carrier::Natural,
                        when: When { event: at, object_version: None, idempotency: None },
                        said: Said::Sighting(Box::new(SightingSaid { watcher, repo, branch, commit: revision })),
                    }));
                    turn.about.push(None);
                }
                Step::Record(recording) => {
                    turn.about.push(Some((recording.name.clone(), recording.generation, commit(&recording))));
                    turn.said.push(Ok(observation(*recording, &self.source)));
                }
            }
        }
    }

    /// Tells the hub, then the objects, what came of a turn; false when cancelled.
    async fn flush(&mut self, turn: &mut Turn, cancel: &CancellationToken) -> bool {
        let Some(rejected) = hand_over(&*self.taker, std::mem::take(&mut turn.said), cancel).await else {
            return false;
        };
        for (about, rejection) in std::mem::take(&mut turn.about).into_iter().zip(rejected) {
            let Some((name, generation, commit)) = about else { continue };
            if let Some(known) = self.objects.get_mut(&name) {
                match rejection {
                    Some(rejection) if known.generation == generation => known.rejection = Some(rejection),
                    Some(_) => {}
                    None => known.commit = commit,
                }
            }
            turn.touched.insert(name);
        }
        if let Some(shown) = turn.listed.take() {
            let carriers = shown.iter().map(|n| keys::resource(&self.source, KIND, &n.namespace, &n.name)).collect();
            if !listed(&*self.taker, KIND, carriers, cancel).await {
                return false;
            }
        }
        for name in std::mem::take(&mut turn.touched) {
            self.show(&name);
        }
        true
    }

    /// Queues what a descriptor should show.
    fn show(&self, name: &ObjectName) {
        let Some(known) = self.objects.get(name) else { return };
        let (ready, reason, message) = match (&known.rejection, self.attribution.waiting(name)) {
            (Some(rejection), _) => (false, reason::INVALID, format!("{}: {}", rejection.title, rejection.detail)),
            (None, None) => {
                (true, reason::RECORDED, format!("recorded at {}", known.commit.as_deref().unwrap_or("its commit")))
            }
            (None, Some(waiting)) => (false, reason::AWAITING, explain(&waiting)),
        };
        let desired = DesiredStatus {
            ready,
            reason,
            message,
            generation: known.generation,
            commit: known.commit.clone(),
            since: Some(known.since),
            event: true,
        };
        self.statuses.set(KIND, name, known.shown.clone(), desired);
    }
}

/// What a batch of events leads to.
#[derive(Default)]
struct Turn {
    said: Vec<Result<Observation, Rejection>>,
    /// Of what records a descriptor, or cannot be read: its name, the generation, the commit.
    about: Vec<Option<(ObjectName, i64, Option<String>)>>,
    /// Descriptors whose status may have changed.
    touched: HashSet<ObjectName>,
    probes: Vec<ObjectName>,
    listed: Option<HashSet<ObjectName>>,
}

fn commit(recording: &Recording) -> Option<String> {
    recording.revision.as_ref().or(recording.said.gitops_revision.as_ref()).and_then(|raw| normalize::commit(raw))
}

fn observation(recording: Recording, source: &str) -> Observation {
    let Recording { name, uid, generation, said, revision, at, .. } = recording;
    let mut said = said;
    if revision.is_some() {
        said.gitops_revision = revision;
    }
    let version = format!("{uid}/{generation}/{}", said.gitops_revision.as_deref().unwrap_or_default());
    Observation {
        source: source.to_owned(),
        carrier: Carrier::Resource { kind: KIND, namespace: name.namespace, name: name.name },
        when: When { event: at, object_version: Some(version), idempotency: None },
        said: Said::Descriptor(Box::new(said)),
    }
}

fn explain(waiting: &Waiting) -> String {
    match waiting {
        Waiting::NoOwner => {
            "no Flux Kustomization applied it, and spec.deploymentTarget.manifests.commit is not set: set \
                             it, or let Flux deliver the descriptor"
                .to_owned()
        }
        Waiting::OwnerUnseen(owner) => format!("its Kustomization {owner} is not there, or the hub may not see it"),
        Waiting::Unsettled(why) => why.clone(),
    }
}

/// Asks which descriptors a Kustomization owns now.
async fn probe(client: Client, namespace: Option<String>, owner: ObjectName, tell: mpsc::Sender<Probed>) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("hub.kalypso.io", "v1alpha1", KIND.as_str()));
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let mut params = ListParams::default().labels(&flux::owned_by(&owner)).limit(PAGE);
    let mut found = HashMap::new();
    let answer = loop {
        match api.list_metadata(&params).await {
            Ok(page) => {
                found.extend(page.items.iter().map(|o| (ObjectName::of(&o.metadata), resource_version(&o.metadata))));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break Some(found),
                }
            }
            Err(error) => {
                tracing::debug!(%owner, %error, "the descriptors of a Kustomization could not be listed; trying again");
                // A continued list may have expired: begin anew.
                params = ListParams::default().labels(&flux::owned_by(&owner)).limit(PAGE);
                found = HashMap::new();
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    };
    // Nobody listens any more: the hub is stopping.
    let _ = tell.send((owner, answer)).await;
}
