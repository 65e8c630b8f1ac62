//! The views of the present: environment_state, host_state, environment_discrepancies, drift.

use super::views_support::World;

/// Two targets of one workload. dev wants 1.2 (third assignment: 1.0, 1.1, 1.2); prod wants 1.0 and shares nothing.
/// The commit log of dev: c1 (1.0), c2 (1.1), c3 (1.2), c4 (1.2, only passed).
fn fleet() -> World {
    World::default()
        .with("generation", "generation|seq|taken_at|stalled_before\n g|1|12:00|11:30")
        .with(
            "deployment_targets",
            "workspace|application|workload|environment|deployment_target|first_declared_at|retired_at|target_no|endpoint_no|log_no
             team|shop|cart|dev|edge|08:00||1|11|21
             team|shop|cart|prod|edge|08:00||2|12|22
             team|shop|cart|stage|edge|08:00||3|13|23
             team|shop|cart|old|edge|08:00|09:00|4|14|24",
        )
        .with(
            "assignments",
            "sequence|version|commit|author|contact|assigned_at|ended_at|last_place|assignment_no|target_no|endpoint_no
             1|1.0|c1|ann|team@x|08:00|09:00|1|101|1|11
             2|1.1|c2|ann|team@x|09:00|10:00|2|102|1|11
             3|1.2|c3|bob|team@x|10:00||4|103|1|11
             1|1.0|p1|ann|team@x|08:00||1|201|2|12
             1|1.0||ann|team@x|08:00|||301|3|13
             1|0.9|o1|ann|team@x|07:00|09:00|1|401|4|14",
        )
        .with(
            "running_commits",
            "version|commit|place|sequence|missed_at|assignment_no|target_no|commit_no
             |c0|0||||1|10
             1.0|c1|1|1|09:00|101|1|1
             1.1|c2|2|2|10:00|102|1|2
             1.2|c3|3|3||103|1|3
             1.2|c4|4|3||103|1|4
             1.0|p1|1|1||201|2|9",
        )
        .with(
            "hosts",
            "host|cluster_type|ring|region|labels|liveness|liveness_since|retired_at|contact|host_no
             h1|aks|0|eu||online|07:00|||1
             h2|aks|1|eu||online|07:00|||2
             h3|k3s|1|us||silent|11:00||ops@x|3
             h4|k3s|2|us||online|07:00|||4",
        )
        .with(
            "reconcilers",
            "host|reconciler|commit|attempted_commit|status|liveness|deployed_at|status_since|reported_at|first_reported_at|retired_at|reconciler_no|host_no|endpoint_no|commit_no
             h1|cart|c4|c4|success|online|10:10|10:10|11:59|08:00||1|1|11|4
             h1|cart-b|c3|c3|success|online|10:05|10:05|11:58|08:00||2|1|11|3
             h2|cart|c2|c3|failure|online|10:20|10:20|11:57|08:00||3|2|11|2
             h3|cart|c1|c1|success|silent|08:10|08:10|10:00|08:00||4|3|11|1
             h4|cart|c1|c1|success|online|08:10|08:10|11:50|08:00||5|4|11|1
             h4|other|z9|z9|success|online|09:10|09:10|11:50|08:00||6|4|99|77
             h4|stray|z8|z8|success|online|09:20|09:20|11:50|08:00||7|4|11|78
             h4|early|c0|c0|success|online|07:10|07:10|11:50|07:00||8|4|11|10
             h1|prod|p1|p1|in_progress|online|08:10|11:45|11:50|08:00||9|1|12|9
             h2|prod|p1|p1|unknown|online|08:10|08:10|11:50|08:00||10|2|12|9
             h1|gone|c4|c4|success|online|10:10|10:10|11:59|08:00|11:00|11|1|11|4",
        )
}

#[tokio::test]
async fn environment_state_counts_versions_and_statuses_per_target() {
    let rows = fleet()
        .rows(
            "SELECT environment, desired_version, desired_commit, deployed_version, status, reconcilers, hosts, silent, reported_at, author
             FROM environment_state ORDER BY environment, deployed_version, status, reconcilers",
        )
        .await;
    assert_eq!(
        rows,
        [
            "dev | 1.2 | c3 | 1.0 | success | 2 | 2 | 1 | 11:50 | bob",
            "dev | 1.2 | c3 | 1.1 | failure | 1 | 1 | 0 | 11:57 | bob",
            "dev | 1.2 | c3 | 1.2 | success | 2 | 1 | 0 | 11:59 | bob",
            "dev | 1.2 | c3 | - | success | 2 | 1 | 0 | 11:50 | bob",
            "prod | 1.0 | p1 | 1.0 | in_progress | 1 | 1 | 0 | 11:50 | ann",
            "prod | 1.0 | p1 | 1.0 | unknown | 1 | 1 | 0 | 11:50 | ann",
            "stage | 1.0 | - | - | - | 0 | 0 | 0 | - | ann",
        ]
    );
}

#[tokio::test]
async fn discrepancies_sum_a_version_over_its_statuses_and_keep_empty_targets() {
    let rows = fleet()
        .rows(
            "SELECT environment, desired_version, deployed_version, reconcilers, successful FROM environment_discrepancies
             ORDER BY environment, deployed_version",
        )
        .await;
    assert_eq!(
        rows,
        [
            "dev | 1.2 | 1.0 | 2 | 2",
            "dev | 1.2 | 1.1 | 1 | 0",
            "dev | 1.2 | 1.2 | 2 | 2",
            "dev | 1.2 | - | 2 | 2",
            "prod | 1.0 | 1.0 | 2 | 0",
            "stage | 1.0 | - | 0 | 0",
        ]
    );
}

#[tokio::test]
async fn drift_names_the_first_rule_that_applies() {
    let rows = fleet()
        .rows(
            "SELECT environment, host, reconciler, drift, since, desired_version, deployed_version, behind_by, behind_seconds
             FROM drift ORDER BY host, reconciler",
        )
        .await;
    assert_eq!(
        rows,
        [
            "dev | h1 | cart | in_sync | 10:10 | 1.2 | 1.2 | 0 | 0",
            "dev | h1 | cart-b | in_sync | 10:05 | 1.2 | 1.2 | 0 | 0",
            "prod | h1 | prod | progressing | 11:45 | 1.0 | 1.0 | 0 | 0",
            "dev | h2 | cart | failing | 10:20 | 1.2 | 1.1 | 1 | 7200",
            "prod | h2 | prod | stalled | 08:10 | 1.0 | 1.0 | 0 | 0",
            "dev | h3 | cart | silent | 11:00 | 1.2 | 1.0 | 2 | 10800",
            "dev | h4 | cart | behind | 09:00 | 1.2 | 1.0 | 2 | 10800",
            "dev | h4 | early | behind | 10:00 | 1.2 | - | - | 7200",
            "- | h4 | other | unassigned | 09:10 | - | - | - | -",
            "dev | h4 | stray | unknown_commit | 09:20 | 1.2 | - | - | -",
        ]
    );
}

#[tokio::test]
async fn a_commit_past_what_is_wanted_is_ahead() {
    let world = fleet().with(
        "assignments",
        "sequence|version|assigned_at|ended_at|last_place|assignment_no|target_no|endpoint_no
         2|1.1|09:00|10:00|2|102|1|11
         3|1.2|10:00|10:30|4|103|1|11
         4|1.1|10:30||2|104|1|11",
    );
    let rows = world.rows("SELECT host, drift, behind_by FROM drift WHERE reconciler = 'cart' ORDER BY host").await;
    assert_eq!(rows, ["h1 | ahead | 1", "h2 | failing | 2", "h3 | silent | 3", "h4 | behind | 3"]);
}

#[tokio::test]
async fn who_is_expected_and_never_reported_is_missing() {
    let world = fleet().with(
        "expectations",
        "host|workload|environment|deployment_target|expected_since|reported|host_no|target_no
         h2|cart|dev|edge|09:00|true|2|1
         h2|cart|stage|edge|09:00|false|2|3
         h3|cart|nowhere|edge|07:00|false|3|",
    );
    let rows = world
        .rows("SELECT workspace, environment, host, ring, reconciler, since, desired_version FROM drift WHERE drift = 'missing' ORDER BY environment")
        .await;
    assert_eq!(rows, ["team | stage | h2 | 1 | - | 09:00 | 1.0"]);
}

#[tokio::test]
async fn host_state_shows_what_runs_and_what_is_attempted() {
    let rows = fleet()
        .rows(
            "SELECT host, reconciler, environment, commit, attempted_commit, status, desired_version, deployed_version, drift, contact
             FROM host_state WHERE host IN ('h2', 'h4') AND reconciler IN ('cart', 'other') ORDER BY host, reconciler",
        )
        .await;
    assert_eq!(
        rows,
        [
            "h2 | cart | dev | c2 | c3 | failure | 1.2 | 1.1 | failing | team@x",
            "h4 | cart | dev | c1 | c1 | success | 1.2 | 1.0 | behind | team@x",
            "h4 | other | - | z9 | z9 | success | - | - | unassigned | -",
        ]
    );
}

#[tokio::test]
async fn targets_that_share_an_endpoint_each_count_its_reconcilers() {
    let world = fleet()
        .with(
            "deployment_targets",
            "workload|environment|deployment_target|target_no|endpoint_no
             cart|dev|edge|1|11
             basket|dev|edge|5|11",
        )
        .with("assignments", "version|assignment_no|target_no|endpoint_no\n 1.2|103|1|11\n 7.0|501|5|11");
    let rows = world
        .rows("SELECT workload, sum(reconcilers) FROM environment_state GROUP BY workload ORDER BY workload")
        .await;
    assert_eq!(rows, ["basket | 7", "cart | 7"]);
}
