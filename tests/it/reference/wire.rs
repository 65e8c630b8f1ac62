//! Between the model's values and what a hub is sent: custom resources, watch events, flat shapes (§7, §3.1).
//!
//! `to_json` writes one of several equivalent spellings, `from_json` reads any of them back into normal form.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::input::{
    At, Carrier, Declaration, Endpoint, HostWord, Object, Observed, Report, Requirement, Said, Status, Target,
};

/// The annotation that names the event time.
pub const OBSERVED_AT: &str = "hub.kalypso.io/observed-at";
/// The annotation that names the commit a descriptor was applied at.
pub const REVISION: &str = "hub.kalypso.io/gitops-revision";

impl Observed {
    /// What a hub is sent: a custom resource, a watch event for a deletion, or a flat shape for a push.
    pub fn to_json(&self) -> Value {
        match &self.carrier {
            Carrier::Resource { namespace, name } => self.resource(namespace, name),
            Carrier::Pushed => self.flat(),
        }
    }

    fn resource(&self, namespace: &str, name: &str) -> Value {
        let mut metadata = json!({"name": name, "namespace": namespace, "annotations": {}});
        if let Some(at) = self.said_at {
            metadata["annotations"][OBSERVED_AT] = json!(rfc3339(at));
        }
        if let Some((uid, version)) = self.identity.as_ref().and_then(|i| i.split_once('/')) {
            metadata["uid"] = json!(uid);
            metadata["resourceVersion"] = json!(version);
        }
        let mut spec = Value::Null;
        match &self.said {
            Said::Declares(d) => {
                if let Some(commit) = &d.commit {
                    metadata["annotations"][REVISION] = json!(spell_commit(commit, &d.endpoint.branch, self.spelling));
                }
                spec = descriptor_spec(d, self.spelling);
            }
            Said::Reports(r) => {
                spec = json!({
                    "hostName": r.host, "reconcilerName": r.reconciler, "reconcilerType": "flux",
                    "manifestsStorageType": "git", "manifestsEndpoint": spell_endpoint(&r.endpoint, self.spelling),
                    "deployment": {"status": r.status.word(), "statusMessage": r.message},
                });
                if let Some(commit) = &r.commit {
                    spec["deployment"]["gitOpsCommitId"] = json!(spell_commit(commit, "main", self.spelling));
                }
                if let Some(applied) = &r.applied {
                    spec["deployment"]["appliedCommitId"] = json!(spell_commit(applied, "main", self.spelling));
                }
            }
            Said::Host(h) => spec = host_shape(h, "deploymentTarget", "expectsSelector", self.spelling),
            Said::Gone(_) => {}
        }
        let mut object = json!({
            "apiVersion": "hub.kalypso.io/v1alpha1", "kind": self.said.object().kind(), "metadata": metadata,
        });
        if !spec.is_null() {
            object["spec"] = spec;
        }
        if matches!(self.said, Said::Gone(_)) { json!({"type": "DELETED", "object": object}) } else { object }
    }

    fn flat(&self) -> Value {
        let mut shape = match &self.said {
            Said::Declares(d) => flat_descriptor(d, self.spelling),
            Said::Reports(r) => flat_report(r, self.spelling),
            Said::Host(h) => host_shape(h, "deployment_target", "expects_selector", self.spelling),
            Said::Gone(object) => flat_deletion(object),
        };
        if let Some(at) = self.said_at {
            let field = if matches!(self.said.object(), Object::Target(_)) { "observed_at" } else { "reported_at" };
            shape[field] = json!(rfc3339(at));
        }
        shape
    }
}

/// Reads one line into what it says.
pub fn from_json(line: &Value, received_at: At, source: &str) -> Option<Observed> {
    let observed = |carrier, said_at: Option<At>, identity, said| Observed {
        received_at,
        source: source.to_string(),
        carrier,
        said_at,
        identity,
        said,
        spelling: 0,
    };
    let deleted = line["type"] == "DELETED";
    let object = if line["object"].is_object() { &line["object"] } else { line };
    if object["kind"].is_string() {
        let metadata = &object["metadata"];
        let carrier = Carrier::Resource { namespace: text(&metadata["namespace"]), name: text(&metadata["name"]) };
        let said_at = at(&metadata["annotations"][OBSERVED_AT]).or_else(|| at(&object["spec"]["reportedAt"]));
        let identity = metadata["uid"].as_str().zip(metadata["resourceVersion"].as_str());
        let identity = identity.map(|(uid, version)| format!("{uid}/{version}"));
        let said = if deleted {
            let said_at = at(&metadata["annotations"][OBSERVED_AT]).max(at(&metadata["deletionTimestamp"]));
            let gone = match object["kind"].as_str()? {
                "DeploymentDescriptor" => Object::Target(target_of(&Value::Null)),
                "Reconciler" => Object::Reconciler { host: String::new(), name: String::new() },
                _ => Object::Host(String::new()),
            };
            return Some(observed(carrier, said_at, identity, Said::Gone(gone)));
        } else {
            said_by_resource(object)?
        };
        return Some(observed(carrier, said_at, identity, said));
    }
    let said = said_flat(line)?;
    let said_at = at(&line["observed_at"]).or_else(|| at(&line["reported_at"]));
    Some(observed(Carrier::Pushed, said_at, None, said))
}

fn said_by_resource(object: &Value) -> Option<Said> {
    let spec = &object["spec"];
    Some(match object["kind"].as_str()? {
        "DeploymentDescriptor" => {
            let manifests = &spec["deploymentTarget"]["manifests"];
            Said::Declares(Declaration {
                target: Target {
                    workspace: text(&spec["workload"]["application"]["workspace"]["name"]),
                    application: text(&spec["workload"]["application"]["name"]),
                    workload: text(&spec["workload"]["name"]),
                    environment: text(&spec["deploymentTarget"]["environment"]),
                    name: text(&spec["deploymentTarget"]["name"]),
                },
                labels: labels_of(&spec["deploymentTarget"]["labels"]),
                version: text(&spec["workloadVersion"]["version"]),
                endpoint: endpoint_of(manifests),
                commit: commit_of(&object["metadata"]["annotations"][REVISION]),
                source_commit: commit_of(&spec["workloadVersion"]["commit"]),
            })
        }
        "Reconciler" => Said::Reports(Report {
            host: text(&spec["hostName"]),
            reconciler: text(&spec["reconcilerName"]),
            endpoint: normal_endpoint(&text(&spec["manifestsEndpoint"])),
            commit: commit_of(&spec["deployment"]["gitOpsCommitId"]),
            applied: commit_of(&spec["deployment"]["appliedCommitId"]),
            status: status_of(&spec["deployment"]["status"]),
            message: text(&spec["deployment"]["statusMessage"]),
        }),
        _ => Said::Host(host_of(spec)),
    })
}

fn said_flat(line: &Value) -> Option<Said> {
    let deleted = line["deleted"] == true;
    if line["workload"].is_string() && line["deployment_target"].is_string() {
        let target = target_of(line);
        if deleted {
            return Some(Said::Gone(Object::Target(target)));
        }
        return Some(Said::Declares(Declaration {
            target,
            labels: labels_of(&line["labels"]),
            version: text(&line["version"]),
            endpoint: endpoint_of(&line["manifests"]),
            commit: commit_of(&line["gitops_revision"]),
            source_commit: commit_of(&line["source_commit"]),
        }));
    }
    if line["reconciler"].is_string() {
        let (host, name) = (text(&line["host"]), text(&line["reconciler"]));
        if deleted {
            return Some(Said::Gone(Object::Reconciler { host, name }));
        }
        return Some(Said::Reports(Report {
            host,
            reconciler: name,
            endpoint: normal_endpoint(&text(&line["manifests_endpoint"])),
            commit: commit_of(&line["commit"]),
            applied: commit_of(&line["applied_commit"]),
            status: status_of(&line["status"]),
            message: text(&line["message"]),
        }));
    }
    line["name"].is_string().then(|| Said::Host(host_of(line)))
}

fn descriptor_spec(d: &Declaration, spelling: u8) -> Value {
    let mut version = json!({"version": d.version});
    if let Some(commit) = &d.source_commit {
        version["commit"] = json!(commit.trim_start_matches("sha1:"));
    }
    json!({
        "workload": {
            "name": d.target.workload,
            "source": {"repo": "https://git.example/org/app", "branch": "main", "path": "."},
            "application": {"name": d.target.application, "workspace": {"name": d.target.workspace}},
        },
        "deploymentTarget": {
            "name": d.target.name, "environment": d.target.environment, "manifests": manifests(&d.endpoint, spelling),
            "labels": d.labels,
        },
        "workloadVersion": version,
    })
}

fn flat_descriptor(d: &Declaration, spelling: u8) -> Value {
    let mut shape = flat_target(&d.target);
    shape["version"] = json!(d.version);
    shape["labels"] = json!(d.labels);
    shape["manifests"] = manifests(&d.endpoint, spelling);
    if let Some(commit) = &d.commit {
        shape["gitops_revision"] = json!(spell_commit(commit, &d.endpoint.branch, spelling));
    }
    if let Some(commit) = &d.source_commit {
        shape["source_commit"] = json!(commit);
    }
    shape
}

fn flat_target(target: &Target) -> Value {
    json!({
        "workspace": target.workspace, "application": target.application, "workload": target.workload,
        "environment": target.environment, "deployment_target": target.name,
    })
}

fn flat_report(r: &Report, spelling: u8) -> Value {
    let mut shape = json!({
        "host": r.host, "reconciler": r.reconciler, "reconciler_type": "flux",
        "manifests_endpoint": spell_endpoint(&r.endpoint, spelling), "status": r.status.word(), "message": r.message,
    });
    if let Some(commit) = &r.commit {
        shape["commit"] = json!(spell_commit(commit, "main", spelling));
    }
    if let Some(applied) = &r.applied {
        shape["applied_commit"] = json!(spell_commit(applied, "main", spelling));
    }
    shape
}

/// A deletion names the natural key; the other fields that flat shapes require are filled with something.
fn flat_deletion(object: &Object) -> Value {
    let mut shape = match object {
        Object::Target(target) => {
            let mut shape = flat_target(target);
            shape["version"] = json!("0");
            shape["manifests"] = json!({"repo": "https://git.example/org/gone", "branch": "main", "path": "gone"});
            shape["gitops_revision"] = json!("main@sha1:0000000000000000000000000000000000000000");
            shape
        }
        Object::Reconciler { host, name } => json!({
            "host": host, "reconciler": name, "reconciler_type": "flux", "status": "unknown",
            "manifests_endpoint": "https://git.example/org/gone/main/gone",
        }),
        Object::Host(name) => return json!({"name": name, "retired": true}),
    };
    shape["deleted"] = json!(true);
    shape
}

/// Custom resources write camel case, flat shapes snake case.
fn host_shape(h: &HostWord, target: &str, selector: &str, spelling: u8) -> Value {
    let mut shape = json!({"name": h.name});
    if let Some(expects) = &h.expects {
        let expects: Vec<Value> =
            expects.iter().map(|(w, e, t)| json!({"workload": w, "environment": e, target: t})).collect();
        shape["expects"] = json!(expects);
    }
    if let Some(requirements) = &h.selector {
        shape[selector] = selector_shape(requirements, spelling);
    }
    if h.retired {
        shape["retired"] = json!(true);
    }
    shape
}

/// One value that a label must have is written as a matchLabel or as an expression.
fn selector_shape(requirements: &[Requirement], spelling: u8) -> Value {
    let [labels, expressions] = if spelling.is_multiple_of(2) {
        ["matchLabels", "matchExpressions"]
    } else {
        ["match_labels", "match_expressions"]
    };
    let mut shape = json!({});
    for r in requirements {
        match &r.values[..] {
            [one] if r.operator == "In" && spelling.is_multiple_of(3) => shape[labels][&r.key] = json!(one),
            values => {
                let mut all = shape[expressions].as_array().cloned().unwrap_or_default();
                all.push(json!({"key": r.key, "operator": r.operator, "values": values}));
                shape[expressions] = json!(all);
            }
        }
    }
    shape
}

fn selector_of(spec: &Value) -> Option<Vec<Requirement>> {
    let shape = spec.get("expectsSelector").or(spec.get("expects_selector"))?;
    let either = |camel: &str, snake: &str| shape.get(camel).or(shape.get(snake)).cloned().unwrap_or_default();
    let labels = either("matchLabels", "match_labels");
    let wanted = labels.as_object().into_iter().flatten();
    let wanted = wanted.map(|(key, v)| Requirement { key: key.clone(), operator: "In".into(), values: vec![text(v)] });
    let expressions = either("matchExpressions", "match_expressions");
    let more = expressions.as_array().into_iter().flatten().map(|r| Requirement {
        key: text(&r["key"]),
        operator: text(&r["operator"]),
        values: r["values"].as_array().into_iter().flatten().map(text).collect(),
    });
    Some(wanted.chain(more).collect())
}

fn labels_of(labels: &Value) -> BTreeMap<String, String> {
    labels.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn host_of(spec: &Value) -> HostWord {
    let expects = spec["expects"].as_array().map(|all| {
        all.iter()
            .map(|e| {
                (
                    text(&e["workload"]),
                    text(&e["environment"]),
                    text(e.get("deploymentTarget").unwrap_or(&e["deployment_target"])),
                )
            })
            .collect()
    });
    HostWord { name: text(&spec["name"]), expects, selector: selector_of(spec), retired: spec["retired"] == true }
}

fn target_of(line: &Value) -> Target {
    Target {
        workspace: text(&line["workspace"]),
        application: text(&line["application"]),
        workload: text(&line["workload"]),
        environment: text(&line["environment"]),
        name: text(&line["deployment_target"]),
    }
}

fn manifests(endpoint: &Endpoint, spelling: u8) -> Value {
    let (repo, path) = match spelling % 4 {
        0 => (endpoint.repo.clone(), endpoint.path.clone()),
        1 => (format!("{}.git", endpoint.repo), format!("./{}", endpoint.path)),
        2 => (format!("{}/", endpoint.repo), format!("/{}/", endpoint.path)),
        _ => (endpoint.repo.replacen("https://", "ssh://git@", 1), endpoint.path.replace('/', "//")),
    };
    json!({"repo": repo, "branch": endpoint.branch, "path": path})
}

fn endpoint_of(manifests: &Value) -> Endpoint {
    let repo = text(&manifests["repo"]).replacen("ssh://git@", "https://", 1);
    let repo = repo.trim_end_matches('/').trim_end_matches(".git").to_string();
    let path = text(&manifests["path"]);
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Endpoint { repo, branch: text(&manifests["branch"]), path: path.join("/") }
}

fn spell_endpoint(endpoint: &str, spelling: u8) -> String {
    match spelling % 3 {
        0 => endpoint.to_string(),
        1 => format!("{endpoint}/"),
        _ => match endpoint.rsplit_once('/') {
            Some((front, last)) => format!("{front}/./{last}"),
            None => endpoint.to_string(),
        },
    }
}

/// The normal form of an endpoint in one string.
pub fn normal_endpoint(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{scheme}://{}", parts.join("/"))
}

fn spell_commit(commit: &str, branch: &str, spelling: u8) -> String {
    let hex = commit.trim_start_matches("sha1:");
    match spelling % 5 {
        0 => commit.to_string(),
        1 => format!("{branch}@{commit}"),
        2 => hex.to_string(),
        3 => format!("{branch}/{hex}"),
        _ => hex.to_uppercase(),
    }
}

/// The normal form of a commit.
pub fn normal_commit(commit: &str) -> Option<String> {
    let hex = commit.trim().rsplit(['@', '/', ':']).next().unwrap_or_default().to_lowercase();
    (!hex.is_empty()).then(|| format!("sha1:{hex}"))
}

fn commit_of(value: &Value) -> Option<String> {
    normal_commit(value.as_str()?)
}

fn status_of(value: &Value) -> Status {
    Status::ALL.into_iter().find(|s| value == s.word()).unwrap_or(Status::Unknown)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn at(value: &Value) -> Option<At> {
    value.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok()).map(|t| t.as_microsecond())
}

fn rfc3339(at: At) -> String {
    super::views::time(at).as_str().map(str::to_string).unwrap_or_default()
}
