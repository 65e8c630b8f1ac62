//! Which deployment targets a host is expected to run, by their labels: a selector as Kubernetes has it.
//!
//! Invariant: a selector has one text, whatever the order in which it was written, so that texts tell selectors apart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// All must hold; with none every target matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Selector {
    /// Labels that a target must have with this value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub match_expressions: BTreeSet<Requirement>,
}

/// What is required of one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How its value is looked at.
    pub operator: Operator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub values: BTreeSet<String>,
}

/// How a requirement looks at a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Operator {
    /// All, in the order in which they are explained.
    pub const ALL: [Operator; 4] = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];

    /// The word of Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        }
    }

    /// Whether it compares with values.
    pub fn takes_values(self) -> bool {
        matches!(self, Operator::In | Operator::NotIn)
    }
}

impl Selector {
    /// Whether a target with these labels is meant.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.match_expressions.iter().all(|r| {
                let value = label(&r.key);
                match r.operator {
                    Operator::In => value.is_some_and(|v| r.values.contains(v)),
                    Operator::NotIn => value.is_none_or(|v| !r.values.contains(v)),
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }

    /// Reads the text of a selector.
    pub fn parse(text: &str) -> Option<Selector> {
        serde_json::from_str(text).ok()
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    fn matches(text: &str, labels: &[(&str, &'static str)]) -> bool {
        selector(text).matches(|key| labels.iter().find(|l| l.0 == key).map(|l| l.1))
    }

    #[test]
    fn operators_mean_what_they_mean_in_kubernetes() {
        let requires = |operator: &str, values: &str| {
            format!(r#"{{"matchExpressions":[{{"key":"ring","operator":"{operator}","values":{values}}}]}}"#)
        };
        for (operator, values, one, two, none) in [
            ("In", r#"["1","3"]"#, true, false, false),
            ("NotIn", r#"["1","3"]"#, false, true, true),
            ("Exists", "[]", true, true, false),
            ("DoesNotExist", "[]", false, false, true),
        ] {
            let text = requires(operator, values);
            let seen = [&[("ring", "1")][..], &[("ring", "2")], &[("region", "1")]].map(|l| matches(&text, l));
            assert_eq!(seen, [one, two, none], "{operator}");
        }
    }

    #[test]
    fn everything_must_hold_and_nothing_asked_is_everything() {
        let both = r#"{"matchLabels":{"a":"1"},"matchExpressions":[{"key":"b","operator":"Exists"}]}"#;
        assert!(matches(both, &[("a", "1"), ("b", "")]));
        assert!(!matches(both, &[("a", "1")]) && !matches(both, &[("b", "")]));
        assert!(matches("{}", &[]));
    }

    #[test]
    fn a_selector_has_one_text() {
        let one = r#"{"matchExpressions":[{"key":"b","operator":"Exists"},{"values":["y","x"],"operator":"In","key":"a"}],"matchLabels":{"d":"1","c":"2"}}"#;
        let text = r#"{"matchLabels":{"c":"2","d":"1"},"matchExpressions":[{"key":"a","operator":"In","values":["x","y"]},{"key":"b","operator":"Exists"}]}"#;
        assert_eq!(selector(one).to_string(), text);
        assert_eq!(selector(text), selector(one));
        assert_eq!(Selector::default().to_string(), "{}");
    }
}
