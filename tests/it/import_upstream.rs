//! The existing hub's tables, imported: what runs is what was updated last, and an import may be repeated.
//!
//! Guards against: a rollback that is taken for the newer version, an import that makes other statements when it is repeated, and
//! rows that vanish without a word.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::hub::{TestHub, commit};

fn import(hub: &TestHub, directory: &Path, more: &[&str]) -> Output {
    let url = format!("http://{}", hub.address);
    let args = [&["import", "upstream", directory.to_str().unwrap(), "--url", &url], more].concat();
    Command::new(env!("CARGO_BIN_EXE_koh")).args(args).env_clear().output().unwrap()
}

fn out(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Two versions on one target; h0 and h1 follow, h2 goes back, h3 fails.
fn export(to: &Path, more_deployments: &str) {
    let endpoint = "https://github.com/org/web-gitops/prod/./edge";
    let (a, b) = (format!("sha1:{}", commit('a')), format!("sha1:{}", commit('b')));
    let reconcilers: String = (0..4).map(|i| format!("{i},prod.web-{i},{i},,flux,git,{endpoint}\n")).collect();
    let mut deployments = String::new();
    for i in 0..4 {
        let (status, went_back) = if i == 3 { ("failure", "") } else { ("success", if i == 2 { "x" } else { "" }) };
        let last_of_a = if went_back.is_empty() { "2026-01-01 10:06:00" } else { "2026-01-09 08:00:00" };
        deployments += &format!("{i},{a},{i},success,applied,2026-01-01 10:05:00,{last_of_a}\n");
        deployments += &format!("1{i},{b},{i},{status},said so,2026-01-05 10:05:00,2026-01-05 10:05:00\n");
    }
    let files = [
        ("workspace", "1,shop,\n".to_owned()),
        ("application", "1,store,,1\n".to_owned()),
        ("workload", "1,web,,git,https://github.com/org/web/main/.,1\n".to_owned()),
        ("environment", "1,prod,\n".to_owned()),
        ("deployment_target", format!("1,edge,,1,1,git,{endpoint}\n")),
        ("workload_version", "1,1.0,7,c1,1,2026-01-01\n2,1.1,8,c2,1,2026-01-05\n".to_owned()),
        ("deployment_assignment", format!("1,1,1,{a},2026-01-01 10:00:00\n2,1,2,{b},2026-01-05 10:00:00\n")),
        ("host", (0..4).map(|i| format!("{i},h{i},,,\n")).collect()),
        ("reconciler", reconcilers),
        ("deployment", format!("{deployments}{more_deployments}")),
    ];
    for (table, rows) in files {
        std::fs::write(to.join(format!("{table}.csv")), rows).unwrap();
    }
}

#[test]
fn what_runs_is_what_was_updated_last_and_a_second_import_says_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), "");
    let hub = TestHub::spawn();
    let dry = import(&hub, dir.path(), &["--dry-run"]);
    assert!(dry.status.success(), "{}", out(&dry));
    assert!(
        out(&dry).contains("2 assignments on 1 deployment targets, 8 deployments of 4 reconcilers"),
        "{}",
        out(&dry)
    );
    assert!(out(&dry).contains("1 reconcilers run another commit"), "{}", out(&dry));
    assert_eq!(hub.get("/api/v1/hosts?fresh=true").json().as_array().map(Vec::len), Some(0), "nothing was sent");

    let done = import(&hub, dir.path(), &[]);
    assert!(done.status.success(), "{}", out(&done));
    // Two descriptors, eight deployments, and the first words of four of these.
    assert!(out(&done).contains("14 statements were news, 0 were known, 0 were refused"), "{}", out(&done));
    let again = import(&hub, dir.path(), &[]);
    assert!(out(&again).contains("0 statements were news, 14 were known"), "{}", out(&again));

    let rows = hub.get("/api/v1/views/host-state?fresh=true").json();
    let runs = |host: &str| -> (Value, Value, Value) {
        let row = rows.as_array().unwrap().iter().find(|r| r["host"] == host).unwrap();
        (row["deployed_version"].clone(), row["status"].clone(), row["rolled_back"].clone())
    };
    assert_eq!(runs("h0"), ("1.1".into(), "success".into(), false.into()));
    assert_eq!(runs("h2"), ("1.0".into(), "success".into(), true.into()));
    assert_eq!(runs("h3"), ("1.1".into(), "failure".into(), false.into()));
    let gate = hub.get("/api/v1/rollouts/status?environment=prod&workload=web&version=1.1").json();
    let buckets = &gate["buckets"];
    assert_eq!(
        (&buckets["success"], &buckets["failure"], &buckets["behind"]),
        (&2.into(), &1.into(), &1.into()),
        "{gate}"
    );
    let lost = hub.get("/api/v1/transitions?host=h0&fresh=true").json();
    let words: Vec<&str> = lost.as_array().unwrap().iter().map(|t| t["status"].as_str().unwrap()).collect();
    assert!(words.contains(&"unknown") && words.contains(&"success"), "{words:?}");
}

#[test]
fn rows_that_cannot_be_taken_are_told_and_make_the_import_fail() {
    let dir = tempfile::tempdir().unwrap();
    export(dir.path(), "99,sha1:cccccccccccccccccccccccccccccccccccccccc,77,success,,2026-01-01,2026-01-01\n");
    let hub = TestHub::spawn();
    let done = import(&hub, dir.path(), &[]);
    assert_eq!(done.status.code(), Some(1), "{}", out(&done));
    assert!(
        out(&done).contains("1 rows were left out") && out(&done).contains("line 9: there is no reconciler 77"),
        "{}",
        out(&done)
    );
    assert!(out(&done).contains("14 statements were news"), "{}", out(&done));
    std::fs::remove_file(dir.path().join("deployment.csv")).unwrap();
    let lacking = import(&hub, dir.path(), &[]);
    assert!(!lacking.status.success() && out(&lacking).contains("\\copy deployment to"), "{}", out(&lacking));
}
