//! Restarts of the API server, kinds that may not be seen, several hubs, large lists.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::cluster::{apply, cluster, cluster_alone, ours, set_status};
use crate::declared::{commit, reconciler};
use crate::descriptors::{descriptor, ready, until_ready};
use crate::hub::{Hub, reconcilers, wait};

/// Creates many reconcilers, several at a time.
pub async fn create_many(client: &Client, namespace: &str, range: std::ops::Range<usize>) {
    use futures::StreamExt;
    let api = ours(client, namespace, "Reconciler");
    let objects = range.map(|i| reconciler(&format!("r{i:05}"), &format!("h{i:05}"), &commit('a'), "success"));
    let write = |object: serde_json::Value| {
        let api = api.clone();
        async move {
            let object: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
            // A server that is being restarted answers nothing; a write that was lost is written again.
            loop {
                match api.create(&PostParams::default(), &object).await {
                    Ok(_) => return,
                    Err(kube::Error::Api(status)) if status.code == 409 => return,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            }
        }
    };
    futures::stream::iter(objects).map(write).buffer_unordered(32).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restarts_of_the_api_server_during_a_burst_lose_nothing() {
    let Some(cluster) = cluster_alone().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    let restarts = async {
        for seen in [100, 600] {
            hub.wait("some have arrived", || async {
                let count: usize = hub.column("SELECT count(*) FROM reconcilers").await[0].parse().unwrap();
                (count >= seen).then_some(())
            })
            .await;
            cluster.restart_apiserver().await;
        }
    };
    tokio::join!(create_many(&client, &namespace, 0..1000), restarts);
    hub.until("SELECT count(*) FROM host_state WHERE status = 'success'", &["1000"]).await;
    hub.until("SELECT count(DISTINCT seq) FROM transitions", &["1000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_may_not_be_seen_holds_up_no_other() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let mut role = roles.get("koh").await.unwrap();
    role.metadata = kube::core::ObjectMeta { name: Some(format!("koh-blind-{namespace}")), ..Default::default() };
    let rules = role.rules.as_mut().unwrap();
    let full = rules.clone();
    rules.retain(|rule| !rule.resources.as_ref().is_some_and(|r| r.contains(&"kustomizations".to_owned())));
    let role = roles.create(&PostParams::default(), &role).await.unwrap();
    let name = role.metadata.name.clone().unwrap();
    let account = cluster.service_account(&namespace, &name).await;

    // Ready, although one list is refused.
    let hub = Hub::ready(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]).await;
    assert!(hub.log().contains("the hub may not see Kustomization"), "{}", hub.log());
    hub.until(
        "SELECT last_error LIKE 'Kustomization may not be seen%' FROM system.sources WHERE kind = 'kubernetes'",
        &["true"],
    )
    .await;
    apply(&client, &namespace, &reconciler("r", "h", &commit('a'), "success")).await;
    hub.until("SELECT host FROM host_state", &["h"]).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    until_ready(&client, &namespace, "web-dev", "True/Recorded", &hub).await;
    let mut owned = descriptor("api", "dev", "1.0", None);
    owned["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": namespace,
    });
    apply(&client, &namespace, &owned).await;
    until_ready(&client, &namespace, "api-dev", "False/AwaitingRevision", &hub).await;

    // Given the right, it goes on by itself.
    roles.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"rules": full}))).await.unwrap();
    hub.wait("the watch of Kustomizations is back", || async {
        let log = hub.log();
        log.lines().any(|line| line.contains("watching") && line.contains("Kustomization")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_that_is_installed_later_is_picked_up() {
    let Some(cluster) = cluster_alone().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "kustomizations.kustomize.toolkit.fluxcd.io";
    let installed = definitions.get(name).await.unwrap();
    // Of the controllers of other tests nobody is left to let go of what they held.
    let flux = ApiResource::from_gvk(&GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"));
    for left in Api::<DynamicObject>::all_with(client.clone(), &flux).list(&Default::default()).await.unwrap() {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &left.namespace().unwrap(), &flux);
        let release = json!({"metadata": {"finalizers": null}});
        api.patch(&left.name_any(), &PatchParams::default(), &Patch::Merge(release)).await.unwrap();
    }
    definitions.delete(name, &Default::default()).await.unwrap();
    let gone = wait(|| async { definitions.get_opt(name).await.unwrap().is_none().then_some(()) });
    assert!(gone.await.is_some(), "the definition does not go");

    let account = cluster.service_account(&namespace, "koh").await;
    let hub = Hub::ready(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]).await;
    let mut owned = descriptor("web", "dev", "1.0", None);
    owned["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": namespace,
    });
    apply(&client, &namespace, &owned).await;
    until_ready(&client, &namespace, "web-dev", "False/AwaitingRevision", &hub).await;

    let metadata = kube::core::ObjectMeta {
        name: Some(name.to_owned()),
        annotations: installed.metadata.annotations,
        ..Default::default()
    };
    let again = CustomResourceDefinition { metadata, spec: installed.spec, status: None };
    definitions.create(&PostParams::default(), &again).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    kube::runtime::wait::await_condition(definitions.clone(), name, established).await.unwrap();
    let kustomization = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "app"},
        "spec": {"interval": "1h", "path": "./", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "app"}},
    });
    apply(&client, &namespace, &kustomization).await;
    let revision = format!("dev@sha1:{}", commit('a'));
    let status = json!({
        "observedGeneration": 1, "lastAppliedRevision": revision, "lastAttemptedRevision": revision,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    set_status(&client, &namespace, &kustomization, &status).await;
    until_ready(&client, &namespace, "web-dev", "True/Recorded", &hub).await;
    let said = hub.log().lines().filter(|line| line.contains("does not serve Kustomization")).count();
    assert_eq!(said, 1, "{}", hub.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hubs_one_writes_statuses_and_the_other_takes_over() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let account = cluster.service_account(&namespace, "koh").await;
    let args = ["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace];
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let holder = || async {
        let lease = leases.get_opt("koh").await.unwrap();
        lease.and_then(|l| l.spec).and_then(|s| s.holder_identity).filter(|h| !h.is_empty())
    };
    let first = Hub::ready(&account, &args).await;
    let leader = first.wait("the first hub leads", holder).await;
    let second = Hub::ready(&account, &args).await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    until_ready(&client, &namespace, "web-dev", "True/Recorded", &first).await;
    second.until("SELECT desired_version FROM environment_state", &["1.0"]).await;
    assert_eq!(holder().await, Some(leader.clone()), "a second hub does not take what the first holds");

    // A hub that stops lets the lease go, so that nobody waits for it to run out.
    drop(first.stop());
    let next = second.wait("the second hub leads", || async { holder().await.filter(|h| *h != leader) }).await;
    assert_ne!(next, leader);
    apply(&client, &namespace, &descriptor("api", "dev", "1.0", Some(&commit('b')))).await;
    until_ready(&client, &namespace, "api-dev", "True/Recorded", &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_reconcilers_are_listed_page_by_page() {
    let Some(cluster) = cluster_alone().await else { return };
    let count = reconcilers();
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let account = cluster.service_account(&namespace, "koh").await;
    let started = Instant::now();
    create_many(&client, &namespace, 0..count).await;
    let created = started.elapsed();
    let started = Instant::now();
    let hub = Hub::ready(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]).await;
    let listed = started.elapsed();
    hub.until("SELECT count(*) FROM reconcilers", &[&count.to_string()]).await;
    let memory = std::fs::read_to_string(format!("/proc/{}/status", hub.pid())).unwrap_or_default();
    let peak = memory.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM: unknown").to_owned();
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{count} Reconcilers created in {created:.1?}, listed in {listed:.1?}, {peak}");
    let first = ready(&client, &namespace, "Reconciler", "r00000").await;
    assert!(first == "-/-" || first == "True/Accepted", "{first}");
}
