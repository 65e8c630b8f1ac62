//! What a Flux `Kustomization` or `GitRepository` says about commits, read from its status.
//!
//! Invariant: a revision counts as applied only when the Kustomization is Ready at its current generation and the applied
//! revision is the attempted one. Each of the three alone is true at moments at which the commit is still the previous one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::DynamicObject;
use serde::Deserialize;

use super::ObjectName;
use crate::model::Micros;

/// The label by which Flux marks what a Kustomization applied: its name.
const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// The same: its namespace.
const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// In microseconds: no time is moved further than the second it was rounded down to is likely to be off.
const HALF_A_SECOND: u64 = 500_000;

/// How an inventory entry of a descriptor ends: `<namespace>_<name>_<group>_<kind>`.
const DESCRIPTOR_ENTRY: &str = "_hub.kalypso.io_DeploymentDescriptor";

/// The Kustomization that applied an object.
pub(super) fn owner(metadata: &ObjectMeta) -> Option<ObjectName> {
    let labels = metadata.labels.as_ref()?;
    let name = labels.get(OWNER_NAME).filter(|name| !name.is_empty())?;
    let namespace = labels.get(OWNER_NAMESPACE).map(String::as_str).unwrap_or_default();
    Some(ObjectName::new(namespace, name))
}

/// The label selector for what a Kustomization applied.
pub(super) fn owned_by(owner: &ObjectName) -> String {
    format!("{OWNER_NAME}={},{OWNER_NAMESPACE}={}", owner.name, owner.namespace)
}

/// What matters of a Kustomization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kustomization {
    /// Applied to the end, and nothing newer is being tried.
    pub(super) settled: Option<Revision>,
    /// The newest revision that was fetched and is being, or was, tried.
    pub(super) attempted: Option<Revision>,
    /// The GitRepository it reads, if it reads one.
    pub(super) source: Option<ObjectName>,
    /// Its inventory lists descriptors.
    pub(super) has_descriptors: bool,
    /// Why it is not settled; empty when it is.
    pub(super) waiting_for: String,
    /// It is at work right now. Each retry after a failure looks like this for a moment.
    pub(super) progressing: bool,
    /// The resourceVersion of this state.
    pub(super) resource_version: u64,
}

/// A revision and the time of the condition that tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// As Flux writes it.
    pub(super) revision: String,
    /// When the condition turned.
    pub(super) at: Option<Micros>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
    last_applied_revision: Option<String>,
    last_applied_origin_revision: Option<String>,
    last_attempted_revision: Option<String>,
    inventory: Option<Inventory>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Inventory {
    entries: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    source_ref: SourceRef,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SourceRef {
    kind: String,
    name: String,
    namespace: Option<String>,
}

/// Reads a Kustomization of any served version; what does not look like one says nothing.
pub(super) fn kustomization(object: &DynamicObject) -> Kustomization {
    let status = Status::deserialize(&object.data["status"]).unwrap_or_default();
    let spec = Spec::deserialize(&object.data["spec"]).unwrap_or_default();
    let own_namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let source = (spec.source_ref.kind == "GitRepository")
        .then(|| ObjectName::new(spec.source_ref.namespace.as_deref().unwrap_or(own_namespace), &spec.source_ref.name));
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    let resource_version = super::resource_version(&object.metadata);
    let at = ready.map(|c| in_order(c.last_transition_time.0.as_microsecond(), resource_version));
    let current = status.observed_generation.is_some() && status.observed_generation == object.metadata.generation;
    let is_ready = ready.is_some_and(|c| {
        c.status == "True" && c.observed_generation.is_none_or(|g| Some(g) == object.metadata.generation)
    });
    let applied = status.last_applied_revision.filter(|revision| !revision.is_empty());
    let attempted = status.last_attempted_revision.filter(|revision| !revision.is_empty());
    // Of an artifact from a registry the revision is a digest; the commit it was made from stands beside it.
    let origin = status.last_applied_origin_revision.filter(|revision| !revision.is_empty());
    let settled = match &applied {
        Some(applied) if current && is_ready && attempted.as_ref().is_none_or(|a| a == applied) => {
            Some(Revision { revision: origin.unwrap_or_else(|| applied.clone()), at })
        }
        _ => None,
    };
    // Only the reason: messages of failures differ at each retry.
    let waiting_for = match ready {
        Some(ready) if ready.status == "False" => format!("its Kustomization failed: {}", ready.reason),
        _ if settled.is_none() => "its Kustomization has not applied the revision to the end yet".to_owned(),
        _ => String::new(),
    };
    Kustomization {
        settled,
        attempted: attempted.map(|revision| Revision { revision, at }),
        source,
        has_descriptors: status.inventory.unwrap_or_default().entries.iter().any(|e| e.id.ends_with(DESCRIPTOR_ENTRY)),
        waiting_for,
        progressing: ready.is_some_and(|c| c.status == "Unknown"),
        resource_version,
    }
}

/// Conditions count whole seconds, in which a Kustomization may settle twice; the resourceVersion tells what came first, to every
/// hub alike and after every restart.
fn in_order(second: i64, resource_version: u64) -> Micros {
    let fraction = i64::try_from(resource_version % HALF_A_SECOND).unwrap_or_default();
    Micros(second + fraction)
}

/// The branch that a GitRepository follows; `None` for a tag, a commit or a range of versions, which have no order of commits.
pub(super) fn branch(object: &DynamicObject) -> Option<(String, String)> {
    let spec = &object.data["spec"];
    let url = spec["url"].as_str()?.to_owned();
    let reference = &spec["ref"];
    if ["commit", "semver", "tag"].iter().any(|key| reference[key].as_str().is_some_and(|text| !text.is_empty())) {
        return None;
    }
    let branch = match (reference["name"].as_str(), reference["branch"].as_str()) {
        (Some(name), _) if !name.is_empty() => name.strip_prefix("refs/heads/").unwrap_or(name),
        (_, Some(branch)) if !branch.is_empty() => branch,
        _ => "master",
    };
    Some((url, branch.to_owned()))
}

#[cfg(test)]
mod tests;
