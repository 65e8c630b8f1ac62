//! The gate and its command line where what they are given is wrong: nothing that is wrong opens the gate.
//!
//! Invariant: every refusal says what was wrong and what to do, and an exit code is that of the verdict whoever reads the words.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};

const DEV: &str = "/api/v1/rollouts/status?environment=dev&workload=web&version=1.0";

/// Version 1.0 is complete on dev, and was never anywhere else.
fn complete() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    let said = report("one", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", said).status, 200);
    hub
}

fn koh(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koh"));
    command.args(args).env_clear().env("KOH_URL", url);
    command
}

fn asked(hub: &TestHub, command: &str, more: &[&str]) -> Command {
    let question = ["rollout", command, "--environment", "dev", "--workload", "web", "--version", "1.0"];
    koh(&format!("http://{}", hub.address), &[&question, more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_clause_that_names_nothing_is_refused_and_not_dropped() {
    let hub = complete();
    assert_eq!(hub.get(DEV).json()["verdict"], "complete");
    for clause in ["after=*", "after=$__all", "after=,", "after=%5B%5D", "verifications=All", "verifications=a,*"] {
        let answer = hub.get(&format!("{DEV}&{clause}"));
        assert!(answer.problem(400).contains("lists names"), "{clause}");
    }
    for clause in ["after=stage", "verifications=smoke"] {
        assert_eq!(hub.get(&format!("{DEV}&{clause}")).json()["verdict"], "in_progress", "{clause}");
    }
    for option in ["--after=", "--after=*", "--verifications=", "--policy=", "--min-success-percent=nan"] {
        let output = asked(&hub, "status", &[option]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option}: {}", said(&output));
    }
    let unset = asked(&hub, "wait", &[]).env("KOH_AFTER", "").output().unwrap();
    assert_eq!(unset.status.code(), Some(2));
    assert!(said(&unset).contains("it is empty: leave it out, or write a name"), "{}", said(&unset));
}

#[test]
fn a_parameter_that_is_misspelt_is_answered_with_the_nearest_one() {
    let hub = TestHub::spawn();
    let answer = hub.get(&format!("{DEV}&min_sucess=1"));
    assert_eq!(answer.problem(400), "unknown parameter 'min_sucess'");
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("Did you mean min_success? Known here: "));
}

#[test]
fn the_verdict_is_the_exit_code_also_where_nobody_takes_the_words() {
    let hub = complete();
    for command in ["status", "wait"] {
        for output in ["text", "json", "junit"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let gone = asked(&hub, command, &["--output", output]).stdout(writer).output().unwrap();
            assert_eq!((gone.status.code(), said(&gone).contains("warning")), (Some(0), false), "{}", said(&gone));
        }
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let no_room = asked(&hub, command, &[]).stdout(full.try_clone().unwrap()).output().unwrap();
        assert_eq!(no_room.status.code(), Some(0), "{}", said(&no_room));
        assert!(said(&no_room).contains("koh: warning: the answer cannot be written: "), "{}", said(&no_room));
        let silenced = asked(&hub, command, &["--max-failures=0"]).stderr(full).output().unwrap();
        assert_eq!(silenced.status.code(), Some(0));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let list = koh(&format!("http://{}", hub.address), &["rollout", "list"]).stdout(writer).output().unwrap();
    assert_eq!(list.status.code(), Some(0), "{}", said(&list));
}

#[test]
fn a_list_may_reach_back_as_far_as_anybody_likes() {
    let hub = complete();
    assert_eq!(hub.get("/api/v1/rollouts?fresh=true").rows().len(), 1);
    let list = koh(&format!("http://{}", hub.address), &["rollout", "list", "--since", "999999d"]).output().unwrap();
    assert_eq!(list.status.code(), Some(0), "{}", said(&list));
    assert!(String::from_utf8_lossy(&list.stdout).contains("(1 row"), "{list:?}");
}

#[test]
fn the_password_of_an_address_is_in_no_log() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let question = ["--environment", "dev", "--workload", "web", "--version", "1.0"];
    for (url, command) in [
        (format!("http://bot:hunter2@{nowhere}"), &["rollout", "status"][..]),
        (format!("http://bot:hunter2@{nowhere}"), &["rollout", "wait", "--timeout", "1s"]),
        ("http://bot:hunter2@[::1".to_owned(), &["rollout", "status"]),
        ("http://bot:hunter2@[::1".to_owned(), &["rollout", "wait"]),
    ] {
        let output = koh(&url, &[command, &question].concat()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    }
}

#[test]
fn links_are_spelled_as_people_spell_names() {
    let hub = complete();
    let links = hub.get(&format!("{DEV}&deployment_target=a-b_c.d~e%26f")).json()["links"].clone();
    let query = "deployment_target=a-b_c.d~e%26f&environment=dev&version=1.0&workload=web";
    assert_eq!(links["self"], json!(format!("/api/v1/rollouts/status?{query}")));
}

#[test]
fn a_file_of_policies_that_is_too_large_or_endless_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, "#".repeat(2 << 20)).unwrap();
    for file in [large.as_path(), std::path::Path::new("/dev/zero"), folder.path()] {
        let started = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--policies")
            .arg(file)
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(started.status.code(), Some(1));
        let said = said(&started);
        assert!(said.contains(&file.display().to_string()), "{said}");
        assert!(
            said.contains("such a file has at most 1048576 bytes") || said.contains("it is no plain file"),
            "{said}"
        );
    }
}

#[test]
fn a_file_of_policies_that_goes_away_or_breaks_changes_nothing_until_it_is_sound_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.yaml");
    let policies = |after: &str| format!("policies: [{{name: default, for: {{}}, after: [{after}]}}]");
    std::fs::write(&file, policies("stage")).unwrap();
    let hub = TestHubBuilder::new().with_arg("--policies", file.to_str().unwrap()).spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    let said = report("one", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", said).status, 200);
    for broken in [None, Some("policies: [{name: default, after: dev}]"), Some("policies: {")] {
        std::fs::remove_file(&file).unwrap();
        if let Some(text) = broken {
            std::fs::write(&file, text).unwrap();
        }
        let answer = hub.get(DEV).json();
        assert_eq!((&answer["verdict"], &answer["failing_clause"]["clause"]), (&json!("in_progress"), &json!("after")));
        std::fs::write(&file, policies("stage")).unwrap();
    }
    // As kubelet does it: a new file takes the name of the old one.
    let beside = folder.path().join("new");
    std::fs::write(&beside, "policies: []").unwrap();
    std::fs::rename(&beside, &file).unwrap();
    let answer = hub.get(&format!("{DEV}&wait=50s")).json();
    assert_eq!((&answer["verdict"], &answer["final"]), (&json!("complete"), &json!(true)));
}

#[test]
fn those_who_never_read_hold_up_nobody() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    let say = |status: &str| {
        let said = report("one", "dev", &commit('a'), status);
        assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", said).status, 200);
    };
    say("in_progress");
    let deaf: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = hub.connect();
            let path = DEV.replace("status", "events");
            write!(stream, "GET {path} HTTP/1.1\r\nhost: hub\r\n\r\n").unwrap();
            stream
        })
        .collect();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| hub.get(&format!("{DEV}&wait=50s")).json());
        say("success");
        assert_eq!(waits.join().unwrap()["verdict"], "complete");
    });
    drop(deaf);
}
