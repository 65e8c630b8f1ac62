//! A hub that drops what is older than its window, against one that keeps everything.

use koh::model::Micros;
use proptest::prelude::*;

use super::*;

/// What else trimming leaves as it was, by view.
const LEFT: [(&str, &[&str]); 3] = [
    ("host_state", &["host", "reconciler", "rolled_back", "deployed_at"]),
    ("environment_history", &["version", "commit", "first_deployed_at", "last_deployed_at", "rolled_back"]),
    ("rollouts", &["version", "verdict", "completed_at"]),
];

/// The rows of the past that begin or end at a time or later, or go on.
fn since(hub: &mut dyn HubUnderTest, at: At) -> Shown {
    let instant = Micros(at.max(0));
    shown(&KEPT[2..], |table| {
        let column = if table == "transitions" { "reported_at" } else { "ended_at" };
        hub.rows(&format!("SELECT * FROM {table} WHERE {column} >= TIMESTAMP '{instant}' OR {column} IS NULL"))
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_hub_whose_histories_are_trimmed_says_the_same_but_for_the_rows_that_went(
        history in histories(Mix { without_commit: true, late: false }), minutes in prop::collection::vec(0..25_i64, 1..4)
    ) {
        let (mut whole, mut trimmed) = (InProcess::default(), InProcess::default());
        let mut window = At::MIN;
        let alike = |whole: &mut InProcess, trimmed: &mut InProcess, window: At| {
            trimmed.keeps_what_it_would_make_again();
            prop_assert_eq!(by_hub(&EXACT, whole), by_hub(&EXACT, trimmed));
            prop_assert_eq!(by_hub(&LEFT, whole), by_hub(&LEFT, trimmed));
            prop_assert_eq!(since(whole, window), since(trimmed, window));
            prop_assert_eq!(verdicts(whole), verdicts(trimmed));
            Ok(())
        };
        for (batch, minute) in history.chunks(history.len().div_ceil(minutes.len())).zip(&minutes) {
            whole.ingest(&lines(batch));
            trimmed.ingest(&lines(batch));
            // What comes later is not older than what is kept: it is on time.
            window = window.max((START + minute * MINUTE).min(batch.last().and_then(|o| o.said_at).unwrap_or(START)));
            trimmed.trim(window);
            alike(&mut whole, &mut trimmed, window)?;
        }
        trimmed.restart();
        alike(&mut whole, &mut trimmed, window)?;
    }
}
