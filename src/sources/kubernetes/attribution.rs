//! Which GitOps commit a descriptor was applied at: descriptors and the Kustomizations that own them, put in order.
//!
//! Flux writes a descriptor before it knows that the commit succeeded, and the two kinds arrive on streams of their own, so
//! neither order of arrival says which commit a change belongs to. Resource versions do: all objects of a cluster count in one
//! sequence. Invariant: the content recorded at a commit is the content that the descriptor had at the resource version at which
//! its Kustomization was settled on that commit; while it is not certain that the stream of descriptors has come that far,
//! nothing is recorded.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::ObjectName;
use super::flux::{Kustomization, Revision};
use crate::model::{DescriptorSaid, Micros};

/// The most revisions of one Kustomization that wait for the stream of descriptors, or for that of sources.
const MAX_WAITING: usize = 64;

/// A descriptor as the API server showed it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) resource_version: u64,
    /// The resource version at which this generation is known to have stood, from the hub's own status.
    pub(super) since: Option<u64>,
    pub(super) owner: Option<ObjectName>,
    pub(super) said: DescriptorSaid,
    /// The time that the descriptor itself names; it counts where no Kustomization tells a better one.
    pub(super) said_at: Option<Micros>,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A descriptor said this at a commit.
    Record(Box<Recording>),
    /// A Kustomization was seen on a revision of a branch.
    Sight { owner: ObjectName, repo: String, branch: String, revision: String, at: Option<Micros> },
    /// Ask the API server which descriptors the owner has now, and answer with [`Attribution::probed`].
    Probe { owner: ObjectName },
}

/// A descriptor and the commit it stood at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recording {
    pub(super) name: ObjectName,
    pub(super) uid: String,
    pub(super) generation: i64,
    /// The resource version at which this content was first seen.
    pub(super) since: u64,
    pub(super) said: DescriptorSaid,
    /// The revision to record it at; `None` when the descriptor names its commit itself.
    pub(super) revision: Option<String>,
    pub(super) at: Option<Micros>,
}

/// Why a descriptor is not recorded yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nobody tells its commit.
    NoOwner,
    /// The Kustomization its labels name is not there, or cannot be seen.
    OwnerUnseen(ObjectName),
    /// The Kustomization has not applied this content to the end.
    Unsettled(String),
}

/// One content of a descriptor.
#[derive(Clone, Debug)]
struct Version {
    /// The resource version from which on the descriptor is known to have had this content.
    since: u64,
    /// The earliest from which it may have had it, or another that was missed: a list shows only what is left of a gap.
    from: u64,
    generation: i64,
    owner: Option<ObjectName>,
    said: DescriptorSaid,
    said_at: Option<Micros>,
}

#[derive(Debug, Default)]
struct Descriptor {
    uid: String,
    /// The newest resource version seen; at least that of the newest version.
    seen: u64,
    /// Oldest first, never empty; older ones only while a settled revision may still ask for them.
    versions: VecDeque<Version>,
    /// Generation and revision recorded last.
    recorded: Option<(i64, String)>,
}

#[derive(Debug, Default)]
struct Owner {
    state: Kustomization,
    /// What it settled on last, also while it is at work again, and the resource version of that state.
    settled: Option<(Revision, u64)>,
    /// The revision seen last.
    sighted: Option<String>,
    /// Revisions seen before anybody told which branch its source follows: that kind comes on a stream of its own too.
    unfiled: VecDeque<Revision>,
    waiting: VecDeque<Settled>,
    probing: bool,
    /// It is there no more, but for what waits.
    gone: bool,
}

/// A settled revision whose descriptors are not certain yet.
#[derive(Clone, Debug)]
struct Settled {
    revision: Revision,
    resource_version: u64,
    certain: Certain,
}

/// When the content at a settled revision is certain, although the stream of descriptors is quiet.
#[derive(Clone, Debug)]
enum Certain {
    /// Nobody knows: the API server must be asked.
    Unknown,
    /// It is being asked; a question asked earlier than the revision settled does not count.
    Asked,
    /// Once the stream has shown these.
    Once(HashMap<ObjectName, u64>),
}

/// The two kinds put in order.
#[derive(Debug)]
pub(super) struct Attribution {
    descriptors: HashMap<ObjectName, Descriptor>,
    by_owner: HashMap<ObjectName, HashSet<ObjectName>>,
    owners: HashMap<ObjectName, Owner>,
    /// Owners with settled revisions that wait.
    open: BTreeSet<ObjectName>,
    /// Of each source the repository and branch it follows; `None` for one that follows no branch.
    branches: HashMap<ObjectName, Option<(String, String)>>,
    /// The stream of descriptors has shown everything up to this resource version.
    progress: u64,
    /// What the progress will be when the list under way is complete; nothing is decided before that.
    listing: Option<u64>,
}

impl Default for Attribution {
    fn default() -> Attribution {
        Attribution {
            descriptors: HashMap::new(),
            by_owner: HashMap::new(),
            owners: HashMap::new(),
            open: BTreeSet::new(),
            branches: HashMap::new(),
            progress: 0,
            // The first list is still to come.
            listing: Some(0),
        }
    }
}

impl Attribution {
    /// A list of descriptors begins: when it is complete, it will show at least what Kustomizations were settled on before.
    pub(super) fn listing(&mut self) {
        self.listing = Some(self.owners.values().map(|o| o.state.resource_version).max().unwrap_or_default());
    }

    /// The list is complete: descriptors that it did not show are gone.
    pub(super) fn listed(&mut self, shown: &HashSet<ObjectName>) -> Vec<Step> {
        let gone: Vec<ObjectName> = self.descriptors.keys().filter(|name| !shown.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        self.progress = self.progress.max(self.listing.take().unwrap_or_default());
        self.resolve_all()
    }

    /// A descriptor is there, or changed.
    pub(super) fn descriptor(&mut self, name: &ObjectName, seen: Seen) -> Vec<Step> {
        let listed = self.listing.is_some();
        // Within a list the objects come in the order of their names.
        let before = self.progress;
        if !listed {
            self.progress = self.progress.max(seen.resource_version);
        }
        let fresh = self.descriptors.get(name).is_none_or(|known| known.uid != seen.uid);
        if fresh {
            self.forget(name);
        }
        let descriptor = self.descriptors.entry(name.clone()).or_default();
        descriptor.seen = descriptor.seen.max(seen.resource_version);
        let repeats =
            descriptor.versions.back().is_some_and(|v| v.generation == seen.generation && v.owner == seen.owner);
        let owner = seen.owner.clone();
        if fresh {
            descriptor.uid = seen.uid;
        }
        if repeats {
            // The hub's own status, or somebody's label: the content is the same. Its annotations may still have moved.
            if let Some(version) = descriptor.versions.back_mut() {
                version.said = seen.said;
                version.said_at = seen.said_at;
            }
        } else {
            let since = seen.since.unwrap_or(seen.resource_version);
            let from = if listed && !fresh { (before + 1).min(since) } else { since };
            let Seen { generation, said, said_at, .. } = seen;
            descriptor.versions.push_back(Version { since, from, generation, owner: owner.clone(), said, said_at });
        }
        match owner {
            Some(owner) => {
                self.by_owner.entry(owner.clone()).or_default().insert(name.clone());
                self.look_again(&owner);
                self.resolve_all()
            }
            None => self.record_unowned(name).into_iter().collect(),
        }
    }

    /// A descriptor is gone; what settled before it went is recorded first, for that is certain now.
    pub(super) fn descriptor_gone(&mut self, name: &ObjectName, resource_version: u64) -> Vec<Step> {
        self.progress = self.progress.max(resource_version.saturating_sub(1));
        let mut steps = self.resolve_all();
        self.forget(name);
        self.progress = self.progress.max(resource_version);
        steps.extend(self.resolve_all());
        steps
    }

    /// A Kustomization is there, or changed.
    pub(super) fn owner(&mut self, name: &ObjectName, mut state: Kustomization) -> Vec<Step> {
        let owned = self.by_owner.get(name).is_some_and(|names| !names.is_empty());
        let owner = self.owners.entry(name.clone()).or_default();
        let settled = state.settled.clone().map(|revision| (revision, state.resource_version));
        let moved = settled
            .as_ref()
            .is_some_and(|(now, _)| owner.settled.as_ref().is_none_or(|(before, _)| before.revision != now.revision));
        owner.settled = settled.or(owner.settled.take());
        let relevant = owned || state.has_descriptors;
        if state.progressing
            && state.attempted.as_ref().map(|r| &r.revision) == owner.state.attempted.as_ref().map(|r| &r.revision)
        {
            // A retry of what failed is neither recovery nor change.
            state.waiting_for.clone_from(&owner.state.waiting_for);
        }
        if owner.state.source != state.source {
            owner.unfiled.clear();
        }
        owner.state = state;
        owner.gone = false;
        let mut steps = Vec::new();
        self.sight(name, &mut steps);
        let Some(owner) = self.owners.get_mut(name) else { return steps };
        if relevant && moved {
            owner.queue();
            self.open.insert(name.clone());
        } else if relevant {
            self.look_again(name);
        }
        steps.extend(self.resolve_all());
        steps
    }

    /// A Kustomization is gone; what it applied stays recorded as it is, and what it settled on is still recorded.
    pub(super) fn owner_gone(&mut self, name: &ObjectName) {
        let Some(owner) = self.owners.get_mut(name) else { return };
        owner.state = Kustomization::default();
        owner.gone = true;
        if owner.waiting.is_empty() {
            self.owners.remove(name);
        }
    }

    /// The list of Kustomizations is complete: those it did not show are gone.
    pub(super) fn owners_listed(&mut self, shown: &HashSet<ObjectName>) {
        let gone: Vec<ObjectName> = self.owners.keys().filter(|name| !shown.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.owner_gone(name));
    }

    /// A GitRepository follows a branch, or none.
    pub(super) fn branch(&mut self, name: &ObjectName, branch: Option<(String, String)>) -> Vec<Step> {
        if self.branches.get(name) == Some(&branch) {
            return Vec::new();
        }
        self.branches.insert(name.clone(), branch);
        let readers: Vec<ObjectName> =
            self.owners.iter().filter(|(_, o)| o.state.source.as_ref() == Some(name)).map(|(n, _)| n.clone()).collect();
        let mut steps = Vec::new();
        for reader in readers {
            if let Some(owner) = self.owners.get_mut(&reader)
                && owner.unfiled.is_empty()
            {
                // On another branch than before: what it is on is filed there too.
                owner.sighted = None;
            }
            self.sight(&reader, &mut steps);
        }
        steps
    }

    /// A GitRepository is gone: which branch its readers are on is unknown until it is back.
    pub(super) fn branch_gone(&mut self, name: &ObjectName) {
        self.branches.remove(name);
    }

    /// The API server's answer to a probe: the descriptors of the owner and their resource versions.
    pub(super) fn probed(&mut self, owner: &ObjectName, listed: Option<HashMap<ObjectName, u64>>) -> Vec<Step> {
        if let Some(owner) = self.owners.get_mut(owner) {
            owner.probing = false;
            for settled in owner.waiting.iter_mut().filter(|s| matches!(s.certain, Certain::Asked)) {
                settled.certain = listed.clone().map_or(Certain::Unknown, Certain::Once);
            }
        }
        self.resolve_all()
    }

    /// Why the newest content of a descriptor is not recorded; `None` when it is.
    pub(super) fn waiting(&self, name: &ObjectName) -> Option<Waiting> {
        let descriptor = self.descriptors.get(name)?;
        let version = descriptor.versions.back()?;
        if descriptor.recorded.as_ref().is_some_and(|(generation, _)| *generation == version.generation) {
            return None;
        }
        Some(match &version.owner {
            None => Waiting::NoOwner,
            Some(owner) => match self.owners.get(owner).filter(|o| !o.gone) {
                None => Waiting::OwnerUnseen(owner.clone()),
                Some(o) if o.state.waiting_for.is_empty() => {
                    Waiting::Unsettled("its Kustomization has not applied this content yet".to_owned())
                }
                Some(o) => Waiting::Unsettled(o.state.waiting_for.clone()),
            },
        })
    }

    /// The descriptors a Kustomization owns.
    pub(super) fn owned(&self, owner: &ObjectName) -> Vec<ObjectName> {
        self.by_owner.get(owner).into_iter().flatten().cloned().collect()
    }

    fn forget(&mut self, name: &ObjectName) {
        let Some(descriptor) = self.descriptors.remove(name) else { return };
        for owner in descriptor.versions.into_iter().filter_map(|v| v.owner) {
            if let Some(names) = self.by_owner.get_mut(&owner) {
                names.remove(name);
                if names.is_empty() {
                    self.by_owner.remove(&owner);
                }
            }
        }
    }

    /// A descriptor without a Kustomization is recorded at the commit it names, once it names one.
    fn record_unowned(&mut self, name: &ObjectName) -> Option<Step> {
        let descriptor = self.descriptors.get_mut(name)?;
        while descriptor.versions.len() > 1 {
            descriptor.versions.pop_front();
        }
        let version = descriptor.versions.back()?;
        let revision = version.said.gitops_revision.clone()?;
        if descriptor.recorded.as_ref() == Some(&(version.generation, revision.clone())) {
            return None;
        }
        descriptor.recorded = Some((version.generation, revision));
        Some(Step::Record(Box::new(Recording {
            name: name.clone(),
            uid: descriptor.uid.clone(),
            generation: version.generation,
            since: version.since,
            said: version.said.clone(),
            revision: None,
            at: version.said_at,
        })))
    }

    /// Queues the revision settled on last again when something its Kustomization owns is not recorded at it.
    fn look_again(&mut self, name: &ObjectName) {
        let Some(owner) = self.owners.get_mut(name) else { return };
        let Some((settled, at)) = owner.settled.clone() else { return };
        let open = self.by_owner.get(name).into_iter().flatten().filter_map(|n| self.descriptors.get(n)).any(|d| {
            d.versions.iter().rev().find(|v| v.since <= at).is_some_and(|v| {
                v.owner.as_ref() == Some(name)
                    && d.recorded.as_ref().is_none_or(|r| r.0 != v.generation || r.1 != settled.revision)
            })
        });
        if open {
            owner.queue();
            self.open.insert(name.clone());
        }
    }

    /// Files what a Kustomization is on under the branch its source follows, once that is known.
    fn sight(&mut self, name: &ObjectName, steps: &mut Vec<Step>) {
        let Some(owner) = self.owners.get_mut(name) else { return };
        let Some(source) = &owner.state.source else { return };
        let tried = owner.state.settled.as_ref().or(owner.state.attempted.as_ref());
        if let Some(tried) = tried.filter(|r| owner.sighted.as_ref() != Some(&r.revision)) {
            owner.sighted = Some(tried.revision.clone());
            if owner.unfiled.len() == MAX_WAITING {
                owner.unfiled.pop_front();
            }
            owner.unfiled.push_back(tried.clone());
        }
        let Some(branch) = self.branches.get(source) else { return };
        for Revision { revision, at } in owner.unfiled.drain(..) {
            let Some((repo, branch)) = branch.clone() else { continue };
            steps.push(Step::Sight { owner: name.clone(), repo, branch, revision, at });
        }
    }

    fn resolve_all(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.open.is_empty() || self.listing.is_some() {
            return steps;
        }
        for name in std::mem::take(&mut self.open) {
            self.resolve(&name, &mut steps);
            let Some(owner) = self.owners.get(&name) else { continue };
            if !owner.waiting.is_empty() {
                self.open.insert(name);
            } else if owner.gone {
                self.owners.remove(&name);
            }
        }
        steps
    }

    /// Records what the settled revisions of an owner are certain of, oldest first.
    fn resolve(&mut self, name: &ObjectName, steps: &mut Vec<Step>) {
        while let Some(settled) = self.owners.get(name).and_then(|owner| owner.waiting.front()) {
            let certain = self.progress >= settled.resource_version
                || matches!(&settled.certain, Certain::Once(shown) if self.has_come_to(shown, name, settled));
            let Some(owner) = self.owners.get_mut(name) else { return };
            if !certain {
                let unknown = owner.waiting.front().is_some_and(|s| matches!(s.certain, Certain::Unknown));
                if unknown && !owner.probing {
                    owner.probing = true;
                    for settled in owner.waiting.iter_mut().filter(|s| matches!(s.certain, Certain::Unknown)) {
                        settled.certain = Certain::Asked;
                    }
                    steps.push(Step::Probe { owner: name.clone() });
                }
                return;
            }
            let Some(settled) = owner.waiting.pop_front() else { return };
            let mut names: Vec<ObjectName> = self.by_owner.get(name).into_iter().flatten().cloned().collect();
            names.sort();
            for descriptor in names {
                steps.extend(self.record(&descriptor, name, &settled));
            }
        }
    }

    /// The stream of descriptors shows what the API server answered, and nothing that the answer does not know any more: when
    /// that went, before the revision settled or after, only the stream can tell.
    fn has_come_to(&self, answer: &HashMap<ObjectName, u64>, owner: &ObjectName, settled: &Settled) -> bool {
        let seen = |(name, version): (_, &u64)| self.descriptors.get(name).is_some_and(|d| d.seen >= *version);
        let stands = |name: &&ObjectName| {
            self.descriptors.get(*name).is_some_and(|d| {
                d.versions.front().is_some_and(|v| v.since <= settled.resource_version)
                    && d.versions.back().is_some_and(|v| v.owner.as_ref() == Some(owner))
            })
        };
        let mut standing = self.by_owner.get(owner).into_iter().flatten().filter(stands);
        answer.iter().all(seen) && standing.all(|name| answer.contains_key(name))
    }

    /// Records one descriptor as it was when its Kustomization was settled.
    fn record(&mut self, name: &ObjectName, owner: &ObjectName, settled: &Settled) -> Option<Step> {
        let descriptor = self.descriptors.get_mut(name)?;
        let index = descriptor.versions.iter().rposition(|v| v.since <= settled.resource_version)?;
        // Revisions are settled in order: nobody asks for what was before this one any more.
        descriptor.versions.drain(..index);
        let version = descriptor.versions.front()?;
        if descriptor.versions.get(1).is_some_and(|next| next.from <= settled.resource_version) {
            // Between the two something was missed: this commit may have carried it.
            return None;
        }
        let recording = (version.generation, settled.revision.revision.clone());
        if version.owner.as_ref() != Some(owner) || descriptor.recorded.as_ref() == Some(&recording) {
            return None;
        }
        descriptor.recorded = Some(recording);
        Some(Step::Record(Box::new(Recording {
            name: name.clone(),
            uid: descriptor.uid.clone(),
            generation: version.generation,
            since: version.since,
            said: version.said.clone(),
            revision: Some(settled.revision.revision.clone()),
            at: settled.revision.at,
        })))
    }
}

impl Owner {
    fn queue(&mut self) {
        let Some((revision, resource_version)) = self.settled.clone() else { return };
        if let Some(last) = self.waiting.back_mut()
            && last.revision.revision == revision.revision
        {
            if last.resource_version == resource_version {
                return;
            }
            // The same revision, settled once more: what it is certain of is decided by the newer state.
            *last = Settled { revision, resource_version, certain: Certain::Unknown };
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Settled { revision, resource_version, certain: Certain::Unknown });
    }
}

#[cfg(test)]
mod tests;
