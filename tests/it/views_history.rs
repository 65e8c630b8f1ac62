//! The views of the past, and the contract all views keep.

use koh::snapshot::schema::VIEWS;

use super::views_support::World;

#[tokio::test]
async fn history_joins_each_commit_to_the_assignment_that_covers_it_at_its_endpoint() {
    let world = World::default()
        .with(
            "deployment_targets",
            "workload|environment|deployment_target|retired_at|target_no|endpoint_no
             cart|dev|edge|12:00|1|12",
        )
        .with(
            "assignments",
            "sequence|version|assigned_at|ended_at|assignment_no|target_no|endpoint_no
             1|1.0|08:00|10:00|101|1|11
             2|1.0|10:00|12:00|102|1|12",
        )
        .with(
            "assignment_commits",
            "version|commit|sequence|assignment_no|target_no|endpoint_no|commit_no
             1.0|a|1|101|1|11|1
             1.0|b|2|102|1|12|2",
        )
        .with(
            "endpoint_commits",
            "commit|success|failure|in_progress|unknown|rollbacks|first_deployed_at|last_deployed_at|last_reported_at|endpoint_no|commit_no
             a|3|1|0|0|0|08:05|08:30|09:00|11|1
             x|1|0|0|0|0|07:00|07:00|09:30|11|3
             b|0|0|2|1|1|10:05|10:06|11:00|12|2
             a|1|0|0|0|0|||11:00|12|1",
        );
    let rows = world
        .rows(
            "SELECT version, commit, assigned_at, first_deployed_at, last_deployed_at, success, failure, in_progress, unknown, rolled_back
             FROM environment_history ORDER BY first_deployed_at",
        )
        .await;
    assert_eq!(
        rows,
        [
            "1.0 | a | 08:00 | 08:05 | 08:30 | 3 | 1 | 0 | 0 | false",
            "1.0 | b | 10:00 | 10:05 | 10:06 | 0 | 0 | 2 | 1 | true",
        ]
    );
}

#[tokio::test]
async fn every_view_has_exactly_the_declared_columns() {
    let context = World::default().context().await;
    for view in VIEWS.iter() {
        let frame = context.table(view.schema.name).await.unwrap();
        let found: Vec<_> = frame.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        let declared: Vec<_> = view.schema.columns.iter().map(|c| (c.name.to_string(), c.kind.arrow())).collect();
        assert_eq!(found, declared, "view {}", view.schema.name);
    }
}
