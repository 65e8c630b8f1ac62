//! From an object of the API server to what the hub is told.
//!
//! Invariant: an object is known again by uid and generation, not by resourceVersion: the hub's own status moves that, and would
//! make an old report look new.

use kube::core::DynamicObject;

use super::ObjectName;
use crate::model::{Carrier, Observation, ResourceKind, Said, When};
use crate::normalize::Rejection;
use crate::sources::resource;

/// Reads what an object says, in the words of [`resource`].
pub(super) fn stated(kind: ResourceKind, object: &DynamicObject, source: &str) -> Result<Observation, Rejection> {
    let text = serde_json::to_vec(&serde_json::json!({
        "apiVersion": resource::API_VERSION,
        "kind": kind.as_str(),
        "metadata": {
            "name": object.metadata.name,
            "namespace": object.metadata.namespace,
            "annotations": object.metadata.annotations,
        },
        "spec": object.data["spec"],
    }))
    .map_err(|error| Rejection::new(format!("cannot be read: {error}"), "apply the resource again"))?;
    let mut said = resource::decode(&text, source)?;
    let mut observation = said
        .pop()
        .unwrap_or_else(|| Err(Rejection::new("says nothing", "give the resource a spec as the README shows")))?;
    observation.when.object_version = Some(version(object));
    Ok(observation)
}

/// An object is gone.
pub(super) fn gone(kind: ResourceKind, object: &DynamicObject, source: &str) -> Observation {
    let name = ObjectName::of(&object.metadata);
    let deleted = object.metadata.deletion_timestamp.as_ref();
    Observation {
        source: source.to_owned(),
        carrier: Carrier::Resource { kind, namespace: name.namespace, name: name.name },
        when: When {
            event: deleted.map(|at| crate::model::Micros(at.0.as_microsecond())),
            object_version: Some(format!("{}/deleted", version(object))),
            idempotency: None,
        },
        said: Said::Deleted(None),
    }
}

fn version(object: &DynamicObject) -> String {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    format!("{uid}/{}", object.metadata.generation.unwrap_or_default())
}
