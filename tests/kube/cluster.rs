//! A real kube-apiserver on a real etcd, one per test process, found through `KUBEBUILDER_ASSETS`.
//!
//! Both end with the test process: each runs below a shell that waits on a pipe which only this process holds open.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::Kubeconfig;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config, ResourceExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long the servers may take to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The servers and what is needed to talk to them.
pub struct Cluster {
    assets: PathBuf,
    home: TempDir,
    port: u16,
    etcd_port: u16,
    _etcd: Child,
    apiserver: Mutex<Child>,
}

/// The cluster, and the promise that nobody takes it away while this is held.
pub struct Held<G> {
    cluster: &'static Cluster,
    _guard: G,
}

impl<G> std::ops::Deref for Held<G> {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

/// The cluster as most tests hold it.
pub type Shared = Held<RwLockReadGuard<'static, ()>>;

/// Tests share the cluster; those that restart the API server or fill it are alone with it.
static SHARED: RwLock<()> = RwLock::const_new(());

/// The cluster of this process; `None`, and a word about it, where there is none to be had.
pub async fn cluster() -> Option<Shared> {
    Some(Held { cluster: started()?, _guard: SHARED.read().await })
}

/// The same, for a test that must be alone with it.
pub async fn cluster_alone() -> Option<Held<RwLockWriteGuard<'static, ()>>> {
    Some(Held { cluster: started()?, _guard: SHARED.write().await })
}

fn started() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else {
                // Past the capture of the test runner: whoever runs the tests should know what did not run.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED the tests against a real kube-apiserver: KUBEBUILDER_ASSETS is not set. Where Go is installed:\n\
                     \x20        export KUBEBUILDER_ASSETS=\"$(tests/assets/build.sh)\""
                );
                return None;
            };
            Some(Cluster::start(assets))
        })
        .as_ref()
}

impl Cluster {
    fn start(assets: PathBuf) -> Cluster {
        let home = TempDir::new().unwrap();
        certificates(home.path());
        let (port, etcd_port, peer_port) = (free_port(), free_port(), free_port());
        let etcd = below_shell(
            Command::new(assets.join("etcd"))
                .arg("--data-dir")
                .arg(home.path().join("etcd"))
                .arg(format!("--listen-client-urls=http://127.0.0.1:{etcd_port}"))
                .arg(format!("--advertise-client-urls=http://127.0.0.1:{etcd_port}"))
                .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"))
                .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"))
                .arg(format!("--initial-cluster=default=http://127.0.0.1:{peer_port}"))
                .args(["--unsafe-no-fsync", "--log-level=error", "--quota-backend-bytes=4294967296"])
                // Nobody lives longer than etcd here, so it takes the folder along.
                .env("GOES", home.path()),
            &home.path().join("etcd.log"),
        );
        let apiserver = Mutex::new(apiserver(&assets, home.path(), port, etcd_port));
        let cluster = Cluster { assets, home, port, etcd_port, _etcd: etcd, apiserver };
        // A runtime of its own: tests bring theirs, and come and go.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    cluster.until_ready().await;
                    cluster.install().await;
                });
            });
        });
        cluster
    }

    /// The program of that name among the assets.
    pub fn asset(&self, name: &str) -> PathBuf {
        self.assets.join(name)
    }

    /// A folder for logs and the like.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Everything is allowed.
    pub async fn admin(&self) -> Client {
        let kubeconfig = Kubeconfig::from_yaml(&self.admin_kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// The kubeconfig of the administrator, for controllers.
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig(json!({
            "client-certificate": self.home().join("admin.crt"),
            "client-key": self.home().join("admin.key"),
        }))
    }

    /// Where the API server is.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn kubeconfig(&self, user: Value) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": self.address(),
                "certificate-authority": self.home().join("ca.crt"),
            }}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}],
            "current-context": "test",
        })
        .to_string()
    }

    async fn until_ready(&self) {
        let client = self.admin().await;
        let ready = async {
            let ask = || axum::http::Request::get("/readyz").body(Vec::new()).unwrap();
            while client.request_text(ask()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap_or_else(|_| {
            let log = fs::read_to_string(self.home().join("apiserver.log")).unwrap_or_default();
            panic!("the API server did not come up:\n{}", &log[log.len().saturating_sub(4000)..])
        });
    }

    /// The definitions of the hub and of Flux, and the role of the hub.
    async fn install(&self) {
        let client = self.admin().await;
        let printed = Command::new(env!("CARGO_BIN_EXE_koh")).arg("crds").output().unwrap();
        assert!(printed.status.success());
        let mut definitions = documents(&String::from_utf8(printed.stdout).unwrap());
        for entry in fs::read_dir(self.assets.join("crds")).expect("the assets hold the definitions of Flux") {
            definitions.extend(documents(&fs::read_to_string(entry.unwrap().path()).unwrap()));
        }
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in &definitions {
            let name = definition["metadata"]["name"].as_str().unwrap();
            api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(definition)).await.unwrap();
        }
        for definition in &definitions {
            let name = definition["metadata"]["name"].as_str().unwrap();
            let established = kube::runtime::conditions::is_crd_established();
            let wait = kube::runtime::wait::await_condition(api.clone(), name, established);
            tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
        }
        let watched = futures::future::join_all(definitions.iter().map(|d| until_watched(&client, d)));
        tokio::time::timeout(PATIENCE, watched).await.expect("every kind can be watched");
        let role = documents(include_str!("../../schema/rbac.yaml")).remove(0);
        let role: ClusterRole = serde_json::from_value(role).unwrap();
        Api::all(client).create(&PostParams::default(), &role).await.unwrap();
    }

    /// A namespace of its own for a test.
    pub async fn namespace(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::all(self.admin().await).create(&PostParams::default(), &namespace).await.unwrap();
        name
    }

    /// A kubeconfig of a ServiceAccount of that namespace, with the role of the hub or another one.
    pub async fn service_account(&self, namespace: &str, cluster_role: &str) -> PathBuf {
        let client = self.admin().await;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "koh"}})).unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let subject = Subject {
            kind: "ServiceAccount".into(),
            name: "koh".into(),
            namespace: Some(namespace.into()),
            ..Subject::default()
        };
        let reference = |kind: &str, name: &str| RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: kind.into(),
            name: name.into(),
        };
        let binding = ClusterRoleBinding {
            metadata: named(&format!("koh-{namespace}")),
            role_ref: reference("ClusterRole", cluster_role),
            subjects: Some(vec![subject.clone()]),
        };
        Api::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
        let leader = documents(include_str!("../../schema/rbac.yaml")).remove(1);
        let leader: Role = serde_json::from_value(leader).unwrap();
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &leader).await.unwrap();
        let binding = RoleBinding {
            metadata: named("koh-leader"),
            role_ref: reference("Role", &leader.name_any()),
            subjects: Some(vec![subject]),
        };
        Api::namespaced(client, namespace).create(&PostParams::default(), &binding).await.unwrap();
        let file = self.home().join(format!("{namespace}.kubeconfig"));
        fs::write(&file, self.kubeconfig(json!({"token": self.token(namespace, "koh", None).await}))).unwrap();
        file
    }

    /// A token of a ServiceAccount, for the API server or for another audience.
    pub async fn token(&self, namespace: &str, account: &str, audience: Option<&str>) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await, namespace);
        let audiences = audience.iter().map(|name| (*name).to_owned()).collect();
        let request = TokenRequest {
            spec: TokenRequestSpec { audiences, expiration_seconds: Some(7200), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        token.status.unwrap().token
    }

    /// Has etcd forget every state of every object but the present one.
    pub async fn compact(&self) {
        let etcd = reqwest::Client::new();
        let ask = async |what: &str, question: Value| -> Value {
            let url = format!("http://127.0.0.1:{}/v3/kv/{what}", self.etcd_port);
            let answer = etcd.post(url).json(&question).send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert!(status.is_success(), "{what}: {status} {text}");
            serde_json::from_str(&text).unwrap()
        };
        // Any key tells the revision; this one is a null byte.
        let revision = ask("range", json!({"key": "AA=="})).await["header"]["revision"].clone();
        ask("compaction", json!({"revision": revision, "physical": true})).await;
    }

    /// Kills the API server and starts it anew on the same etcd.
    pub async fn restart_apiserver(&self) {
        {
            let mut server = self.apiserver.lock().unwrap();
            drop(server.stdin.take());
            server.wait().unwrap();
            *server = apiserver(&self.assets, self.home(), self.port, self.etcd_port);
        }
        self.until_ready().await;
    }
}

/// Waits until the server keeps the states of a kind that is new to it: before that it lists a state and calls it too old to be
/// watched from, and a test that writes meanwhile writes into a gap.
async fn until_watched(client: &Client, definition: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let spec = &definition["spec"];
    let served = spec["versions"].as_array().unwrap().iter().find(|version| version["served"] == true).unwrap();
    let (group, version) = (text(&spec["group"]), text(&served["name"]));
    let names = &spec["names"];
    let gvk = GroupVersionKind::gvk(&group, &version, &text(&names["kind"]));
    let resource = ApiResource::from_gvk_with_plural(&gvk, &text(&names["plural"]));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    loop {
        let Ok(listed) = api.list(&ListParams::default()).await else { continue };
        let from = listed.metadata.resource_version.unwrap();
        let Ok(events) = api.watch(&WatchParams::default().timeout(1), &from).await else { continue };
        if events.all(async |event| !matches!(event, Err(_) | Ok(WatchEvent::Error(_)))).await {
            return;
        }
    }
}

/// The API of a kind of the hub.
pub fn ours(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    resource(client, namespace, "hub.kalypso.io/v1alpha1", kind)
}

/// The API of any namespaced kind.
pub fn resource(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let resource = match kind {
        "GitRepository" => ApiResource { plural: "gitrepositories".into(), ..resource },
        _ => resource,
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Applies an object as `kubectl apply --server-side` does.
pub async fn apply(client: &Client, namespace: &str, object: &Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let api = resource(client, namespace, object["apiVersion"].as_str().unwrap(), kind);
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
}

/// Writes the status of an object, as its controller does.
pub async fn set_status(client: &Client, namespace: &str, object: &Value, status: &Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let api = resource(client, namespace, object["apiVersion"].as_str().unwrap(), kind);
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
}

/// The documents of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    let parse = |document: &str| serde_saphyr::from_str::<Value>(document).unwrap();
    text.split("\n---").map(|d| d.trim_start_matches("---")).filter(|d| d.contains("kind:")).map(parse).collect()
}

fn named(name: &str) -> kube::core::ObjectMeta {
    kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Runs a program that ends with this process, however that ends.
pub fn below_shell(program: &mut Command, log: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            r#""$@" </dev/null & child=$!; cat; kill -9 "$child"; wait "$child" 2>/dev/null; rm -rf "$GOES""#,
            "sh",
        ])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    shell.spawn().unwrap()
}

fn apiserver(assets: &Path, home: &Path, port: u16, etcd_port: u16) -> Child {
    let file = |name: &str| home.join(name).display().to_string();
    below_shell(
        Command::new(assets.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
            .arg(format!("--secure-port={port}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .arg("--service-cluster-ip-range=10.96.0.0/24")
            .arg(format!("--tls-cert-file={}", file("server.crt")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", file("sa.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .args(["--api-audiences=https://kubernetes.default.svc", "--authorization-mode=RBAC"])
            .args(["--disable-admission-plugins=ServiceAccount", "--enable-priority-and-fairness=false"])
            .arg("--profiling=false"),
        &home.join("apiserver.log"),
    )
}

/// Writes the certificates and keys of the authority, the server, the administrator and the ServiceAccounts.
fn certificates(home: &Path) {
    let write = |name: &str, text: &str| fs::write(home.join(name), text).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "koh tests");
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);

    let mut server = CertificateParams::new(vec!["localhost".into()]).unwrap();
    server.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().unwrap();
    write("server.crt", &server.signed_by(&server_key, &issuer).unwrap().pem());
    write("server.key", &server_key.serialize_pem());

    let mut admin = CertificateParams::default();
    admin.distinguished_name.push(DnType::CommonName, "admin");
    admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let admin_key = KeyPair::generate().unwrap();
    write("admin.crt", &admin.signed_by(&admin_key, &issuer).unwrap().pem());
    write("admin.key", &admin_key.serialize_pem());

    write("ca.crt", &ca);
    let accounts = KeyPair::generate().unwrap();
    write("sa.key", &accounts.serialize_pem());
    write("sa.pub", &accounts.public_key_pem());
}
