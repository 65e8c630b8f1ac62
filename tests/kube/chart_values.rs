//! What the chart's values make of a running hub: classes, options without a value of their own, backups onto a second volume and back
//! from it, and accounts that see a part of the fleet.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::charts::{installed, status, token};
use crate::cluster::{Cluster, apply, cluster};
use crate::declared::commit;
use crate::descriptors::descriptor;
use crate::helm::{HUB, Helm};
use crate::hub::Hub;
use crate::pod::can_run_pods;

/// The status of an answer to what is sent, and its text.
async fn told(hub: &Hub, cluster: &Cluster, token: &str, path: &str, body: &Value) -> (u16, String) {
    let authority = std::fs::read(cluster.home().join("ca.crt")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    let request = client.post(format!("{}{path}", hub.address())).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_and_options_of_the_values_are_in_force_and_what_the_hub_reads_by_itself_replaces_no_pod() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let classes = |late: &str, silent: &str| {
        format!("hub.classes={}", json!([{"name": "edge", "late_after": late, "silent_after": silent}]))
    };
    let options = |of: Value| format!("hub.options={of}");
    let only = format!("kubernetes.namespace={namespace}");
    let (short, streams) = (classes("1s", "2s"), options(json!({"max_ingest_streams": 7, "log": "info"})));
    let more = ["--set", &only, "--set-json", &short, "--set-json", &streams];
    let pod = installed(&helm, &cluster, &client, &namespace, &more).await;
    let admin = token(&client, &namespace, "admin").await.unwrap();
    let hub = pod.start(&cluster, &admin);
    hub.until_ready().await;
    assert!(hub.get("/metrics").await.contains("\nkoh_ingest_streams_limit 7.0\n"));
    for host in [json!({"name": "of-a-class", "class": "edge"}), json!({"name": "of-none"})] {
        assert_eq!(told(&hub, &cluster, &admin, "/api/v1/ingest/hosts", &host).await.0, 200);
    }
    hub.until("SELECT host FROM hosts WHERE liveness = 'silent'", &["of-a-class"]).await;

    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let template = async || sets.get("koh").await.unwrap().spec.unwrap().template;
    let before = template().await;
    let upgrade =
        |more: &[&str]| helm.run(&namespace, &[&["upgrade", "koh", HUB, "--reset-then-reuse-values"], more].concat());
    let verbose = options(json!({"max_ingest_streams": 7, "log": "debug"}));
    upgrade(&["--set-json", &classes("1h", "2h"), "--set-json", &verbose]);
    assert_eq!(template().await, before, "the hub takes this up by itself");
    pod.mount(&client).await;
    hub.until("SELECT count(*) FROM hosts WHERE liveness = 'online'", &["2"]).await;
    hub.wait("the log level is taken up", || async { hub.log().contains("the log level changed").then_some(()) }).await;
    upgrade(&["--set-json", &options(json!({"max_ingest_streams": 8, "log": "debug"}))]);
    assert_ne!(template().await.metadata, before.metadata, "this it takes at its start");

    hub.stop();
    upgrade(&["--set-json", &options(json!({"max_ingest_stream": 8}))]);
    pod.mount(&client).await;
    let refused = pod.run(&cluster, pod.container());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("did you mean max-ingest-streams?"), "{said}");
    helm.run(&namespace, &["uninstall", "koh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_go_to_a_second_volume_that_outlives_the_release_and_bring_back_what_the_first_one_lost() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let only = format!("kubernetes.namespace={namespace},backups.every=1s,backups.keep=2");
    let mut pod = installed(&helm, &cluster, &client, &namespace, &["--set", &only]).await;
    assert!(pod.container().volume_mounts.iter().flatten().all(|mount| mount.name != "backups"));
    // They are wanted later: a claim of the StatefulSet itself could not be added any more.
    helm.run(&namespace, &["upgrade", "koh", HUB, "--reset-then-reuse-values", "--set", "backups.enabled=true"]);
    pod.renew(&client).await;
    let admin = token(&client, &namespace, "admin").await.unwrap();
    let hub = pod.start(&cluster, &admin);
    hub.until_ready().await;
    apply(&client, &namespace, &descriptor("web", "dev", "1.0", Some(&commit('a')))).await;
    let pushed = json!({"name": "pushed", "labels": {"region": "eu"}});
    assert_eq!(told(&hub, &cluster, &admin, "/api/v1/ingest/hosts", &pushed).await.0, 200);
    let everything = "SELECT (SELECT count(*) FROM deployment_targets) + (SELECT count(*) FROM hosts)";
    hub.until(everything, &["2"]).await;
    // As many as are kept, and one more, are begun after that.
    let made = async || {
        let metrics = hub.get("/metrics").await;
        let count = metrics.lines().find_map(|line| line.strip_prefix("koh_backup_duration_seconds_count "));
        count.unwrap_or_default().parse::<u64>().unwrap_or_default()
    };
    let before = made().await;
    hub.wait("backups are made", || async { (made().await > before + 3).then_some(()) }).await;
    hub.stop();

    let kept: Vec<String> = pod.list("/backups").into_iter().filter(|name| name.ends_with(".backup")).collect();
    assert!((2..=3).contains(&kept.len()), "{kept:?}");
    let last = kept.last().unwrap();
    pod.lose("/data");
    let backup = format!("/backups/{last}");
    let restore = json!([{
        "name": "restore", "image": "koh:0.1.0", "args": ["restore", backup, "--data", "/data"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "backups", "mountPath": "/backups", "readOnly": true}],
    }]);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    sets.delete("koh", &DeleteParams::default()).await.unwrap();
    let restore = format!("extraInitContainers={restore}");
    helm.run(&namespace, &["upgrade", "koh", HUB, "--reset-then-reuse-values", "--set-json", &restore]);
    pod.renew(&client).await;
    let restored = pod.run(&cluster, pod.init_container("restore"));
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let again = pod.run(&cluster, pod.init_container("restore"));
    assert!(!again.status.success(), "a restore wants an empty volume");
    let hub = pod.start(&cluster, &admin);
    hub.until(everything, &["2"]).await;
    assert_eq!(hub.column("SELECT region FROM hosts WHERE host = 'pushed'").await, ["eu"]);
    hub.stop();

    helm.run(&namespace, &["uninstall", "koh"]);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    assert!(
        claims.get_opt("koh-backups").await.unwrap().is_some_and(|claim| claim.metadata.deletion_timestamp.is_none())
    );
    helm.run(&namespace, &["install", "koh", HUB, "--set", "backups.enabled=true"]);
    helm.run(&namespace, &["uninstall", "koh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_the_values_list_see_their_part_and_nobody_else_gets_in() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    for name in ["part", "whole", "unlisted"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        apply(&client, &namespace, &account).await;
    }
    let named = |name: &str| format!("system:serviceaccount:{namespace}:{name}");
    let accounts = |region: &str| json!([{"name": named("whole"), "sees": "everything"}, {"name": named("part"), "sees": {"hosts": {"region": [region]}}}]);
    let readers = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": format!("system:serviceaccounts:{namespace}")}]);
    let review =
        format!("auth.tokenReview={}", json!({"enabled": true, "readers": readers, "accounts": accounts("eu")}));
    let only = format!("kubernetes.namespace={namespace}");
    let pod = installed(&helm, &cluster, &client, &namespace, &["--set", &only, "--set-json", &review]).await;
    let admin = token(&client, &namespace, "admin").await.unwrap();
    let hub = pod.start(&cluster, &admin);
    hub.until_ready().await;
    let hosts = json!([{"name": "a", "labels": {"region": "eu"}}, {"name": "b", "labels": {"region": "us"}}]);
    assert_eq!(told(&hub, &cluster, &admin, "/api/v1/ingest/hosts", &hosts).await.0, 200);

    let seen = async |account: &str| {
        let presented = cluster.token(&namespace, account, Some("koh")).await;
        let statement = json!({"sql": "SELECT string_agg(host, '+' ORDER BY host) AS hosts FROM hosts"});
        let (status, text) = told(&hub, &cluster, &presented, "/api/v1/sql?fresh=true", &statement).await;
        let rows: Value = serde_json::from_str(&text).unwrap();
        (status, rows[0]["hosts"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(seen("whole").await, (200, "a+b".to_owned()));
    assert_eq!(seen("part").await, (200, "a".to_owned()));
    assert_eq!(seen("unlisted").await.0, 403);
    let reader = token(&client, &namespace, "reader").await.unwrap();
    assert_eq!(status(&cluster, &hub, "GET", "/api/v1/hosts", Some(&reader)).await, 200, "tokens get in as before");

    let moved = format!("auth.tokenReview.accounts={}", accounts("us"));
    helm.run(&namespace, &["upgrade", "koh", HUB, "--reset-then-reuse-values", "--set-json", &moved]);
    pod.mount(&client).await;
    hub.wait("the list is taken up", || async { (seen("part").await.1 == "b").then_some(()) }).await;
    hub.stop();
    helm.run(&namespace, &["uninstall", "koh"]);
}
