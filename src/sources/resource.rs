//! Custom resources of `hub.kalypso.io/v1alpha1`, Kubernetes watch events and lists of them.
//!
//! Upstream's resources are accepted unchanged, with our optional fields. Unknown fields are tolerated, for Kubernetes prunes
//! them; a wrong type is an error that names its path; a key that stands twice is an error (which value was meant?).
//! Invariant: the `status` of our own kinds never dates a statement.

mod shape;

use serde_json::value::RawValue;
use shape::{Envelope, Kind, Outline, Spec};

use super::json::{self, Required};
use crate::model::{
    Carrier, DescriptorSaid, HostSaid, ManifestsSaid, Micros, Observation, ReportSaid, ResourceKind, Said, When,
};
use crate::normalize::Rejection;

/// The group and version of the custom resources.
pub const API_VERSION: &str = "hub.kalypso.io/v1alpha1";
/// The annotation that says when the object was as it is.
pub const OBSERVED_AT: &str = "hub.kalypso.io/observed-at";
/// The annotation that says at which GitOps revision the object was applied.
pub const GITOPS_REVISION: &str = "hub.kalypso.io/gitops-revision";

const KIND_MISSING: &str = "kind is missing";
const SAYS_NOTHING: &str = "says nothing to the hub";
const ADVICE: &str = "compare it with the examples in the README";

/// Reads one JSON text: a custom resource, a watch event, or a list, whose elements are answered one by one.
///
/// A bookmark says nothing and gives nothing. An error of the whole text is a wrong type or broken JSON.
pub fn decode(bytes: &[u8], source: &str) -> Result<Vec<Result<Observation, Rejection>>, Rejection> {
    match json::read::<Envelope>(bytes, "the custom resource", ADVICE) {
        Ok(envelope) => Ok(expand(envelope, source)),
        Err(rejection) => apart(bytes, source).ok_or(rejection),
    }
}

/// Reads one YAML document into the same shape; the text of a plain scalar is kept as it stands (`version: 1.10`).
pub(super) fn decode_yaml(text: &str, source: &str) -> Result<Vec<Result<Observation, Rejection>>, Rejection> {
    if let Ok(envelope) = serde_saphyr::from_str_with_options::<Envelope>(text, yaml_options()) {
        return Ok(expand(envelope, source));
    }
    // What does not fit is read as JSON again, whose errors name the path of the field.
    let value: serde_json::Value = serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| {
        let reason: String = error.without_snippet().to_string().chars().take(300).collect();
        Rejection::new(
            format!("not valid YAML: {reason}"),
            "check the document with a YAML parser, then write it again",
        )
    })?;
    let text = serde_json::to_vec(&value).map_err(|error| {
        Rejection::new(format!("not a custom resource: {error}"), "write the document as a Kubernetes object")
    })?;
    decode(&text, source)
}

/// The carrier of an object that is refused for what it says, when the object can still be recognised.
pub(super) fn recognise(text: &str) -> Option<(ResourceKind, String, String)> {
    let value: serde_json::Value =
        serde_json::from_str(text).ok().or_else(|| serde_saphyr::from_str_with_options(text, yaml_options()).ok())?;
    let kind = [ResourceKind::DeploymentDescriptor, ResourceKind::Reconciler, ResourceKind::Cluster]
        .into_iter()
        .find(|kind| value["kind"] == kind.as_str())?;
    let name = value["metadata"]["name"].as_str()?.to_owned();
    Some((kind, value["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(), name))
}

/// Far more than any document of the hub needs, far less than would hurt.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_depth: 64,
            max_total_scalar_bytes: 8 * 1024 * 1024,
        },
        with_snippet: false,
    }
}

/// Whether an object was refused only because it is of no kind of the hub.
pub(super) fn is_foreign(rejection: &Rejection) -> bool {
    rejection.title == KIND_MISSING || rejection.title.ends_with(SAYS_NOTHING)
}

/// What a text still says whose shape does not fit: a list is read element by element, so that a bad one spoils only itself,
/// and of a foreign kind it matters that it is foreign, not how its fields look.
fn apart(bytes: &[u8], source: &str) -> Option<Vec<Result<Observation, Rejection>>> {
    let outline: Outline<'_> = serde_json::from_slice(bytes).ok()?;
    if let Some(items) = outline.items {
        let decode = |item: &&RawValue| match decode(item.get().as_bytes(), source) {
            Ok(found) => found,
            Err(rejection) => vec![Err(rejection)],
        };
        return Some(items.iter().flat_map(decode).collect());
    }
    let envelope = Envelope { kind: outline.kind, api_version: Some(API_VERSION.to_owned()), ..Envelope::default() };
    let foreign = outline.event.is_none() && !matches!(envelope.kind, Kind::Absent);
    kind_of(&envelope).err().filter(|_| foreign).map(|rejection| vec![Err(rejection)])
}

fn expand(envelope: Envelope, source: &str) -> Vec<Result<Observation, Rejection>> {
    if let Some(event) = envelope.event {
        let Some(object) = envelope.object else {
            return vec![Err(Rejection::new(
                "the watch event lacks object",
                "send watch events as {\"type\": \"ADDED|MODIFIED|DELETED\", \"object\": {…}}",
            ))];
        };
        return match event.as_str() {
            "ADDED" | "MODIFIED" => expand(*object, source),
            "DELETED" => vec![deleted(*object, source)],
            "BOOKMARK" => Vec::new(),
            "ERROR" => vec![Err(Rejection::new(
                "the watch reported an error",
                format!(
                    "the API server ended the watch ({}); list again and go on from there",
                    object.message.as_deref().unwrap_or("no reason given").chars().take(200).collect::<String>()
                ),
            ))],
            other => vec![Err(Rejection::new(
                format!("watch event of unknown type `{}`", other.chars().take(40).collect::<String>()),
                "the types are ADDED, MODIFIED, DELETED and BOOKMARK",
            ))],
        };
    }
    if let Some(items) = envelope.items {
        return items.into_iter().flat_map(|item| expand(item, source)).collect();
    }
    vec![stated(envelope, source)]
}

/// The kind that may speak, or why this one may not.
fn kind_of(envelope: &Envelope) -> Result<ResourceKind, Rejection> {
    let shown = |text: &str| text.chars().take(80).collect::<String>();
    let kind = match &envelope.kind {
        Kind::Absent => {
            return Err(Rejection::new(
                KIND_MISSING,
                format!(
                    "send custom resources with apiVersion: {API_VERSION} and kind: DeploymentDescriptor, Reconciler or Cluster"
                ),
            ));
        }
        Kind::Ours(kind) => *kind,
        Kind::AzureResourceGraph => {
            return Err(Rejection::new(
                "AzureResourceGraph is not read by this hub yet",
                "a later version polls Azure Resource Graph itself; until then push what it lists as Reconciler resources",
            ));
        }
        Kind::Other(other) => {
            return Err(Rejection::new(
                format!("kind `{}` {SAYS_NOTHING}", shown(other)),
                "the kinds are DeploymentDescriptor, Reconciler and Cluster, watch events of them, and List",
            ));
        }
    };
    match envelope.api_version.as_deref() {
        Some(API_VERSION) => Ok(kind),
        other => Err(Rejection::new(
            format!("apiVersion `{}` of {} is unknown", shown(other.unwrap_or("")), kind.as_str()),
            format!("set apiVersion: {API_VERSION}"),
        )),
    }
}

fn carrier(envelope: &mut Envelope, kind: ResourceKind) -> Result<Carrier, Rejection> {
    let Some(name) = envelope.metadata.name.take() else {
        return Err(Rejection::new(
            format!("{} lacks metadata.name", kind.as_str()),
            "name the resource: the hub knows by its name when it changes and when it goes",
        ));
    };
    Ok(Carrier::Resource { kind, namespace: envelope.metadata.namespace.take().unwrap_or_default(), name })
}

fn version(envelope: &mut Envelope) -> Option<String> {
    let (uid, version) = (envelope.metadata.uid.take()?, envelope.metadata.resource_version.take()?);
    (!uid.is_empty() && !version.is_empty()).then(|| format!("{uid}/{version}"))
}

fn observed_at(envelope: &Envelope) -> Result<Option<Micros>, Rejection> {
    json::time("metadata.annotations[hub.kalypso.io/observed-at]", envelope.metadata.annotations.observed_at.as_deref())
}

fn deleted(mut envelope: Envelope, source: &str) -> Result<Observation, Rejection> {
    let kind = kind_of(&envelope)?;
    let stamped = json::time("metadata.deletionTimestamp", envelope.metadata.deletion_timestamp.as_deref())?;
    let when = When {
        // The later of the two; an absent one is earlier than every time.
        event: observed_at(&envelope)?.max(stamped),
        object_version: version(&mut envelope),
        idempotency: None,
    };
    Ok(Observation {
        source: source.to_owned(),
        carrier: carrier(&mut envelope, kind)?,
        when,
        said: Said::Deleted(None),
    })
}

fn stated(mut envelope: Envelope, source: &str) -> Result<Observation, Rejection> {
    let kind = kind_of(&envelope)?;
    let mut event = observed_at(&envelope)?;
    let Some(mut spec) = envelope.spec.take() else {
        return Err(Rejection::new(format!("{} lacks spec", kind.as_str()), ADVICE));
    };
    // A definition that does not know the field drops it; the annotation stays.
    spec.contact = spec.contact.or(envelope.metadata.annotations.contact.take());
    if event.is_none() {
        event = json::time("spec.reportedAt", spec.reported_at.as_deref())?;
    }
    let said = match kind {
        ResourceKind::Reconciler => Said::Report(Box::new(report(*spec)?)),
        ResourceKind::DeploymentDescriptor => {
            let annotated = envelope.metadata.annotations.gitops_revision.take().filter(|text| !text.trim().is_empty());
            let applied = envelope.status.take().and_then(|status| status.git_ops_commit_id);
            Said::Descriptor(Box::new(descriptor(*spec, annotated, applied)?))
        }
        ResourceKind::Cluster => Said::Host(Box::new(host(*spec, envelope.metadata.name.clone())?)),
    };
    let when = When { event, object_version: version(&mut envelope), idempotency: None };
    Ok(Observation { source: source.to_owned(), carrier: carrier(&mut envelope, kind)?, when, said })
}

fn report(spec: Spec) -> Result<ReportSaid, Rejection> {
    let mut required = Required::default();
    let deployment = spec.deployment.map(|boxed| *boxed);
    let reports = deployment.is_some();
    let deployment = deployment.unwrap_or_default();
    let host = required.take("spec.hostName", spec.host_name);
    let reconciler = required.take("spec.reconcilerName", spec.reconciler_name);
    let reconciler_type = required.take("spec.reconcilerType", spec.reconciler_type);
    let endpoint = required.take("spec.manifestsEndpoint", spec.manifests_endpoint);
    // A reconciler without a deployment exists and has said nothing of a commit yet.
    let status =
        if reports { required.take("spec.deployment.status", deployment.status) } else { "unknown".to_owned() };
    required.check("Reconciler", ADVICE)?;
    let mut labels = spec.labels.unwrap_or_default().0;
    for (key, value) in [("cluster_type", spec.cluster_type), ("ring", spec.ring), ("region", spec.region)] {
        if let Some(value) = value {
            labels.entry(key.to_owned()).or_insert(value);
        }
    }
    Ok(ReportSaid {
        host,
        reconciler,
        reconciler_type,
        manifests: ManifestsSaid::Endpoint { storage_type: spec.manifests_storage_type.unwrap_or_default(), endpoint },
        commit: deployment.git_ops_commit_id,
        applied_commit: deployment.applied_commit_id,
        status,
        raw_status: None,
        message: deployment.status_message.unwrap_or_default(),
        labels,
    })
}

fn descriptor(spec: Spec, annotated: Option<String>, applied: Option<String>) -> Result<DescriptorSaid, Rejection> {
    let mut required = Required::default();
    let workload = spec.workload.map(|boxed| *boxed).unwrap_or_default();
    let application = workload.application.unwrap_or_default();
    let target = spec.deployment_target.map(|boxed| *boxed).unwrap_or_default();
    let manifests = target.manifests.unwrap_or_default();
    let version = spec.workload_version.map(|boxed| *boxed).unwrap_or_default();
    let source = workload.source.unwrap_or_default();
    let storage_type = manifests.storage_type.unwrap_or_default();
    let git = crate::normalize::storage(&storage_type) == "git";
    let mut said = DescriptorSaid {
        workspace: required.take(
            "spec.workload.application.workspace.name",
            application.workspace.and_then(|workspace| workspace.name),
        ),
        application: required.take("spec.workload.application.name", application.name),
        workload: required.take("spec.workload.name", workload.name),
        environment: required.take("spec.deploymentTarget.environment", target.environment),
        deployment_target: required.take("spec.deploymentTarget.name", target.name),
        version: required.take("spec.workloadVersion.version", version.version),
        manifests: ManifestsSaid::Parts {
            repo: required.take("spec.deploymentTarget.manifests.repo", manifests.repo),
            branch: if git {
                required.take("spec.deploymentTarget.manifests.branch", manifests.branch)
            } else {
                manifests.branch.unwrap_or_default()
            },
            path: if git {
                required.take("spec.deploymentTarget.manifests.path", manifests.path)
            } else {
                manifests.path.unwrap_or_default()
            },
            storage_type,
        },
        gitops_revision: annotated.or(manifests.commit.filter(|text| !text.trim().is_empty())).or(applied),
        source_repo: source.repo,
        source_branch: source.branch,
        source_path: source.path,
        source_commit: version.commit,
        build: version.build,
        build_time: None,
        image_digest: version.image_digest,
        author: version.author,
        pull_request: version.pull_request,
        contact: spec.contact,
        labels: target.labels.unwrap_or_default().0,
    };
    required.check("DeploymentDescriptor", ADVICE)?;
    for (path, value) in [
        ("spec.workload.name", &said.workload),
        ("spec.deploymentTarget.name", &said.deployment_target),
        ("spec.deploymentTarget.environment", &said.environment),
        ("spec.workloadVersion.version", &said.version),
    ] {
        if is_variable(value) {
            return Err(Rejection::new(
                format!("{path} is the unexpanded variable `{}`", value.chars().take(60).collect::<String>()),
                "this is a template; expand its variables (`envsubst`) before it is applied",
            ));
        }
    }
    said.build_time = json::time("spec.workloadVersion.buildTime", version.build_time.as_deref())?;
    Ok(said)
}

/// `$NAME` or `${NAME}` at the start of a value.
fn is_variable(value: &str) -> bool {
    value
        .strip_prefix('$')
        .is_some_and(|rest| rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()))
}

fn host(spec: Spec, resource: Option<String>) -> Result<HostSaid, Rejection> {
    let mut required = Required::default();
    let mut expects = None;
    if let Some(said) = spec.expects {
        let mut all = Vec::with_capacity(said.len());
        for one in said {
            all.push((
                required.take("spec.expects[].workload", one.workload),
                required.take("spec.expects[].environment", one.environment),
                required.take("spec.expects[].deploymentTarget", one.deployment_target),
            ));
        }
        expects = Some(all);
    }
    let name = required.take("spec.name", spec.name.or(resource));
    required.check("Cluster", ADVICE)?;
    Ok(HostSaid {
        name,
        external_id: spec.external_id,
        host_type: spec.host_type,
        labels: spec.labels.unwrap_or_default().0,
        class: spec.class,
        contact: spec.contact,
        expects,
        selector: spec.expects_selector.map(Into::into),
        heartbeat: spec.reported_at.is_some(),
        retired: false,
    })
}

#[cfg(test)]
mod tests;
