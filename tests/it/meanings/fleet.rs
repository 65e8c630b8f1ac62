//! Silence, unknown, many versions at once, secrets (§3.8-10, §3.12).

use serde_json::json;

use super::*;

#[test]
fn meaning_08_nobody_is_silent_before_the_hub_has_listened_for_a_while() {
    each(|hub| {
        // Everything here happened long ago, as after an import.
        hub.ingest(&[wanted("web", "1.0", 'a', 0), said("h1", 'a', "in_progress", 1)]);
        shows(hub, "environment_state", "reconcilers silent", &[json!([1, 0])]);
        answers(hub, "version=1.0", "in_progress", &[("in_progress", 1)]);
    });
}

#[test]
fn meaning_08_a_host_declared_before_it_reports_is_missing_not_absent() {
    each(|hub| {
        let expects = json!([{"workload": "web", "environment": "dev", "deployment_target": "edge"}]);
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            json!({"name": "h2", "expects": expects, "reported_at": t(2)}),
        ]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("never_reported", 1)]);
        shows(hub, "drift", "host drift", &[json!(["h1", "in_sync"]), json!(["h2", "missing"])]);
        hub.ingest(&[said("h2", 'a', "success", 3)]);
        answers(hub, "version=1.0", "complete", &[("success", 2)]);
    });
}

#[test]
fn meaning_08_a_selector_expects_every_living_target_whose_labels_match() {
    each(|hub| {
        let labelled = |mut descriptor: serde_json::Value, labels: serde_json::Value| {
            descriptor["spec"]["deploymentTarget"]["labels"] = labels;
            descriptor
        };
        let edge = |minute| wanted("web", "1.0", 'a', minute);
        let api = wanted_on("api", ("api", "dev", "edge"), "api", "7", 'a', 0);
        let selector = json!({"match_labels": {"ring": "1", "hub.kalypso.io/environment": "dev"}});
        let missing = |hub: &mut dyn HubUnderTest, expected: &[&str]| {
            let mut rows = view(hub, "drift");
            rows.retain(|row| row["drift"] == "missing");
            let mut seen: Vec<String> =
                rows.iter().map(|r| format!("{} {}", r["host"], r["workload"]).replace('"', "")).collect();
            seen.sort();
            assert_eq!(seen, expected, "{}", hub.name());
        };
        // The host first, a target later.
        hub.ingest(&[json!({"name": "h1", "expects_selector": selector, "reported_at": t(0)})]);
        missing(hub, &[]);
        hub.ingest(&[labelled(edge(1), json!({"ring": "1", "hub.kalypso.io/environment": "no more than a claim"}))]);
        answers(hub, "version=1.0", "in_progress", &[("never_reported", 1)]);
        shows(hub, "rollouts", "workload never_reported", &[json!(["web", 1])]);
        // A target first, the host later; who names what it selects too counts once.
        hub.ingest(&[
            labelled(api, json!({"ring": "1"})),
            json!({
                "name": "h2", "expects_selector": selector, "reported_at": t(2),
                "expects": [{"workload": "web", "environment": "dev", "deployment_target": "edge"}],
            }),
        ]);
        missing(hub, &["h1 api", "h1 web", "h2 api", "h2 web"]);
        answers(hub, "version=1.0", "in_progress", &[("never_reported", 2)]);
        // Labels go and come back; what a host names does not hang on them.
        hub.ingest(&[edge(3)]);
        missing(hub, &["h1 api", "h2 api", "h2 web"]);
        hub.ingest(&[labelled(edge(4), json!({"ring": "1"}))]);
        missing(hub, &["h1 api", "h1 web", "h2 api", "h2 web"]);
        // So do targets.
        hub.ingest(&[unwanted("api", 5)]);
        missing(hub, &["h1 web", "h2 web"]);
        hub.ingest(&[said("h1", 'a', "success", 6)]);
        missing(hub, &["h2 web"]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("never_reported", 1)]);
        shows(hub, "rollouts", "workload never_reported", &[json!(["api", 0]), json!(["web", 1])]);
        // A heartbeat says nothing of it; an empty selector is everything, and what is expected by name alone ends it.
        hub.ingest(&[json!({"name": "h2", "reported_at": t(7)})]);
        missing(hub, &["h2 web"]);
        hub.ingest(&[json!({"name": "h2", "expects_selector": {}, "reported_at": t(8)})]);
        missing(hub, &["h2 web"]);
        hub.ingest(&[json!({"name": "h2", "expects": [], "reported_at": t(9)})]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        hub.ingest(&[json!({"name": "h2", "expects_selector": {}, "reported_at": t(8)})]);
        missing(hub, &[]);
    });
}

#[test]
fn meaning_08_a_retired_host_selects_nothing_until_it_is_declared_again() {
    each(|hub| {
        let declared = |minute| json!({"name": "h2", "expects_selector": {}, "reported_at": t(minute)});
        hub.ingest(&[wanted("web", "1.0", 'a', 0), said("h1", 'a', "success", 1), declared(2)]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("never_reported", 1)]);
        hub.ingest(&[json!({"name": "h2", "retired": true, "reported_at": t(3)})]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        hub.ingest(&[declared(4)]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("never_reported", 1)]);
        hub.restart();
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("never_reported", 1)]);
    });
}

#[test]
fn meaning_08_retirement_is_declared_and_no_silence() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            said("h2", 'a', "failure", 1),
            json!({"name": "h2", "retired": true, "reported_at": t(5)}),
        ]);
        answers(hub, "version=1.0", "complete", &[("success", 1), ("retired", 1)]);
        shows(hub, "host_state", "host", &[json!(["h1"])]);
        hub.ingest(&[said("h2", 'a', "failure", 6)]);
        answers(hub, "version=1.0", "failed", &[("success", 1), ("failure", 1)]);
    });
}

#[test]
fn meaning_09_unknown_is_neither_failed_nor_healthy() {
    each(|hub| {
        hub.ingest(&[wanted("web", "1.0", 'a', 0), said("h1", 'a', "unknown", 1), said("h2", 'a', "success", 1)]);
        shows(
            hub,
            "environment_state",
            "deployed_version status reconcilers",
            &[json!(["1.0", "success", 1]), json!(["1.0", "unknown", 1])],
        );
        shows(hub, "environment_history", "success failure in_progress unknown", &[json!([1, 0, 0, 1])]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("in_progress", 1)]);
    });
}

#[test]
fn meaning_10_one_host_may_run_several_versions_and_every_rollup_is_a_distribution() {
    each(|hub| {
        let ring = |name: &str, commit: char, status: &str| {
            json!({
                "host": "h1", "reconciler": name, "reconciler_type": "flux", "manifests_endpoint": DEV, "commit": c(commit),
                "status": status, "reported_at": t(11),
            })
        };
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            ring("canary", 'b', "success"),
            ring("main", 'a', "success"),
            ring("old", 'a', "failure"),
            said("h2", 'a', "success", 12),
        ]);
        shows(
            hub,
            "environment_state",
            "deployed_version status reconcilers hosts",
            &[json!(["1.0", "failure", 1, 1]), json!(["1.0", "success", 2, 2]), json!(["2.0", "success", 1, 1])],
        );
        shows(
            hub,
            "environment_discrepancies",
            "deployed_version reconcilers successful",
            &[json!(["1.0", 3, 2]), json!(["2.0", 1, 1])],
        );
    });
}

#[test]
fn meaning_10_targets_may_share_an_endpoint() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted_on("api", ("api", "dev", "edge"), "edge", "7", 'a', 0),
            wanted_on("api", ("api", "dev", "edge"), "edge", "8", 'b', 10),
            said("h1", 'a', "success", 1),
        ]);
        shows(
            hub,
            "host_state",
            "workload desired_version deployed_version drift",
            &[json!(["web", "1.0", "1.0", "in_sync"]), json!(["api", "8", "7", "behind"])],
        );
        // Asked by endpoint and commit, both targets answer: web is live at b's range too, api is not.
        let answer = hub.gate(&format!("manifests_endpoint={DEV}&commit={}", c('b')));
        judged(hub.name(), "by endpoint", &answer, "in_progress", &[("behind", 2)]);
        let answer = hub.gate(&format!("manifests_endpoint={DEV}&commit={}", c('a')));
        judged(hub.name(), "by endpoint", &answer, "complete", &[("success", 2)]);
    });
}

#[test]
fn meaning_10_environments_have_any_names() {
    each(|hub| {
        let mut descriptor = wanted_on("x", ("web", "D2 — ünïcode/west", "edge"), "edge", "1.0", 'a', 0);
        descriptor["spec"]["deploymentTarget"]["manifests"]["branch"] = json!("dev");
        descriptor["metadata"]["annotations"]["hub.kalypso.io/gitops-revision"] = json!(format!("dev@{}", c('a')));
        hub.ingest(&[descriptor, said("h1", 'a', "success", 1)]);
        shows(hub, "environment_state", "environment deployed_version", &[json!(["D2 — ünïcode/west", "1.0"])]);
    });
}

#[test]
fn meaning_12_no_secrets_are_kept() {
    each(|hub| {
        if hub.name().contains("reference") {
            return;
        }
        let secrets =
            ["ghp_abcdefghijklmnopqrstuvwxyz0123456789", "hunter2hunter2", "AccountKeyValue0123456789abcdef=="];
        let mut report = said("h1", 'a', "failure", 1);
        report["spec"]["deployment"]["statusMessage"] = json!(format!(
            "clone https://bot:{}@git.example/org/x failed; password={} AccountKey={} {}",
            secrets[0],
            secrets[1],
            secrets[2],
            "x".repeat(20_000)
        ));
        hub.ingest(&[report]);
        for name in ["host_state", "transitions"] {
            let row = view(hub, name).remove(0);
            let message = row["message"].as_str().expect("a message");
            for secret in secrets {
                assert!(!message.contains(secret), "{name} of {} tells {secret}", hub.name());
            }
            assert!(message.contains("failed"), "{name} of {} lost the words around", hub.name());
            assert!(message.len() <= 4_200, "{name} of {} keeps {} bytes", hub.name(), message.len());
        }
    });
}

#[test]
fn meaning_16_the_retirement_of_a_host_has_an_end_when_it_comes_back() {
    each(|hub| {
        if hub.name().contains("reference") {
            return;
        }
        hub.ingest(&[
            said("h1", 'a', "success", 1),
            json!({"name": "h1", "retired": true, "reported_at": t(5)}),
            said("h1", 'a', "success", 9),
            said("h2", 'a', "success", 1),
            forgotten("h2", 5),
            said("h2", 'a', "success", 7),
            forgotten("h2", 9),
        ]);
        shows(
            hub,
            "host_transitions",
            "host liveness started_at ended_at",
            &[
                json!(["h1", "online", t(1), t(5)]),
                json!(["h1", "retired", t(5), t(9)]),
                json!(["h1", "online", t(9), null]),
                json!(["h2", "online", t(1), t(5)]),
                json!(["h2", "retired", t(5), t(7)]),
                json!(["h2", "online", t(7), t(9)]),
                json!(["h2", "retired", t(9), null]),
            ],
        );
    });
}
