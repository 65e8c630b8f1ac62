//! What is told: rollback, nothing overwritten, event time, sources, reports without a commit, attempted and applied
//! (§3.5-7, §3.11, §3.13-15).

use serde_json::json;

use super::*;

#[test]
fn meaning_05_rollback_is_visible() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            said("h1", 'a', "success", 1),
            said("h1", 'b', "success", 11),
            said("h1", 'a', "success", 21),
        ]);
        shows(
            hub,
            "deployments",
            "host commit started_at ended_at rolled_back",
            &[
                json!(["h1", c('a'), t(1), t(11), false]),
                json!(["h1", c('b'), t(11), t(21), false]),
                json!(["h1", c('a'), t(21), null, true]),
            ],
        );
        shows(
            hub,
            "host_state",
            "host commit deployed_version rolled_back deployed_at",
            &[json!(["h1", c('a'), "1.0", true, t(21)])],
        );
        shows(
            hub,
            "environment_history",
            "version commit first_deployed_at last_deployed_at rolled_back",
            &[json!(["1.0", c('a'), t(1), t(21), 1]), json!(["2.0", c('b'), t(11), t(11), 0])],
        );
        // 2.0 had succeeded there; what runs now is behind it.
        answers(hub, "version=2.0", "in_progress", &[("behind", 1)]);
    });
}

#[test]
fn meaning_05_a_heartbeat_a_return_after_retirement_and_another_endpoint_are_no_rollback() {
    each(|hub| {
        let elsewhere = DEV.replace("/edge", "/other");
        hub.ingest(&[
            said("h1", 'a', "success", 1),
            said("h1", 'a', "failure", 2),
            said("h1", 'a', "success", 3),
            said("h2", 'a', "success", 1),
            forgotten("h2", 5),
            said("h2", 'a', "success", 9),
            said("h3", 'a', "success", 1),
            said_of("h3", &elsewhere, &c('b'), "success", 5),
            said("h3", 'a', "success", 9),
        ]);
        shows(
            hub,
            "deployments",
            "host commit started_at ended_at rolled_back",
            &[
                json!(["h1", c('a'), t(1), null, false]),
                json!(["h2", c('a'), t(1), t(5), false]),
                json!(["h2", c('a'), t(9), null, false]),
                json!(["h3", c('a'), t(1), t(5), false]),
                json!(["h3", c('b'), t(5), t(9), false]),
                json!(["h3", c('a'), t(9), null, false]),
            ],
        );
    });
}

#[test]
fn meaning_06_nothing_is_overwritten() {
    each(|hub| {
        hub.ingest(&[
            said("h1", 'a', "failure", 1),
            said("h1", 'a', "success", 2),
            said("h1", 'a', "success", 3),
            forgotten("h1", 4),
            said("h1", 'a', "success", 6),
        ]);
        shows(
            hub,
            "transitions",
            "host commit status reported_at last_confirmed_at",
            &[
                json!(["h1", c('a'), "failure", t(1), t(1)]),
                json!(["h1", c('a'), "success", t(2), t(3)]),
                json!(["h1", c('a'), "success", t(6), t(6)]),
            ],
        );
    });
}

#[test]
fn meaning_06_deletion_closes_and_history_stays() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            forgotten("h1", 5),
            unwanted("web", 6),
        ]);
        shows(hub, "host_state", "host", &[]);
        shows(hub, "environment_state", "workload", &[]);
        shows(hub, "environment_history", "version commit success", &[json!(["1.0", c('a'), 1])]);
        shows(hub, "deployments", "host started_at ended_at", &[json!(["h1", t(1), t(5)])]);
        shows(hub, "assignments", "version started_at ended_at", &[json!(["1.0", t(0), t(6)])]);
    });
}

#[test]
fn meaning_07_a_change_that_arrives_late_splits_the_run_it_falls_into() {
    each(|hub| {
        hub.ingest(&[said("h1", 'a', "success", 1), said("h1", 'a', "success", 9), said("h1", 'a', "failure", 5)]);
        shows(
            hub,
            "transitions",
            "commit status reported_at last_confirmed_at",
            &[
                json!([c('a'), "success", t(1), t(1)]),
                json!([c('a'), "failure", t(5), t(5)]),
                json!([c('a'), "success", t(9), t(9)]),
            ],
        );
        shows(hub, "deployments", "commit started_at ended_at", &[json!([c('a'), t(1), null])]);
        hub.ingest(&[said("h1", 'b', "success", 7)]);
        shows(
            hub,
            "deployments",
            "commit started_at ended_at rolled_back",
            &[
                json!([c('a'), t(1), t(7), false]),
                json!([c('b'), t(7), t(9), false]),
                json!([c('a'), t(9), null, true]),
            ],
        );
    });
}

#[test]
fn meaning_07_late_words_never_disturb_newer_ones_but_may_explain_a_commit() {
    each(|hub| {
        hub.ingest(&[said("h1", 'b', "success", 20), said("h1", 'a', "failure", 10)]);
        shows(
            hub,
            "host_state",
            "commit status deployed_version drift",
            &[json!([c('b'), "success", null, "unassigned"])],
        );
        hub.ingest(&[wanted("web", "2.0", 'b', 15), wanted("web", "1.0", 'a', 5)]);
        shows(
            hub,
            "host_state",
            "commit status deployed_version drift",
            &[json!([c('b'), "success", "2.0", "in_sync"])],
        );
        shows(
            hub,
            "environment_history",
            "version commit success failure",
            &[json!(["1.0", c('a'), 0, 1]), json!(["2.0", c('b'), 1, 0])],
        );
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
    });
}

#[test]
fn meaning_07_at_equal_times_failure_outweighs_success_and_deletion_is_last() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        each(|hub| {
            let same = ["unknown", "failure", "success", "in_progress"];
            let words: Vec<_> = order.iter().map(|i| said("h1", 'a', same[*i], 5)).collect();
            hub.ingest(&words);
            shows(hub, "host_state", "status", &[json!(["failure"])]);
            hub.ingest(&[forgotten("h1", 5)]);
            shows(hub, "host_state", "status", &[]);
        });
    }
}

#[test]
fn meaning_07_a_deletion_may_arrive_before_its_object_and_a_later_word_undoes_it() {
    each(|hub| {
        hub.ingest(&[
            forgotten("h1", 5),
            unwanted("web", 5),
            said("h1", 'a', "success", 3),
            wanted("web", "1.0", 'a', 2),
        ]);
        shows(hub, "host_state", "host", &[]);
        shows(hub, "assignments", "version started_at ended_at", &[json!(["1.0", t(2), t(5)])]);
        hub.ingest(&[said("h1", 'a', "success", 6), wanted("web", "1.0", 'a', 7)]);
        shows(hub, "host_state", "host deployed_version", &[json!(["h1", "1.0"])]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[json!(["1.0", t(2), t(5)]), json!(["1.0", t(7), null])],
        );
    });
}

#[test]
fn meaning_07_a_time_far_ahead_is_not_believed_and_cannot_silence_what_follows() {
    each(|hub| {
        let mut report = said("h1", 'a', "failure", 1);
        report["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!("2099-01-01T00:00:00Z");
        hub.ingest(&[report.clone()]);
        let first = view(hub, "host_state");
        let reported_at = first[0]["reported_at"].as_str().expect("a time").to_string();
        assert!(reported_at.as_str() < "2098", "{} believes {reported_at}", hub.name());
        // The same word again is the same word: it keeps the time of its first receipt.
        hub.ingest(&[report]);
        shows(hub, "host_state", "status reported_at", &[json!(["failure", reported_at])]);
        let mut now = said("h1", 'a', "success", 1);
        let annotations = now["metadata"]["annotations"].as_object_mut().expect("an object");
        annotations.remove("hub.kalypso.io/observed-at");
        hub.ingest(&[now]);
        shows(hub, "host_state", "status", &[json!(["success"])]);
    });
}

#[test]
fn meaning_07_a_word_without_a_time_happened_when_it_was_first_received() {
    each(|hub| {
        let untimed = |status: &str| {
            let mut report = said("h1", 'a', status, 1);
            report["metadata"]["annotations"] = json!({});
            report
        };
        hub.ingest(&[untimed("success")]);
        let before = view(hub, "transitions");
        hub.ingest(&[untimed("success")]);
        assert_eq!(
            comparable(view(hub, "transitions"), &["reported_at", "last_confirmed_at"]),
            comparable(before, &["reported_at", "last_confirmed_at"])
        );
        // The same content after another one is said anew.
        hub.ingest(&[untimed("failure"), untimed("success")]);
        shows(hub, "transitions", "status", &[json!(["success"]), json!(["failure"]), json!(["success"])]);
        shows(hub, "host_state", "status", &[json!(["success"])]);
    });
}

#[test]
fn meaning_11_the_freshest_of_several_sources_wins_and_the_loser_is_still_visible() {
    each(|hub| {
        hub.ingest(&[said("h1", 'b', "success", 10), pushed("h1", 'a', "failure", 8)]);
        shows(hub, "host_state", "host commit status", &[json!(["h1", c('b'), "success"])]);
        hub.ingest(&[pushed("h1", 'b', "failure", 12)]);
        shows(hub, "host_state", "host commit status", &[json!(["h1", c('b'), "failure"])]);
        shows(
            hub,
            "transitions",
            "commit status reported_at",
            &[json!([c('a'), "failure", t(8)]), json!([c('b'), "success", t(10)]), json!([c('b'), "failure", t(12)])],
        );
    });
}

#[test]
fn meaning_13_a_report_without_a_commit_gives_its_status_to_what_runs() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            said_of("h1", DEV, "", "failure", 5),
        ]);
        shows(
            hub,
            "host_state",
            "commit attempted_commit status deployed_version",
            &[json!([c('a'), c('a'), "failure", "1.0"])],
        );
        shows(hub, "environment_history", "commit success failure", &[json!([c('a'), 0, 1])]);
        shows(hub, "deployments", "commit started_at ended_at", &[json!([c('a'), t(1), null])]);
        answers(hub, "version=1.0", "failed", &[("failure", 1)]);
        hub.ingest(&[said_of("h1", DEV, "", "success", 7)]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
    });
}

#[test]
fn meaning_13_at_a_new_endpoint_the_commit_stays_unknown_and_the_old_endpoint_keeps_its_own() {
    each(|hub| {
        let elsewhere = DEV.replace("/edge", "/other");
        hub.ingest(&[said("h1", 'a', "success", 1), said_of("h1", &elsewhere, "", "failure", 5)]);
        shows(hub, "host_state", "commit attempted_commit status", &[json!([null, null, "failure"])]);
        hub.ingest(&[said_of("h1", DEV, "", "in_progress", 8)]);
        shows(hub, "host_state", "commit status", &[json!([c('a'), "in_progress"])]);
        shows(
            hub,
            "transitions",
            "manifests_endpoint commit status reported_at",
            &[
                json!([DEV, c('a'), "success", t(1)]),
                json!([elsewhere, null, "failure", t(5)]),
                json!([DEV, c('a'), "in_progress", t(8)]),
            ],
        );
    });
}

#[test]
fn meaning_14_a_reconciler_lives_while_any_carrier_declares_it() {
    each(|hub| {
        hub.ingest(&[said("h1", 'a', "success", 1), pushed("h1", 'a', "success", 2), forgotten("h1", 5)]);
        shows(hub, "host_state", "host", &[json!(["h1"])]);
        let mut gone = pushed("h1", 'a', "success", 6);
        gone["deleted"] = json!(true);
        hub.ingest(&[gone]);
        shows(hub, "host_state", "host", &[]);
        // A report newer than the retirement undoes it, whatever its source; an older one does not.
        hub.ingest(&[said("h1", 'a', "success", 4)]);
        shows(hub, "host_state", "host", &[]);
        hub.ingest(&[said("h1", 'a', "success", 9)]);
        shows(hub, "host_state", "host deployed_at", &[json!(["h1", t(9)])]);
    });
}

#[test]
fn meaning_14_a_reconciler_pointed_elsewhere_leaves_its_history_where_it_happened() {
    each(|hub| {
        let prod = "https://git.example/org/manifests/prod/edge";
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted_on("web-prod", ("web", "prod", "edge"), "edge", "0.9", 'b', 0),
            said("h1", 'a', "success", 1),
            said_of("h1", prod, &c('b'), "success", 10),
        ]);
        shows(hub, "host_state", "environment deployed_version commit", &[json!(["prod", "0.9", c('b')])]);
        shows(
            hub,
            "environment_state",
            "environment deployed_version status reconcilers",
            &[json!(["dev", null, null, 0]), json!(["prod", "0.9", "success", 1])],
        );
        shows(
            hub,
            "environment_history",
            "environment version success",
            &[json!(["dev", "1.0", 1]), json!(["prod", "0.9", 1])],
        );
    });
}

#[test]
fn meaning_15_attempted_is_not_applied() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            pushed("h1", 'a', "success", 1),
            attempts("h1", 'b', 'a', "failure", 12),
        ]);
        shows(
            hub,
            "host_state",
            "commit attempted_commit status deployed_version desired_version drift",
            &[json!([c('a'), c('b'), "failure", "1.0", "2.0", "failing"])],
        );
        shows(
            hub,
            "transitions",
            "commit status reported_at",
            &[json!([c('a'), "success", t(1)]), json!([c('b'), "failure", t(12)])],
        );
        shows(
            hub,
            "deployments",
            "commit started_at ended_at rolled_back",
            &[json!([c('a'), t(1), t(12), false]), json!([c('b'), t(12), null, false])],
        );
        answers(hub, "version=2.0", "failed", &[("failure", 1)]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        shows(hub, "environment_history", "version success failure", &[json!(["1.0", 1, 0]), json!(["2.0", 0, 1])]);
    });
}

#[test]
fn meaning_15_an_applied_commit_is_a_word_of_success_on_it() {
    each(|hub| {
        // a had failed; later, while b fails, the source says that a did succeed in the end.
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            pushed("h1", 'a', "failure", 1),
            attempts("h1", 'b', 'a', "failure", 12),
        ]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        shows(hub, "transitions", "commit status", &[json!([c('a'), "failure"]), json!([c('b'), "failure"])]);
    });
}

#[test]
fn meaning_15_a_status_without_a_commit_is_about_the_applied_one() {
    each(|hub| {
        let mut lost = pushed("h1", 'a', "failure", 20);
        lost.as_object_mut().expect("an object").remove("commit");
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            pushed("h1", 'a', "success", 1),
            attempts("h1", 'b', 'a', "in_progress", 12),
            lost,
        ]);
        shows(hub, "host_state", "commit attempted_commit status", &[json!([c('a'), c('b'), "failure"])]);
        shows(
            hub,
            "transitions",
            "commit status reported_at",
            &[
                json!([c('a'), "success", t(1)]),
                json!([c('b'), "in_progress", t(12)]),
                json!([c('a'), "failure", t(20)]),
            ],
        );
        answers(hub, "version=1.0", "superseded", &[("failure", 1)]);
        answers(hub, "version=2.0", "in_progress", &[("in_progress", 1)]);
    });
}

#[test]
fn meaning_15_at_one_time_a_failure_outweighs_the_success_that_another_report_implies() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            pushed("h1", 'a', "failure", 5),
            attempts("h1", 'b', 'a', "failure", 5),
        ]);
        shows(hub, "environment_history", "commit success failure", &[json!([c('a'), 0, 1])]);
        answers(hub, "version=1.0", "failed", &[("failure", 1)]);
        hub.ingest(&[attempts("h1", 'b', 'a', "failure", 6)]);
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
    });
}

#[test]
fn meaning_15_a_report_that_names_one_commit_twice_says_what_one_that_names_it_once_says() {
    each(|hub| {
        let twice = |minute| attempts("h1", 'a', 'a', "success", minute);
        let once = |minute| {
            let mut report = twice(minute);
            report.as_object_mut().expect("an object").remove("applied_commit");
            report
        };
        hub.ingest(&[once(0), twice(10), once(14), pushed("h1", 'b', "success", 1)]);
        shows(
            hub,
            "deployments",
            "commit started_at ended_at",
            &[json!([c('a'), t(0), t(1)]), json!([c('b'), t(1), t(14)]), json!([c('a'), t(14), null])],
        );
    });
}

#[test]
fn meaning_06_what_was_said_between_two_deletions_that_came_late_was_said_by_the_living() {
    each(|hub| {
        hub.ingest(&[
            said("h1", 'a', "unknown", 0),
            said("h1", 'a', "in_progress", 3),
            said("h1", 'a', "unknown", 7),
            forgotten("h1", 2),
            forgotten("h1", 4),
        ]);
        shows(
            hub,
            "deployments",
            "started_at ended_at",
            &[json!([t(0), t(2)]), json!([t(3), t(4)]), json!([t(7), null])],
        );
        shows(hub, "transitions", "status", &[json!(["unknown"]), json!(["in_progress"]), json!(["unknown"])]);
    });
}

#[test]
fn meaning_07_what_only_repeats_a_run_is_no_departure_however_late_it_comes() {
    each(|hub| {
        hub.ingest(&[
            pushed("h1", 'b', "success", 12),
            pushed("h1", 'a', "unknown", 0),
            pushed("h1", 'b', "success", 13),
            pushed("h1", 'b', "success", 0),
            pushed("h1", 'a', "unknown", 1),
        ]);
        // Of b from 0 to 13 the first and the last time were kept when a came into it.
        shows(
            hub,
            "transitions",
            "commit reported_at last_confirmed_at",
            &[
                json!([c('a'), t(0), t(0)]),
                json!([c('b'), t(0), t(0)]),
                json!([c('a'), t(1), t(1)]),
                json!([c('b'), t(13), t(13)]),
            ],
        );
    });
}

#[test]
fn meaning_14_a_carrier_that_names_another_and_returns_at_one_time_never_let_go() {
    each(|hub| {
        let roaming = |host: &str, status: &str, minute: u32| {
            let commit = if host == "h1" { String::new() } else { c('a') };
            let mut report = said_of(host, DEV, &commit, status, minute);
            report["metadata"]["name"] = json!("roaming");
            report
        };
        // Of one time, unknown comes before failure: h2 is named, then h1, then h2 again.
        hub.ingest(&[
            roaming("h2", "unknown", 0),
            roaming("h2", "unknown", 15),
            roaming("h2", "failure", 14),
            roaming("h1", "unknown", 14),
        ]);
        shows(hub, "deployments", "host started_at ended_at", &[json!(["h2", t(0), null])]);
    });
}
