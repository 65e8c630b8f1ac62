//! What it costs to have ten thousand pipelines wait at the gate, and how soon one report releases them all.
//!
//! Every waiter is a connection of its own with a long poll on it, as pipelines are. Figures are printed, nothing is asserted.
#![allow(dead_code, reason = "the modules are shared with the benchmark of the fleet, which uses the rest of them")]

mod clients;
mod hub;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use clients::Connection;
use hub::Hub;

const WAITERS: usize = 10_000;
/// How long the hub is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        for questions in [1, 100, 1_000] {
            measure(questions).await?;
        }
        Ok(())
    })
}

async fn measure(questions: usize) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let room = ["--max-connections", "12000", "--max-connections-per-peer", "12000", "--max-waiters", "12000"];
    let hub =
        Hub::start(std::path::Path::new(env!("CARGO_BIN_EXE_koh")), &directory.path().join("data"), &room).await?;
    let http = reqwest::Client::new();
    push(&http, &hub, "descriptors", (0..questions).map(descriptor)).await?;
    push(&http, &hub, "reconcilers", (0..questions).map(|n| report(n, "in_progress"))).await?;
    let before = hub.peak_anonymous_mib();

    let begun = Instant::now();
    let mut waiters = JoinSet::new();
    for n in 0..WAITERS {
        let address = hub.address.clone();
        let path =
            format!("/api/v1/rollouts/status?environment=prod&workload=web-{}&version=2.0&wait=10m", n % questions);
        waiters.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            let body = connection.get(&path).await?;
            let complete = body.starts_with(b"{\"verdict\":\"complete\"");
            anyhow::ensure!(complete, "{}", String::from_utf8_lossy(&body[..200.min(body.len())]));
            anyhow::Ok(Instant::now())
        });
    }
    while waiting(&http, &hub).await? < WAITERS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let joined = begun.elapsed();
    let each = (hub.peak_anonymous_mib() - before) * 1024.0 / WAITERS as f64;
    let cpu = hub.cpu();
    tokio::time::sleep(IDLE).await;
    let idle = (hub.cpu() - cpu).as_secs_f64() / IDLE.as_secs_f64();

    push(&http, &hub, "reconcilers", (0..questions).map(|n| report(n, "success"))).await?;
    let released = Instant::now();
    let mut after: Vec<Duration> = Vec::new();
    while let Some(waiter) = waiters.join_next().await {
        after.push(waiter??.saturating_duration_since(released));
    }
    after.sort_unstable();
    let ms = |percent: usize| after[(after.len() * percent / 100).min(after.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{WAITERS} waiters, {questions} questions: all waiting after {:.1} s, {each:.1} KiB each, {:.2} % of a core while \
         nothing happens; released by one batch after {:.0} ms (half), {:.0} ms (99 %), {:.0} ms (all)",
        joined.as_secs_f64(),
        idle * 100.0,
        ms(50),
        ms(99),
        ms(100)
    );
    hub.stop().await?;
    Ok(())
}

async fn waiting(http: &reqwest::Client, hub: &Hub) -> anyhow::Result<usize> {
    let url = format!("{}/api/v1/sql?q=select+sum(waiting)+as+n+from+system.gate", hub.url);
    let text = http.get(url).send().await?.error_for_status()?.text().await?;
    let rows: serde_json::Value = serde_json::from_str(&text)?;
    rows[0]["n"].as_u64().and_then(|n| usize::try_from(n).ok()).context("no number of waiters")
}

async fn push(
    http: &reqwest::Client,
    hub: &Hub,
    what: &str,
    items: impl Iterator<Item = serde_json::Value>,
) -> anyhow::Result<()> {
    let body = items.map(|v| v.to_string()).collect::<Vec<_>>().join("\n");
    let request = http.post(format!("{}/api/v1/ingest/{what}", hub.url)).header("content-type", "application/x-ndjson");
    request.body(body).send().await?.error_for_status()?;
    Ok(())
}

const COMMIT: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn descriptor(n: usize) -> serde_json::Value {
    serde_json::json!({
        "workspace": "fleet", "application": "shop", "workload": format!("web-{n}"), "environment": "prod",
        "deployment_target": "edge", "version": "2.0", "gitops_revision": format!("prod@sha1:{COMMIT}"),
        "manifests": {"repo": "https://git.example/fleet/gitops", "branch": "prod", "path": format!("web-{n}")},
    })
}

fn report(n: usize, status: &str) -> serde_json::Value {
    serde_json::json!({
        "host": format!("host-{}", n % 100), "reconciler": format!("web-{n}"), "reconciler_type": "flux",
        "manifests_endpoint": format!("https://git.example/fleet/gitops/prod/web-{n}"), "commit": COMMIT, "status": status,
    })
}
