//! The hub's own flat shapes: descriptors, reconcilers, hosts and verifications as one object each, for whoever has no custom resources.
//!
//! Invariant: strict. An unknown field is an error (a typo must not lose data), and so is a field that stands twice; missing
//! fields are named together with an example. A deletion needs only what names the object.

mod verification;

pub use verification::{VERIFICATION_EXAMPLE, verification};

use serde::Deserialize;

use super::json::{self, Required, Texts, object, objects};
use super::selector::Selector;
use crate::model::{Carrier, DescriptorSaid, HostSaid, ManifestsSaid, Observation, ReportSaid, Said, When};
use crate::normalize::Rejection;

/// A complete small descriptor.
pub const DESCRIPTOR_EXAMPLE: &str = r#"{"workspace":"w","application":"a","workload":"l","environment":"dev","deployment_target":"t","version":"1.0.0","manifests":{"repo":"https://github.com/org/app-gitops","branch":"dev","path":"t"},"gitops_revision":"dev@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065"}"#;
/// A complete small report.
pub const RECONCILER_EXAMPLE: &str = r#"{"host":"cluster-1","reconciler":"app","reconciler_type":"flux","manifests_endpoint":"https://github.com/org/app-gitops/dev/t","commit":"sha1:530af36eb38818ff7c4a8840f2068998ec8ec065","status":"success","reported_at":"2026-01-31T12:00:00Z"}"#;
/// A complete small host.
pub const HOST_EXAMPLE: &str = r#"{"name":"cluster-1","labels":{"ring":"1"},"expects":[{"workload":"l","environment":"dev","deployment_target":"t"}]}"#;

fn advice(example: &str) -> String {
    format!("a complete example: {example}")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Descriptor {
    workspace: Option<String>,
    application: Option<String>,
    workload: Option<String>,
    environment: Option<String>,
    deployment_target: Option<String>,
    version: Option<String>,
    #[serde(deserialize_with = "object")]
    manifests: Option<Manifests>,
    gitops_revision: Option<String>,
    #[serde(deserialize_with = "object")]
    source: Option<Source>,
    source_commit: Option<String>,
    build: Option<String>,
    build_time: Option<String>,
    image_digest: Option<String>,
    author: Option<String>,
    pull_request: Option<String>,
    contact: Option<String>,
    labels: Option<Texts>,
    observed_at: Option<String>,
    deleted: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Manifests {
    storage_type: Option<String>,
    repo: Option<String>,
    branch: Option<String>,
    path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Source {
    repo: Option<String>,
    branch: Option<String>,
    path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Reconciler {
    host: Option<String>,
    reconciler: Option<String>,
    reconciler_type: Option<String>,
    manifests_endpoint: Option<String>,
    #[serde(deserialize_with = "object")]
    manifests: Option<Manifests>,
    commit: Option<String>,
    applied_commit: Option<String>,
    status: Option<String>,
    raw_status: Option<String>,
    message: Option<String>,
    reported_at: Option<String>,
    labels: Option<Texts>,
    deleted: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Host {
    name: Option<String>,
    external_id: Option<String>,
    host_type: Option<String>,
    labels: Option<Texts>,
    class: Option<String>,
    contact: Option<String>,
    #[serde(deserialize_with = "objects")]
    expects: Option<Vec<Expects>>,
    #[serde(deserialize_with = "object")]
    expects_selector: Option<Selector>,
    reported_at: Option<String>,
    retired: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Expects {
    workload: Option<String>,
    environment: Option<String>,
    deployment_target: Option<String>,
}

fn observation(source: &str, event: Option<crate::model::Micros>, deleted: bool, said: Said) -> Observation {
    let said = if deleted { Said::Deleted(Some(Box::new(said))) } else { said };
    let when = When { event, ..When::default() };
    Observation { source: source.to_owned(), carrier: Carrier::Natural, when, said }
}

/// Reads one flat descriptor.
pub fn descriptor(bytes: &[u8], source: &str) -> Result<Observation, Rejection> {
    let advice = || advice(DESCRIPTOR_EXAMPLE);
    let flat: Descriptor = json::read(bytes, "the descriptor", "see the descriptor's fields in the API description")?;
    let deleted = flat.deleted == Some(true);
    let mut required = Required::default();
    let version = if deleted { flat.version.unwrap_or_default() } else { required.take("version", flat.version) };
    let manifests = match flat.manifests {
        Some(manifests) => parts(manifests, &mut required),
        None => {
            if !deleted {
                required.missing("manifests");
            }
            parts(Manifests::default(), &mut Required::default())
        }
    };
    let revision = flat.gitops_revision.filter(|r| !r.trim().is_empty());
    if revision.is_none() && !deleted {
        required.missing("gitops_revision");
    }
    let origin = flat.source.unwrap_or_default();
    let mut said = DescriptorSaid {
        workspace: required.take("workspace", flat.workspace),
        application: required.take("application", flat.application),
        workload: required.take("workload", flat.workload),
        environment: required.take("environment", flat.environment),
        deployment_target: required.take("deployment_target", flat.deployment_target),
        version,
        manifests,
        gitops_revision: revision,
        source_repo: origin.repo,
        source_branch: origin.branch,
        source_path: origin.path,
        source_commit: flat.source_commit,
        build: flat.build,
        build_time: None,
        image_digest: flat.image_digest,
        author: flat.author,
        pull_request: flat.pull_request,
        contact: flat.contact,
        labels: flat.labels.unwrap_or_default().0,
    };
    if let Err(lacking) = required.check("the descriptor", "") {
        return Err(Rejection { detail: advice(), ..lacking });
    }
    said.build_time = json::time("build_time", flat.build_time.as_deref())?;
    let event = json::time("observed_at", flat.observed_at.as_deref())?;
    Ok(observation(source, event, deleted, Said::Descriptor(Box::new(said))))
}

/// Reads one flat report.
pub fn reconciler(bytes: &[u8], source: &str) -> Result<Observation, Rejection> {
    let flat: Reconciler = json::read(bytes, "the report", "see the reconciler's fields in the API description")?;
    let deleted = flat.deleted == Some(true);
    let mut required = Required::default();
    let host = required.take("host", flat.host);
    let reconciler = required.take("reconciler", flat.reconciler);
    let (reconciler_type, status) = if deleted {
        (flat.reconciler_type.unwrap_or_default(), flat.status.unwrap_or_default())
    } else {
        (required.take("reconciler_type", flat.reconciler_type), required.take("status", flat.status))
    };
    let manifests = match (flat.manifests_endpoint, flat.manifests) {
        (Some(_), Some(_)) => {
            return Err(Rejection::new(
                "the report names manifests and manifests_endpoint",
                "send one of them: manifests_endpoint as one string, or manifests in parts",
            ));
        }
        (None, Some(manifests)) => parts(manifests, &mut required),
        (endpoint, None) => {
            if endpoint.is_none() && !deleted {
                required.missing("manifests_endpoint (or manifests)");
            }
            ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: endpoint.unwrap_or_default() }
        }
    };
    if let Err(lacking) = required.check("the report", "") {
        return Err(Rejection { detail: advice(RECONCILER_EXAMPLE), ..lacking });
    }
    let event = json::time("reported_at", flat.reported_at.as_deref())?;
    let said = ReportSaid {
        host,
        reconciler,
        reconciler_type,
        manifests,
        commit: flat.commit,
        applied_commit: flat.applied_commit,
        status,
        raw_status: flat.raw_status,
        message: flat.message.unwrap_or_default(),
        labels: flat.labels.unwrap_or_default().0,
    };
    Ok(observation(source, event, deleted, Said::Report(Box::new(said))))
}

/// Reads one flat host.
pub fn host(bytes: &[u8], source: &str) -> Result<Observation, Rejection> {
    let flat: Host = json::read(bytes, "the host", "see the host's fields in the API description")?;
    let mut required = Required::default();
    let name = required.take("name", flat.name);
    let expects = flat.expects.map(|expects| {
        let mut one = |e: Expects| {
            (
                required.take("expects[].workload", e.workload),
                required.take("expects[].environment", e.environment),
                required.take("expects[].deployment_target", e.deployment_target),
            )
        };
        expects.into_iter().map(&mut one).collect()
    });
    if let Err(lacking) = required.check("the host", "") {
        return Err(Rejection { detail: advice(HOST_EXAMPLE), ..lacking });
    }
    let event = json::time("reported_at", flat.reported_at.as_deref())?;
    let said = HostSaid {
        name,
        external_id: flat.external_id,
        host_type: flat.host_type,
        labels: flat.labels.unwrap_or_default().0,
        class: flat.class,
        contact: flat.contact,
        expects,
        selector: flat.expects_selector.map(Into::into),
        heartbeat: event.is_some(),
        retired: flat.retired == Some(true),
    };
    Ok(observation(source, event, false, Said::Host(Box::new(said))))
}

fn parts(manifests: Manifests, required: &mut Required) -> ManifestsSaid {
    ManifestsSaid::Parts {
        storage_type: manifests.storage_type.unwrap_or_default(),
        repo: required.take("manifests.repo", manifests.repo),
        branch: required.take("manifests.branch", manifests.branch),
        path: required.take("manifests.path", manifests.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Micros};
    use crate::normalize;

    const NOW: Micros = Micros(1_800_000_000_000_000);

    #[test]
    fn the_examples_are_complete() {
        for observed in [
            descriptor(DESCRIPTOR_EXAMPLE.as_bytes(), "push"),
            reconciler(RECONCILER_EXAMPLE.as_bytes(), "push"),
            host(HOST_EXAMPLE.as_bytes(), "push"),
        ] {
            normalize::fact(observed.unwrap(), NOW).unwrap();
        }
    }

    #[test]
    fn missing_fields_are_named_together_with_an_example() {
        let rejection = descriptor(br#"{"workspace":"w","manifests":{"repo":"r"}}"#, "push").unwrap_err();
        assert_eq!(
            rejection.title,
            "the descriptor lacks version, manifests.branch, manifests.path, gitops_revision, application, workload, \
             environment, deployment_target"
        );
        assert!(rejection.detail.contains(DESCRIPTOR_EXAMPLE));
        let blank = DESCRIPTOR_EXAMPLE.replace("dev@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065", " ");
        let rejection = descriptor(blank.as_bytes(), "push").unwrap_err();
        assert_eq!(rejection.title, "the descriptor lacks gitops_revision");
        let rejection = reconciler(br#"{"host":"h"}"#, "push").unwrap_err();
        assert_eq!(
            rejection.title,
            "the report lacks reconciler, reconciler_type, status, manifests_endpoint (or manifests)"
        );
        assert_eq!(host(b"{}", "push").unwrap_err().title, "the host lacks name");
    }

    #[test]
    fn unknown_and_repeated_fields_and_wrong_types_are_errors() {
        let title = |text: &[u8]| reconciler(text, "push").unwrap_err().title;
        assert!(title(br#"{"hots":"h"}"#).contains("unknown field `hots`"));
        assert!(title(br#"{"host":"h","host":"i"}"#).contains("duplicate field `host`"));
        assert!(title(br#"{"host":7}"#).starts_with("host: invalid type: integer"));
        assert!(title(br#"{"labels":{"a":"b","a":"c"}}"#).contains("duplicate key"));
        assert!(title(br#"{"manifests":{"repo":"r","paths":"p"}}"#).starts_with("manifests.paths: unknown field"));
        assert!(title(br#"{"manifests":["git","r","b","p"]}"#).contains("invalid type: sequence, expected an object"));
        let expects = host(br#"{"name":"a","expects":[["l","dev","t"]]}"#, "push").unwrap_err().title;
        assert!(expects.contains("invalid type: sequence, expected an object"), "{expects}");
    }

    #[test]
    fn a_deletion_needs_only_the_name_of_the_object() {
        let gone = reconciler(br#"{"host":"cluster-1","reconciler":"app","deleted":true}"#, "push").unwrap();
        let there = reconciler(RECONCILER_EXAMPLE.as_bytes(), "push").unwrap();
        let (gone, there) = (normalize::fact(gone, NOW).unwrap(), normalize::fact(there, NOW).unwrap());
        assert_eq!((gone.carrier, gone.body), (there.carrier, Body::Gone));
        let text = r#"{"workspace":"w","application":"a","workload":"l","environment":"dev","deployment_target":"t","deleted":true}"#;
        let gone = normalize::fact(descriptor(text.as_bytes(), "push").unwrap(), NOW).unwrap();
        let there = normalize::fact(descriptor(DESCRIPTOR_EXAMPLE.as_bytes(), "push").unwrap(), NOW).unwrap();
        assert_eq!(gone.carrier, there.carrier);
    }

    #[test]
    fn a_host_says_by_labels_what_it_is_expected_to_run_in_either_spelling() {
        let selector = |text: &str| {
            let text = format!(r#"{{"name":"a","expects_selector":{text}}}"#);
            let Body::Host(host) = normalize::fact(host(text.as_bytes(), "push")?, NOW)?.body else {
                panic!("no host")
            };
            Ok::<_, Rejection>((host.expects, host.selector))
        };
        let snake = r#"{"match_labels":{"a":"1"},"match_expressions":[{"key":"b","operator":"In","values":["x"]}]}"#;
        let camel = snake.replace("match_labels", "matchLabels").replace("match_expressions", "matchExpressions");
        assert_eq!(selector(snake), Ok((Some(Vec::new()), camel.clone())));
        assert_eq!(selector(&camel), selector(snake));
        assert_eq!(selector("{}"), Ok((Some(Vec::new()), "{}".to_owned())));
        assert_eq!(selector("null"), Ok((None, String::new())), "nothing is said of what it is expected to run");
        let title = |text: &str| selector(text).unwrap_err().title;
        assert!(title(r#"{"matchLabel":{}}"#).starts_with("expects_selector.matchLabel: unknown field `matchLabel`"));
        assert!(title(r#"{"matchLabels":{},"match_labels":{}}"#).contains("duplicate field `matchLabels`"));
        assert!(title("[]").contains("invalid type: sequence, expected an object"));
        assert_eq!(
            title(r#"{"matchExpressions":[{"key":"a","operator":"Gt"}]}"#),
            "expectsSelector.matchExpressions[0].operator is `Gt`"
        );
    }

    #[test]
    fn a_host_that_names_when_it_was_heard_is_a_heartbeat() {
        let heard = |text: &str| match host(text.as_bytes(), "push").unwrap().said {
            Said::Host(host) => (host.heartbeat, host.retired),
            other => panic!("{other:?}"),
        };
        assert_eq!(heard(r#"{"name":"a"}"#), (false, false));
        assert_eq!(heard(r#"{"name":"a","reported_at":"2026-01-01T00:00:00Z"}"#), (true, false));
        assert_eq!(heard(r#"{"name":"a","retired":true}"#), (false, true));
    }
}
