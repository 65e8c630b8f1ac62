//! The shape of a label selector, the same in custom resources and flat shapes.
//!
//! Invariant: strict in both, and in either spelling of the names. A word that is passed over in a custom resource is a loss
//! elsewhere; in a selector it would select more than was meant.

use serde::Deserialize;

use super::json::{Texts, objects};
use crate::model::{RequirementSaid, SelectorSaid};

/// A label selector as Kubernetes has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase", expecting = "an object")]
pub(super) struct Selector {
    #[serde(alias = "match_labels")]
    match_labels: Option<Texts>,
    #[serde(alias = "match_expressions", deserialize_with = "objects")]
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Requirement {
    key: Option<String>,
    operator: Option<String>,
    values: Option<Vec<String>>,
}

impl From<Selector> for SelectorSaid {
    fn from(shape: Selector) -> SelectorSaid {
        let requirement = |r: Requirement| RequirementSaid {
            key: r.key.unwrap_or_default(),
            operator: r.operator.unwrap_or_default(),
            values: r.values.unwrap_or_default(),
        };
        SelectorSaid {
            match_labels: shape.match_labels.unwrap_or_default().0,
            match_expressions: shape.match_expressions.into_iter().flatten().map(requirement).collect(),
        }
    }
}
