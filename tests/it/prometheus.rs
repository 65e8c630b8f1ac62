//! The real Prometheus reads the hub, and promtool judges its metrics and the alert rules.
//!
//! The programs come from `tests/prometheus/get.sh` and are found through `KOH_PROMETHEUS`; without them every test here says aloud
//! that it is skipped.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub::{Answer, TestHub, commit, descriptor, report};

/// How long a condition may take to come true, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The folder of the programs; none where there is none, said aloud.
fn tools() -> Option<PathBuf> {
    let tools = std::env::var_os("KOH_PROMETHEUS").map(PathBuf::from);
    if tools.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no prometheus and promtool. To run this: export KOH_PROMETHEUS=\"$(tests/prometheus/get.sh)\""
        );
    }
    tools
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
}

fn fleet() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&descriptor("prod", "1.0.0", &commit('a')));
    let said = report("h1", "prod", &commit('a'), "failure");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", said).status, 200);
    hub
}

#[test]
fn promtool_has_nothing_to_say_against_the_metrics() {
    let Some(tools) = tools() else { return };
    let hub = fleet();
    let mut promtool = Command::new(tools.join("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(&hub.get("/metrics").body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn promtool_takes_the_alert_rules_and_each_fires_when_it_should_and_only_then() {
    let Some(tools) = tools() else { return };
    let promtool = || {
        let mut command = Command::new(tools.join("promtool"));
        command.current_dir(ROOT);
        command
    };
    succeeds(promtool().args(["check", "rules", "grafana-plugin-config/prometheus/rules.yaml"]));
    succeeds(promtool().args(["test", "rules", "tests/prometheus/rules_test.yaml"]));
    let fixtures = fs::read_to_string(Path::new(ROOT).join("tests/prometheus/rules_test.yaml")).unwrap();
    let (well, ill) = fixtures.split_once("  - name: rollouts that fail").unwrap();
    let rules = fs::read_to_string(Path::new(ROOT).join("grafana-plugin-config/prometheus/rules.yaml")).unwrap();
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(well.contains(&format!("alertname: {name}, exp_alerts: []")), "no fixture in which {name} is quiet");
        assert!(ill.contains(name), "no fixture in which {name} fires");
    }
}

/// A real Prometheus; ends with the test.
struct Prometheus {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// One that scrapes a hub and evaluates the committed rules, both every second.
    fn watching(tools: &Path, hub: &TestHub) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(Path::new(ROOT).join("grafana-plugin-config/prometheus/rules.yaml")).unwrap();
        assert!(rules.contains("interval: 1m\n"));
        fs::write(folder.path().join("rules.yaml"), rules.replace("interval: 1m\n", "interval: 1s\n")).unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "koh", "static_configs": [{"targets": [hub.address]}]}],
        });
        fs::write(&config, text.to_string()).unwrap();
        succeeds(Command::new(tools.join("promtool")).args(["check", "config"]).arg(&config));
        // It does not tell a port that it picked itself, so one is picked for it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new(tools.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=error", "--web.external-url=http://localhost/"])
            .spawn()
            .unwrap();
        Prometheus { child, address, _folder: folder }
    }

    /// The answer of its API; null while it does not answer.
    fn ask(&mut self, path: &str) -> Value {
        assert_eq!(self.child.try_wait().unwrap(), None, "prometheus has ended");
        let Ok(mut stream) = TcpStream::connect(&self.address) else { return Value::Null };
        write!(stream, "GET /api/v1/{path} HTTP/1.1\r\nhost: prometheus\r\nconnection: close\r\n\r\n").unwrap();
        let answer = Answer::read(&mut stream);
        if answer.status == 200 { answer.json() } else { Value::Null }
    }

    /// Asks until the answer is as wished.
    fn until(&mut self, path: &str, wished: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let answer = self.ask(path);
            if wished(&answer) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {answer}");
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_the_hub_and_evaluates_the_rules() {
    let Some(tools) = tools() else { return };
    let hub = fleet();
    let mut prometheus = Prometheus::watching(&tools, &hub);
    prometheus.until("targets?state=active", |answer| {
        let target = &answer["data"]["activeTargets"][0];
        assert_eq!(target["lastError"].as_str().unwrap_or_default(), "", "{target}");
        target["health"] == "up"
    });
    let query = "query?query=koh_rollouts%7Benvironment%3D%22prod%22%2Cverdict%3D%22failed%22%7D";
    prometheus.until(query, |answer| answer["data"]["result"][0]["value"][1] == "1");
    // Pending is enough: that it fires after five minutes is tested without waiting for them.
    let raised = "query?query=ALERTS%7Balertname%3D%22KohRolloutFailed%22%7D";
    prometheus.until(raised, |answer| answer["data"]["result"][0]["metric"]["workload"] == "web");
    prometheus.until("rules", |answer| {
        let rules = answer["data"]["groups"][0]["rules"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{answer}");
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")
    });
}
