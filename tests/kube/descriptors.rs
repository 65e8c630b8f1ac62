//! Descriptors without Flux, and what the hub says about each in its status.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{apply, cluster, documents, ours};
use crate::declared::commit;
use crate::hub::{Hub, wait};

/// A descriptor of a workload, named after workload and environment; with a commit of its own when there is no Flux.
pub fn descriptor(workload: &str, environment: &str, version: &str, commit: Option<&str>) -> Value {
    let mut manifests = json!({
        "repo": "https://git.example/shop/gitops", "branch": environment, "path": workload,
    });
    if let Some(commit) = commit {
        manifests["commit"] = json!(commit);
    }
    json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {"name": format!("{workload}-{environment}")},
        "spec": {
            "workload": {"name": workload, "application": {"name": "store", "workspace": {"name": "shop"}}},
            "deploymentTarget": {"name": "edge", "environment": environment, "manifests": manifests},
            "workloadVersion": {"version": version},
        },
    })
}

/// The condition Ready of an object of the hub, as `status/reason`.
pub async fn ready(client: &kube::Client, namespace: &str, kind: &str, name: &str) -> String {
    let Some(object) = ours(client, namespace, kind).get_opt(name).await.unwrap() else { return "gone".into() };
    let condition = &object.data["status"]["conditions"][0];
    format!("{}/{}", condition["status"].as_str().unwrap_or("-"), condition["reason"].as_str().unwrap_or("-"))
}

/// Waits until the condition Ready of a descriptor is as expected.
pub async fn until_ready(client: &kube::Client, namespace: &str, name: &str, expected: &str, hub: &Hub) {
    let found =
        wait(|| async { (ready(client, namespace, "DeploymentDescriptor", name).await == expected).then_some(()) });
    if found.await.is_none() {
        let is = ready(client, namespace, "DeploymentDescriptor", name).await;
        panic!("{name} should be {expected} and is {is}\n{}", hub.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_without_flux_is_recorded_at_the_commit_it_names_and_waits_until_it_names_one() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", None)).await;
    until_ready(&client, &namespace, "web-dev", "False/AwaitingRevision", &hub).await;
    hub.until("SELECT desired_version FROM environment_state", &[]).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    until_ready(&client, &namespace, "web-dev", "True/Recorded", &hub).await;
    hub.until("SELECT desired_commit FROM environment_state", &[&format!("sha1:{}", commit('a'))]).await;
    ours(&client, &namespace, "DeploymentDescriptor").delete("web-dev", &DeleteParams::default()).await.unwrap();
    hub.until("SELECT desired_version FROM environment_state", &[]).await;
    hub.until("SELECT version FROM assignments WHERE ended_at IS NOT NULL", &["1.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_revision_is_recorded_after_a_restart() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", None)).await;
    until_ready(&client, &namespace, "web-dev", "False/AwaitingRevision", &hub).await;
    let stopped = hub.crash();
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    let hub = stopped.start();
    hub.until("SELECT desired_version FROM environment_state", &["1.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_that_was_deleted_while_the_hub_was_down_is_retired_and_its_namesake_elsewhere_is_not() {
    let Some(cluster) = cluster().await else { return };
    let (client, one, two) = (cluster.admin().await, cluster.namespace().await, cluster.namespace().await);
    let account = cluster.service_account(&one, "koh").await;
    let hub = Hub::ready(&account, &["--lease-namespace", &one]).await;
    // One name in two namespaces, for two environments of this test's own.
    for (namespace, environment) in [(&one, format!("{one}-env")), (&two, format!("{two}-env"))] {
        let mut object = descriptor("web", &environment, "1.0", Some(&commit('a')));
        object["metadata"]["name"] = json!("web");
        apply(&client, namespace, &object).await;
    }
    let wanted = format!("SELECT environment FROM environment_state WHERE environment IN ('{one}-env', '{two}-env')");
    hub.until(&format!("SELECT count(*) FROM ({wanted})"), &["2"]).await;
    let stopped = hub.stop();
    ours(&client, &one, "DeploymentDescriptor").delete("web", &DeleteParams::default()).await.unwrap();
    let hub = stopped.start();
    hub.until_ready().await;
    hub.until(&wanted, &[&format!("{two}-env")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_once_and_left_alone() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let account = cluster.service_account(&namespace, "koh").await;
    let args = ["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace];
    let hub = Hub::ready(&account, &args).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    until_ready(&client, &namespace, "web-dev", "True/Recorded", &hub).await;
    let api = ours(&client, &namespace, "DeploymentDescriptor");
    let before = api.get("web-dev").await.unwrap();
    assert_eq!(before.data["status"]["gitOpsCommitId"], format!("sha1:{}", commit('a')));
    assert_eq!(before.data["status"]["observedGeneration"], json!(before.metadata.generation));
    // A second hub lists everything, and another descriptor proves that its writer works.
    let hub = hub.stop().start();
    hub.until_ready().await;
    apply(&client, &namespace, &descriptor("api", "dev", "1.0", Some(&commit('b')))).await;
    until_ready(&client, &namespace, "api-dev", "True/Recorded", &hub).await;
    let after = api.get("web-dev").await.unwrap();
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version, "it showed what it should already");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_a_resource_is_accepted_and_becomes_ready() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    for object in documents(include_str!("examples.yaml")) {
        apply(&client, &namespace, &object).await;
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let is_ready =
            wait(|| async { ready(&client, &namespace, kind, name).await.starts_with("True/").then_some(()) });
        assert!(
            is_ready.await.is_some(),
            "{kind} {name}: {}\n{}",
            ready(&client, &namespace, kind, name).await,
            hub.log()
        );
    }
}
