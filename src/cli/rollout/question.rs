//! What is asked about, and under which policy: the options that become the query of the gate.
//!
//! Invariant: an option is named as the parameter it becomes, so that the hub's documentation is that of the options.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

/// The question.
#[derive(Debug, Args, Serialize)]
#[command(group(clap::ArgGroup::new("asked").required(true).args(["version", "commit", "source_commit"])))]
pub(super) struct Question {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) place: Place,
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
    #[command(flatten)]
    #[serde(flatten)]
    policy: Policy,
}

/// Deployment targets.
#[derive(Debug, Args, Serialize)]
pub(super) struct Place {
    /// Environments. As every list: `a,b` or the option repeated; `*` is all.
    #[arg(long, env = "KOH_ENVIRONMENT", value_name = "NAME", value_delimiter = ',')]
    environment: Vec<String>,
    /// Workloads.
    #[arg(long, env = "KOH_WORKLOAD", value_name = "NAME", value_delimiter = ',')]
    workload: Vec<String>,
    /// Workspaces, where names repeat.
    #[arg(long, env = "KOH_WORKSPACE", value_name = "NAME", value_delimiter = ',')]
    workspace: Vec<String>,
    /// Applications, where names repeat.
    #[arg(long, env = "KOH_APPLICATION", value_name = "NAME", value_delimiter = ',')]
    application: Vec<String>,
    /// These deployment targets only.
    #[arg(long, env = "KOH_DEPLOYMENT_TARGET", value_name = "NAME", value_delimiter = ',')]
    deployment_target: Vec<String>,
}

/// The policy; what is not given is as the named policy says, or else the hub's default.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Policy")]
struct Policy {
    /// A policy that the hub knows by name; the options below change single clauses of it.
    #[arg(long, env = "KOH_POLICY", value_name = "NAME", value_parser = name)]
    policy: Option<String>,
    /// So many percent of the reconcilers must succeed.
    #[arg(long, env = "KOH_MIN_SUCCESS_PERCENT", value_name = "PERCENT", value_parser = percent)]
    min_success_percent: Option<f64>,
    /// At least so many reconcilers must succeed.
    #[arg(long, env = "KOH_MIN_SUCCESS", value_name = "N")]
    min_success: Option<u64>,
    /// More failures than this fail the rollout.
    #[arg(long, env = "KOH_MAX_FAILURES", value_name = "N")]
    max_failures: Option<u64>,
    /// At least so many hosts in success.
    #[arg(long, env = "KOH_MIN_HOSTS", value_name = "N")]
    min_hosts: Option<u64>,
    /// What silent hosts do to the verdict: hold it up, not count, or fail it.
    #[arg(long, env = "KOH_SILENT", value_name = "WORD", value_parser = ["block", "ignore", "fail"])]
    silent: Option<String>,
    /// No change for this long is a stall.
    #[arg(long, env = "KOH_STALL_AFTER", value_name = "SPAN", value_parser = span)]
    stall_after: Option<String>,
    /// A failure is final once it has stood for this long; reconcilers try again.
    #[arg(long, env = "KOH_FAILURE_GRACE", value_name = "SPAN", value_parser = span)]
    failure_grace: Option<String>,
    /// Enough must have succeeded for this long.
    #[arg(long, env = "KOH_SOAK", value_name = "SPAN", value_parser = span)]
    soak: Option<String>,
    /// Verifications that must have passed.
    #[arg(long, env = "KOH_VERIFICATIONS", value_name = "NAME", value_delimiter = ',', value_parser = name)]
    verifications: Vec<String>,
    /// Environments in which the same source commit must be complete first.
    #[arg(long, env = "KOH_AFTER", value_name = "ENVIRONMENT", value_delimiter = ',', value_parser = name)]
    after: Vec<String>,
    /// Count hosts of these rings only.
    #[arg(long, env = "KOH_RING", value_name = "NAME", value_delimiter = ',')]
    ring: Vec<String>,
    /// Count hosts of these types of cluster only.
    #[arg(long, env = "KOH_CLUSTER_TYPE", value_name = "NAME", value_delimiter = ',')]
    cluster_type: Vec<String>,
    /// Count hosts in these regions only.
    #[arg(long, env = "KOH_REGION", value_name = "NAME", value_delimiter = ',')]
    region: Vec<String>,
    /// Count hosts with these labels only.
    #[arg(long, env = "KOH_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    label: Vec<String>,
}

/// A span, kept as it was written: the hub reads the same spelling.
fn span(text: &str) -> Result<String, String> {
    crate::model::span(text).map(|_| text.to_owned())
}

/// A name without which a clause would silently not be there: `--after "$BEFORE"` in a script that knows no `BEFORE`.
fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty: leave it out, or write a name".to_owned()),
        "*" => Err("write the names; a star is none".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("write key=value".to_owned()),
    }
}

/// The query parameters of options.
pub(super) fn query(options: &impl Serialize) -> anyhow::Result<Vec<(String, String)>> {
    let Value::Object(options) = serde_json::to_value(options)? else { return Ok(Vec::new()) };
    let one = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        number => Some(number.to_string()),
    };
    let mut pairs = Vec::new();
    for (name, value) in options {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        pairs.extend(values.into_iter().filter_map(one).map(|value| (name.clone(), value)));
    }
    Ok(pairs)
}

impl Question {
    /// What is asked about, in words.
    pub(super) fn in_words(&self) -> String {
        let what = [("version", &self.version), ("commit", &self.commit), ("source commit", &self.source_commit)];
        let what = what.into_iter().find_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        format!("{} on {}", what.unwrap_or_default(), self.place.in_words(self.manifests_endpoint.as_deref()))
    }
}

impl Place {
    fn in_words(&self, endpoint: Option<&str>) -> String {
        let parts = [
            ("workspace", &self.workspace),
            ("application", &self.application),
            ("workload", &self.workload),
            ("environment", &self.environment),
            ("deployment target", &self.deployment_target),
        ];
        let named = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let mut words: Vec<String> = named.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
        words.extend(endpoint.map(|endpoint| format!("endpoint {endpoint}")));
        if words.is_empty() { "any target".to_owned() } else { words.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        question: Question,
    }

    fn asked(line: &str) -> Result<Question, clap::Error> {
        Line::try_parse_from(["koh"].into_iter().chain(line.split_whitespace())).map(|line| line.question)
    }

    #[test]
    fn options_become_the_parameters_of_the_same_name() {
        let question = asked(
            "--environment dev,stage --environment prod --workload web --version 1.0 --min-success-percent 99.5 \
             --max-failures 2 --label ring=1 --label zone=a=b --soak 10m",
        )
        .unwrap();
        let pairs = query(&question).unwrap();
        let of = |name: &str| pairs.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(of("environment"), ["dev", "stage", "prod"]);
        assert_eq!(of("label"), ["ring=1", "zone=a=b"]);
        assert_eq!((of("min_success_percent"), of("max_failures"), of("soak")), (vec!["99.5"], vec!["2"], vec!["10m"]));
        assert_eq!(pairs.len(), 10, "{pairs:?}");
        assert_eq!(question.in_words(), "version 1.0 on workload web, environment dev, stage, prod");
    }

    #[test]
    fn what_the_hub_would_refuse_anyway_is_a_wrong_command_line() {
        for wrong in [
            "",
            "--version 1 --commit 2",
            "--version 1 --soak soon",
            "--version 1 --silent maybe",
            "--version 1 --label x",
            "--version 1 --after=",
            "--version 1 --after=dev,*",
            "--version 1 --verifications=",
            "--version 1 --policy=",
            "--version 1 --min-success-percent=nan",
            "--version 1 --min-success-percent=inf",
            "--version 1 --min-success-percent=100.1",
        ] {
            assert_eq!(asked(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
