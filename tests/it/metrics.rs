//! `/metrics` over HTTP: what moves, what stays, and who can read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use koh::ledger::{AppendError, Ledger, Store};
use koh::metrics::{Format, Metrics, Traffic};
use koh::query::{Engine, Limits};
use koh::runtime::{Engines, Freshness, Hub};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::hub::{Answer, TestHub, commit, descriptor, report};
use crate::ledger_disk::Disk;
use crate::ledger_facts::{host, still};
use crate::openmetrics::{Series, classic, openmetrics};

/// How long a condition may take to come true, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn scrape(hub: &TestHub) -> Series {
    openmetrics(&asked(hub, OPENMETRICS).text())
}

fn asked(hub: &TestHub, accept: &str) -> Answer {
    let answer = hub.ask("GET", "/metrics", &[("accept", accept)], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Scrapes until it is as wished: a scrape may show the count of the fleet before.
#[track_caller]
fn scrape_until(hub: &TestHub, wished: impl Fn(&Series) -> bool) -> Series {
    let begun = Instant::now();
    loop {
        let all = scrape(hub);
        if wished(&all) {
            return all;
        }
        assert!(begun.elapsed() < PATIENCE, "{all:#?}");
    }
}

/// Scrapes until a series has this value.
#[track_caller]
fn until(hub: &TestHub, series: &str, value: f64) -> Series {
    scrape_until(hub, |all| all.get(series) == Some(&value))
}

fn sum(all: &Series, begins: &str) -> f64 {
    all.iter().filter(|(name, _)| name.starts_with(begins)).map(|(_, n)| n).sum()
}

/// Two environments; one report fails.
fn fleet() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&[descriptor("dev", "1.1.0", &commit('b')), descriptor("prod", "1.0.0", &commit('a'))].join("\n"));
    let reports = [
        report("h1", "dev", &commit('b'), "success"),
        report("h2", "dev", &commit('b'), "failure"),
        report("h3", "prod", &commit('a'), "success"),
    ];
    let answer = hub.post("/api/v1/ingest/reconcilers?source=eu", "application/x-ndjson", reports.join("\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    hub
}

#[test]
fn the_fleet_is_told_by_environment_workload_and_state_and_never_by_host() {
    let hub = fleet();
    let all = until(&hub, "koh_reconcilers{environment=\"dev\",status=\"failure\",workload=\"web\"}", 1.0);
    let wanted = [
        ("koh_reconcilers{environment=\"dev\",status=\"success\",workload=\"web\"}", 1.0),
        ("koh_reconcilers{environment=\"dev\",status=\"unknown\",workload=\"web\"}", 0.0),
        ("koh_drift{drift=\"failing\",environment=\"dev\",workload=\"web\"}", 1.0),
        ("koh_drift{drift=\"in_sync\",environment=\"prod\",workload=\"web\"}", 1.0),
        ("koh_drift{drift=\"missing\",environment=\"prod\",workload=\"web\"}", 0.0),
        ("koh_hosts{liveness=\"online\"}", 3.0),
        ("koh_hosts{liveness=\"silent\"}", 0.0),
        ("koh_deployment_targets{environment=\"prod\",workload=\"web\"}", 1.0),
        ("koh_rollouts{environment=\"dev\",verdict=\"failed\",workload=\"web\"}", 1.0),
        ("koh_rollouts{environment=\"prod\",verdict=\"complete\",workload=\"web\"}", 1.0),
        ("koh_ingest_statements_total{kind=\"push\",outcome=\"accepted\",source=\"eu\"}", 3.0),
        ("koh_ledger_read_only", 0.0),
        ("koh_sources_unheard", 0.0),
    ];
    for (series, value) in wanted {
        assert_eq!(all.get(series), Some(&value), "{series}");
    }
    assert_eq!(all["koh_generation_sequence"], all["koh_ledger_sequence"]);
    for name in ["h1", "h2", "h3", "said so", &commit('a')] {
        assert!(!all.keys().any(|series| series.contains(&format!("\"{name}\""))), "{name}");
    }
}

#[test]
fn both_formats_can_be_read_and_say_the_same() {
    let hub = fleet();
    until(&hub, "koh_hosts{liveness=\"online\"}", 3.0);
    let open = asked(&hub, OPENMETRICS);
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = asked(&hub, "*/*");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (open, text) = (openmetrics(&open.text()), classic(&text.text()));
    assert!(open.keys().eq(text.keys()), "{open:?}\n{text:?}");
    let packed = hub.ask("GET", "/metrics", &[("accept-encoding", "gzip")], b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
}

#[test]
fn counters_move_with_what_is_said_and_asked_and_refused() {
    let hub = fleet();
    let before = scrape(&hub);
    hub.push(&descriptor("stage", "1.0.0", &commit('a')));
    assert_eq!(hub.post("/api/v1/ingest?source=bad", "application/json", "{\"kind\": \"Nonsense\"}").status, 400);
    assert_eq!(hub.get("/api/v1/sql?q=SELECT%201").status, 200);
    assert_eq!(hub.get("/api/v1/sql?q=DROP%20TABLE%20hosts").status, 403);
    assert_eq!(hub.get("/api/v1/hosts/h1?fresh=true").status, 200);
    assert_eq!(hub.get("/nothing/here?password=secret").status, 404);
    assert_eq!(hub.get("/api/v1/rollouts/status?environment=dev&workload=web&version=1.1.0").status, 200);
    let after = until(&hub, "koh_deployment_targets{environment=\"stage\",workload=\"web\"}", 1.0);
    let grown = |series: &str| after.get(series).unwrap_or(&0.0) - before.get(series).unwrap_or(&0.0);
    assert_eq!(grown("koh_ingest_statements_total{kind=\"push\",outcome=\"accepted\",source=\"push\"}"), 1.0);
    assert_eq!(grown("koh_ingest_statements_total{kind=\"push\",outcome=\"rejected\",source=\"bad\"}"), 1.0);
    assert!(grown("koh_ingest_read_bytes_total") > 500.0);
    assert!(after["koh_source_last_error_timestamp_seconds{kind=\"push\",source=\"bad\"}"] > 1.7e9);
    assert_eq!(grown("koh_query_statements_total{engine=\"sql\",outcome=\"done\"}"), 1.0);
    assert_eq!(grown("koh_query_statements_total{engine=\"sql\",outcome=\"refused\"}"), 1.0);
    assert_eq!(grown("koh_gate_evaluations_total"), 1.0);
    assert_eq!(grown("koh_ledger_groups_total"), 1.0);
    assert_eq!(grown("koh_ledger_commit_duration_seconds_count"), 1.0);
    assert!(grown("koh_ledger_journal_written_bytes_total") > 0.0);
    assert!(after["koh_ledger_sequence"] > before["koh_ledger_sequence"]);
    let requests = |route: &str, class: &str| {
        grown(&format!("koh_http_requests_total{{method=\"GET\",route=\"{route}\",status=\"{class}\"}}"))
    };
    assert_eq!(requests("/api/v1/hosts/{id}", "2xx"), 1.0);
    assert_eq!(requests("(none)", "4xx"), 1.0);
    assert_eq!(requests("/api/v1/sql", "2xx"), 1.0);
    assert_eq!(requests("/api/v1/sql", "4xx"), 1.0);
    assert_eq!(after["koh_http_requests_in_flight"], 1.0, "this one");
    assert!(!after.keys().any(|series| series.contains("secret") || series.contains("nothing")));
}

#[test]
fn a_restart_begins_the_counters_anew_and_leaves_the_fleet_as_it_was() {
    let hub = fleet();
    let before = until(&hub, "koh_hosts{liveness=\"online\"}", 3.0);
    assert!(sum(&before, "koh_ingest_statements_total{kind=\"push\"") >= 5.0);
    let hub = hub.crash_and_restart();
    let after = until(&hub, "koh_hosts{liveness=\"online\"}", 3.0);
    assert_eq!(sum(&after, "koh_ingest_statements_total{kind=\"push\""), 0.0);
    assert_eq!(after["koh_ledger_groups_total"], 0.0);
    assert!(after["process_start_time_seconds"] >= before["process_start_time_seconds"]);
    for family in ["koh_reconcilers{", "koh_drift{", "koh_hosts{", "koh_deployment_targets{", "koh_rollouts{"] {
        let of = |all: &Series| -> Vec<(String, f64)> {
            all.iter().filter(|(name, _)| name.starts_with(family)).map(|(k, v)| (k.clone(), *v)).collect()
        };
        assert_eq!(of(&after), of(&before), "{family}");
    }
    let heard = after.iter().find(|(name, _)| name.starts_with("koh_source_last_heard") && name.contains("\"eu\""));
    assert!(heard.is_some(), "when a source was heard is known from before: {after:?}");
}

#[test]
fn the_process_and_the_build_are_told() {
    let hub = TestHub::spawn();
    let all = scrape(&hub);
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        assert!(all[name] > 0.0, "{name}");
    }
    let build = all.keys().find(|name| name.starts_with("koh_build_info{")).unwrap();
    assert!(build.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))), "{build}");
}

#[test]
fn what_waits_for_its_promotion_is_told_for_the_environment_it_is_missing_in() {
    let hub = TestHub::spawn();
    let wanted = |environment: &str, version: &str, digit: char, hour: &str| {
        let mut resource: Value = serde_json::from_str(&descriptor(environment, version, &commit(digit))).unwrap();
        resource["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = format!("2026-01-01T{hour}:00:00Z").into();
        resource.to_string()
    };
    let said =
        [wanted("dev", "1.0.0", 'a', "10"), wanted("prod", "1.0.0", 'a', "11"), wanted("dev", "1.1.0", 'b', "12")];
    hub.push(&said.join("\n"));
    let reports = [report("h1", "dev", &commit('b'), "success"), report("h3", "prod", &commit('a'), "success")];
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n")).status, 200);
    let all = until(&hub, "koh_rollouts{environment=\"dev\",verdict=\"complete\",workload=\"web\"}", 1.0);
    let waiting: Vec<&String> =
        all.keys().filter(|series| series.starts_with("koh_promotion_waiting_since_timestamp_seconds{")).collect();
    assert_eq!(
        waiting,
        ["koh_promotion_waiting_since_timestamp_seconds{environment=\"prod\",workload=\"web\"}"],
        "prod waits for 1.1.0, and dev for nothing: it had 1.0.0"
    );
    hub.push(&wanted("prod", "1.1.0", 'b', "13"));
    scrape_until(&hub, |all| !all.keys().any(|series| series.starts_with("koh_promotion_waiting")));
}

#[tokio::test]
async fn a_hub_whose_store_failed_says_so_and_still_tells_of_its_fleet() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), still()).unwrap();
    let engine = || Engine::new(Limits::default()).unwrap();
    let hub = Hub::new(ledger, Engines { rows: engine(), sql: engine() }, 1, CancellationToken::new());
    let (hub, metrics) = (Arc::new(hub), Arc::new(Metrics::new(Traffic::new(Arc::new(Semaphore::new(1)), 1))));
    hub.append(vec![host("one", 1)]).await.unwrap();
    disk.fail();
    assert_eq!(hub.append(vec![host("lost", 2)]).await, Err(AppendError::Failed));
    // One that was taken a moment before would do for a scrape.
    hub.generation(Freshness::Now).await.unwrap();
    let all = openmetrics(&metrics.text(&hub, Format::OpenMetrics).await.unwrap());
    assert_eq!(all["koh_ledger_read_only"], 1.0);
    assert_eq!(all.iter().filter(|(name, _)| name.starts_with("koh_hosts{")).map(|(_, n)| n).sum::<f64>(), 1.0);
}
