//! The real hub, watching the real API server as its own ServiceAccount.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Cluster;

/// How long a condition may take to come true, on a busy machine; longer where the lists are.
fn patience() -> Duration {
    Duration::from_secs(90).mul_f64((reconcilers() as f64 / 20_000.0).max(1.0))
}

/// How many Reconcilers make a long list.
pub fn reconcilers() -> usize {
    std::env::var("KOH_TEST_RECONCILERS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

/// A running hub.
pub struct Hub {
    child: Child,
    data: Option<TempDir>,
    kubeconfig: PathBuf,
    args: Vec<String>,
    address: String,
    http: reqwest::Client,
}

impl Hub {
    /// Starts a hub as the user of that kubeconfig; it may not be ready yet.
    pub fn start(kubeconfig: &Path, args: &[&str]) -> Hub {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        Hub::on(TempDir::new().unwrap(), kubeconfig.to_owned(), args)
    }

    fn on(data: TempDir, kubeconfig: PathBuf, args: Vec<String>) -> Hub {
        let log = fs::OpenOptions::new().create(true).append(true).open(data.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["serve", "--kubernetes", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(&args)
            .env("KUBECONFIG", &kubeconfig)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = listening(&mut child, &data.path().join("log"));
        Hub { address, child, data: Some(data), kubeconfig, args, http: reqwest::Client::new() }
    }

    /// A hub that somebody else started, with its log in that folder; asked with that token, by who trusts that authority.
    pub fn of_process(mut child: Child, log: TempDir, token: &str, authority: &[u8]) -> Hub {
        // Who listens at every address is reached at this one.
        let address = listening(&mut child, &log.path().join("log")).replace("0.0.0.0", "127.0.0.1");
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        let authority = reqwest::Certificate::from_pem(authority).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([authority]).default_headers(headers).build().unwrap();
        Hub { address, child, data: Some(log), kubeconfig: PathBuf::new(), args: Vec::new(), http }
    }

    /// Starts a hub and waits until everything is listed.
    pub async fn ready(kubeconfig: &Path, args: &[&str]) -> Hub {
        let hub = Hub::start(kubeconfig, args);
        hub.until_ready().await;
        hub
    }

    /// A namespace, and a ready hub that watches it and nothing else, as the ServiceAccount of the role.
    pub async fn of_a_namespace(cluster: &Cluster) -> (Client, String, Hub) {
        let (client, namespace) = (cluster.admin().await, cluster.namespace().await);
        let account = cluster.service_account(&namespace, "koh").await;
        let hub = Hub::ready(&account, &["--kubernetes-namespace", &namespace, "--lease-namespace", &namespace]).await;
        (client, namespace, hub)
    }

    /// Waits until every source has been heard once.
    pub async fn until_ready(&self) {
        self.wait("the hub is ready", || async { self.is_ready().await.then_some(()) }).await;
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether every source has been heard once.
    pub async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.address)).send().await;
        answer.is_ok_and(|a| a.status().is_success())
    }

    /// Ends the hub as a crash would; the data stays.
    pub fn crash(mut self) -> Stopped {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stopped()
    }

    /// Asks the hub to stop, and waits until it has.
    pub fn stop(mut self) -> Stopped {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
        self.stopped()
    }

    fn stopped(&mut self) -> Stopped {
        let data = self.data.take().unwrap();
        Stopped { data, kubeconfig: self.kubeconfig.clone(), args: self.args.clone() }
    }

    /// What the hub logged.
    pub fn log(&self) -> String {
        let data = self.data.as_ref().unwrap();
        fs::read_to_string(data.path().join("log")).unwrap_or_default()
    }

    /// The process, for whoever measures it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An answer, as text.
    pub async fn get(&self, path: &str) -> String {
        let answer = self.http.get(format!("{}{path}", self.address)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        text
    }

    /// The rows of a statement, as of now.
    pub async fn sql(&self, statement: &str) -> Vec<Value> {
        let at = format!("{}/api/v1/sql", self.address);
        let url = reqwest::Url::parse_with_params(&at, [("q", statement), ("fresh", "true")]).unwrap();
        let answer = self.http.get(url).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{statement}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Pushes a flat report, as an agent without Kubernetes does.
    pub async fn push(&self, report: &Value) {
        let request = self.http.post(format!("{}/api/v1/ingest/reconcilers", self.address)).json(report);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// The first column of a statement, as text.
    pub async fn column(&self, statement: &str) -> Vec<String> {
        let first = |row: &Value| match row.as_object().and_then(|o| o.values().next()) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        self.sql(statement).await.iter().map(first).collect()
    }

    /// Waits until the first column of a statement is as expected.
    pub async fn until(&self, statement: &str, expected: &[&str]) {
        let mut last = Vec::new();
        let waited = tokio::time::timeout(patience(), async {
            loop {
                last = self.column(statement).await;
                if last == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{statement}\n  expected {expected:?}\n  is       {last:?}\n{}", self.log());
        }
    }

    /// Waits until a condition gives something.
    pub async fn wait<T, F: Future<Output = Option<T>>>(&self, what: &str, condition: impl Fn() -> F) -> T {
        match wait(condition).await {
            Some(found) => found,
            None => panic!("waited in vain until {what}\n{}", self.log()),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line that says where the hub listens.
fn listening(child: &mut Child, log: &Path) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    match line.trim().strip_prefix("listening on ") {
        Some(address) => address.to_owned(),
        None => panic!("no ready line: {line:?}\n{}", fs::read_to_string(log).unwrap_or_default()),
    }
}

/// A hub that does not run, with everything it remembers.
pub struct Stopped {
    data: TempDir,
    kubeconfig: PathBuf,
    args: Vec<String>,
}

impl Stopped {
    /// Starts it again on the same directory.
    pub fn start(self) -> Hub {
        Hub::on(self.data, self.kubeconfig, self.args)
    }
}

/// Waits until a condition gives something; `None` when that takes too long.
pub async fn wait<T, F: Future<Output = Option<T>>>(condition: impl Fn() -> F) -> Option<T> {
    let found = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience(), found).await.ok()
}
