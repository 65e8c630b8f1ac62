//! A real hub for tests: the binary on a free port with a directory of its own, and a plain HTTP/1.1 client that hides nothing.
//!
//! Invariant: a test waits for conditions (the ready line, an answer), never for time; the hub dies with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Builds a [`TestHub`].
pub(crate) struct TestHubBuilder {
    args: Vec<String>,
    environment: Vec<(String, String)>,
    data: Data,
}

/// A data directory: its own, which dies with the hub, or one that somebody else made.
enum Data {
    Own(TempDir),
    Of(std::path::PathBuf),
}

impl Data {
    fn path(&self) -> &std::path::Path {
        match self {
            Data::Own(dir) => dir.path(),
            Data::Of(path) => path,
        }
    }
}

/// A running hub.
pub(crate) struct TestHub {
    pub(crate) address: String,
    child: Child,
    data: Option<Data>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
}

/// An HTTP answer with everything in it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl TestHubBuilder {
    pub(crate) fn new() -> Self {
        TestHubBuilder { args: Vec::new(), environment: Vec::new(), data: Data::Own(tempfile::tempdir().unwrap()) }
    }

    /// On a data directory that is there already.
    pub(crate) fn over(data: &std::path::Path) -> Self {
        TestHubBuilder { args: Vec::new(), environment: Vec::new(), data: Data::Of(data.to_owned()) }
    }

    pub(crate) fn with_arg(mut self, name: &str, value: impl Into<String>) -> Self {
        self.args.extend([name.to_owned(), value.into()]);
        self
    }

    /// Variables of its environment, in which there are no others.
    pub(crate) fn with_environment(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    #[track_caller]
    pub(crate) fn spawn(self) -> TestHub {
        TestHub::start(self.data, self.args, self.environment)
    }
}

impl TestHub {
    /// A hub with nothing special about it.
    #[track_caller]
    pub(crate) fn spawn() -> TestHub {
        TestHubBuilder::new().spawn()
    }

    #[track_caller]
    fn start(data: Data, args: Vec<String>, environment: Vec<(String, String)>) -> TestHub {
        let mut child = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(&args)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").and_then(|url| url.split_once("://"));
        let Some((_, address)) = address else { panic!("no ready line: {line:?}") };
        TestHub { address: address.to_owned(), child, data: Some(data), args, environment }
    }

    /// Ends the hub as a crash would, and starts it again on the same directory.
    #[track_caller]
    pub(crate) fn crash_and_restart(mut self) -> TestHub {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.again()
    }

    /// Stops the hub as an operator would, and starts it again on the same directory.
    #[track_caller]
    pub(crate) fn stop_and_restart(mut self) -> TestHub {
        self.terminate();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.again()
    }

    #[track_caller]
    fn again(&mut self) -> TestHub {
        let (args, environment) = (std::mem::take(&mut self.args), std::mem::take(&mut self.environment));
        TestHub::start(self.data.take().unwrap(), args, environment)
    }

    /// Asks the hub to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.child.wait().unwrap()
    }

    /// Asks the hub to stop, and waits until it takes no connection any more.
    pub(crate) fn stop_listening(&self) {
        self.terminate();
        while TcpStream::connect(&self.address).is_ok() {}
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Stops the hub and moves its data directory below `to`.
    #[track_caller]
    pub(crate) fn keep_data_and_stop(mut self, to: &std::path::Path) -> std::path::PathBuf {
        let data = self.data.take().unwrap();
        let status = self.stop();
        assert!(status.success(), "{status}");
        let kept = to.join("data");
        let data = match data {
            Data::Own(dir) => dir.keep(),
            Data::Of(path) => path,
        };
        std::fs::rename(data, &kept).unwrap();
        kept
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.as_ref().unwrap().path()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST", path, &[("content-type", content_type)], body.as_ref())
    }

    /// Pushes custom resources and insists that all are taken.
    #[track_caller]
    pub(crate) fn push(&self, body: &str) -> Value {
        let answer = self.post("/api/v1/ingest", "application/x-ndjson", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// One request on one connection.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if matches!(method, "POST" | "PUT") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A hub that refuses early may close its side while the body is being written: the answer counts.
        let _ = stream.write_all(body);
        Answer::read(&mut stream)
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// Reads an answer to the end of the connection.
    pub(crate) fn read(stream: &mut TcpStream) -> Answer {
        let mut all = Vec::new();
        let mut chunk = [0u8; 64 * 1024];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(e) if all.is_empty() => panic!("no answer: {e}"),
                Err(_) => break,
            }
        }
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a complete head");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let mut status = lines.next().unwrap().splitn(3, ' ');
        assert_eq!(status.next(), Some("HTTP/1.1"));
        let code = status.next().unwrap().parse().unwrap();
        let reason = status.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> =
            lines.map(|l| l.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())).unwrap()).collect();
        let mut body = all[end + 4..].to_vec();
        if headers.iter().any(|(k, v)| k == "transfer-encoding" && v == "chunked") {
            body = unchunk(&body);
        }
        Answer { status: code, reason, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The rows of a 200.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{} {}", self.reason, self.text());
        self.json().as_array().unwrap().clone()
    }

    /// Checks that this is a well-formed problem document and gives its title.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{} {}", self.reason, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        for name in ["type", "title", "detail", "request_id"] {
            assert!(body[name].as_str().is_some_and(|said| !said.is_empty()), "{name} in {body}");
        }
        assert_eq!(body["status"], u64::from(status));
        assert_eq!(body["title"].as_str().unwrap(), self.reason, "the reason phrase is the title");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        self.reason.clone()
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    panic!("the answer broke off")
}

/// Runs `koh` with this environment and no other.
pub(crate) fn koh_with(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koh"));
    command.args(args).env_clear().envs(environment.iter().copied()).output().unwrap()
}

/// Runs `koh` without any environment.
pub(crate) fn koh(args: &[&str]) -> Output {
    koh_with(args, &[])
}

/// What a command said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes a token in a file.
#[track_caller]
pub(crate) fn token(file: &Path, name: &str, scopes: &str, more: &[&str]) -> String {
    let create = ["token", "create", "--name", name, "--scopes", scopes, "--tokens", file.to_str().unwrap()];
    let made = koh(&[&create[..], more].concat());
    assert!(made.status.success(), "{}", said(&made));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A descriptor of workload `web` as a custom resource, on one line.
pub(crate) fn descriptor(environment: &str, version: &str, commit: &str) -> String {
    serde_json::json!({
        "apiVersion": "hub.kalypso.io/v1alpha1", "kind": "DeploymentDescriptor",
        "metadata": {
            "name": format!("web-{environment}"), "namespace": "fleet",
            "annotations": {"hub.kalypso.io/gitops-revision": format!("{environment}@sha1:{commit}")}
        },
        "spec": {
            "workload": {
                "name": "web",
                "source": {"repo": "https://git.example/shop/web", "branch": "main", "path": "."},
                "application": {"name": "store", "workspace": {"name": "shop"}}
            },
            "deploymentTarget": {"name": "edge", "environment": environment, "manifests": {
                "repo": "https://git.example/shop/gitops", "branch": environment, "path": "web"}},
            "workloadVersion": {"version": version, "build": "1", "commit": commit, "buildTime": "2026-01-01T00:00:00Z"}
        }
    })
    .to_string()
}

/// A flat report on the endpoint of [`descriptor`].
pub(crate) fn report(host: &str, environment: &str, commit: &str, status: &str) -> String {
    serde_json::json!({
        "host": host, "reconciler": "web", "reconciler_type": "flux",
        "manifests_endpoint": format!("https://git.example/shop/gitops/{environment}/web"),
        "commit": format!("sha1:{commit}"), "status": status, "message": "said so",
    })
    .to_string()
}

/// Forty hexadecimal digits.
pub(crate) fn commit(digit: char) -> String {
    std::iter::repeat_n(digit, 40).collect()
}
