//! Named policies: from a file, chosen by name or by the target they are for; the file also holds the thresholds of alerts.
//!
//! Invariant: of several policies for one target the first in the file applies; clauses of the question come last. Only a
//! complete and sound file is taken.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::{Clauses, Policy};
use super::thresholds::{self, Alerts};
use crate::access::Restriction;
use crate::model::nearest;
use crate::normalize::unnameable;

/// The targets a policy is for; a list that is absent means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Workspaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspace: Vec<String>,
    /// Applications.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub application: Vec<String>,
    /// Workloads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload: Vec<String>,
    /// Environments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Deployment targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployment_target: Vec<String>,
}

impl Scope {
    /// Whether a target is meant: workspace, application, workload, environment, deployment target.
    pub(super) fn means(&self, target: &[&str; 5]) -> bool {
        let lists = [&self.workspace, &self.application, &self.workload, &self.environment, &self.deployment_target];
        lists.iter().zip(target).all(|(list, name)| list.is_empty() || list.iter().any(|n| n == name || n == "*"))
    }

    /// The same without the names of workspaces that are not seen.
    pub fn seen_by(&self, sees: &Restriction) -> Scope {
        let workspace = self.workspace.iter().filter(|w| *w == "*" || sees.sees_workspace(w)).cloned().collect();
        Scope { workspace, ..self.clone() }
    }
}

/// A policy of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPolicy {
    /// The policy, with the defaults of what it does not name.
    pub policy: Policy,
    /// The targets it is for without being named; `None` when it must be named.
    pub scope: Option<Scope>,
}

impl NamedPolicy {
    /// Whether it is for anything that is seen. The default is for whatever has no other.
    pub fn is_seen_by(&self, sees: &Restriction) -> bool {
        let theirs = |scope: &Scope| scope.workspace.is_empty() || !scope.seen_by(sees).workspace.is_empty();
        self.policy.name == "default" || self.scope.as_ref().is_none_or(theirs)
    }
}

/// All named policies, in the order of the file, and the thresholds of alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    named: Vec<NamedPolicy>,
    alerts: Alerts,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policies: Option<Vec<Entry>>,
    alerts: Option<Vec<thresholds::Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default, rename = "for")]
    scope: Option<Scope>,
    /// Not read yet, so that an error can name the clause.
    #[serde(flatten)]
    clauses: BTreeMap<String, Value>,
}

const CLAUSES: [&str; 12] = [
    "min_success_percent",
    "min_success",
    "max_failures",
    "min_hosts",
    "silent",
    "stall_after",
    "failure_grace",
    "soak",
    "hosts",
    "freeze",
    "verifications",
    "after",
];

impl Policies {
    /// Reads a file (YAML or JSON); the error says what is wrong and where.
    pub fn parse(text: &str) -> Result<Policies, String> {
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
        let (entries, alerts) = file.map(|f| (f.policies, f.alerts)).unwrap_or_default();
        let (entries, alerts) = (entries.unwrap_or_default(), alerts.unwrap_or_default());
        let mut known = HashSet::new();
        let policies = entries.into_iter().map(|e| {
            let (name, scope) = (e.name, e.scope);
            if name.trim().is_empty() {
                return Err("a policy has no name".to_owned());
            }
            // Otherwise no question could name it.
            if let Some(why) = unnameable(&name) {
                return Err(format!("policy {name:?}: {why}"));
            }
            let wrong = |what: String| format!("policy '{name}': {what}");
            if !known.insert(name.clone()) {
                return Err(wrong("the name is there twice".to_owned()));
            }
            let mut policy = Policy { name: name.clone(), ..Policy::default() };
            clauses(e.clauses).map_err(wrong)?.apply(&mut policy);
            Ok(NamedPolicy { policy, scope })
        });
        Ok(Policies { named: policies.collect::<Result<_, _>>()?, alerts: Alerts::read(alerts)? })
    }

    /// A policy by name; `default` is there unless the file has one of its own.
    pub fn named(&self, name: &str) -> Option<Cow<'_, Policy>> {
        let found = self.named.iter().find(|p| p.policy.name == name).map(|p| Cow::Borrowed(&p.policy));
        found.or_else(|| (name == "default").then(|| Cow::Owned(Policy::default())))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NamedPolicy> {
        self.named.iter()
    }

    /// The thresholds of alerts.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The policy that a target has without being asked: workspace, application, workload, environment, deployment target.
    pub fn of(&self, target: &[&str; 5]) -> Cow<'_, Policy> {
        let found = self.named.iter().find(|p| p.scope.as_ref().is_some_and(|s| s.means(target)));
        found.map(|p| Cow::Borrowed(&p.policy)).or_else(|| self.named("default")).unwrap_or_default()
    }
}

/// Reads the clauses of a policy.
fn clauses(written: BTreeMap<String, Value>) -> Result<Clauses, String> {
    for (clause, value) in &written {
        if !CLAUSES.contains(&clause.as_str()) {
            let hint = nearest(clause, &CLAUSES).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
            return Err(format!("there is no clause '{clause}'; {hint}there are {}", CLAUSES.join(", ")));
        }
        Clauses::deserialize(Value::from_iter([(clause.clone(), value.clone())]))
            .map_err(|why| format!("{clause}: {why}"))?;
    }
    let clauses = Clauses::deserialize(Value::from_iter(written)).map_err(|why| why.to_string())?;
    clauses.fault().map_or(Ok(clauses), Err)
}

/// By which policy each target of a question is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The named policies there are.
    pub policies: Arc<Policies>,
    /// The one that the question names; else each target has its own.
    pub named: Option<String>,
    /// What the question says itself.
    pub clauses: Clauses,
    /// The part of the fleet that whoever asks sees: of nothing else there is an answer.
    pub sees: Arc<Restriction>,
}

impl Rules {
    /// The policy for a target: workspace, application, workload, environment, deployment target.
    pub fn policy(&self, target: &[&str; 5]) -> Policy {
        let named = self.named.as_deref().and_then(|name| self.policies.named(name));
        let mut policy = named.unwrap_or_else(|| self.policies.of(target)).into_owned();
        self.clauses.apply(&mut policy);
        for (key, values) in &self.sees.hosts {
            // Of hosts that are both meant and seen; where none is, none counts.
            let seen = |meant: &BTreeSet<String>| meant.intersection(values).cloned().collect();
            let both = policy.hosts.get(key).map_or_else(|| values.clone(), seen);
            policy.hosts.insert(key.clone(), both);
        }
        policy
    }

    /// The rules for an environment that must be complete first: its own policies, which then wait for nothing else.
    pub(super) fn upstream(&self) -> Rules {
        let clauses = Clauses { after: Some(Vec::new()), freeze: Some(Vec::new()), ..Clauses::default() };
        Rules { policies: Arc::clone(&self.policies), named: None, clauses, sees: Arc::clone(&self.sees) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
policies:
  - name: production
    for: {environment: [prod, prod-eu]}
    min_success_percent: 95
    max_failures: 2
    soak: 15m
    after: [stage]
    verifications: [smoke]
    hosts: {ring: ['0', '1']}
    freeze:
      - {days: [fri], from: '16:00', to: '23:59', timezone: Europe/Berlin, reason: weekend}
  - name: anything
    silent: ignore
";

    #[test]
    fn a_policy_is_chosen_by_name_or_by_the_target_it_is_for() {
        let policies = Arc::new(Policies::parse(FILE).unwrap());
        let of = |named: Option<&str>, environment| {
            let rules = Rules { policies: Arc::clone(&policies), named: named.map(str::to_owned), ..Rules::default() };
            rules.policy(&["team", "app", "web", environment, "edge"])
        };
        assert_eq!(of(None, "prod").name, "production");
        assert_eq!(of(None, "prod").soak, 900_000_000);
        assert_eq!((of(None, "dev").name.as_str(), of(None, "dev")), ("default", Policy::default()));
        assert_eq!(of(Some("anything"), "prod").name, "anything");
        assert_eq!(of(Some("default"), "prod"), Policy::default());
    }

    #[test]
    fn the_example_of_the_readme_is_sound_and_shows_every_clause() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```").find_map(|block| block.strip_prefix("yaml\npolicies:")).unwrap();
        let policies = Policies::parse(&format!("policies:{example}")).unwrap();
        assert_eq!(policies.iter().map(|p| p.policy.name.as_str()).collect::<Vec<_>>(), ["production", "canary"]);
        for clause in CLAUSES {
            assert!(example.contains(&format!("    {clause}:")), "{clause}");
            assert!(readme.contains(&format!("| `{clause}` |")), "{clause}");
        }
    }

    #[test]
    fn clauses_of_the_question_come_last() {
        let rules = Rules {
            policies: Arc::new(Policies::parse(FILE).unwrap()),
            clauses: Clauses { max_failures: Some(7), ..Clauses::default() },
            ..Rules::default()
        };
        let policy = rules.policy(&["team", "app", "web", "prod", "edge"]);
        assert_eq!((policy.max_failures, policy.min_success_percent), (7, 95.0));
    }

    #[test]
    fn a_file_that_is_not_sound_is_refused_with_a_sentence() {
        let said = |text: &str| Policies::parse(text).unwrap_err();
        assert!(
            said("policies: [{name: a, min_sucess: 1}]").contains("no clause 'min_sucess'; did you mean min_success?")
        );
        for wrong in ["min_hosts: many", "max_failures: -1", "after: stage", "silent: maybe", "hosts: {ring: '0'}"] {
            let clause = wrong.split(':').next().unwrap();
            let why = said(&format!("policies:\n  - name: a\n    soak: 1m\n    {wrong}\n"));
            assert!(why.starts_with(&format!("policy 'a': {clause}: ")), "{why}");
        }
        for wrong in ["after: ['*']", "after: [dev, '']", "verifications: [' ']"] {
            assert!(said(&format!("policies: [{{name: a, {wrong}}}]")).contains("lists names"), "{wrong}");
        }
        assert!(said("policies: [{name: ' a '}]").contains("blanks around it"));
        assert!(said("policies: [{name: \"a\\tb\"}]").contains("one line"));
        assert!(said("policies: [{name: a}, {name: a}]").contains("twice"));
        assert!(said("policies: [{name: ''}]").contains("no name"));
        assert!(said("policies: [{name: a, min_success_percent: 101}]").contains("from 0 to 100"));
        assert!(said("policies: [{name: a, soak: soon}]").contains("span of time"));
        assert!(said("policies: [{name: a, for: {enviroment: [x]}}]").contains("enviroment"));
        assert!(said("policys: []").contains("policys"));
        for none in ["", "policies:\n# none yet\n", "policies: []", "{}"] {
            assert_eq!(Policies::parse(none).unwrap(), Policies::default(), "{none}");
        }
    }
}
