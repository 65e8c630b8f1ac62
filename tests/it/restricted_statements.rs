//! Whatever a restricted token tells, nothing changes outside its part.
//!
//! Random statements of two teams about hosts of two regions, some of them by somebody who may tell everything, so that manifests,
//! reconcilers and names of resources come to be shared; then a restricted token tries the same. What an unrestricted observer
//! sees of the rest is the same before and after.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};

use crate::restricted_reports::{Fleet, descriptor, report, resource};

/// A route, and what is told there.
type Told = (&'static str, Value);

/// A target of a team and its manifests, which may be on a branch of the other team.
fn wanted() -> impl Strategy<Value = Value> {
    let repo = prop_oneof![6 => Just(None), 1 => Just(Some("shop")), 1 => Just(Some("bank"))];
    let path = prop::sample::select(vec!["web", "other"]);
    (any::<bool>(), 0..2u8, repo, path, 0..3u8, 0..4u8).prop_map(|(shop, name, repo, path, version, at)| {
        let team = if shop { "shop" } else { "bank" };
        let repo = repo.map_or_else(|| format!("{team}-{name}"), str::to_owned);
        let mut item = descriptor(team, &format!("edge-{name}"), &repo, &format!("{version}.0"), (b'a' + at) as char);
        item["manifests"]["path"] = json!(path);
        item
    })
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["eu-1", "us-1", "loose", "eu-2", "us-2"])
}

fn labels() -> impl Strategy<Value = Option<Value>> {
    let some = (prop::sample::select(vec!["eu", "us"]), 0..2u8);
    prop::option::of(some.prop_map(|(region, ring)| json!({"region": region, "ring": ring.to_string()})))
}

fn reported() -> impl Strategy<Value = Value> {
    let repo = prop::sample::select(vec!["shop", "bank", "shop-0", "shop-1", "bank-0", "bank-1", "nobody"]);
    let word = (0..4u8, prop::sample::select(vec!["success", "failure", "in_progress"]), labels());
    (host(), prop::sample::select(vec!["shop", "bank", "other"]), repo, word).prop_map(
        |(host, reconciler, repo, (at, status, labels))| {
            let mut item = report(host, reconciler, repo, (b'a' + at) as char, status);
            item["labels"] = labels.unwrap_or(Value::Null);
            item
        },
    )
}

fn declared() -> impl Strategy<Value = Value> {
    (host(), labels(), prop::option::of(0..2u8), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(host, labels, contact, expects, retired)| {
            let expected = json!([{"workload": "web", "environment": "dev", "deployment_target": "edge-1"}]);
            json!({
                "name": host, "labels": labels, "contact": contact.map(|c| c.to_string()),
                "expects": expects.then_some(expected), "retired": retired,
            })
        },
    )
}

fn judged() -> impl Strategy<Value = Value> {
    let workspace = prop::sample::select(vec!["shop", "bank", "*"]);
    (workspace, prop::sample::select(vec!["passed", "failed"]), 0..3u8).prop_map(|(workspace, result, version)| {
        json!({"name": "smoke", "workspace": workspace, "workload": "web", "version": format!("{version}.0"), "result": result})
    })
}

/// A time within the last hours, or some minutes ahead, or none.
fn time() -> impl Strategy<Value = Option<String>> {
    prop::option::of(
        (-7_200..240i64).prop_map(|seconds| koh::model::Micros::now().plus(seconds * 1_000_000).to_string()),
    )
}

fn told() -> impl Strategy<Value = Told> {
    let at = |mut item: Value, field: &str, time: Option<String>| {
        item[field] = json!(time);
        item
    };
    let gone = |mut item: Value, gone: bool| {
        item["deleted"] = json!(gone);
        item
    };
    let rare = || prop::bool::weighted(0.15);
    let flat = (wanted(), time(), rare())
        .prop_map(move |(item, time, is_gone)| ("ingest/descriptors", gone(at(item, "observed_at", time), is_gone)));
    let carried = (wanted(), time(), 0..3u8, rare()).prop_map(|(item, time, name, is_gone)| {
        let mut object = resource(&format!("web-{name}"), &item);
        object["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(time.unwrap_or_default());
        let kind = if is_gone { "DELETED" } else { "MODIFIED" };
        ("ingest", json!({"type": kind, "object": object}))
    });
    let real = (reported(), time(), rare())
        .prop_map(move |(item, time, is_gone)| ("ingest/reconcilers", gone(at(item, "reported_at", time), is_gone)));
    let hosts = (declared(), time()).prop_map(move |(item, time)| ("ingest/hosts", at(item, "reported_at", time)));
    let judged = judged().prop_map(|item| ("rollouts/verifications", item));
    prop_oneof![3 => flat, 3 => carried, 5 => real, 2 => hosts, 1 => judged]
}

/// The tables in which something is told of each object by itself; none of them adds up over objects.
const TABLES: [&str; 14] = [
    "workspaces",
    "applications",
    "workloads",
    "deployment_targets",
    "workload_versions",
    "assignments",
    "assignment_commits",
    "commit_log",
    "verifications",
    "hosts",
    "reconcilers",
    "reconciler_sources",
    "deployments",
    "transitions",
];
/// Whether a host is heard is told by whoever reports from it.
const HEARD: [&str; 5] = ["liveness", "liveness_since", "first_heard_at", "last_heard_at", "retired_at"];

impl Fleet {
    /// How many were taken, and how many not.
    fn push(&self, token: &str, all: &[Told]) -> [u64; 2] {
        let mut counted = [0, 0];
        for some in all.chunks(8) {
            let paths: BTreeSet<&str> = some.iter().map(|(path, _)| *path).collect();
            for path in paths {
                let told = some.iter().filter(|(to, _)| *to == path);
                let body: String = told.map(|(_, item)| format!("{item}\n")).collect();
                let said = self.tell(token, path, &[], body.as_bytes()).json();
                let count = |name: &str| said[name].as_u64().unwrap();
                counted[0] += count("accepted") + count("unchanged");
                counted[1] += count("rejected");
            }
        }
        counted
    }

    /// What there is outside a part.
    fn outside(&self, is_inside: &dyn Fn(&str, &Map<String, Value>) -> bool) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for table in TABLES {
            for row in self.rows(&format!("SELECT * FROM {table}")) {
                let Value::Object(mut row) = row else { panic!("{row}") };
                if is_inside(table, &row) {
                    continue;
                }
                let heard = |name: &str| match table {
                    "hosts" => HEARD.contains(&name),
                    "reconcilers" => name == "liveness",
                    _ => false,
                };
                // Numbers hold inside one generation.
                row.retain(|name, _| !name.ends_with("_no") && !heard(name));
                all.insert(format!("{table} {}", Value::Object(row)));
            }
        }
        all
    }
}

/// The repository of an endpoint; every branch is `dev`.
fn repository(place: &str) -> &str {
    place.split("/dev/").next().unwrap_or_default()
}

/// Whether a row belongs to the shop alone.
fn is_shops(shops: &BTreeSet<String>, table: &str, row: &Map<String, Value>) -> bool {
    if let Some(workspace) = row.get("workspace") {
        return workspace == "shop";
    }
    if table == "hosts" {
        return false;
    }
    let place = row.get("manifests_endpoint").or_else(|| row.get("repo"));
    place.and_then(Value::as_str).is_some_and(|place| shops.contains(place))
}

/// Endpoints and repositories in which the shop alone has, or may come to have, manifests.
fn shops_places(fleet: &Fleet) -> BTreeSet<String> {
    let rows = fleet.rows("SELECT DISTINCT workspace, manifests_endpoint FROM assignments");
    let places = |endpoint: &str| [repository(endpoint).to_owned(), endpoint.to_owned()];
    let of = |is_shop: bool| {
        let theirs = rows.iter().filter(move |row| (row["workspace"] == "shop") == is_shop);
        theirs.flat_map(|row| places(row["manifests_endpoint"].as_str().unwrap()))
    };
    let banks: BTreeSet<String> = of(false).collect();
    let fresh = ["shop", "shop-0", "shop-1"].iter().flat_map(|repo| {
        ["web", "other"].iter().flat_map(move |path| places(&format!("https://git.example/{repo}/dev/{path}")))
    });
    of(true).chain(fresh).filter(|place| !banks.contains(place)).collect()
}

fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 32 };
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_027),
        chosen => chosen,
    };
    ProptestConfig { cases, max_shrink_iters: 50, failure_persistence: None, rng_seed, ..default }
}

/// Pushes what somebody free told, then with each restricted token what it tries; how much of that was taken of each, and how much not.
fn push_all(free: &[Told], tried: &[Told]) -> Result<[[u64; 2]; 3], TestCaseError> {
    let fleet = Fleet::start();
    fleet.push(&fleet.admin, free);
    let mut counted = [[0; 2]; 3];
    let tokens = [(&fleet.shop, false, true), (&fleet.eu, true, false), (&fleet.both, true, true)];
    for ((token, hosts, teams), counted) in tokens.into_iter().zip(&mut counted) {
        let regions = fleet.rows("SELECT host, region FROM hosts");
        let named = |row: &Value| row["host"].as_str().unwrap().to_owned();
        let known: BTreeSet<String> = regions.iter().map(named).collect();
        let eu: BTreeSet<String> = regions.iter().filter(|row| row["region"] == "eu").map(named).collect();
        let shops = shops_places(&fleet);
        let elsewhere: BTreeSet<String> = fleet
            .rows("SELECT host, manifests_endpoint FROM transitions")
            .iter()
            .filter(|row| !is_shops(&shops, "transitions", row.as_object().unwrap()))
            .map(named)
            .collect();
        let inside = |table: &str, row: &Map<String, Value>| {
            let host = row.get("host").and_then(Value::as_str);
            // Of a host that nobody knew nothing could change, and one that runs nothing else is theirs.
            let is_theirs = table == "hosts"
                && host.is_some_and(|host| !known.contains(host) || (teams && !elsewhere.contains(host)));
            // A commit that nobody recorded is listed because somebody runs it.
            let is_run = hosts && table == "assignment_commits" && row["recorded"] == false;
            let in_eu = is_run || host.is_some_and(|host| eu.contains(host));
            is_theirs || ((!hosts || in_eu) && (!teams || is_shops(&shops, table, row)))
        };
        let before = fleet.outside(&inside);
        *counted = fleet.push(token, tried);
        let after = fleet.outside(&inside);
        let gone: Vec<_> = before.difference(&after).collect();
        let new: Vec<_> = after.difference(&before).collect();
        prop_assert!(gone.is_empty() && new.is_empty(), "hosts {hosts}, teams {teams}: {gone:#?} became {new:#?}");
    }
    Ok(counted)
}

#[test]
fn nothing_changes_outside_the_part_of_a_token() {
    let total = Cell::new([[0; 2]; 3]);
    let statements = (prop::collection::vec(told(), 0..12), prop::collection::vec(told(), 24..48));
    let run = TestRunner::new(cases()).run(&statements, |(free, tried)| {
        let counted = push_all(&free, &tried)?;
        total.set(std::array::from_fn(|token| std::array::from_fn(|i| total.get()[token][i] + counted[token][i])));
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    // A hub that takes nothing would change nothing, and one that is asked for nothing else would refuse nothing.
    let [shop, eu, both] = total.get();
    assert!(both[0] >= 10 && eu[0] >= 100 && shop[0] >= 100, "{total:?}");
    assert!(both[1] >= 100 && eu[1] >= 100 && shop[1] >= 100, "{total:?}");
}
