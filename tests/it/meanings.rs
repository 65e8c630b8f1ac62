//! The sixteen meanings of the design (§3) and the gate (§8), each as small histories in JSON and the rows they must give.
//!
//! Every history is told to every kind of hub, the reference model among them, so that an expectation that the reference does
//! not share shows itself here.

mod fleet;
mod gate;
mod told;
mod wanted;

use serde_json::{Value, json};

use crate::reference::Row;
use crate::reference::under_test::{HubUnderTest, comparable, kinds};

/// The branch most histories play on.
const DEV: &str = "https://git.example/org/manifests/dev/edge";

/// A commit by letter, as hubs show it.
fn c(letter: char) -> String {
    format!("sha1:{}", hex(letter))
}

/// A commit by letter, as git shows it.
fn hex(letter: char) -> String {
    format!("{:x}", u32::from(letter)).repeat(20)
}

/// An instant by minute, as hubs show it.
fn t(minute: u32) -> String {
    format!("2025-06-01T{:02}:{:02}:00.000Z", 10 + minute / 60, minute % 60)
}

/// Tells a story to every kind of hub.
fn each(story: impl Fn(&mut dyn HubUnderTest)) {
    for make in kinds() {
        story(&mut *make());
    }
}

/// A descriptor of workload `web` in `dev`, target `edge`, on the branch `dev`, carried by a resource.
fn wanted(resource: &str, version: &str, commit: char, minute: u32) -> Value {
    wanted_on(resource, ("web", "dev", "edge"), "edge", version, commit, minute)
}

/// A descriptor of (workload, environment, target) at a path of the branch named like the environment.
fn wanted_on(
    resource: &str,
    (workload, environment, target): (&str, &str, &str),
    path: &str,
    version: &str,
    commit: char,
    minute: u32,
) -> Value {
    json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {"name": resource, "namespace": "flux-system", "annotations": {
            "hub.kalypso.io/observed-at": t(minute),
            "hub.kalypso.io/gitops-revision": format!("{environment}@{}", c(commit)),
        }},
        "spec": {
            "workload": {
                "name": workload,
                "source": {"repo": "https://git.example/org/web", "branch": "main", "path": "."},
                "application": {"name": "shop", "workspace": {"name": "team"}},
            },
            "deploymentTarget": {"name": target, "environment": environment, "manifests": {
                "repo": "https://git.example/org/manifests", "branch": environment, "path": format!("./{path}"),
            }},
            "workloadVersion": {"version": version},
        },
    })
}

/// A report of the reconciler `flux` of a host, for the endpoint of `web` in `dev`, carried by a resource.
fn said(host: &str, commit: char, status: &str, minute: u32) -> Value {
    said_of(host, DEV, &c(commit), status, minute)
}

/// A report for any endpoint; without a commit when it is empty.
fn said_of(host: &str, endpoint: &str, commit: &str, status: &str, minute: u32) -> Value {
    let mut report = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Reconciler",
        "metadata": {"name": format!("{host}-flux"), "namespace": "hub", "annotations": {"hub.kalypso.io/observed-at": t(minute)}},
        "spec": {
            "hostName": host, "reconcilerName": "flux", "reconcilerType": "flux",
            "manifestsStorageType": "git", "manifestsEndpoint": endpoint,
            "deployment": {"gitOpsCommitId": commit, "status": status, "statusMessage": format!("{status} at minute {minute}")},
        },
    });
    if commit.is_empty()
        && let Some(deployment) = report["spec"]["deployment"].as_object_mut()
    {
        deployment.remove("gitOpsCommitId");
    }
    report
}

/// A pushed report that tells the attempted from the applied commit.
fn attempts(host: &str, attempted: char, applied: char, status: &str, minute: u32) -> Value {
    json!({
        "host": host, "reconciler": "flux", "reconciler_type": "flux", "manifests_endpoint": DEV, "commit": c(attempted),
        "applied_commit": c(applied), "status": status, "reported_at": t(minute),
    })
}

/// A pushed report with one commit.
fn pushed(host: &str, commit: char, status: &str, minute: u32) -> Value {
    json!({
        "host": host, "reconciler": "flux", "reconciler_type": "flux", "manifests_endpoint": DEV, "commit": c(commit),
        "status": status, "reported_at": t(minute),
    })
}

/// The deletion of a custom resource, as a watch tells it.
fn gone(kind: &str, namespace: &str, name: &str, minute: u32) -> Value {
    json!({"type": "DELETED", "object": {
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "annotations": {"hub.kalypso.io/observed-at": t(minute)}},
    }})
}

/// The deletion of a descriptor.
fn unwanted(resource: &str, minute: u32) -> Value {
    gone("DeploymentDescriptor", "flux-system", resource, minute)
}

/// The deletion of the resource that carries a host's `flux`.
fn forgotten(host: &str, minute: u32) -> Value {
    gone("Reconciler", "hub", &format!("{host}-flux"), minute)
}

/// All rows of a view.
fn view(hub: &mut dyn HubUnderTest, name: &str) -> Vec<Row> {
    hub.rows(&format!("SELECT * FROM {name}"))
}

/// Asserts that a view shows exactly these rows, looking at these columns only.
#[track_caller]
fn shows(hub: &mut dyn HubUnderTest, name: &str, columns: &str, expected: &[Value]) {
    let columns: Vec<&str> = columns.split(' ').collect();
    let expected = expected.iter().map(|values| {
        let values = values.as_array().expect("expected rows are arrays").iter().cloned();
        columns.iter().map(|column| column.to_string()).zip(values).collect()
    });
    let expected = comparable(expected.collect(), &columns);
    let actual = comparable(view(hub, name), &columns);
    assert_eq!(actual, expected, "{name} of {}", hub.name());
}

/// Asserts what the gate says of `web` in `dev`: the verdict, and the buckets that are not empty.
#[track_caller]
fn answers(hub: &mut dyn HubUnderTest, question: &str, verdict: &str, buckets: &[(&str, u64)]) {
    let answer = hub.gate(&format!("environment=dev&workload=web&{question}"));
    judged(hub.name(), question, &answer, verdict, buckets);
}

/// Whether a rollout stalls depends on the clock, and these histories are old: it counts as in progress.
#[track_caller]
fn judged(hub: &str, question: &str, answer: &Value, verdict: &str, buckets: &[(&str, u64)]) {
    let said = answer["verdict"].as_str().unwrap_or_default().replace("stalled", "in_progress");
    let filled: Vec<(&str, u64)> =
        ["success", "failure", "in_progress", "behind", "silent", "never_reported", "retired"]
            .into_iter()
            .map(|bucket| (bucket, answer["buckets"][bucket].as_u64().unwrap_or_default()))
            .filter(|(_, count)| *count > 0)
            .collect();
    assert_eq!((said.as_str(), filled.as_slice()), (verdict, buckets), "{question} by {hub}: {answer}");
}
