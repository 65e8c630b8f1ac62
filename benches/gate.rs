//! What an answer of the gate costs as the hosts of one target grow, and what keeping it cheap costs each report.
//!
//! Pure: the fold and the gate in this process, no file, no HTTP. Figures are printed, nothing is asserted.

use std::time::{Duration, Instant};

use koh::demo::random::{Random, commit};
use koh::model::{Body, CarrierKey, Clock, Declaration, Endpoint, Fact, Micros, Report, Status};
use koh::rollout::{Asked, Question, Rules, status};
use koh::state::State;

const VERSIONS: u64 = 20;
const QUESTIONS: usize = 2_000;
const SECOND: i64 = 1_000_000;
const START: Micros = Micros(1_760_000_000 * SECOND);

fn main() {
    println!(
        "{:>9} {:>16} {:>12} {:>12} {:>12} {:>12}",
        "hosts", "us per report", "p50 us", "p99 us", "p99 behind", "bytes"
    );
    for hosts in [10, 1_000, 100_000] {
        measure(hosts);
    }
}

fn measure(hosts: u64) {
    let (mut state, mut random, mut folding) = (State::new(), Random::new(hosts), Duration::ZERO);
    let mut reports = 0;
    let mut at = START;
    for version in 0..VERSIONS {
        at = at.plus(3600 * SECOND);
        state.apply(version + 1, &fact(1, at, declaration(version)));
        let mut said = Vec::new();
        for host in (0..hosts).filter(|host| host % 20 != version) {
            let word = if random.chance(5) { Status::Failure } else { Status::Success };
            let at = at.plus(random.between(30, 1500) * SECOND);
            said.push(fact(u128::from(host) + 2, at, report(host, version, word)));
        }
        let started = Instant::now();
        said.iter().for_each(|fact| drop(state.apply(version + 1, fact)));
        folding += started.elapsed();
        reports += said.len();
    }
    let (p50, p99) = asked(&state, VERSIONS, at);
    // A version that nobody has come to: everybody holds it up.
    state.apply(VERSIONS + 1, &fact(1, at.plus(3600 * SECOND), declaration(VERSIONS)));
    let (_, behind) = asked(&state, VERSIONS + 1, at);
    let per_report = folding.as_secs_f64() * 1e6 / reports as f64;
    let bytes = std::mem::size_of::<koh::state::tables::ReconcilerRecord>();
    println!("{hosts:>9} {per_report:>16.2} {p50:>12.1} {p99:>12.1} {behind:>12.1} {bytes:>12}");
}

/// Microseconds of the middle answer and of the slowest of a hundred, over the last three versions.
fn asked(state: &State, versions: u64, now: Micros) -> (f64, f64) {
    let mut took: Vec<Duration> = (0..QUESTIONS)
        .map(|n| {
            let question = Question {
                workload: vec!["web".to_owned()],
                environment: vec!["prod".to_owned()],
                ..Question::about(Asked::Version(format!("1.{}", versions - 1 - n as u64 % 3)))
            };
            let started = Instant::now();
            std::hint::black_box(status(state, &question, &Rules::default(), now));
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    let us = |percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1e6;
    (us(50), us(99))
}

fn fact(carrier: u128, at: Micros, body: Body) -> Fact {
    Fact {
        source: "push".to_owned(),
        carrier: CarrierKey(carrier),
        at,
        clock: Clock::Said,
        identity: 0,
        received_at: at,
        body,
    }
}

fn endpoint() -> Endpoint {
    let canonical = "https://git.example/fleet/web/prod/edge".to_owned();
    Endpoint { storage_type: "git".to_owned(), raw: canonical.clone(), canonical }
}

fn commit_of(version: u64) -> Option<String> {
    Some(format!("sha1:{}", commit(&[version])))
}

fn declaration(version: u64) -> Body {
    Body::Declaration(Box::new(Declaration {
        workspace: "fleet".to_owned(),
        application: "shop".to_owned(),
        workload: "web".to_owned(),
        environment: "prod".to_owned(),
        deployment_target: "edge".to_owned(),
        version: format!("1.{version}"),
        endpoint: endpoint(),
        repo: "https://git.example/fleet/web".to_owned(),
        branch: "prod".to_owned(),
        commit: commit_of(version),
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
        labels: String::new(),
    }))
}

fn report(host: u64, version: u64, status: Status) -> Body {
    Body::Report(Box::new(Report {
        host: format!("cl-{host:06}"),
        reconciler: "web".to_owned(),
        reconciler_type: "flux".to_owned(),
        endpoint: endpoint(),
        commit: commit_of(version),
        applied: None,
        status,
        raw_status: status.as_str().to_owned(),
        message: String::new(),
        labels: String::new(),
    }))
}
