//! The part of the fleet that a client sees and may tell of, when its token says less than everything.
//!
//! Invariant: what is restricted is restricted in every answer and for every statement. Rows are left out of the tables that answers
//! are made from ([`crate::snapshot`]), targets and hosts out of what the gate judges ([`crate::rollout`]), statements out of what is
//! stored ([`super::telling`]); a route that knows of none of these is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The part of the fleet that is seen and told of; what is left out restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restriction {
    /// What is wanted in these workspaces, and what runs of it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "some")]
    pub workspaces: BTreeSet<String>,
    /// Hosts with these labels: for each key any of the values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "some")]
    pub hosts: BTreeMap<String, BTreeSet<String>>,
}

/// A list that is there and empty means nothing to whoever wrote it, and would mean everything here.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default + PartialEq>(d: D) -> Result<T, D::Error> {
    let given = T::deserialize(d)?;
    if given == T::default() {
        return Err(D::Error::custom(
            "'workspaces' and 'hosts' name what is seen; leave out the one that restricts nothing",
        ));
    }
    Ok(given)
}

/// The restriction of a token that says it has one.
pub(super) fn given<'de, D: Deserializer<'de>>(d: D) -> Result<Arc<Restriction>, D::Error> {
    let sees = Restriction::deserialize(d)?;
    if sees.is_none() {
        return Err(D::Error::custom(
            "'sees' has 'workspaces', 'hosts' or both; leave it out where all of the fleet is meant",
        ));
    }
    Ok(Arc::new(sees))
}

impl Restriction {
    /// Nothing is left out.
    pub fn is_none(&self) -> bool {
        self.workspaces.is_empty() && self.hosts.is_empty()
    }

    /// What is seen of a workspace is all or nothing.
    pub fn sees_workspace(&self, workspace: &str) -> bool {
        self.workspaces.is_empty() || self.workspaces.contains(workspace)
    }

    /// Names what is left out: two that leave out the same have the same.
    pub fn key(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{:016x}", twox_hash::XxHash3_128::oneshot(text.as_bytes()) as u64)
    }

    /// What makes no sense in it, if anything.
    pub fn fault(&self) -> Option<String> {
        let blank = |name: &String| name.trim().is_empty() || name == "*";
        if self.workspaces.iter().any(blank) {
            return Some("'workspaces' lists names of workspaces; leave it out where all are meant".to_owned());
        }
        if self.hosts.iter().any(|(key, values)| blank(key) || values.is_empty()) {
            return Some("'hosts' has for each label the values that are seen, as in {region: [eu]}".to_owned());
        }
        None
    }
}

impl std::fmt::Display for Restriction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(" or ");
        let workspaces = (!self.workspaces.is_empty()).then(|| format!("workspaces {}", listed(&self.workspaces)));
        let hosts = self.hosts.iter().map(|(key, values)| format!("hosts with {key} {}", listed(values)));
        f.write_str(&workspaces.into_iter().chain(hosts).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Restriction {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_restriction_that_would_mean_everything_or_nothing_by_mistake_is_refused() {
        assert_eq!(of(r#"{"workspaces": ["shop"], "hosts": {"region": ["eu"]}}"#).fault(), None);
        for wrong in [r#"{"workspaces": ["*"]}"#, r#"{"workspaces": [""]}"#, r#"{"hosts": {"region": []}}"#] {
            assert!(of(wrong).fault().is_some(), "{wrong}");
        }
        assert!(serde_json::from_str::<Restriction>(r#"{"workspace": ["shop"]}"#).is_err());
    }

    #[test]
    fn the_same_restriction_has_the_same_key_however_it_is_written() {
        assert_eq!(of(r#"{"workspaces": ["b", "a"]}"#).key(), of(r#"{"workspaces": ["a", "b"]}"#).key());
        assert_ne!(of(r#"{"workspaces": ["a"]}"#).key(), of(r#"{"hosts": {"a": ["a"]}}"#).key());
    }
}
