//! Rows for alert rules: every alert firing and not firing, thresholds, contacts, and the shape that Grafana needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};

const ALERTS: [&str; 6] =
    ["failed-rollouts", "stalled-rollouts", "drift", "silent-hosts", "unknown-commits", "promotion-lag"];
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

fn observed(environment: &str, version: &str, digit: char, at: &str) -> String {
    let mut said: Value = serde_json::from_str(&descriptor(environment, version, &commit(digit))).unwrap();
    said["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(at);
    said["spec"]["workloadVersion"]["commit"] = json!(commit(digit));
    said.to_string()
}

fn at(line: &str, at: &str) -> String {
    let mut said: Value = serde_json::from_str(line).unwrap();
    said["reported_at"] = json!(at);
    said.to_string()
}

#[track_caller]
fn say(hub: &TestHub, line: &str) {
    let answer = hub.post("/api/v1/ingest/reconcilers", "application/json", line);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The rows of an alert, after checking that Grafana can take them: numeric long, unique, never empty.
#[track_caller]
fn alert(hub: &TestHub, name: &str) -> Vec<Value> {
    let rows = hub.get(&format!("/api/v1/alerts/{name}?fresh=true")).rows();
    assert!(!rows.is_empty(), "{name}");
    let mut seen = BTreeSet::new();
    for row in &rows {
        let mut texts = row.as_object().unwrap().clone();
        assert!(texts.remove("value").unwrap().is_u64(), "{row}");
        assert!(texts.values().all(Value::is_string), "{row}");
        assert!(texts.keys().eq(rows[0].as_object().unwrap().keys().filter(|k| *k != "value")), "{row}");
        assert!(seen.insert(Value::Object(texts).to_string()), "twice: {row}");
    }
    rows
}

/// That nothing is wrong: one row, without texts, of value 0.
#[track_caller]
fn fine(hub: &TestHub, name: &str) {
    let rows = alert(hub, name);
    assert_eq!(rows.len(), 1, "{name}: {rows:?}");
    for (column, value) in rows[0].as_object().unwrap() {
        assert_eq!(*value, if column == "value" { json!(0) } else { json!("") }, "{name}: {rows:?}");
    }
}

/// The one row of an alert that fires, as environment, version and value.
#[track_caller]
fn fires(hub: &TestHub, name: &str) -> Value {
    let rows = alert(hub, name);
    assert_eq!(rows.len(), 1, "{name}: {rows:?}");
    assert!(rows[0]["value"].as_u64() > Some(0), "{name}: {rows:?}");
    assert_ne!(rows[0]["action"], "", "{name}: {rows:?}");
    rows[0].clone()
}

fn with_policies(text: &str) -> (tempfile::TempDir, TestHub) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.yaml");
    std::fs::write(&file, text).unwrap();
    let hub = TestHubBuilder::new()
        .with_arg("--policies", file.display().to_string())
        .with_arg("--default-contact", "everybody@example.com")
        .spawn();
    (folder, hub)
}

#[test]
fn an_empty_hub_has_one_row_of_zero_per_alert_and_so_has_one_where_all_is_well() {
    let hub = TestHub::spawn();
    ALERTS.iter().for_each(|name| fine(&hub, name));
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    ALERTS.iter().for_each(|name| fine(&hub, name));
    assert!(hub.get("/api/v1/alerts/nothing").problem(404).contains("no alert 'nothing'"));
    hub.get("/api/v1/alerts/drift?colour=red").problem(400);
}

#[test]
fn a_failing_host_fires_failed_rollouts_for_its_target_and_no_other() {
    let hub = TestHub::spawn();
    hub.push(&[descriptor("dev", "1.0", &commit('a')), descriptor("prod", "1.0", &commit('a'))].join("\n"));
    say(&hub, &report("h1", "dev", &commit('a'), "failure"));
    say(&hub, &report("h2", "prod", &commit('a'), "success"));
    let row = fires(&hub, "failed-rollouts");
    let shown = ["workspace", "application", "environment", "workload", "deployment_target", "version", "contact"];
    let shown: Vec<&str> = shown.iter().map(|c| row[*c].as_str().unwrap()).collect();
    assert_eq!(shown, ["shop", "store", "dev", "web", "edge", "1.0", ""]);
    assert_eq!(row["value"], 1);
    assert_eq!(fires(&hub, "drift")["value"], 100);
    fine(&hub, "stalled-rollouts");
    let none = hub.get("/api/v1/alerts/failed-rollouts?environment=prod").rows();
    assert_eq!(none[0]["value"], 0);
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    fine(&hub, "failed-rollouts");
    fine(&hub, "drift");
}

#[test]
fn a_rollout_without_a_change_for_too_long_fires_stalled_rollouts() {
    let (_folder, hub) = with_policies("alerts: [{for: {environment: [lab]}, stalled_after: 36500d}]");
    hub.push(&[observed("dev", "1.0", 'a', LONG_AGO), observed("lab", "1.0", 'a', LONG_AGO)].join("\n"));
    fine(&hub, "stalled-rollouts");
    say(&hub, &at(&report("h1", "dev", &commit('a'), "in_progress"), LONG_AGO));
    say(&hub, &at(&report("h2", "lab", &commit('a'), "in_progress"), LONG_AGO));
    let row = fires(&hub, "stalled-rollouts");
    assert_eq!((&row["environment"], &row["contact"]), (&json!("dev"), &json!("everybody@example.com")));
    assert!(row["value"].as_u64().unwrap() > 86_400, "{row}");
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    fine(&hub, "stalled-rollouts");
}

#[test]
fn a_commit_that_nothing_explains_fires_unknown_commits_and_is_drift() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    for host in ["h1", "h2"] {
        say(&hub, &report(host, "dev", &commit('a'), "success"));
    }
    say(&hub, &report("h3", "dev", &commit('f'), "success"));
    assert_eq!(fires(&hub, "unknown-commits")["value"], 1);
    assert_eq!(fires(&hub, "drift")["value"], 34, "a third, rounded up");
    say(&hub, &report("h3", "dev", &commit('a'), "success"));
    fine(&hub, "unknown-commits");
}

#[test]
fn silent_hosts_fire_for_their_targets_and_those_of_no_target_together() {
    let hub = TestHubBuilder::new().with_arg("--late-after", "1s").with_arg("--silent-after", "1s").spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("idle", "nowhere", &commit('a'), "success"));
    say(&hub, &report("quiet", "dev", &commit('0'), "success"));
    let waited =
        "/api/v1/rollouts/status?environment=dev&workload=web&version=1.0&wait=50s&silent=fail&failure_grace=0s";
    assert_eq!(hub.get(waited).json()["verdict"], "failed");
    while hub.get("/api/v1/hosts?fresh=true&liveness=silent").rows().len() < 2 {}
    let rows = alert(&hub, "silent-hosts");
    let shown: Vec<(&str, u64)> =
        rows.iter().map(|r| (r["environment"].as_str().unwrap(), r["value"].as_u64().unwrap())).collect();
    assert_eq!(shown, [("", 1), ("dev", 1)]);
}

#[test]
fn what_is_complete_in_one_environment_and_not_in_the_next_fires_promotion_lag() {
    let hub = TestHub::spawn();
    hub.push(&[observed("dev", "1.0", 'a', LONG_AGO), observed("prod", "1.0", 'a', "2026-01-02T00:00:00Z")].join("\n"));
    say(&hub, &at(&report("h1", "dev", &commit('a'), "success"), "2026-01-01T01:00:00Z"));
    say(&hub, &at(&report("h2", "prod", &commit('a'), "success"), "2026-01-02T01:00:00Z"));
    fine(&hub, "promotion-lag");
    hub.push(&observed("dev", "1.1", 'b', "2026-01-03T00:00:00Z"));
    fine(&hub, "promotion-lag");
    say(&hub, &at(&report("h1", "dev", &commit('b'), "success"), "2026-01-03T01:00:00Z"));
    let row = fires(&hub, "promotion-lag");
    let shown = ["environment", "next_environment", "workload", "version"].map(|c| row[c].as_str().unwrap());
    assert_eq!(shown, ["dev", "prod", "web", "1.1"]);
    hub.push(&observed("prod", "1.1", 'b', "2026-01-04T00:00:00Z"));
    say(&hub, &at(&report("h2", "prod", &commit('b'), "success"), "2026-01-04T01:00:00Z"));
    fine(&hub, "promotion-lag");
}

#[test]
fn a_policy_that_names_what_comes_before_decides_which_environment_is_next() {
    let file = "
policies: [{name: production, for: {environment: [prod]}, after: [stage]}]
alerts: [{for: {environment: [prod]}, promotion_lag: 1h, contact: release@example.com}]
";
    let (_folder, hub) = with_policies(file);
    let said = [("dev", 'a'), ("stage", 'a'), ("prod", '9')].map(|(environment, digit)| {
        let version = if digit == 'a' { "1.0" } else { "0.9" };
        observed(environment, version, digit, LONG_AGO)
    });
    hub.push(&said.join("\n"));
    for (host, environment) in [("h1", "dev"), ("h2", "stage")] {
        say(&hub, &at(&report(host, environment, &commit('a'), "success"), "2026-01-01T01:00:00Z"));
    }
    let row = fires(&hub, "promotion-lag");
    assert_eq!((&row["environment"], &row["next_environment"]), (&json!("stage"), &json!("prod")));
    assert_eq!(row["contact"], "release@example.com");
}

#[test]
fn thresholds_say_how_much_may_be_and_the_contact_of_the_target_comes_first() {
    let file = "
alerts:
  - {for: {environment: [prod], workspace: [shop]}, failed_hosts: 1, drift_percent: 100, contact: shop@example.com}
";
    let (_folder, hub) = with_policies(file);
    hub.push(&[descriptor("dev", "1.0", &commit('a')), descriptor("prod", "1.0", &commit('a'))].join("\n"));
    say(&hub, &report("h1", "prod", &commit('a'), "failure"));
    fine(&hub, "failed-rollouts");
    fine(&hub, "drift");
    say(&hub, &report("h2", "prod", &commit('a'), "failure"));
    let row = fires(&hub, "failed-rollouts");
    assert_eq!((&row["value"], &row["contact"]), (&json!(2), &json!("shop@example.com")));
    say(&hub, &report("h3", "dev", &commit('a'), "failure"));
    let contacts = |hub: &TestHub| {
        let rows = alert(hub, "failed-rollouts");
        rows.iter().map(|r| r["contact"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(contacts(&hub), ["everybody@example.com", "shop@example.com"]);
    let mut asked: Value = serde_json::from_str(&descriptor("dev", "1.1", &commit('b'))).unwrap();
    asked["metadata"]["annotations"]["hub.kalypso.io/contact"] = json!("web \"team\" <script>");
    hub.push(&asked.to_string());
    say(&hub, &report("h3", "dev", &commit('b'), "failure"));
    assert_eq!(contacts(&hub), ["web \"team\" <script>", "shop@example.com"]);
}

#[test]
fn the_hub_tells_of_itself_and_says_when_exports_fail() {
    let hub = TestHub::spawn();
    let checks = |hub: &TestHub| {
        let rows = alert(hub, "hub");
        let told = |r: &Value| (r["check"].as_str().unwrap().to_owned(), r["value"].as_u64().unwrap());
        rows.iter().map(told).collect::<Vec<_>>()
    };
    let well = |name: &str| (name.to_owned(), 0);
    assert_eq!(checks(&hub), [well("store"), well("snapshot"), well("export"), well("source")]);
    let export = hub.data().join("export");
    // While the hub runs it may be writing there, and makes the folder again.
    while std::fs::write(&export, "in the way").is_err() {
        let _ = std::fs::remove_dir_all(&export);
    }
    let hub = hub.stop_and_restart();
    while checks(&hub)[2] == well("export") {}
}

#[test]
fn grafana_asks_for_health_and_gets_a_document() {
    let hub = TestHub::spawn();
    let answer = hub.get("/api/v1/health/grafana");
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ok")));
}
