//! Reads the gate's question, and the policy that goes with it, from query parameters.
//!
//! Invariant: what is malformed is a 400 that says how to ask; what is merely unknown is not looked at here.

use std::sync::Arc;

use super::super::App;
use super::super::access::Viewer;
use super::super::answers::FRESHNESS;
use super::super::params::Params;
use super::super::problem::Problem;
use crate::model::{ManifestsSaid, micros};
use crate::rollout::{Asked, Clauses, Hosts, Question, Rules, SilentPolicy};

/// The parameters that make a question.
const KNOWN: [&str; 24] = [
    "workspace",
    "application",
    "workload",
    "environment",
    "deployment_target",
    "version",
    "commit",
    "manifests_endpoint",
    "source_commit",
    "policy",
    "min_success_percent",
    "min_success",
    "max_failures",
    "min_hosts",
    "silent",
    "stall_after",
    "failure_grace",
    "soak",
    "ring",
    "cluster_type",
    "region",
    "label",
    "verifications",
    "after",
];

/// What has a meaning in a query, or might have; the unreserved characters of RFC 3986 have none.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A question that can be put to the state.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) question: Question,
    pub(super) rules: Rules,
    /// The parameters in one order and spelling: whoever asks with the same text asks the same.
    pub(super) text: String,
}

impl Ask {
    /// Reads it; `more` are the parameters the path knows besides.
    pub(super) fn of(app: &App, viewer: &Viewer, params: &Params, more: &[&str]) -> Result<Ask, Problem> {
        params.only(KNOWN.into_iter().chain(FRESHNESS).chain(more.iter().copied()))?;
        let question = question(params)?;
        let (_, policies) = app.hub.policies();
        let named = params.one("policy")?.map(str::to_owned);
        let seen = || policies.iter().filter(|p| p.is_seen_by(&viewer.0)).map(|p| p.policy.name.as_str());
        if let Some(name) = &named
            && !seen().chain(["default"]).any(|seen| seen == name)
        {
            let names: Vec<&str> = seen().chain(["default"]).collect();
            return Err(Problem::parameter(
                format!("there is no policy '{name}'"),
                format!("There are {}. The file that koh serve --policies names defines them.", names.join(", ")),
            ));
        }
        Ok(Ask {
            question,
            rules: Rules { policies, named, clauses: clauses(params)?, sees: Arc::clone(&viewer.0) },
            text: text(params),
        })
    }
}

/// Only what makes another question: not how long to wait, or for which sequence.
fn text(params: &Params) -> String {
    let asked = |(name, value): &&(String, String)| KNOWN.contains(&name.as_str()) && !value.trim().is_empty();
    let mut pairs: Vec<&(String, String)> = params.pairs().iter().filter(asked).collect();
    pairs.sort();
    pairs.dedup();
    let escaped = |text: &str| percent_encoding::utf8_percent_encode(text, ESCAPED).to_string();
    pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

fn question(params: &Params) -> Result<Question, Problem> {
    let owned = |name: &str| params.one(name).map(|v| v.map(str::to_owned));
    let list = |name: &str| params.list(name).map(Option::unwrap_or_default);
    let asked = [
        owned("version")?.map(Asked::Version),
        owned("commit")?.map(Asked::Commit),
        owned("source_commit")?.map(Asked::SourceCommit),
    ];
    let mut given = asked.into_iter().flatten();
    let asked = match (given.next(), given.next()) {
        (Some(one), None) => one,
        (None, _) => {
            return Err(Problem::parameter(
                "what is asked about: version, commit or source_commit is missing",
                "As in ?environment=prod&workload=web&version=1.2.0.",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Problem::parameter(
                "version, commit and source_commit exclude each other; ask about one of them",
                "Ask by version, by commit (of the GitOps repository) or by source_commit, one question each.",
            ));
        }
    };
    let question = Question {
        workspace: list("workspace")?,
        application: list("application")?,
        workload: list("workload")?,
        environment: list("environment")?,
        deployment_target: list("deployment_target")?,
        manifests_endpoint: owned("manifests_endpoint")?,
        asked,
    };
    if let Some(endpoint) = &question.manifests_endpoint {
        place(endpoint)?;
        if !matches!(question.asked, Asked::Commit(_)) {
            return Err(Problem::parameter(
                "'manifests_endpoint' goes with 'commit'",
                "Ask ?manifests_endpoint=...&commit=...; a version is asked about with environment and workload.",
            ));
        }
    } else if !matches!(question.asked, Asked::SourceCommit(_)) {
        for name in ["environment", "workload"] {
            // All of them are named by a star: what is left out may have been forgotten.
            if params.one(name).is_ok_and(|v| v.is_none()) {
                return Err(Problem::parameter(
                    format!("'{name}' is missing"),
                    format!(
                        "Ask with environment and workload ({name}=* means all), or with manifests_endpoint and commit."
                    ),
                ));
            }
        }
    }
    Ok(question)
}

/// Refuses what names no place at all: that is no unknown endpoint but a malformed question.
pub(in super::super) fn place(endpoint: &str) -> Result<(), Problem> {
    let said = ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: endpoint.to_owned() };
    match crate::normalize::endpoint(said) {
        Ok(_) => Ok(()),
        Err(rejection) => Err(Problem::parameter(rejection.title, rejection.detail)),
    }
}

/// The clauses that the question names itself.
fn clauses(params: &Params) -> Result<Clauses, Problem> {
    let span = |name: &str| Ok::<_, Problem>(params.span(name)?.map(micros));
    let number = |name: &str| params.number(name, 0, u64::from(u32::MAX));
    let percent = match params.one("min_success_percent")? {
        None => None,
        Some(text) => match text.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Some(percent),
            _ => {
                return Err(Problem::parameter(
                    format!("'min_success_percent' is a number from 0 to 100, not '{text}'"),
                    "So many percent of the reconcilers must succeed; 100 when absent.",
                ));
            }
        },
    };
    let silent = match params.one("silent")? {
        None => None,
        Some("block") => Some(SilentPolicy::Block),
        Some("ignore") => Some(SilentPolicy::Ignore),
        Some("fail") => Some(SilentPolicy::Fail),
        Some(other) => {
            return Err(Problem::parameter(
                format!("'silent' is block, ignore or fail, not '{other}'"),
                "What a silent host does to the verdict: it holds it up (block, the default), does not count, or fails it.",
            ));
        }
    };
    Ok(Clauses {
        min_success_percent: percent,
        min_success: number("min_success")?,
        max_failures: number("max_failures")?,
        min_hosts: number("min_hosts")?,
        silent,
        stall_after: span("stall_after")?,
        failure_grace: span("failure_grace")?,
        soak: span("soak")?,
        hosts: hosts(params)?,
        freeze: None,
        verifications: names(params, "verifications")?,
        after: names(params, "after")?,
    })
}

/// What a clause lists. Where a filter means all by a star, a clause would not be there, and the gate would stand open.
fn names(params: &Params, clause: &str) -> Result<Option<Vec<String>>, Problem> {
    let names = params.list(clause)?;
    let given = params.pairs().iter().find(|(name, value)| name == clause && !value.trim().is_empty());
    match given {
        Some((_, value)) if names.is_none() => Err(Problem::parameter(
            format!("'{clause}' lists names, and '{value}' is none"),
            format!("As in {clause}=one,other; leave it out where the policy's own are meant."),
        )),
        _ => Ok(names),
    }
}

/// Which hosts count.
fn hosts(params: &Params) -> Result<Option<Hosts>, Problem> {
    let mut hosts = Hosts::new();
    for key in ["ring", "cluster_type", "region"] {
        if let Some(values) = params.list(key)? {
            hosts.entry(key.to_owned()).or_default().extend(values);
        }
    }
    for pair in params.list("label")?.unwrap_or_default() {
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                hosts.entry(key.trim().to_owned()).or_default().insert(value.trim().to_owned());
            }
            _ => {
                return Err(Problem::parameter(
                    format!("'label' is a key and a value, not '{pair}'"),
                    "As in label=tier%3Dgold; the same key with several values means any of them.",
                ));
            }
        }
    }
    Ok((!hosts.is_empty()).then_some(hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_question_names_one_thing_and_where() {
        for good in [
            "environment=dev&workload=web&version=1",
            "manifests_endpoint=x&commit=abc",
            "environment=prod&workload=*&version=1",
            "environment=dev,prod&workload=web&version=1",
            "source_commit=abc",
        ] {
            assert!(question(&params(good)).is_ok(), "{good}");
        }
        for bad in [
            "environment=dev&workload=web",
            "environment=dev&workload=web&version=1&commit=2",
            "workload=web&version=1",
            "manifests_endpoint=x&version=1",
            "manifests_endpoint=///&commit=abc",
        ] {
            assert!(question(&params(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn clauses_are_checked() {
        let good = "silent=ignore&min_success_percent=99.5&stall_after=1h&soak=5m&ring=0,1&label=tier%3Dgold&after=dev";
        let clauses_read = clauses(&params(good)).unwrap();
        assert_eq!(clauses_read.soak, Some(300_000_000));
        assert_eq!(clauses_read.hosts.unwrap()["ring"].len(), 2);
        for bad in [
            "after=*",
            "after=dev,*",
            "after=%5B%5D",
            "after=,",
            "verifications=All",
            "silent=maybe",
            "min_success_percent=101",
            "max_failures=-1",
            "stall_after=soon",
            "label=gold",
            "soak=x",
        ] {
            assert!(clauses(&params(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_order_of_parameters_makes_no_other_question() {
        let same = text(&params("workload=web&environment=dev&version=1&min_seq=4"));
        assert_eq!(same, text(&params("version=1&environment=dev&workload=web")));
        assert_eq!(same, "environment=dev&version=1&workload=web");
    }
}
