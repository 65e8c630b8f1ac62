//! Readers that measure latency: kept-alive connections that cost next to nothing themselves.
//!
//! A full HTTP client would take more CPU than the gate it measures, on the same two cores. Answers are checked: a
//! status other than 200 ends the benchmark.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use koh::demo::random::Random;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
    body: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: &str) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::with_capacity(64 * 1024, stream),
            address: address.to_string(),
            body: Vec::new(),
        })
    }

    /// Asks and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<&[u8]> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n\r\n", self.address);
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_string();
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        self.body.clear();
        if chunked {
            self.read_chunks(&mut line).await?;
        } else {
            self.body.resize(length, 0);
            self.stream.read_exact(&mut self.body).await?;
        }
        if status != "200" {
            bail!("{path} was answered {status}: {}", String::from_utf8_lossy(&self.body[..self.body.len().min(400)]));
        }
        Ok(&self.body)
    }

    async fn read_chunks(&mut self, line: &mut String) -> anyhow::Result<()> {
        loop {
            line.clear();
            self.stream.read_line(line).await?;
            let size = usize::from_str_radix(line.trim(), 16).with_context(|| format!("no chunk size: {line:?}"))?;
            let start = self.body.len();
            self.body.resize(start + size, 0);
            self.stream.read_exact(&mut self.body[start..]).await?;
            line.clear();
            self.stream.read_line(line).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// Durations of requests, sorted.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
    /// Requests per second over all clients.
    pub per_second: f64,
}

impl Latencies {
    fn new(mut all: Vec<Duration>, took: Duration) -> Latencies {
        all.sort_unstable();
        let per_second = all.len() as f64 / took.as_secs_f64().max(1e-9);
        Latencies { sorted: all, per_second }
    }

    /// Milliseconds below which `percent` of the requests stayed.
    pub fn ms(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(rank).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// `clients` ask questions picked at random for `span`: each so often, or again as soon as it has its answer.
pub async fn ask(
    address: &str,
    questions: &[String],
    clients: usize,
    every: Option<Duration>,
    span: Duration,
) -> anyhow::Result<Latencies> {
    let started = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (address, questions) = (address.to_string(), questions.to_vec());
        asking.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            let mut random = Random::new(client as u64);
            let mut took = Vec::new();
            while started.elapsed() < span {
                if let Some(every) = every {
                    // Clients are out of step with each other, as pipelines are.
                    let jitter = random.below(every.as_micros() as usize * 2) as u64;
                    tokio::time::sleep(Duration::from_micros(jitter)).await;
                }
                let question = &questions[random.below(questions.len())];
                let asked = Instant::now();
                connection.get(question).await?;
                took.push(asked.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(client) = asking.join_next().await {
        all.extend(client??);
    }
    Ok(Latencies::new(all, started.elapsed()))
}

/// Each question once in turn, `times` over, by one client; also the bytes of the last answer.
pub async fn time(address: &str, questions: &[String], times: usize) -> anyhow::Result<(Latencies, usize)> {
    let mut connection = Connection::open(address).await?;
    let (mut took, mut bytes) = (Vec::new(), 0);
    let started = Instant::now();
    for _ in 0..times {
        for question in questions {
            let asked = Instant::now();
            bytes = connection.get(question).await?.len();
            took.push(asked.elapsed());
        }
    }
    Ok((Latencies::new(took, started.elapsed()), bytes))
}

/// The path that asks `sql`.
pub fn sql(statement: &str) -> String {
    let mut path = String::from("/api/v1/sql?q=");
    for byte in statement.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'*' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}
