//! The views behind dashboards and alerts, over hand-made tables.

use super::views_support::World;

/// Cart: 1.0 on the edge of dev, 1.1 and back to 1.0; prod has had 1.0 and is getting 1.1.
fn world() -> World {
    World::default()
        .with(
            "workload_versions",
            "workspace|application|workload|version|build|build_time|source_repo|source_commit
             team|shop|cart|1.0|7|07:00|https://gitlab.com/shop/cart|0123456789
             team|shop|cart|1.1|8|||s1",
        )
        .with(
            "deployment_targets",
            "workspace|application|workload|environment|deployment_target|repo|target_no|endpoint_no
             team|shop|cart|dev|edge|https://github.com/o/ops|1|11
             team|shop|cart|prod|edge|https://github.com/o/ops|2|12",
        )
        .with(
            "assignments",
            "workspace|application|workload|environment|deployment_target|sequence|version|author|contact|assigned_at|ended_at|assignment_no|target_no
             team|shop|cart|dev|edge|1|1.0|ann||08:00|09:00|101|1
             team|shop|cart|dev|edge|2|1.1|bob||09:00|10:00|102|1
             team|shop|cart|dev|edge|3|1.0|ann|x@y|10:00||103|1
             team|shop|cart|prod|edge|1|1.0|ann||08:30|11:00|201|2
             team|shop|cart|prod|edge|2|1.1|bob||11:00||202|2",
        )
        .with(
            "rollout_states",
            "workspace|application|workload|environment|deployment_target|version|verdict|started_at|completed_at|changed_at|total|success|failure|behind|assignment_no|target_no
             team|shop|cart|dev|edge|1.0|complete|08:00|08:20|08:20|2|2|0|0|101|1
             team|shop|cart|dev|edge|1.1|superseded|09:00||09:10|2|0|1|0|102|1
             team|shop|cart|dev|edge|1.0|complete|10:00|10:30|10:30|2|2|0|0|103|1
             team|shop|cart|prod|edge|1.0|complete|08:30|08:45|08:45|2|2|0|0|201|2
             team|shop|cart|prod|edge|1.1|in_progress|11:00||11:20|2|1|0|1|202|2",
        )
        .with("generation", "taken_at\n12:00")
}

#[tokio::test]
async fn the_history_of_an_application_names_rollbacks_and_where_versions_came_from() {
    let rows = world()
        .rows(
            "SELECT environment, version, build, source_repo, source_commit, repo, author, assigned_at, ended_at, completed_at,
                    verdict, rollback
             FROM application_history ORDER BY environment, assigned_at",
        )
        .await;
    assert_eq!(
        rows,
        [
            "dev | 1.0 | 7 | https://gitlab.com/shop/cart | 0123456789 | https://github.com/o/ops | ann | 08:00 | 09:00 | 08:20 | complete | false",
            "dev | 1.1 | 8 | - | s1 | https://github.com/o/ops | bob | 09:00 | 10:00 | - | superseded | false",
            "dev | 1.0 | 7 | https://gitlab.com/shop/cart | 0123456789 | https://github.com/o/ops | ann | 10:00 | - | 10:30 | complete | true",
            "prod | 1.0 | 7 | https://gitlab.com/shop/cart | 0123456789 | https://github.com/o/ops | ann | 08:30 | 11:00 | 08:45 | complete | false",
            "prod | 1.1 | 8 | - | s1 | https://github.com/o/ops | bob | 11:00 | - | - | in_progress | false",
        ]
    );
}

#[tokio::test]
async fn commits_and_pull_requests_lead_to_their_pages_where_there_are_any() {
    let world = world().with(
        "assignments",
        "workspace|application|workload|environment|deployment_target|sequence|version|commit|pull_request|assigned_at|assignment_no|target_no
         team|shop|cart|dev|edge|1|1.0|sha1:00000000000000000000000000000000000000ab|https://github.com/o/ops/pull/7|08:00|101|1
         team|shop|cart|dev|edge|2|1.1||#8|09:00|102|1",
    );
    let rows = world
        .rows("SELECT version, source_commit_url, commit_url, pull_request_url FROM application_history ORDER BY sequence")
        .await;
    let page = "https://github.com/o/ops/commit/00000000000000000000000000000000000000ab";
    let first =
        format!("1.0 | https://gitlab.com/shop/cart/-/commit/0123456789 | {page} | https://github.com/o/ops/pull/7");
    assert_eq!(rows, [first, "1.1 | - | - | -".to_owned()]);
    let rows = world
        .rows("SELECT version, max(source_commit_url) FROM workload_history GROUP BY version ORDER BY version")
        .await;
    assert_eq!(rows, ["1.0 | https://gitlab.com/shop/cart/-/commit/0123456789", "1.1 | -"]);
    let rows = world.rows("SELECT DISTINCT source_commit_url FROM promotions WHERE version = '1.0'").await;
    assert_eq!(rows, ["https://gitlab.com/shop/cart/-/commit/0123456789"]);
}

#[tokio::test]
async fn the_history_of_a_workload_counts_the_newest_assignment_of_each_target() {
    let rows = world()
        .rows(
            "SELECT version, environment, first_assigned_at, last_assigned_at, completed_at, targets, wanted, complete, success
             FROM workload_history ORDER BY version, environment",
        )
        .await;
    assert_eq!(
        rows,
        [
            "1.0 | dev | 08:00 | 10:00 | 10:30 | 1 | 1 | 1 | 2",
            "1.0 | prod | 08:30 | 08:30 | 08:45 | 1 | 0 | 1 | 2",
            "1.1 | dev | 09:00 | 09:00 | - | 1 | 0 | 0 | 0",
            "1.1 | prod | 11:00 | 11:00 | - | 1 | 1 | 0 | 1",
        ]
    );
}

#[tokio::test]
async fn a_change_failed_that_was_taken_back_and_was_well_again_when_the_older_version_was() {
    let rows = world()
        .rows(
            "SELECT environment, rollouts, completed, failed, change_failure_percent, lead_p50_seconds, restore_p50_seconds
             FROM dora_metrics ORDER BY environment",
        )
        .await;
    // dev: from 07:00 to 08:20 and to 10:30; 1.1 from 09:00 until 10:30. prod: from 07:00 to 08:45.
    assert_eq!(rows, ["dev | 3 | 2 | 1 | 33 | 8700 | 5400", "prod | 2 | 1 | 0 | 0 | 6300 | -"]);
}

#[tokio::test]
async fn what_failed_and_is_not_well_yet_has_no_time_to_restore() {
    let failed = world().with(
        "rollout_states",
        "workspace|application|workload|environment|deployment_target|version|verdict|started_at|completed_at|changed_at|total|success|failure|behind|assignment_no|target_no
         team|shop|cart|dev|edge|1.0|complete|08:00|08:20|08:20|2|2|0|0|101|1
         team|shop|cart|dev|edge|1.1|failed|09:00||09:10|2|0|1|0|102|1
         team|shop|cart|dev|edge|1.0|stalled|10:00||10:30|2|0|0|2|103|1",
    );
    let rows = failed.rows("SELECT environment, failed, restore_p50_seconds FROM dora_metrics").await;
    assert_eq!(rows, ["dev | 1 | -"]);
}

#[tokio::test]
async fn what_is_behind_is_progress_while_the_rollout_is_and_drift_once_it_is_not() {
    let with = |verdict: &str| {
        world()
            .with(
                "rollout_states",
                &format!("verdict|started_at|changed_at|total|failure|assignment_no|target_no\n {verdict}|11:00|11:20|2|0|202|2"),
            )
            .with(
                "reconcilers",
                "host|reconciler|liveness|status|reported_at|host_no|reconciler_no|endpoint_no|commit_no
                 h1|web|online|success|11:10|1|1|12|31
                 h2|web|online|success|11:10|2|2|12|32",
            )
            .with("hosts", "host|liveness|host_no\n h1|online|1\n h2|online|2")
            .with(
                "running_commits",
                "version|place|sequence|missed_at|assignment_no|target_no|commit_no
                 1.0|1|1|11:00|201|2|31
                 1.1|2|2||202|2|32",
            )
    };
    let sql = "SELECT environment, desired_version, state, reconcilers, in_sync, behind, drifted, unchanged_seconds FROM target_health";
    assert_eq!(with("in_progress").rows(sql).await, ["prod | 1.1 | progressing | 2 | 1 | 1 | 0 | 2400"]);
    assert_eq!(with("stalled").rows(sql).await, ["prod | 1.1 | drifted | 2 | 1 | 1 | 1 | 2400"]);
    let cells =
        with("stalled").rows("SELECT component, environment, deployed, versions, state FROM environment_matrix").await;
    assert_eq!(cells, ["team / shop / cart / edge | prod | 1.0 (1), 1.1 (1) | 2 | drifted"]);
}

#[tokio::test]
async fn a_rollout_is_over_when_it_is_complete_or_superseded() {
    let rows = world()
        .rows("SELECT environment, version, verdict, completed_at, over_at FROM rollouts ORDER BY environment, started_at")
        .await;
    assert_eq!(
        rows,
        [
            "dev | 1.0 | complete | 08:20 | 08:20",
            "dev | 1.1 | superseded | - | 10:00",
            "dev | 1.0 | complete | 10:30 | 10:30",
            "prod | 1.0 | complete | 08:45 | 08:45",
            "prod | 1.1 | in_progress | - | -",
        ]
    );
}

#[tokio::test]
async fn versions_of_several_targets_are_listed_and_only_the_three_commonest() {
    let mut targets =
        String::from("workspace|application|workload|environment|deployment_target|target_no|endpoint_no");
    let mut assignments = String::from(
        "workspace|application|workload|environment|deployment_target|version|assigned_at|assignment_no|target_no",
    );
    let mut states = String::from("verdict|started_at|changed_at|assignment_no|target_no");
    for (n, (environment, version)) in [
        ("dev", "1"),
        ("dev", "1"),
        ("dev", "2"),
        ("dev", "3"),
        ("dev", "4"),
        ("prod", "1"),
        ("prod", "2"),
        ("stage", "2"),
        ("stage", "1"),
    ]
    .into_iter()
    .enumerate()
    {
        targets.push_str(&format!("\n team|shop|cart|{environment}|t{n}|{n}|{n}"));
        assignments.push_str(&format!("\n team|shop|cart|{environment}|t{n}|{version}|0{n}:00|{n}|{n}"));
        states.push_str(&format!("\n in_progress|08:00|08:00|{n}|{n}"));
    }
    let world = World::default()
        .with("deployment_targets", &targets)
        .with("assignments", &assignments)
        .with("rollout_states", &states)
        .with("generation", "taken_at\n12:00");
    let rows = world
        .rows(
            "SELECT environment, other_environment, difference, desired, other_desired, deployed, state, targets, other_targets
             FROM environment_comparison WHERE environment = 'prod' ORDER BY other_environment",
        )
        .await;
    assert_eq!(
        rows,
        [
            "prod | dev | scheduled | 1 (1), 2 (1) | 1 (2), 2 (1), 3 (1) +1 | - | nobody | 2 | 5",
            "prod | stage | same | 1 (1), 2 (1) | 1 (1), 2 (1) | - | nobody | 2 | 2",
        ]
    );
}

/// A version, which is a source commit, and the environments it came to: which, when assigned, when complete.
type Promoted<'a> = (&'a str, &'a [(&'a str, &'a str, &'a str)]);

fn promoted(lines: &[Promoted<'_>], now_in: &[(&str, &str)]) -> World {
    let mut assignments =
        String::from("workload|environment|sequence|version|assigned_at|ended_at|assignment_no|target_no");
    let mut states = String::from("verdict|started_at|completed_at|assignment_no|target_no");
    let mut versions = String::from("workload|version|source_commit");
    let environments = ["dev", "stage", "prod"];
    let mut number = 0;
    for (version, steps) in lines {
        versions.push_str(&format!("\n cart|{version}|s{version}"));
        for (environment, assigned, complete) in *steps {
            number += 1;
            let target = environments.iter().position(|e| e == environment).unwrap() + 1;
            let ended = if now_in.contains(&(environment, version)) { "" } else { "23:00" };
            assignments
                .push_str(&format!("\n cart|{environment}|{number}|{version}|{assigned}|{ended}|{number}|{target}"));
            let verdict = if complete.is_empty() { "in_progress" } else { "complete" };
            states.push_str(&format!("\n {verdict}|{assigned}|{complete}|{number}|{target}"));
        }
    }
    World::default()
        .with("workload_versions", &versions)
        .with("assignments", &assignments)
        .with("rollout_states", &states)
        .with("deployment_targets", "workload|environment|target_no\n cart|dev|1\n cart|stage|2\n cart|prod|3")
        .with("generation", "taken_at\n12:00")
}

#[tokio::test]
async fn a_change_waits_from_its_completion_until_the_next_environment_has_it_or_a_later_one() {
    let world = promoted(
        &[
            ("1", &[("dev", "01:00", "01:10"), ("stage", "02:00", "02:10"), ("prod", "03:00", "03:10")]),
            ("2", &[("dev", "04:00", "04:10"), ("stage", "05:00", "05:10")]),
            ("3", &[("dev", "06:00", "06:10"), ("stage", "07:00", "07:10")]),
            ("4", &[("dev", "08:00", "08:10")]),
            ("5", &[("dev", "09:00", "")]),
        ],
        &[("dev", "5"), ("stage", "3"), ("prod", "1")],
    );
    let rows = world
        .rows("SELECT environment, next_environment, version, waiting, waiting_since, waiting_seconds FROM promotion_waits WHERE usual ORDER BY environment")
        .await;
    assert_eq!(rows, ["dev | stage | 4 | 1 | 08:10 | 13800", "stage | prod | 2 | 2 | 05:10 | 24600"]);
}

#[tokio::test]
async fn a_change_that_was_taken_back_does_not_wait() {
    let world = promoted(
        &[("1", &[("dev", "01:00", "01:10"), ("stage", "02:00", "02:10")]), ("2", &[("dev", "04:00", "04:10")])],
        &[("dev", "1"), ("stage", "1")],
    );
    assert!(world.rows("SELECT * FROM promotion_waits WHERE usual").await.is_empty());
}
