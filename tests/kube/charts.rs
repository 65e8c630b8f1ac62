//! The charts on the real API server: a strict dry run of everything they make, helm's install, upgrade and uninstall, and the hub
//! run as the rendered pod says.

use std::collections::BTreeMap;
use std::process::Command;

use k8s_openapi::api::core::v1::{Namespace, Pod as PodObject, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::{Cluster, apply, cluster, cluster_alone, documents, free_port};
use crate::declared::{commit, reconciler};
use crate::descriptors::{descriptor, until_ready};
use crate::helm::{CRDS, HUB, Helm, sets_of_values};
use crate::hub::{Hub, wait};
use crate::pod::{Pod, can_run_pods};

/// What a chart makes of some arguments.
fn rendered(helm: &Helm, namespace: &str, chart: &str, args: &[&str]) -> Vec<Value> {
    let text = helm.run(namespace, &[&["template", "koh", chart], args].concat());
    documents(&text).into_iter().filter(|document| !document.is_null()).collect()
}

/// The object of that kind, of which there is one; or the one of that name.
fn the<'a>(objects: &'a [Value], kind: &str, name: Option<&str>) -> &'a Value {
    let means = |o: &&Value| o["kind"] == kind && name.is_none_or(|name| o["metadata"]["name"] == name);
    let found: Vec<&Value> = objects.iter().filter(means).collect();
    assert_eq!(found.len(), 1, "{kind} {name:?}");
    found[0]
}

/// A namespace that holds pods to the standard `restricted`.
async fn restricted(client: &Client, namespace: &str) {
    let level = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {
        "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
    }}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(namespace, &PatchParams::apply("test").force(), &Patch::Apply(level)).await.unwrap();
}

/// Has the API server check an object as strictly as it can, and keep nothing.
async fn dry_run(client: &Client, object: &Value) {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let gvk = GroupVersionKind::try_from(&types).unwrap();
    let (resource, capabilities) = pinned_kind(client, &gvk).await.unwrap();
    let api: Api<DynamicObject> = match (&capabilities.scope, object["metadata"]["namespace"].as_str()) {
        (Scope::Cluster, None) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => {
            restricted(client, namespace).await;
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
        (scope, namespace) => panic!("{} of scope {scope:?} has the namespace {namespace:?}", gvk.kind),
    };
    let strictly = PatchParams::apply("dry").dry_run().validation_strict();
    let name = object["metadata"]["name"].as_str().unwrap();
    let taken = api.patch(name, &strictly, &Patch::Apply(object)).await;
    taken.unwrap_or_else(|error| panic!("{} {name} is refused: {error}\n{object:#}", gvk.kind));
}

/// The pod of a StatefulSet, as its controller would make it.
async fn dry_run_of_pod(client: &Client, set: &Value) {
    let namespace = set["metadata"]["namespace"].as_str().unwrap();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": set["spec"]["template"]["metadata"]});
    pod["metadata"]["name"] = json!("koh-0");
    pod["spec"] = set["spec"]["template"]["spec"].clone();
    let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
    for claim in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = &claim["metadata"]["name"];
        volumes.push(
            json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{}-koh-0", name.as_str().unwrap())}}),
        );
    }
    let pod: PodObject = serde_json::from_value(pod).unwrap();
    let only = PostParams { dry_run: true, ..PostParams::default() };
    let taken = Api::<PodObject>::namespaced(client.clone(), namespace).create(&only, &pod).await;
    taken.unwrap_or_else(|error| panic!("the pod in {namespace} is refused: {error}"));
}

/// Installs what the monitoring and the gateway of other people define.
async fn install_foreign_definitions(client: &Client, helm: &Helm) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in helm.foreign_definitions().iter().flat_map(|text| documents(text)) {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(definition)).await.unwrap();
        let established = kube::runtime::conditions::is_crd_established();
        kube::runtime::wait::await_condition(api.clone(), &name, established).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_every_set_of_values_makes_passes_a_strict_dry_run_and_its_pod_is_restricted() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    let client = cluster.admin().await;
    install_foreign_definitions(&client, &helm).await;
    let namespace = cluster.namespace().await;
    for values in sets_of_values() {
        let objects = rendered(&helm, &namespace, HUB, &["--values", values.to_str().unwrap()]);
        for object in &objects {
            dry_run(&client, object).await;
        }
        let set = the(&objects, "StatefulSet", None);
        dry_run_of_pod(&client, set).await;
        // --help comes last, so what is before it must be understood.
        let args = set["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        let args = args.iter().map(|arg| arg.as_str().unwrap());
        let known = Command::new(env!("CARGO_BIN_EXE_koh")).args(args).arg("--help").output().unwrap();
        assert!(known.status.success(), "{}: {}", values.display(), String::from_utf8_lossy(&known.stderr));
        for options in objects.iter().filter_map(|object| object["data"]["koh.yaml"].as_str()) {
            let file = cluster.home().join("koh.yaml");
            std::fs::write(&file, options).unwrap();
            let taken =
                Command::new(env!("CARGO_BIN_EXE_koh")).args(["config", "--config"]).arg(&file).output().unwrap();
            assert!(taken.status.success(), "{}: {}", values.display(), String::from_utf8_lossy(&taken.stderr));
        }
        for tokens in objects.iter().filter_map(|object| object["stringData"]["tokens.yaml"].as_str()) {
            let file = cluster.home().join("tokens.yaml");
            std::fs::write(&file, tokens).unwrap();
            let listed =
                Command::new(env!("CARGO_BIN_EXE_koh")).args(["token", "list", "--tokens"]).arg(&file).output();
            let listed = listed.unwrap();
            assert!(listed.status.success(), "{}: {}", values.display(), String::from_utf8_lossy(&listed.stderr));
            let entries = tokens.matches("sha256:").count() + tokens.matches("name: system:serviceaccount").count();
            assert_eq!(listed.stdout.iter().filter(|byte| **byte == b'\n').count(), entries);
        }
    }
    for object in rendered(&helm, &namespace, CRDS, &[]) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        // The tests have installed them, so labels are other people's already.
        let strictly = PatchParams::apply("dry").force().dry_run().validation_strict();
        api.patch(name, &strictly, &Patch::Apply(&object)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_definitions_of_the_charts_are_those_of_the_schema() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    let (wanted, reviews) =
        (documents(include_str!("../../schema/rbac.yaml")), documents(include_str!("../../schema/rbac-reviews.yaml")));
    let rules = |objects: &[Value], kind: &str, name: &str| the(objects, kind, Some(name))["rules"].clone();
    let objects = rendered(&helm, "any", HUB, &[]);
    assert_eq!(rules(&objects, "ClusterRole", "any-koh"), wanted[0]["rules"]);
    assert_eq!(rules(&objects, "Role", "any-koh-leader"), wanted[1]["rules"]);
    assert_eq!(wanted.len(), 2, "a role of schema/rbac.yaml that this test does not look for");
    let one = rendered(&helm, "any", HUB, &["--set", "kubernetes.namespace=one,kubernetes.lease.name=other"]);
    assert_eq!(rules(&one, "Role", "any-koh"), wanted[0]["rules"]);
    assert!(!one.iter().any(|object| object["kind"] == "ClusterRole"));
    assert_eq!(rules(&one, "Role", "any-koh-leader")[1]["resourceNames"], json!(["other"]));

    let reviewing = rendered(&helm, "any", HUB, &["--set", "auth.tokenReview.enabled=true"]);
    for role in reviews {
        let name = role["metadata"]["name"].as_str().unwrap();
        assert_eq!(rules(&reviewing, "ClusterRole", &format!("any-{name}")), role["rules"]);
        assert!(
            !objects.iter().any(|object| object["metadata"]["name"] == format!("any-{name}")),
            "{name} without being asked"
        );
    }

    let printed = Command::new(env!("CARGO_BIN_EXE_koh")).arg("crds").output().unwrap();
    let wanted = documents(&String::from_utf8(printed.stdout).unwrap());
    let definitions = rendered(&helm, "any", CRDS, &[]);
    assert_eq!(definitions.len(), wanted.len());
    for mut definition in definitions {
        definition["metadata"].as_object_mut().unwrap().remove("labels");
        let name = definition["metadata"]["name"].clone();
        assert_eq!(Some(&definition), wanted.iter().find(|d| d["metadata"]["name"] == name), "{name}");
    }
}

/// The text of a token that the chart made; `None` where there is no such Secret.
pub async fn token(client: &Client, namespace: &str, name: &str) -> Option<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = secrets.get_opt(&format!("koh-token-{name}")).await.unwrap()?;
    Some(String::from_utf8(secret.data.unwrap()["token"].0.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_survive_upgrades_and_the_release_and_are_replaced_when_their_secret_is_deleted() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let tokens = async || {
        let mut all = BTreeMap::new();
        for name in ["admin", "reader", "reporter"] {
            all.insert(name, token(&client, &namespace, name).await.unwrap());
        }
        all
    };
    helm.run(&namespace, &["install", "koh", HUB]);
    let first = tokens().await;
    helm.run(&namespace, &["upgrade", "koh", HUB, "--set", "hub.lateAfter=20m"]);
    assert_eq!(tokens().await, first);

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    secrets.delete("koh-token-reader", &DeleteParams::default()).await.unwrap();
    helm.run(&namespace, &["upgrade", "koh", HUB, "--reset-then-reuse-values"]);
    let second = tokens().await;
    assert_ne!(second["reader"], first["reader"]);
    assert_eq!((&second["admin"], &second["reporter"]), (&first["admin"], &first["reporter"]));

    helm.run(&namespace, &["uninstall", "koh"]);
    assert_eq!(tokens().await, second);
    assert!(secrets.get_opt("koh-tokens").await.unwrap().is_none());
    helm.run(&namespace, &["install", "koh", HUB]);
    assert_eq!(tokens().await, second);
    helm.run(&namespace, &["uninstall", "koh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_upgraded_with_their_release_and_stay_without_it() {
    let Some(cluster) = cluster_alone().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let noted = async || {
        let definition = api.get("clusters.hub.kalypso.io").await.unwrap();
        definition.metadata.annotations.unwrap_or_default().get("note").cloned()
    };
    // The tests have installed them in another way.
    helm.run(
        &namespace,
        &["install", "koh-crds", CRDS, "--take-ownership", "--force-conflicts", "--set", "annotations.note=one"],
    );
    assert_eq!(noted().await.as_deref(), Some("one"));
    apply(&client, &namespace, &reconciler("kept", "kept", &commit('a'), "success")).await;
    helm.run(&namespace, &["upgrade", "koh-crds", CRDS, "--set", "annotations.note=two"]);
    assert_eq!(noted().await.as_deref(), Some("two"));
    helm.run(&namespace, &["uninstall", "koh-crds"]);
    assert_eq!(noted().await.as_deref(), Some("two"));
    assert!(crate::cluster::ours(&client, &namespace, "Reconciler").get_opt("kept").await.unwrap().is_some());
}

/// Installs the chart with its defaults - but for a port that is free here - and more arguments; and its pod.
pub async fn installed(helm: &Helm, cluster: &Cluster, client: &Client, namespace: &str, more: &[&str]) -> Pod {
    let port = format!("hub.port={}", free_port());
    helm.run(namespace, &[&["install", "koh", HUB, "--set", &port], more].concat());
    Pod::of(cluster, client, namespace, "koh").await
}

/// The status of an answer.
pub async fn status(cluster: &Cluster, hub: &Hub, method: &str, path: &str, token: Option<&str>) -> u16 {
    let authority = std::fs::read(cluster.home().join("ca.crt")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    let request = client.request(method.parse().unwrap(), format!("{}{path}", hub.address()));
    let request = request.header("content-type", "application/json").body(if method == "GET" { "" } else { "[]" });
    let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_runs_as_its_pod_says_and_descriptors_flow() {
    let Some(cluster) = cluster_alone().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let pod = installed(&helm, &cluster, &client, &namespace, &[]).await;
    let reader = token(&client, &namespace, "reader").await.unwrap();
    let reporter = token(&client, &namespace, "reporter").await.unwrap();
    let hub = pod.start(&cluster, &reader);

    // As the probes ask.
    let probes = [&pod.container().startup_probe, &pod.container().liveness_probe, &pod.container().readiness_probe];
    for probe in probes {
        let path = probe.as_ref().unwrap().http_get.as_ref().unwrap().path.as_deref().unwrap();
        hub.wait(path, || async { (status(&cluster, &hub, "GET", path, None).await == 200).then_some(()) }).await;
    }
    let asked = async |method, path, token| status(&cluster, &hub, method, path, token).await;
    assert_eq!(asked("GET", "/metrics", None).await, 401);
    assert_eq!(asked("GET", "/metrics", Some(&reader)).await, 200);
    assert_eq!(asked("POST", "/api/v1/ingest/hosts", Some(&reader)).await, 403);
    assert_ne!(asked("POST", "/api/v1/ingest/hosts", Some(&reporter)).await, 403);
    assert_eq!(asked("GET", "/metrics", Some(&reporter)).await, 403);

    // Names of their own: the hub sees every namespace of the cluster, and other tests have left things there.
    let (workload, host) = (format!("{namespace}-web"), format!("{namespace}-host"));
    apply(&client, &namespace, &descriptor(&workload, "dev", "1.0", Some(&commit('a')))).await;
    let mut report = reconciler("r", &host, &commit('a'), "success");
    report["spec"]["manifestsEndpoint"] = json!(format!("https://git.example/shop/gitops/dev/{workload}"));
    apply(&client, &namespace, &report).await;
    let deployed = format!("SELECT deployed_version FROM host_state WHERE host = '{host}'");
    hub.until(&deployed, &["1.0"]).await;
    until_ready(&client, &namespace, &format!("{workload}-dev"), "True/Recorded", &hub).await;

    // A token is replaced while the hub runs.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    secrets.delete("koh-token-reader", &DeleteParams::default()).await.unwrap();
    helm.run(&namespace, &["upgrade", "koh", HUB, "--reset-then-reuse-values"]);
    let renewed = token(&client, &namespace, "reader").await.unwrap();
    pod.mount(&client).await;
    hub.wait("the new token is taken", || async {
        (status(&cluster, &hub, "GET", "/metrics", Some(&renewed)).await == 200).then_some(())
    })
    .await;
    assert_eq!(status(&cluster, &hub, "GET", "/metrics", Some(&reader)).await, 401);

    // The volume outlives the pod.
    hub.stop();
    let hub = pod.start(&cluster, &renewed);
    hub.until(&deployed, &["1.0"]).await;
    hub.stop();
    helm.run(&namespace, &["uninstall", "koh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_account_has_no_role_says_what_it_may_not_see_and_takes_the_policies_of_the_values() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let policies = r#"hub.policies={"policies": [{"name": "of-the-values", "min_hosts": 2}]}"#;
    let more = ["--set", "rbac.create=false", "--set-json", policies];
    let pod = installed(&helm, &cluster, &client, &namespace, &more).await;
    let hub = pod.start(&cluster, &token(&client, &namespace, "reader").await.unwrap());
    hub.until_ready().await;
    assert!(hub.get("/api/v1/rollouts/policies").await.contains("of-the-values"));
    let error = "SELECT last_error FROM system.sources WHERE kind = 'kubernetes'";
    let said = wait(|| async {
        let said = hub.column(error).await.pop().unwrap_or_default();
        (said.contains("may not be seen") && said.contains(&format!("system:serviceaccount:{namespace}:koh")))
            .then_some(())
    });
    assert!(said.await.is_some(), "{:?}\n{}", hub.column(error).await, hub.log());
    hub.stop();
    helm.run(&namespace, &["uninstall", "koh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_the_cluster_may_do_what_the_values_bind_them_to_and_the_hub_speaks_tls() {
    let Some(cluster) = cluster().await else { return };
    let Some(helm) = Helm::found(&cluster) else { return };
    if !can_run_pods() {
        return;
    }
    let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
    let file = |name: &str| std::fs::read_to_string(cluster.home().join(name)).unwrap();
    let certificate = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "hub-tls"},
        "stringData": {"tls.crt": file("server.crt"), "tls.key": file("server.key"), "ca.crt": file("ca.crt")},
    });
    apply(&client, &namespace, &certificate).await;
    for name in ["reader", "reporter", "nobody"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        apply(&client, &namespace, &account).await;
    }
    let subjects = |name: &str| json!([{"kind": "ServiceAccount", "name": name, "namespace": namespace}]);
    let review = json!({"enabled": true, "readers": subjects("reader"), "reporters": subjects("reporter")});
    let review = format!("auth.tokenReview={review}");
    // All namespaces are watched by the hub of another test.
    let only = format!("kubernetes.namespace={namespace},tls.existingSecret=hub-tls");
    let pod = installed(&helm, &cluster, &client, &namespace, &["--set", &only, "--set-json", &review]).await;
    let hub = pod.start(&cluster, &token(&client, &namespace, "reader").await.unwrap());
    assert!(hub.address().starts_with("https://"), "{}", hub.address());
    hub.until_ready().await;

    let may = async |account: &str, audience: &str| {
        let token = cluster.token(&namespace, account, Some(audience)).await;
        let ask = async |method, path| status(&cluster, &hub, method, path, Some(&token)).await;
        (ask("GET", "/api/v1/hosts").await, ask("POST", "/api/v1/ingest/hosts").await)
    };
    assert_eq!(may("nobody", "koh").await, (403, 403));
    assert_eq!(may("reader", "other").await, (401, 401));
    let (reads, reports) = may("reader", "koh").await;
    assert_eq!((reads, reports), (200, 403));
    let (reads, reports) = may("reporter", "koh").await;
    assert!(reads == 403 && ![401, 403, 503].contains(&reports), "{reads} {reports}");
    hub.stop();
    helm.run(&namespace, &["uninstall", "koh"]);
}
