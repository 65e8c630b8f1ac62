//! `Reconciler`: what a reconciler on a host says it did.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceStatus;

/// A reconciler of a host, the endpoint it subscribes to and how its last deployment went.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[kube(
    group = "hub.kalypso.io",
    version = "v1alpha1",
    kind = "Reconciler",
    namespaced,
    status = "ResourceStatus",
    category = "kalypso",
    doc = "What a reconciler on a host says it did.",
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.hostName"),
    printcolumn(name = "Reconciler", type_ = "string", json_path = ".spec.reconcilerName"),
    printcolumn(name = "Status", type_ = "string", json_path = ".spec.deployment.status"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".spec.deployment.gitOpsCommitId", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.manifestsEndpoint", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ReconcilerSpec {
    /// The cluster, machine or device.
    pub host_name: String,
    /// Name of the reconciler, unique within the host.
    pub reconciler_name: String,
    /// flux, arc, wo, argocd, ansible or another kind of reconciler.
    pub reconciler_type: String,
    /// git (the default), bucket, azureBlob, oci or helm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests_storage_type: Option<String>,
    /// The manifests it subscribes to: repository, branch and path, joined by `/`.
    pub manifests_endpoint: String,
    /// How the last deployment went; absent while there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// Labels of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Kind of cluster; a label of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_type: Option<String>,
    /// Ring of the rollout; a label of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// Region; a label of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// When the reconciler was as this says. Moving it is a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<String>,
}

/// How a deployment went.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The commit that was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ops_commit_id: Option<String>,
    /// The commit that was applied last with success, where it differs from the attempted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_commit_id: Option<String>,
    /// success, failure, in_progress, or the reconciler's own word.
    pub status: String,
    /// What the reconciler said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
}
