//! `Cluster`: a host is declared, with what it is expected to run, before it ever reports.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceStatus;

/// A host as its owners declare it.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[kube(
    group = "hub.kalypso.io",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ResourceStatus",
    category = "kalypso",
    doc = "A host is declared, with what it is expected to run.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "Contact", type_ = "string", json_path = ".spec.contact", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Name of the host as its reconcilers report it; the resource's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id outside the hub, such as an Azure resource id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Kind of host.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub host_type: Option<String>,
    /// Labels; cluster_type, ring and region become columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Class, which decides how long the host may be quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Whom to ask about the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// What the host is expected to run, by name. Naming neither this nor expectsSelector leaves both as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<Vec<Expects>>,
    /// What the host is expected to run besides: every deployment target whose labels match, all of them when it is empty.
    /// `hub.kalypso.io/workspace`, `application`, `workload`, `environment` and `deployment-target` are labels of every target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects_selector: Option<LabelSelector>,
    /// When the host was heard; moving it is a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<String>,
}

/// One deployment target that a host is expected to run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expects {
    /// Workload.
    pub workload: String,
    /// Environment.
    pub environment: String,
    /// Deployment target.
    pub deployment_target: String,
}
