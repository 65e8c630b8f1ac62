//! A real fold through real tables: what the views say of a short history of facts.

use koh::model::{
    Body, CarrierKey, Clock, Declaration, Endpoint, Expectation, Fact, HostDeclaration, Micros, Report, Status,
};
use koh::query::Table;
use koh::query::arrow::array::RecordBatch;
use koh::snapshot::Generation;
use koh::snapshot::schema::TABLES;
use koh::state::State;

use super::views_support::{World, rows_of};

/// Minutes after a midnight.
pub fn minute(n: i64) -> Micros {
    Micros(Micros::parse("2026-01-01T00:00:00Z").unwrap().0 + n * 60_000_000)
}

/// A fold that facts are told to.
#[derive(Default)]
pub struct Fleet {
    state: State,
    seq: u64,
}

impl Fleet {
    fn tell(&mut self, source: &str, carrier: &str, at: i64, body: Body) {
        self.seq += 1;
        let carrier = CarrierKey(carrier.bytes().fold(7, |h, b| h * 257 + u128::from(b)));
        let (source, at) = (source.to_owned(), minute(at));
        let fact =
            Fact { source, carrier, at, clock: Clock::Said, identity: self.seq, received_at: at.plus(1_000_000), body };
        self.state.apply(self.seq, &fact);
    }

    /// `version` is wanted on the target `environment` of the workload cart as of `commit`.
    pub fn want(&mut self, environment: &str, version: &str, commit: Option<&str>, at: i64) {
        let declaration = Declaration {
            workspace: "team".into(),
            application: "shop".into(),
            workload: "cart".into(),
            environment: environment.into(),
            deployment_target: "edge".into(),
            version: version.into(),
            endpoint: endpoint(environment),
            repo: "https://git/r".into(),
            branch: environment.into(),
            commit: commit.map(str::to_owned),
            source_repo: None,
            source_branch: None,
            source_path: None,
            source_commit: None,
            build: None,
            build_time: None,
            image_digest: None,
            author: Some("ann".into()),
            pull_request: None,
            contact: Some("team@x".into()),
            labels: String::new(),
        };
        self.tell("flux", &format!("d {environment}"), at, Body::Declaration(Box::new(declaration)));
    }

    /// A reconciler says how it fares with `commit` in `environment`.
    pub fn report(&mut self, host: &str, environment: &str, commit: &str, status: Status, at: i64) {
        let report = Report {
            host: host.into(),
            reconciler: format!("{environment}-cart"),
            reconciler_type: "flux".into(),
            endpoint: endpoint(environment),
            commit: Some(commit.into()),
            applied: None,
            status,
            raw_status: "Said".into(),
            message: format!("{commit} {status}"),
            labels: r#"{"region":"eu","ring":"1"}"#.into(),
        };
        self.tell("push", &format!("r {host} {environment}"), at, Body::Report(Box::new(report)));
    }

    /// A carrier is gone.
    pub fn gone(&mut self, source: &str, carrier: &str, at: i64) {
        self.tell(source, carrier, at, Body::Gone);
    }

    /// A host is expected to run cart in `environment`.
    pub fn expect(&mut self, host: &str, environment: &str, at: i64) {
        let expectation =
            Expectation { workload: "cart".into(), environment: environment.into(), deployment_target: "edge".into() };
        let declaration = HostDeclaration {
            name: host.into(),
            external_id: None,
            host_type: None,
            labels: String::new(),
            class: None,
            contact: None,
            expects: Some(vec![expectation]),
            heartbeat: false,
            retired: false,
            selector: String::new(),
        };
        self.tell("push", &format!("h {host}"), at, Body::Host(Box::new(declaration)));
    }

    /// A smoke test went well, or not.
    fn judge(&mut self, result: &str, at: i64) {
        self.tell("push", "v smoke", at, crate::ledger_facts::verification(result, 0).body);
    }

    /// The generation at an instant.
    pub fn generation(&self, now: i64) -> Generation {
        Generation::take(1, self.seq, self.state.tables(), minute(now))
    }

    async fn rows(&self, now: i64, sql: &str) -> Vec<String> {
        rows_of(&world(&self.generation(now)).context().await, sql).await
    }
}

fn endpoint(environment: &str) -> Endpoint {
    let canonical = format!("https://git/r/{environment}/edge");
    Endpoint { storage_type: "git".into(), raw: canonical.clone(), canonical }
}

fn world(generation: &Generation) -> World {
    let mut world = World::default();
    for table in generation.tables() {
        let all: Vec<usize> = (0..table.schema().fields().len()).collect();
        let batches = read(table.as_ref(), &all);
        if !batches.is_empty() {
            let batch = koh::query::arrow::compute::concat_batches(&table.schema(), &batches).unwrap();
            world = world.with_batch(table.name(), batch);
        }
    }
    world
}

fn read(table: &dyn Table, projection: &[usize]) -> Vec<RecordBatch> {
    (0..table.partitions()).flat_map(|p| table.scan(p, projection)).map(|b| b.unwrap()).collect()
}

/// dev: 1.0 at c1, 1.1 at c2, back to 1.0 at c3; four hosts.
pub fn history() -> Fleet {
    let mut f = Fleet::default();
    f.want("dev", "1.0", Some("c1"), 0);
    f.want("prod", "1.0", None, 1);
    for host in ["h1", "h2", "h3"] {
        f.report(host, "dev", "c1", Status::Success, 2);
    }
    f.want("dev", "1.1", Some("c2"), 10);
    f.report("h1", "dev", "c2", Status::InProgress, 11);
    f.report("h1", "dev", "c2", Status::Success, 12);
    f.report("h2", "dev", "c2", Status::Failure, 13);
    f.want("dev", "1.0", Some("c3"), 20);
    f.report("h1", "dev", "c3", Status::Success, 21);
    f.report("h4", "lost", "z", Status::Success, 22);
    f.expect("h5", "dev", 5);
    f.judge("passed", 14);
    f.judge("failed", 23);
    f
}

#[tokio::test]
async fn every_declared_column_of_every_table_is_read() {
    let generation = history().generation(30);
    let tables = generation.tables();
    let mut names: Vec<_> = tables.iter().map(|t| t.name().to_owned()).collect();
    names.sort_unstable();
    let mut declared: Vec<_> = TABLES.iter().map(|t| t.name.to_owned()).collect();
    declared.sort_unstable();
    assert_eq!(names, declared);
    for table in &tables {
        let all: Vec<usize> = (0..table.schema().fields().len()).collect();
        let batches = read(table.as_ref(), &all);
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert!(rows > 0, "{} has rows in this history", table.name());
        assert!(table.rows().is_none_or(|n| n == rows), "{} counts what it has", table.name());
        assert!(batches.iter().all(|b| b.schema() == table.schema()), "{}", table.name());
        let counted: usize = read(table.as_ref(), &[]).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(counted, rows, "{} without columns", table.name());
    }
}

#[tokio::test]
async fn a_revert_of_the_version_is_a_third_assignment_and_the_hosts_left_behind_are_counted() {
    let f = history();
    let rows = f.rows(30, "SELECT sequence, version, commit, assigned_at, ended_at, last_place FROM assignments WHERE environment = 'dev' ORDER BY sequence").await;
    assert_eq!(
        rows,
        ["1 | 1.0 | c1 | 00:00 | 00:10 | 1", "2 | 1.1 | c2 | 00:10 | 00:20 | 2", "3 | 1.0 | c3 | 00:20 | - | 3"]
    );
    let rows = f
        .rows(30, "SELECT environment, desired_version, deployed_version, status, reconcilers, hosts FROM environment_state ORDER BY environment, deployed_version, status")
        .await;
    assert_eq!(
        rows,
        ["dev | 1.0 | 1.0 | success | 2 | 2", "dev | 1.0 | 1.1 | failure | 1 | 1", "prod | 1.0 | - | - | 0 | 0"]
    );
    let rows = f.rows(30, "SELECT host, ring, drift, since, behind_by, behind_seconds FROM drift ORDER BY host").await;
    assert_eq!(
        rows,
        [
            "h1 | 1 | in_sync | 00:21 | 0 | 0",
            "h2 | 1 | failing | 00:13 | 1 | 600",
            "h3 | 1 | behind | 00:10 | 2 | 1200",
            "h4 | 1 | unassigned | 00:22 | - | -",
            "h5 | - | missing | 00:05 | - | -",
        ]
    );
}

#[tokio::test]
async fn history_counts_reconcilers_by_their_last_word_on_each_commit() {
    let mut f = history();
    f.report("h1", "dev", "c2", Status::Success, 25);
    f.gone("push", "r h2 dev", 26);
    let rows = f
        .rows(30, "SELECT commit, version, first_deployed_at, last_deployed_at, success, failure, in_progress, rolled_back FROM environment_history ORDER BY commit")
        .await;
    assert_eq!(
        rows,
        [
            "c1 | 1.0 | 00:02 | 00:02 | 3 | 0 | 0 | false",
            "c2 | 1.1 | 00:11 | 00:25 | 1 | 1 | 0 | true",
            "c3 | 1.0 | 00:21 | 00:21 | 1 | 0 | 0 | false",
        ]
    );
    let rows = f.rows(30, "SELECT host, commit, rolled_back, deployed_at, ended_at FROM deployments WHERE host <> 'h3' ORDER BY host, sequence").await;
    assert_eq!(
        rows,
        [
            "h1 | c1 | false | 00:02 | 00:11",
            "h1 | c2 | false | 00:11 | 00:21",
            "h1 | c3 | false | 00:21 | 00:25",
            "h1 | c2 | true | 00:25 | -",
            "h2 | c1 | false | 00:02 | 00:13",
            "h2 | c2 | false | 00:13 | 00:26",
            "h4 | z | false | 00:22 | -",
        ]
    );
}

#[tokio::test]
async fn a_commit_that_was_only_passed_is_explained_by_what_was_in_force() {
    let mut f = history();
    f.want("dev", "1.0", Some("c4"), 22);
    f.report("h3", "dev", "c4", Status::Success, 23);
    let rows = f.rows(30, "SELECT commit, version, sequence, recorded FROM assignment_commits WHERE environment = 'dev' ORDER BY place").await;
    assert_eq!(rows, ["c1 | 1.0 | 1 | true", "c2 | 1.1 | 2 | true", "c3 | 1.0 | 3 | true", "c4 | 1.0 | 3 | true"]);
    let rows =
        f.rows(30, "SELECT host, drift, behind_by FROM host_state WHERE environment = 'dev' ORDER BY host").await;
    assert_eq!(rows, ["h1 | in_sync | 0", "h2 | failing | 1", "h3 | in_sync | 0"]);
}

#[tokio::test]
async fn rollouts_follow_the_rules_of_the_gate() {
    let f = history();
    let rows = f
        .rows(30, "SELECT version, commit, verdict, total, success, failure, behind, never_reported FROM rollouts WHERE environment = 'dev' ORDER BY started_at")
        .await;
    // 1.0 at c1: h1 and h3 prove it (h1 by c3), h2 failed at c2 but had proven c1. 1.1: h1 reverted to a version older than 1.1.
    assert_eq!(
        rows,
        [
            "1.0 | c1 | superseded | 4 | 3 | 0 | 0 | 1",
            "1.1 | c2 | superseded | 4 | 0 | 1 | 2 | 1",
            "1.0 | c3 | in_progress | 4 | 1 | 0 | 2 | 1",
        ]
    );
}

#[tokio::test]
async fn ids_do_not_depend_on_the_order_of_arrival() {
    let mut other = Fleet::default();
    other.report("h2", "dev", "c1", Status::Success, 2);
    other.want("dev", "1.0", Some("c1"), 0);
    other.report("h1", "dev", "c1", Status::Success, 2);
    let sql = "SELECT reconciler_id, host FROM reconcilers WHERE host IN ('h1', 'h2') ORDER BY host";
    assert_eq!(other.rows(30, sql).await, history().rows(30, sql).await);
}

#[tokio::test]
async fn a_run_that_a_late_word_splits_gives_transitions_with_sequences_and_ids_of_their_own() {
    let said = [(10, Status::Success), (20, Status::Success), (15, Status::Failure)];
    let told = |order: [usize; 3]| {
        let mut fleet = Fleet::default();
        order.iter().for_each(|i| fleet.report("h1", "dev", "c1", said[*i].1, said[*i].0));
        fleet
    };
    let late = told([0, 1, 2]);
    let counted = "SELECT count(*), count(DISTINCT seq), count(DISTINCT transition_id) FROM transitions";
    assert_eq!(late.rows(30, counted).await, ["3 | 3 | 3"]);
    let sql = "SELECT status, transition_id FROM transitions ORDER BY reported_at";
    assert_eq!(late.rows(30, sql).await, told([0, 2, 1]).rows(30, sql).await);
    // What became a transition by the late word comes after it.
    let sql = "SELECT status FROM transitions ORDER BY seq";
    assert_eq!(late.rows(30, sql).await, ["success", "failure", "success"]);
}
