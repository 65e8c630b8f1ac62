//! Expiry: the API server does not know any more what a watch or a list wants to go on from, and says `410 Gone`.
//!
//! It is made to happen as it does in real life: what the hub has seen last is compacted away in etcd while the hub is cut off,
//! and the API server, started anew, has no events of its own left to bridge the gap.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{apply, cluster_alone, ours};
use crate::declared::{commit, reconciler};
use crate::descriptors::descriptor;
use crate::hub::Hub;
use crate::resilience::create_many;
use crate::way::Way;

/// What another source says; nobody who watches the API server may retire it.
async fn push(hub: &Hub) {
    hub.push(&json!({
        "host": "pushed", "reconciler": "web", "reconciler_type": "flux", "status": "success",
        "manifests_endpoint": "https://git.example/shop/gitops/dev/web", "commit": commit('a'),
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_expired_takes_what_it_missed_and_retires_what_went_and_nothing_else() {
    let Some(cluster) = cluster_alone().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let way = Way::to(&cluster).await;
    let account = way.kubeconfig(&cluster.service_account(&namespace, "koh").await);
    let hub = Hub::ready(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]).await;
    let write = async |object: &Value| apply(&client, &namespace, object).await;
    let delete = async |kind: &str, name: &str| {
        ours(&client, &namespace, kind).delete(name, &DeleteParams::default()).await.unwrap();
    };
    for name in ["stays", "changes", "goes"] {
        write(&reconciler(name, name, &commit('a'), "success")).await;
    }
    for workload in ["stays", "changes", "goes"] {
        write(&descriptor(workload, "dev", "1.0", Some(&commit('a')))).await;
    }
    let declared = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "declared"}, "spec": {},
    });
    write(&declared).await;
    let played = crate::races::Flux::install(&client, &namespace).await;
    played.apply("1.0").await;
    played.settle("a").await;
    push(&hub).await;
    hub.until("SELECT host FROM host_state ORDER BY host", &["changes", "goes", "pushed", "stays"]).await;
    let wanted = "SELECT concat(workload, ' ', desired_version) FROM environment_state GROUP BY 1 ORDER BY 1";
    hub.until(wanted, &["changes 1.0", "goes 1.0", "stays 1.0", "web 1.0"]).await;
    let living = "SELECT host FROM hosts WHERE retired_at IS NULL ORDER BY host";
    hub.until(living, &["changes", "declared", "goes", "pushed", "stays"]).await;

    way.cut();
    write(&reconciler("changes", "changes", &commit('b'), "failure")).await;
    write(&reconciler("comes", "comes", &commit('b'), "success")).await;
    write(&descriptor("changes", "dev", "2.0", Some(&commit('b')))).await;
    write(&descriptor("comes", "dev", "2.0", Some(&commit('b')))).await;
    played.status("Unknown", "Progressing", "a", "b").await;
    played.apply("2.0").await;
    played.settle("b").await;
    for (kind, name) in [("Reconciler", "goes"), ("DeploymentDescriptor", "goes-dev"), ("Cluster", "declared")] {
        delete(kind, name).await;
    }
    cluster.compact().await;
    cluster.restart_apiserver().await;
    way.mend();

    let reports = "SELECT concat(host, ' ', status) FROM host_state ORDER BY host";
    hub.until(reports, &["changes failure", "comes success", "pushed success", "stays success"]).await;
    hub.until(wanted, &["changes 2.0", "comes 2.0", "stays 1.0", "web 2.0"]).await;
    hub.until(living, &["changes", "comes", "pushed", "stays"]).await;
    let settled = "SELECT DISTINCT substr(desired_commit, 6, 1) FROM environment_state WHERE workload = 'web'";
    hub.until(settled, &["b"]).await;
    hub.until("SELECT host FROM reconcilers WHERE retired_at IS NOT NULL", &["goes"]).await;
    hub.until("SELECT workload FROM assignments WHERE ended_at IS NOT NULL ORDER BY 1", &["changes", "goes", "web"])
        .await;
    // Nothing of this is proven unless the watches had really expired.
    for kind in ["reconcilers", "clusters", "deploymentdescriptors", "kustomizations", "gitrepositories"] {
        let expired = || async { way.expired().contains(&format!("watch {kind}")).then_some(()) };
        hub.wait(&format!("the watch of {kind} has expired"), expired).await;
    }
    // And the watches are back: what comes now comes without a list.
    write(&reconciler("later", "later", &commit('b'), "success")).await;
    hub.until("SELECT status FROM host_state WHERE host = 'later'", &["success"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_expires_between_two_pages_is_begun_anew_and_shows_everything_once() {
    let Some(cluster) = cluster_alone().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    create_many(&client, &namespace, 0..1200).await;
    let way = Way::to(&cluster).await;
    way.hold_pages();
    let account = way.kubeconfig(&cluster.service_account(&namespace, "koh").await);
    let hub = Hub::start(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]);
    push(&hub).await;
    hub.until("SELECT count(*) FROM host_state", &["501"]).await;
    hub.wait("the second page is asked for", || async { (way.held() == ["list reconcilers"]).then_some(()) }).await;
    assert!(!hub.is_ready().await, "a hub that has seen one page of three is not ready");

    // Of the page that was shown and of one that was not.
    for name in ["r00000", "r01100"] {
        ours(&client, &namespace, "Reconciler").delete(name, &DeleteParams::default()).await.unwrap();
    }
    create_many(&client, &namespace, 1200..1203).await;
    apply(&client, &namespace, &reconciler("r00001", "h00001", &commit('b'), "failure")).await;
    cluster.compact().await;
    cluster.restart_apiserver().await;
    way.release_pages();

    hub.until_ready().await;
    assert!(way.expired().contains(&"list reconcilers".to_owned()), "{:?}", way.expired());
    hub.until("SELECT count(*) FROM host_state WHERE source = 'kubernetes'", &["1201"]).await;
    hub.until("SELECT host FROM host_state WHERE status = 'failure'", &["h00001"]).await;
    hub.until("SELECT host FROM reconcilers WHERE retired_at IS NOT NULL", &["h00000"]).await;
    hub.until("SELECT count(*) FROM host_state WHERE host IN ('h01100', 'h01202', 'pushed')", &["2"]).await;
    hub.until("SELECT count(*) FROM transitions", &["1204"]).await;
}
