//! `DeploymentDescriptor`: a version of a workload is wanted on a deployment target.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What should run where, as of the GitOps commit that carried this descriptor.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[kube(
    group = "hub.kalypso.io",
    version = "v1alpha1",
    kind = "DeploymentDescriptor",
    namespaced,
    status = "DeploymentDescriptorStatus",
    category = "kalypso",
    doc = "A version of a workload is wanted on a deployment target.",
    printcolumn(name = "Workload", type_ = "string", json_path = ".spec.workload.name"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.deploymentTarget.environment"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.deploymentTarget.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.workloadVersion.version"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1
    ),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.gitOpsCommitId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDescriptorSpec {
    /// The deployable part of an application.
    pub workload: Workload,
    /// Where, logically, the workload goes.
    pub deployment_target: DeploymentTarget,
    /// What is wanted there.
    pub workload_version: WorkloadVersion,
    /// Whom to ask about this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When this was so, if it differs from the time at which it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<String>,
}

/// One deployable part of an application.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Workload {
    /// Name, unique within the application.
    pub name: String,
    /// Where its source code lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The application it is part of.
    pub application: Application,
}

/// Where source code lives.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Source {
    /// Repository URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Path inside the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// An application or service of a workspace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Application {
    /// Name, unique within the workspace.
    pub name: String,
    /// The team it belongs to.
    pub workspace: Workspace,
}

/// A team.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Workspace {
    /// Name.
    pub name: String,
}

/// Where, logically, a workload goes in an environment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct DeploymentTarget {
    /// Name, unique within workload and environment.
    pub name: String,
    /// Environment: dev, stage, prod or any other name.
    pub environment: String,
    /// Where the manifests live that reconcilers subscribe to.
    pub manifests: Manifests,
    /// Labels of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A manifests endpoint.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifests {
    /// git (the default), bucket, azureBlob, oci or helm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_type: Option<String>,
    /// URL of the repository, bucket or registry.
    pub repo: String,
    /// Branch, tag or other ref.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Path inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The GitOps commit this was applied at, for whoever applies descriptors without Flux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A version of a workload.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadVersion {
    /// Version.
    pub version: String,
    /// Id of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Commit of the source code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_time: Option<String>,
    /// Digest of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Who made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The pull request that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
}

/// What the hub observed about a descriptor.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDescriptorStatus {
    /// The generation that the hub acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready says whether the descriptor is recorded at its GitOps commit, and if not, what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The newest GitOps commit at which the descriptor is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ops_commit_id: Option<String>,
    /// The resourceVersion at which the hub first saw the observed generation. The hub's own writes move the object's
    /// resourceVersion; this one still tells whether the owning Kustomization was settled before or after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_resource_version: Option<String>,
}
