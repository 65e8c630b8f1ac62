//! The labels of a deployment target as selectors see them.
//!
//! Invariant: the names of a target's key are labels of it too, and nothing that was declared takes their place.

use std::collections::BTreeMap;

use super::tables::Tables;
use super::target::TargetRecord;

/// Labels that a descriptor gives its target.
pub type Labels = BTreeMap<String, String>;

impl Tables {
    /// The declared labels of a living target.
    pub fn labels(&self, target: &TargetRecord) -> Option<Labels> {
        let (_, a) = target.assignments.in_force()?;
        Some(serde_json::from_str(self.text(a.labels)).unwrap_or_default())
    }

    /// A label of a target, `declared` among them.
    pub fn label<'a>(&'a self, target: &TargetRecord, declared: &'a Labels, key: &str) -> Option<&'a str> {
        let name = match key.strip_prefix("hub.kalypso.io/") {
            Some("workspace") => target.workspace,
            Some("application") => target.application,
            Some("workload") => target.workload,
            Some("environment") => target.environment,
            Some("deployment-target") => target.name,
            _ => return declared.get(key).map(String::as_str),
        };
        Some(self.text(name))
    }
}
