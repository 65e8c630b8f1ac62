//! What Flux rarely does, played: statuses are written in the orders in which a controller may write them.

use kube::Client;
use serde_json::{Value, json};

use crate::cluster::{Shared, apply, cluster, set_status};
use crate::declared::commit;
use crate::descriptors::{descriptor, until_ready};
use crate::hub::Hub;

/// A Kustomization and the descriptor it applies, in a namespace of their own, and a hub that watches.
struct Played {
    _cluster: Shared,
    flux: Flux,
    hub: Hub,
}

impl std::ops::Deref for Played {
    type Target = Flux;
    fn deref(&self) -> &Flux {
        &self.flux
    }
}

/// Who writes as Flux does.
pub struct Flux {
    client: Client,
    namespace: String,
}

const NAME: &str = "app";

impl Flux {
    /// A GitRepository and a Kustomization that reads it.
    pub async fn install(client: &Client, namespace: &str) -> Flux {
        let repository = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": NAME},
            "spec": {"interval": "1m", "url": "https://git.example/shop/gitops", "ref": {"branch": "dev"}},
        });
        apply(client, namespace, &repository).await;
        let flux = Flux { client: client.clone(), namespace: namespace.to_owned() };
        apply(client, namespace, &flux.kustomization()).await;
        flux
    }

    fn kustomization(&self) -> Value {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": NAME},
            "spec": {"interval": "1m", "path": "./web", "prune": true, "sourceRef": {"kind": "GitRepository", "name": NAME}},
        })
    }

    /// The descriptor as kustomize-controller applies it.
    pub async fn apply(&self, version: &str) {
        let mut object = descriptor("web", "dev", version, None);
        object["metadata"]["labels"] = json!({
            "kustomize.toolkit.fluxcd.io/name": NAME, "kustomize.toolkit.fluxcd.io/namespace": self.namespace,
        });
        apply(&self.client, &self.namespace, &object).await;
    }

    pub async fn status(&self, ready: &str, reason: &str, applied: &str, attempted: &str) {
        let revision = |digit: &str| digit.chars().next().map(|d| format!("dev@sha1:{}", commit(d)));
        let status = json!({
            "observedGeneration": 1,
            "conditions": [{
                "type": "Ready", "status": ready, "reason": reason, "message": reason, "observedGeneration": 1,
                "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }],
            "lastAppliedRevision": revision(applied), "lastAttemptedRevision": revision(attempted),
            "inventory": {"entries": [{
                "id": format!("{}_web-dev_hub.kalypso.io_DeploymentDescriptor", self.namespace), "v": "v1alpha1",
            }]},
        });
        set_status(&self.client, &self.namespace, &self.kustomization(), &status).await;
    }

    pub async fn settle(&self, commit: &str) {
        self.status("True", "ReconciliationSucceeded", commit, commit).await;
    }
}

impl Played {
    async fn start() -> Option<Played> {
        let cluster = cluster().await?;
        let (client, namespace, hub) = Hub::of_a_namespace(&cluster).await;
        Some(Played { _cluster: cluster, flux: Flux::install(&client, &namespace).await, hub })
    }

    /// What is recorded at which commit, in order: `1.0@a 2.0@b`.
    async fn until_recorded(&self, expected: &[&str]) {
        let statement =
            "SELECT concat(version, '@', substr(commit, 6, 1)) FROM assignment_commits ORDER BY place, version";
        self.hub.until(statement, expected).await;
    }

    /// Waits until everything written so far has reached the hub: a report written now comes after it.
    async fn quiet(&self, mark: &str) {
        apply(&self.client, &self.namespace, &crate::declared::reconciler(mark, mark, &commit('f'), "success")).await;
        self.hub.until(&format!("SELECT host FROM host_state WHERE host = '{mark}'"), &[mark]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_written_before_its_status_is_recorded_at_its_own_commit() {
    let Some(played) = Played::start().await else { return };
    played.apply("1.0").await;
    played.settle("a").await;
    played.until_recorded(&["1.0@a"]).await;
    played.status("Unknown", "Progressing", "a", "b").await;
    played.apply("2.0").await;
    until_ready(&played.client, &played.namespace, "web-dev", "False/AwaitingRevision", &played.hub).await;
    // Ready again, with the applied revision still the old one.
    played.status("True", "ReconciliationSucceeded", "a", "b").await;
    played.quiet("m1").await;
    played.until_recorded(&["1.0@a"]).await;
    played.settle("b").await;
    played.until_recorded(&["1.0@a", "2.0@b"]).await;
    until_ready(&played.client, &played.namespace, "web-dev", "True/Recorded", &played.hub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_leaves_the_descriptor_alone_extends_the_assignment() {
    let Some(played) = Played::start().await else { return };
    played.apply("1.0").await;
    played.settle("a").await;
    played.until_recorded(&["1.0@a"]).await;
    played.settle("b").await;
    played.until_recorded(&["1.0@a", "1.0@b"]).await;
    played.hub.until("SELECT count(*) FROM assignments", &["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_a_failing_commit_are_neither_recovery_nor_change() {
    let Some(played) = Played::start().await else { return };
    played.apply("1.0").await;
    played.settle("a").await;
    played.until_recorded(&["1.0@a"]).await;
    for _ in 0..5 {
        played.status("Unknown", "Progressing", "a", "b").await;
        played.status("False", "ReconciliationFailed", "a", "b").await;
    }
    // Mended by another commit; the failing one is in the log of the branch, between the two.
    played.apply("2.0").await;
    played.settle("c").await;
    played.until_recorded(&["1.0@a", "2.0@c"]).await;
    let places = "SELECT substr(commit, 6, 1) FROM commit_log WHERE ref = 'dev' ORDER BY place";
    played.hub.until(places, &["a", "b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_to_an_older_commit_brings_its_version_back() {
    let Some(played) = Played::start().await else { return };
    for (version, commit) in [("1.0", "a"), ("2.0", "b"), ("1.0", "a")] {
        played.status("Unknown", "Progressing", if commit == "b" { "a" } else { "b" }, commit).await;
        played.apply(version).await;
        played.settle(commit).await;
        let commit = format!("{version}@{commit}");
        let current = "SELECT concat(desired_version, '@', substr(desired_commit, 6, 1)) FROM environment_state";
        played.hub.until(current, &[&commit]).await;
    }
    played.hub.until("SELECT version FROM assignments ORDER BY assigned_at", &["1.0", "2.0", "1.0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_settled_while_the_hub_was_down_is_recorded_when_it_is_back() {
    let Some(played) = Played::start().await else { return };
    played.apply("1.0").await;
    played.settle("a").await;
    played.until_recorded(&["1.0@a"]).await;
    let Played { _cluster, flux, hub } = played;
    let stopped = hub.crash();
    let played = Played { _cluster, flux, hub: stopped.start() };
    played.status("Unknown", "Progressing", "a", "b").await;
    played.apply("2.0").await;
    played.settle("b").await;
    played.until_recorded(&["1.0@a", "2.0@b"]).await;
}
