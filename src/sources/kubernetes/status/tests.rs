//! What is written, and what is left alone.

use super::*;

fn desired(ready: bool, message: &str) -> Desired {
    Desired {
        ready,
        reason: if ready { reason::RECORDED } else { reason::AWAITING },
        message: message.into(),
        generation: 2,
        commit: Some("sha1:a".into()),
        since: Some(5),
        event: true,
    }
}

/// An object as the API server shows it after a patch was applied.
fn after(patch: &serde_json::Value) -> Shown {
    let object = serde_json::json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "9"}, "status": patch["status"],
    });
    Shown::of(&serde_json::from_value(object).unwrap())
}

#[test]
fn what_an_object_shows_already_is_not_written_again() {
    let name = ObjectName::new("n", "d");
    let patch = patch("DeploymentDescriptor", &name, &Shown::default(), &desired(true, "m"));
    assert!(after(&patch).shows(&desired(true, "m")));
    assert!(!after(&patch).shows(&desired(true, "another message")));
    assert!(!after(&patch).shows(&desired(false, "m")));
}

#[test]
fn the_time_of_a_transition_moves_only_with_the_status() {
    let name = ObjectName::new("n", "d");
    let mut shown = after(&patch("DeploymentDescriptor", &name, &Shown::default(), &desired(false, "m")));
    let long_ago = Time("2020-01-01T00:00:00Z".parse().unwrap());
    shown.ready.as_mut().unwrap().last_transition_time = long_ago.clone();
    let time = |ready| {
        let patch = patch("DeploymentDescriptor", &name, &shown, &desired(ready, "another"));
        patch["status"]["conditions"][0]["lastTransitionTime"].clone()
    };
    assert_eq!(time(false), serde_json::json!(long_ago));
    assert_ne!(time(true), serde_json::json!(long_ago));
}

#[test]
fn of_one_object_only_the_newest_observation_waits() {
    let queue = Statuses(Arc::default());
    let name = ObjectName::new("n", "d");
    queue.set(ResourceKind::DeploymentDescriptor, &name, Shown::default(), desired(false, "m"));
    queue.set(ResourceKind::DeploymentDescriptor, &name, Shown::default(), desired(true, "m"));
    let waiting = queue.0.waiting.lock();
    assert_eq!((waiting.order.len(), waiting.entries.len()), (1, 1));
    assert!(waiting.entries.values().all(|(_, d)| d.ready));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let cut = cut(&"ä".repeat(5000));
    assert_eq!(cut.chars().count(), MESSAGE + 1);
}
