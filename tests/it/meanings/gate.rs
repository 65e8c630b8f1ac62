//! The table and the verdicts of §8, row by row.

use serde_json::json;

use super::*;

#[test]
fn the_gate_knows_the_unknown() {
    each(|hub| {
        answers(hub, "version=1.0", "no_targets", &[]);
        hub.ingest(&[wanted("web", "1.0", 'a', 0)]);
        answers(hub, "version=9.9", "unknown_commit", &[]);
        answers(hub, &format!("commit={}", c('e')), "unknown_commit", &[]);
        // Zero hosts is never success.
        answers(hub, "version=1.0", "in_progress", &[]);
        answers(hub, "version=1.0&min_success_percent=0&min_hosts=0", "in_progress", &[]);
        let nowhere = hub.gate("environment=nowhere&workload=web&version=1.0");
        judged(hub.name(), "nowhere", &nowhere, "no_targets", &[]);
    });
}

#[test]
fn a_success_counts_until_a_failure_at_the_same_commit_takes_it_back() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            said("h1", 'a', "success", 1),
            attempts("h1", 'b', 'a', "failure", 11),
        ]);
        // A newer commit failing now does not take back what was proven.
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        answers(hub, "version=2.0", "failed", &[("failure", 1)]);
        hub.ingest(&[said("h1", 'a', "failure", 20)]);
        answers(hub, "version=1.0", "superseded", &[("failure", 1)]);
        answers(hub, "version=2.0", "in_progress", &[("behind", 1)]);
    });
}

#[test]
fn a_failing_older_version_says_nothing_about_mine() {
    each(|hub| {
        hub.ingest(&[wanted("web", "1.0", 'a', 0), wanted("web", "2.0", 'b', 10), said("h1", 'a', "failure", 11)]);
        answers(hub, "version=2.0", "in_progress", &[("behind", 1)]);
    });
}

#[test]
fn a_newer_commit_being_tried_gives_its_status_where_mine_was_skipped() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            wanted("web", "3.0", 'd', 20),
            pushed("h1", 'a', "success", 1),
            attempts("h1", 'd', 'a', "failure", 21),
            pushed("h2", 'd', "in_progress", 21),
        ]);
        answers(hub, "version=2.0", "superseded", &[("failure", 1), ("in_progress", 1)]);
    });
}

#[test]
fn asked_by_commit_a_host_at_an_earlier_commit_of_the_same_version_is_behind() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "1.0", 'b', 10),
            said("h1", 'a', "success", 1),
            said("h2", 'b', "success", 11),
        ]);
        answers(hub, "version=1.0", "complete", &[("success", 2)]);
        answers(hub, &format!("commit={}", c('b')), "in_progress", &[("success", 1), ("behind", 1)]);
        answers(hub, &format!("commit={}", c('a')), "complete", &[("success", 2)]);
        shows(hub, "assignments", "version started_at ended_at", &[json!(["1.0", t(0), null])]);
    });
}

#[test]
fn a_revert_by_a_new_commit_is_behind_the_version_it_reverts() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            wanted("web", "1.0", 'd', 20),
            said("h1", 'd', "success", 21),
            said("h2", 'b', "success", 11),
        ]);
        answers(hub, "version=2.0", "superseded", &[("success", 1), ("behind", 1)]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("behind", 1)]);
        shows(
            hub,
            "host_state",
            "host deployed_version drift",
            &[json!(["h1", "1.0", "in_sync"]), json!(["h2", "2.0", "behind"])],
        );
    });
}

#[test]
fn a_version_that_is_everywhere_is_complete_even_when_superseded() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            said("h1", 'a', "success", 1),
            said("h2", 'b', "success", 11),
        ]);
        answers(hub, "version=1.0", "complete", &[("success", 2)]);
        answers(hub, "version=2.0", "in_progress", &[("success", 1), ("behind", 1)]);
    });
}

#[test]
fn the_policy_says_what_is_enough() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            said("h2", 'a', "success", 1),
            said("h3", 'a', "success", 1),
            said("h4", 'a', "failure", 1),
        ]);
        let buckets = [("success", 3), ("failure", 1)];
        answers(hub, "version=1.0", "failed", &buckets);
        answers(hub, "version=1.0&min_success_percent=75", "failed", &buckets);
        answers(hub, "version=1.0&min_success_percent=75&max_failures=1", "complete", &buckets);
        answers(hub, "version=1.0&min_success_percent=76&max_failures=1", "in_progress", &buckets);
        answers(hub, "version=1.0&min_success_percent=75&max_failures=1&min_hosts=4", "in_progress", &buckets);
    });
}

#[test]
fn several_targets_are_complete_only_together_and_those_that_never_knew_the_version_are_left_out() {
    each(|hub| {
        let web = |target: &str, version: &str, commit: char, minute: u32| {
            wanted_on(target, ("web", "dev", target), target, version, commit, minute)
        };
        let at = |path: &str| DEV.replace("/edge", &format!("/{path}"));
        hub.ingest(&[
            web("east", "1.0", 'a', 0),
            web("west", "1.0", 'a', 0),
            web("south", "0.5", 'a', 0),
            said_of("h1", &at("east"), &c('a'), "success", 1),
            said_of("h2", &at("south"), &c('a'), "failure", 1),
        ]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1)]);
        hub.ingest(&[said_of("h3", &at("west"), &c('a'), "success", 2)]);
        answers(hub, "version=1.0", "complete", &[("success", 2)]);
        answers(hub, "version=1.0&deployment_target=south", "unknown_commit", &[]);
        hub.ingest(&[web("east", "2.0", 'b', 10), said_of("h4", &at("west"), &c('a'), "failure", 11)]);
        answers(hub, "version=1.0", "failed", &[("success", 2), ("failure", 1)]);
    });
}

#[test]
fn an_applied_commit_nobody_can_place_leaves_what_was_proven_as_it_was() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            said("h1", 'e', "success", 5),
            said("h2", 'e', "success", 5),
        ]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("behind", 1)]);
    });
}

#[test]
fn a_rollout_is_complete_when_the_last_of_its_reconcilers_is_there_and_not_before_it_began() {
    each(|hub| {
        if hub.name().contains("reference") {
            return;
        }
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            said("h1", 'a', "success", 1),
            said("h1", 'b', "success", 9),
        ]);
        // The host was faster than the descriptor.
        shows(hub, "rollouts", "version completed_at", &[json!(["1.0", t(1)]), json!(["2.0", t(10)])]);
        hub.ingest(&[wanted("web", "1.0", 'a', 20), said("h1", 'a', "success", 25), said("h2", 'a', "success", 1)]);
        // h2 never left a; h1 came back to it.
        let expected = [json!(["1.0", 0, null]), json!(["2.0", 10, null]), json!(["1.0", 20, t(25)])];
        let expected = expected.map(|row| json!([row[0], t(row[1].as_u64().expect("a minute") as u32), row[2]]));
        shows(hub, "rollouts", "version started_at completed_at", &expected);
    });
}
