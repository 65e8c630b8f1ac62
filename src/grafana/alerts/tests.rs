//! What is committed is what the list of alerts says, in the shape that Grafana and Prometheus read.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::metrics::catalogue;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/grafana-plugin-config");

fn source() -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(SOURCE)).unwrap()
}

fn file(path: &str) -> Value {
    let files = generate(&source()).unwrap();
    serde_saphyr::from_str(&files.iter().find(|(p, _)| *p == path).unwrap().1).unwrap()
}

#[test]
fn the_committed_rules_are_what_the_list_of_alerts_says() {
    for (path, wanted) in generate(&source()).unwrap() {
        let path = Path::new(FOLDER).join(path);
        if std::env::var_os("KOH_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{} is stale: run `koh grafana generate` and commit", path.display());
    }
}

#[test]
fn queries_name_only_metrics_that_there_are() {
    let names: BTreeSet<String> = catalogue::all().map(|family| family.full_name()).collect();
    let word = regex::Regex::new(r"\bkoh_[a-z_]+").unwrap();
    for rule in file("prometheus/rules.yaml")["groups"][0]["rules"].as_array().unwrap() {
        for named in word.find_iter(rule["expr"].as_str().unwrap()) {
            assert!(names.contains(named.as_str()), "{} in {}", named.as_str(), rule["alert"]);
        }
    }
}

#[test]
fn rules_of_grafana_have_the_fields_that_its_provisioning_reads_and_labels_without_dollars() {
    let rules = file("provisioning/alerting/kalypso-rules.yaml");
    assert_eq!(rules["apiVersion"], 1);
    let group = &rules["groups"][0];
    assert_eq!((&group["orgId"], &group["folder"]), (&Value::from(1), &Value::from("Kalypso")));
    let mut uids = BTreeSet::new();
    for rule in group["rules"].as_array().unwrap() {
        let uid = rule["uid"].as_str().unwrap();
        assert!((8..=40).contains(&uid.len()) && uids.insert(uid.to_owned()), "{uid}");
        assert_eq!(rule["condition"], rule["data"][1]["refId"], "{uid}");
        assert!(!rule["labels"].to_string().contains('$'), "{uid}");
        assert!(!rule["annotations"].to_string().contains("${"), "{uid}");
        let model = &rule["data"][0]["model"];
        let columns = model["columns"].as_array().unwrap();
        let numbers: Vec<&Value> = columns.iter().filter(|c| c["type"] == "number").map(|c| &c["selector"]).collect();
        assert_eq!(numbers, ["value"], "{uid}: one number, the rest are labels");
        assert!(columns.iter().all(|c| c["type"] == "number" || c["type"] == "string"), "{uid}");
        assert_eq!(model["parser"], "backend", "{uid}");
    }
    assert_eq!(uids.len(), 7);
}

#[test]
fn every_rule_of_grafana_leads_to_a_panel_that_there_is() {
    let provisioned = file("provisioning/alerting/kalypso-rules.yaml");
    for rule in provisioned["groups"][0]["rules"].as_array().unwrap() {
        let dashboard = rule["dashboardUid"].as_str().unwrap();
        let text = std::fs::read_to_string(Path::new(FOLDER).join(format!("dashboards/{dashboard}.json"))).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(dashboard["uid"], rule["dashboardUid"]);
        assert!(dashboard["panels"].as_array().unwrap().iter().any(|p| p["id"] == rule["panelId"]), "{}", rule["uid"]);
    }
    let folder = std::fs::read_to_string(Path::new(FOLDER).join("k8s/operator/kalypso.yaml")).unwrap();
    let group = &file("k8s/operator/alerts.yaml");
    assert_eq!(group["kind"], "GrafanaAlertRuleGroup");
    let wanted = format!("kind: GrafanaFolder\nmetadata:\n  name: {}\n", group["spec"]["folderRef"].as_str().unwrap());
    assert!(folder.contains(&wanted), "there is no folder of that name: {wanted}");
    let of = |rules: &Value| rules.as_array().unwrap().iter().map(|r| r["uid"].clone()).collect::<Vec<_>>();
    assert_eq!(of(&group["spec"]["rules"]), of(&provisioned["groups"][0]["rules"]));
    assert_eq!(group["spec"]["rules"][0]["annotations"]["__panelId__"], "2");
    let map = &file("k8s/sidecar/alerts.yaml");
    let within: Value = serde_saphyr::from_str(map["data"]["kalypso-rules.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(within, provisioned);
}

#[test]
fn texts_have_no_placeholder_left() {
    for (path, text) in generate(&source()).unwrap() {
        for placeholder in ["{threshold}", "{value}", "{duration}"] {
            assert!(!text.contains(placeholder), "{placeholder} in {path}");
        }
    }
}

#[test]
fn an_alert_that_nobody_would_see_or_that_is_there_twice_is_refused() {
    let alert = "{name: A, severity: info, for: 1m, contact: c, threshold: 0, summary: s, description: d, runbook: r";
    let list = |alerts: &str| format!("{{group: g, folder: f, interval: 1m, datasource: d, alerts: [{alerts}]}}");
    let shown = format!("{alert}, prometheus: {{query: up}}}}");
    assert_eq!(generate(&list(&shown)).unwrap().len(), 5);
    for refused in [format!("{alert}}}"), format!("{shown}, {shown}"), format!("{alert}, colour: red}}")] {
        assert!(generate(&list(&refused)).is_err(), "{refused}");
    }
}
