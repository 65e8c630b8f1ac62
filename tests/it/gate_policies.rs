//! Every clause of a policy, over HTTP: named in the question, or in a file.

use serde_json::{Value, json};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};

const DEV: &str = "/api/v1/rollouts/status?environment=dev&workload=web&version=1.0";

fn say(hub: &TestHub, line: &str) {
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", line).status, 200);
}

fn with(line: &str, more: Value) -> String {
    let mut said: Value = serde_json::from_str(line).unwrap();
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    said.to_string()
}

/// Version 1.0 on dev, at `a`, observed long ago.
fn assigned(hub: &TestHub) {
    hub.push(&observed("dev", "1.0", 'a', "2026-01-01T00:00:00Z"));
}

fn observed(environment: &str, version: &str, digit: char, at: &str) -> String {
    let mut said: Value = serde_json::from_str(&descriptor(environment, version, &commit(digit))).unwrap();
    said["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(at);
    said.to_string()
}

#[track_caller]
fn judged(hub: &TestHub, more: &str, verdict: &str, clause: Option<&str>) -> Value {
    let answer = hub.get(&format!("{DEV}{more}")).json();
    assert_eq!(answer["verdict"], verdict, "{more}: {answer:#}");
    assert_eq!(answer["failing_clause"]["clause"].as_str(), clause, "{more}: {answer:#}");
    answer
}

#[test]
fn a_percentage_a_count_failures_and_hosts() {
    let hub = TestHub::spawn();
    assigned(&hub);
    for (host, status) in [("h1", "success"), ("h2", "success"), ("h3", "in_progress"), ("h4", "failure")] {
        say(&hub, &report(host, "dev", &commit('a'), status));
    }
    judged(&hub, "", "failed", Some("max_failures"));
    judged(&hub, "&max_failures=1", "in_progress", Some("min_success_percent"));
    judged(&hub, "&max_failures=1&min_success_percent=50", "complete", None);
    judged(&hub, "&max_failures=1&min_success=2", "complete", None);
    judged(&hub, "&max_failures=1&min_success=3", "in_progress", Some("min_success"));
    let answer = judged(&hub, "&max_failures=1&min_success=2&min_hosts=3", "in_progress", Some("min_hosts"));
    assert_eq!(answer["policy"]["name"], "default");
    assert_eq!(answer["failing_clause"]["detail"], "2 hosts succeeded, 3 must");
}

#[test]
fn one_silent_host_blocks_is_ignored_or_fails() {
    let hub = TestHubBuilder::new().with_arg("--late-after", "1s").with_arg("--silent-after", "1s").spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("quiet", "dev", &commit('0'), "success"));
    say(&hub, &with(&report("good", "dev", &commit('a'), "success"), json!({"reported_at": "2026-01-01T00:00:00Z"})));
    // Those that succeeded before they fell silent have succeeded; the other is silent as soon as the hub says so.
    let waited = hub.get(&format!("{DEV}&wait=50s&silent=fail&failure_grace=0s")).json();
    assert_eq!((&waited["verdict"], &waited["buckets"]["silent"]), (&json!("failed"), &json!(1)), "{waited:#}");
    judged(&hub, "", "in_progress", Some("min_success_percent"));
    judged(&hub, "&silent=block", "in_progress", Some("min_success_percent"));
    judged(&hub, "&silent=fail", "failed", Some("max_failures"));
    judged(&hub, "&silent=ignore", "complete", None);
}

#[test]
fn nothing_changes_for_too_long() {
    let hub = TestHub::spawn();
    assigned(&hub);
    judged(&hub, "", "in_progress", Some("min_hosts"));
    say(&hub, &with(&report("h1", "dev", &commit('a'), "in_progress"), json!({"reported_at": "2026-01-01T00:00:00Z"})));
    let answer = judged(&hub, "", "stalled", Some("stall_after"));
    assert_eq!(answer["final"], false);
    judged(&hub, "&stall_after=36500d", "in_progress", Some("min_success_percent"));
}

#[test]
fn only_hosts_with_certain_labels_count() {
    let hub = TestHub::spawn();
    assigned(&hub);
    for (host, ring, digit) in [("canary", "0", 'a'), ("early", "1", '0'), ("late", "2", '0')] {
        let labels = json!({"labels": {"ring": ring, "clusterType": "edge", "tier": "gold"}});
        say(&hub, &with(&report(host, "dev", &commit(digit), "success"), labels));
    }
    let expected = json!({
        "name": "coming", "labels": {"ring": "1"},
        "expects": [{"workload": "web", "environment": "dev", "deployment_target": "edge"}],
    });
    assert_eq!(hub.post("/api/v1/ingest/hosts", "application/json", expected.to_string()).status, 200);
    let all = judged(&hub, "", "in_progress", Some("min_success_percent"));
    assert_eq!((&all["total"], &all["buckets"]["never_reported"]), (&json!(4), &json!(1)));
    let canary = judged(&hub, "&ring=0", "complete", None);
    assert_eq!((&canary["total"], &canary["freshness"]["of"]), (&json!(1), &json!(1)));
    let early = judged(&hub, "&ring=0,1", "in_progress", Some("min_success_percent"));
    assert_eq!((&early["total"], &early["buckets"]["never_reported"]), (&json!(3), &json!(1)));
    assert_eq!(early["policy"]["hosts"], json!({"ring": ["0", "1"]}));
    judged(&hub, "&ring=0&cluster_type=edge&label=tier%3Dgold", "complete", None);
    judged(&hub, "&ring=0&label=tier%3Dsilver", "in_progress", Some("min_hosts"));
}

#[test]
fn success_must_stand_for_the_soak_time_and_a_failure_begins_it_anew() {
    let hub = TestHub::spawn();
    assigned(&hub);
    let at = |status: &str, digit: char, minutes_ago: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes_ago);
        with(&report("h1", "dev", &commit(digit), status), json!({"reported_at": then.to_string()}))
    };
    say(&hub, &at("success", 'a', 60));
    judged(&hub, "&soak=59m", "complete", None);
    let soaking = judged(&hub, "&soak=2h", "in_progress", Some("soak"));
    let since: jiff::Timestamp =
        soaking["reason"].as_str().unwrap().split([' ', ',']).find_map(|w| w.parse().ok()).unwrap();
    let end = format!("must stand for 2.0 h, until {:.3}", since + jiff::SignedDuration::from_hours(2));
    assert!(soaking["reason"].as_str().unwrap().contains(&end), "{soaking:#}");
    // A neighbour's commit on the same branch does not begin it anew.
    hub.push(&observed("dev", "1.0", 'b', "2026-01-01T00:01:00Z"));
    say(&hub, &at("success", 'b', 30));
    judged(&hub, "&soak=59m", "complete", None);
    say(&hub, &at("failure", 'b', 20));
    say(&hub, &at("success", 'b', 10));
    judged(&hub, "&soak=9m", "complete", None);
    judged(&hub, "&soak=15m", "in_progress", Some("soak"));
    // Time alone ends it.
    let waited = hub.get(&format!("{DEV}&soak=10m1s&wait=50s")).json();
    assert_eq!((&waited["verdict"], &waited["final"]), (&json!("complete"), &json!(true)), "{waited:#}");
}

#[test]
fn verifications_must_have_passed_and_one_that_failed_fails_the_rollout() {
    let hub = TestHub::spawn();
    assigned(&hub);
    let verified = |name: &str, result: &str, more: Value| {
        let said = json!({"name": name, "result": result, "workload": "web", "environment": "dev", "version": "1.0"});
        let body = with(&said.to_string(), more);
        let answer = hub.post("/api/v1/rollouts/verifications", "application/json", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    say(&hub, &report("h1", "dev", &commit('a'), "in_progress"));
    verified("load", "pending", json!({}));
    judged(&hub, "&verifications=smoke,load", "in_progress", Some("min_success_percent"));
    verified("smoke", "failed", json!({"link": "https://ci.example/1", "message": "no page"}));
    let failed = judged(&hub, "&verifications=smoke,load&failure_grace=0s", "failed", Some("verifications"));
    assert_eq!(failed["failing_clause"]["detail"], "smoke failed: no page https://ci.example/1");
    assert_eq!(failed["final"], true);
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    judged(&hub, "", "complete", None);
    verified("smoke", "passed", json!({}));
    let waits = judged(&hub, "&verifications=smoke,load", "in_progress", Some("verifications"));
    assert_eq!(waits["failing_clause"]["detail"], "load is pending");
    let unheard = judged(&hub, "&verifications=board", "in_progress", Some("verifications"));
    assert_eq!(unheard["failing_clause"]["detail"], "board has not been reported");
    // Somebody who waits is released by it.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| hub.get(&format!("{DEV}&verifications=smoke,load&wait=50s")).json());
        verified("load", "passed", json!({}));
        assert_eq!(waits.join().unwrap()["verdict"], "complete");
    });
}

#[test]
fn the_same_source_commit_must_be_complete_in_dev_first() {
    let hub = TestHub::spawn();
    let of = |environment: &str, version: &str, source: char, digit: char, at: &str| {
        let mut said: Value = serde_json::from_str(&observed(environment, version, digit, at)).unwrap();
        said["spec"]["workloadVersion"]["commit"] = json!(commit(source));
        said.to_string()
    };
    hub.push(&of("prod", "1.0", 'e', 'a', "2026-01-01T00:00:00Z"));
    say(&hub, &report("p1", "prod", &commit('a'), "success"));
    let prod = "/api/v1/rollouts/status?environment=prod&workload=web&version=1.0&after=dev";
    let unmet = hub.get(prod).json();
    assert_eq!((&unmet["verdict"], &unmet["failing_clause"]["clause"]), (&json!("in_progress"), &json!("after")));
    assert!(unmet["reason"].as_str().unwrap().contains("complete in dev first"), "{unmet:#}");
    hub.push(&of("dev", "1.0-dev", 'e', 'b', "2026-01-01T00:00:00Z"));
    say(&hub, &report("d1", "dev", &commit('b'), "failure"));
    let failed = hub.get(prod).json();
    assert!(failed["failing_clause"]["detail"].as_str().unwrap().contains("1 failed"), "{failed:#}");
    // Somebody who waits for prod is released by dev.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| hub.get(&format!("{prod}&wait=50s")).json());
        say(&hub, &report("d1", "dev", &commit('b'), "success"));
        assert_eq!(waits.join().unwrap()["verdict"], "complete");
    });
}

#[test]
fn a_file_names_policies_and_the_targets_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.yaml");
    let sound = "
policies:
  - name: lenient
    for: {environment: [dev]}
    max_failures: 1
    min_success_percent: 50
  - name: frozen
    freeze: [{from: '2020-01-01T00:00:00Z', to: '9000-01-01T00:00:00Z', reason: stock taking}]
";
    std::fs::write(&file, sound).unwrap();
    let hub = TestHubBuilder::new().with_arg("--policies", file.to_str().unwrap()).spawn();
    assigned(&hub);
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    say(&hub, &report("h2", "dev", &commit('a'), "failure"));
    assert_eq!(judged(&hub, "", "complete", None)["policy"]["name"], "lenient");
    assert_eq!(judged(&hub, "", "complete", None)["targets"][0]["policy"], "lenient");
    judged(&hub, "&max_failures=0", "failed", Some("max_failures"));
    judged(&hub, "&policy=default", "failed", Some("max_failures"));
    let frozen = judged(&hub, "&policy=frozen&max_failures=1&min_success=1", "in_progress", Some("freeze"));
    assert!(frozen["reason"].as_str().unwrap().contains("until 9000-01-01T00:00:00.000Z (stock taking)"), "{frozen:#}");
    assert!(hub.get(&format!("{DEV}&policy=none")).problem(400).contains("there is no policy 'none'"));
    let listed = hub.get("/api/v1/rollouts/policies").rows();
    let names: Vec<&str> = listed.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lenient", "frozen", "default"]);
    assert_eq!(listed[0]["for"], json!({"environment": ["dev"]}));

    // Somebody who waits is judged by the policies of now; a file that is not sound changes nothing.
    std::fs::write(&file, "policies: [{name: lenient, for: {environment: [dev]}, max_failures: many}]").unwrap();
    std::fs::write(&file, sound.replace("max_failures: 1", "max_failures: 0")).unwrap();
    let waited = hub.get(&format!("{DEV}&min_success_percent=100&failure_grace=0s&wait=50s")).json();
    assert_eq!((&waited["verdict"], &waited["policy"]["max_failures"]), (&json!("failed"), &json!(0)));
}

#[test]
fn a_hub_with_an_unsound_policy_file_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.yaml");
    std::fs::write(&file, "policies: [{name: prod, min_sucess: 3}]").unwrap();
    let started = std::process::Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data", folder.path().to_str().unwrap()])
        .args(["--policies", file.to_str().unwrap()])
        .env_clear()
        .output()
        .unwrap();
    assert!(!started.status.success());
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(said.contains("policy 'prod': there is no clause 'min_sucess'"), "{said}");
}

#[test]
fn several_environments_and_workloads_are_one_question_with_a_row_per_target() {
    let hub = TestHub::spawn();
    for environment in ["dev", "stage", "prod"] {
        hub.push(&observed(environment, "1.0", 'a', "2026-01-01T00:00:00Z"));
        say(&hub, &report(&format!("h-{environment}"), environment, &commit('a'), "success"));
    }
    say(&hub, &report("h2", "prod", &commit('a'), "failure"));
    let ask = |query: &str| hub.get(&format!("/api/v1/rollouts/status?{query}")).json();
    let all = ask("environment=*&workload=*&version=1.0");
    assert_eq!((&all["verdict"], &all["total"]), (&json!("failed"), &json!(4)), "{all:#}");
    let environments: Vec<&str> =
        all["targets"].as_array().unwrap().iter().map(|t| t["environment"].as_str().unwrap()).collect();
    assert_eq!((environments.len(), environments[0]), (3, "prod"), "the worst first");
    assert!(all["reason"].as_str().unwrap().starts_with("1 of 3 targets failed. prod web edge: "), "{all:#}");
    let two = ask("environment=dev,stage&workload=web&version=1.0");
    assert_eq!(two["reason"], "All 2 targets are complete: 2 of 2 reconcilers succeeded.");
    let of_source = ask(&format!("source_commit={}", commit('a')));
    assert_eq!((&of_source["verdict"], &of_source["total"]), (&json!("failed"), &json!(4)));
}

#[test]
fn a_failed_rollout_names_what_was_good_last_and_one_under_way_when_it_should_end() {
    let hub = TestHub::spawn();
    let said = |host: &str, digit: char, status: &str, at: &str| {
        say(&hub, &with(&report(host, "dev", &commit(digit), status), json!({"reported_at": at})));
    };
    hub.push(&observed("dev", "0.8", 'a', "2026-01-01T00:00:00Z"));
    said("h1", 'a', "success", "2026-01-01T00:10:00Z");
    said("h2", 'a', "success", "2026-01-01T00:20:00Z");
    hub.push(&observed("dev", "0.9", 'b', "2026-01-02T00:00:00Z"));
    said("h1", 'b', "success", "2026-01-02T00:10:00Z");
    said("h2", 'b', "failure", "2026-01-02T00:20:00Z");
    hub.push(&observed("dev", "1.0", 'c', "2026-01-03T00:00:00Z"));
    said("h1", 'c', "failure", "2026-01-03T00:10:00Z");
    // A host that joined later says nothing about what was before it.
    said("h3", 'c', "failure", "2026-01-03T00:10:00Z");
    let failed = judged(&hub, "", "failed", Some("max_failures"));
    let good =
        json!({"version": "0.8", "commit": format!("sha1:{}", commit('a')), "since": "2026-01-01T00:20:00.000Z"});
    assert_eq!(failed["last_good"], good, "{failed:#}");
    assert_eq!(failed["targets"][0]["last_good"], good);
    assert_eq!(failed["eta"], json!(null));

    said("h1", 'c', "in_progress", "2026-01-03T00:20:00Z");
    said("h3", 'c', "success", "2026-01-03T00:20:00Z");
    let under_way = judged(&hub, "&stall_after=36500d", "in_progress", Some("min_success_percent"));
    assert_eq!(under_way["last_good"], json!(null));
    assert_eq!(under_way["eta"]["at"], "2026-01-03T00:20:00.000Z", "{under_way:#}");
    assert_eq!((&under_way["eta"]["rollouts"], &under_way["eta"]["p50_seconds"]), (&json!(1), &json!(1200.0)));
    assert!(under_way["eta"]["basis"].as_str().unwrap().contains("the last rollout"));
    let usual: Vec<(&str, Option<f64>)> = under_way["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| (h["host"].as_str().unwrap(), h["usual_seconds"].as_f64()))
        .collect();
    assert_eq!(usual, [("h2", Some(1200.0)), ("h1", Some(600.0))]);
    // It says how long hosts take: nothing about what is waited for once enough of them are there.
    let waits = judged(&hub, "&min_success=1&verifications=board", "in_progress", Some("verifications"));
    assert_eq!(waits["eta"], json!(null), "{waits:#}");

    // Where there is no past there is no guess.
    hub.push(&observed("new", "1.0", 'a', "2026-01-01T00:00:00Z"));
    say(&hub, &report("n1", "new", &commit('a'), "in_progress"));
    let first = hub.get("/api/v1/rollouts/status?environment=new&workload=web&version=1.0").json();
    assert_eq!((&first["verdict"], &first["eta"]), (&json!("in_progress"), &json!(null)));
}

#[test]
fn those_who_hold_a_rollout_up_are_paged() {
    let hub = TestHub::spawn();
    assigned(&hub);
    let lines: Vec<String> = (0..130)
        .map(|n| report(&format!("h{n:03}"), "dev", &commit('a'), if n % 10 == 0 { "failure" } else { "in_progress" }))
        .collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    let answer = hub.get(DEV).json();
    assert_eq!(answer["hosts"].as_array().unwrap().len(), 100);
    let mut next = Some(format!("{}&limit=50", answer["links"]["hosts"].as_str().unwrap()));
    let mut all = Vec::new();
    while let Some(path) = next {
        let page = hub.get(&path);
        all.extend(page.rows());
        next = page.header("link").map(|l| l.split(['<', '>']).nth(1).unwrap().to_owned());
    }
    assert_eq!(all.len(), 130);
    let failed = all.iter().take_while(|h| h["bucket"] == "failure").count();
    assert_eq!(failed, 13, "the worst first");
    let hosts: std::collections::BTreeSet<&str> = all.iter().map(|h| h["host"].as_str().unwrap()).collect();
    assert_eq!(hosts.len(), 130);
    let only = hub.get(&format!("{}&bucket=failure", answer["links"]["hosts"].as_str().unwrap())).rows();
    assert_eq!(only.len(), 13);
    assert!(
        hub.get(&format!("{}&bucket=success", answer["links"]["hosts"].as_str().unwrap()))
            .problem(400)
            .contains("success")
    );
}

/// So many minutes ago.
fn ago(minutes: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes)).to_string()
}

fn reported(hub: &TestHub, host: &str, digit: char, minutes_ago: i64) {
    say(hub, &with(&report(host, "dev", &commit(digit), "success"), json!({"reported_at": ago(minutes_ago)})));
}

#[test]
fn a_host_that_went_away_and_came_back_soaks_since_it_came_back() {
    let hub = TestHub::spawn();
    for (version, digit, minutes_ago) in [("1.0", 'a', 300), ("2.0", 'b', 200), ("1.0", 'a', 60)] {
        hub.push(&observed("dev", version, digit, &ago(minutes_ago)));
        reported(&hub, "h1", digit, minutes_ago.min(210) - 50);
    }
    // The branch was reset to the very commit an hour ago, and the host followed ten minutes ago.
    judged(&hub, "&soak=30m", "in_progress", Some("soak"));
    judged(&hub, "&soak=5m", "complete", None);
}

#[test]
fn the_soak_time_begins_when_there_were_enough_hosts_too() {
    let hub = TestHub::spawn();
    assigned(&hub);
    for (host, minutes_ago) in [("h1", 60), ("h2", 10)] {
        reported(&hub, host, 'a', minutes_ago);
    }
    judged(&hub, "&min_success=1&soak=30m", "complete", None);
    judged(&hub, "&min_success=1&min_hosts=2&soak=30m", "in_progress", Some("soak"));
    judged(&hub, "&min_success=1&min_hosts=2&soak=5m", "complete", None);
}

fn smoke(hub: &TestHub, result: &str, at: &str, message: &str) {
    let said = json!({
        "name": "smoke", "result": result, "workload": "web", "environment": "dev", "version": "1.0", "message": message,
        "reported_at": at,
    });
    assert_eq!(hub.post("/api/v1/rollouts/verifications", "application/json", said.to_string()).status, 200);
}

#[test]
fn a_failed_verification_that_is_reported_again_and_again_becomes_final() {
    let hub = TestHub::spawn();
    assigned(&hub);
    reported(&hub, "h1", 'a', 30);
    for minutes_ago in [10, 6, 2, 0] {
        smoke(&hub, "failed", &ago(minutes_ago), &format!("run {minutes_ago}"));
    }
    let failed = judged(&hub, "&verifications=smoke&failure_grace=8m", "failed", Some("verifications"));
    assert_eq!(failed["final"], true, "{failed:#}");
    // A host that fails besides does not make it younger.
    say(&hub, &report("h2", "dev", &commit('a'), "failure"));
    let failed = judged(&hub, "&verifications=smoke&failure_grace=8m", "failed", Some("max_failures"));
    assert_eq!(failed["final"], true, "{failed:#}");
}

#[test]
fn a_verification_that_failed_before_the_rollout_began_leaves_it_the_grace() {
    let hub = TestHub::spawn();
    smoke(&hub, "failed", "2026-01-01T00:00:00Z", "last time");
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    reported(&hub, "h1", 'a', 0);
    let failed = judged(&hub, "&verifications=smoke&failure_grace=10m", "failed", Some("verifications"));
    assert_eq!(
        (&failed["final"], &failed["targets"][0]["failed_since"]),
        (&json!(false), &failed["targets"][0]["started_at"])
    );
}
