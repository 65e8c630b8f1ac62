//! ServiceAccounts that the file of tokens restricts: what they do not see is in no answer, and what they may not do ends what they
//! began.
//!
//! Two teams, `shop` and `zebra`, share hosts of two regions, `eu` and `quagga`: neither of the odd words may come out where it is
//! not seen.

use std::path::PathBuf;
use std::process::Command;

use futures::SinkExt;
use futures::channel::mpsc;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::DeleteParams;
use kube::{Api, Client};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::accounts::{bind, binding, install_roles, token};
use crate::cluster::{Cluster, cluster};
use crate::declared::commit;
use crate::hub::Hub;

/// A hub that takes accounts, with a file of tokens beside it.
struct Fleet {
    client: Client,
    namespace: String,
    hub: Hub,
    file: PathBuf,
    admin: String,
    /// A token of the file that sees the workspace `shop`.
    shop: String,
    http: reqwest::Client,
}

impl Fleet {
    /// `accounts` makes the list of the file, for the namespace of the test.
    async fn start(cluster: &Cluster, accounts: impl Fn(&str) -> Value) -> Fleet {
        let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
        install_roles(&client).await;
        let kubeconfig = cluster.service_account(&namespace, "koh").await;
        bind(&client, &namespace, "koh", "koh-token-review", true).await;
        let file = cluster.home().join(format!("{namespace}.tokens"));
        let made = |name: &str, scopes: &str, more: &[&str]| {
            let args = ["token", "create", "--name", name, "--scopes", scopes, "--tokens", file.to_str().unwrap()];
            let made = Command::new(env!("CARGO_BIN_EXE_koh")).args(args).args(more).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        };
        let (admin, shop) = (made("admin", "admin", &[]), made("shop", "read", &["--workspaces", "shop"]));
        let args = ["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace];
        let more = ["--token-review", "--token-namespace", &namespace, "--tokens", file.to_str().unwrap()];
        list(&file, &accounts(&namespace));
        let hub = Hub::ready(&kubeconfig, &[&args[..], &more].concat()).await;
        let fleet = Fleet { client, namespace, hub, file, admin, shop, http: reqwest::Client::new() };
        for (path, items) in seed() {
            let answer = fleet.push(&fleet.admin, path, &items).await;
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        }
        fleet
    }

    /// Makes an account with these roles, and a token for it.
    async fn account(&self, name: &str, roles: &[&str]) -> String {
        let presented = token(&self.client, &self.namespace, name, "koh").await;
        for role in roles {
            bind(&self.client, &self.namespace, name, role, false).await;
        }
        presented
    }

    async fn send(&self, token: &str, method: Method, path: &str, body: String) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.hub.address())).bearer_auth(token);
        request.header("content-type", "text/plain").body(body).send().await.unwrap()
    }

    async fn push(&self, token: &str, path: &str, items: &[Value]) -> Response {
        let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
        self.send(token, Method::POST, &format!("/api/v1/{path}"), lines).await
    }

    /// The status and the text of an answer.
    async fn get(&self, token: &str, path: &str) -> (u16, String) {
        let answer = self.send(token, Method::GET, path, String::new()).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The answer to a statement as CSV.
    async fn sql(&self, token: &str, statement: &str) -> String {
        let answer = self.send(token, Method::POST, "/api/v1/sql?fresh=true&format=csv", statement.to_owned()).await;
        assert_eq!(answer.status(), 200, "{statement}");
        answer.text().await.unwrap().replace('\r', "")
    }

    /// Waits until the hub knows of new roles, or of a new file.
    async fn until(&self, token: &str, path: &str, status: u16) {
        let what = format!("{path} is answered {status}");
        self.hub.wait(&what, || async { (self.get(token, path).await.0 == status).then_some(()) }).await;
    }

    /// Every path that is asked with GET, as far as it names nothing.
    async fn paths(&self) -> Vec<String> {
        let document: Value = serde_json::from_str(&self.hub.get("/openapi.json").await).unwrap();
        let asked =
            document["paths"].as_object().unwrap().iter().filter(|(_, operations)| operations.get("get").is_some());
        let endless = |path: &str| path.contains('{') || path.ends_with("/events") || path.ends_with("/changes");
        let mut all: Vec<String> = asked.map(|(path, _)| path.clone()).filter(|path| !endless(path)).collect();
        all.extend(["hosts", "workspaces", "versions"].map(|name| format!("/api/v1/variables/{name}")));
        all.extend(["failed-rollouts", "drift"].map(|name| format!("/api/v1/alerts/{name}")));
        all
    }
}

/// Gives the file another list of accounts.
fn list(file: &PathBuf, accounts: &Value) {
    let text = std::fs::read_to_string(file).unwrap();
    let tokens = text.split("accounts:").next().unwrap();
    std::fs::write(file, format!("{tokens}accounts: {accounts}\n")).unwrap();
}

fn name(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

fn descriptor(team: &str, version: &str, at: char) -> Value {
    json!({
        "workspace": team, "application": team, "workload": format!("{team}-web"), "environment": "dev",
        "deployment_target": format!("{team}-edge"), "version": version, "gitops_revision": commit(at),
        "manifests": {"repo": format!("https://git.example/{team}"), "branch": "dev", "path": "web"},
    })
}

fn report(host: &str, team: &str, status: &str) -> Value {
    json!({
        "host": host, "reconciler": team, "reconciler_type": "flux", "status": status, "commit": commit('a'),
        "manifests_endpoint": format!("https://git.example/{team}/dev/web"), "message": format!("{team} on {host}"),
    })
}

fn seed() -> [(&'static str, Vec<Value>); 3] {
    let host = |name: &str, region: &str| json!({"name": name, "labels": {"region": region}});
    [
        ("ingest/hosts", vec![host("eu-1", "eu"), host("quagga-1", "quagga")]),
        ("ingest/descriptors", vec![descriptor("shop", "1.0", 'a'), descriptor("zebra", "1.0", 'a')]),
        (
            "ingest/reconcilers",
            vec![
                report("eu-1", "shop", "success"),
                report("quagga-1", "shop", "failure"),
                report("eu-1", "zebra", "failure"),
                report("quagga-1", "zebra", "success"),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sees_and_tells_what_a_token_with_its_restriction_would_and_more_after_no_mistake_in_the_file() {
    let Some(cluster) = cluster().await else { return };
    let fleet = Fleet::start(&cluster, |namespace| {
        json!([
            {"name": name(namespace, "team"), "sees": {"workspaces": ["shop"]}},
            {"name": name(namespace, "all"), "sees": "everything"},
            {"name": format!("system:serviceaccounts:{namespace}"), "sees": {"hosts": {"region": ["eu"]}}},
        ])
    })
    .await;
    let both = ["koh-reader", "koh-reporter"];
    let (team, all) = (fleet.account("team", &both).await, fleet.account("all", &both).await);
    let (region, boss) = (fleet.account("region", &both).await, fleet.account("boss", &["cluster-admin"]).await);
    let elsewhere = cluster.namespace().await;
    let stranger = token(&fleet.client, &elsewhere, "stranger", "koh").await;
    bind_in(&fleet, &elsewhere, "stranger").await;
    for presented in [&team, &all, &region, &boss] {
        fleet.until(presented, "/api/v1/hosts", 200).await;
    }

    // Path by path, as a token of the file with the same restriction.
    let (mut hidden, mut closed) = (0, Vec::new());
    for path in fleet.paths().await {
        let whole = fleet.get(&fleet.admin, &path).await;
        let (status, text) = fleet.get(&team, &path).await;
        assert_eq!(status, fleet.get(&fleet.shop, &path).await.0, "{path}: {text}");
        assert!(!text.contains("zebra"), "{path}: {text}");
        hidden += usize::from(status == 200 && whole.1.contains("zebra"));
        if status == 403 {
            closed.push(path.clone());
        }
        let of_hosts = fleet.get(&region, &path).await.1;
        assert!(!of_hosts.contains("quagga"), "{path}: {of_hosts}");
        assert_eq!(fleet.get(&all, &path).await.0 == 403, ["/api/v1/backup", "/api/v1/check"].contains(&path.as_str()));
    }
    assert!(hidden >= 15, "only {hidden} paths told a part of what they have");
    closed.sort();
    assert_eq!(closed, ["/api/v1/alerts/hub", "/api/v1/backup", "/api/v1/check", "/metrics"]);
    assert_eq!(fleet.get(&team, "/api/v1/changes").await.0, 403);
    for path in ["/api/v1/check", "/api/v1/backup", "/metrics"] {
        let (status, said) = fleet.get(&boss, path).await;
        assert!(status == 403 && said.contains("the account sees only a part of the fleet"), "{path}: {status} {said}");
    }

    let count = "SELECT count(*) AS n FROM reconcilers";
    let counted = [&fleet.admin, &all, &team, &region, &boss];
    for (presented, n) in counted.into_iter().zip([4, 4, 2, 2, 2]) {
        assert_eq!(fleet.sql(presented, count).await, format!("n\n{n}\n"));
    }
    assert!(!fleet.sql(&team, "SELECT * FROM transitions").await.contains("zebra"));
    let question = "/api/v1/rollouts/status?environment=dev&workload=shop-web&version=1.0";
    let verdict = async |presented: &str| -> Value {
        let answer: Value = serde_json::from_str(&fleet.get(presented, question).await.1).unwrap();
        json!([answer["verdict"], answer["total"]])
    };
    assert_eq!(verdict(&all).await, json!(["failed", 2]));
    assert_eq!(verdict(&region).await, json!(["complete", 1]));
    let tagged = fleet.send(&fleet.admin, Method::GET, "/api/v1/hosts", String::new()).await;
    let again = fleet.http.get(format!("{}/api/v1/hosts", fleet.hub.address())).bearer_auth(&team);
    let again = again.header("if-none-match", &tagged.headers()["etag"]).send().await.unwrap();
    assert_eq!(again.status(), 200, "what the administrator has is not what the account would get");

    // What it tells.
    let told = fleet
        .push(&team, "ingest/descriptors?source=ci", &[descriptor("shop", "1.1", 'b'), descriptor("zebra", "1.1", 'b')])
        .await;
    assert_eq!(told.status(), 207);
    let told: Value = told.json().await.unwrap();
    assert_eq!((&told["accepted"], &told["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(told["items"][0]["title"], "the workspace zebra is not one of the token's");
    let filed = fleet.sql(&fleet.admin, "SELECT source FROM system.sources WHERE source LIKE 'account/%'").await;
    assert_eq!(filed, format!("source\naccount/{}/team/ci\n", fleet.namespace));
    assert_eq!(fleet.push(&region, "ingest/reconcilers", &[report("quagga-1", "shop", "success")]).await.status(), 400);
    assert_eq!(fleet.push(&region, "ingest/reconcilers", &[report("eu-1", "shop", "success")]).await.status(), 200);

    // Who is not listed has a role, and that is not enough.
    let (status, said) = fleet.get(&stranger, "/api/v1/hosts").await;
    assert!(status == 403 && said.contains("is not listed"), "{status} {said}");

    // A mistake in the file lets nobody see more, and what is taken out of it lets nobody in.
    let misspelt =
        json!([{"name": name(&fleet.namespace, "team"), "sees": "everything"}, {"name": "system:serviceacounts"}]);
    list(&fleet.file, &misspelt);
    fleet
        .hub
        .wait("the mistake is noticed", || async {
            fleet.hub.log().contains("the tokens stay what they were").then_some(())
        })
        .await;
    assert_eq!(fleet.sql(&team, count).await, "n\n2\n");
    assert_eq!(fleet.get(&stranger, "/api/v1/hosts").await.0, 403);
    let tokens = std::fs::read_to_string(&fleet.file).unwrap();
    std::fs::write(&fleet.file, tokens.split("accounts:").next().unwrap()).unwrap();
    fleet
        .hub
        .wait("the list is missed", || async { fleet.hub.log().contains("lists no accounts any more").then_some(()) })
        .await;
    assert_eq!(fleet.sql(&team, count).await, "n\n2\n");
    assert_eq!(fleet.get(&stranger, "/api/v1/hosts").await.0, 403);
    list(&fleet.file, &json!([{"name": name(&fleet.namespace, "team"), "sees": {"workspaces": ["zebra"]}}]));
    fleet.until(&region, "/api/v1/hosts", 403).await;
    let (shop, zebra) = (fleet.sql(&team, "SELECT workspace FROM deployment_targets").await, "workspace\nzebra\n");
    assert_eq!(shop, zebra);
    assert_eq!(fleet.get(&fleet.shop, "/api/v1/hosts").await.0, 200, "tokens of the file are none of this");
}

/// Lets an account of another namespace read.
async fn bind_in(fleet: &Fleet, namespace: &str, account: &str) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "koh-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    });
    crate::cluster::apply(&fleet.client, &fleet.namespace, &role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_began_ends_once_its_role_is_taken_away() {
    let Some(cluster) = cluster().await else { return };
    let fleet = Fleet::start(&cluster, |_| json!([{"name": "system:serviceaccounts", "sees": "everything"}])).await;
    let agent = fleet.account("agent", &["koh-reporter"]).await;
    let reader = fleet.account("reader", &["koh-reader"]).await;
    let stays = fleet.account("stays", &["koh-reporter"]).await;
    fleet.until(&reader, "/api/v1/hosts", 200).await;
    for presented in [&agent, &stays] {
        let may = || async { (fleet.push(presented, "ingest/hosts", &[]).await.status() != 403).then_some(()) };
        fleet.hub.wait("the account may report", may).await;
    }
    let begin = async |presented: &str, host: &str| {
        let (mut lines, body) = mpsc::channel::<Result<String, std::io::Error>>(1);
        let request = fleet.http.post(format!("{}/api/v1/ingest/reconcilers", fleet.hub.address()));
        let request = request.bearer_auth(presented).body(reqwest::Body::wrap_stream(body));
        let answer = tokio::spawn(request.send());
        lines.send(Ok(format!("{}\n", report(host, "shop", "success")))).await.unwrap();
        let stored = format!("SELECT count(*) FROM hosts WHERE host = '{host}'");
        let stored = || async { fleet.sql(&fleet.admin, &stored).await.ends_with("\n1\n").then_some(()) };
        fleet.hub.wait("what was pushed is stored", stored).await;
        (lines, answer)
    };
    let (_lines, pushed) = begin(&agent, "first").await;
    let (mut other_lines, other) = begin(&stays, "second").await;
    let question = "environment=dev&workload=shop-web&version=1.0&soak=9h";
    let (events, poll) =
        (format!("/api/v1/rollouts/events?{question}"), format!("/api/v1/rollouts/status?{question}&wait=10m"));
    let events = fleet.send(&reader, Method::GET, &events, String::new()).await;
    assert_eq!(events.status(), 200);

    let bindings: Api<RoleBinding> = Api::namespaced(fleet.client.clone(), &fleet.namespace);
    for (name, role) in [("agent", "koh-reporter"), ("reader", "koh-reader")] {
        bindings.delete(&binding(&fleet.namespace, name, role), &DeleteParams::default()).await.unwrap();
    }
    // Each ends by itself, long before minutes of silence would end it: waiting for that is what reads to the end.
    let (poll, events, pushed) = tokio::join!(fleet.get(&reader, &poll), events.text(), pushed);
    assert!(poll.0 == 403 && poll.1.contains("reader may not read here"), "{poll:?}");
    let events = events.unwrap();
    assert!(events.starts_with("id:") || events.contains("event: answer"), "{events}");
    let pushed = pushed.unwrap().unwrap();
    assert_eq!(pushed.status(), 403);
    let pushed: Value = pushed.json().await.unwrap();
    assert!(pushed["title"].as_str().unwrap().contains("agent may not report here"), "{pushed}");
    assert_eq!(pushed["accepted"], 1, "what came before is kept, and counted");

    // Nobody else's ended.
    other_lines.send(Ok(format!("{}\n", report("third", "shop", "success")))).await.unwrap();
    drop(other_lines);
    let other = other.await.unwrap().unwrap();
    assert_eq!(other.status(), 200);
    assert_eq!(other.json::<Value>().await.unwrap()["accepted"], 2);
}
