//! What real controllers wrote through many situations, recorded, and written once more: the hub reads it from a real server.

use kube::Client;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::cluster::{apply, cluster, ours, resource, set_status};
use crate::descriptors::descriptor;
use crate::hub::Hub;

const KUSTOMIZATION: &str = include_str!("../fixtures/flux/kustomization.watch.jsonl");
const REPOSITORY: &str = include_str!("../fixtures/flux/gitrepository.watch.jsonl");
const APPLIED: &str = include_str!("../fixtures/flux/applied.txt");

const RECORDED: &str = "SELECT concat(workload, ' ', version, '@', substr(commit, 6, 6)) FROM assignment_commits \
                        WHERE recorded ORDER BY place, workload";
const NEWEST: &str = "SELECT substr(commit, 6, 6) FROM assignment_commits WHERE recorded ORDER BY place DESC LIMIT 1";
const ASSIGNED: &str = "SELECT concat(workload, ' ', version) FROM assignments ORDER BY assigned_at, workload";
const BRANCH: &str = "SELECT substr(commit, 6, 6) FROM commit_log WHERE ref = 'main' ORDER BY place";

/// An object as it is written, without what the server adds.
fn bare(object: &Value) -> Value {
    let name = object["metadata"]["name"].clone();
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": name}, "spec": object["spec"],
    })
}

/// Applies, or prunes, an object in the name of the Kustomization.
async fn write(client: &Client, namespace: &str, workload: &str, content: &str) {
    let name = format!("{workload}-main");
    if content == "-" {
        ours(client, namespace, "DeploymentDescriptor").delete(&name, &DeleteParams::default()).await.unwrap();
        return;
    }
    let mut object = descriptor(workload, "main", content, None);
    object["spec"]["deploymentTarget"]["manifests"]["repo"] = json!("http://127.0.0.1:26480/git/app.git");
    object["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": namespace,
    });
    apply(client, namespace, &object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flux_was_recorded_to_do_is_recorded_at_the_commits_that_were_applied_to_the_end() {
    let Some(cluster) = cluster().await else { return };
    let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
    let repository: Value = serde_json::from_str(REPOSITORY.lines().next().unwrap()).unwrap();
    apply(&client, &namespace, &bare(&repository["object"])).await;
    let mut applied = APPLIED.lines().map(|line| line.split(' ').collect::<Vec<_>>()).peekable();
    let (mut spec, mut settled) = (Value::Null, String::new());
    let kustomizations = resource(&client, &namespace, "kustomize.toolkit.fluxcd.io/v1", "Kustomization");
    for line in KUSTOMIZATION.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let object = &event["object"];
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        while let Some(words) = applied.next_if(|words| words[0].parse::<u64>().unwrap() < version) {
            if words[2] == "-" {
                // It took seconds until the next commit: what goes was recorded by then.
                hub.until(NEWEST, &[&settled]).await;
            }
            write(&client, &namespace, words[1], words[2]).await;
        }
        if event["type"] == "DELETED" {
            kustomizations.delete("app", &DeleteParams::default()).await.unwrap();
            break;
        }
        if let Some(applied) = object["status"]["lastAppliedRevision"].as_str() {
            settled = applied.rsplit(':').next().unwrap()[..6].to_owned();
        }
        if object["spec"] != spec {
            spec = object["spec"].clone();
            apply(&client, &namespace, &bare(object)).await;
        }
        // What was recorded applied widgets; here they are descriptors. And it was recorded in what may be the future.
        let status = object["status"].to_string().replace("\"2026-", "\"2025-");
        let status = status.replace("example.test_Widget", "hub.kalypso.io_DeploymentDescriptor");
        set_status(&client, &namespace, object, &serde_json::from_str(&status).unwrap()).await;
    }
    hub.until("SELECT workload FROM environment_state", &[]).await;
    hub.until(
        RECORDED,
        &[
            "w1 initial@ff5d5a",
            "w1 size-5@ad1045",
            "w2 created@ad1045",
            "w1 size-6@b24952",
            "w2 created@b24952",
            "w1 size-6@cc25f4",
            "w1 size-6@796343",
            "w1 size-9@a514e6",
            "w1 c10@2fa869",
            "w1 c11@a1ec0b",
            "w1 c12@731bcd",
            "w1 burst-21@40a964",
            "w1 burst-22@c4987c",
            "w1 burst-23@6ce173",
        ],
    )
    .await;
    // What was edited by hand was put back before the Kustomization was settled again.
    hub.until(
        ASSIGNED,
        &[
            "w1 initial",
            "w1 size-5",
            "w2 created",
            "w1 size-6",
            "w1 size-9",
            "w1 c10",
            "w1 c11",
            "w1 c12",
            "w1 burst-21",
            "w1 burst-22",
            "w1 burst-23",
        ],
    )
    .await;
    let branch = [
        "ff5d5a", "ad1045", "721791", "2af09b", "425b27", "b24952", "cc25f4", "796343", "a514e6", "2fa869", "a1ec0b",
        "731bcd", "40a964", "c4987c", "6ce173",
    ];
    hub.until(BRANCH, &branch).await;
}
