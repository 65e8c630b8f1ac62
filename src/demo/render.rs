//! From occurrences to what sources would send: one line of JSON and the road it takes.
//!
//! Clusters speak in custom resources, machines and the platform team in flat JSON, so that a demo exercises both. The
//! same occurrence at the same time is always the same line.

use serde_json::{Value, json};

use super::timeline::{Outcome, Report, What, version};
use super::world::{ENVIRONMENTS, Host, HostKind, World, slug};
use crate::model::Micros;

/// The road a line takes into the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Custom resources.
    Resources,
    /// Flat descriptors.
    Descriptors,
    /// Flat reports.
    Reconcilers,
    /// Flat hosts.
    Hosts,
}

impl Road {
    /// All roads, in the order of their numbers.
    pub const ALL: [Road; 4] = [Road::Resources, Road::Descriptors, Road::Reconcilers, Road::Hosts];

    /// The path it is posted to.
    pub fn path(self) -> &'static str {
        match self {
            Road::Resources => "/api/v1/ingest",
            Road::Descriptors => "/api/v1/ingest/descriptors",
            Road::Reconcilers => "/api/v1/ingest/reconcilers",
            Road::Hosts => "/api/v1/ingest/hosts",
        }
    }
}

/// The line a source would send at `time`; `None` where nothing is sent.
pub fn line(world: &World, what: &What, time: Micros) -> Option<(Road, String)> {
    let time = rfc3339(time);
    let (road, value) = match *what {
        What::Declared { host } => declared(world, host, &time),
        What::Heartbeat { host } => (Road::Hosts, flat_host(world, host, &time, false)),
        What::Retired { host } => (Road::Hosts, flat_host(world, host, &time, true)),
        What::Wanted { target, build, commit } => wanted(world, target, build, commit, &time),
        What::Reported { reconciler, report } => reported(world, reconciler, report, &time),
        What::Told(_) => return None,
    };
    Some((road, value.to_string()))
}

/// With microseconds, so that what happened in one millisecond keeps its order.
fn rfc3339(time: Micros) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.to_string(), |t| format!("{t:.6}"))
}

fn declared(world: &World, id: usize, time: &str) -> (Road, Value) {
    let host = &world.hosts[id];
    if host.kind == HostKind::Machine {
        return (Road::Hosts, flat_host(world, id, time, false));
    }
    let labels = labels(host, ["clusterType", "ring", "region"]);
    let expects: Vec<Value> = expected(world, host)
        .map(|(workload, environment, target)| json!({"workload": workload, "environment": environment, "deploymentTarget": target}))
        .collect();
    let resource = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Cluster",
        "metadata": {"name": slug(&host.name), "namespace": "fleet", "annotations": {"hub.kalypso.io/observed-at": time}},
        "spec": {"name": host.name, "type": host.labels()[0].1, "labels": labels, "contact": contact(host), "expects": expects},
    });
    (Road::Resources, resource)
}

fn flat_host(world: &World, id: usize, time: &str, retired: bool) -> Value {
    let host = &world.hosts[id];
    let expects: Vec<Value> = expected(world, host)
        .map(|(workload, environment, target)| json!({"workload": workload, "environment": environment, "deployment_target": target}))
        .collect();
    let mut value = json!({
        "name": host.name, "host_type": host.labels()[0].1, "labels": labels(host, ["cluster_type", "ring", "region"]),
        "contact": contact(host), "expects": expects, "reported_at": time,
    });
    if retired {
        value["retired"] = json!(true);
    }
    value
}

fn wanted(world: &World, id: usize, build: u32, commit: u32, time: &str) -> (Road, Value) {
    let target = &world.targets[id];
    let workload = &world.workloads[target.workload];
    let environment = ENVIRONMENTS[target.environment];
    let (source, manifests) = (world.source_repo(target.workload), world.manifests_repo(target.workload));
    let source_commit = world.source_commit(target.workload, build);
    let revision = format!("{environment}@sha1:{}", world.gitops_commit(target.workload, target.environment, commit));
    let author = world.author(target.workload, build);
    if workload.workspace == "platform" {
        let value = json!({
            "workspace": workload.workspace, "application": workload.application, "workload": workload.name,
            "environment": environment, "deployment_target": target.name, "version": version(build),
            "manifests": {"repo": manifests, "branch": environment, "path": target.name}, "gitops_revision": revision,
            "source": {"repo": source, "branch": "main", "path": "."}, "source_commit": source_commit,
            "build": format!("build-{build}"), "author": author, "contact": workload.contact, "observed_at": time,
        });
        return (Road::Descriptors, value);
    }
    let name = format!("{}-{environment}-{}", slug(&workload.name), target.name);
    let resource = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {"name": name, "namespace": "flux-system", "annotations": {
            "hub.kalypso.io/observed-at": time, "hub.kalypso.io/gitops-revision": revision}},
        "spec": {
            "workload": {"name": workload.name, "source": {"repo": source, "branch": "main", "path": "."},
                "application": {"name": workload.application, "workspace": {"name": workload.workspace}}},
            "deploymentTarget": {"name": target.name, "environment": environment,
                "manifests": {"repo": manifests, "branch": environment, "path": format!("./{}", target.name)}},
            "workloadVersion": {"version": version(build), "build": format!("build-{build}"), "commit": source_commit,
                "author": author},
            "contact": workload.contact,
        },
    });
    (Road::Resources, resource)
}

fn reported(world: &World, id: usize, report: Report, time: &str) -> (Road, Value) {
    let reconciler = &world.reconcilers[id];
    let host = &world.hosts[reconciler.host];
    let target = &world.targets[reconciler.target];
    let environment = ENVIRONMENTS[target.environment];
    let repo = world.manifests_repo(target.workload);
    let commit = |number| format!("sha1:{}", world.gitops_commit(target.workload, target.environment, number));
    let attempted = commit(report.attempted);
    let applied = report.applied.map(commit);
    let status = match report.outcome {
        Outcome::InProgress => "in_progress",
        Outcome::Success => "success",
        Outcome::Failure => "failure",
    };
    if host.kind == HostKind::Machine {
        // Ansible clones by SSH and has words of its own.
        let raw_status = ["running", "ok", "failed"][report.outcome as usize];
        let mut value = json!({
            "host": host.name, "reconciler": reconciler.name, "reconciler_type": host.reconciler_type(),
            "manifests": {"repo": repo.replacen("https://github.com/", "git@github.com:", 1) + ".git",
                "branch": environment, "path": target.name},
            "commit": attempted, "status": status, "raw_status": raw_status,
            "message": message(world, id, report), "reported_at": time,
        });
        if let Some(applied) = applied {
            value["applied_commit"] = json!(applied);
        }
        return (Road::Reconcilers, value);
    }
    let mut deployment =
        json!({"gitOpsCommitId": attempted, "status": status, "statusMessage": message(world, id, report)});
    if let Some(applied) = applied {
        deployment["appliedCommitId"] = json!(applied);
    }
    let resource = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Reconciler",
        "metadata": {"name": format!("{}-{}", slug(&host.name), slug(&reconciler.name)), "namespace": "fleet"},
        "spec": {
            "hostName": host.name, "reconcilerName": reconciler.name, "reconcilerType": host.reconciler_type(),
            "manifestsStorageType": "git", "manifestsEndpoint": format!("{repo}/{environment}/./{}", target.name),
            "reportedAt": time, "deployment": deployment,
        },
    });
    (Road::Resources, resource)
}

/// What a reconciler of this kind says.
fn message(world: &World, id: usize, report: Report) -> String {
    let reconciler = &world.reconcilers[id];
    let target = &world.targets[reconciler.target];
    let workload = slug(&world.workloads[target.workload].name);
    let branch = ENVIRONMENTS[target.environment];
    let commit = world.gitops_commit(target.workload, target.environment, report.attempted);
    match (world.hosts[reconciler.host].kind, report.outcome) {
        (HostKind::Cluster, Outcome::InProgress) => {
            format!("Reconciliation in progress, revision {branch}@sha1:{commit}")
        }
        (HostKind::Cluster, Outcome::Success) => format!("Applied revision: {branch}@sha1:{commit}"),
        (HostKind::Cluster, Outcome::Failure) => format!(
            "health check failed after 5m0s: timeout waiting for: [Deployment/{workload}/{workload} status: 'InProgress']"
        ),
        (HostKind::Edge, Outcome::InProgress) => "waiting for healthy state of apps/Deployment".to_string(),
        (HostKind::Edge, Outcome::Success) => "successfully synced (all tasks run)".to_string(),
        (HostKind::Edge, Outcome::Failure) => {
            format!("one or more objects failed to apply: Deployment \"{workload}\": context deadline exceeded")
        }
        (HostKind::Machine, Outcome::InProgress) => "TASK [apply manifests]".to_string(),
        (HostKind::Machine, Outcome::Success) => "ok=14 changed=3 unreachable=0 failed=0".to_string(),
        (HostKind::Machine, Outcome::Failure) => format!("{workload}.service failed to start: exit status 1"),
    }
}

fn expected<'a>(world: &'a World, host: &'a Host) -> impl Iterator<Item = (&'a str, &'static str, &'static str)> {
    host.reconcilers.iter().map(|&id| {
        let target = &world.targets[world.reconcilers[id].target];
        (world.workloads[target.workload].name.as_str(), ENVIRONMENTS[target.environment], target.name)
    })
}

fn labels(host: &Host, names: [&str; 3]) -> Value {
    names
        .iter()
        .zip(host.labels())
        .map(|(name, (_, value))| (name.to_string(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn contact(host: &Host) -> &'static str {
    match host.kind {
        HostKind::Cluster => "platform@contoso.example",
        HostKind::Edge => "store operations",
        HostKind::Machine => "Søren Ødegård",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::simulation::{Plot, Simulation};
    use crate::demo::timeline::HOUR;
    use crate::normalize;
    use crate::sources::push::{Decoder, Form};

    fn lines() -> Vec<(Road, Value)> {
        let simulation = Simulation::new(Plot { seed: 1, hosts: 30, history: 12 * HOUR, heartbeats: true });
        let world = simulation.world().clone();
        let start = Micros(1_700_000_000_000_000);
        simulation
            .take_while(|o| o.at < HOUR)
            .filter_map(|o| line(&world, &o.what, start.plus(o.at)))
            .map(|(road, line)| {
                assert!(!line.contains('\n'));
                (road, serde_json::from_str(&line).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_road_is_taken_and_every_line_is_json() {
        let lines = lines();
        for road in Road::ALL {
            assert!(lines.iter().any(|(r, _)| *r == road), "{road:?}");
        }
    }

    #[test]
    fn the_hub_takes_every_line_with_the_time_it_claims() {
        let form = |road| match road {
            Road::Resources => Form::Resources,
            Road::Descriptors => Form::Descriptors,
            Road::Reconcilers => Form::Reconcilers,
            Road::Hosts => Form::Hosts,
        };
        let received = Micros(1_800_000_000_000_000);
        for (road, value) in lines() {
            let mut decoder = Decoder::new(form(road), "push".to_string(), None);
            let mut items = decoder.push(value.to_string().as_bytes());
            items.extend(decoder.finish());
            assert_eq!(items.len(), 1, "{value}");
            for item in items {
                let observation = item.observation.unwrap();
                assert!(observation.when.event.is_some(), "{value}");
                normalize::fact(observation, received).unwrap();
            }
        }
    }

    #[test]
    fn custom_resources_carry_their_event_time() {
        for (_, value) in lines().iter().filter(|(road, _)| *road == Road::Resources) {
            let time = match value["kind"].as_str().unwrap() {
                "Reconciler" => &value["spec"]["reportedAt"],
                _ => &value["metadata"]["annotations"]["hub.kalypso.io/observed-at"],
            };
            Micros::parse(time.as_str().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_failing_report_still_names_what_runs() {
        let lines = lines();
        let failing: Vec<_> = lines
            .iter()
            .filter(|(road, value)| {
                *road == Road::Reconcilers && value["status"] == "failure" && value["applied_commit"].is_string()
            })
            .collect();
        assert!(failing.iter().all(|(_, value)| value["applied_commit"] != value["commit"]));
    }
}
