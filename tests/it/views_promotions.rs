//! The views of what comes next: promotions, and how long rollouts take.

use super::views_support::World;

/// Commit s1 went from dev over stage to prod, where it is on its way; s0 was in dev before and came back to one of two targets;
/// 0.9 names no source commit. A minute is 60 seconds, an hour 3600.
fn world() -> World {
    World::default()
        .with(
            "workload_versions",
            "workspace|application|workload|version|build_time|source_commit
             team|shop|cart|0.9||
             team|shop|cart|1.0|07:30|s0
             team|shop|cart|1.1|09:00|s1
             team|shop|cart|1.1-rc|08:50|s1
             team|shop|basket|1.1|12:00|s1",
        )
        .with(
            "deployment_targets",
            "workspace|application|workload|environment|deployment_target|target_no
             team|shop|cart|dev|edge|1
             team|shop|cart|dev|hub|2
             team|shop|cart|stage|edge|3
             team|shop|cart|prod|edge|4
             team|shop|basket|dev|edge|5",
        )
        .with(
            "assignments",
            "workspace|application|workload|environment|deployment_target|sequence|version|author|contact|assigned_at|ended_at|assignment_no|target_no
             team|shop|cart|dev|edge|1|0.9|ann||06:00|08:00|101|1
             team|shop|cart|dev|edge|2|1.0|ann||08:00|09:10|102|1
             team|shop|cart|dev|edge|3|1.1-rc|bob|x@y|09:10|09:20|103|1
             team|shop|cart|dev|edge|4|1.1|eve||09:20|09:50|104|1
             team|shop|cart|dev|edge|5|1.0|ann||09:50||105|1
             team|shop|cart|dev|hub|1|1.0|ann||08:05|09:15|201|2
             team|shop|cart|dev|hub|2|1.1|eve||09:15||202|2
             team|shop|cart|stage|edge|1|1.1|eve||09:45||301|3
             team|shop|cart|prod|edge|1|1.1|eve||10:30||401|4
             team|shop|basket|dev|edge|1|1.1|ann||11:00||501|5",
        )
        .with(
            "rollout_states",
            "verdict|started_at|completed_at|assignment_no|target_no
             superseded|06:00||101|1
             complete|08:00|08:10|102|1
             superseded|09:10||103|1
             complete|09:20|09:30|104|1
             stalled|09:50||105|1
             complete|08:05|08:20|201|2
             complete|09:15|09:40|202|2
             complete|09:45|10:20|301|3
             in_progress|10:30||401|4
             complete|11:00|11:10|501|5",
        )
}

#[tokio::test]
async fn a_source_commit_has_one_row_per_environment_on_its_way() {
    let rows = world()
        .rows(
            "SELECT workload, source_commit, version, environment, assigned_at, complete_at, lead_seconds, hop_seconds, verdict,
                    author, targets, contact
             FROM promotions ORDER BY workload, source_commit, assigned_at",
        )
        .await;
    assert_eq!(
        rows,
        [
            // Built after it was assigned, says the declaration: so time counts from the assignment.
            "basket | s1 | 1.1 | dev | 11:00 | 11:10 | 600 | - | complete | ann | 1 | -",
            // It came back to one target and is not complete there, though it was at first.
            "cart | s0 | 1.0 | dev | 08:00 | - | - | - | stalled | ann | 2 | -",
            // The superseded candidate counts for the start, not for the verdict; built at 08:50.
            "cart | s1 | 1.1 | dev | 09:10 | 09:40 | 3000 | - | complete | eve | 2 | -",
            "cart | s1 | 1.1 | stage | 09:45 | 10:20 | 5400 | 2400 | complete | eve | 1 | -",
            "cart | s1 | 1.1 | prod | 10:30 | - | - | - | in_progress | eve | 1 | -",
            "cart | - | 0.9 | dev | 06:00 | - | - | - | superseded | ann | 1 | -",
        ]
    );
}

#[tokio::test]
async fn the_hop_counts_from_the_environment_assigned_before_and_only_when_both_are_complete() {
    let world = World::default()
        .with("workload_versions", "workload|version|source_commit\n cart|1|s\n cart|2|s")
        .with(
            "assignments",
            "workload|environment|sequence|version|assigned_at|assignment_no|target_no
             cart|dev|1|1|08:00|1|1
             cart|stage|1|1|09:00|2|2
             cart|prod|1|2|10:00|3|3
             cart|moon|1|2|10:00|4|4",
        )
        .with(
            "rollout_states",
            "verdict|completed_at|assignment_no|target_no
             complete|08:30|1|1
             failed||2|2
             complete|10:30|3|3
             complete|10:45|4|4",
        );
    let rows = world
        .rows("SELECT environment, version, lead_seconds, hop_seconds, verdict FROM promotions ORDER BY assigned_at, environment")
        .await;
    assert_eq!(
        rows,
        [
            "dev | 1 | 1800 | - | complete",
            "stage | 1 | - | - | failed",
            "moon | 2 | 9900 | - | complete",
            "prod | 2 | 9000 | -900 | complete",
        ]
    );
}

#[tokio::test]
async fn a_retired_target_holds_no_environment_back_in_which_another_one_lives() {
    let world = World::default()
        .with("workload_versions", "workload|version|source_commit\n cart|1|s")
        .with(
            "deployment_targets",
            "workload|environment|deployment_target|target_no|retired_at
             cart|dev|east|1|
             cart|dev|west|2|09:00
             cart|stage|west|3|09:00",
        )
        .with(
            "assignments",
            "workload|environment|deployment_target|sequence|version|assigned_at|ended_at|assignment_no|target_no
             cart|dev|east|1|1|08:00||1|1
             cart|dev|west|1|1|08:10|09:00|2|2
             cart|stage|west|1|1|08:20|09:00|3|3",
        )
        .with(
            "rollout_states",
            "verdict|completed_at|assignment_no|target_no
             complete|08:30|1|1
             superseded||2|2
             superseded||3|3",
        );
    let rows =
        world.rows("SELECT environment, complete_at, verdict, targets FROM promotions ORDER BY assigned_at").await;
    assert_eq!(rows, ["dev | 08:30 | complete | 2", "stage | - | superseded | 1"]);
}

#[tokio::test]
async fn durations_of_rollouts_are_those_of_the_complete_ones() {
    let rows = world()
        .rows("SELECT workload, environment, deployment_target, rollouts, p50_seconds, p90_seconds, max_seconds, completed_at FROM rollout_durations ORDER BY workload, environment, deployment_target")
        .await;
    assert_eq!(
        rows,
        [
            "basket | dev | edge | 1 | 600 | 600 | 600 | 11:10",
            "cart | dev | edge | 2 | 600 | 600 | 600 | 09:30",
            // 15 and 25 minutes.
            "cart | dev | hub | 2 | 1200 | 1440 | 1500 | 09:40",
            "cart | prod | edge | 0 | - | - | - | -",
            "cart | stage | edge | 1 | 2100 | 2100 | 2100 | 10:20",
        ]
    );
}

#[tokio::test]
async fn durations_of_a_host_run_to_its_first_success_at_each_assignment() {
    let world = world()
        .with(
            "assignment_commits",
            "manifests_endpoint|commit|assignment_no|target_no
             e1|c2|102|1
             e1|c4|104|1
             e1|c5|104|1
             e2|d1|201|2",
        )
        .with(
            "transitions",
            "host|reconciler|manifests_endpoint|commit|status|reported_at
             h1|a|e1|c2|in_progress|08:01
             h1|a|e1|c2|success|08:10
             h1|b|e1|c2|success|08:05
             h1|a|e1|c4|failure|09:25
             h1|a|e1|c5|success|09:40
             h1|a|e1|c4|success|09:50
             h2|a|e1|c2|success|07:50
             h2|a|e2|c2|success|09:00
             h2|a|e2|d1|failure|09:00",
        );
    let rows = world
        .rows("SELECT workload, environment, deployment_target, host, deployments, p50_seconds, p90_seconds FROM host_rollout_durations ORDER BY deployment_target, host")
        .await;
    assert_eq!(
        rows,
        [
            // 5 and 20 minutes.
            "cart | dev | edge | h1 | 2 | 750 | 1110",
            // It was faster than the hub learnt of the assignment.
            "cart | dev | edge | h2 | 1 | 0 | 0",
        ]
    );
}
