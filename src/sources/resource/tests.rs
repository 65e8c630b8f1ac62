//! Upstream's resources and ours, events and lists, and every way they can be wrong.

use super::*;

const DESCRIPTOR: &str = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"DeploymentDescriptor","metadata":{"name":"d","namespace":"n",
 "annotations":{"hub.kalypso.io/observed-at":"2026-01-02T03:04:05Z","hub.kalypso.io/gitops-revision":"dev@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065","x":"y"}},
 "spec":{"workload":{"name":"l","source":{"repo":"https://h.x/o/src","branch":"main","path":"."},"application":{"name":"a","workspace":{"name":"w"}}},
 "deploymentTarget":{"name":"t","environment":"dev","manifests":{"repo":"https://h.x/o/r","branch":"dev","path":"./t"}},
 "workloadVersion":{"version":"1.0","build":"b","commit":"c","buildTime":"2026-01-01T00:00:00Z"}},
 "status":{"gitOpsCommitId":"sha1:0000000000000000000000000000000000000000"}}"#;
const RECONCILER: &str = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{"name":"r","namespace":"hub","uid":"u","resourceVersion":"7"},
 "spec":{"hostName":"h","reconcilerName":"f","reconcilerType":"flux","manifestsStorageType":"git","manifestsEndpoint":"https://h.x/o/r/dev/t",
 "deployment":{"gitOpsCommitId":"sha1:530af36eb38818ff7c4a8840f2068998ec8ec065","status":"success","statusMessage":"ok"}}}"#;

fn one(text: &str) -> Result<Observation, Rejection> {
    let mut all = decode(text.as_bytes(), "push")?;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn descriptor_of(observation: Observation) -> DescriptorSaid {
    match observation.said {
        Said::Descriptor(said) => *said,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_descriptor_is_read_with_its_annotations() {
    let seen = one(DESCRIPTOR).unwrap();
    assert_eq!(seen.when.event, Some(Micros::parse("2026-01-02T03:04:05Z").unwrap()));
    assert!(
        matches!(&seen.carrier, Carrier::Resource { kind: ResourceKind::DeploymentDescriptor, namespace, name } if namespace == "n" && name == "d")
    );
    let said = descriptor_of(seen);
    assert_eq!(said.gitops_revision.as_deref(), Some("dev@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065"));
    assert_eq!((said.workspace.as_str(), said.version.as_str()), ("w", "1.0"));
}

#[test]
fn the_commit_is_the_annotation_else_the_manifests_else_the_status() {
    let without = DESCRIPTOR.replace("hub.kalypso.io/gitops-revision", "other");
    let revision = |text: &str| descriptor_of(one(text).unwrap()).gitops_revision.unwrap();
    assert_eq!(revision(&without), "sha1:0000000000000000000000000000000000000000");
    assert_eq!(revision(&without.replace(r#""path":"./t""#, r#""path":"./t","commit":"main/abc""#)), "main/abc");
}

#[test]
fn a_reconciler_is_read_with_our_optional_fields() {
    let seen = one(RECONCILER).unwrap();
    assert_eq!(seen.when.object_version.as_deref(), Some("u/7"));
    assert_eq!(seen.when.event, None);
    let more = RECONCILER
        .replace(r#""hostName""#, r#""labels":{"ring":"2","x":"y"},"clusterType":"aks","ring":"1","reportedAt":"2026-01-02T03:04:05Z","hostName""#)
        .replace(r#""status":"success""#, r#""status":"success","appliedCommitId":"b""#);
    let seen = one(&more).unwrap();
    assert_eq!(seen.when.event, Some(Micros::parse("2026-01-02T03:04:05Z").unwrap()));
    let Said::Report(said) = seen.said else { panic!("not a report") };
    assert_eq!(said.applied_commit.as_deref(), Some("b"));
    let labels: Vec<(&str, &str)> = said.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("cluster_type", "aks"), ("ring", "2"), ("x", "y")]);
}

#[test]
fn a_reconciler_that_has_not_deployed_says_unknown() {
    let text = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{"name":"r"},"spec":{"hostName":"h","reconcilerName":"f","reconcilerType":"flux","manifestsEndpoint":"e"}}"#;
    let Said::Report(said) = one(text).unwrap().said else { panic!("not a report") };
    assert_eq!((said.status.as_str(), said.commit), ("unknown", None));
}

#[test]
fn watch_events_add_change_and_delete() {
    let event = |kind: &str, object: &str| format!(r#"{{"type":"{kind}","object":{object}}}"#);
    for kind in ["ADDED", "MODIFIED"] {
        assert!(matches!(one(&event(kind, RECONCILER)).unwrap().said, Said::Report(_)));
    }
    let gone = one(&event("DELETED", RECONCILER)).unwrap();
    assert_eq!((gone.said, gone.when.event), (Said::Deleted(None), None));
    let stamped = DESCRIPTOR.replace(r#""name":"d""#, r#""name":"d","deletionTimestamp":"2026-02-02T00:00:00Z""#);
    let gone = one(&event("DELETED", &stamped)).unwrap();
    assert_eq!(gone.when.event, Some(Micros::parse("2026-02-02T00:00:00Z").unwrap()));
    let bare =
        r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{"name":"r","namespace":"hub"}}"#;
    assert_eq!(one(&event("DELETED", bare)).unwrap().said, Said::Deleted(None));
    assert_eq!(decode(event("BOOKMARK", r#"{"kind":"Reconciler"}"#).as_bytes(), "push").unwrap(), []);
    let error = one(&event("ERROR", r#"{"kind":"Status","message":"too old resource version"}"#)).unwrap_err();
    assert!(error.detail.contains("too old resource version"));
    assert!(one(&event("PURGED", RECONCILER)).unwrap_err().title.contains("PURGED"));
    assert_eq!(one(r#"{"type":"ADDED"}"#).unwrap_err().title, "the watch event lacks object");
}

#[test]
fn a_bad_element_of_a_list_spoils_only_itself() {
    let list = |items: &str| format!(r#"{{"apiVersion":"v1","kind":"List","items":[{items}]}}"#);
    let all = decode(list(&format!("{RECONCILER},{DESCRIPTOR}")).as_bytes(), "push").unwrap();
    assert!(all.len() == 2 && all.iter().all(Result::is_ok));
    let bad = RECONCILER.replace(r#""hostName":"h""#, r#""hostName":5"#);
    let all = decode(list(&format!("{RECONCILER},{bad},{DESCRIPTOR}")).as_bytes(), "push").unwrap();
    assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(all[1].as_ref().unwrap_err().title.starts_with("spec.hostName: invalid type: integer"));
}

#[test]
fn kinds_that_say_nothing_are_refused_with_a_reason() {
    let kind = |kind: &str| one(&RECONCILER.replace("\"Reconciler\"", kind)).unwrap_err().title;
    assert_eq!(kind("\"Deployment\""), "kind `Deployment` says nothing to the hub");
    assert_eq!(kind("\"AzureResourceGraph\""), "AzureResourceGraph is not read by this hub yet");
    assert_eq!(kind("\"\""), "kind is missing");
    let foreign = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"type":5,"name":[]}}"#;
    assert_eq!(one(foreign).unwrap_err().title, "kind `Service` says nothing to the hub");
    let version = RECONCILER.replace("v1alpha1", "v9");
    assert_eq!(one(&version).unwrap_err().title, "apiVersion `hub.kalypso.io/v9` of Reconciler is unknown");
}

#[test]
fn wrong_types_and_repeated_keys_are_errors_that_name_the_path_and_unknown_fields_are_tolerated() {
    let title = |from: &str, to: &str| one(&RECONCILER.replace(from, to)).unwrap_err().title;
    assert!(title(r#""status":"success""#, r#""status":{}"#).starts_with("spec.deployment.status: invalid type: map"));
    assert!(title(r#""name":"r""#, r#""name":1"#).starts_with("metadata.name: invalid type: integer"));
    assert!(title(r#""hostName":"h""#, r#""hostName":"h","hostName":"i""#).contains("duplicate field `hostName`"));
    assert!(one(&RECONCILER.replace(r#""hostName""#, r#""more":{"a":[1]},"hostName""#)).is_ok());
}

#[test]
fn missing_fields_are_named_together() {
    let text = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{"name":"r"},"spec":{"hostName":"h"}}"#;
    assert_eq!(
        one(text).unwrap_err().title,
        "Reconciler lacks spec.reconcilerName, spec.reconcilerType, spec.manifestsEndpoint"
    );
    let text = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{"name":"r"},"spec":null}"#;
    assert_eq!(one(text).unwrap_err().title, "Reconciler lacks spec");
}

#[test]
fn a_cluster_declares_a_host_and_what_it_is_expected_to_run() {
    let text = r#"{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Cluster","metadata":{"name":"c"},"spec":{"externalId":"/x","type":"aks","labels":{"ring":"1"},"class":"edge","contact":"me","expects":[{"workload":"l","environment":"dev","deploymentTarget":"t"}]}}"#;
    let Said::Host(said) = one(text).unwrap().said else { panic!("not a host") };
    assert_eq!((said.name.as_str(), said.heartbeat), ("c", false));
    assert_eq!(said.expects, Some(vec![("l".into(), "dev".into(), "t".into())]));
}

#[test]
fn a_cluster_says_by_labels_what_it_is_expected_to_run() {
    let said = |selector: &str| {
        let text = format!(
            r#"{{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Cluster","metadata":{{"name":"c"}},"spec":{{"expectsSelector":{selector}}}}}"#
        );
        match one(&text)?.said {
            Said::Host(said) => Ok::<_, Rejection>(said.selector),
            other => panic!("{other:?}"),
        }
    };
    let selector = r#"{"matchLabels":{"ring":"1"},"matchExpressions":[{"key":"a","operator":"Exists","values":null}]}"#;
    let read = said(selector).unwrap().unwrap();
    assert_eq!(read.match_labels, [("ring".to_owned(), "1".to_owned())].into());
    assert_eq!((read.match_expressions[0].key.as_str(), read.match_expressions[0].values.len()), ("a", 0));
    assert_eq!(said("{}").unwrap(), Some(Default::default()));
    assert_eq!(said("null").unwrap(), None);
    // A field that is passed over elsewhere would select everything here.
    let title = said(r#"{"matchlabels":{"ring":"1"}}"#).unwrap_err().title;
    assert!(title.starts_with("spec.expectsSelector.matchlabels: unknown field"), "{title}");
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!(r#"{{"kind":"Reconciler","spec":{}"#, "{\"object\":".repeat(100_000));
    assert!(one(&deep).is_err());
    let deep = "{\"object\":".repeat(100_000);
    assert!(one(&deep).is_err());
    let items = "{\"items\":[".repeat(100_000);
    assert!(one(&items).is_err());
}

#[test]
fn a_template_is_no_descriptor() {
    let title = one(&DESCRIPTOR.replace(r#""version":"1.0""#, r#""version":"${VERSION}""#)).unwrap_err().title;
    assert_eq!(title, "spec.workloadVersion.version is the unexpanded variable `${VERSION}`");
}

#[test]
fn yaml_keeps_the_text_of_plain_scalars_and_names_the_path_of_wrong_types() {
    let yaml = |version: &str| {
        format!(
            "apiVersion: hub.kalypso.io/v1alpha1\nkind: DeploymentDescriptor\nmetadata:\n  name: d\nspec:\n  workload:\n    name: l\n    application:\n      name: a\n      workspace:\n        name: w\n  deploymentTarget:\n    name: t\n    environment: dev\n    manifests:\n      repo: https://h.x/o/r\n      branch: dev\n      path: ./t\n  workloadVersion:\n    version: {version}\n"
        )
    };
    let mut all = decode_yaml(&yaml("1.10"), "directory").unwrap();
    assert_eq!(descriptor_of(all.remove(0).unwrap()).version, "1.10");
    let wrong = decode_yaml(&yaml("[1]"), "directory").unwrap_err();
    assert!(wrong.title.starts_with("spec.workloadVersion.version: invalid type: sequence"), "{}", wrong.title);
    assert!(decode_yaml("a: [", "directory").unwrap_err().title.starts_with("not valid YAML"));
    assert!(decode_yaml("a: 1\na: 2", "directory").is_err());
}

#[test]
fn a_yaml_bomb_is_refused() {
    let mut bomb = String::from("kind: Reconciler\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for n in 1..10 {
        let alias = format!("*a{},", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", alias.trim_end_matches(',')));
    }
    assert!(decode_yaml(&bomb, "directory").unwrap_err().title.starts_with("not valid YAML"));
}
