//! The hub under measurement: a child process of the very binary that ships, and what the system says about it.
//!
//! It runs on a directory of its own and is stopped with SIGTERM, as an operator would; it is killed only when it does
//! not end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use koh::demo::driver::Client;

/// Kernel clock ticks per second in `/proc`: 100 on every Linux that matters.
const TICKS: f64 = 100.0;

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    child: Child,
    pub url: String,
    pub address: String,
    /// From the start of the process to readiness.
    pub ready_after: Duration,
    peak: Arc<AtomicU64>,
    sampling: Arc<AtomicBool>,
}

impl Hub {
    /// Starts the binary `koh` on `data`, with more options, and waits until it is ready.
    pub async fn start(koh: &Path, data: &Path, more: &[&str]) -> anyhow::Result<Hub> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let log = data.with_extension("log");
        let started = Instant::now();
        let child = Command::new(koh)
            .args(["serve", "--listen", &address, "--data"])
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("starting koh serve")?;
        let url = format!("http://{address}");
        let (peak, sampling) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let mut hub = Hub { child, url, address, ready_after: Duration::ZERO, peak, sampling };
        let ready = Client::new(&hub.url)?.ready().await;
        if let Some(status) = hub.child.try_wait()? {
            bail!("the hub ended with {status}:\n{}", std::fs::read_to_string(&log)?);
        }
        ready?;
        hub.ready_after = started.elapsed();
        hub.sample();
        Ok(hub)
    }

    /// Keeps the highest anonymous memory seen, looking ten times a second.
    fn sample(&self) {
        let (peak, sampling, pid) = (Arc::clone(&self.peak), Arc::clone(&self.sampling), self.child.id());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            while sampling.load(Ordering::Relaxed) {
                ticks.tick().await;
                peak.fetch_max(status_kib(pid, "RssAnon:"), Ordering::Relaxed);
            }
        });
    }

    /// Highest anonymous memory so far, in MiB.
    pub fn peak_anonymous_mib(&self) -> f64 {
        self.peak.load(Ordering::Relaxed) as f64 / 1024.0
    }

    /// Highest resident memory so far, file mappings included, in MiB.
    pub fn peak_resident_mib(&self) -> f64 {
        status_kib(self.child.id(), "VmHWM:") as f64 / 1024.0
    }

    /// CPU time the hub has used.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }

    /// Asks the hub to end and waits for it; returns how long that took.
    pub async fn stop(mut self) -> anyhow::Result<Duration> {
        let asked = Instant::now();
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().context("sending SIGTERM")?;
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > Duration::from_secs(60) {
                bail!("the hub did not end within a minute of SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(asked.elapsed())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.sampling.store(false, Ordering::Relaxed);
        // Already ended, or left behind by an error: either way it must not outlive the benchmark.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time this process has used, all threads.
pub fn own_cpu() -> Duration {
    cpu_of("self")
}

fn cpu_of(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name may hold spaces; fields are counted after its closing parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS)
}

fn status_kib(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Bytes allocated on disk below `directory`, in MB.
pub fn disk_mb(directory: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let file = directory.metadata().ok().filter(std::fs::Metadata::is_file);
    let mut bytes = file.map_or(0, |file| file.blocks() * 512);
    let mut open: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(_) => {} // vanished meanwhile
            }
        }
    }
    bytes as f64 / 1e6
}
