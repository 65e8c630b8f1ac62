//! What is wanted: normal forms, coverage, order, records made too early, identity, intervals (§3.1-4, §3.14, §3.16).

use serde_json::json;

use super::*;

#[test]
fn meaning_01_one_normal_form_joins_every_spelling() {
    each(|hub| {
        let mut descriptor = wanted("web", "1.0", 'a', 0);
        let manifests = &mut descriptor["spec"]["deploymentTarget"]["manifests"];
        manifests["repo"] = json!("https://GIT.example/org/manifests.git");
        manifests["path"] = json!("/./edge/");
        descriptor["metadata"]["annotations"]["hub.kalypso.io/gitops-revision"] = json!(format!("dev/{}", hex('a')));
        // The model reads host names as they are; a hub does not.
        if hub.name().contains("reference") {
            descriptor["spec"]["deploymentTarget"]["manifests"]["repo"] =
                json!("https://git.example/org/manifests.git");
        }
        hub.ingest(&[
            descriptor,
            said_of("h1", &format!("{DEV}/"), &hex('a').to_uppercase(), "success", 1),
            said_of("h1", DEV, &format!("dev@sha1:{}", hex('a')), "success", 2),
            said_of("h2", &DEV.replace("/edge", "/./edge"), &c('a'), "success", 1),
        ]);
        shows(
            hub,
            "host_state",
            "host commit deployed_version reported_at",
            &[json!(["h1", c('a'), "1.0", t(2)]), json!(["h2", c('a'), "1.0", t(1)])],
        );
        shows(hub, "deployments", "host started_at", &[json!(["h1", t(1)]), json!(["h2", t(1)])]);
        for spelling in
            [c('a'), hex('a'), hex('a').to_uppercase(), format!("dev/{}", hex('a')), format!("dev@{}", c('a'))]
        {
            answers(hub, &format!("commit={spelling}"), "complete", &[("success", 2)]);
        }
    });
}

#[test]
fn meaning_01_names_and_versions_longer_than_thirty_characters_stay_whole() {
    each(|hub| {
        let long = "a-workload-with-a-name-much-longer-than-thirty-characters-and-still-going";
        let version = "1.2.3-feature-branch-with-a-long-name.20250601.4711+build.815";
        hub.ingest(&[wanted_on("x", (long, "dev", long), "edge", version, 'a', 0), said(long, 'a', "success", 1)]);
        shows(
            hub,
            "host_state",
            "host workload deployment_target deployed_version",
            &[json!([long, long, long, version])],
        );
    });
}

#[test]
fn meaning_02_a_commit_that_leaves_the_descriptor_alone_extends_the_assignment() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted_on("api", ("api", "dev", "edge"), "api", "7", 'a', 0),
            // Only `api` changes at commit b, yet Flux moves everybody to b.
            wanted_on("api", ("api", "dev", "edge"), "api", "8", 'b', 10),
            said("h1", 'b', "success", 11),
        ]);
        shows(
            hub,
            "host_state",
            "host commit deployed_version drift behind_by",
            &[json!(["h1", c('b'), "1.0", "in_sync", 0])],
        );
        answers(hub, "version=1.0", "complete", &[("success", 1)]);
        answers(hub, &format!("commit={}", c('b')), "complete", &[("success", 1)]);
        shows(hub, "environment_history", "workload version commit success", &[json!(["web", "1.0", c('b'), 1])]);
    });
}

#[test]
fn meaning_02_a_commit_of_another_branch_extends_nothing() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted_on("web-prod", ("web", "prod", "edge"), "edge", "1.0", 'b', 10),
            said("h1", 'b', "success", 11),
        ]);
        shows(hub, "host_state", "host deployed_version drift", &[json!(["h1", null, "unknown_commit"])]);
        answers(hub, "version=1.0", "in_progress", &[("behind", 1)]);
        answers(hub, &format!("commit={}", c('b')), "unknown_commit", &[]);
    });
}

#[test]
fn meaning_02_a_retired_target_covers_nothing() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            unwanted("web", 5),
            wanted_on("api", ("api", "dev", "edge"), "api", "8", 'b', 10),
            wanted("web", "2.0", 'd', 20),
            said("h1", 'b', "success", 11),
            said("h2", 'a', "success", 12),
        ]);
        shows(
            hub,
            "host_state",
            "host deployed_version drift",
            &[json!(["h1", null, "behind"]), json!(["h2", "1.0", "behind"])],
        );
        answers(hub, &format!("commit={}", c('b')), "unknown_commit", &[]);
        answers(hub, "version=2.0", "in_progress", &[("behind", 2)]);
    });
}

#[test]
fn meaning_03_a_host_that_skipped_my_commit_is_past_it() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            wanted("web", "3.0", 'd', 20),
            said("h1", 'a', "success", 1),
            said("h1", 'd', "success", 21),
            said("h2", 'a', "success", 1),
        ]);
        answers(hub, "version=2.0", "superseded", &[("success", 1), ("behind", 1)]);
        answers(hub, "version=1.0", "complete", &[("success", 2)]);
        shows(hub, "drift", "host drift behind_by", &[json!(["h1", "in_sync", 0]), json!(["h2", "behind", 2])]);
    });
}

#[test]
fn meaning_03_the_order_never_comes_from_the_reports_of_hosts() {
    each(|hub| {
        // Commit e is older than the hub itself: no watcher ever saw it. Reporting it last does not make it newest.
        hub.ingest(&[wanted("web", "1.0", 'a', 0), said("h1", 'a', "success", 1), said("h2", 'e', "success", 30)]);
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("behind", 1)]);
        shows(
            hub,
            "drift",
            "host drift deployed_version",
            &[json!(["h1", "in_sync", "1.0"]), json!(["h2", "unknown_commit", null])],
        );
    });
}

#[test]
fn meaning_03_a_slower_watcher_and_a_repeated_word_are_no_return() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            wanted("web", "2.0", 'b', 12),
            // Another descriptor of the same branch is read late: it reaches a when web has long left it.
            wanted_on("api", ("api", "dev", "edge"), "api", "7", 'a', 20),
            said("h1", 'a', "success", 21),
        ]);
        answers(hub, "version=2.0", "in_progress", &[("behind", 1)]);
        shows(hub, "host_state", "host deployed_version drift behind_by", &[json!(["h1", "1.0", "behind", 1])]);
    });
}

#[test]
fn meaning_03_a_branch_that_returns_to_a_commit_takes_its_latest_place() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            wanted("web", "2.0", 'b', 10),
            wanted("web", "1.0", 'a', 20),
            said("h1", 'b', "success", 11),
            said("h2", 'a', "success", 21),
        ]);
        shows(
            hub,
            "environment_state",
            "workload desired_version deployed_version reconcilers",
            &[json!(["web", "1.0", "1.0", 1]), json!(["web", "1.0", "2.0", 1])],
        );
        answers(hub, "version=1.0", "in_progress", &[("success", 1), ("behind", 1)]);
        // 1.0 was there before 2.0, so running it again is no success of 2.0.
        answers(hub, "version=2.0", "superseded", &[("success", 1), ("behind", 1)]);
    });
}

#[test]
fn meaning_04_a_version_recorded_too_early_leaves_the_older_commit_alone() {
    each(|hub| {
        let early = [wanted("web", "1.0", 'a', 0), wanted("web", "2.0", 'a', 10), said("h1", 'a', "success", 1)];
        hub.ingest(&early);
        // No correction yet: the newest of two versions at one commit names it.
        shows(hub, "host_state", "desired_version deployed_version", &[json!(["2.0", "2.0"])]);
        hub.ingest(&[wanted("web", "2.0", 'b', 11)]);
        shows(hub, "host_state", "desired_version deployed_version drift", &[json!(["2.0", "1.0", "behind"])]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[json!(["1.0", t(0), t(11)]), json!(["2.0", t(11), null])],
        );
        answers(hub, "version=2.0", "in_progress", &[("behind", 1)]);
        answers(hub, &format!("commit={}", c('a')), "complete", &[("success", 1)]);
    });
}

#[test]
fn meaning_04_the_previous_assignment_stays_while_only_early_records_live() {
    each(|hub| {
        // A descriptor named per version: the old one is pruned before the new commit is known.
        hub.ingest(&[
            wanted("web-1-0", "1.0", 'a', 0),
            wanted("web-2-0", "2.0", 'a', 10),
            unwanted("web-1-0", 10),
            wanted("web-2-0", "2.0", 'b', 12),
        ]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[json!(["1.0", t(0), t(12)]), json!(["2.0", t(12), null])],
        );
    });
}

#[test]
fn meaning_04_a_correction_that_arrives_first_says_the_same() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "2.0", 'b', 11),
            wanted("web", "2.0", 'a', 10),
            said("h1", 'a', "success", 1),
            wanted("web", "1.0", 'a', 0),
        ]);
        shows(hub, "host_state", "desired_version deployed_version drift", &[json!(["2.0", "1.0", "behind"])]);
    });
}

#[test]
fn meaning_14_a_descriptor_named_per_version_is_one_target() {
    each(|hub| {
        hub.ingest(&[wanted("web-1-0", "1.0", 'a', 0), wanted("web-2-0", "2.0", 'b', 10), unwanted("web-1-0", 11)]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[json!(["1.0", t(0), t(10)]), json!(["2.0", t(10), null])],
        );
    });
}

#[test]
fn meaning_14_when_the_carrier_in_force_goes_what_the_others_declare_is_wanted_again() {
    each(|hub| {
        hub.ingest(&[
            wanted("one", "1.0", 'a', 0),
            wanted("two", "2.0", 'b', 10),
            // Repeating one's own version is a confirmation, not newer.
            wanted("one", "1.0", 'b', 15),
            unwanted("two", 20),
            said("h1", 'a', "success", 1),
        ]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[json!(["1.0", t(0), t(10)]), json!(["2.0", t(10), t(20)]), json!(["1.0", t(20), null])],
        );
        hub.ingest(&[unwanted("one", 30)]);
        shows(hub, "environment_state", "workload", &[]);
        answers(hub, "version=1.0", "no_targets", &[]);
        shows(
            hub,
            "assignments",
            "version ended_at",
            &[json!(["1.0", t(10)]), json!(["2.0", t(20)]), json!(["1.0", t(30)])],
        );
    });
}

#[test]
fn meaning_14_a_carrier_that_declares_another_target_lets_go_of_the_old_one() {
    each(|hub| {
        hub.ingest(&[
            wanted("web", "1.0", 'a', 0),
            said("h1", 'a', "success", 1),
            wanted_on("web", ("web", "dev", "edge-renamed"), "edge", "1.0", 'b', 10),
        ]);
        shows(
            hub,
            "assignments",
            "deployment_target version started_at ended_at",
            &[json!(["edge", "1.0", t(0), t(10)]), json!(["edge-renamed", "1.0", t(10), null])],
        );
        shows(hub, "environment_history", "deployment_target version commit", &[json!(["edge", "1.0", c('a')])]);
        shows(hub, "environment_discrepancies", "deployment_target reconcilers", &[json!(["edge-renamed", 1])]);
    });
}

#[test]
fn meaning_16_state_has_intervals_also_after_late_data() {
    each(|hub| {
        hub.ingest(&[wanted("web", "1.0", 'a', 0), wanted("web", "3.0", 'd', 20), unwanted("web", 30)]);
        hub.ingest(&[wanted("web", "4.0", 'e', 40), wanted("web", "2.0", 'b', 10)]);
        shows(
            hub,
            "assignments",
            "version started_at ended_at",
            &[
                json!(["1.0", t(0), t(10)]),
                json!(["2.0", t(10), t(20)]),
                json!(["3.0", t(20), t(30)]),
                json!(["4.0", t(40), null]),
            ],
        );
        hub.ingest(&[said("h1", 'a', "success", 1), said("h1", 'd', "success", 21), said("h1", 'b', "success", 11)]);
        hub.ingest(&[forgotten("h1", 25), said("h1", 'd', "success", 45)]);
        shows(
            hub,
            "deployments",
            "host commit started_at ended_at",
            &[
                json!(["h1", c('a'), t(1), t(11)]),
                json!(["h1", c('b'), t(11), t(21)]),
                json!(["h1", c('d'), t(21), t(25)]),
                json!(["h1", c('d'), t(45), null]),
            ],
        );
    });
}

#[test]
fn meaning_07_a_late_declaration_ends_at_the_first_of_the_deletions_after_it() {
    each(|hub| {
        hub.ingest(&[unwanted("web", 0), unwanted("web", 3), unwanted("web", 4), wanted("web", "1.0", 'a', 1)]);
        shows(hub, "assignments", "version started_at ended_at", &[json!(["1.0", t(1), t(3)])]);
    });
}

#[test]
fn meaning_16_an_assignment_shows_the_commit_it_began_at_also_after_the_branch_came_back_to_it() {
    each(|hub| {
        hub.ingest(&[wanted("web", "1.0", 'a', 0), wanted("web", "2.0", 'b', 10), wanted("web", "3.0", 'a', 20)]);
        let began = [json!(["1.0", c('a')]), json!(["2.0", c('b')]), json!(["3.0", c('a')])];
        shows(hub, "assignments", "version commit", &began);
        shows(hub, "rollouts", "version commit", &began);
        shows(hub, "environment_state", "desired_version desired_commit", &[json!(["3.0", c('a')])]);
    });
}

#[test]
fn meaning_16_an_assignment_that_began_without_a_commit_shows_the_first_one_it_covers() {
    each(|hub| {
        let mut unknown = wanted("web", "1.0", 'a', 0);
        unknown["metadata"]["annotations"].as_object_mut().expect("an object").remove("hub.kalypso.io/gitops-revision");
        hub.ingest(&[unknown]);
        shows(hub, "environment_state", "desired_version desired_commit", &[json!(["1.0", null])]);
        hub.ingest(&[wanted("web", "1.0", 'b', 2), wanted("web", "1.0", 'd', 4)]);
        shows(hub, "environment_state", "desired_version desired_commit", &[json!(["1.0", c('b')])]);
    });
}
