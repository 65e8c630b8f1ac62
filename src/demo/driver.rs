//! The sending half of the load generator: batches of prepared lines to a hub over HTTP, several at a time.
//!
//! Nothing is dropped: a hub that asks to wait (429) is waited for, a hub that cannot be reached is tried again for a
//! while, anything else ends the run with what the hub said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};

/// How long a hub may be out of reach before a run gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Lines for one request, prepared.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Path of the endpoint.
    pub path: &'static str,
    /// NDJSON.
    pub body: Bytes,
    /// Number of lines.
    pub items: usize,
}

/// What the hub answers to a batch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Items taken.
    pub accepted: u64,
    /// Items that said nothing new.
    pub unchanged: u64,
    /// Items refused.
    pub rejected: u64,
    /// Sequence number that holds them.
    pub seq: u64,
    /// The refused ones, bounded.
    pub items: Vec<Refusal>,
}

/// Why an item was refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// Position in the batch.
    pub index: u64,
    /// What was wrong.
    pub title: String,
    /// Where, and what to do.
    pub detail: String,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// No answer.
    #[error("no hub answers at {url}; is it running, and is the address right?")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the HTTP client said.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no receipt.
    #[error("the hub answered {status} to {url}: {body}")]
    Refused {
        /// Status code.
        status: StatusCode,
        /// What was asked.
        url: String,
        /// Start of the answer.
        body: String,
    },
}

/// An HTTP client of one hub; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
}

impl Client {
    /// A client of the hub at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Client, reqwest::Error> {
        Client::over(reqwest::Client::builder(), base)
    }

    /// The same over a client that has what a hub asks for.
    pub fn over(http: reqwest::ClientBuilder, base: &str) -> Result<Client, reqwest::Error> {
        // The HTTP client panics without a provider. A second installation is refused, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // No timeout over all: a hub under load may take its time, and it says so with 429.
        let http = http.connect_timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Client { http, base: base.trim_end_matches('/').into() })
    }

    /// The address the client was made for, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Waits until the hub says that it is ready.
    pub async fn ready(&self) -> Result<(), DriveError> {
        let url = format!("{}/readyz", self.base);
        let started = Instant::now();
        loop {
            let answer = self.http.get(&url).send().await;
            match answer {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) if started.elapsed() > PATIENCE => return Err(refused(response, url).await),
                Err(source) if started.elapsed() > PATIENCE => return Err(DriveError::Unreachable { url, source }),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Sends one batch, waiting where the hub asks for it; the number says how often it did.
    pub async fn post(&self, batch: &Batch) -> Result<(Receipt, u64), DriveError> {
        let url = format!("{}{}", self.base, batch.path);
        let mut waits = 0;
        let started = Instant::now();
        loop {
            let request =
                self.http.post(&url).header(header::CONTENT_TYPE, "application/x-ndjson").body(batch.body.clone());
            let response = match request.send().await {
                Ok(response) => response,
                Err(source) if started.elapsed() > PATIENCE || !source.is_connect() => {
                    return Err(DriveError::Unreachable { url, source });
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            match response.status() {
                StatusCode::TOO_MANY_REQUESTS => {
                    waits += 1;
                    tokio::time::sleep(retry_after(&response)).await;
                }
                // 400 with a receipt: every item was refused.
                StatusCode::OK | StatusCode::ACCEPTED | StatusCode::MULTI_STATUS | StatusCode::BAD_REQUEST => {
                    let status = response.status();
                    let body = response
                        .bytes()
                        .await
                        .map_err(|source| DriveError::Unreachable { url: url.clone(), source })?;
                    match serde_json::from_slice::<Receipt>(&body) {
                        Ok(receipt) if status != StatusCode::BAD_REQUEST || receipt.rejected > 0 => {
                            return Ok((receipt, waits));
                        }
                        _ => return Err(DriveError::Refused { status, url, body: excerpt(&body) }),
                    }
                }
                _ => return Err(refused(response, url).await),
            }
        }
    }
}

async fn refused(response: reqwest::Response, url: String) -> DriveError {
    let status = response.status();
    let body = response.bytes().await.map(|body| excerpt(&body)).unwrap_or_default();
    DriveError::Refused { status, url, body }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned()
}

fn retry_after(response: &reqwest::Response) -> Duration {
    let seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    seconds.map_or(Duration::from_millis(100), |s: u64| Duration::from_secs(s.min(5)))
}

/// What a run amounted to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests answered.
    pub requests: u64,
    /// Lines sent.
    pub items: u64,
    /// Lines taken.
    pub accepted: u64,
    /// Lines that said nothing new.
    pub unchanged: u64,
    /// Lines refused.
    pub rejected: u64,
    /// How often the hub asked to wait.
    pub waits: u64,
    /// Highest sequence number seen.
    pub seq: u64,
    /// The first refusal, for the person who looks into it.
    pub first_refusal: Option<String>,
    /// Duration of each request, waiting included.
    pub latencies: Vec<Duration>,
}

impl Tally {
    fn count(&mut self, batch: &Batch, receipt: Receipt, waits: u64, took: Duration) {
        self.requests += 1;
        self.items += batch.items as u64;
        self.accepted += receipt.accepted;
        self.unchanged += receipt.unchanged;
        self.rejected += receipt.rejected;
        self.waits += waits;
        self.seq = self.seq.max(receipt.seq);
        self.latencies.push(took);
        if let (None, Some(first)) = (&self.first_refusal, receipt.items.first()) {
            self.first_refusal =
                Some(format!("{} item {}: {}: {}", batch.path, first.index, first.title, first.detail));
        }
    }

    /// Adds another run.
    pub fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.items += other.items;
        self.accepted += other.accepted;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.waits += other.waits;
        self.seq = self.seq.max(other.seq);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.latencies.extend(other.latencies);
    }

    /// The duration below which `percent` of the requests stayed; zero without requests.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }
}

/// Sends batches as they come, `connections` at a time, until no more come; `seen` is told of every batch that was taken.
pub async fn pump(
    client: &Client,
    batches: mpsc::Receiver<Batch>,
    connections: usize,
    seen: impl Fn(&Batch) + Send + Sync + 'static,
) -> Result<Tally, DriveError> {
    let batches = Arc::new(Mutex::new(batches));
    let seen = Arc::new(seen);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..connections.max(1) {
        let (client, batches, seen) = (client.clone(), Arc::clone(&batches), Arc::clone(&seen));
        workers.spawn(async move {
            let mut tally = Tally::default();
            loop {
                // The lock is held while waiting for a batch only, never while sending one.
                let Some(batch) = batches.lock().await.recv().await else { return Ok(tally) };
                let started = Instant::now();
                let (receipt, waits) = client.post(&batch).await?;
                tally.count(&batch, receipt, waits, started.elapsed());
                seen(&batch);
            }
        });
    }
    let mut total = Tally::default();
    while let Some(worker) = workers.join_next().await {
        match worker {
            Ok(tally) => total.add(tally?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_requests_made() {
        let millis = |n: u64| Duration::from_millis(n);
        let tally = Tally { latencies: (1..=100).rev().map(millis).collect(), ..Tally::default() };
        assert_eq!(tally.percentile(50), millis(50));
        assert_eq!(tally.percentile(99), millis(99));
        assert_eq!(tally.percentile(100), millis(100));
        assert_eq!(Tally::default().percentile(99), Duration::ZERO);
    }

    #[test]
    fn receipts_may_hold_more_or_less_than_expected() {
        let receipt: Receipt = serde_json::from_str(r#"{"accepted": 2, "seq": 9, "later": true}"#).unwrap();
        assert_eq!((receipt.accepted, receipt.rejected, receipt.seq), (2, 0, 9));
    }
}
