//! What dashboards ask for: values of variables, numbers, series over time, annotations, badges - also for names of any kind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};

const VARIABLES: [&str; 15] = [
    "workspaces",
    "applications",
    "workloads",
    "environments",
    "deployment-targets",
    "versions",
    "commits",
    "hosts",
    "cluster-types",
    "rings",
    "regions",
    "statuses",
    "drifts",
    "liveness",
    "verdicts",
];
const VIEWS: [&str; 18] = [
    "target-health",
    "environment-matrix",
    "environment-comparison",
    "graph-nodes",
    "graph-edges",
    "application-history",
    "workload-history",
    "rollout-durations",
    "promotion-waits",
    "silent-hosts",
    "dora-metrics",
    "reports",
    "host-timeline",
    "rollout-progress",
    "versions-over-time",
    "hosts-over-time",
    "transitions-over-time",
    "summary",
];
/// A name that means something to SQL, Grafana, HTML, and URLs.
const HOSTILE: &str = "a\"b'; drop table t;-- ${x} $__all <script>alert(1)</script> ü版 100% c,d/e";

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn named(environment: &str, workload: &str, version: &str, digit: char) -> String {
    let mut said: Value = serde_json::from_str(&descriptor("dev", version, &commit(digit))).unwrap();
    said["metadata"]["name"] = json!(format!("{digit}-{environment}"));
    said["spec"]["workload"]["name"] = json!(workload);
    said["spec"]["deploymentTarget"]["environment"] = json!(environment);
    said.to_string()
}

#[track_caller]
fn say(hub: &TestHub, line: &str) {
    let answer = hub.post("/api/v1/ingest/reconcilers", "application/json", line);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn at(line: &str, at: &str) -> String {
    let mut said: Value = serde_json::from_str(line).unwrap();
    said["reported_at"] = json!(at);
    said.to_string()
}

#[track_caller]
fn values(hub: &TestHub, query: &str) -> Vec<String> {
    let rows = hub.get(&format!("/api/v1/variables/{query}")).rows();
    rows.iter().map(|r| r["__value"].as_str().unwrap().to_owned()).collect()
}

/// Every column has one type in all rows, null aside, and all rows have the same columns.
#[track_caller]
fn typed(path: &str, rows: &[Value]) {
    let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        assert!(row.as_object().unwrap().keys().eq(rows[0].as_object().unwrap().keys()), "{path}: {row}");
        for (column, value) in row.as_object().unwrap() {
            types.entry(column).or_default().extend(match value {
                Value::Null => None,
                Value::String(_) => Some("text"),
                Value::Number(_) => Some("number"),
                Value::Bool(_) => Some("flag"),
                Value::Array(_) | Value::Object(_) => Some("nested"),
            });
        }
    }
    for (column, types) in types {
        assert!(types.len() <= 1 && !types.contains("nested"), "{path}.{column}: {types:?}");
    }
}

/// Version 1.0 in dev and prod, then 1.1 in dev, where one of two hosts fails at it.
fn fleet() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&[descriptor("dev", "1.0", &commit('a')), descriptor("prod", "1.0", &commit('a'))].join("\n"));
    for (host, environment) in [("h1", "dev"), ("h2", "dev"), ("h3", "prod")] {
        say(&hub, &report(host, environment, &commit('a'), "success"));
    }
    hub.push(&descriptor("dev", "1.1", &commit('b')));
    say(&hub, &report("h1", "dev", &commit('b'), "success"));
    say(&hub, &report("h2", "dev", &commit('b'), "failure"));
    hub.get("/api/v1/hosts?fresh=true");
    hub
}

#[test]
fn an_empty_hub_answers_everything_that_a_dashboard_asks() {
    let hub = TestHub::spawn();
    for name in VARIABLES {
        let rows = hub.get(&format!("/api/v1/variables/{name}?fresh=true")).rows();
        assert!(!rows.is_empty(), "{name}");
        typed(name, &rows);
    }
    assert_eq!(values(&hub, "hosts"), ["(none)"]);
    for name in VIEWS {
        assert_eq!(hub.get(&format!("/api/v1/views/{name}")).status, 200, "{name}");
    }
    let summary = hub.get("/api/v1/views/summary").rows();
    assert_eq!((summary.len(), &summary[0]["targets"], &summary[0]["in_sync_percent"]), (1, &json!(0), &json!(0)));
    assert!(hub.get("/api/v1/annotations").rows().is_empty());
    assert!(hub.get("/api/v1/badges/prod/web.svg").text().contains("unknown"));
}

#[test]
fn variables_are_distinct_sorted_chained_searched_and_cut() {
    let hub = fleet();
    assert_eq!(values(&hub, "environments"), ["dev", "prod"]);
    assert_eq!(values(&hub, "workloads?environment=%5B%22dev%22,%22prod%22%5D"), ["web"]);
    assert_eq!(values(&hub, "workloads?environment=nowhere"), ["(none)"]);
    assert_eq!(values(&hub, "versions"), ["1.1", "1.0"], "the newest first");
    assert_eq!(values(&hub, "versions?environment=prod"), ["1.0"]);
    assert_eq!(values(&hub, "commits?environment=dev").len(), 2);
    assert_eq!(values(&hub, "hosts"), ["h1", "h2", "h3"]);
    for all in ["", "All", "$__all", "*", "dev,prod"] {
        assert_eq!(values(&hub, &format!("hosts?environment={all}&workload=web")), ["h1", "h2", "h3"], "{all}");
    }
    assert_eq!(values(&hub, "hosts?environment=dev&from=now-1h".trim_end_matches("&from=now-1h")), ["h1", "h2"]);
    assert_eq!(values(&hub, "hosts?drift=failing"), ["h2"]);
    assert_eq!(values(&hub, "hosts?search=H3"), ["h3"]);
    assert_eq!(values(&hub, "drifts?search=sync&environment=dev"), ["in_sync"]);
    assert_eq!(values(&hub, "statuses"), ["success", "failure", "in_progress", "unknown", "null"]);
    let cut = hub.get("/api/v1/variables/hosts?limit=2");
    assert_eq!((cut.rows().len(), cut.header("x-kalypso-truncated")), (3, Some("true")));
    assert_eq!(cut.rows()[2], json!({"__text": "(more)", "__value": "(more)"}));
    assert!(hub.get("/api/v1/variables/colours").problem(404).contains("no variable 'colours'"));
    hub.get("/api/v1/variables/hosts?colour=red").problem(400);
    hub.get("/api/v1/variables/hosts?limit=5001").problem(400);
}

#[test]
fn a_summary_counts_what_the_filters_let_through() {
    let hub = fleet();
    let of = |query: &str| {
        let row = hub.get(&format!("/api/v1/views/summary?{query}")).rows().remove(0);
        ["targets", "targets_in_sync", "in_sync_percent", "hosts", "failing_hosts", "rollouts_failed"]
            .map(|c| row[c].as_i64().unwrap())
    };
    assert_eq!(of(""), [2, 1, 50, 3, 1, 1]);
    assert_eq!(of("environment=prod"), [1, 1, 100, 1, 0, 0]);
    assert_eq!(of("environment=dev&workload=web"), [1, 0, 0, 2, 1, 1]);
    assert_eq!(of("environment=nowhere"), [0, 0, 0, 0, 0, 0]);
    hub.get("/api/v1/views/summary?host=h1").problem(400);
}

#[test]
fn a_matrix_has_one_cell_per_component_and_environment() {
    let hub = fleet();
    let rows = hub.get("/api/v1/views/environment-matrix").rows();
    let cells: Vec<[&str; 3]> =
        rows.iter().map(|r| ["component", "environment", "deployed"].map(|c| r[c].as_str().unwrap())).collect();
    assert_eq!(cells, [["shop / store / web / edge", "dev", "1.1"], ["shop / store / web / edge", "prod", "1.0"]]);
    say(&hub, &report("h4", "dev", &commit('a'), "success"));
    let rows = hub.get("/api/v1/views/environment-matrix?fresh=true&environment=dev").rows();
    assert_eq!((&rows[0]["deployed"], &rows[0]["versions"]), (&json!("1.1 (2), 1.0 (1)"), &json!(2)));
}

#[test]
fn two_environments_are_compared_by_what_is_wanted_and_what_runs() {
    let hub = fleet();
    let compared = |query: &str| {
        let rows = hub.get(&format!("/api/v1/views/environment-comparison?{query}")).rows();
        typed("environment-comparison", &rows);
        rows.iter()
            .map(|r| {
                let texts = ["environment", "other_environment", "difference", "desired", "other_desired", "deployed"];
                let mut row = texts.map(|c| r[c].as_str().unwrap_or("-").to_owned()).join(" | ");
                row.push_str(&format!(" | {} {}", r["in_sync"], r["other_reconcilers"]));
                row
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(compared("environment=dev"), ["dev | prod | scheduled | 1.1 | 1.0 | 1.1 | 1 1"]);
    assert_eq!(compared("environment=prod&other_environment=dev&difference=scheduled").len(), 1);
    assert!(compared("environment=dev&other_environment=dev").is_empty());
    hub.push(&descriptor("prod", "1.1", &commit('b')));
    assert_eq!(compared("environment=dev&fresh=true"), ["dev | prod | deployed | 1.1 | 1.1 | 1.1 | 1 1"]);
    say(&hub, &report("h3", "prod", &commit('b'), "success"));
    assert_eq!(compared("environment=prod&fresh=true"), ["prod | dev | same | 1.1 | 1.1 | 1.1 | 1 2"]);
    hub.push(&descriptor("stage", "1.1", &commit('b')));
    assert_eq!(
        compared("fresh=true&environment=stage"),
        ["stage | dev | deployed | 1.1 | 1.1 | - | 0 2", "stage | prod | deployed | 1.1 | 1.1 | - | 0 1"],
        "nobody reports there"
    );
}

#[test]
fn a_rollout_is_in_a_range_until_it_is_over() {
    let hub = fleet();
    let of = |range: &str| {
        let rows = hub.get(&format!("/api/v1/rollouts?fresh=true&{range}")).rows();
        rows.iter().map(|r| format!("{} {}", r["environment"], r["version"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(of(""), ["dev 1.0", "dev 1.1", "prod 1.0"]);
    assert_eq!(of("from=4000000000000"), ["dev 1.1"], "the others are complete, and 1.1 may still be");
    assert!(of("to=2020-01-01T00:00:00Z").is_empty());
    hub.push(&descriptor("dev", "1.2", &commit('c')));
    assert_eq!(of("from=4000000000000"), ["dev 1.2"], "what is superseded is over");
}

/// Ids of nodes, and of the ends of edges.
#[track_caller]
fn drawn(hub: &TestHub, query: &str) -> (Vec<Value>, Vec<Value>) {
    let nodes = hub.get(&format!("/api/v1/views/graph-nodes?fresh=true&{query}")).rows();
    let edges = hub.get(&format!("/api/v1/views/graph-edges?fresh=true&{query}")).rows();
    typed("graph-nodes", &nodes);
    typed("graph-edges", &edges);
    let ids: BTreeSet<&str> = nodes.iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), nodes.len(), "an id names one node");
    for edge in &edges {
        assert!(
            ["source", "target"].iter().all(|end| ids.contains(edge[end].as_str().unwrap())),
            "{edge} leads nowhere"
        );
    }
    for node in &nodes {
        let shares = ["in_sync", "progressing", "drifted", "failing", "silent"].map(|s| node[s].as_f64().unwrap());
        let all: f64 = shares.iter().sum();
        assert!(all == 0.0 || (all - 1.0).abs() < 1e-9, "{node}");
    }
    (nodes, edges)
}

#[test]
fn a_graph_leads_from_workloads_over_targets_to_hosts() {
    let hub = TestHub::spawn();
    let (nodes, edges) = drawn(&hub, "");
    assert_eq!((nodes.len(), edges.len(), &nodes[0]["kind"]), (2, 1, &json!("nothing")), "never empty");
    let hub = fleet();
    let told = |rows: &[Value], columns: [&str; 4]| {
        let line = |row: &Value| columns.map(|c| row[c].as_str().unwrap_or("-").to_owned()).join(" | ");
        rows.iter().map(line).collect::<Vec<_>>()
    };
    let (nodes, edges) = drawn(&hub, "");
    assert_eq!(
        told(&nodes, ["kind", "title", "main", "second"]),
        [
            "workload | web | 2 targets | 2 of 3 in sync",
            "target | edge | 1.1 | 1 of 2 in sync",
            "target | edge | 1.0 | 1 of 1 in sync",
            "host | h1 | in sync | 1.1",
            "host | h2 | failing | 1.1",
            "host | h3 | in sync | 1.0",
        ]
        .map(str::to_owned)
    );
    let mut led = told(&edges, ["main", "second", "main", "second"]);
    led.sort();
    assert_eq!(led.len(), 5, "{led:?}");
    assert!(led.contains(&"dev | failed | dev | failed".to_owned()), "{led:?}");
    let (nodes, _) = drawn(&hub, "environment=prod");
    assert_eq!(nodes.len(), 3);
    assert_eq!(drawn(&hub, "environment=nowhere").0[0]["kind"], "nothing");
    let lines: Vec<String> = (0..25).map(|n| report(&format!("x{n:02}"), "prod", &commit('a'), "success")).collect();
    say(&hub, &lines.join("\n"));
    let (nodes, _) = drawn(&hub, "environment=prod");
    let last = nodes.last().unwrap();
    assert_eq!((&last["kind"], &last["title"], nodes.len()), (&json!("hosts"), &json!("14 more"), 15), "{last}");
    hub.get("/api/v1/views/graph-nodes?host=h1").problem(400);
}

#[test]
fn reports_come_newest_first_with_what_they_are_about_and_a_page_of_the_commit() {
    let hub = fleet();
    let rows = hub.get("/api/v1/views/reports?host=h2").rows();
    typed("reports", &rows);
    let told: Vec<[&str; 4]> = rows
        .iter()
        .map(|r| ["status", "version", "environment", "commit_url"].map(|c| r[c].as_str().unwrap()))
        .collect();
    let page = |digit: char| format!("https://git.example/shop/gitops/commit/{}", commit(digit));
    assert_eq!(told, [["failure", "1.1", "dev", &page('b')], ["success", "1.0", "dev", &page('a')]]);
    assert_eq!(hub.get("/api/v1/views/reports?host=h2&limit=1").rows()[0]["status"], "failure");
    assert!(hub.get("/api/v1/views/reports?to=2020-01-01T00:00:00Z").rows().is_empty());
}

#[test]
fn series_have_a_row_at_every_instant_and_end_with_what_is_so_now() {
    let hub = TestHub::spawn();
    let wanted = |version: &str, digit: char, when: &str| {
        let mut said: Value = serde_json::from_str(&descriptor("dev", version, &commit(digit))).unwrap();
        said["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(when);
        said.to_string()
    };
    hub.push(&wanted("1.0", 'a', "2026-01-01T00:00:00Z"));
    say(&hub, &at(&report("h1", "dev", &commit('a'), "success"), "2026-01-01T01:00:00Z"));
    say(&hub, &at(&report("h2", "dev", &commit('a'), "success"), "2026-01-01T02:00:00Z"));
    hub.push(&wanted("1.1", 'b', "2026-01-01T03:00:00Z"));
    say(&hub, &at(&report("h1", "dev", &commit('b'), "success"), "2026-01-01T03:30:00Z"));
    say(&hub, &at(&report("h2", "dev", &commit('b'), "failure"), "2026-01-01T03:30:00Z"));
    let of = |name: &str, count: &str, label: &str| {
        let range = "from=2026-01-01T00:00:00Z&to=2026-01-01T04:00:00Z&points=4&fresh=true";
        let rows = hub.get(&format!("/api/v1/views/{name}?{range}")).rows();
        typed(name, &rows);
        assert!(rows.windows(2).all(|w| w[0]["time"].as_str() <= w[1]["time"].as_str()), "{rows:?}");
        let mut series: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for row in &rows {
            series.entry(row[label].as_str().unwrap().to_owned()).or_default().push(row[count].as_i64().unwrap());
        }
        series
    };
    let expected = |told: &[(&str, &[i64])]| {
        told.iter().map(|(label, counts)| ((*label).to_owned(), counts.to_vec())).collect::<BTreeMap<_, _>>()
    };
    // At 0, 1, 2, 3 and 4 o'clock.
    assert_eq!(
        of("versions-over-time", "reconcilers", "version"),
        expected(&[("1.0", &[0, 1, 2, 2, 0]), ("1.1", &[0, 0, 0, 0, 2])])
    );
    assert_eq!(
        of("rollout-progress", "succeeded", "version"),
        expected(&[("1.0", &[0, 1, 2, 0, 0]), ("1.1", &[0, 0, 0, 0, 1])])
    );
    // In the hours that end at 1, 2, 3 and 4 o'clock.
    assert_eq!(
        of("transitions-over-time", "transitions", "status"),
        expected(&[("failure", &[0, 0, 0, 1]), ("success", &[1, 1, 0, 1])])
    );
    let now = hub.get("/api/v1/views/versions-over-time?points=2").rows();
    assert_eq!((now.len(), &now[2]["version"], &now[2]["reconcilers"]), (3, &json!("1.1"), &json!(2)));
    assert!(hub.get("/api/v1/views/versions-over-time?from=2999-01-01T00:00:00Z").rows().is_empty());
    hub.get("/api/v1/views/versions-over-time?points=1").problem(400);
    hub.get("/api/v1/views/versions-over-time?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").problem(400);
}

#[test]
fn annotations_tell_rollouts_rollbacks_failures_and_verifications_of_a_range() {
    let hub = fleet();
    hub.push(&descriptor("dev", "1.0", &commit('c')));
    let judged =
        json!({"name": "smoke", "environment": "dev", "workload": "web", "version": "1.1", "result": "failed"});
    let answer = hub.post("/api/v1/rollouts/verifications", "application/json", judged.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = hub.get("/api/v1/annotations?fresh=true&environment=dev").rows();
    typed("annotations", &rows);
    let titles: BTreeSet<&str> = rows.iter().map(|r| r["title"].as_str().unwrap()).collect();
    let expected = ["smoke failed", "web 1.0 back in dev", "web 1.0 in dev", "web 1.1 fails in dev", "web 1.1 in dev"];
    assert!(titles.into_iter().eq(expected), "{rows:?}");
    assert!(rows.windows(2).all(|w| w[0]["time"].as_str() <= w[1]["time"].as_str()));
    assert_eq!(hub.get("/api/v1/annotations?kind=failure").rows()[0]["tags"], "failure,dev,web");
    let cut = hub.get("/api/v1/annotations?limit=1&kind=rollout,rollback");
    assert_eq!((&cut.rows()[0]["kind"], cut.header("x-kalypso-truncated")), (&json!("rollback"), Some("true")));
    assert!(hub.get("/api/v1/annotations?to=2020-01-01T00:00:00Z").rows().is_empty());
    // A rollout that began before the range and is over before it is not in it.
    assert!(hub.get("/api/v1/annotations?kind=rollout&environment=prod&from=4000000000000").rows().is_empty());
}

#[test]
fn the_timeline_of_a_host_shows_its_reconcilers_and_its_liveness() {
    let hub = fleet();
    let rows = hub.get("/api/v1/views/host-timeline?host=h2").rows();
    let mut shown: Vec<(&str, &str, i64)> = rows
        .iter()
        .map(|r| (r["reconciler"].as_str().unwrap(), r["status"].as_str().unwrap(), r["code"].as_i64().unwrap()))
        .collect();
    shown.sort();
    assert_eq!(shown, [("", "online", 5), ("web", "failure", 3), ("web", "success", 1)]);
}

#[test]
fn a_badge_shows_version_and_state_and_can_neither_break_nor_run() {
    let hub = fleet();
    let badge = |path: &str| hub.get(&format!("/api/v1/badges/{path}"));
    let prod = badge("prod/web.svg");
    assert!(prod.text().contains("<title>web prod: 1.0 (success)</title>"), "{}", prod.text());
    assert_eq!(prod.header("content-type"), Some("image/svg+xml; charset=utf-8"));
    assert!(prod.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert_eq!(prod.header("cache-control"), Some("no-cache"));
    let tag = prod.header("etag").unwrap().to_owned();
    let again = hub.ask("GET", "/api/v1/badges/prod/web.svg", &[("if-none-match", &tag)], b"");
    assert!(again.status == 304 || again.header("etag") != Some(&tag), "{again:?}");
    assert!(badge("dev/web.svg").text().contains("(failing)"));
    assert!(badge("dev/web/edge.svg?label=cart&style=flat").text().contains("<title>cart: 1.1 (failing)</title>"));
    assert!(badge("dev/web/nowhere.svg").text().contains("web dev: unknown (unknown)"));
    assert!(badge("prod/web.svg?workspace=others").text().contains("unknown"));
    say(&hub, &report("h4", "dev", &commit('a'), "success"));
    assert!(badge("dev/web.svg?fresh=true").text().contains("1.1 +1"));
    let hostile = format!("{}/{}.svg?label={}", encoded(HOSTILE), encoded(HOSTILE), encoded("<b>\n\"&'\u{0}"));
    let text = badge(&hostile).text();
    assert!(text.contains("&lt;b&gt; &quot;&amp;&#39; ") && text.trim_end().lines().count() == 1, "{text}");
    badge("prod/web.png").problem(404);
    badge("prod/web.svg?style=plastic").problem(400);
    badge("prod/%FF.svg").problem(400);
}

#[test]
fn names_of_any_kind_are_values_everywhere() {
    let hub = TestHubBuilder::new().with_arg("--default-contact", HOSTILE).spawn();
    hub.push(&named(HOSTILE, HOSTILE, HOSTILE, 'a'));
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    say(&hub, &report(HOSTILE, "dev", &commit('a'), "failure"));
    let value = encoded(&json!([HOSTILE]).to_string());
    let filters = format!("environment={value}&workload={value}&fresh=true");
    for name in ["environments", "workloads", "versions"] {
        assert_eq!(values(&hub, &format!("{name}?{filters}")), [HOSTILE], "{name}");
    }
    assert_eq!(values(&hub, &format!("hosts?{filters}&search={}", encoded("<SCRIPT>"))), [HOSTILE]);
    for alert in ["failed-rollouts", "drift"] {
        let rows = hub.get(&format!("/api/v1/alerts/{alert}?{filters}")).rows();
        let shown = ["environment", "workload", "version", "contact"].map(|c| rows[0][c].as_str().unwrap());
        assert_eq!((rows.len(), shown), (1, [HOSTILE; 4]), "{alert}");
    }
    for name in VIEWS {
        let own = match name {
            "hosts-over-time" | "transitions-over-time" => format!("host={value}&fresh=true"),
            "promotion-waits" | "silent-hosts" | "workload-history" | "dora-metrics" | "environment-comparison" => {
                filters.clone()
            }
            _ => format!("{filters}&deployment_target=edge"),
        };
        let rows = hub.get(&format!("/api/v1/views/{name}?{own}")).rows();
        typed(name, &rows);
        let silent = ["promotion-waits", "silent-hosts", "environment-comparison"].contains(&name);
        assert!(silent || !rows.is_empty(), "{name}");
    }
    let annotations = hub.get(&format!("/api/v1/annotations?{filters}")).rows();
    assert_eq!(annotations.len(), 2, "{annotations:?}");
    let badge = hub.get(&format!("/api/v1/badges/{}/{}.svg", encoded(HOSTILE), encoded(HOSTILE)));
    assert_eq!(badge.status, 200);
    assert!(badge.text().contains("(failing)") && !badge.text().contains("<script"), "{}", badge.text());
    let newline = encoded("a\nb");
    assert_eq!(values(&hub, &format!("hosts?environment={newline}")), ["(none)"]);
    assert_eq!(hub.get(&format!("/api/v1/alerts/drift?environment={newline}")).rows()[0]["value"], 0);
}
