//! What the hub keeps beside its records - counts, indexes, shorter ways to an answer - against the same made from scratch.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use koh::model::{Body, CarrierKey, Clock, Fact, Liveness, Micros, Selector};
use koh::query::{Format, Rows, Statement};
use koh::snapshot::Generation;
use koh::state::{Heartbeat, Heartbeats, State};

use super::in_process::{ENGINE, InProcess, RUNTIME};

/// Who stands where at each endpoint, the newest change and the reports there, and who is missing on each target.
fn kept(state: &State) -> Vec<String> {
    let (t, index) = (state.view(), state.index());
    let mut lines = Vec::new();
    for (id, _) in t.endpoints.iter() {
        let Some(here) = index.current(id) else { continue };
        let groups: BTreeMap<_, _> = here.groups().collect();
        let reports = (here.last_change(), here.oldest_report(), here.heard_since(Micros::MIN));
        if !groups.is_empty() {
            lines.push(format!("endpoint {id}: {groups:?} {reports:?}"));
        }
    }
    for (id, target) in t.targets.iter() {
        // Said the slow way: everybody who is expected and none of whose reconcilers ever reported there.
        let wanted = (target.workload, target.environment, target.name);
        let labels = t.labels(target).unwrap_or_default();
        let selects = |host, record| {
            let selector = Selector::parse(t.text(t.selector(host, record)));
            selector.is_some_and(|s| s.matches(|key| t.label(target, &labels, key)))
        };
        let expected =
            t.hosts.iter().filter(|(h, record)| t.expects(*h, record).contains(&wanted) || selects(*h, record));
        let missing = expected.filter(|(host, _)| target.endpoint().is_some_and(|e| !index.ever_reported(*host, e)));
        let missing: Vec<u32> = missing.map(|(host, _)| host).collect();
        let mut kept: Vec<u32> = index.expectations().missing(id, target).collect();
        kept.sort_unstable();
        assert_eq!(kept, missing, "missing on target {id}");
        assert_eq!(index.expectations().missing_count(id, target), missing.len(), "on target {id}");
    }
    lines
}

impl InProcess {
    /// Everything that is kept is what a restored state makes of the same tables, also while hosts are silent and when they
    /// are heard again.
    pub fn keeps_what_it_would_make_again(&self) {
        let mut state = self.ledger().read(State::clone);
        let restored = |state: &State| kept(&State::from_tables(state.tables()));
        assert_eq!(kept(&state), restored(&state));
        let later = Micros::now().plus(100 * 60 * 1_000_000);
        let mut silent = state.overdue(&mut Heartbeats::default(), later, Micros::MIN);
        silent.retain(|change| change.liveness == Liveness::Silent && change.host != "h2");
        state.apply(1_000_000, &concluded(later, silent.clone()));
        assert_eq!(kept(&state), restored(&state), "{silent:?} are silent");
        let optional = Heartbeat { optional: true, ..Heartbeat::default() };
        let mut unknown = state.overdue(&mut Heartbeats::new(optional, []), later, Micros::MIN);
        unknown.retain(|change| change.host != "h3");
        state.apply(1_000_001, &concluded(later, unknown.clone()));
        assert_eq!(kept(&state), restored(&state), "{unknown:?} need not report");
    }

    /// The rows of one host are those that SQL gives.
    pub fn shows_of_one_host_what_sql_shows(&self) {
        let (seq, tables) = self.ledger().tables();
        let generation = Generation::take(self.ledger().epoch(), seq, tables, Micros::now());
        let catalog = Arc::new(generation.catalog());
        for host in ["h1", "h2", "h3", "h4", "nobody"] {
            let found = self.ledger().read(|state| generation.find_hosts(state, &[host.to_owned()]));
            for table in ["host_state", "hosts", "reconcilers"] {
                let batch = generation.rows_of_hosts(table, &found).unwrap().unwrap();
                let directly = Rows { schema: batch.schema(), batches: vec![batch] }.json().unwrap();
                let sql = format!("SELECT * FROM {table} WHERE host = '{host}'");
                let body = RUNTIME.block_on(async {
                    let output = ENGINE.run(Arc::clone(&catalog), Statement::new(sql), Format::Json).await.unwrap();
                    output.body.try_collect::<Vec<_>>().await.unwrap()
                });
                let sorted = |body: &[u8]| {
                    let mut rows: Vec<String> = String::from_utf8_lossy(body).lines().map(bare).collect();
                    rows.sort();
                    rows
                };
                assert_eq!(sorted(&directly), sorted(&body.concat()), "{table} of {host}");
            }
        }
    }
}

/// A row without what joins it to the next.
fn bare(line: &str) -> String {
    line.trim_matches(['[', ']', ',']).to_owned()
}

fn concluded(at: Micros, changes: Vec<koh::model::LivenessChange>) -> Fact {
    Fact {
        source: "hub".to_owned(),
        carrier: CarrierKey(0),
        at,
        clock: Clock::Said,
        identity: 0,
        received_at: at,
        body: Body::Liveness(changes),
    }
}
