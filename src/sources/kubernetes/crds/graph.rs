//! `AzureResourceGraph`: a subscription whose Flux configurations are polled.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceStatus;

/// An Azure subscription to be read through Azure Resource Graph.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[kube(
    group = "hub.kalypso.io",
    version = "v1alpha1",
    kind = "AzureResourceGraph",
    namespaced,
    status = "ResourceStatus",
    category = "kalypso",
    doc = "A subscription whose Flux configurations are to be read through Azure Resource Graph. This version keeps it, and reads none.",
    printcolumn(name = "Subscription", type_ = "string", json_path = ".spec.subscription"),
    printcolumn(name = "Interval", type_ = "string", json_path = ".spec.interval"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AzureResourceGraphSpec {
    /// Id of the subscription.
    pub subscription: String,
    /// Id of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Name of the Secret with AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    /// Client id of a managed identity, instead of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<String>,
    /// How often it is polled, as a duration such as 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}
