//! Reconcilers and clusters: a report per change, expectations before the first report, deletion.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{apply, cluster, ours};
use crate::hub::{Hub, wait};

/// A Reconciler resource.
pub fn reconciler(name: &str, host: &str, commit: &str, status: &str) -> Value {
    json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Reconciler", "metadata": {"name": name},
        "spec": {
            "hostName": host, "reconcilerName": "web", "reconcilerType": "flux", "manifestsStorageType": "git",
            "manifestsEndpoint": "https://git.example/shop/gitops/dev/web",
            "deployment": {"gitOpsCommitId": commit, "status": status, "statusMessage": "said so"},
        },
    })
}

/// Forty times one hexadecimal digit.
pub fn commit(digit: char) -> String {
    std::iter::repeat_n(digit, 40).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_reconciler_is_a_report_and_its_deletion_retires_it() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    for status in ["in_progress", "failure", "success"] {
        apply(&client, &namespace, &reconciler("r", "h1", &commit('a'), status)).await;
        hub.until("SELECT status FROM host_state WHERE host = 'h1'", &[status]).await;
    }
    hub.until(
        "SELECT status FROM transitions WHERE host = 'h1' ORDER BY reported_at, seq",
        &["in_progress", "failure", "success"],
    )
    .await;
    ours(&client, &namespace, "Reconciler").delete("r", &DeleteParams::default()).await.unwrap();
    hub.until("SELECT host FROM host_state WHERE host = 'h1'", &[]).await;
    hub.until("SELECT count(*) FROM transitions WHERE host = 'h1'", &["3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcilers_of_one_name_in_two_namespaces_are_kept_apart() {
    let Some(cluster) = cluster().await else { return };
    let (client, one, two) = (cluster.admin().await, cluster.namespace().await, cluster.namespace().await);
    let account = cluster.service_account(&one, "koh").await;
    let hub = Hub::ready(&account, &["--lease-namespace", &one]).await;
    apply(&client, &one, &reconciler("same", &format!("{one}-host"), &commit('a'), "success")).await;
    apply(&client, &two, &reconciler("same", &format!("{two}-host"), &commit('b'), "failure")).await;
    hub.until(&format!("SELECT status FROM host_state WHERE host = '{one}-host'"), &["success"]).await;
    hub.until(&format!("SELECT status FROM host_state WHERE host = '{two}-host'"), &["failure"]).await;
    ours(&client, &one, "Reconciler").delete("same", &DeleteParams::default()).await.unwrap();
    hub.until(&format!("SELECT status FROM host_state WHERE host = '{one}-host'"), &[]).await;
    hub.until(&format!("SELECT status FROM host_state WHERE host = '{two}-host'"), &["failure"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_cluster_is_missing_before_it_ever_reports() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    let descriptor = crate::descriptors::descriptor("web", "dev", "1.0", Some(&commit('a')));
    apply(&client, &namespace, &descriptor).await;
    let declared = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "edge-7"},
        "spec": {
            "labels": {"region": "west", "ring": "canary"}, "contact": "ops@example.org",
            "expects": [{"workload": "web", "environment": "dev", "deploymentTarget": "edge"}],
        },
    });
    apply(&client, &namespace, &declared).await;
    hub.until("SELECT drift FROM drift WHERE host = 'edge-7'", &["missing"]).await;
    hub.until("SELECT ring FROM drift WHERE host = 'edge-7'", &["canary"]).await;
    let ready = wait(|| async {
        let object = ours(&client, &namespace, "Cluster").get("edge-7").await.unwrap();
        (object.data["status"]["conditions"][0]["status"] == "True").then_some(())
    });
    assert!(ready.await.is_some(), "{}", hub.log());
    ours(&client, &namespace, "Cluster").delete("edge-7", &DeleteParams::default()).await.unwrap();
    hub.until("SELECT drift FROM drift WHERE host = 'edge-7'", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_a_selector_is_missing_on_what_it_selects_before_it_ever_reports() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    let declared = |selector: Value| {
        json!({
            "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "edge-7"},
            "spec": {"expectsSelector": selector},
        })
    };
    let missing = "SELECT environment FROM drift WHERE host = 'edge-7' AND drift = 'missing' ORDER BY environment";
    let canary = json!({
        "matchLabels": {"ring": "canary"},
        "matchExpressions": [{"key": "hub.kalypso.io/environment", "operator": "NotIn", "values": ["prod"]}],
    });
    apply(&client, &namespace, &declared(canary)).await;
    for environment in ["dev", "prod", "stage"] {
        let mut descriptor = crate::descriptors::descriptor("web", environment, "1.0", Some(&commit('a')));
        descriptor["metadata"]["name"] = json!(format!("web-{environment}"));
        descriptor["spec"]["deploymentTarget"]["labels"] =
            json!({"ring": if environment == "stage" { "main" } else { "canary" }});
        apply(&client, &namespace, &descriptor).await;
    }
    hub.until(missing, &["dev"]).await;
    apply(&client, &namespace, &declared(json!({}))).await;
    hub.until(missing, &["dev", "prod", "stage"]).await;
    apply(&client, &namespace, &reconciler("r", "edge-7", &commit('a'), "success")).await;
    hub.until(missing, &["prod", "stage"]).await;
    let unknown = json!({"matchExpressions": [{"key": "ring", "operator": "Gt", "values": ["1"]}]});
    apply(&client, &namespace, &declared(unknown)).await;
    hub.wait("the condition says what is wrong", || async {
        let object = ours(&client, &namespace, "Cluster").get("edge-7").await.unwrap();
        let message = object.data["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        message.contains("expectsSelector.matchExpressions[0].operator is `Gt`").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_the_hub_was_down_is_retired_and_what_another_source_said_stays() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    apply(&client, &namespace, &reconciler("gone", "gone", &commit('a'), "success")).await;
    apply(&client, &namespace, &reconciler("stays", "stays", &commit('a'), "success")).await;
    hub.until("SELECT host FROM host_state ORDER BY host", &["gone", "stays"]).await;
    hub.push(&json!({
        "host": "pushed", "reconciler": "web", "reconciler_type": "flux", "status": "success",
        "manifests_endpoint": "https://git.example/shop/gitops/dev/web", "commit": commit('a'),
    }))
    .await;
    let stopped = hub.stop();
    ours(&client, &namespace, "Reconciler").delete("gone", &DeleteParams::default()).await.unwrap();
    let hub = stopped.start();
    hub.until_ready().await;
    hub.until("SELECT host FROM host_state ORDER BY host", &["pushed", "stays"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_the_hub_cannot_take_says_so_in_its_status_and_as_an_event() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    apply(&client, &namespace, &reconciler("r", "", &commit('a'), "success")).await;
    let condition = hub
        .wait("the condition says what is wrong", || async {
            let object = ours(&client, &namespace, "Reconciler").get("r").await.unwrap();
            Some(object.data["status"]["conditions"][0].clone()).filter(|c| c["status"] == "False")
        })
        .await;
    assert_eq!(condition["reason"], "Invalid");
    assert!(condition["message"].as_str().unwrap().contains("host is empty"), "{condition}");
    hub.wait("there is an event", || async {
        let events = crate::cluster::resource(&client, &namespace, "events.k8s.io/v1", "Event");
        let all = events.list(&Default::default()).await.unwrap();
        all.items.iter().any(|e| e.data["reason"] == "Invalid" && e.data["regarding"]["name"] == "r").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_as_rejected_like_what_cannot_be_taken() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    let rejected = async || -> (u64, String) {
        let row = &hub.sql("SELECT rejected, last_error FROM system.sources WHERE kind = 'kubernetes'").await[0];
        (row["rejected"].as_u64().unwrap(), row["last_error"].as_str().unwrap_or_default().to_owned())
    };
    // The hub says in the status what is wrong, and with that hears the object once more.
    let more_than = async |before: u64, why: &str| -> u64 {
        let counted = || async {
            let (now, error) = rejected().await;
            (now > before && error.contains(why)).then_some(now)
        };
        hub.wait(&format!("more than {before} are rejected for {why}"), counted).await
    };
    let invalid = async |kind: &str, name: &str| {
        let shown = || async {
            (crate::descriptors::ready(&client, &namespace, kind, name).await == "False/Invalid").then_some(())
        };
        hub.wait(&format!("{kind} {name} says that it is invalid"), shown).await;
    };
    apply(&client, &namespace, &reconciler("r", "h", &commit('a'), "success")).await;
    hub.until("SELECT rejected FROM system.sources WHERE kind = 'kubernetes'", &["0"]).await;

    let mut report = reconciler("late", "late", &commit('a'), "success");
    report["spec"]["reportedAt"] = json!("yesterday");
    apply(&client, &namespace, &report).await;
    let count = more_than(0, "reportedAt").await;
    invalid("Reconciler", "late").await;
    let template = crate::descriptors::descriptor("web", "dev", "${VERSION}", Some(&commit('a')));
    apply(&client, &namespace, &template).await;
    more_than(count, "unexpanded variable").await;
    invalid("DeploymentDescriptor", "web-dev").await;
    // Mended, it is recorded, and says so.
    let mended = crate::descriptors::descriptor("web", "dev", "1.0", Some(&commit('a')));
    apply(&client, &namespace, &mended).await;
    crate::descriptors::until_ready(&client, &namespace, "web-dev", "True/Recorded", &hub).await;
}
