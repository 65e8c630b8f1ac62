//! What a fact must be, whatever the spelling and the time it arrives.

use super::*;
use crate::model::{ResourceKind, Status};

const NOW: Micros = Micros(1_700_000_000_000_000);

fn said() -> ReportSaid {
    ReportSaid {
        host: "cl-1".into(),
        reconciler: "flux".into(),
        reconciler_type: "flux".into(),
        manifests: ManifestsSaid::Endpoint { storage_type: "git".into(), endpoint: "https://h.x/o/r/dev/t".into() },
        commit: Some("sha1:530af36eb38818ff7c4a8840f2068998ec8ec065".into()),
        applied_commit: None,
        status: "success".into(),
        raw_status: None,
        message: "Applied".into(),
        labels: Default::default(),
    }
}

fn observation(said: ReportSaid) -> Observation {
    Observation {
        source: "push".into(),
        carrier: Carrier::Natural,
        when: When::default(),
        said: Said::Report(Box::new(said)),
    }
}

fn report_of(fact: &Fact) -> &Report {
    match &fact.body {
        Body::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_spellings_of_one_report_are_one_statement() {
    let mut other = said();
    other.host = " cl-1 ".into();
    other.manifests = ManifestsSaid::Parts {
        storage_type: "".into(),
        repo: "git@h.x:o/r.git".into(),
        branch: "dev".into(),
        path: "./t".into(),
    };
    other.commit = Some("dev/530AF36EB38818FF7C4A8840F2068998EC8EC065".into());
    let (one, two) = (fact(observation(said()), NOW).unwrap(), fact(observation(other), NOW.plus(5)).unwrap());
    assert_eq!(one.identity, two.identity);
    assert_eq!(one.carrier, two.carrier);
    assert_ne!(one.identity, {
        let mut third = said();
        third.message = "other".into();
        fact(observation(third), NOW).unwrap().identity
    });
}

#[test]
fn a_report_that_names_only_the_applied_commit_names_the_commit() {
    let mut only = said();
    only.applied_commit = only.commit.take();
    let fact = fact(observation(only), NOW).unwrap();
    assert_eq!(report_of(&fact).commit.as_deref(), Some("sha1:530af36eb38818ff7c4a8840f2068998ec8ec065"));
    assert_eq!(report_of(&fact).applied, None);
}

#[test]
fn the_sources_own_word_is_kept_beside_ours() {
    let mut other = said();
    other.status = "Non-Compliant".into();
    let fact = super::fact(observation(other), NOW).unwrap();
    assert_eq!((report_of(&fact).status, report_of(&fact).raw_status.as_str()), (Status::Failure, "Non-Compliant"));
    let mut other = said();
    other.raw_status = Some("Compliant".into());
    assert_eq!(report_of(&super::fact(observation(other), NOW).unwrap()).raw_status, "Compliant");
}

#[test]
fn a_time_too_far_ahead_is_taken_as_received_and_flagged_and_stays_in_the_identity() {
    let at = |event: Option<Micros>| {
        let mut o = observation(said());
        o.when.event = event;
        fact(o, NOW).unwrap()
    };
    let near = at(Some(NOW.plus(FUTURE_TOLERANCE)));
    assert_eq!((near.at, near.clock), (NOW.plus(FUTURE_TOLERANCE), Clock::Said));
    let far = at(Some(NOW.plus(FUTURE_TOLERANCE + 1)));
    assert_eq!((far.at, far.clock), (NOW, Clock::Future));
    let none = at(None);
    assert_eq!((none.at, none.clock), (NOW, Clock::Received));
    assert_ne!(far.identity, none.identity);
    assert_eq!(at(Some(Micros(0))).clock, Clock::Said);
    assert_eq!(at(Some(Micros::MAX)).clock, Clock::Future);
}

#[test]
fn a_time_before_1970_is_refused_for_no_query_could_compute_with_it() {
    for year in ["0001-01-01T00:00:00Z", "-005000-01-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
        let mut o = observation(said());
        o.when.event = Some(Micros::parse(year).unwrap());
        assert!(fact(o, NOW).unwrap_err().title.contains("before 1970"), "{year}");
    }
}

#[test]
fn an_object_version_identifies_before_an_idempotency_key_before_content() {
    let with = |version: Option<&str>, key: Option<&str>, message: &str| {
        let mut said = said();
        said.message = message.into();
        let mut o = observation(said);
        o.when.object_version = version.map(str::to_owned);
        o.when.idempotency = key.map(str::to_owned);
        fact(o, NOW).unwrap().identity
    };
    assert_eq!(with(Some("u/1"), Some("k/1"), "a"), with(Some("u/1"), Some("k/2"), "b"));
    assert_ne!(with(Some("u/1"), None, "a"), with(Some("u/2"), None, "a"));
    assert_eq!(with(None, Some("k/1"), "a"), with(None, Some("k/1"), "b"));
    assert_ne!(with(None, None, "a"), with(None, None, "b"));
}

#[test]
fn a_deletion_reaches_the_carrier_of_what_it_names() {
    let declared = fact(observation(said()), NOW).unwrap();
    let mut gone = observation(said());
    gone.said = Said::Deleted(Some(Box::new(gone.said)));
    let gone = fact(gone, NOW).unwrap();
    assert_eq!((gone.carrier, gone.body), (declared.carrier, Body::Gone));

    let resource = |said: Said| Observation {
        source: "k8s".into(),
        carrier: Carrier::Resource { kind: ResourceKind::Reconciler, namespace: "hub".into(), name: "r".into() },
        when: When::default(),
        said,
    };
    let declared = fact(resource(Said::Report(Box::new(said()))), NOW).unwrap();
    assert_eq!(fact(resource(Said::Deleted(None)), NOW).unwrap().carrier, declared.carrier);

    let mut nothing = observation(said());
    nothing.said = Said::Deleted(None);
    assert_eq!(fact(nothing, NOW).unwrap_err().title, "a deletion names nothing");
}

#[test]
fn messages_are_scrubbed_and_bad_names_refused() {
    let mut other = said();
    other.message = "password=hunter2".into();
    assert_eq!(report_of(&fact(observation(other), NOW).unwrap()).message, "password=***");
    let mut other = said();
    other.reconciler = "a\0".into();
    assert_eq!(fact(observation(other), NOW).unwrap_err().title, "reconciler holds the control character U+0000");
}

#[test]
fn a_descriptor_keeps_repo_and_branch_of_its_manifests() {
    let said = DescriptorSaid {
        workspace: "w".into(),
        application: "a".into(),
        workload: "l".into(),
        environment: "dev".into(),
        deployment_target: "t".into(),
        version: "1".into(),
        manifests: ManifestsSaid::Parts {
            storage_type: "git".into(),
            repo: "https://h.x/o/r.git".into(),
            branch: "dev".into(),
            path: "./t".into(),
        },
        gitops_revision: Some("dev@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065".into()),
        source_repo: Some("git@h.x:o/src.git".into()),
        source_branch: Some("".into()),
        source_path: None,
        source_commit: None,
        build: None,
        build_time: None,
        image_digest: None,
        author: None,
        pull_request: None,
        contact: None,
        labels: Default::default(),
    };
    let o = Observation {
        source: "push".into(),
        carrier: Carrier::Natural,
        when: When::default(),
        said: Said::Descriptor(Box::new(said)),
    };
    let Body::Declaration(d) = fact(o, NOW).unwrap().body else { panic!("not a declaration") };
    assert_eq!((d.repo.as_str(), d.branch.as_str()), ("https://h.x/o/r", "dev"));
    assert_eq!(d.endpoint.canonical, "https://h.x/o/r/dev/t");
    assert_eq!(d.commit.as_deref(), Some("sha1:530af36eb38818ff7c4a8840f2068998ec8ec065"));
    assert_eq!((d.source_repo.as_deref(), d.source_branch), (Some("https://h.x/o/src"), None));
}
