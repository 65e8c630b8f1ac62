//! Selectors of labels: keys spelled as labels are, operators known, values where they belong.
//!
//! Invariant: nothing that was asked is dropped, for a selector that asks for less means more targets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rejection, name};
use crate::model::{Operator, Requirement, RequirementSaid, Selector, SelectorSaid};

/// The normal form of a selector.
pub(super) fn selector(said: SelectorSaid) -> Result<Selector, Rejection> {
    let asked = said.match_labels.len() + said.match_expressions.len();
    if asked > name::MAX_LABELS {
        return Err(Rejection::new(
            format!("expectsSelector asks for {asked} labels"),
            format!("at most {} are taken, matchLabels and matchExpressions together", name::MAX_LABELS),
        ));
    }
    let mut match_labels = BTreeMap::new();
    for (key, value) in said.match_labels {
        let key = name::label_key("a key of expectsSelector.matchLabels", key)?;
        let value = name::label_value(&format!("label {key} of expectsSelector.matchLabels"), value)?;
        if match_labels.get(&key).is_some_and(|other| *other != value) {
            return Err(Rejection::new(
                format!("expectsSelector.matchLabels names {key} twice, with two values"),
                "a label has one value; take several with matchExpressions: key, operator In and values",
            ));
        }
        match_labels.insert(key, value);
    }
    let expressions = said.match_expressions.into_iter().enumerate();
    let match_expressions = expressions.map(|(at, said)| requirement(at, said)).collect::<Result<_, _>>()?;
    Ok(Selector { match_labels, match_expressions })
}

fn requirement(at: usize, said: RequirementSaid) -> Result<Requirement, Rejection> {
    let path = format!("expectsSelector.matchExpressions[{at}]");
    let word = said.operator.trim();
    let Some(operator) = Operator::ALL.into_iter().find(|o| o.as_str() == word) else {
        let shown: String = word.chars().take(40).collect();
        return Err(Rejection::new(
            format!("{path}.operator is `{shown}`"),
            "the operators are In and NotIn with values, Exists and DoesNotExist without",
        ));
    };
    let key = name::label_key(&format!("{path}.key"), said.key)?;
    match (operator.takes_values(), said.values.len()) {
        (true, 0) => {
            return Err(Rejection::new(
                format!("{path}.values is empty"),
                format!("{word} compares {key} with values: list them, or ask for the label alone with Exists"),
            ));
        }
        (false, 1..) => {
            return Err(Rejection::new(
                format!("{path} has values and the operator {word}"),
                format!("{word} takes no values: leave them out, or compare with In or NotIn"),
            ));
        }
        (true, values) if values > name::MAX_LABELS => {
            return Err(Rejection::new(
                format!("{path} lists {values} values"),
                format!("at most {} are taken", name::MAX_LABELS),
            ));
        }
        _ => {}
    }
    let value = |value| name::label_value(&format!("a value of {path}"), value);
    let values: BTreeSet<String> = said.values.into_iter().map(value).collect::<Result<_, _>>()?;
    Ok(Requirement { key, operator, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requires(key: &str, operator: &str, values: &[&str]) -> SelectorSaid {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        let one = RequirementSaid { key: key.into(), operator: operator.into(), values };
        SelectorSaid { match_expressions: vec![one], ..SelectorSaid::default() }
    }

    fn labels(all: &[(&str, &str)]) -> SelectorSaid {
        let match_labels = all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        SelectorSaid { match_labels, ..SelectorSaid::default() }
    }

    #[test]
    fn keys_and_values_are_spelled_as_labels_are() {
        let text = |said| selector(said).unwrap().to_string();
        assert_eq!(
            text(labels(&[("clusterType", "aks "), (" a", "")])),
            r#"{"matchLabels":{"a":"","cluster_type":"aks"}}"#
        );
        assert_eq!(
            text(requires(" ring ", "In", &["2", " 1", "2"])),
            r#"{"matchExpressions":[{"key":"ring","operator":"In","values":["1","2"]}]}"#
        );
        assert_eq!(text(SelectorSaid::default()), "{}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_place_and_the_way_out() {
        let refused = |said| {
            let rejection = selector(said).unwrap_err();
            assert!(!rejection.detail.is_empty());
            rejection.title
        };
        let at = "expectsSelector.matchExpressions[0]";
        assert_eq!(refused(requires("a", "Is", &["1"])), format!("{at}.operator is `Is`"));
        assert_eq!(refused(requires("a", "", &[])), format!("{at}.operator is ``"));
        assert_eq!(refused(requires("a", "NotIn", &[])), format!("{at}.values is empty"));
        assert_eq!(refused(requires("a", "Exists", &["1"])), format!("{at} has values and the operator Exists"));
        assert_eq!(refused(requires(" ", "Exists", &[])), format!("{at}.key is empty"));
        let long = "x".repeat(name::LIMIT + 1);
        assert_eq!(refused(requires(&long, "Exists", &[])), format!("{at}.key is 4097 bytes long"));
        assert_eq!(
            refused(requires("a", "In", &["b\n c"])),
            format!("a value of {at} holds the control character U+000A")
        );
        assert_eq!(refused(requires("a", "In", &["1"; 257])), format!("{at} lists 257 values"));
        assert_eq!(refused(labels(&[(&long, "1")])), "a key of expectsSelector.matchLabels is 4097 bytes long");
        assert_eq!(
            refused(labels(&[("a", "1"), ("a ", "2")])),
            "expectsSelector.matchLabels names a twice, with two values"
        );
    }
}
