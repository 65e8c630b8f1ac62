//! Facts for the tests of the ledger, and ways to look at what became of them.

use std::collections::BTreeSet;
use std::time::Duration;

use koh::ledger::{Ledger, Options};
use koh::model::{
    Body, CarrierKey, Clock, Endpoint, Fact, HostDeclaration, Micros, Outcome, Report, Status, Subject, Verification,
};
use koh::state::Tables;

/// One second.
pub const SECOND: i64 = 1_000_000;

/// Options under which nothing happens by itself.
pub fn still() -> Options {
    let never = Duration::from_secs(1_000_000);
    Options { checkpoint_every: never, confirm_flush_every: never, sweep_every: never, ..Options::default() }
}

fn key(text: &str) -> CarrierKey {
    let hash = |seed: u128| text.bytes().fold(seed, |h, b| (h ^ u128::from(b)).wrapping_mul(0x0100_0000_01b3));
    CarrierKey((hash(0xcbf2_9ce4_8422_2325) << 64) | hash(0x8422_2325))
}

fn fact(carrier: &str, at: i64, body: Body) -> Fact {
    let at = Micros(at * SECOND);
    Fact {
        source: "push".into(),
        carrier: key(carrier),
        at,
        clock: Clock::Said,
        identity: at.0 as u64,
        received_at: at,
        body,
    }
}

/// A host is heard.
pub fn host(name: &str, at: i64) -> Fact {
    let declaration = HostDeclaration {
        name: name.into(),
        external_id: None,
        host_type: None,
        labels: String::new(),
        class: None,
        contact: None,
        expects: None,
        heartbeat: true,
        retired: false,
        selector: String::new(),
    };
    fact(&format!("host {name}"), at, Body::Host(Box::new(declaration)))
}

/// A reconciler of a host says that it met a commit.
pub fn report(host: &str, commit: &str, status: Status, at: i64) -> Fact {
    let report = Report {
        host: host.into(),
        reconciler: "apps".into(),
        reconciler_type: "flux".into(),
        endpoint: Endpoint {
            storage_type: "git".into(),
            canonical: "example.com/fleet/gitops/main/apps".into(),
            raw: "https://example.com/fleet/gitops".into(),
        },
        commit: Some(commit.into()),
        applied: None,
        status,
        raw_status: status.as_str().into(),
        message: format!("{commit} is {status}"),
        labels: String::new(),
    };
    fact(&format!("reconciler {host}"), at, Body::Report(Box::new(report)))
}

/// A smoke test of a commit went well, or not.
pub fn verification(result: &str, at: i64) -> Fact {
    let verification = Verification {
        name: "smoke".into(),
        selectors: [None, None, Some("web".into()), Some("prod".into()), None],
        subject: Subject::Commit("c1".into()),
        outcome: if result == "passed" { Outcome::Passed } else { Outcome::Failed },
        raw_result: result.into(),
        link: Some("https://ci.example/runs/7".into()),
        message: String::new(),
        reported_by: None,
    };
    fact("smoke c1", at, Body::Verification(Box::new(verification)))
}

/// The same statement, but nobody named its time; `said` is by what it is known again.
pub fn untimed(mut fact: Fact, said: u64) -> Fact {
    (fact.clock, fact.identity) = (Clock::Received, said);
    fact
}

/// The names of the hosts that the ledger knows.
pub fn hosts(ledger: &Ledger) -> BTreeSet<String> {
    let (_, tables) = ledger.tables();
    tables.hosts.iter().map(|(_, h)| tables.text(h.name).to_owned()).collect()
}

/// Every record of every table that the fold of the journal determines, readable.
pub fn dump(tables: &Tables) -> String {
    let Tables {
        names,
        carriers,
        hosts,
        reconcilers,
        endpoints,
        logs,
        targets,
        versions,
        sources: _,
        verifications,
        window,
    } = tables;
    format!(
        "{:?}",
        (
            names.iter().collect::<Vec<_>>(),
            carriers.iter().collect::<Vec<_>>(),
            hosts.iter().collect::<Vec<_>>(),
            reconcilers.iter().collect::<Vec<_>>(),
            endpoints.iter().collect::<Vec<_>>(),
            logs.iter().collect::<Vec<_>>(),
            targets.iter().collect::<Vec<_>>(),
            versions.iter().collect::<Vec<_>>(),
            verifications.iter().collect::<Vec<_>>(),
            window.iter().collect::<Vec<_>>(),
        )
    )
}
