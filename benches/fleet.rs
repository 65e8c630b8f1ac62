//! The design's budgets, measured on the real binary over HTTP: `cargo bench --bench fleet -- --preset S|M|L`.
//!
//! A fleet is generated, loaded and queried; every figure is printed beside its budget and nothing is asserted. Request
//! bodies are prepared outside the measured spans, and the CPU time this process still uses inside them is subtracted
//! from the ingest rates (both rates are printed): on a real installation it would be spent on other machines.

mod clients;
mod generator;
mod hub;
mod report;
mod upkeep;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use koh::demo::driver::{self, Batch, Client, Tally};
use tokio::sync::mpsc;

use crate::clients::sql;
use crate::generator::{Fleet, Preset};
use crate::hub::Hub;
use crate::report::{Better, Report};

/// Lines prepared at a time: about 300 MB of bodies.
const CHUNK: usize = 400_000;

#[derive(Debug, Parser)]
#[command(about = "Measures the hub against its budgets")]
struct Options {
    /// Size of the fleet: S (100 hosts, 20 k reports), D (1 k hosts, 400 k reports), M (10 k hosts, 4 M reports), L (100 k hosts,
    /// 20 M reports), or T to try the benchmark itself.
    #[arg(long, default_value = "S")]
    preset: String,

    /// The fleet is the same for the same seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Ingest requests in flight.
    #[arg(long, default_value_t = 8)]
    connections: usize,

    /// Seconds per latency measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Keep the data directory here instead of a temporary one; it must be empty.
    #[arg(long)]
    data: Option<PathBuf>,

    /// The binary to measure; the one that cargo built beside this benchmark when not given.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_koh"))]
    koh: PathBuf,

    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let Some(preset) = Preset::named(&options.preset) else {
        bail!("there is no preset '{}'; there are S, D, M, L and T", options.preset);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&options, preset))
}

async fn measure(options: &Options, preset: Preset) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("koh-bench-").tempdir()?;
    let data = options.data.clone().unwrap_or_else(|| temporary.path().join("data"));
    std::fs::create_dir_all(&data)?;
    let fleet = Fleet::new(preset, options.seed);
    println!(
        "fleet {}: {} hosts, {} reconcilers, {} lines of history; {} cores",
        preset.name,
        preset.hosts,
        fleet.reconcilers(),
        fleet.events(),
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    println!("  {:<62} {:>16} {:>16} {:>8}", "", "measured", "budget at M", "ratio");
    let hub = Hub::start(&options.koh, &data, &[]).await?;
    let mut bench = Bench { options, client: Client::new(&hub.url)?, fleet, hub, report: Report::default(), round: 0 };

    let rate = bench.history().await?;
    bench.settle("exporting what was imported, until quiet").await?;
    bench.heartbeats().await?;
    bench.freshness("after 1 % changed", 1.0).await?;
    bench.settle("exporting what changed, until quiet").await?;
    bench.gate("idle").await?;
    bench.gate_under_load(rate / 2.0).await?;
    bench.settle("exporting what changed, until quiet").await?;
    bench.views().await?;
    bench.statements().await?;
    bench.freshness_under_load().await?;

    let Bench { hub, mut report, .. } = bench;
    upkeep::backup_and_restore(&options.koh, &hub.url, &data, &mut report)?;
    report.figure("memory: peak anonymous, all of the above", hub.peak_anonymous_mib(), "MiB", 512.0, Better::Lower);
    report.note("memory: peak resident, file mappings included", hub.peak_resident_mib(), "MiB");
    report.note("CPU of the hub, all of the above", hub.cpu().as_secs_f64(), "s");
    report.note("stop on SIGTERM: drain, export, checkpoint", hub.stop().await?.as_secs_f64(), "s");
    report.figure("on disk, allocated, history included", hub::disk_mb(&data), "MB", 600.0, Better::Lower);
    let again = Hub::start(&options.koh, &data, &[]).await?;
    report.figure(
        "start on this volume to ready (budget is for L)",
        again.ready_after.as_secs_f64(),
        "s",
        10.0,
        Better::Lower,
    );
    again.stop().await?;
    upkeep::check(&options.koh, &data, &mut report)?;
    upkeep::trim(&options.koh, &data, &mut report).await?;
    println!("\n{}", report.markdown());
    Ok(())
}

/// A measurement in progress.
struct Bench<'a> {
    options: &'a Options,
    client: Client,
    fleet: Fleet,
    hub: Hub,
    report: Report,
    /// Rounds of changed reports so far: each says the opposite of the one before.
    round: usize,
}

/// What sending cost.
#[derive(Default)]
struct Cost {
    wall: Duration,
    /// CPU time of this process.
    own: Duration,
    /// CPU time of the hub.
    hub: Duration,
}

impl Bench<'_> {
    /// Sends prepared batches as fast as they are taken.
    async fn send(&self, batches: Vec<Batch>, cost: &mut Cost) -> anyhow::Result<Tally> {
        let (to, receiver) = mpsc::channel(batches.len().max(1));
        for batch in batches {
            to.try_send(batch).context("the channel holds all batches")?;
        }
        drop(to);
        let (started, own, hub) = (Instant::now(), hub::own_cpu(), self.hub.cpu());
        let tally = driver::pump(&self.client, receiver, self.options.connections, |_| {}).await?;
        cost.wall += started.elapsed();
        cost.own += hub::own_cpu().saturating_sub(own);
        cost.hub += self.hub.cpu().saturating_sub(hub);
        if let Some(refusal) = &tally.first_refusal {
            bail!("{} lines were refused, the first: {refusal}", tally.rejected);
        }
        Ok(tally)
    }

    fn rates(&mut self, what: &str, tally: &Tally, cost: &Cost, budget: f64) {
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let adjusted = cost.wall.as_secs_f64() - cost.own.as_secs_f64() / cores;
        let items = tally.items as f64;
        self.report.figure(
            &format!("ingest, {what}, generator's CPU subtracted"),
            items / adjusted,
            "/s",
            budget,
            Better::Higher,
        );
        self.report.note(&format!("ingest, {what}, as the clock saw it"), items / cost.wall.as_secs_f64(), "/s");
        self.report.note(
            &format!("ingest, {what}, CPU of the hub per report"),
            cost.hub.as_secs_f64() * 1e6 / items,
            "us",
        );
        self.report.note(&format!("ingest, {what}, request p99"), tally.percentile(99).as_secs_f64() * 1e3, "ms");
    }

    /// The whole history; returns the rate of changed reports.
    async fn history(&mut self) -> anyhow::Result<f64> {
        let (mut tally, mut cost) = (Tally::default(), Cost::default());
        for from in (0..self.fleet.events()).step_by(CHUNK) {
            let batches = self.fleet.history(from, CHUNK);
            tally.add(self.send(batches, &mut cost).await?);
        }
        if tally.unchanged > 0 {
            println!("  ({} lines of the history were answered 'unchanged')", tally.unchanged);
        }
        self.rates("changed", &tally, &cost, 60_000.0);
        Ok(tally.items as f64 / cost.wall.as_secs_f64())
    }

    /// Waits until the hub has next to nothing to do, so that what follows is measured by itself.
    async fn settle(&mut self, what: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut quiet = 0;
        while quiet < 3 && started.elapsed() < Duration::from_secs(120) {
            let before = self.hub.cpu();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let busy = self.hub.cpu().saturating_sub(before);
            quiet = if busy < Duration::from_millis(50) { quiet + 1 } else { 0 };
        }
        let took = started.elapsed().as_secs_f64() - 0.5 * f64::from(quiet);
        self.report.note(what, took.max(0.0), "s");
        Ok(())
    }

    async fn heartbeats(&mut self) -> anyhow::Result<()> {
        let rounds = (200_000 / self.fleet.reconcilers()).max(1);
        let (mut tally, mut cost) = (Tally::default(), Cost::default());
        for round in 0..rounds {
            let who = self.fleet.shuffled(round as u64);
            let batches = self.fleet.repeated(&who, &recently(50 - round as i64));
            tally.add(self.send(batches, &mut cost).await?);
        }
        if tally.accepted > 0 {
            println!("  ({} of {} heartbeats were answered 'accepted')", tally.accepted, tally.items);
        }
        self.rates("unchanged", &tally, &cost, 150_000.0);
        Ok(())
    }

    /// Batches in which `count` reports change, whoever makes them.
    fn changes(&mut self, count: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut left = count;
        while left > 0 {
            self.round += 1;
            let mut who = self.fleet.shuffled(self.round as u64);
            who.truncate(left);
            left -= who.len();
            // Later rounds are later in time, and all of them later than the heartbeats.
            batches.extend(self.fleet.changed(&who, self.round, &recently(30 - self.round as i64)));
        }
        batches
    }

    async fn freshness(&mut self, when: &str, percent: f64) -> anyhow::Result<()> {
        let count = (self.fleet.reconcilers() as f64 * percent / 100.0).ceil() as usize;
        let mut waits = Vec::new();
        for _ in 0..5 {
            let batches = self.changes(count);
            let tally = self.send(batches, &mut Cost::default()).await?;
            waits.push(self.visible(tally.seq).await?);
        }
        waits.sort_unstable();
        self.report.figure(
            &format!("SQL freshness {when}, median of 5"),
            waits[2].as_secs_f64() * 1e3,
            "ms",
            1000.0,
            Better::Lower,
        );
        Ok(())
    }

    /// How long until SQL sees everything up to `seq`.
    async fn visible(&self, seq: u64) -> anyhow::Result<Duration> {
        let question = format!("{}&min_seq={seq}", sql("SELECT count(*) FROM environment_state"));
        Ok(Duration::from_secs_f64(clients::time(&self.hub.address, &[question], 1).await?.0.ms(100) / 1e3))
    }

    /// The gate's latency: polled by 32 pipelines, and by 32 clients that do nothing else.
    async fn gate(&mut self, when: &str) -> anyhow::Result<()> {
        let questions = self.fleet.gate_questions(500);
        let span = Duration::from_secs(self.options.seconds);
        for (how, every) in [("1,000 questions/s", Some(Duration::from_millis(32))), ("flat out", None)] {
            let latencies = clients::ask(&self.hub.address, &questions, 32, every, span).await?;
            self.report.note(&format!("gate, 32 clients, {how}, {when}, p50"), latencies.ms(50), "ms");
            let what = format!("gate, 32 clients, {how}, {when}, p99");
            self.report.figure(&what, latencies.ms(99), "ms", 2.0, Better::Lower);
            if every.is_none() {
                self.report.note(&format!("gate, 32 clients, {how}, {when}, answers"), latencies.per_second, "/s");
            }
        }
        Ok(())
    }

    /// The gate while changed reports arrive at `rate`.
    async fn gate_under_load(&mut self, rate: f64) -> anyhow::Result<()> {
        let seconds = 2.0 * self.options.seconds as f64 + 2.0;
        let load = self.background((rate * seconds) as usize, Some(rate));
        self.gate(&format!("ingest {rate:.0}/s")).await?;
        load.abort();
        Ok(())
    }

    /// Sends `count` changed reports beside what is measured, at a rate or as fast as they are taken.
    fn background(&mut self, count: usize, rate: Option<f64>) -> tokio::task::JoinHandle<anyhow::Result<Tally>> {
        let batches = self.changes(count);
        let (client, connections) = (self.client.clone(), self.options.connections);
        tokio::spawn(async move {
            let (to, receiver) = mpsc::channel(connections);
            let feeder = tokio::spawn(async move {
                let started = tokio::time::Instant::now();
                let mut sent = 0;
                for batch in batches {
                    if let Some(rate) = rate {
                        tokio::time::sleep_until(started + Duration::from_secs_f64(sent as f64 / rate)).await;
                    }
                    sent += batch.items;
                    if to.send(batch).await.is_err() {
                        return;
                    }
                }
            });
            let tally = driver::pump(&client, receiver, connections, |_| {}).await;
            feeder.abort();
            Ok(tally?)
        })
    }

    async fn view(&mut self, what: &str, questions: &[String], times: usize, budget: f64) -> anyhow::Result<()> {
        let (latencies, bytes) = clients::time(&self.hub.address, questions, times).await?;
        let what = format!("{what}, p50 ({} kB)", bytes.div_ceil(1000));
        self.report.figure(&what, latencies.ms(50), "ms", budget, Better::Lower);
        Ok(())
    }

    async fn views(&mut self) -> anyhow::Result<()> {
        let one = |path: &str| vec![format!("/api/v1/views/{path}")];
        self.view("REST environment-state", &one("environment-state?limit=20000"), 21, 10.0).await?;
        self.view("REST environment-state of prod", &one("environment-state?environment=prod&limit=20000"), 21, 10.0)
            .await?;
        let hosts: Vec<String> = (0..self.fleet.preset.hosts)
            .step_by((self.fleet.preset.hosts / 100).max(1))
            .map(|host| format!("/api/v1/views/host-state?host={}", self.fleet.host_name(host)))
            .collect();
        self.view("REST host-state of one host", &hosts, 1, 2.0).await
    }

    async fn statements(&mut self) -> anyhow::Result<()> {
        let host = self.fleet.host_name(self.fleet.preset.hosts / 2);
        let statements = [
            ("SQL environment_state", "SELECT * FROM environment_state".to_string(), 150.0),
            ("SQL environment_discrepancies", "SELECT * FROM environment_discrepancies".to_string(), f64::NAN),
            ("SQL host_state of one host", format!("SELECT * FROM host_state WHERE host = '{host}'"), f64::NAN),
            ("SQL drift, counted", "SELECT drift, count(*) FROM drift GROUP BY drift".to_string(), f64::NAN),
            (
                "SQL rollouts by verdict",
                "SELECT verdict, count(*) FROM rollouts GROUP BY verdict".to_string(),
                f64::NAN,
            ),
            ("SQL environment_history, whole fleet", "SELECT * FROM environment_history".to_string(), 1500.0),
            (
                "SQL transitions, counted by status",
                "SELECT status, count(*) FROM transitions GROUP BY status".to_string(),
                f64::NAN,
            ),
        ];
        for (what, statement, budget) in statements {
            self.view(what, &[sql(&statement)], 5, budget).await?;
        }
        Ok(())
    }

    async fn freshness_under_load(&mut self) -> anyhow::Result<()> {
        let span = Duration::from_secs(self.options.seconds);
        let count = (self.fleet.reconcilers() * 4).clamp(20_000, 800_000);
        let load = self.background(count, None);
        let (started, mut worst, mut looks) = (Instant::now(), Duration::ZERO, 0);
        while !load.is_finished() && started.elapsed() < span {
            let probe = self.changes(1);
            let tally = self.send(probe, &mut Cost::default()).await?;
            worst = worst.max(self.visible(tally.seq).await?);
            looks += 1;
        }
        load.abort();
        let what = format!("SQL freshness under full ingest, worst of {looks}");
        self.report.figure(&what, worst.as_secs_f64() * 1e3, "ms", 5000.0, Better::Lower);
        Ok(())
    }
}

/// An instant some seconds ago.
fn recently(seconds: i64) -> String {
    koh::model::Micros::now().plus(-seconds * 1_000_000).to_string()
}
