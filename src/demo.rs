//! `koh demo`: a simulated fleet, driven through the real HTTP ingest; also the load generator of the benchmarks.
//!
//! ```text
//!  world -> simulation -> render        pure: seed and length of history decide everything
//!              feed -> driver           pacing, then HTTP, several requests at a time
//! ```
//!
//! The demo knows the hub only by its address: what it shows is what any client would see.

pub mod driver;
pub mod feed;
mod guide;
mod progress;
pub mod random;
pub mod render;
pub mod simulation;
pub mod timeline;
pub mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::driver::{Client, Tally};
use self::feed::{Feed, Pace};
use self::progress::Progress;
use self::simulation::{Plot, Simulation};
use self::timeline::HOUR;
use crate::model::Micros;

/// Options of `koh demo`.
///
/// Their variables are `KOH_DEMO_*`: a `KOH_URL` set for other commands must not send a simulated fleet to a real hub.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Number of simulated hosts.
    #[arg(long, env = "KOH_DEMO_HOSTS", default_value_t = 60)]
    pub hosts: usize,

    /// How much faster than real time the live part runs.
    #[arg(long, env = "KOH_DEMO_SPEED", default_value_t = 60.0, value_parser = positive)]
    pub speed: f64,

    /// Days of history to fill in before the live part.
    #[arg(long, env = "KOH_DEMO_HISTORY_DAYS", default_value_t = 3.0, value_parser = positive)]
    pub history_days: f64,

    /// The fleet and its story are the same for the same seed.
    #[arg(long, env = "KOH_DEMO_SEED", default_value_t = 1)]
    pub seed: u64,

    /// Directory to keep the hub's data in; a temporary one when not given.
    #[arg(long, env = "KOH_DEMO_DATA", value_name = "DIR", conflicts_with = "url")]
    pub data: Option<PathBuf>,

    /// Address to listen on; port 0 takes any free one.
    #[arg(
        long,
        env = "KOH_DEMO_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR:PORT",
        conflicts_with = "url"
    )]
    pub listen: SocketAddr,

    /// Drive the hub at this URL instead of starting one.
    #[arg(long, env = "KOH_DEMO_URL")]
    pub url: Option<String>,

    /// Send so many statements per second instead of following the fleet's clock; 0 sends as fast as the hub takes them.
    /// Leaves heartbeats out.
    #[arg(long, env = "KOH_DEMO_RATE", value_name = "PER_SECOND")]
    pub rate: Option<u64>,

    /// Requests in flight.
    #[arg(long, env = "KOH_DEMO_CONNECTIONS", default_value_t = 4)]
    pub connections: usize,

    /// Stop after so many seconds of the live part; runs until Ctrl-C when not given.
    #[arg(long, env = "KOH_DEMO_DURATION", value_name = "SECONDS", value_parser = positive)]
    pub duration: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && n > 0.0 => Ok(n),
        _ => Err(format!("'{text}' is not a number above 0")),
    }
}

/// What the demo needs from whoever can start a hub.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Data directory.
    pub data: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// A host counts as late after so long: the fleet's clock runs faster than ours.
    pub late_after: Duration,
    /// A host counts as silent after so long.
    pub silent_after: Duration,
}

/// A hub that was started for the demo.
pub struct Hub {
    /// Where it listens.
    pub address: SocketAddr,
    /// Drains and stops it.
    pub stop: Box<dyn FnOnce() -> BoxFuture<'static, anyhow::Result<()>> + Send>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Runs the demo until Ctrl-C, or for the duration asked for, over clients that `http` makes. `start` starts a hub; it is not called with
/// `--url`.
pub async fn run(
    options: Options,
    http: reqwest::ClientBuilder,
    start: impl FnOnce(Wanted) -> BoxFuture<'static, anyhow::Result<Hub>>,
) -> anyhow::Result<()> {
    if options.url.is_none() && !options.listen.ip().is_loopback() {
        anyhow::bail!(
            "the demo has no authentication and listens on loopback only, not on {}; drive a hub of your own with --url",
            options.listen
        );
    }
    let progress = Arc::new(Progress::new());
    let temporary = match (&options.url, &options.data) {
        (None, None) => {
            Some(tempfile::Builder::new().prefix("koh-demo-").tempdir().context("making a temporary directory")?)
        }
        _ => None,
    };
    let data = temporary.as_ref().map(|dir| dir.path().to_path_buf()).or_else(|| options.data.clone());
    let hub = match data {
        Some(data) => {
            progress.phase(&format!("starting a hub on {}", data.display()));
            let scaled = |minutes: f64| Duration::from_secs_f64((minutes * 60.0 / options.speed).max(5.0));
            let wanted = Wanted { data, listen: options.listen, late_after: scaled(15.0), silent_after: scaled(60.0) };
            Some(start(wanted).await.context("starting the hub")?)
        }
        None => None,
    };
    let base = match (&hub, &options.url) {
        (Some(hub), _) => format!("http://{}", hub.address),
        (None, Some(url)) => url.clone(),
        (None, None) => anyhow::bail!("there is neither a hub to start nor a --url to drive"),
    };

    let told = drive(&options, http, &base, &progress).await;
    progress.finish();
    if let Some(hub) = hub {
        eprintln!("stopping the hub");
        (hub.stop)().await.context("stopping the hub")?;
    }
    println!("{}", told?);
    Ok(())
}

/// Sends history, prints the guide, sends the live part; returns the closing line.
async fn drive(
    options: &Options,
    http: reqwest::ClientBuilder,
    base: &str,
    progress: &Arc<Progress>,
) -> anyhow::Result<String> {
    let client = Client::over(http, base).context("making an HTTP client")?;
    client.ready().await?;
    let history = (options.history_days * 24.0 * HOUR as f64) as i64;
    let plot = Plot { seed: options.seed, hosts: options.hosts, history, heartbeats: options.rate.is_none() };
    let mut feed = Feed::new(Simulation::new(plot), Micros::now());
    let stop = CancellationToken::new();
    let _on_interrupt = cancel_on_interrupt(&stop);

    progress.phase(&format!("filling in {} days of history", options.history_days));
    let (to, pump) = pump(&client, options, progress);
    tokio::select! {
        () = feed.send_history(&to) => {}
        () = stop.cancelled() => {}
    }
    drop(to);
    let sent = pump.await??;
    if stop.is_cancelled() {
        return Ok(guide::summary(&sent, 0.0));
    }
    let page = guide::page(
        feed.simulation().world(),
        client.base(),
        options.history_days,
        feed.simulation().newest_in_prod(0),
        &sent,
    );
    progress.suspend(|| println!("{page}"));

    let pace = match options.rate {
        None => Pace::Speed(options.speed),
        Some(0) => Pace::FlatOut,
        Some(rate) => Pace::Rate(rate),
    };
    progress.phase("the fleet is live; Ctrl-C stops it");
    if let Some(seconds) = options.duration {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            stop.cancel();
        });
    }
    let started = Instant::now();
    let (to, pump) = self::pump(&client, options, progress);
    // At full speed the story would be a wall of text.
    let quiet = options.rate.is_some();
    feed.send_live(pace, &to, &stop, |line| {
        if !quiet {
            progress.line(line);
        }
    })
    .await;
    drop(to);
    let tally = pump.await??;
    let mut closing = guide::summary(&tally, started.elapsed().as_secs_f64());
    if let Some(refusal) = sent.first_refusal {
        closing.push_str(&format!("\nhistory: {} rejected; first refusal: {refusal}", sent.rejected));
    }
    Ok(closing)
}

type Pump = tokio::task::JoinHandle<Result<Tally, driver::DriveError>>;

fn pump(client: &Client, options: &Options, progress: &Arc<Progress>) -> (mpsc::Sender<driver::Batch>, Pump) {
    let connections = options.connections.max(1);
    let (to, batches) = mpsc::channel(2 * connections);
    let (client, progress) = (client.clone(), Arc::clone(progress));
    let pump = tokio::spawn(async move {
        driver::pump(&client, batches, connections, move |batch| progress.advance(batch.items as u64)).await
    });
    (to, pump)
}

/// Cancels `stop` on Ctrl-C or SIGTERM, for as long as the returned guard lives.
fn cancel_on_interrupt(stop: &CancellationToken) -> impl Drop + use<> {
    struct Guard(tokio::task::JoinHandle<()>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let stop = stop.clone();
    Guard(tokio::spawn(async move {
        interrupted().await;
        stop.cancel();
    }))
}

/// Returns once somebody wants this process to end.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    // Without a handler Ctrl-C ends the process by itself.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
