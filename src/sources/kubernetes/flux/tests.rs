//! Statuses as the controllers write them, in their own order.

use super::*;

fn object(status: serde_json::Value) -> DynamicObject {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "app", "namespace": "flux-system", "generation": 3, "resourceVersion": "77"},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "app"}},
        "status": status,
    }))
    .unwrap()
}

fn ready(status: &str, reason: &str) -> serde_json::Value {
    serde_json::json!([{
        "type": "Ready", "status": status, "reason": reason, "message": "m", "observedGeneration": 3,
        "lastTransitionTime": "2026-11-21T03:56:17Z"
    }])
}

fn settled(status: serde_json::Value) -> Option<String> {
    kustomization(&object(status)).settled.map(|r| r.revision)
}

#[test]
fn a_revision_is_settled_when_it_is_ready_current_and_the_attempted_one() {
    let status = serde_json::json!({
        "observedGeneration": 3, "conditions": ready("True", "ReconciliationSucceeded"),
        "lastAppliedRevision": "main@sha1:a", "lastAttemptedRevision": "main@sha1:a",
    });
    let read = kustomization(&object(status));
    assert_eq!(read.settled.as_ref().map(|r| r.revision.as_str()), Some("main@sha1:a"));
    assert_eq!(read.settled.and_then(|r| r.at), Some(Micros(1_795_233_377_000_077)));
    assert_eq!(read.source, Some(ObjectName::new("flux-system", "app")));
    assert_eq!((read.resource_version, read.waiting_for.as_str()), (77, ""));
}

#[test]
fn what_happened_in_one_second_keeps_its_order() {
    assert!(in_order(1_000_000, 41_000) < in_order(1_000_000, 41_009));
    assert!(in_order(1_000_000, 499_999) < in_order(2_000_000, 500_000));
}

#[test]
fn ready_with_a_stale_applied_revision_is_not_settled() {
    let status = serde_json::json!({
        "observedGeneration": 3, "conditions": ready("True", "ReconciliationSucceeded"),
        "lastAppliedRevision": "main@sha1:a", "lastAttemptedRevision": "main@sha1:b",
    });
    assert_eq!(settled(status), None);
}

#[test]
fn a_failed_path_leaves_both_revisions_equal_and_is_not_settled() {
    let status = serde_json::json!({
        "observedGeneration": 3, "conditions": ready("False", "ArtifactFailed"),
        "lastAppliedRevision": "main@sha1:a", "lastAttemptedRevision": "main@sha1:a",
    });
    let read = kustomization(&object(status));
    assert_eq!(read.settled, None);
    assert!(read.waiting_for.contains("ArtifactFailed"), "{}", read.waiting_for);
}

#[test]
fn a_generation_that_is_not_acted_on_yet_is_not_settled() {
    let status = serde_json::json!({
        "observedGeneration": 2, "conditions": ready("True", "ReconciliationSucceeded"),
        "lastAppliedRevision": "main@sha1:a", "lastAttemptedRevision": "main@sha1:a",
    });
    assert_eq!(settled(status), None);
}

#[test]
fn of_an_artifact_from_a_registry_the_commit_it_was_made_from_counts() {
    let status = serde_json::json!({
        "observedGeneration": 3, "conditions": ready("True", "ReconciliationSucceeded"),
        "lastAppliedRevision": "latest@sha256:d", "lastAttemptedRevision": "latest@sha256:d",
        "lastAppliedOriginRevision": "main@sha1:a",
    });
    assert_eq!(settled(status).as_deref(), Some("main@sha1:a"));
}

#[test]
fn what_never_reported_or_has_another_shape_says_nothing() {
    assert_eq!(settled(serde_json::Value::Null), None);
    assert_eq!(settled(serde_json::json!({"conditions": 7})), None);
}

#[test]
fn only_a_branch_has_an_order_of_commits() {
    let repository = |reference: serde_json::Value| {
        branch(
            &serde_json::from_value(serde_json::json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "x"},
                "spec": {"url": "https://x/r", "ref": reference},
            }))
            .unwrap(),
        )
        .map(|(_, branch)| branch)
    };
    assert_eq!(repository(serde_json::json!({"branch": "dev"})).as_deref(), Some("dev"));
    assert_eq!(repository(serde_json::json!({"name": "refs/heads/dev"})).as_deref(), Some("dev"));
    assert_eq!(repository(serde_json::Value::Null).as_deref(), Some("master"));
    assert_eq!(repository(serde_json::json!({"branch": "dev", "commit": "abc"})), None);
    assert_eq!(repository(serde_json::json!({"semver": "1.x"})), None);
}
