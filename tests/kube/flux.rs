//! The real kustomize-controller of Flux: commits of a descriptor repository, delivered as artifacts and applied by it.
//!
//! The source-controller is played: a commit is a folder, packed and served over loopback, and told in the status of a
//! GitRepository, exactly as the source-controller does it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command};

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Shared, apply, below_shell, cluster, resource, set_status};
use crate::descriptors::descriptor;
use crate::hub::Hub;

/// A branch with descriptors, and Flux that applies it.
struct Branch {
    _cluster: Shared,
    _controller: Child,
    client: Client,
    namespace: String,
    artifacts: PathBuf,
    served: u16,
    commits: u32,
}

const NAME: &str = "app";

impl Branch {
    async fn start() -> Option<(Branch, Hub)> {
        let cluster = cluster().await?;
        let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
        let account = cluster.service_account(&namespace, "koh").await;
        let artifacts = cluster.home().join(format!("{namespace}-artifacts"));
        fs::create_dir_all(&artifacts).unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let served = listener.local_addr().unwrap().port();
        let root = artifacts.clone();
        let serve = move |axum::extract::Path(file): axum::extract::Path<String>| {
            let root = root.clone();
            async move { fs::read(root.join(file)).map_err(|_| axum::http::StatusCode::NOT_FOUND) }
        };
        let app = axum::Router::new().route("/{file}", axum::routing::get(serve));
        tokio::spawn(async move { axum::serve(listener, app).await });

        let kubeconfig = artifacts.join("kubeconfig");
        fs::write(&kubeconfig, cluster.admin_kubeconfig()).unwrap();
        let scratch = artifacts.join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        let controller = below_shell(
            Command::new(cluster.asset("kustomize-controller"))
                .env("RUNTIME_NAMESPACE", &namespace)
                .env("KUBECONFIG", &kubeconfig)
                // At its start it clears away what other controllers left in the folder for temporary files.
                .env("TMPDIR", &scratch)
                .args(["--watch-all-namespaces=false", "--metrics-addr=0", "--health-addr=127.0.0.1:0"])
                .args(["--requeue-dependency=2s", "--min-retry-delay=500ms", "--max-retry-delay=2s"])
                .args([
                    "--interval-jitter-percentage=0",
                    "--http-retry=1",
                    "--no-remote-bases=true",
                    "--log-level=info",
                ]),
            &cluster.home().join(format!("{namespace}-flux.log")),
        );
        let branch =
            Branch { _cluster: cluster, _controller: controller, client, namespace, artifacts, served, commits: 0 };
        apply(&branch.client, &branch.namespace, &branch.repository()).await;
        apply(&branch.client, &branch.namespace, &branch.kustomization()).await;
        let hub = Hub::ready(
            &account,
            &["--kubernetes-namespace", &branch.namespace, "--lease-namespace", &branch.namespace],
        )
        .await;
        Some((branch, hub))
    }

    fn repository(&self) -> Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": NAME},
            "spec": {"interval": "1h", "url": "https://git.example/shop/gitops", "ref": {"branch": "dev"}},
        })
    }

    fn kustomization(&self) -> Value {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": NAME},
            "spec": {
                "interval": "1h", "retryInterval": "1s", "timeout": "20s", "path": "./descriptors", "prune": true,
                "targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": NAME},
            },
        })
    }

    /// Makes a commit of these files and has Flux fetch it; answers the commit in normal form.
    async fn push(&mut self, files: &[(&str, String)]) -> String {
        self.commits += 1;
        let commit = format!("{:040x}", u128::from(self.commits) + (0xc0ff_ee00 << 64));
        let folder = self.artifacts.join(&commit);
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let file = format!("{commit}.tar.gz");
        let packed =
            Command::new("tar").arg("-czf").arg(self.artifacts.join(&file)).arg("-C").arg(&folder).arg(".").status();
        assert!(packed.unwrap().success());
        let sum = Command::new("sha256sum").arg(self.artifacts.join(&file)).output().unwrap().stdout;
        let digest = String::from_utf8(sum).unwrap().split_whitespace().next().unwrap().to_owned();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({
            "observedGeneration": 1,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
                "observedGeneration": 1, "lastTransitionTime": now,
            }],
            "artifact": {
                "path": file, "url": format!("http://127.0.0.1:{}/{file}", self.served),
                "revision": format!("dev@sha1:{commit}"), "digest": format!("sha256:{digest}"),
                "size": fs::metadata(self.artifacts.join(&file)).unwrap().len(), "lastUpdateTime": now,
            },
        });
        set_status(&self.client, &self.namespace, &self.repository(), &status).await;
        let api = resource(&self.client, &self.namespace, "kustomize.toolkit.fluxcd.io/v1", "Kustomization");
        let poke = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": commit}}});
        api.patch(NAME, &PatchParams::default(), &Patch::Merge(poke)).await.unwrap();
        format!("sha1:{commit}")
    }

    /// Waits until Flux has tried a commit; answers whether it applied it.
    async fn until_tried(&self, commit: &str, hub: &Hub) -> bool {
        let api = resource(&self.client, &self.namespace, "kustomize.toolkit.fluxcd.io/v1", "Kustomization");
        hub.wait("Flux has tried the commit", || async {
            let status = api.get(NAME).await.unwrap().data["status"].clone();
            let ready = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready").cloned();
            let applied = status["lastAppliedRevision"].as_str().is_some_and(|revision| revision.ends_with(commit));
            let handled = status["lastHandledReconcileAt"].as_str().is_some_and(|poke| commit.ends_with(poke));
            match ready.as_ref().and_then(|r| r["status"].as_str()) {
                Some("True") if applied => Some(true),
                Some("False") if handled => Some(false),
                _ => None,
            }
        })
        .await
    }
}

/// The files of a commit with one version of one workload.
fn files(version: &str) -> Vec<(&'static str, String)> {
    vec![("descriptors/web.yaml", descriptor("web", "dev", version, None).to_string())]
}

const RECORDED: &str =
    "SELECT concat(version, '@', commit) FROM assignment_commits WHERE recorded ORDER BY place, version";

#[tokio::test(flavor = "multi_thread")]
async fn ten_commits_are_recorded_each_with_its_own_version_also_across_a_restart() {
    let Some((mut branch, mut hub)) = Branch::start().await else { return };
    let mut expected = Vec::new();
    for n in 1..=10 {
        // Every third commit leaves the descriptor alone.
        let version = format!("1.{}", if n % 3 == 0 { n - 1 } else { n });
        let mut files = files(&version);
        files.push(("elsewhere/README", format!("commit {n}")));
        let commit = if n == 5 {
            let stopped = hub.crash();
            let commit = branch.push(&files).await;
            hub = stopped.start();
            commit
        } else {
            branch.push(&files).await
        };
        expected.push(format!("{version}@{commit}"));
        assert!(branch.until_tried(&commit, &hub).await);
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    hub.until(RECORDED, &expected).await;
    hub.until("SELECT count(*) FROM assignments", &["7"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_between_two_good_ones_is_never_recorded_and_has_a_place() {
    let Some((mut branch, hub)) = Branch::start().await else { return };
    let good = branch.push(&files("1.0")).await;
    assert!(branch.until_tried(&good, &hub).await);
    let mut invalid = descriptor("web", "dev", "1.1", None);
    invalid["spec"]["workload"]["name"] = json!(7);
    let schema = branch.push(&[("descriptors/web.yaml", invalid.to_string())]).await;
    assert!(!branch.until_tried(&schema, &hub).await);
    let gone = branch.push(&[("elsewhere/README", "the path is gone".to_owned())]).await;
    assert!(!branch.until_tried(&gone, &hub).await);
    let broken = branch.push(&[("descriptors/web.yaml", "kind: [".to_owned())]).await;
    assert!(!branch.until_tried(&broken, &hub).await);
    let mended = branch.push(&files("1.2")).await;
    assert!(branch.until_tried(&mended, &hub).await);
    hub.until(RECORDED, &[&format!("1.0@{good}"), &format!("1.2@{mended}")]).await;
    let places = hub.column("SELECT commit FROM commit_log WHERE ref = 'dev' ORDER BY place").await;
    let position = |commit: &String| places.iter().position(|p| p == commit);
    assert!(position(&good) < position(&schema) && position(&schema) < position(&mended), "{places:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flux_prunes_is_retired() {
    let Some((mut branch, hub)) = Branch::start().await else { return };
    let mut both = files("1.0");
    both.push(("descriptors/api.yaml", descriptor("api", "dev", "1.0", None).to_string()));
    let first = branch.push(&both).await;
    assert!(branch.until_tried(&first, &hub).await);
    hub.until("SELECT workload FROM environment_state ORDER BY workload", &["api", "web"]).await;
    let second = branch.push(&files("1.0")).await;
    assert!(branch.until_tried(&second, &hub).await);
    hub.until("SELECT workload FROM environment_state ORDER BY workload", &["web"]).await;
    hub.until("SELECT count(*) FROM assignments WHERE workload = 'api' AND ended_at IS NOT NULL", &["1"]).await;
}
