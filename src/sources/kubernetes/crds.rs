//! The custom resources of the hub as Kubernetes knows them, and the definitions generated from these types.
//!
//! Invariant: every manifest that the hub this one replaces accepted is valid here: fields are added, never tightened. What is
//! read from an object is decided by [`resource`](crate::sources::resource), the same for the API server, files and pushes;
//! these types only say to an API server which fields there are.

#![allow(
    clippy::duplicated_attributes,
    reason = "each column is an attribute of its own; the lint compares parts of them"
)]

mod cluster;
mod descriptor;
mod graph;
mod reconciler;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

pub use cluster::{Cluster, ClusterSpec};
pub use descriptor::{DeploymentDescriptor, DeploymentDescriptorSpec};
pub use graph::{AzureResourceGraph, AzureResourceGraphSpec};
pub use reconciler::{Reconciler, ReconcilerSpec};

/// The annotation that keeps Helm and Flux from deleting a definition, and all its objects with it.
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// All definitions, by name.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![AzureResourceGraph::crd(), Cluster::crd(), DeploymentDescriptor::crd(), Reconciler::crd()];
    for definition in &mut all {
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert(KEEP.0.to_owned(), KEEP.1.to_owned());
    }
    all
}

/// A definition as YAML.
pub fn yaml(definition: &CustomResourceDefinition) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(definition)?)
}

/// What the hub observed about one of its resources.
#[derive(Clone, Debug, Default, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// The generation that the hub acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether the hub took what the resource says, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
