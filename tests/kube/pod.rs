//! What a kubelet does with the pod of the chart, without a container engine: its folders, environment, user and arguments.
//!
//! The root folder holds the program, the libraries that it names and what the pod mounts, and nothing else; all but the volumes
//! belongs to root, so that it is as read-only for the user of the pod as the real one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PersistentVolumeClaim, PodSpec, Secret};
use kube::{Api, Client};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::hub::Hub;

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A pod on this machine.
pub struct Pod {
    root: TempDir,
    namespace: String,
    name: String,
    spec: PodSpec,
    /// The volumes that the StatefulSet has claims for.
    claims: Vec<String>,
}

/// Whether this process may do what a kubelet does; says so when not.
pub fn can_run_pods() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let may = root && Command::new("chroot").args(["/", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        let _ = writeln!(std::io::stderr(), "SKIPPED running the hub as the chart's pod says: chroot needs root");
    }
    may
}

impl Pod {
    /// The first pod of a StatefulSet, with its volumes empty.
    pub async fn of(cluster: &Cluster, client: &Client, namespace: &str, name: &str) -> Pod {
        let set = Api::<StatefulSet>::namespaced(client.clone(), namespace).get(name).await.unwrap().spec.unwrap();
        assert_eq!(set.replicas, Some(1));
        let claims = set.volume_claim_templates.unwrap_or_default();
        let pod = Pod {
            root: TempDir::new().unwrap(),
            namespace: namespace.to_owned(),
            name: format!("{name}-0"),
            spec: set.template.spec.unwrap(),
            claims: claims.into_iter().filter_map(|claim| claim.metadata.name).collect(),
        };
        fs::set_permissions(pod.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        pod.bring_program();
        pod.mount(client).await;
        if pod.spec.automount_service_account_token != Some(false) {
            let account = pod.spec.service_account_name.as_deref().unwrap();
            let token = cluster.token(namespace, account, None).await;
            let authority = fs::read(cluster.home().join("ca.crt")).unwrap();
            for (file, content) in
                [("token", token.as_bytes()), ("ca.crt", &authority), ("namespace", namespace.as_bytes())]
            {
                pod.write(&format!("{ACCOUNT}/{file}"), content, 0o640);
            }
        }
        pod
    }

    /// Takes up what the StatefulSet says by now; what lies on the volumes stays.
    pub async fn renew(&mut self, client: &Client) {
        let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &self.namespace);
        let set = sets.get(self.name.trim_end_matches("-0")).await.unwrap().spec.unwrap();
        self.spec = set.template.spec.unwrap();
        self.mount(client).await;
    }

    /// Starts the hub as the pod says; it may not be ready yet.
    pub fn start(&self, cluster: &Cluster, token: &str) -> Hub {
        let log = TempDir::new().unwrap();
        let child = self
            .command(cluster, self.container())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Hub::of_process(child, log, token, &fs::read(cluster.home().join("ca.crt")).unwrap())
    }

    /// Runs a container to its end.
    pub fn run(&self, cluster: &Cluster, container: &Container) -> Output {
        self.command(cluster, container).output().unwrap()
    }

    fn command(&self, cluster: &Cluster, container: &Container) -> Command {
        let security = self.spec.security_context.as_ref().unwrap();
        let user = format!("{}:{}", security.run_as_user.unwrap(), security.run_as_group.unwrap());
        let api_server = cluster.address();
        let (host, port) = api_server.trim_start_matches("https://").split_once(':').unwrap();
        let variables = container.env.iter().flatten().map(|v| (v.name.clone(), v.value.clone().unwrap()));
        let mut command = Command::new("chroot");
        command
            .arg(format!("--userspec={user}"))
            .arg(self.root.path())
            .arg(image("ENTRYPOINT"))
            .args(container.args.iter().flatten())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOSTNAME", &self.name)
            .env("KUBERNETES_SERVICE_HOST", host)
            .env("KUBERNETES_SERVICE_PORT", port)
            .envs(image("ENV").split(' ').filter_map(|set| set.split_once('=')))
            .envs(variables);
        command
    }

    /// The hub's container.
    pub fn container(&self) -> &Container {
        self.spec.containers.iter().find(|c| c.name == "koh").unwrap()
    }

    /// The container of that name that runs before it.
    pub fn init_container(&self, name: &str) -> &Container {
        self.spec.init_containers.iter().flatten().find(|c| c.name == name).unwrap()
    }

    /// The names of what lies in a folder.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.inside(path)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Takes a volume away with all that is on it; the next mount brings an empty one.
    pub fn lose(&self, path: &str) {
        fs::remove_dir_all(self.inside(path)).unwrap();
    }

    /// The program where the image has it, and what it is linked against.
    fn bring_program(&self) {
        let program = env!("CARGO_BIN_EXE_koh");
        let place = self.inside(&image("ENTRYPOINT"));
        if fs::hard_link(program, &place).is_err() {
            fs::copy(program, &place).unwrap();
        }
        let linked = Command::new("ldd").arg(program).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
            fs::copy(library, self.inside(library)).unwrap();
        }
    }

    /// Puts the volumes in their places; done again, it renews what they hold, as the kubelet does after a change.
    pub async fn mount(&self, client: &Client) {
        for mount in self.container().volume_mounts.iter().flatten() {
            let volume = self.spec.volumes.iter().flatten().find(|v| v.name == mount.name);
            let secret = volume.and_then(|v| v.secret.as_ref());
            let map = volume.and_then(|v| v.config_map.as_ref());
            let claim = volume.and_then(|v| v.persistent_volume_claim.as_ref());
            let (files, mode): (BTreeMap<String, Vec<u8>>, i32) = if let Some(secret) = secret {
                let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
                let held = secrets.get(secret.secret_name.as_deref().unwrap()).await.unwrap();
                let files = held.data.unwrap_or_default().into_iter().map(|(name, content)| (name, content.0));
                (files.collect(), secret.default_mode.unwrap())
            } else if let Some(map) = map {
                let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &self.namespace);
                let held = maps.get(&map.name).await.unwrap();
                let files =
                    held.data.unwrap_or_default().into_iter().map(|(name, content)| (name, content.into_bytes()));
                (files.collect(), map.default_mode.unwrap())
            } else {
                let empty = volume.is_some_and(|v| v.empty_dir.is_some());
                if let Some(claim) = claim {
                    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &self.namespace);
                    claims.get(&claim.claim_name).await.unwrap();
                }
                assert!(
                    empty || claim.is_some() || self.claims.contains(&mount.name),
                    "{}: of a kind that is not known here",
                    mount.name
                );
                let folder = self.inside(&mount.mount_path);
                fs::create_dir_all(&folder).unwrap();
                self.give(&folder, 0o2775);
                continue;
            };
            for (name, content) in files {
                self.write(&format!("{}/{name}", mount.mount_path), &content, u32::try_from(mode).unwrap());
            }
        }
    }

    /// Writes a file that a volume of the pod holds, all at once.
    fn write(&self, path: &str, content: &[u8], mode: u32) {
        let (place, beside) = (self.inside(path), self.inside(&format!("{path}.new")));
        fs::write(&beside, content).unwrap();
        self.give(&beside, mode);
        fs::rename(beside, place).unwrap();
    }

    /// Gives it to the group of the pod's volumes.
    fn give(&self, place: &Path, mode: u32) {
        let group = self.spec.security_context.as_ref().and_then(|s| s.fs_group).unwrap();
        chown(place, Some(0), Some(u32::try_from(group).unwrap())).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Where a path of the pod lies on this machine; makes the folders above it.
    fn inside(&self, path: &str) -> PathBuf {
        let place = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }
}

/// What the Dockerfile says in its last stage: `ENTRYPOINT` without the brackets, `ENV` as it stands.
fn image(instruction: &str) -> String {
    let text = include_str!("../../Dockerfile");
    let line = text.lines().rfind(|line| line.starts_with(&format!("{instruction} "))).unwrap();
    line[instruction.len()..].trim().trim_matches(['[', ']', '"']).to_owned()
}
