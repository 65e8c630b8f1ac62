//! The shape of the custom resources on the wire.
//!
//! Invariant: one shape holds the fields of every kind, so that a text is read in one pass, whatever comes first in it; which
//! fields a kind needs is decided afterwards. Everything is optional here.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::ResourceKind;
use crate::sources::json::{Object, Texts, object, objects};
use crate::sources::selector::Selector;

/// A custom resource, a watch event or a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a custom resource, a watch event or a list")]
pub(super) struct Envelope {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: Option<String>,
    pub(super) kind: Kind,
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: Metadata,
    #[serde(deserialize_with = "object")]
    pub(super) spec: Option<Box<Spec>>,
    #[serde(deserialize_with = "object")]
    pub(super) status: Option<Status>,
    #[serde(rename = "type")]
    pub(super) event: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(super) object: Option<Box<Envelope>>,
    #[serde(deserialize_with = "objects")]
    pub(super) items: Option<Vec<Envelope>>,
    pub(super) message: Option<String>,
}

/// As much of an envelope as can be read whatever its fields are.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Outline<'a> {
    pub(super) kind: Kind,
    #[serde(rename = "type")]
    pub(super) event: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|o| o.0).unwrap_or_default())
}

/// Which kind an object is of.
#[derive(Debug, Default)]
pub(super) enum Kind {
    #[default]
    Absent,
    Ours(ResourceKind),
    AzureResourceGraph,
    Other(String),
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the kind of a resource")
            }
            fn visit_str<E>(self, kind: &str) -> Result<Kind, E> {
                Ok(match kind {
                    "Reconciler" => Kind::Ours(ResourceKind::Reconciler),
                    "DeploymentDescriptor" => Kind::Ours(ResourceKind::DeploymentDescriptor),
                    "Cluster" => Kind::Ours(ResourceKind::Cluster),
                    "AzureResourceGraph" => Kind::AzureResourceGraph,
                    "" => Kind::Absent,
                    other => Kind::Other(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_str(Visit)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) annotations: Annotations,
}

/// The annotations that mean something here; the others are passed over.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    pub(super) observed_at: Option<String>,
    pub(super) gitops_revision: Option<String>,
    pub(super) contact: Option<String>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Annotations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }
            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }
            fn visit_none<E>(self) -> Result<Annotations, E> {
                Ok(Annotations::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Annotations, D::Error> {
                deserializer.deserialize_map(self)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut found = Annotations::default();
                while let Some(key) = map.next_key::<Key>()? {
                    let slot = match key {
                        Key::ObservedAt => &mut found.observed_at,
                        Key::GitopsRevision => &mut found.gitops_revision,
                        Key::Contact => &mut found.contact,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if slot.is_some() {
                        return Err(serde::de::Error::custom("duplicate key in annotations"));
                    }
                    *slot = map.next_value()?;
                }
                Ok(found)
            }
        }
        deserializer.deserialize_option(Visit)
    }
}

#[derive(Deserialize)]
enum Key {
    #[serde(rename = "hub.kalypso.io/observed-at")]
    ObservedAt,
    #[serde(rename = "hub.kalypso.io/gitops-revision")]
    GitopsRevision,
    #[serde(rename = "hub.kalypso.io/contact")]
    Contact,
    #[serde(other)]
    Other,
}

/// Of a status only the commit that upstream's controller wrote is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Status {
    #[serde(rename = "gitOpsCommitId")]
    pub(super) git_ops_commit_id: Option<String>,
}

/// The fields of all kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Spec {
    // Reconciler
    pub(super) host_name: Option<String>,
    pub(super) reconciler_name: Option<String>,
    pub(super) reconciler_type: Option<String>,
    pub(super) manifests_storage_type: Option<String>,
    pub(super) manifests_endpoint: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(super) deployment: Option<Box<Deployment>>,
    pub(super) cluster_type: Option<String>,
    pub(super) ring: Option<String>,
    pub(super) region: Option<String>,
    // Reconciler and Cluster
    pub(super) labels: Option<Texts>,
    pub(super) reported_at: Option<String>,
    // DeploymentDescriptor
    #[serde(deserialize_with = "object")]
    pub(super) workload: Option<Box<Workload>>,
    #[serde(deserialize_with = "object")]
    pub(super) deployment_target: Option<Box<DeploymentTarget>>,
    #[serde(deserialize_with = "object")]
    pub(super) workload_version: Option<Box<WorkloadVersion>>,
    // DeploymentDescriptor and Cluster
    pub(super) contact: Option<String>,
    // Cluster
    pub(super) name: Option<String>,
    pub(super) external_id: Option<String>,
    #[serde(rename = "type")]
    pub(super) host_type: Option<String>,
    pub(super) class: Option<String>,
    #[serde(deserialize_with = "objects")]
    pub(super) expects: Option<Vec<Expects>>,
    #[serde(deserialize_with = "object")]
    pub(super) expects_selector: Option<Selector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Deployment {
    pub(super) git_ops_commit_id: Option<String>,
    pub(super) applied_commit_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) status_message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Workload {
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(super) source: Option<Source>,
    #[serde(deserialize_with = "object")]
    pub(super) application: Option<Application>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Source {
    pub(super) repo: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Application {
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(super) workspace: Option<Workspace>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Workspace {
    pub(super) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct DeploymentTarget {
    pub(super) name: Option<String>,
    pub(super) environment: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(super) manifests: Option<Manifests>,
    pub(super) labels: Option<Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Manifests {
    pub(super) storage_type: Option<String>,
    pub(super) repo: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) path: Option<String>,
    pub(super) commit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct WorkloadVersion {
    pub(super) version: Option<String>,
    pub(super) build: Option<String>,
    pub(super) commit: Option<String>,
    pub(super) build_time: Option<String>,
    pub(super) image_digest: Option<String>,
    pub(super) author: Option<String>,
    pub(super) pull_request: Option<String>,
}

/// One thing a cluster is expected to run.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Expects {
    pub(super) workload: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) deployment_target: Option<String>,
}
