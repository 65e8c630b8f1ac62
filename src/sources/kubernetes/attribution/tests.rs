//! Orders of arrival, played: whatever comes first, a content is recorded at its own commit.

use super::*;
use crate::model::ManifestsSaid;

mod captured;

const APP: &str = "app";

fn name(name: &str) -> ObjectName {
    ObjectName::new("ns", name)
}

fn said(version: &str) -> DescriptorSaid {
    DescriptorSaid {
        workspace: "w".into(),
        application: "a".into(),
        workload: "wl".into(),
        environment: "dev".into(),
        deployment_target: "t".into(),
        version: version.into(),
        manifests: ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: "r/b/p".into() },
        gitops_revision: None,
        source_repo: None,
        source_branch: None,
        source_path: None,
        source_commit: None,
        build: None,
        build_time: None,
        image_digest: None,
        author: None,
        pull_request: None,
        contact: None,
        labels: std::collections::BTreeMap::new(),
    }
}

/// A descriptor of the Kustomization `app`: generation and version go together.
fn seen(generation: i64, resource_version: u64) -> Seen {
    Seen {
        uid: "u".into(),
        generation,
        resource_version,
        since: None,
        owner: Some(name(APP)),
        said: said(&format!("{generation}.0")),
        said_at: None,
    }
}

fn settled(revision: &str, resource_version: u64) -> Kustomization {
    let revision = Revision { revision: revision.into(), at: Some(Micros(1_000_000)) };
    Kustomization {
        settled: Some(revision.clone()),
        attempted: Some(revision),
        has_descriptors: true,
        resource_version,
        ..Kustomization::default()
    }
}

fn progressing(attempted: &str, resource_version: u64) -> Kustomization {
    Kustomization {
        attempted: Some(Revision { revision: attempted.into(), at: None }),
        has_descriptors: true,
        waiting_for: "not yet".into(),
        progressing: true,
        resource_version,
        ..Kustomization::default()
    }
}

/// What is recorded, as `version@commit`.
fn recorded(steps: &[Step]) -> Vec<String> {
    let show = |step: &Step| match step {
        Step::Record(r) => Some(format!("{}@{}", r.said.version, r.revision.as_deref().unwrap_or("-"))),
        _ => None,
    };
    steps.iter().filter_map(show).collect()
}

fn probes(steps: &[Step]) -> usize {
    steps.iter().filter(|s| matches!(s, Step::Probe { .. })).count()
}

fn listing(attribution: &mut Attribution, descriptors: &[(&str, Seen)]) -> Vec<Step> {
    attribution.listing();
    let mut steps = Vec::new();
    for (n, seen) in descriptors {
        steps.extend(attribution.descriptor(&name(n), seen.clone()));
    }
    steps.extend(attribution.listed(&descriptors.iter().map(|(n, _)| name(n)).collect()));
    steps
}

/// Version 1.0 at c1.
fn started() -> Attribution {
    let mut a = Attribution::default();
    assert!(a.owner(&name(APP), settled("c1", 10)).is_empty());
    assert_eq!(recorded(&listing(&mut a, &[("d", seen(1, 5))])), ["1.0@c1"]);
    a
}

/// Answers the API server's way until nothing more is asked.
fn answered(a: &mut Attribution, descriptors: &[(&str, u64)]) -> Vec<Step> {
    let mut all = Vec::new();
    loop {
        let steps = a.probed(&name(APP), listed(descriptors));
        let again = probes(&steps) > 0;
        all.extend(steps);
        if !again {
            return all;
        }
    }
}

fn listed(descriptors: &[(&str, u64)]) -> Option<HashMap<ObjectName, u64>> {
    Some(descriptors.iter().map(|(n, v)| (name(n), *v)).collect())
}

#[test]
fn an_object_that_comes_before_its_status_waits_for_it() {
    let mut a = started();
    assert!(a.owner(&name(APP), progressing("c2", 14)).is_empty());
    assert!(recorded(&a.descriptor(&name("d"), seen(2, 15))).is_empty());
    assert!(matches!(a.waiting(&name("d")), Some(Waiting::Unsettled(_))));
    let steps = a.owner(&name(APP), settled("c2", 20));
    assert_eq!((recorded(&steps).len(), probes(&steps)), (0, 1));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 15)]))), ["2.0@c2"]);
    assert_eq!(a.waiting(&name("d")), None);
}

#[test]
fn a_status_that_comes_before_its_object_does_not_give_its_commit_to_the_old_content() {
    let mut a = started();
    assert!(recorded(&a.owner(&name(APP), settled("c2", 20))).is_empty());
    assert!(recorded(&a.probed(&name(APP), listed(&[("d", 15)]))).is_empty());
    assert_eq!(recorded(&a.descriptor(&name("d"), seen(2, 15))), ["2.0@c2"]);
}

#[test]
fn a_commit_that_leaves_the_descriptor_alone_extends_what_it_says() {
    let mut a = started();
    a.owner(&name(APP), settled("c2", 20));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 5)]))), ["1.0@c2"]);
}

#[test]
fn a_content_that_was_written_after_the_revision_settled_belongs_to_the_next_one() {
    let mut a = started();
    a.owner(&name(APP), settled("c2", 20));
    // c3 is being applied by the time the server answers.
    assert!(recorded(&a.probed(&name(APP), listed(&[("d", 22)]))).is_empty());
    assert_eq!(recorded(&a.descriptor(&name("d"), seen(2, 22))), ["1.0@c2"]);
    a.owner(&name(APP), settled("c3", 25));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 22)]))), ["2.0@c3"]);
}

#[test]
fn two_quick_commits_are_told_apart() {
    let mut a = started();
    a.owner(&name(APP), settled("c2", 20));
    a.owner(&name(APP), settled("c3", 30));
    a.descriptor(&name("d"), seen(2, 15));
    let mut steps = a.descriptor(&name("d"), seen(3, 25));
    steps.extend(answered(&mut a, &[("d", 25)]));
    assert_eq!(recorded(&steps), ["2.0@c2", "3.0@c3"]);
}

#[test]
fn an_answer_to_a_question_that_was_asked_before_a_revision_settled_does_not_count_for_it() {
    let mut a = started();
    assert_eq!(probes(&a.owner(&name(APP), settled("c2", 20))), 1);
    // The question is under way when c3 settles, whose content is still on the stream.
    assert_eq!(probes(&a.owner(&name(APP), settled("c3", 30))), 0);
    let steps = a.probed(&name(APP), listed(&[("d", 5)]));
    assert_eq!((recorded(&steps), probes(&steps)), (vec!["1.0@c2".to_owned()], 1));
    assert!(recorded(&a.probed(&name(APP), listed(&[("d", 25)]))).is_empty());
    assert_eq!(recorded(&a.descriptor(&name("d"), seen(2, 25))), ["2.0@c3"]);
}

#[test]
fn a_retry_that_flips_ready_changes_nothing() {
    let mut a = started();
    for version in [20, 21, 22] {
        assert!(a.owner(&name(APP), progressing("c2", version)).is_empty());
    }
    // The same revision, ready again: nothing new to ask.
    assert!(a.owner(&name(APP), settled("c1", 23)).is_empty());
}

#[test]
fn our_own_status_does_not_make_a_content_newer() {
    let mut a = started();
    assert!(a.descriptor(&name("d"), seen(1, 40)).is_empty());
    assert_eq!(recorded(&a.owner(&name(APP), settled("c2", 20))), ["1.0@c2"]);
}

#[test]
fn after_a_restart_the_status_tells_since_when_a_content_stands() {
    let mut a = Attribution::default();
    a.owner(&name(APP), settled("c2", 20));
    let restarted = Seen { since: Some(5), ..seen(1, 40) };
    assert_eq!(recorded(&listing(&mut a, &[("d", restarted)])), ["1.0@c2"]);
}

#[test]
fn what_changed_after_the_last_settled_revision_waits_after_a_restart() {
    let mut a = Attribution::default();
    a.owner(&name(APP), settled("c1", 10));
    assert!(recorded(&listing(&mut a, &[("d", seen(2, 15))])).is_empty());
    a.owner(&name(APP), settled("c2", 20));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 15)]))), ["2.0@c2"]);
}

#[test]
fn what_a_gap_in_the_watch_may_have_hidden_is_not_guessed() {
    let mut a = started();
    a.descriptor(&name("d"), seen(1, 12));
    // The watch breaks; meanwhile 2.0 is applied with c2, and 3.0 is under way when the list is taken.
    a.owner(&name(APP), settled("c2", 20));
    let steps = listing(&mut a, &[("d", seen(3, 25))]);
    assert!(recorded(&steps).is_empty(), "neither 1.0 nor 3.0 is what c2 carried: {steps:?}");
    a.owner(&name(APP), settled("c3", 30));
    assert_eq!(recorded(&answered(&mut a, &[("d", 25)])), ["3.0@c3"]);
}

#[test]
fn a_commit_that_is_returned_to_is_recorded_again() {
    let mut a = started();
    a.descriptor(&name("d"), seen(2, 15));
    a.owner(&name(APP), settled("c2", 20));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 15)]))), ["2.0@c2"]);
    a.descriptor(&name("d"), Seen { said: said("1.0"), ..seen(3, 25) });
    a.owner(&name(APP), settled("c1", 30));
    assert_eq!(recorded(&a.probed(&name(APP), listed(&[("d", 25)]))), ["1.0@c1"]);
}

#[test]
fn of_a_descriptor_that_is_gone_when_the_server_answers_the_stream_tells_whether_the_commit_still_had_it() {
    for (gone, expected) in [(18, vec!["1.0@c2"]), (22, vec!["1.0@c2", "1.0@c2"])] {
        let mut a = started();
        listing(&mut a, &[("d", seen(1, 5)), ("e", seen(1, 6))]);
        a.owner(&name(APP), settled("c2", 20));
        assert!(recorded(&a.probed(&name(APP), listed(&[("d", 5)]))).is_empty());
        let mut steps = a.descriptor_gone(&name("e"), gone);
        steps.extend(answered(&mut a, &[("d", 5)]));
        assert_eq!(recorded(&steps), expected, "gone at {gone}");
    }
}

#[test]
fn what_settled_before_a_descriptor_went_is_recorded_although_the_server_has_not_answered() {
    let mut a = started();
    a.owner(&name(APP), settled("c2", 20));
    assert_eq!(recorded(&a.descriptor_gone(&name("d"), 25)), ["1.0@c2"]);
}

#[test]
fn without_a_kustomization_the_descriptor_names_its_commit_or_waits() {
    let mut a = Attribution::default();
    let unowned = |commit: Option<&str>, generation| Seen {
        owner: None,
        said: DescriptorSaid { gitops_revision: commit.map(str::to_owned), ..said("1.0") },
        ..seen(generation, 5)
    };
    assert!(a.descriptor(&name("d"), unowned(None, 1)).is_empty());
    assert_eq!(a.waiting(&name("d")), Some(Waiting::NoOwner));
    assert_eq!(recorded(&a.descriptor(&name("d"), unowned(Some("c"), 2))), ["1.0@-"]);
    assert_eq!(a.waiting(&name("d")), None);
}

fn repo(branch: &str) -> Option<(String, String)> {
    Some(("https://x/r".into(), branch.into()))
}

/// A Kustomization that reads a source.
fn reads(source: &str, state: Kustomization) -> Kustomization {
    Kustomization { source: Some(name(source)), has_descriptors: false, ..state }
}

fn sighted(steps: Vec<Step>) -> Vec<String> {
    let show = |s: Step| {
        if let Step::Sight { revision, branch, .. } = s { Some(format!("{branch}:{revision}")) } else { None }
    };
    steps.into_iter().filter_map(show).collect()
}

#[test]
fn a_revision_goes_into_the_log_of_the_branch_also_when_it_fails() {
    let mut a = Attribution::default();
    a.branch(&name("repo"), repo("main"));
    let mut owner = |state| sighted(a.owner(&name(APP), reads("repo", state)));
    assert_eq!(owner(settled("c1", 10)), ["main:c1"]);
    assert_eq!(owner(progressing("c2", 20)), ["main:c2"]);
    assert_eq!(owner(settled("c2", 30)), Vec::<String>::new());
    assert_eq!(owner(settled("c1", 40)), ["main:c1"], "a return is seen again");
}

#[test]
fn revisions_that_came_before_their_source_are_filed_when_it_comes() {
    let mut a = Attribution::default();
    for state in [settled("c1", 10), progressing("c2", 20), progressing("c3", 30), settled("c4", 40)] {
        assert!(sighted(a.owner(&name(APP), reads("repo", state))).is_empty());
    }
    assert!(sighted(a.branch(&name("other"), repo("main"))).is_empty());
    assert_eq!(sighted(a.branch(&name("repo"), repo("main"))), ["main:c1", "main:c2", "main:c3", "main:c4"]);
    assert!(sighted(a.branch(&name("repo"), repo("main"))).is_empty(), "each is filed once");
    assert_eq!(sighted(a.branch(&name("repo"), repo("stage"))), ["stage:c4"], "what it is on is on the new branch too");
}

#[test]
fn revisions_of_a_source_without_a_branch_or_of_a_former_one_are_not_filed() {
    let mut a = Attribution::default();
    a.owner(&name(APP), reads("tags", settled("c1", 10)));
    assert!(sighted(a.branch(&name("tags"), None)).is_empty());
    a.owner(&name(APP), reads("tags", settled("c2", 20)));
    assert_eq!(sighted(a.branch(&name("tags"), repo("main"))), ["main:c2"]);
    a.branch_gone(&name("tags"));
    a.owner(&name(APP), reads("tags", settled("c3", 30)));
    a.owner(&name(APP), reads("repo", settled("c4", 40)));
    assert_eq!(sighted(a.branch(&name("repo"), repo("main"))), ["main:c4"]);
}
