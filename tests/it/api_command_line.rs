//! The commands of the binary, against a real hub: what they print and how they exit.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};

fn koh(hub: &TestHub, args: &[&str]) -> Output {
    let url = format!("http://{}", hub.address);
    Command::new(env!("CARGO_BIN_EXE_koh")).args(args).env_clear().env("KOH_URL", url).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn fleet() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let line = report("h1", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", line).status, 200);
    hub.get("/api/v1/hosts?fresh=true").rows();
    hub
}

#[test]
fn sql_prints_a_table_json_or_csv_and_says_what_is_wrong() {
    let hub = fleet();
    let sql = "SELECT host, deployed_version AS version FROM host_state";
    assert_eq!(printed(&koh(&hub, &["sql", sql])), "host  version\n----  -------\nh1    1.0.0\n(1 row)\n");
    assert_eq!(printed(&koh(&hub, &["sql", "--output", "csv", sql])), "host,version\nh1,1.0.0\n");
    let rows: Value = serde_json::from_str(&printed(&koh(&hub, &["sql", "-o", "json", sql]))).unwrap();
    assert_eq!(rows[0]["host"], "h1");
    let wrong = koh(&hub, &["sql", "SELECT colour FROM hosts"]);
    assert!(!wrong.status.success());
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("colour"));
}

#[test]
fn sql_reads_the_files_of_a_hub_that_was_stopped() {
    let hub = fleet();
    let copy = tempfile::tempdir().unwrap();
    let data = hub.keep_data_and_stop(copy.path());
    let output = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["sql", "SELECT host, deployed_version AS version FROM host_state", "--data"])
        .arg(data)
        .output()
        .unwrap();
    assert_eq!(printed(&output), "host  version\n----  -------\nh1    1.0.0\n(1 row)\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("export of 20"), "{output:?}");
}

#[test]
fn the_exit_code_of_rollout_status_is_the_verdict() {
    let hub = fleet();
    let ask = |version: &str| {
        koh(&hub, &["rollout", "status", "--environment", "dev", "--workload", "web", "--version", version])
    };
    let complete = ask("1.0.0");
    assert_eq!(complete.status.code(), Some(0), "{complete:?}");
    assert!(printed(&complete).starts_with("complete: "));
    assert_eq!(ask("2.0.0").status.code(), Some(4));
    let nobody = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args([
            "rollout",
            "status",
            "--url",
            "http://127.0.0.1:1",
            "--environment",
            "a",
            "--workload",
            "b",
            "--version",
            "c",
        ])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(5));
}

#[test]
fn a_wait_ends_when_the_last_host_has_the_commit() {
    let hub = TestHub::spawn();
    let question = ["--environment", "dev", "--workload", "web", "--version", "1.0.0"];
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["rollout", "wait", "--url", &format!("http://{}", hub.address)])
        .args(question)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(waiting.stderr.take().unwrap());
    let mut said = String::new();
    let mut until = |word: &str| {
        while !said.contains(word) {
            assert!(progress.read_line(&mut said).unwrap() > 0, "{said}");
        }
    };
    until("no_targets");
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    until("in_progress");
    let line = report("h1", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", line).status, 200);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(printed(&output).starts_with("complete: "), "{output:?}");
    let junit = printed(&koh(&hub, &[&["rollout", "status", "--output", "junit"], &question[..]].concat()));
    assert!(junit.contains(r#"<testcase classname="dev/web" name="edge 1.0.0" time="0"/>"#), "{junit}");
}

#[test]
fn rollouts_are_listed_and_filtered() {
    let hub = fleet();
    let list = |args: &[&str]| printed(&koh(&hub, &[&["rollout", "list"], args].concat()));
    let table = list(&["--environment", "dev,stage", "--verdict", "complete"]);
    assert!(table.contains("started_at") && table.contains("edge") && table.ends_with("(1 row)\n"), "{table}");
    let rows: Value =
        serde_json::from_str(&list(&["--output", "json", "--since", "1h", "--version", "1.0.0"])).unwrap();
    assert_eq!(rows[0]["verdict"], "complete");
    assert!(list(&["--workload", "other"]).starts_with("No rollouts: "));
}

#[test]
fn a_folder_of_manifests_is_read_before_the_hub_is_ready_and_what_vanishes_while_it_is_down_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("dev.json"), descriptor("dev", "1.0.0", &commit('a'))).unwrap();
    std::fs::write(file("prod.json"), descriptor("prod", "1.0.0", &commit('b'))).unwrap();
    let hub = TestHubBuilder::new().with_arg("--manifests", folder.path().to_str().unwrap()).spawn();
    while hub.get("/readyz").status != 200 {}
    let environments = |hub: &TestHub| -> Vec<String> {
        let rows = hub.get("/api/v1/views/environment-state?fresh=true").rows();
        rows.iter().map(|r| r["environment"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(environments(&hub), ["dev", "prod"]);

    std::fs::remove_file(file("dev.json")).unwrap();
    let hub = hub.crash_and_restart();
    while environments(&hub) != ["prod"] {}
}

#[test]
fn the_address_is_announced_in_a_file_for_whoever_started_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("address");
    let hub = TestHubBuilder::new().with_arg("--announce", file.to_str().unwrap()).spawn();
    while !file.exists() {}
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), hub.address);
    assert!(hub.data().join("hub.redb").exists());
    assert!(hub.stop().success());
}

#[test]
fn the_openapi_document_is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_koh")).arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/api/v1/ingest"]["post"].is_object());
}
