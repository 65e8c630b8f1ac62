//! Tokens that report for a part of the fleet: what is not theirs is refused, item by item, and nothing of it is stored.
//!
//! Two teams, `shop` and `bank`, share hosts of two regions. Whatever is told here is told of them.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::api_ingest::gzip;
use crate::hub::{Answer, TestHub, TestHubBuilder, commit, token};

/// A hub, and tokens that report.
pub(crate) struct Fleet {
    pub(crate) hub: TestHub,
    file: PathBuf,
    _folder: tempfile::TempDir,
    pub(crate) admin: String,
    /// For the workspace `shop`; it also reads.
    pub(crate) shop: String,
    /// For hosts of the region `eu`.
    pub(crate) eu: String,
    /// For both.
    pub(crate) both: String,
}

pub(crate) fn descriptor(workspace: &str, name: &str, repo: &str, version: &str, at: char) -> Value {
    json!({
        "workspace": workspace, "application": "app", "workload": "web", "environment": "dev", "deployment_target": name,
        "version": version, "manifests": {"repo": format!("https://git.example/{repo}"), "branch": "dev", "path": "web"},
        "gitops_revision": commit(at),
    })
}

pub(crate) fn report(host: &str, reconciler: &str, repo: &str, at: char, status: &str) -> Value {
    json!({
        "host": host, "reconciler": reconciler, "reconciler_type": "flux", "status": status, "commit": commit(at),
        "manifests_endpoint": format!("https://git.example/{repo}/dev/web"),
    })
}

/// The custom resource that says what a flat descriptor says.
pub(crate) fn resource(name: &str, flat: &Value) -> Value {
    json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {"namespace": "fleet", "name": name,
            "annotations": {"hub.kalypso.io/gitops-revision": flat["gitops_revision"]}},
        "spec": {
            "workload": {"name": flat["workload"], "application":
                {"name": flat["application"], "workspace": {"name": flat["workspace"]}}},
            "deploymentTarget": {"name": flat["deployment_target"], "environment": flat["environment"],
                "manifests": flat["manifests"]},
            "workloadVersion": {"version": flat["version"]},
        },
    })
}

/// The same with more fields.
fn with(mut item: Value, more: Value) -> Value {
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn lines(items: &[Value]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

impl Fleet {
    pub(crate) fn start() -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.yaml");
        let made = |name: &str, scopes: &str, more: &[&str]| token(&file, name, scopes, more);
        let (admin, shop) = (made("admin", "admin", &[]), made("shop", "read,report", &["--workspaces", "shop"]));
        let eu = made("eu", "report", &["--hosts", "region=eu"]);
        let both = made("both", "report", &["--workspaces", "shop", "--hosts", "region=eu"]);
        let hub = TestHubBuilder::new().with_arg("--tokens", file.to_str().unwrap()).spawn();
        let fleet = Fleet { hub, file, _folder: folder, admin, shop, eu, both };
        let seed = |path: &str, items: &[Value]| {
            let answer = fleet.tell(&fleet.admin, path, &[], lines(items).as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        let host = |name: &str, region: &str| json!({"name": name, "labels": {"region": region, "ring": "1"}});
        seed("ingest/hosts", &[host("eu-1", "eu"), host("us-1", "us")]);
        seed(
            "ingest/descriptors",
            &[descriptor("shop", "edge", "shop", "1.0", 'a'), descriptor("bank", "edge", "bank", "1.0", 'a')],
        );
        let loose = json!({"labels": {"region": "eu", "ring": "1"}});
        seed(
            "ingest/reconcilers",
            &[
                report("eu-1", "shop", "shop", 'a', "success"),
                report("us-1", "shop", "shop", 'a', "success"),
                report("eu-1", "bank", "bank", 'a', "success"),
                report("us-1", "bank", "bank", 'a', "success"),
                // Nobody declared this host: its labels are those of the report.
                with(report("loose", "bank", "bank", 'a', "success"), loose),
            ],
        );
        fleet
    }

    pub(crate) fn tell(&self, token: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.extend(headers);
        self.hub.ask("POST", &format!("/api/v1/{path}"), &all, body)
    }

    pub(crate) fn rows(&self, statement: &str) -> Vec<Value> {
        let bearer = format!("Bearer {}", self.admin);
        let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
        self.hub.ask("POST", "/api/v1/sql?fresh=true", &headers, statement.as_bytes()).rows()
    }

    fn count(&self, statement: &str) -> i64 {
        self.rows(&format!("SELECT count(*) AS n FROM {statement}"))[0]["n"].as_i64().unwrap()
    }

    fn target(&self, workspace: &str) -> Value {
        self.rows(&format!("SELECT * FROM deployment_targets WHERE workspace = '{workspace}'")).remove(0)
    }
}

/// What is told, and whether the tokens for `shop`, for `eu` and for both may tell it.
fn matrix() -> Vec<(&'static str, &'static str, Value, [bool; 3])> {
    let (all, none, shop, eu) = ([true; 3], [false; 3], [true, false, false], [false, true, false]);
    let (wanted, real, hosts, judged) =
        ("ingest/descriptors", "ingest/reconcilers", "ingest/hosts", "rollouts/verifications");
    let smoke =
        |more: Value| with(json!({"name": "smoke", "result": "passed", "workload": "web", "version": "1.0"}), more);
    let labels = |region: &str, ring: &str| json!({"labels": {"region": region, "ring": ring}});
    let reported = |host: &str, more: Value| with(report(host, "shop", "shop", 'a', "failure"), more);
    let shops = descriptor("shop", "edge", "shop", "1.1", 'b');
    let banks = descriptor("bank", "edge", "bank", "1.1", 'b');
    let mut beside = descriptor("shop", "sly", "bank", "1.0", 'a');
    beside["manifests"]["path"] = json!("beside");
    vec![
        ("a version of its target", wanted, shops.clone(), shop),
        ("a target of its own", wanted, descriptor("shop", "new", "shop-new", "1.0", 'a'), shop),
        ("a version of another's target", wanted, banks.clone(), none),
        ("a target on another's branch", wanted, descriptor("shop", "sly", "bank", "1.0", 'a'), none),
        ("a target beside another's on its branch", wanted, beside, none),
        ("a resource of its own", "ingest", resource("shop", &shops), shop),
        ("a resource of another", "ingest", resource("bank", &banks), none),
        ("a watch event of its own", "ingest", json!({"type": "MODIFIED", "object": resource("shop", &shops)}), shop),
        ("a watch event of another", "ingest", json!({"type": "ADDED", "object": resource("bank", &banks)}), none),
        ("that its resource is gone", "ingest", json!({"type": "DELETED", "object": resource("shop", &shops)}), shop),
        (
            "that another's resource is gone",
            "ingest",
            json!({"type": "DELETED", "object": resource("bank", &banks)}),
            none,
        ),
        ("that its target is gone", wanted, with(shops, json!({"deleted": true})), shop),
        ("that another's target is gone", wanted, with(banks, json!({"deleted": true})), none),
        ("a verification of its workspace", judged, smoke(json!({"workspace": "shop"})), shop),
        ("a verification of another workspace", judged, smoke(json!({"workspace": "bank"})), none),
        ("a verification of all workspaces", judged, smoke(json!({"workspace": "*"})), none),
        ("its report from eu", real, reported("eu-1", json!({})), all),
        ("its report from us", real, reported("us-1", json!({})), shop),
        ("another's report from eu", real, report("eu-1", "bank", "bank", 'b', "failure"), eu),
        ("another's report from us", real, report("us-1", "bank", "bank", 'b', "failure"), none),
        ("a report from nowhere", real, reported("new-1", json!({})), shop),
        (
            "a report of its manifests by another's reconciler",
            real,
            report("us-1", "bank", "shop", 'a', "failure"),
            none,
        ),
        ("a report of manifests that nobody described", real, report("eu-1", "x", "x", 'a', "failure"), eu),
        ("other labels of a declared host, which do not show", real, reported("eu-1", labels("us", "9")), all),
        ("the labels of a host that is known by reports", real, reported("loose", labels("eu", "1")), all),
        ("another ring of such a host", real, reported("loose", labels("eu", "2")), eu),
        ("another region of such a host", real, reported("loose", labels("us", "2")), none),
        (
            "that its report's reconciler is gone",
            real,
            json!({"host": "eu-1", "reconciler": "shop", "deleted": true}),
            all,
        ),
        ("that a reconciler in us is gone", real, json!({"host": "us-1", "reconciler": "shop", "deleted": true}), shop),
        (
            "that another's reconciler in us is gone",
            real,
            json!({"host": "us-1", "reconciler": "bank", "deleted": true}),
            none,
        ),
        ("a contact of a host in eu", hosts, json!({"name": "eu-1", "contact": "us"}), eu),
        ("a ring of a host in eu", hosts, with(json!({"name": "eu-1"}), labels("eu", "2")), eu),
        ("a region of a host in eu", hosts, with(json!({"name": "eu-1"}), labels("us", "1")), none),
        ("no region of a host in eu", hosts, json!({"name": "eu-1", "labels": {"ring": "1"}}), none),
        ("a heartbeat of a host in us", hosts, json!({"name": "us-1", "reported_at": "2026-01-01T00:00:00Z"}), none),
        ("a host that nobody declared", hosts, with(json!({"name": "eu-9"}), labels("eu", "1")), none),
        ("that a host in us is retired", hosts, json!({"name": "us-1", "retired": true}), none),
        ("that a host in eu is retired", hosts, json!({"name": "eu-1", "retired": true}), eu),
    ]
}

#[test]
fn a_restricted_token_tells_of_its_part_and_of_nothing_else() {
    for (column, name) in ["shop", "eu", "both"].into_iter().enumerate() {
        let fleet = Fleet::start();
        let token = [&fleet.shop, &fleet.eu, &fleet.both][column];
        for (nth, (what, path, item, allowed)) in matrix().into_iter().enumerate() {
            let before = fleet.count("transitions");
            let (text, list) = (item.to_string(), json!([item]).to_string());
            let zipped = gzip(format!("{text}\n").as_bytes());
            let answer = match nth % 4 {
                0 => fleet.tell(token, path, &[], text.as_bytes()),
                1 => fleet.tell(token, path, &[], list.as_bytes()),
                2 => fleet.tell(token, path, &[("content-encoding", "gzip")], &zipped),
                _ => fleet.tell(token, path, &[], format!("\n{text}\n\n").as_bytes()),
            };
            let said = answer.json();
            if allowed[column] {
                assert_eq!((answer.status, &said["rejected"]), (200, &json!(0)), "{name} tells {what}: {said}");
                continue;
            }
            assert_eq!((answer.status, &said["rejected"]), (400, &json!(1)), "{name} tells {what}: {said}");
            let (title, detail) = (&said["items"][0]["title"], said["items"][0]["detail"].as_str().unwrap());
            assert_eq!(said["items"][0]["index"], 0);
            assert!(!title.as_str().unwrap().is_empty() && detail.starts_with("The token tells of "), "{what}: {said}");
            assert_eq!(fleet.count("transitions"), before, "{name} tells {what}");
        }
        let sources = fleet.rows("SELECT DISTINCT source FROM reconcilers ORDER BY source");
        assert_eq!(sources, [json!({"source": "push"}), json!({"source": format!("token/{name}")})]);
    }
}

#[test]
fn what_is_not_its_own_is_refused_item_by_item_and_the_rest_of_the_batch_is_taken() {
    let fleet = Fleet::start();
    let own = |name: &str| descriptor("shop", name, &format!("shop-{name}"), "1.0", 'a');
    let batch = |name: &str| {
        vec![
            resource(name, &own(name)),
            resource(&format!("{name}-bank"), &descriptor("bank", name, "bank", "1.0", 'a')),
            json!({"kind": "nonsense"}),
            resource(&format!("{name}-2"), &own(&format!("{name}-2"))),
        ]
    };
    let events = |name: &str| {
        let event =
            |object: Value| if object["spec"].is_null() { object } else { json!({"type": "ADDED", "object": object}) };
        lines(&batch(name).into_iter().map(event).collect::<Vec<_>>())
    };
    let forms = [
        ("lines", lines(&batch("lines")).into_bytes()),
        ("array", json!(batch("array")).to_string().into_bytes()),
        ("list", json!({"apiVersion": "v1", "kind": "List", "items": batch("list")}).to_string().into_bytes()),
        ("events", events("events").into_bytes()),
        (
            "pretty",
            batch("pretty").iter().map(|i| serde_json::to_string_pretty(i).unwrap()).collect::<String>().into_bytes(),
        ),
        ("gzip", gzip(lines(&batch("gzip")).as_bytes())),
    ];
    for (form, body) in forms {
        let headers: &[_] = if form == "gzip" { &[("content-encoding", "gzip")] } else { &[] };
        let answer = fleet.tell(&fleet.shop, "ingest", headers, &body);
        let said = answer.json();
        assert_eq!(
            (answer.status, &said["accepted"], &said["rejected"]),
            (207, &json!(2), &json!(2)),
            "{form}: {said}"
        );
        let refused: Vec<_> = said["items"].as_array().unwrap().iter().map(|i| i["index"].as_u64().unwrap()).collect();
        assert_eq!(refused, [1, 2], "{form}: {said}");
        assert_eq!(said["items"][0]["title"], "the workspace bank is not one of the token's");
    }
    assert_eq!(fleet.count("deployment_targets WHERE workspace = 'bank'"), 1);
    assert_eq!(fleet.count("deployment_targets WHERE workspace = 'shop'"), 13);
}

#[test]
fn what_hangs_on_an_item_of_the_same_batch_is_taken_with_it() {
    let fleet = Fleet::start();
    let object = resource("new", &descriptor("shop", "new", "shop-new", "1.0", 'c'));
    let reconciler = json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Reconciler", "metadata": {"name": "r"},
        "spec": {"hostName": "eu-1", "reconcilerName": "new", "reconcilerType": "flux",
            "manifestsEndpoint": "https://git.example/shop-new/dev/web",
            "deployment": {"gitOpsCommitId": commit('c'), "status": "success"}},
    });
    let batch = [reconciler, object.clone(), json!({"type": "DELETED", "object": object})];
    let answer = fleet.tell(&fleet.shop, "ingest", &[], lines(&batch).as_bytes());
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(3)), "{}", answer.text());
    assert_eq!(fleet.count("transitions WHERE reconciler = 'new'"), 1);
    assert_eq!(fleet.count("deployment_targets WHERE deployment_target = 'new' AND retired_at IS NOT NULL"), 1);
}

#[test]
fn a_name_that_another_has_taken_takes_nothing_from_him() {
    let fleet = Fleet::start();
    let banks = resource("web", &descriptor("bank", "edge", "bank", "2.0", 'b'));
    for source in ["push", "cluster/eu"] {
        let path = format!("ingest?source={source}");
        assert_eq!(fleet.tell(&fleet.admin, &path, &[], banks.to_string().as_bytes()).status, 200);
        let before = fleet.target("bank");
        // The same kind, namespace and name, and it says the same of its source.
        let mine = resource("web", &descriptor("shop", "edge", "shop", "2.0", 'b'));
        let answer = fleet.tell(&fleet.shop, &path, &[], mine.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let gone = json!({"type": "DELETED", "object": mine}).to_string();
        assert_eq!(fleet.tell(&fleet.shop, &path, &[], gone.as_bytes()).status, 200);
        assert_eq!(fleet.target("bank"), before, "{source}");
        let filed = fleet.count(&format!("system.sources WHERE source = 'token/shop/{source}' AND accepted > 0"));
        assert_eq!(filed, 1, "it is filed under a name of its own");
    }
}

/// Gives a token of the file another restriction.
fn change(fleet: &Fleet, name: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(&fleet.file).unwrap();
    let (before, entry) = text.split_once(&format!("- name: {name}\n")).unwrap();
    assert!(entry.contains(from), "{text}");
    std::fs::write(&fleet.file, format!("{before}- name: {name}\n{}", entry.replacen(from, to, 1))).unwrap();
}

#[test]
fn what_a_token_declared_before_it_was_narrowed_is_out_of_its_reach() {
    let fleet = Fleet::start();
    let team = token(&fleet.file, "team", "report", &["--workspaces", "bank,team"]);
    let own = resource("web", &descriptor("team", "edge", "team", "1.0", 'a'));
    let banks = resource("web", &descriptor("bank", "edge", "bank", "3.0", 'c'));
    let tell = |object: &Value| fleet.tell(&team, "ingest", &[], object.to_string().as_bytes());
    while tell(&banks).status == 401 {}
    let before = fleet.target("bank");
    change(&fleet, "team", "- bank\n", "- other\n");
    while tell(&banks).status == 200 {}
    let refused = tell(&own);
    assert_eq!(
        refused.problem(400),
        "no item was taken: the name stands for something that is not the token's any more"
    );
    let gone = tell(&json!({"type": "DELETED", "object": own}));
    assert_eq!(gone.json()["items"][0]["title"], refused.json()["items"][0]["title"]);
    assert_eq!(fleet.target("bank"), before);
    let other = resource("web-2", &descriptor("team", "edge", "team", "1.0", 'a'));
    assert_eq!(tell(&other).status, 200, "under another name it is taken");
}

/// A body that comes in pieces.
struct Pieces(std::net::TcpStream);

impl Pieces {
    fn open(fleet: &Fleet, token: &str) -> Pieces {
        let mut stream = fleet.hub.connect();
        write!(
            stream,
            "POST /api/v1/ingest/reconcilers HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        )
        .unwrap();
        Pieces(stream)
    }

    /// What is sent to a hub that has answered already is lost; the answer counts.
    fn send(&mut self, item: &Value) {
        let line = format!("{item}\n");
        let _ = write!(self.0, "{:x}\r\n{line}\r\n", line.len());
    }
}

#[test]
fn a_stream_ends_once_its_token_is_revoked_or_changed_whether_or_not_anything_comes() {
    let fleet = Fleet::start();
    let all = token(&fleet.file, "all", "report", &[]);
    let told = |at| report("us-1", "shop", "shop", at, "failure");
    while fleet.tell(&all, "ingest/reconcilers", &[], told('a').to_string().as_bytes()).status == 401 {}
    let begun = |token: &str, at: char| {
        let mut pieces = Pieces::open(&fleet, token);
        pieces.send(&report("eu-1", "shop", "shop", at, "success"));
        while fleet.count(&format!("transitions WHERE commit = 'sha1:{}'", commit(at))) == 0 {}
        pieces
    };
    let streams = [(&fleet.shop, "2c"), (&fleet.eu, "3d"), (&all, "4e")]
        .map(|(token, at)| [0, 1].map(|nth| begun(token, at.chars().nth(nth).unwrap())));
    change(&fleet, "shop", "- shop\n", "- other\n");
    for name in ["eu", "all"] {
        let revoked = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["token", "revoke", "--name", name, "--tokens", fleet.file.to_str().unwrap()])
            .env_clear()
            .status();
        assert!(revoked.unwrap().success());
    }
    while fleet.tell(&all, "ingest/reconcilers", &[], b"{}").status != 401 {}
    let ends =
        [(401, "the token was changed meanwhile"), (401, "the token is not known"), (401, "the token is not known")];
    for ([mut silent, mut talking], (status, title)) in streams.into_iter().zip(ends) {
        talking.send(&report("eu-1", "shop", "shop", 'f', "success"));
        for pieces in [&mut silent, &mut talking] {
            let answer = Answer::read(&mut pieces.0);
            assert_eq!(answer.problem(status), title);
            assert_eq!(answer.json()["accepted"], 1);
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    assert_eq!(fleet.count(&format!("transitions WHERE commit = 'sha1:{}'", commit('f'))), 0);
}

#[test]
fn one_restriction_holds_for_reading_and_for_reports() {
    let fleet = Fleet::start();
    let ask = |path: &str| {
        let bearer = format!("Bearer {}", fleet.shop);
        fleet.hub.ask("GET", path, &[("authorization", &bearer)], b"")
    };
    assert_eq!(ask("/api/v1/deployment-targets?fresh=true").rows().len(), 1);
    let item = report("eu-1", "shop", "shop", 'b', "failure").to_string();
    assert_eq!(fleet.tell(&fleet.shop, "ingest/reconcilers", &[], item.as_bytes()).status, 200);
    let seen = ask("/api/v1/reconcilers?fresh=true").rows();
    assert!(seen.len() == 2 && seen.iter().any(|r| r["status"] == "failure"), "{seen:?}");
    assert_eq!(ask("/metrics").status, 403);
    let reader = fleet.tell(&fleet.eu, "sql", &[], b"SELECT 1");
    assert_eq!(reader.problem(403), "the token lacks the scope 'read'");
}
