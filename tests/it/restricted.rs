//! Tokens that see a part of the fleet: what they do not see is in no answer.
//!
//! Two teams share a fleet. Whatever belongs to the other team alone has `zebra` in its name, and whatever belongs to a host of
//! another region `quagga`; neither word may come out where it is not seen, whichever way is tried.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use serde_json::{Value, json};

use crate::hub::{Answer, TestHub, TestHubBuilder, commit, token};

/// A hub with two teams, and its tokens.
struct Fleet {
    hub: TestHub,
    admin: String,
    /// Sees the workspace `shop`.
    shop: String,
    /// Sees hosts of the region `eu`.
    eu: String,
    folder: tempfile::TempDir,
}

/// Policies of both teams.
const POLICIES: &str = "
policies:
  - {name: zebra-slow, for: {workspace: [zebra]}, soak: 15m}
  - {name: both, for: {workspace: [shop, zebra], environment: [nowhere]}}
  - {name: named, soak: 1m}
";

fn target(team: &str, environment: &str, version: &str, at: char) -> Value {
    json!({
        "workspace": team, "application": format!("{team}-app"), "workload": format!("{team}-web"),
        "environment": environment, "deployment_target": format!("{team}-edge"), "version": version,
        "manifests": {"repo": format!("https://git.example/{team}/gitops"), "branch": environment, "path": "web"},
        "gitops_revision": format!("{environment}@sha1:{}", commit(at)), "author": format!("{team}@example.org"),
        "contact": format!("{team}-oncall"), "source_commit": commit('f'),
        "source": {"repo": format!("https://git.example/{team}/src"), "branch": "main", "path": "."},
    })
}

fn report(host: &str, team: &str, environment: &str, at: char, status: &str) -> Value {
    json!({
        "host": host, "reconciler": format!("{team}-{environment}"), "reconciler_type": "flux", "status": status,
        "manifests_endpoint": format!("https://git.example/{team}/gitops/{environment}/web"),
        "commit": commit(at), "message": format!("{team} on {host}: {status}"),
    })
}

impl Fleet {
    fn start() -> Fleet {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.yaml");
        let admin = token(&file, "admin", "admin", &[]);
        let shop = token(&file, "shop", "read", &["--workspaces", "shop"]);
        let eu = token(&file, "eu", "read", &["--hosts", "region=eu"]);
        let policies = folder.path().join("policies.yaml");
        fs::write(&policies, POLICIES).unwrap();
        let hub = TestHubBuilder::new()
            .with_arg("--tokens", file.to_str().unwrap())
            .with_arg("--policies", policies.to_str().unwrap())
            .spawn();
        let fleet = Fleet { hub, admin, shop, eu, folder };
        let push = |kind: &str, objects: &[Value]| {
            let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
            let answer = fleet.send(
                &fleet.admin,
                "POST",
                &format!("/api/v1/ingest/{kind}"),
                "application/x-ndjson",
                &lines.join("\n"),
            );
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        let labels = |region: &str| json!({"region": region, "ring": "1"});
        push(
            "hosts",
            &[
                json!({"name": "eu-1", "labels": labels("eu")}),
                json!({"name": "us-quagga", "labels": labels("us-quagga"), "contact": "quagga-oncall"}),
                json!({"name": "zebra-only", "labels": labels("eu")}),
                json!({"name": "zebra-missing", "labels": labels("eu"),
                    "expects": [{"workload": "zebra-web", "environment": "dev", "deployment_target": "zebra-edge"}]}),
                json!({"name": "us-quagga-missing", "labels": labels("us-quagga"),
                    "expects": [{"workload": "shop-web", "environment": "dev", "deployment_target": "shop-edge"}]}),
            ],
        );
        // Hosts that select say whose things they run, and hosts report what nobody wants.
        let selector = json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop", "zebra"]}]});
        push("hosts", &[json!({"name": "eu-1", "labels": labels("eu"), "expects_selector": selector})]);
        push("reconcilers", &[report("us-quagga", "us-quagga", "dev", 'a', "success")]);
        for (at, version) in [('a', "1.0"), ('b', "2.0")] {
            push(
                "descriptors",
                &[
                    target("shop", "dev", version, at),
                    target("shop", "prod", version, at),
                    target("zebra", "dev", &format!("zebra-{version}"), at),
                    target("zebra", "zebra-prod", &format!("zebra-{version}"), at),
                ],
            );
            let failing = if at == 'b' { "failure" } else { "success" };
            push(
                "reconcilers",
                &[
                    report("eu-1", "shop", "dev", at, "success"),
                    report("us-quagga", "shop", "dev", at, failing),
                    report("eu-1", "zebra", "dev", at, failing),
                    report("zebra-only", "zebra", "dev", at, "success"),
                    report("zebra-only", "zebra", "zebra-prod", at, failing),
                ],
            );
        }
        let verification = |team: &str| json!({"name": format!("{team}-smoke"), "workspace": team, "workload": format!("{team}-web"), "version": "2.0", "result": "passed", "message": team});
        for team in ["shop", "zebra"] {
            let body = verification(team).to_string();
            let answer = fleet.send(&fleet.admin, "POST", "/api/v1/rollouts/verifications", "application/json", &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        // From now on every answer is made of all this.
        fleet.sql(&fleet.admin, "SELECT 1").rows();
        fleet
    }

    fn send(&self, token: &str, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.hub.ask(method, path, &[("authorization", &bearer), ("content-type", content_type)], body.as_bytes())
    }

    fn get(&self, token: &str, path: &str) -> Answer {
        self.send(token, "GET", path, "text/plain", "")
    }

    fn sql(&self, token: &str, statement: &str) -> Answer {
        self.send(token, "POST", "/api/v1/sql?fresh=true", "text/plain", statement)
    }

    /// Every path of the API that is asked with GET, ids and names filled in from what the administrator sees.
    fn paths(&self) -> Vec<String> {
        let document = self.get(&self.admin, "/openapi.json").json();
        let mut all = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            if operations.get("get").is_none() || path.contains("/events") || path.ends_with("/changes") {
                continue;
            }
            let Some((before, _)) = path.split_once('{') else {
                all.push(path.clone());
                continue;
            };
            match before {
                "/api/v1/variables/" => {
                    let names =
                        ["workspaces", "applications", "workloads", "environments", "deployment-targets", "versions"];
                    let others = ["commits", "hosts", "cluster-types", "rings", "regions", "statuses", "drifts"];
                    all.extend(names.iter().chain(&others).map(|name| format!("{before}{name}")));
                }
                "/api/v1/alerts/" | "/api/v1/badges/" | "/docs/" => all.push(path.replace(['{', '}'], "")),
                _ => {
                    for row in self.get(&self.admin, before.trim_end_matches('/')).rows() {
                        let id =
                            row.as_object().unwrap().iter().find(|(name, _)| name.ends_with("_id")).map(|(_, id)| id);
                        all.push(format!("{before}{}", id.and_then(Value::as_str).unwrap_or_default()));
                    }
                }
            }
        }
        all
    }

    /// What a token gets of every path; those it may not ask are in the second list.
    #[track_caller]
    fn walk(&self, token: &str, word: &str) -> (usize, BTreeSet<String>) {
        let (mut shown, mut closed) = (0, BTreeSet::new());
        for path in self.paths() {
            // Both tokens ask while the other's answer is kept: neither may be given the other's.
            let all = self.get(&self.admin, &path);
            let part = self.get(token, &path);
            if part.status == 403 {
                closed.insert(path);
                continue;
            }
            assert!(!part.text().to_lowercase().contains(word), "{path}: {}", part.text());
            assert!(!format!("{:?}", part.headers).contains(word), "{path}: {:?}", part.headers);
            shown += usize::from(all.text().contains(word) && part.status == 200);
            if let (Some(all), Some(part)) = (all.header("etag"), part.header("etag")) {
                assert_ne!(all, part, "{path}");
            }
        }
        (shown, closed)
    }

    /// Every table and view there is, as the administrator sees them.
    fn tables(&self) -> Vec<String> {
        let all = "SELECT concat(table_schema, '.', table_name) AS name FROM information_schema.tables WHERE table_schema <> 'information_schema'";
        self.sql(&self.admin, all).rows().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn no_route_shows_another_workspace_to_a_token_that_sees_one() {
    let fleet = Fleet::start();
    let (shown, closed) = fleet.walk(&fleet.shop, "zebra");
    assert!(shown >= 20, "only {shown} routes told a part of what they have");
    let about_the_hub = ["/api/v1/alerts/hub", "/api/v1/backup", "/api/v1/check", "/metrics"];
    assert_eq!(closed.iter().map(String::as_str).collect::<Vec<_>>(), about_the_hub);
    assert_eq!(fleet.get(&fleet.shop, "/metrics").problem(403), "the token sees only a part of the fleet");
    assert_eq!(fleet.get(&fleet.shop, "/api/v1/changes?since=0").status, 403);
    let theirs = fleet.get(&fleet.shop, "/api/v1/views/environment-state").rows();
    assert_eq!(theirs.len(), 3, "{theirs:?}");
    assert_eq!(fleet.get(&fleet.shop, "/api/v1/views/host-state?host=eu-1").rows().len(), 1, "also about one host");
    let hosts = fleet.get(&fleet.shop, "/api/v1/hosts").rows();
    let hosts: Vec<&str> = hosts.iter().map(|h| h["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["eu-1", "us-quagga", "us-quagga-missing"], "those that run or should run what is theirs");
}

#[test]
fn no_route_shows_hosts_without_the_labels_or_counts_them() {
    let fleet = Fleet::start();
    let (shown, _) = fleet.walk(&fleet.eu, "quagga");
    assert!(shown >= 8, "only {shown} routes told a part of what they have");
    let one = |path: &str| fleet.get(&fleet.eu, path).rows().remove(0);
    let state = one("/api/v1/views/environment-state?workspace=shop&environment=dev");
    assert_eq!((&state["reconcilers"], &state["status"]), (&json!(1), &json!("success")));
    let rollout = one("/api/v1/rollouts?workspace=shop&environment=dev&version=2.0");
    assert_eq!((&rollout["total"], &rollout["verdict"]), (&json!(1), &json!("complete")));
    let history = one("/api/v1/views/environment-history?workspace=shop&environment=dev&version=2.0");
    assert_eq!((&history["success"], &history["failure"]), (&json!(1), &json!(0)));
}

#[test]
fn no_statement_sees_past_a_restriction() {
    let fleet = Fleet::start();
    let tables = fleet.tables();
    assert!(tables.len() > 40, "{tables:?}");
    for (token, word) in [(&fleet.shop, "zebra"), (&fleet.eu, "quagga")] {
        let mut told = 0;
        for table in &tables {
            let part = fleet.sql(token, &format!("SELECT * FROM {table}"));
            if table.starts_with("system.") {
                assert_eq!(part.status, 400, "{table}: {}", part.text());
                continue;
            }
            assert_eq!(part.status, 200, "{table}: {}", part.text());
            assert!(!part.text().contains(word), "{table}: {}", part.text());
            told += usize::from(fleet.sql(&fleet.admin, &format!("SELECT * FROM {table}")).text().contains(word));
        }
        assert!(told >= 15, "only {told} tables have anything with {word}");
        for statement in [
            "WITH a AS (SELECT * FROM hosts) SELECT * FROM a UNION ALL SELECT * FROM hosts",
            "SELECT h.host, (SELECT max(host) FROM hosts) AS m FROM hosts h LEFT JOIN reconcilers r ON true",
            "SELECT * FROM hosts WHERE host IN (SELECT host FROM reconcilers) OR NOT EXISTS (SELECT 1 FROM hosts x WHERE x.host = hosts.host)",
            "SELECT r.message FROM koh.public.reconcilers r FULL JOIN transitions t USING (host)",
            "SELECT * FROM deployment_targets ORDER BY manifests_endpoint LIMIT 1000 OFFSET 0",
            "SELECT array_agg(message) FROM transitions",
            "EXPLAIN SELECT * FROM hosts",
            "SELECT * FROM information_schema.columns",
            "SELECT * FROM hosts WHERE host LIKE '%a%' OR 1 = 1",
        ] {
            let part = fleet.sql(token, statement);
            assert_eq!(part.status, 200, "{statement}: {}", part.text());
            assert!(!part.text().contains(word), "{statement}: {}", part.text());
        }
        for (format, statement) in ["csv", "ndjson", "arrow"].map(|format| (format, "SELECT * FROM transitions")) {
            let path = format!("/api/v1/sql?format={format}&fresh=true");
            let part = fleet.send(token, "POST", &path, "text/plain", statement);
            assert!(part.status == 200 && !part.text().contains(word), "{format}");
        }
        let counted = |token: &str| fleet.sql(token, "SELECT count(*) AS n FROM transitions").rows()[0]["n"].as_i64();
        assert!(counted(token) < counted(&fleet.admin) && counted(token) > Some(0));
    }
}

#[test]
fn the_gate_judges_what_is_seen_and_nothing_else() {
    let fleet = Fleet::start();
    let ask = |token: &str, query: &str| fleet.get(token, &format!("/api/v1/rollouts/status?{query}")).json();
    let zebra = "environment=dev&workload=zebra-web&version=zebra-2.0";
    assert_eq!(ask(&fleet.admin, zebra)["verdict"], "failed");
    assert_eq!(ask(&fleet.shop, zebra)["verdict"], "no_targets");
    assert_eq!(ask(&fleet.shop, &format!("source_commit={}", commit('f')))["targets"].as_array().unwrap().len(), 2);
    let shop = "environment=dev&workload=shop-web&version=2.0";
    let (all, eu) = (ask(&fleet.admin, shop), ask(&fleet.eu, shop));
    assert_eq!((&all["verdict"], &all["total"]), (&json!("failed"), &json!(3)));
    assert_eq!((&eu["verdict"], &eu["total"]), (&json!("complete"), &json!(1)), "{eu}");
    // Asked for other hosts than those that are seen, none is left.
    assert_eq!(ask(&fleet.eu, &format!("{shop}&region=us-quagga"))["total"], 0);
    // Who waits for the same question does not get the answer of who sees more.
    for token in [&fleet.admin, &fleet.eu, &fleet.admin] {
        let waited = ask(token, &format!("{shop}&wait=1s"));
        assert_eq!(waited["total"], if token == &fleet.eu { 1 } else { 3 });
    }
    let holds_up = fleet.get(&fleet.eu, &format!("/api/v1/rollouts/hosts?{shop}")).rows();
    assert!(holds_up.is_empty(), "{holds_up:?}");

    let subscribers = |token: &str, team: &str| {
        let body = json!({"manifests_endpoint": format!("https://git.example/{team}/gitops/dev/web"), "commit_id": commit('b')});
        let answer = fleet.send(token, "POST", "/deployment_state", "application/json", &body.to_string());
        answer.json()["total_subscribers"].as_u64().unwrap()
    };
    assert_eq!((subscribers(&fleet.admin, "zebra"), subscribers(&fleet.shop, "zebra")), (2, 0));
    assert_eq!((subscribers(&fleet.shop, "shop"), subscribers(&fleet.eu, "shop")), (2, 1));
}

#[test]
fn what_hosts_that_are_not_seen_did_before_is_no_past_of_those_that_are() {
    let fleet = Fleet::start();
    let reports = [report("eu-1", "shop", "dev", 'c', "failure"), report("us-quagga", "shop", "dev", 'c', "failure")];
    for (kind, objects) in [("descriptors", vec![target("shop", "dev", "3.0", 'c')]), ("reconcilers", reports.to_vec())]
    {
        let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
        let path = format!("/api/v1/ingest/{kind}");
        assert_eq!(fleet.send(&fleet.admin, "POST", &path, "application/x-ndjson", &lines.join("\n")).status, 200);
    }
    // Version 2.0 failed on the host of the other region, and was complete on that of this one.
    for wait in ["", "&wait=1s"] {
        let question = format!("/api/v1/rollouts/status?environment=dev&workload=shop-web&version=3.0{wait}");
        for (token, good) in [(&fleet.admin, "1.0"), (&fleet.eu, "2.0"), (&fleet.shop, "1.0"), (&fleet.eu, "2.0")] {
            let answer = fleet.get(token, &question).json();
            assert_eq!(
                (&answer["verdict"], &answer["last_good"]["version"]),
                (&json!("failed"), &json!(good)),
                "{answer}"
            );
        }
    }
}

#[test]
fn the_policies_of_others_are_neither_shown_nor_taken() {
    let fleet = Fleet::start();
    let names = |token: &str| {
        let rows = fleet.get(token, "/api/v1/rollouts/policies").rows();
        rows.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&fleet.admin), ["zebra-slow", "both", "named", "default"]);
    assert_eq!(names(&fleet.shop), ["both", "named", "default"]);
    let ask = |token: &str, policy: &str| {
        let question = "environment=dev&workload=shop-web&version=2.0";
        fleet.get(token, &format!("/api/v1/rollouts/status?{question}&policy={policy}"))
    };
    assert_eq!((ask(&fleet.admin, "zebra-slow").status, ask(&fleet.shop, "named").status), (200, 200));
    let (theirs, none) = (ask(&fleet.shop, "zebra-slow"), ask(&fleet.shop, "nothing"));
    assert_eq!((theirs.status, none.status), (400, 400));
    assert_eq!(theirs.json()["detail"], none.json()["detail"], "one that is not seen is none");
    assert!(!none.text().contains("zebra"), "{}", none.text());
}

#[test]
fn a_token_that_is_taken_back_or_made_narrower_ends_what_it_let_in() {
    let fleet = Fleet::start();
    let open = |token: &str, path: &str| {
        let mut stream = fleet.hub.connect();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let question = "environment=dev&workload=shop-web&version=2.0&soak=9h";
    let mut feed = open(&fleet.admin, "/api/v1/changes?follow=true");
    let mut events = open(&fleet.shop, &format!("/api/v1/rollouts/events?{question}"));
    let mut poll = open(&fleet.shop, &format!("/api/v1/rollouts/status?{question}&wait=10m"));
    let mut first = [0; 64];
    for stream in [&mut feed, &mut events] {
        stream.read_exact(&mut first).unwrap();
        assert!(String::from_utf8_lossy(&first).contains(" 200 "), "{}", String::from_utf8_lossy(&first));
    }
    let file = fleet.folder.path().join("tokens.yaml");
    let entries = fs::read_to_string(&file).unwrap();
    let revoked = entries.replacen("name: admin", "name: other", 1).replacen("- admin", "- report", 1);
    fs::write(&file, revoked.replace("- shop", "- bank")).unwrap();
    // Each ends by itself, long before ten minutes are over: reading to the end is what waits for it.
    let mut rest = String::new();
    feed.read_to_string(&mut rest).unwrap();
    events.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "both streams end as streams do: {rest}");
    assert_eq!(Answer::read(&mut poll).problem(401), "the token was changed meanwhile");
    assert_eq!(fleet.get(&fleet.admin, "/api/v1/hosts").status, 403);
}

#[test]
fn a_tag_of_somebody_who_sees_more_is_no_tag_of_mine() {
    let fleet = Fleet::start();
    let path = "/api/v1/hosts";
    let tag = fleet.get(&fleet.admin, path).header("etag").unwrap().to_owned();
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        fleet.hub.ask("GET", path, &[("authorization", &bearer), ("if-none-match", &tag)], b"").status
    };
    assert_eq!((with(&fleet.admin), with(&fleet.shop)), (304, 200));
}

#[test]
fn a_token_for_a_part_is_no_administrator_and_the_list_says_what_it_is_restricted_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let koh = |args: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_koh")).args(args).env_clear().output().unwrap();
        (ended.status.success(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    };
    let name = file.to_str().unwrap();
    let create = ["token", "create", "--name", "x", "--tokens", name, "--scopes"];
    let (made, said) = koh(&[&create[..], &["read,admin", "--workspaces", "shop"]].concat());
    assert!(!made && said.contains("admin is everything"), "{said}");
    let nameless = ["token", "create", "--name", "a/b", "--tokens", name, "--scopes", "report", "--hosts", "region=eu"];
    let (made, said) = koh(&nameless);
    assert!(!made && said.contains("letters, digits"), "{said}");
    assert!(!file.exists(), "nothing is half made");
    let (made, said) = koh(&[&create[..], &["read", "--hosts", "eu"]].concat());
    assert!(!made && said.contains("key=value"), "{said}");
    assert!(
        koh(&[&create[..], &["read,report", "--workspaces", "shop,bank", "--hosts", "region=eu,region=us"]].concat()).0
    );
    let (_, listed) = koh(&["token", "list", "--tokens", name]);
    assert_eq!(
        listed,
        "x\tread,report\tdoes not expire\trestricted to workspaces bank or shop, hosts with region eu or us\n"
    );
}
