//! The file of host classes: after how long without a word the hosts of a class are late and silent.
//!
//! Invariant: only a complete and sound file is taken; what it does not name is as on the command line.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{micros, nearest, span};
use crate::normalize::unnameable;
use crate::state::{Heartbeat, Heartbeats};

/// The classes of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(Vec<Class>);

/// A class as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    name: String,
    late_after: Option<i64>,
    silent_after: Option<i64>,
    optional: bool,
}

const CLAUSES: [&str; 4] = ["name", "late_after", "silent_after", "reporting"];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reporting {
    Required,
    Optional,
}

impl Classes {
    /// Reads a file (YAML or JSON); the error says what is wrong and where.
    pub(super) fn parse(text: &str) -> Result<Classes, String> {
        let file: Option<BTreeMap<String, Value>> =
            serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
        let mut file = file.unwrap_or_default();
        let written = file.remove("classes").unwrap_or_default();
        if let Some(key) = file.keys().next() {
            return Err(unknown("key", key, &["classes"]));
        }
        let entries = Option::<Vec<BTreeMap<String, Value>>>::deserialize(written)
            .map_err(|why| format!("classes is a list, each with a name: {why}"))?;
        let mut known = HashSet::new();
        let classes = entries.unwrap_or_default().into_iter().map(|entry| {
            let class = Class::read(entry)?;
            if known.insert(class.name.clone()) {
                Ok(class)
            } else {
                Err(format!("class '{}': it is there twice; put what it says in one place", class.name))
            }
        });
        Ok(Classes(classes.collect::<Result<_, _>>()?))
    }

    /// The intervals of all hosts; those that are named nowhere are those of `default`.
    pub(super) fn heartbeats(&self, default: Heartbeat) -> Heartbeats {
        Heartbeats::new(default, self.0.iter().map(|class| (class.name.clone(), class.heartbeat(default))))
    }
}

impl Class {
    fn read(mut entry: BTreeMap<String, Value>) -> Result<Class, String> {
        let name = match entry.remove("name") {
            Some(Value::String(name)) => name,
            Some(other) => return Err(format!("the name of a class is a text, not {other}; write it in quotes")),
            None => {
                return Err(
                    "a class has no name; hosts name theirs as class or in the label hub.kalypso.io/class".to_owned()
                );
            }
        };
        if name.trim().is_empty() {
            return Err("a class has an empty name, which no host can name".to_owned());
        }
        // Otherwise no host could name it.
        if let Some(why) = unnameable(&name) {
            return Err(format!("class {name:?}: {why}"));
        }
        Class::described(name.clone(), entry).map_err(|what| format!("class '{name}': {what}"))
    }

    fn described(name: String, mut entry: BTreeMap<String, Value>) -> Result<Class, String> {
        let late_after = entry.remove("late_after").map(|v| interval("late_after", v)).transpose()?;
        let silent_after = entry.remove("silent_after").map(|v| interval("silent_after", v)).transpose()?;
        let reporting = entry.remove("reporting");
        if let Some(key) = entry.keys().next() {
            return Err(unknown("clause", key, &CLAUSES));
        }
        let says_nothing = reporting.is_none() && late_after.is_none() && silent_after.is_none();
        let reporting = reporting.map_or(Ok(Reporting::Required), |value| {
            let what = value.to_string();
            Reporting::deserialize(value).map_err(|_| format!("reporting is required or optional, not {what}"))
        });
        let optional = matches!(reporting?, Reporting::Optional);
        if says_nothing {
            return Err("it says nothing; name late_after, silent_after, or reporting: optional".to_owned());
        }
        if optional && (late_after.is_some() || silent_after.is_some()) {
            return Err(
                "a host that need not report is never late or silent; leave out late_after and silent_after, or \
                        reporting: optional"
                    .to_owned(),
            );
        }
        if let (Some(late), Some(silent)) = (late_after, silent_after)
            && silent < late
        {
            return Err("silent_after is shorter than late_after, but a host is late before it is silent".to_owned());
        }
        Ok(Class { name, late_after, silent_after, optional })
    }

    /// An interval that is not named is the default one, as far as the other one leaves room for it.
    fn heartbeat(&self, default: Heartbeat) -> Heartbeat {
        let silent_after = self.silent_after.unwrap_or(default.silent_after.max(self.late_after.unwrap_or(0)));
        let late_after = self.late_after.unwrap_or(default.late_after.min(silent_after));
        Heartbeat { late_after, silent_after, optional: self.optional }
    }
}

fn interval(clause: &str, value: Value) -> Result<i64, String> {
    let Value::String(text) = &value else {
        return Err(format!("{clause} is a span of time such as 90s, 15m, 1h or 2d, not {value}"));
    };
    match span(text) {
        Ok(Duration::ZERO) => {
            Err(format!("{clause} is {text}, but nobody reports all the time; write 90s, 15m, 1h or 2d"))
        }
        Ok(span) => Ok(micros(span)),
        Err(why) => Err(format!("{clause}: {why}")),
    }
}

fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let hint = nearest(word, known).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    let there =
        if let [one] = known { format!("there is only {one}") } else { format!("there are {}", known.join(", ")) };
    format!("there is no {what} '{word}'; {hint}{there}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn beat(text: &str) -> Heartbeat {
        Classes::parse(&format!("classes: [{text}]")).unwrap().0[0].heartbeat(Heartbeat::default())
    }

    #[test]
    fn the_example_of_the_readme_is_sound_and_shows_every_clause() {
        let readme = include_str!("../../README.md");
        let example = readme.split("```").find_map(|block| block.strip_prefix("yaml\nclasses:")).unwrap();
        let classes = Classes::parse(&format!("classes:{example}")).unwrap();
        assert_eq!(classes.0.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["edge", "laptop"]);
        for clause in CLAUSES {
            assert!(example.contains(&format!("{clause}:")), "{clause}");
        }
    }

    #[test]
    fn what_a_class_does_not_name_is_the_default_as_far_as_the_other_interval_leaves_room() {
        let intervals = |text| (beat(text).late_after / MINUTE, beat(text).silent_after / MINUTE);
        assert_eq!(intervals("{name: a, late_after: 1h, silent_after: 1d}"), (60, 24 * 60));
        assert_eq!(intervals("{name: a, silent_after: 1d}"), (15, 24 * 60));
        assert_eq!(intervals("{name: a, silent_after: 5m}"), (5, 5));
        assert_eq!(intervals("{name: a, late_after: 2h}"), (120, 120));
        assert_eq!(intervals("{name: a, late_after: 20m, reporting: required}"), (20, 60));
        assert_eq!(intervals("{name: a, reporting: required}"), (15, 60));
        assert_eq!(beat("{name: a, reporting: optional}"), Heartbeat { optional: true, ..Heartbeat::default() });
    }

    #[test]
    fn a_file_that_is_not_sound_is_refused_with_a_sentence() {
        let said = |text: &str| Classes::parse(text).unwrap_err();
        for (class, why) in [
            (
                "{name: a, late_afer: 1h}",
                "class 'a': there is no clause 'late_afer'; did you mean late_after? there are name, ",
            ),
            ("{name: a, late_after: soon}", "class 'a': late_after: 'soon' is not a span of time; write 90s"),
            (
                "{name: a, silent_after: 60}",
                "class 'a': silent_after is a span of time such as 90s, 15m, 1h or 2d, not 60",
            ),
            ("{name: a, silent_after: 0s}", "class 'a': silent_after is 0s, but nobody reports all the time"),
            ("{name: a, late_after: 2h, silent_after: 1h}", "class 'a': silent_after is shorter than late_after"),
            ("{name: a, reporting: sometimes}", "class 'a': reporting is required or optional, not \"sometimes\""),
            ("{name: a, reporting: optional, late_after: 1h}", "class 'a': a host that need not report is never late"),
            ("{name: a}", "class 'a': it says nothing; name late_after"),
            ("{late_after: 1h}", "a class has no name"),
            ("{name: 5, late_after: 1h}", "the name of a class is a text, not 5"),
            ("{name: ' a', late_after: 1h}", "class \" a\": a name is one line without blanks"),
            ("{name: '', late_after: 1h}", "a class has an empty name"),
            ("{name: a, late_after: 1h}, {name: a, late_after: 2h}", "class 'a': it is there twice"),
            ("edge", "classes is a list, each with a name: "),
        ] {
            let told = said(&format!("classes: [{class}]"));
            assert!(told.starts_with(why), "{class}: {told}");
        }
        assert_eq!(said("clases: []"), "there is no key 'clases'; did you mean classes? there is only classes");
        assert!(said("classes: {name: a}").starts_with("classes is a list"));
        assert!(said("classes: [{name: a, late_after: 1h, late_after: 2h}]").contains("late_after"));
        for none in ["", "classes:\n# none yet\n", "classes: []", "{}"] {
            assert_eq!(Classes::parse(none).unwrap(), Classes::default(), "{none}");
        }
    }
}
