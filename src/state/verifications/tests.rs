//! Which verifications speak of an assignment, whatever the order in which everything was said.

use super::*;
use crate::normalize::fact;
use crate::sources::push::{Decoder, Form};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Micros = Micros(1_800_000_000_000_000);

fn commit(digit: char) -> String {
    format!("sha1:{}", std::iter::repeat_n(digit, 40).collect::<String>())
}

fn facts(form: Form, items: &[Value]) -> Vec<Fact> {
    let mut decoder = Decoder::new(form, "push".into(), None);
    let mut all = decoder.push(Value::from(items).to_string().as_bytes());
    all.extend(decoder.finish());
    all.into_iter().map(|item| fact(item.observation.unwrap(), NOW).unwrap()).collect()
}

fn at(minute: i64) -> String {
    Micros(1_700_000_000_000_000 + minute * 60_000_000).to_string()
}

/// Version 1.0 at the commits a and b, then 2.0 at c, on a target of dev.
fn wanted() -> Vec<Fact> {
    let descriptor = |minute: i64, version: &str, gitops: char, source: char| {
        json!({
            "workspace": "w", "application": "a", "workload": "web", "environment": "dev", "deployment_target": "t",
            "version": version, "gitops_revision": commit(gitops), "source_commit": commit(source), "observed_at": at(minute),
            "manifests": {"repo": "https://git.example/o/gitops", "branch": "dev", "path": "t"},
        })
    };
    let all = [descriptor(1, "1.0", 'a', '1'), descriptor(2, "1.0", 'b', '1'), descriptor(3, "2.0", 'c', '2')];
    facts(Form::Descriptors, &all)
}

fn judged(minute: i64, result: &str, more: Value) -> Value {
    let mut item = json!({"name": "smoke", "result": result, "reported_at": at(minute)});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn state(facts: &[Fact]) -> State {
    let mut state = State::new();
    for (seq, fact) in (1..).zip(facts) {
        if state.novelty(fact) == crate::state::Novelty::Changed {
            state.apply(seq, fact);
        }
    }
    state
}

fn told(judgements: &[Value]) -> State {
    state(&[wanted(), facts(Form::Verifications, judgements)].concat())
}

/// Name and result under the two assignments.
fn seen(state: &State) -> [Vec<(String, &'static str)>; 2] {
    [0, 1].map(|n| state.verifications_of(0, n).iter().map(|v| (v.name.to_owned(), v.result.as_str())).collect())
}

fn smoke(result: &'static str) -> Vec<(String, &'static str)> {
    vec![("smoke".to_owned(), result)]
}

#[test]
fn a_verification_speaks_of_the_assignment_whose_version_commit_or_source_commit_it_names() {
    for (subject, first, second) in [
        (json!({"workload": "web", "version": "1.0"}), smoke("passed"), vec![]),
        (json!({"commit": format!("dev@{}", commit('b'))}), smoke("passed"), vec![]),
        (json!({"commit": commit('c'), "environment": "dev"}), vec![], smoke("passed")),
        (json!({"source_commit": commit('2'), "workload": "web"}), vec![], smoke("passed")),
        (json!({"commit": commit('d')}), vec![], vec![]),
        (json!({"workload": "web", "version": "3.0"}), vec![], vec![]),
    ] {
        assert_eq!(seen(&told(&[judged(9, "ok", subject.clone())])), [first, second], "{subject}");
    }
}

#[test]
fn selectors_narrow_a_verification_down() {
    let subject = json!({"workload": "web", "version": "2.0"});
    for (selector, value, applies) in [
        ("workspace", "w", true),
        ("workspace", "x", false),
        ("application", "x", false),
        ("environment", "dev", true),
        ("environment", "prod", false),
        ("deployment_target", "t", true),
        ("deployment_target", "u", false),
    ] {
        let mut subject = subject.clone();
        subject[selector] = value.into();
        let found = told(&[judged(9, "ok", subject)]);
        assert_eq!(seen(&found)[1].len(), usize::from(applies), "{selector}={value}");
    }
}

#[test]
fn of_several_subjects_under_one_name_the_newest_counts_and_names_stand_apart() {
    let by_version = json!({"workload": "web", "version": "2.0"});
    let by_commit =
        json!({"commit": commit('c'), "link": "https://ci.example/7", "message": "no", "reported_by": "ci"});
    let load = json!({"name": "load", "source_commit": commit('2')});
    let told = told(&[
        judged(9, "failed", by_commit),
        judged(8, "passed", by_version.clone()),
        judged(5, "pending", load),
        judged(7, "failed", by_version),
    ]);
    let found = told.verifications_of(0, 1);
    assert_eq!(found.iter().map(|v| v.name).collect::<Vec<_>>(), ["load", "smoke"]);
    let smoke = VerificationView {
        name: "smoke",
        result: Outcome::Failed,
        at: Micros::parse(&at(9)).unwrap(),
        since: Micros::parse(&at(9)).unwrap(),
        link: Some("https://ci.example/7"),
        message: Some("no"),
        reported_by: Some("ci"),
    };
    assert_eq!(found[1], smoke);
    assert_eq!((found[0].link, found[0].message, found[0].reported_by), (None, None, None));
}

#[test]
fn a_target_or_assignment_that_is_not_there_has_none() {
    let told = told(&[judged(9, "ok", json!({"workload": "web", "version": "1.0"}))]);
    assert!(told.verifications_of(0, 2).is_empty() && told.verifications_of(1, 0).is_empty());
    assert!(state(&wanted()).verifications_of(0, 0).is_empty());
}

#[test]
fn every_change_is_counted_and_a_repetition_of_one_moment_is_none() {
    let once = judged(5, "ok", json!({"commit": commit('c')}));
    let count = |all: &[Value]| told(all).index().verifications_changed();
    assert_eq!(count(&[]), 0);
    assert_eq!(count(&[once.clone(), once.clone()]), 1);
    let later = judged(6, "ok", json!({"commit": commit('c')}));
    assert_eq!(count(&[once.clone(), later]), 2, "its time moved");
    assert_eq!(count(&[once, judged(4, "failed", json!({"commit": commit('c')}))]), 2);
}

#[test]
fn a_verification_is_named_in_the_change_feed() {
    let mut state = state(&wanted());
    let told = facts(Form::Verifications, &[judged(5, "ok", json!({"commit": commit('c')}))]);
    let touched = state.apply(9, &told[0]);
    assert_eq!(touched, [Object { kind: ObjectKind::Verification, id: 0, rank: 0 }]);
}

fn some() -> impl Strategy<Value = Value> {
    let subject = prop::sample::select(vec![
        json!({"workload": "web", "version": "1.0"}),
        json!({"workload": "web", "version": "2.0", "environment": "dev"}),
        json!({"workload": "web", "version": "2.0", "environment": "prod"}),
        json!({"commit": commit('a')}),
        json!({"commit": commit('c'), "workload": "web"}),
        json!({"source_commit": commit('2'), "deployment_target": "t"}),
    ]);
    let word = prop::sample::select(vec!["pending", "passed", "failed"]);
    (0i64..6, word, subject, prop::sample::select(vec!["smoke", "load"]), 0u8..2).prop_map(
        |(at, word, subject, name, message)| {
            let mut item = judged(at, word, subject);
            (item["name"], item["message"]) = (name.into(), message.to_string().into());
            item
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_speaks_of_an_assignment_does_not_depend_on_the_order_of_arrival_nor_on_a_restart(
        (all, shuffled) in prop::collection::vec(some(), 1..16).prop_flat_map(|judgements| {
            let all = [wanted(), facts(Form::Verifications, &judgements)].concat();
            (Just(all.clone()), Just([all.clone(), all].concat()).prop_shuffle())
        }),
    ) {
        let (one, other) = (state(&all), state(&shuffled));
        let restarted = State::from_tables(other.tables());
        for n in [0, 1] {
            prop_assert_eq!(one.verifications_of(0, n), other.verifications_of(0, n));
            prop_assert_eq!(restarted.verifications_of(0, n), other.verifications_of(0, n));
        }
    }
}
