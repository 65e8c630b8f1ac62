//! Random small histories of everything that an answer of the gate hangs on, time included: whoever waits is told what anybody
//! who asks anew would be told.
//!
//! The runtime looks at [`koh::rollout::Depends`] and at nothing else to decide whether an answer must be made anew, so that is
//! what is held against fresh answers here.

use std::sync::Arc;

use koh::model::{Body, CarrierKey, Clock, Fact, Micros, Sighting};
use koh::rollout::{self, Asked, Clauses, Evaluation, Freeze, Policies, Question, Rules, SilentPolicy};
use koh::sources::push::{Decoder, Form};
use koh::state::{Heartbeat, Heartbeats, Novelty, State};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

const START: Micros = Micros(1_790_000_000_000_000);
const MINUTE: i64 = 60_000_000;
const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];
const STATUSES: [&str; 3] = ["in_progress", "failure", "success"];
const NAMES: [&str; 2] = ["smoke", "load"];
const RESULTS: [&str; 3] = ["pending", "passed", "failed"];
const CLASSES: [&str; 3] = ["", "edge", "laptop"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Declare {
        environment: usize,
        version: usize,
        commit: usize,
        ring: usize,
        moved: bool,
    },
    Undeclare {
        environment: usize,
    },
    Sight {
        watcher: u128,
        commit: usize,
    },
    Report {
        reconciler: usize,
        moved: bool,
        commit: usize,
        applied: Option<usize>,
        status: usize,
        ring: usize,
    },
    Forget {
        reconciler: usize,
    },
    Label {
        host: usize,
        ring: usize,
        class: usize,
    },
    Expect {
        host: usize,
        environment: usize,
        selects: bool,
    },
    Contact {
        host: usize,
        contact: usize,
    },
    Retire {
        host: usize,
    },
    Verify {
        name: usize,
        subject: usize,
        result: usize,
    },
    /// By which of several intervals.
    Listen {
        classes: usize,
    },
}

/// When it happens: minutes after the one before, and how many minutes late it is told.
type Timed = (i64, i64, Step);

fn steps() -> impl Strategy<Value = Step> {
    let (host, environment, ring, commit) = (|| 0..4_usize, || 0..2_usize, || 0..3_usize, || 0..5_usize);
    let rarely = || prop::bool::weighted(0.15);
    // Mostly success.
    let status = prop_oneof![1 => Just(0_usize), 2 => Just(1), 5 => Just(2)];
    let applied = prop_oneof![4 => Just(None), 1 => commit().prop_map(Some)];
    prop_oneof![
        6 => (environment(), 0..3_usize, commit(), ring(), rarely()).prop_map(
            |(environment, version, commit, ring, moved)| Step::Declare { environment, version, commit, ring, moved }
        ),
        1 => environment().prop_map(|environment| Step::Undeclare { environment }),
        2 => (1..3_u128, commit()).prop_map(|(watcher, commit)| Step::Sight { watcher, commit }),
        10 => (0..6_usize, rarely(), commit(), applied, status, ring()).prop_map(
            |(reconciler, moved, commit, applied, status, ring)| {
                Step::Report { reconciler, moved, commit, applied, status, ring }
            }
        ),
        1 => (0..6_usize).prop_map(|reconciler| Step::Forget { reconciler }),
        2 => (host(), ring(), 0..3_usize).prop_map(|(host, ring, class)| Step::Label { host, ring, class }),
        2 => (host(), environment(), any::<bool>())
            .prop_map(|(host, environment, selects)| Step::Expect { host, environment, selects }),
        1 => (host(), 0..2_usize).prop_map(|(host, contact)| Step::Contact { host, contact }),
        1 => host().prop_map(|host| Step::Retire { host }),
        3 => (0..2_usize, 0..4_usize, 0..3_usize)
            .prop_map(|(name, subject, result)| Step::Verify { name, subject, result }),
        2 => (0..3_usize).prop_map(|classes| Step::Listen { classes }),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Timed>> {
    let pause = prop_oneof![6 => Just(0_i64), 4 => 1..4_i64, 1 => 10..40_i64];
    let late = prop_oneof![4 => Just(0_i64), 1 => 1..30_i64];
    prop::collection::vec((pause, late, steps()), 1..50)
}

fn ring(n: usize) -> Value {
    if n == 0 { json!({}) } else { json!({"ring": n.to_string()}) }
}

fn sha(n: usize) -> String {
    format!("sha1:{n}{}", "0".repeat(39))
}

fn folder(environment: usize, moved: bool) -> &'static str {
    if moved { "elsewhere" } else { ENVIRONMENTS[environment] }
}

/// What a step says, in the flat shapes.
fn line(step: &Step, at: &str) -> Option<(Form, Value)> {
    Some(match step {
        Step::Declare { environment, version, commit, ring: n, moved } => {
            let said = json!({
                "workspace": "team", "application": "shop", "workload": "web", "environment": ENVIRONMENTS[*environment],
                "deployment_target": "edge", "version": format!("1.{version}"), "source_commit": sha(5 + version % 2),
                "manifests": {"repo": "https://git.example/org/one", "branch": "main", "path": folder(*environment, *moved)},
                "gitops_revision": format!("main@{}", sha(*commit)), "labels": ring(*n), "observed_at": at,
            });
            (Form::Descriptors, said)
        }
        Step::Undeclare { environment } => {
            let said = json!({
                "workspace": "team", "application": "shop", "workload": "web", "environment": ENVIRONMENTS[*environment],
                "deployment_target": "edge", "deleted": true, "observed_at": at,
            });
            (Form::Descriptors, said)
        }
        Step::Report { reconciler, moved, commit, applied, status, ring: n } => {
            let folder = folder(reconciler % 2, *moved);
            let said = json!({
                "host": format!("h{}", reconciler / 2), "reconciler": format!("r{}", reconciler % 2), "reconciler_type": "flux",
                "manifests_endpoint": format!("https://git.example/org/one/main/{folder}"), "commit": sha(*commit),
                "applied_commit": applied.map(sha), "status": STATUSES[*status],
                "labels": ring(*n), "reported_at": at,
            });
            (Form::Reconcilers, said)
        }
        Step::Forget { reconciler } => {
            let (host, name) = (format!("h{}", reconciler / 2), format!("r{}", reconciler % 2));
            (Form::Reconcilers, json!({"host": host, "reconciler": name, "deleted": true, "reported_at": at}))
        }
        Step::Label { host, ring: n, class } => {
            let mut labels = ring(*n);
            labels["hub.kalypso.io/class"] = json!(CLASSES[*class]);
            (Form::Hosts, json!({"name": format!("h{host}"), "labels": labels, "reported_at": at}))
        }
        Step::Expect { host, environment, selects } => {
            let mut said = json!({"name": format!("h{host}"), "reported_at": at});
            if *selects {
                said["expects_selector"] = json!({"matchLabels": {"ring": (environment + 1).to_string()}});
            } else {
                let environment = ENVIRONMENTS[*environment];
                said["expects"] = json!([{"workload": "web", "environment": environment, "deployment_target": "edge"}]);
            }
            (Form::Hosts, said)
        }
        Step::Contact { host, contact } => {
            (Form::Hosts, json!({"name": format!("h{host}"), "contact": format!("c{contact}"), "reported_at": at}))
        }
        Step::Retire { host } => (Form::Hosts, json!({"name": format!("h{host}"), "retired": true, "reported_at": at})),
        Step::Verify { name, subject, result } => {
            let mut said = json!({
                "name": NAMES[*name], "result": RESULTS[*result], "workload": "web",
                "reported_at": at,
            });
            let (key, value) = [
                ("version", "1.0".to_owned()),
                ("version", "1.1".to_owned()),
                ("commit", sha(2)),
                ("source_commit", sha(5)),
            ][*subject]
                .clone();
            said[key] = json!(value);
            (Form::Verifications, said)
        }
        Step::Sight { .. } | Step::Listen { .. } => return None,
    })
}

/// The intervals there are: those of the hub, short ones, and short ones that mean the other class.
fn heartbeats(which: usize) -> Heartbeats {
    let beat = |late: i64, silent: i64, optional| Heartbeat {
        late_after: late * MINUTE,
        silent_after: silent * MINUTE,
        optional,
    };
    let classes = |edge, laptop| [("edge".to_owned(), edge), ("laptop".to_owned(), laptop)];
    match which {
        0 => Heartbeats::default(),
        1 => Heartbeats::new(beat(3, 6, false), classes(beat(20, 40, false), beat(4, 8, true))),
        _ => Heartbeats::new(beat(5, 10, false), classes(beat(4, 8, true), beat(2, 30, false))),
    }
}

fn concluded(body: Body, carrier: u128, at: Micros, now: Micros) -> Fact {
    let carrier = CarrierKey(carrier);
    Fact { source: "test".to_owned(), carrier, at, clock: Clock::Said, identity: 0, received_at: now, body }
}

fn facts(state: &State, (_, late, step): &Timed, now: Micros) -> Vec<Fact> {
    let at = now.plus(-late * MINUTE);
    match step {
        Step::Listen { classes } => {
            let turned = state.overdue(&mut heartbeats(*classes), now, Micros::MIN);
            if turned.is_empty() { Vec::new() } else { vec![concluded(Body::Liveness(turned), 0, now, now)] }
        }
        Step::Sight { watcher, commit } => {
            let seen =
                Sighting { repo: "https://git.example/org/one".into(), branch: "main".into(), commit: sha(*commit) };
            vec![concluded(Body::Sighting(Box::new(seen)), *watcher, at, now)]
        }
        _ => {
            let (form, line) = line(step, &at.to_string()).unwrap();
            let mut decoder = Decoder::new(form, "push".to_owned(), None);
            let mut items = decoder.push(line.to_string().as_bytes());
            items.extend(decoder.finish());
            let observed = items.into_iter().map(|item| item.observation.unwrap_or_else(|r| panic!("{line}: {r:?}")));
            observed.map(|o| koh::normalize::fact(o, now).unwrap_or_else(|r| panic!("{line}: {r:?}"))).collect()
        }
    }
}

/// Questions with every clause.
fn questions() -> Vec<(Question, Rules)> {
    let about = |environment: &str, asked: Asked| Question {
        environment: vec![environment.to_owned()],
        workload: vec!["web".to_owned()],
        ..Question::about(asked)
    };
    let version = |v: &str| Asked::Version(v.to_owned());
    let policies = "policies: [{name: own, for: {environment: [dev]}, min_success: 1, soak: 4m, failure_grace: 1m}]";
    let rules = |clauses: Clauses| Rules { clauses, ..Rules::default() };
    let minutes = |n: i64| Some(n * MINUTE);
    let hosts = |n: &str| Some([("ring".to_owned(), [n.to_owned()].into())].into());
    let window = |from: i64, to: i64| Freeze {
        from: START.plus(from * MINUTE).to_string(),
        to: START.plus(to * MINUTE).to_string(),
        ..Freeze::default()
    };
    let mut all = Vec::new();
    for clauses in [
        Clauses::default(),
        Clauses { silent: Some(SilentPolicy::Fail), max_failures: Some(1), ..Clauses::default() },
        Clauses { silent: Some(SilentPolicy::Ignore), min_success_percent: Some(50.0), ..Clauses::default() },
        Clauses { hosts: hosts("1"), stall_after: minutes(5), ..Clauses::default() },
        Clauses { hosts: hosts("2"), soak: minutes(6), min_success: Some(1), ..Clauses::default() },
        Clauses { soak: minutes(10), min_success: Some(1), max_failures: Some(3), ..Clauses::default() },
        Clauses { min_success: Some(1), min_hosts: Some(2), soak: minutes(3), ..Clauses::default() },
        Clauses { verifications: Some(vec!["smoke".into(), "load".into()]), ..Clauses::default() },
        Clauses { freeze: Some(vec![window(9, 30), window(20, 50)]), min_success: Some(1), ..Clauses::default() },
        Clauses { after: Some(vec!["dev".into()]), min_success: Some(1), ..Clauses::default() },
    ] {
        all.push((about("prod", version("1.0")), rules(clauses.clone())));
        all.push((about("dev", Asked::Commit(sha(2))), rules(clauses)));
    }
    let own = Rules { policies: Arc::new(Policies::parse(policies).unwrap()), ..Rules::default() };
    all.push((Question::about(Asked::SourceCommit(sha(5))), own.clone()));
    let after = Clauses { after: Some(vec!["dev".into()]), ..Clauses::default() };
    all.push((about("prod", version("1.1")), Rules { clauses: after, ..own }));
    let endpoint = Some("https://git.example/org/one/main/elsewhere".to_owned());
    let there = Question { manifests_endpoint: endpoint, ..Question::about(Asked::Commit(sha(1))) };
    all.push((there, Rules::default()));
    all
}

fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 64 };
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_026),
        chosen => chosen,
    };
    ProptestConfig { cases, max_shrink_iters: 4_000, failure_persistence: None, rng_seed, ..default }
}

fn news(evaluation: &Evaluation) -> String {
    String::from_utf8(evaluation.answer.clone().news()).unwrap()
}

/// Lets a history happen; what is kept for those who wait is what would be made anew, after each step.
#[track_caller]
fn keeps(history: &[Timed]) {
    let questions = questions();
    let mut state = State::new();
    let mut now = START;
    let asked = |state: &State, now| -> Vec<Evaluation> {
        questions.iter().map(|(question, rules)| rollout::evaluate(state, question, rules, now)).collect()
    };
    let mut kept = asked(&state, now);
    let mut journal = Vec::new();
    for (seq, timed) in (1..).zip(history) {
        now = now.plus(timed.0 * MINUTE + 1);
        for mut fact in facts(&state, timed, now) {
            state.resolve(&mut fact);
            match state.novelty(&fact) {
                Novelty::Known => {}
                Novelty::Changed => {
                    state.apply(seq, &fact);
                    journal.push((seq, fact));
                }
                // It wakes nobody.
                Novelty::Confirmed => {
                    let before = asked(&state, now);
                    state.apply(seq, &fact);
                    let after = asked(&state, now);
                    assert!(before.iter().map(news).eq(after.iter().map(news)), "{timed:?} is no confirmation");
                    journal.push((seq, fact));
                }
            }
        }
        if let Step::Listen { classes } = &timed.2 {
            let again = state.overdue(&mut heartbeats(*classes), now, Micros::MIN);
            assert_eq!(again, [], "what was to be concluded is concluded");
        }
        for ((question, rules), (kept, fresh)) in questions.iter().zip(kept.iter_mut().zip(asked(&state, now))) {
            if kept.depends.stands(&state, now) {
                assert_eq!(news(kept), news(&fresh), "{question:?} by {:?} after {timed:?}", rules.clauses);
            } else {
                *kept = fresh;
            }
        }
    }
    // Intervals are no part of the state: what was concluded by them is, and a journal says the same without them.
    let mut replayed = State::new();
    for (seq, fact) in &journal {
        replayed.apply(*seq, fact);
    }
    let hosts = |state: &State| format!("{:?}", state.view().hosts.iter().collect::<Vec<_>>());
    assert_eq!(hosts(&replayed), hosts(&state));
    assert!(
        asked(&replayed, now).iter().map(news).eq(asked(&state, now).iter().map(news)),
        "a replay answers the same"
    );
    let recounted = state.recount();
    assert_eq!((recounted.different, recounted.told), (0, Vec::new()), "counted otherwise than by the fold");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_answer_that_is_kept_is_the_one_that_would_be_made_anew(history in histories()) {
        keeps(&history);
    }
}

fn report(reconciler: usize, moved: bool, commit: usize) -> Step {
    Step::Report { reconciler, moved, commit, applied: None, status: 2, ring: 0 }
}

fn declare(version: usize, commit: usize, ring: usize) -> Step {
    Step::Declare { environment: 1, version, commit, ring, moved: false }
}

#[test]
fn a_host_that_selects_a_target_is_no_longer_missing_once_a_late_word_says_that_it_was_there() {
    keeps(&[
        (0, 0, report(3, true, 0)),
        (0, 0, Step::Expect { host: 1, environment: 1, selects: true }),
        (0, 0, declare(0, 0, 2)),
        (0, 1, report(3, false, 0)),
    ]);
}

#[test]
fn a_commit_belongs_to_another_assignment_once_a_watcher_says_that_it_saw_it_earlier() {
    keeps(&[
        (0, 0, Step::Declare { environment: 0, version: 0, commit: 0, ring: 0, moved: false }),
        (5, 0, Step::Sight { watcher: 1, commit: 1 }),
        (5, 0, Step::Declare { environment: 0, version: 1, commit: 1, ring: 0, moved: false }),
        (5, 0, Step::Sight { watcher: 1, commit: 2 }),
        (0, 6, Step::Sight { watcher: 2, commit: 2 }),
    ]);
}

#[test]
fn what_a_host_is_expected_to_run_is_news_when_it_is_said_again_after_a_retirement() {
    keeps(&[
        (0, 0, Step::Expect { host: 1, environment: 1, selects: false }),
        (0, 0, declare(0, 0, 0)),
        (0, 0, Step::Retire { host: 1 }),
        (1, 0, report(2, false, 0)),
        (0, 0, Step::Expect { host: 1, environment: 1, selects: false }),
    ]);
}
