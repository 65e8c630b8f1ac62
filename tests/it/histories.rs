//! Random small histories: the reference model against itself, and every hub against the reference (§3.7).
//!
//! Few names, few commits, few minutes: so that duplicates, ties, returns, moves and late words are the rule, not the exception.

mod trimmed;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

use crate::reference::fold::Fold;
use crate::reference::in_process::InProcess;
use crate::reference::input::{
    At, Carrier, Declaration, Endpoint, HostWord, Object, Observed, Report, Requirement, Said, Status, Target,
};
use crate::reference::under_test::{HubUnderTest, Make, ModelHub, comparable, kinds};
use crate::reference::{Model, Row, views};

const START: At = 1_748_736_000_000_000;
const RECEIVED: At = 1_790_000_000_000_000;
const MINUTE: At = 60_000_000;

const NAMES: [&str; 5] = ["workspace", "application", "workload", "environment", "deployment_target"];

/// What is exact for every order of arrival (§3.7), by view.
const EXACT: [(&str, &[&str]); 7] = [
    (
        "environment_state",
        &[
            "desired_version",
            "desired_commit",
            "deployed_version",
            "status",
            "reconcilers",
            "hosts",
            "assigned_at",
            "reported_at",
        ],
    ),
    (
        "host_state",
        &[
            "host",
            "reconciler",
            "desired_version",
            "deployed_version",
            "commit",
            "attempted_commit",
            "status",
            "drift",
            "behind_by",
            "reported_at",
        ],
    ),
    ("environment_discrepancies", &["desired_version", "deployed_version", "reconcilers", "successful"]),
    ("environment_history", &["version", "commit", "assigned_at", "success", "failure", "in_progress", "unknown"]),
    ("drift", &["host", "reconciler", "drift", "desired_version", "deployed_version", "behind_by"]),
    (
        "rollouts",
        &[
            "version",
            "commit",
            "started_at",
            "success",
            "failure",
            "in_progress",
            "behind",
            "silent",
            "never_reported",
            "retired",
        ],
    ),
    ("assignments", &["version", "commit", "started_at", "ended_at"]),
];

/// What is exact over the statements kept (§3.7), by view.
const KEPT: [(&str, &[&str]); 4] = [
    ("host_state", &["host", "reconciler", "rolled_back", "deployed_at"]),
    ("environment_history", &["version", "commit", "first_deployed_at", "last_deployed_at", "rolled_back"]),
    ("transitions", &["host", "reconciler", "manifests_endpoint", "commit", "status", "reported_at"]),
    ("deployments", &["host", "reconciler", "manifests_endpoint", "commit", "started_at", "ended_at", "rolled_back"]),
];

/// What the other tables are derived from.
const FOLDED: [(&str, &[&str]); 3] = [
    ("assignments", &["version", "started_at", "ended_at"]),
    ("transitions", &["host", "reconciler", "manifests_endpoint", "commit", "status", "reported_at"]),
    ("deployments", &["host", "reconciler", "manifests_endpoint", "commit", "started_at", "ended_at", "rolled_back"]),
];

/// One thing that happens at a minute.
#[derive(Clone, Debug)]
enum Step {
    Declare {
        target: usize,
        carrier: usize,
        version: usize,
        moved: bool,
        commit: Option<usize>,
        ring: usize,
    },
    Undeclare {
        target: usize,
        carrier: usize,
        version: usize,
    },
    Report {
        reconciler: usize,
        carrier: usize,
        moved: bool,
        commit: Option<usize>,
        applied: Option<usize>,
        status: usize,
    },
    Forget {
        reconciler: usize,
        carrier: usize,
    },
    Expect {
        host: usize,
        target: usize,
    },
    Select {
        host: usize,
        selector: usize,
        target: Option<usize>,
    },
    Retire {
        host: usize,
    },
}

fn target(index: usize) -> Target {
    let (workload, environment) = [("web", "dev"), ("web", "prod"), ("api", "dev")][index];
    Target {
        workspace: "team".into(),
        application: "shop".into(),
        workload: workload.into(),
        environment: environment.into(),
        name: "edge".into(),
    }
}

fn names(index: usize) -> (String, String, String) {
    let t = target(index);
    (t.workload, t.environment, t.name)
}

fn labels(ring: usize) -> BTreeMap<String, String> {
    let ring = ["", "a", "b"][ring];
    if ring.is_empty() { BTreeMap::new() } else { [("ring".to_owned(), ring.to_owned())].into() }
}

fn selector(index: usize) -> Vec<Requirement> {
    let requires = |key: &str, operator: &str, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    match index {
        0 => vec![],
        1 => vec![requires("ring", "In", &["a"])],
        2 => vec![requires("ring", "NotIn", &["a"]), requires("hub.kalypso.io/workload", "In", &["web"])],
        3 => {
            vec![requires("ring", "DoesNotExist", &[]), requires("hub.kalypso.io/environment", "In", &["dev", "prod"])]
        }
        _ => vec![requires("ring", "Exists", &[])],
    }
}

fn host_word(host: usize) -> HostWord {
    HostWord { name: format!("h{host}"), expects: None, selector: None, retired: false }
}

fn endpoint(index: usize) -> Endpoint {
    let (repo, branch, path) = [("one", "dev", "edge"), ("two", "prod", "edge"), ("one", "dev", "other/place")][index];
    Endpoint { repo: format!("https://git.example/org/{repo}"), branch: branch.into(), path: path.into() }
}

fn home_of_target(target: usize) -> usize {
    [0, 1, 0][target]
}

fn reconciler(index: usize) -> (String, String, usize) {
    let (host, name, home) = [("h1", "flux", 0), ("h1", "argo", 1), ("h2", "flux", 0), ("h3", "flux", 1)][index];
    (host.into(), name.into(), home)
}

fn commit(endpoint: usize, index: usize) -> String {
    let repo = if endpoint == 1 { 'b' } else { 'a' };
    format!("sha1:{repo}{index}{}", "0".repeat(38))
}

fn descriptor_carrier(carrier: usize, target: usize, version: usize) -> Carrier {
    let name = match carrier {
        0 => return Carrier::Pushed,
        1 => format!("target-{target}"),
        2 => format!("target-{target}-version-{version}"),
        _ => "shared".to_string(),
    };
    Carrier::Resource { namespace: "flux-system".into(), name }
}

fn reconciler_carrier(carrier: usize, reconciler: usize) -> Carrier {
    match carrier {
        0 => Carrier::Pushed,
        1 => Carrier::Resource { namespace: "hub".into(), name: format!("reconciler-{reconciler}") },
        _ => Carrier::Resource { namespace: "hub".into(), name: "roaming".into() },
    }
}

fn said(step: &Step) -> (Carrier, Said) {
    match step {
        Step::Declare { target: t, carrier, version, moved, commit: c, ring } => {
            let place = if *moved { 2 } else { home_of_target(*t) };
            // A flat descriptor must name a commit.
            let c = if *carrier == 0 { c.or(Some(0)) } else { *c };
            let declaration = Declaration {
                target: target(*t),
                labels: labels(*ring),
                version: format!("1.{version}"),
                endpoint: endpoint(place),
                commit: c.map(|c| commit(place, c)),
                source_commit: None,
            };
            (descriptor_carrier(*carrier, *t, *version), Said::Declares(declaration))
        }
        Step::Undeclare { target: t, carrier, version } => {
            (descriptor_carrier(*carrier, *t, *version), Said::Gone(Object::Target(target(*t))))
        }
        Step::Report { reconciler: r, carrier, moved, commit: c, applied, status } => {
            let (host, name, home) = reconciler(*r);
            let place = if *moved { 2 } else { home };
            let status = Status::ALL[*status];
            let report = Report {
                host,
                reconciler: name,
                endpoint: endpoint(place).canonical(),
                commit: c.map(|c| commit(place, c)),
                applied: c.and(*applied).map(|a| commit(place, a)),
                status,
                message: format!("{} on {c:?}", status.word()),
            };
            (reconciler_carrier(*carrier, *r), Said::Reports(report))
        }
        Step::Forget { reconciler: r, carrier } => {
            let (host, name, _) = reconciler(*r);
            (reconciler_carrier(*carrier, *r), Said::Gone(Object::Reconciler { host, name }))
        }
        Step::Expect { host, target: t } => {
            (Carrier::Pushed, Said::Host(HostWord { expects: Some(vec![names(*t)]), ..host_word(*host) }))
        }
        Step::Select { host, selector: s, target: t } => {
            let expects = t.map(|t| vec![names(t)]);
            (Carrier::Pushed, Said::Host(HostWord { expects, selector: Some(selector(*s)), ..host_word(*host) }))
        }
        Step::Retire { host } => (Carrier::Pushed, Said::Host(HostWord { retired: true, ..host_word(*host) })),
    }
}

/// Which histories to make.
#[derive(Clone, Copy)]
struct Mix {
    /// Reports without a commit, whose word is exact over the statements kept only (§3.7).
    without_commit: bool,
    /// Words in any order instead of as they happened.
    late: bool,
}

fn steps(mix: Mix) -> impl Strategy<Value = Step> {
    let known = |n: usize| prop_oneof![9 => (0..n).prop_map(Some), 1 => Just(None)];
    let reported = prop_oneof![6 => 0..4_usize, 1 => Just(4)].prop_map(Some);
    let reported =
        if mix.without_commit { prop_oneof![5 => reported, 1 => Just(None)].boxed() } else { reported.boxed() };
    let applied = prop_oneof![4 => Just(None), 1 => (0..5_usize).prop_map(Some)];
    // By place in `Status::ALL`.
    let status = prop_oneof![1 => Just(0_usize), 2 => Just(1), 5 => Just(2), 3 => Just(3)];
    let rarely = || prop::bool::weighted(0.12);
    let ring = prop_oneof![6 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    prop_oneof![
        8 => (0..3_usize, 0..4_usize, 0..3_usize, rarely(), known(4), ring)
            .prop_map(|(target, carrier, version, moved, commit, ring)| {
                Step::Declare { target, carrier, version, moved, commit, ring }
            }),
        2 => (0..3_usize, 0..4_usize, 0..3_usize)
            .prop_map(|(target, carrier, version)| Step::Undeclare { target, carrier, version }),
        10 => (0..4_usize, prop_oneof![5 => Just(1_usize), 2 => Just(0), 1 => Just(2)], rarely(), reported, applied, status)
            .prop_map(|(reconciler, carrier, moved, commit, applied, status)| {
                Step::Report { reconciler, carrier, moved, commit, applied, status }
            }),
        2 => (0..4_usize, 0..3_usize).prop_map(|(reconciler, carrier)| Step::Forget { reconciler, carrier }),
        1 => (1..5_usize, 0..3_usize).prop_map(|(host, target)| Step::Expect { host, target }),
        1 => (1..5_usize, 0..5_usize, prop::option::weighted(0.3, 0..3_usize))
            .prop_map(|(host, selector, target)| Step::Select { host, selector, target }),
        1 => (1..5_usize).prop_map(|host| Step::Retire { host }),
    ]
}

fn histories(mix: Mix) -> impl Strategy<Value = Vec<Observed>> {
    prop::collection::vec((0..25_i64, any::<u8>(), steps(mix)), 1..60).prop_map(move |mut steps| {
        if !mix.late {
            steps.sort_by_key(|(minute, ..)| *minute);
        }
        let mut history = Vec::new();
        for (minute, spelling, step) in steps {
            let (carrier, said) = said(&step);
            let received_at = RECEIVED + history.len() as At;
            let said_at = Some(START + minute * MINUTE);
            let one = Observed { received_at, source: "push".into(), carrier, said_at, identity: None, said, spelling };
            if !history.iter().any(|other| is_undecided(other, &one)) && !is_crowded(&history, &one) {
                history.push(one);
            }
        }
        exact(history)
    })
}

/// Leaves out departures that came into a run of what one of several carriers claimed: such a run keeps its first and its last
/// time (§3.7), so nobody knows any more who said what stands in between.
fn exact(history: Vec<Observed>) -> Vec<Observed> {
    let names = |o: &Observed, object: &Object| matches!(o.said, Said::Reports(_)) && o.said.object() == *object;
    let carriers = |object: &Object| -> BTreeSet<String> {
        history.iter().filter(|o| names(o, object)).map(Observed::carrier_key).collect()
    };
    let objects: BTreeSet<Object> = history.iter().map(|o| o.said.object()).collect();
    let several: Vec<(Object, BTreeSet<String>)> =
        objects.into_iter().map(|o| (o.clone(), carriers(&o))).filter(|(_, carriers)| carriers.len() > 1).collect();
    let mut kept: Vec<Observed> = Vec::new();
    for one in &history {
        let into_a_run = several.iter().any(|(object, carriers)| {
            let retires =
                |h: &HostWord| h.retired && matches!(object, Object::Reconciler { host, .. } if *host == h.name);
            let retired = matches!(&one.said, Said::Host(h) if retires(h));
            let left = carriers.contains(&one.carrier_key()) && !names(one, object);
            carriers.iter().filter(|c| retired || left && **c == one.carrier_key()).any(|carrier| {
                let run: BTreeSet<At> = (kept.iter().filter(|o| o.carrier_key() == *carrier && names(o, object)))
                    .filter_map(|o| o.said_at)
                    .collect();
                run.len() > 2 && run.first() <= one.said_at.as_ref() && one.said_at.as_ref() < run.last()
            })
        });
        if !into_a_run {
            kept.push(one.clone());
        }
    }
    kept
}

/// Whether only the order of contents, which is free, could decide between two statements; or between two carriers that say the
/// same of one target, of which either may be the one in force.
fn is_undecided(a: &Observed, b: &Observed) -> bool {
    let related = a.carrier_key() == b.carrier_key() || a.said.object() == b.said.object();
    let rivals = matches!(a.said, Said::Declares(_)) && a.carrier_key() != b.carrier_key();
    a.said_at == b.said_at && related && (a.said != b.said || rivals) && order(&a.said) == order(&b.said)
}

/// Whether a carrier would declare one target, another one and the first again, all at one time: in which order is too fine a
/// question.
fn is_crowded(history: &[Observed], one: &Observed) -> bool {
    let beside = |o: &&Observed| o.said_at == one.said_at && o.carrier_key() == one.carrier_key();
    let beside: Vec<&Observed> = history.iter().filter(beside).chain([one]).collect();
    let objects: BTreeSet<Object> = beside.iter().map(|o| o.said.object()).collect();
    matches!(one.said, Said::Declares(_)) && objects.len() > 1 && beside.len() > 2
}

fn order(said: &Said) -> (bool, Option<Status>, Option<String>) {
    match said {
        Said::Declares(d) => (false, None, d.commit.clone()),
        Said::Reports(r) => (false, Some(r.status), r.commit.clone()),
        Said::Host(h) => (h.retired, None, None),
        Said::Gone(_) => (true, None, None),
    }
}

fn lines(history: &[Observed]) -> Vec<Value> {
    history.iter().map(Observed::to_json).collect()
}

fn columns(view: &str, some: &[&'static str]) -> Vec<&'static str> {
    let by_target = !matches!(view, "transitions" | "deployments");
    let names = if by_target { &NAMES[..] } else { &[] };
    names.iter().chain(some).copied().collect()
}

type Shown = Vec<(&'static str, Vec<Row>)>;

fn shown(views: &[(&'static str, &[&'static str])], mut rows: impl FnMut(&str) -> Vec<Row>) -> Shown {
    views.iter().map(|(view, some)| (*view, comparable(rows(view), &columns(view, some)))).collect()
}

fn by_hub(views: &[(&'static str, &[&'static str])], hub: &mut dyn HubUnderTest) -> Shown {
    shown(views, |view| hub.rows(&format!("SELECT * FROM {view}")))
}

fn by_model(views: &[(&'static str, &[&'static str])], history: &[Observed]) -> Shown {
    let model = Model::of(history);
    shown(views, |view| views::rows(&model, view, RECEIVED).expect("the model has every view"))
}

/// Every question about a target that the names allow, by version and by commit.
fn questions() -> Vec<String> {
    let mut questions = Vec::new();
    for (workload, environment, home) in [("web", "dev", 0), ("web", "prod", 1), ("api", "dev", 0)] {
        let about = format!("environment={environment}&workload={workload}");
        questions.extend((0..4).map(|version| format!("{about}&version=1.{version}")));
        questions.extend((0..5).map(|c| format!("{about}&commit={}", commit(home, c))));
    }
    questions.extend(
        (0..5).map(|c| format!("environment=dev&commit={}&max_failures=1&min_success_percent=50", commit(0, c))),
    );
    questions
}

/// Verdicts and counts; whether a rollout stalls depends on a clock.
fn verdicts(hub: &mut dyn HubUnderTest) -> Vec<String> {
    let answer = |query: String| {
        let answer = hub.gate(&query);
        let verdict = answer["verdict"].as_str().unwrap_or("none").replace("stalled", "in_progress");
        format!("{query}: {verdict} total {} {}", answer["total"], answer["buckets"])
    };
    questions().into_iter().map(answer).collect()
}

fn fed(make: Make, history: &[Observed]) -> Box<dyn HubUnderTest> {
    let mut hub = make();
    hub.ingest(&lines(history));
    hub
}

fn model_hub() -> Box<dyn HubUnderTest> {
    Box::new(ModelHub::default())
}

fn real_hubs() -> Vec<Make> {
    kinds()
}

/// The same histories at every run, so that a change is judged by what it changed; PROPTEST_RNG_SEED explores others, and
/// PROPTEST_CASES more of them.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 96 };
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_026),
        chosen => chosen,
    };
    ProptestConfig { cases, max_shrink_iters: 4_000, failure_persistence: None, rng_seed, ..default }
}

fn shuffled(mix: Mix) -> impl Strategy<Value = (Vec<Observed>, Vec<Observed>)> {
    histories(mix).prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle()))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn current_state_words_counters_and_verdicts_do_not_depend_on_the_order_of_arrival(
        (first, second) in shuffled(Mix { without_commit: false, late: false })
    ) {
        prop_assert_eq!(by_model(&EXACT, &first), by_model(&EXACT, &second));
        prop_assert_eq!(verdicts(&mut *fed(model_hub, &first)), verdicts(&mut *fed(model_hub, &second)));
        let (a, b) = (Model::of(&first), Model::of(&second));
        for (one, other) in a.reconcilers().zip(b.reconcilers()) {
            prop_assert_eq!(one.last_words(), other.last_words());
        }
    }

    #[test]
    fn saying_everything_twice_changes_nothing(history in histories(Mix { without_commit: true, late: false })) {
        let twice: Vec<Observed> = history.iter().chain(&history).cloned().collect();
        prop_assert_eq!(by_model(&EXACT, &history), by_model(&EXACT, &twice));
        prop_assert_eq!(by_model(&KEPT, &history), by_model(&KEPT, &twice));
    }

    #[test]
    fn intervals_of_one_reconciler_and_of_one_target_do_not_overlap(history in histories(Mix { without_commit: true, late: true })) {
        let model = Model::of(&history);
        for (_, wanted) in model.targets() {
            for pair in wanted.assignments.windows(2) {
                prop_assert!(pair[0].ended_at.is_some_and(|end| pair[0].started_at <= end && end <= pair[1].started_at));
            }
        }
        for told in model.reconcilers() {
            for pair in told.deployments().windows(2) {
                prop_assert!(pair[0].ended_at.is_some_and(|end| pair[0].started_at <= end && end <= pair[1].started_at));
            }
        }
    }

    #[test]
    fn the_fold_says_what_the_reference_says(history in histories(Mix { without_commit: true, late: true })) {
        let (mut fold, mut model) = (fed(|| Box::new(Fold::default()), &history), fed(model_hub, &history));
        prop_assert_eq!(by_hub(&FOLDED, &mut *fold), by_hub(&FOLDED, &mut *model));
        prop_assert_eq!(verdicts(&mut *fold), verdicts(&mut *model));
    }

    #[test]
    fn every_hub_shows_what_the_reference_shows(history in histories(Mix { without_commit: true, late: false })) {
        for make in real_hubs() {
            let mut hub = fed(make, &history);
            prop_assert_eq!(by_hub(&EXACT, &mut *hub), by_model(&EXACT, &history), "{}", hub.name());
            prop_assert_eq!(by_hub(&KEPT, &mut *hub), by_model(&KEPT, &history), "{}", hub.name());
            prop_assert_eq!(verdicts(&mut *hub), verdicts(&mut *fed(model_hub, &history)), "{}", hub.name());
        }
    }

    #[test]
    fn every_hub_files_late_words_where_the_reference_files_them(history in histories(Mix { without_commit: true, late: true })) {
        for make in real_hubs() {
            let mut hub = fed(make, &history);
            prop_assert_eq!(by_hub(&EXACT, &mut *hub), by_model(&EXACT, &history), "{}", hub.name());
            prop_assert_eq!(by_hub(&KEPT, &mut *hub), by_model(&KEPT, &history), "{}", hub.name());
            prop_assert_eq!(verdicts(&mut *hub), verdicts(&mut *fed(model_hub, &history)), "{}", hub.name());
        }
    }

    #[test]
    fn what_is_kept_for_the_gate_and_shown_of_one_host_is_what_is_made_from_scratch(
        history in histories(Mix { without_commit: true, late: true })
    ) {
        let mut hub = InProcess::default();
        let (first, then) = history.split_at(history.len() / 2);
        hub.ingest(&lines(first));
        hub.keeps_what_it_would_make_again();
        hub.ingest(&lines(then));
        hub.keeps_what_it_would_make_again();
        hub.shows_of_one_host_what_sql_shows();
    }

    #[test]
    fn a_hub_shows_the_same_for_every_order_of_arrival((first, second) in shuffled(Mix { without_commit: false, late: false })) {
        for make in real_hubs() {
            let (mut a, mut b) = (fed(make, &first), fed(make, &second));
            prop_assert_eq!(by_hub(&EXACT, &mut *a), by_hub(&EXACT, &mut *b), "{}", a.name());
            prop_assert_eq!(verdicts(&mut *a), verdicts(&mut *b), "{}", a.name());
        }
    }

    #[test]
    fn batches_resent_and_restarts_in_between_change_nothing(
        history in histories(Mix { without_commit: true, late: true }), sizes in prop::collection::vec(1..8_usize, 1..12)
    ) {
        for make in real_hubs() {
            let mut whole = fed(make, &history);
            let mut hub = make();
            let all = lines(&history);
            let mut rest = &all[..];
            for (turn, size) in sizes.iter().cycle().enumerate() {
                if rest.is_empty() {
                    break;
                }
                let (batch, after) = rest.split_at((*size).min(rest.len()));
                hub.ingest(batch);
                if turn % 3 == 0 {
                    hub.ingest(batch);
                }
                if turn % 4 == 1 {
                    hub.restart();
                }
                rest = after;
            }
            hub.restart();
            prop_assert_eq!(by_hub(&EXACT, &mut *hub), by_hub(&EXACT, &mut *whole), "{}", hub.name());
            prop_assert_eq!(verdicts(&mut *hub), verdicts(&mut *whole), "{}", hub.name());
        }
    }
}
