//! `koh rollout status`: the gate, asked once.
//!
//! Invariant: the exit code is the verdict, so that a pipeline need not read the answer: 0 complete, 1 failed or stalled, 3 in
//! progress, 4 no targets or unknown, 5 the hub cannot be asked, 6 superseded (2 is a wrong command line).

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::ask::{self, HubArgs};

/// Options of `koh rollout`.
#[derive(Debug, Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Ask once; the exit code is the verdict.
    Status(Box<StatusArgs>),
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A few lines.
    Text,
    /// The hub's answer as it is.
    Json,
}

/// What is asked about, and under which policy.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("asked").required(true).args(["version", "commit", "source_commit"])))]
struct StatusArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// The environment.
    #[arg(long, env = "KOH_ENVIRONMENT", value_name = "NAME")]
    environment: Option<String>,
    /// The workload.
    #[arg(long, env = "KOH_WORKLOAD", value_name = "NAME")]
    workload: Option<String>,
    /// The workspace, where names repeat.
    #[arg(long, env = "KOH_WORKSPACE", value_name = "NAME")]
    workspace: Option<String>,
    /// The application, where names repeat.
    #[arg(long, env = "KOH_APPLICATION", value_name = "NAME")]
    application: Option<String>,
    /// One deployment target only.
    #[arg(long, env = "KOH_DEPLOYMENT_TARGET", value_name = "NAME")]
    deployment_target: Option<String>,
    /// The manifests endpoint, instead of environment and workload.
    #[arg(long, env = "KOH_MANIFESTS_ENDPOINT", value_name = "ENDPOINT")]
    manifests_endpoint: Option<String>,
    /// The version asked about.
    #[arg(long, env = "KOH_VERSION", value_name = "VERSION")]
    version: Option<String>,
    /// The GitOps commit asked about.
    #[arg(long, env = "KOH_COMMIT", value_name = "COMMIT")]
    commit: Option<String>,
    /// The source commit asked about.
    #[arg(long, env = "KOH_SOURCE_COMMIT", value_name = "COMMIT")]
    source_commit: Option<String>,
    /// Policy: so many percent of the reconcilers must succeed.
    #[arg(long, env = "KOH_MIN_SUCCESS_PERCENT", value_name = "PERCENT")]
    min_success_percent: Option<f64>,
    /// Policy: more failures than this fail the rollout.
    #[arg(long, env = "KOH_MAX_FAILURES", value_name = "N")]
    max_failures: Option<u64>,
    /// Policy: at least so many hosts in success.
    #[arg(long, env = "KOH_MIN_HOSTS", value_name = "N")]
    min_hosts: Option<u64>,
    /// Policy for silent hosts: block, ignore or fail.
    #[arg(long, env = "KOH_SILENT", value_name = "WORD")]
    silent: Option<String>,
    /// Policy: no change for this long is a stall.
    #[arg(long, env = "KOH_STALL_AFTER", value_name = "SPAN")]
    stall_after: Option<String>,
    /// How the answer is shown.
    #[arg(long, short, env = "KOH_ROLLOUT_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl RolloutArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let RolloutCommand::Status(args) = self.command;
        let answer = match ask::block_on(args.ask()) {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("koh: {error:#}");
                return Ok(ExitCode::from(5));
            }
        };
        let verdict = answer["verdict"].as_str().unwrap_or_default().to_owned();
        match args.output {
            Output::Json => println!("{answer}"),
            Output::Text => print!("{}", said(&answer)),
        }
        Ok(ExitCode::from(exit_code(&verdict)))
    }
}

impl StatusArgs {
    async fn ask(&self) -> anyhow::Result<Value> {
        let request = self.hub.client()?.get(self.hub.at("/api/v1/rollouts/status", &self.query())?);
        let text = self.hub.send(request).await?.text().await.context("the answer broke off")?;
        serde_json::from_str(&text).context("the hub's answer is not JSON")
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("environment", &self.environment),
            ("workload", &self.workload),
            ("workspace", &self.workspace),
            ("application", &self.application),
            ("deployment_target", &self.deployment_target),
            ("manifests_endpoint", &self.manifests_endpoint),
            ("version", &self.version),
            ("commit", &self.commit),
            ("source_commit", &self.source_commit),
            ("silent", &self.silent),
            ("stall_after", &self.stall_after),
        ];
        let numbers = [("max_failures", self.max_failures), ("min_hosts", self.min_hosts)];
        texts
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|v| (name, v)))
            .chain(numbers.into_iter().filter_map(|(name, value)| value.map(|v| (name, v.to_string()))))
            .chain(self.min_success_percent.map(|p| ("min_success_percent", p.to_string())))
            .collect()
    }
}

/// A few lines for people.
fn said(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!("{}: {}\n", text(&answer["verdict"]), text(&answer["reason"]));
    if let Some(buckets) = answer["buckets"].as_object() {
        let counts: Vec<String> = buckets
            .iter()
            .filter(|(_, n)| n.as_u64().unwrap_or(0) > 0)
            .map(|(name, n)| format!("{n} {}", name.replace('_', " ")))
            .collect();
        out.push_str(&format!(
            "of {}: {}\n",
            answer["total"],
            if counts.is_empty() { "nobody".into() } else { counts.join(", ") }
        ));
    }
    for host in answer["hosts"].as_array().into_iter().flatten() {
        let line = format!(
            "  {} {} {} {}",
            text(&host["bucket"]),
            text(&host["host"]),
            text(&host["reconciler"]),
            text(&host["message"])
        );
        out.push_str(&line.replace(['\n', '\r', '\u{1b}'], " "));
        out.push('\n');
    }
    out
}

fn exit_code(verdict: &str) -> u8 {
    match verdict {
        "complete" => 0,
        "failed" | "stalled" => 1,
        "in_progress" => 3,
        "no_targets" | "unknown_commit" => 4,
        "superseded" => 6,
        _ => 5,
    }
}
