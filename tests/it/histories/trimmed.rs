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

/// The rows of the past, with what they are called.
const PAST: [(&str, &[&str]); 2] = [
    ("transitions", &["transition_id", "host", "reconciler", "manifests_endpoint", "commit", "status", "reported_at"]),
    (
        "deployments",
        &["deployment_id", "sequence", "manifests_endpoint", "commit", "deployed_at", "ended_at", "rolled_back"],
    ),
];

/// The rows of the past that begin or end at a time or later, or go on.
fn since(hub: &mut dyn HubUnderTest, at: At) -> Shown {
    let instant = Micros(at.max(0));
    shown(&PAST, |table| {
        let column = if table == "transitions" { "reported_at" } else { "ended_at" };
        hub.rows(&format!("SELECT * FROM {table} WHERE {column} >= TIMESTAMP '{instant}' OR {column} IS NULL"))
    })
}

/// Many questions for each: half as many as elsewhere do.
fn some_cases() -> ProptestConfig {
    ProptestConfig { cases: cases().cases / 2, ..cases() }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn a_hub_whose_histories_are_trimmed_says_the_same_but_for_the_rows_that_went(
        history in histories(Mix { without_commit: true, late: false }), minutes in prop::collection::vec((0..25_i64, any::<bool>()), 1..4)
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
        for (batch, (minute, crashes)) in history.chunks(history.len().div_ceil(minutes.len())).zip(&minutes) {
            whole.ingest(&lines(batch));
            trimmed.ingest(&lines(batch));
            // What comes later is not older than what is kept: it is on time.
            window = window.max((START + minute * MINUTE).min(batch.last().and_then(|o| o.said_at).unwrap_or(START)));
            trimmed.trim(window);
            alike(&mut whole, &mut trimmed, window)?;
            if *crashes {
                // Who was not answered says it again, also what is older than the window.
                trimmed.crash();
                trimmed.ingest(&lines(batch));
                alike(&mut whole, &mut trimmed, window)?;
            }
        }
        trimmed.restart();
        alike(&mut whole, &mut trimmed, window)?;
    }

    #[test]
    fn reports_that_come_late_of_a_time_that_was_trimmed_leave_what_is_so_now(
        (history, held) in some_held_back(), minutes in (0..25_i64, 0..25_i64)
    ) {
        let late = |o: &Observed, held: &bool| *held && matches!(o.said, Said::Reports(_));
        let (late, on_time): (Vec<_>, Vec<_>) = history.into_iter().zip(held).partition(|(o, held)| late(o, held));
        let told = |some: Vec<(Observed, bool)>| some.into_iter().map(|(o, _)| o).collect::<Vec<_>>();
        let (late, on_time) = (told(late), told(on_time));
        let (mut whole, mut trimmed) = (InProcess::default(), InProcess::default());
        for hub in [&mut whole, &mut trimmed] {
            hub.ingest(&lines(&on_time));
        }
        trimmed.trim(START + minutes.0 * MINUTE);
        for hub in [&mut whole, &mut trimmed] {
            hub.ingest(&lines(&late));
        }
        let window = START + minutes.0.max(minutes.1) * MINUTE;
        let mut alike = |trimmed: &mut InProcess| {
            trimmed.keeps_what_it_would_make_again();
            prop_assert_eq!(by_hub(&EXACT, &mut whole), by_hub(&EXACT, trimmed));
            prop_assert_eq!(verdicts(&mut whole), verdicts(trimmed));
            prop_assert_eq!(since(&mut whole, window)[0].clone(), since(trimmed, window)[0].clone());
            Ok(())
        };
        alike(&mut trimmed)?;
        trimmed.trim(window);
        alike(&mut trimmed)?;
        trimmed.restart();
        alike(&mut trimmed)?;
    }
}

/// A history as it happened, and which of it comes when all else was told.
fn some_held_back() -> impl Strategy<Value = (Vec<Observed>, Vec<bool>)> {
    histories(Mix { without_commit: false, late: false }).prop_flat_map(|history| {
        let held = prop::collection::vec(prop::bool::weighted(0.3), history.len());
        (Just(history), held)
    })
}
