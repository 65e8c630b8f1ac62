//! Tests of the simulated fleet: determinism, order, and that the story has the turns the demo promises.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DAY: i64 = 24 * HOUR;

fn plot(seed: u64) -> Plot {
    Plot { seed, hosts: 60, history: 3 * DAY, heartbeats: true }
}

/// History and the first six hours of the live part.
fn story(plot: Plot) -> Vec<Occurrence> {
    Simulation::new(plot).take_while(|o| o.at < 6 * HOUR).collect()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(plot(1)), story(plot(1)));
    assert_ne!(story(plot(1)), story(plot(2)));
}

#[test]
fn occurrences_come_in_order_of_time_and_start_with_the_history() {
    let story = story(plot(5));
    assert!(story.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(story[0].at, -3 * DAY);
    assert!(story.iter().filter(|o| o.at < 0).count() > 5_000, "a history worth looking at");
}

#[test]
fn every_version_reaches_dev_before_stage_and_stage_before_prod() {
    let simulation = Simulation::new(plot(1));
    let world = simulation.world().clone();
    let mut seen: BTreeSet<(usize, usize, u32)> = BTreeSet::new();
    for occurrence in simulation.take_while(|o| o.at < 0) {
        if let What::Wanted { target, build, .. } = occurrence.what {
            let target = &world.targets[target];
            if target.environment > 0 {
                assert!(seen.contains(&(target.workload, target.environment - 1, build)));
            }
            seen.insert((target.workload, target.environment, build));
        }
    }
    assert!((0..world.workloads.len()).all(|w| seen.contains(&(w, PROD, 1))), "every workload is in prod at the end");
}

#[test]
fn reports_name_only_commits_that_were_wanted_before() {
    let world = Simulation::new(plot(3)).world().clone();
    let mut wanted = BTreeSet::new();
    for occurrence in story(plot(3)) {
        match occurrence.what {
            What::Wanted { target, commit, .. } => {
                wanted.insert((target, commit));
            }
            What::Reported { reconciler, report } => {
                let target = world.reconcilers[reconciler].target;
                assert!(wanted.contains(&(target, report.attempted)));
                assert!(report.applied.is_none_or(|commit| wanted.contains(&(target, commit))));
                assert!(report.outcome != Outcome::Success || report.applied == Some(report.attempted));
            }
            _ => {}
        }
    }
}

#[test]
fn history_holds_failures_rollbacks_silence_and_a_retired_host() {
    let history: Vec<_> = story(plot(1)).into_iter().filter(|o| o.at < 0).collect();
    let told = |wanted: fn(&Chapter) -> bool| history.iter().any(|o| matches!(&o.what, What::Told(c) if wanted(c)));
    assert!(told(|c| matches!(c, Chapter::RolledBack { .. })));
    assert!(told(|c| matches!(c, Chapter::WentSilent { .. })));
    assert!(told(|c| matches!(c, Chapter::CameBack { .. })));
    assert!(told(|c| matches!(c, Chapter::Retired { .. })));
    let failures = history
        .iter()
        .filter(|o| matches!(&o.what, What::Reported { report, .. } if report.outcome == Outcome::Failure));
    assert!(failures.count() > 50);
}

#[test]
fn after_a_rollback_hosts_report_the_older_commit_again() {
    let mut attempts: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for occurrence in story(plot(1)) {
        if let What::Reported { reconciler, report } = occurrence.what {
            let attempts = attempts.entry(reconciler).or_default();
            if attempts.last() != Some(&report.attempted) {
                attempts.push(report.attempted);
            }
        }
    }
    let returned = attempts.values().filter(|list| list.windows(2).any(|pair| pair[1] < pair[0])).count();
    assert!(returned > 0);
}

#[test]
fn silent_and_retired_hosts_say_nothing_until_they_are_back() {
    let world = Simulation::new(plot(2)).world().clone();
    let mut quiet = BTreeSet::new();
    for occurrence in story(plot(2)) {
        let speaker = match occurrence.what {
            What::Told(Chapter::WentSilent { host } | Chapter::Retired { host }) => {
                quiet.insert(host);
                None
            }
            What::Told(Chapter::CameBack { host }) => {
                quiet.remove(&host);
                None
            }
            What::Heartbeat { host } => Some(host),
            What::Reported { reconciler, .. } => Some(world.reconcilers[reconciler].host),
            _ => None,
        };
        assert!(speaker.is_none_or(|host| !quiet.contains(&host) && !world.hosts[host].never_reports));
    }
}

#[test]
fn without_heartbeats_every_report_says_something_new() {
    let mut last = BTreeMap::new();
    for occurrence in story(Plot { heartbeats: false, ..plot(4) }) {
        assert!(!matches!(occurrence.what, What::Heartbeat { .. }));
        if let What::Reported { reconciler, report } = occurrence.what {
            let repeated = last.insert(reconciler, report) == Some(report);
            assert!(!repeated || report.outcome != Outcome::Success, "only what is tried again repeats itself");
        }
    }
}

#[test]
fn a_fleet_of_any_size_runs() {
    for hosts in [0, 1, 2, 3, 7, 400] {
        let simulation = Simulation::new(Plot { hosts, history: DAY, ..plot(1) });
        assert!(simulation.take_while(|o| o.at < HOUR).count() > 0);
    }
}
