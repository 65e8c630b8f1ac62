//! Names: trimmed, one line, not empty, at most 4 KiB, in any script.
//!
//! Invariant: a name that passed needs no further care anywhere: it holds no control characters and no NUL.

use std::collections::BTreeMap;

use super::Rejection;

/// The longest name or other single value that is taken, in bytes.
pub const LIMIT: usize = 4096;
/// The most labels one statement may carry.
pub const MAX_LABELS: usize = 256;

/// A required name; `what` says which one in the words of the reader.
pub fn name(what: &str, raw: String) -> Result<String, Rejection> {
    let trimmed = trim(raw);
    if trimmed.is_empty() {
        return Err(Rejection::new(
            format!("{what} is empty"),
            format!("give {what} a value; white space alone does not count"),
        ));
    }
    check(what, &trimmed)?;
    Ok(trimmed)
}

/// What keeps a name from being referred to as it is written, if anything: what refers to it is trimmed, and one line.
pub fn unnameable(name: &str) -> Option<String> {
    let sound = name.trim() == name && name.len() <= LIMIT && !name.chars().any(char::is_control);
    (!sound).then(|| format!("a name is one line without blanks around it, of {LIMIT} bytes at most"))
}

/// An optional value: empty is absent.
pub fn optional(what: &str, raw: Option<String>) -> Result<Option<String>, Rejection> {
    let Some(trimmed) = raw.map(trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    check(what, &trimmed)?;
    Ok(Some(trimmed))
}

/// Labels as a JSON object with sorted keys, empty text when there are none. `clusterType` is `cluster_type` here.
pub fn labels(what: &str, mut raw: BTreeMap<String, String>) -> Result<String, Rejection> {
    if raw.is_empty() {
        return Ok(String::new());
    }
    if raw.len() > MAX_LABELS {
        return Err(Rejection::new(
            format!("{what} holds {} labels", raw.len()),
            format!("at most {MAX_LABELS} labels are kept; send fewer"),
        ));
    }
    if let Some(value) = raw.remove("clusterType") {
        raw.entry("cluster_type".to_owned()).or_insert(value);
    }
    let mut checked = BTreeMap::new();
    for (key, value) in raw {
        let key = label_key(&format!("a key of {what}"), key)?;
        let value = label_value(&format!("label {key} of {what}"), value)?;
        checked.insert(key, value);
    }
    serde_json::to_string(&checked).map_err(|error| {
        Rejection::new(format!("{what} cannot be written"), format!("send plain text labels: {error}"))
    })
}

/// The key of a label, in its one spelling.
pub fn label_key(what: &str, raw: String) -> Result<String, Rejection> {
    let key = name(what, raw)?;
    Ok(if key == "clusterType" { "cluster_type".to_owned() } else { key })
}

/// The value of a label, which may be empty.
pub fn label_value(what: &str, raw: String) -> Result<String, Rejection> {
    let value = trim(raw);
    check(what, &value)?;
    Ok(value)
}

/// Trims without copying when there is nothing to trim.
fn trim(mut raw: String) -> String {
    let end = raw.trim_end().len();
    raw.truncate(end);
    let start = end - raw.trim_start().len();
    if start > 0 {
        raw.drain(..start);
    }
    raw
}

fn check(what: &str, text: &str) -> Result<(), Rejection> {
    if text.len() > LIMIT {
        return Err(Rejection::new(
            format!("{what} is {} bytes long", text.len()),
            format!("at most {LIMIT} bytes are taken; shorten {what}"),
        ));
    }
    // One pass over bytes decides for nearly all; C1 controls need characters.
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if !plain && let Some(found) = text.chars().find(|c| c.is_control()) {
        return Err(Rejection::new(
            format!("{what} holds the control character U+{:04X}", u32::from(found)),
            format!("remove control characters and line breaks from {what}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_trimmed_and_keep_every_script() {
        assert_eq!(name("host", "  cl-1 ".into()).unwrap(), "cl-1");
        assert_eq!(name("host", "Größe 東京 🚀".into()).unwrap(), "Größe 東京 🚀");
    }

    #[test]
    fn empty_control_characters_and_long_names_are_refused_with_a_reason() {
        assert_eq!(name("host", " \t".into()).unwrap_err().title, "host is empty");
        assert_eq!(name("host", "a\0b".into()).unwrap_err().title, "host holds the control character U+0000");
        assert_eq!(name("host", "a\nb".into()).unwrap_err().title, "host holds the control character U+000A");
        assert_eq!(name("host", "a\u{85}b".into()).unwrap_err().title, "host holds the control character U+0085");
        assert_eq!(name("host", "x".repeat(LIMIT + 1)).unwrap_err().title, "host is 4097 bytes long");
        assert_eq!(name("host", "x".repeat(LIMIT)).unwrap().len(), LIMIT);
    }

    #[test]
    fn an_empty_optional_value_is_absent() {
        assert_eq!(optional("contact", Some("  ".into())).unwrap(), None);
        assert_eq!(optional("contact", None).unwrap(), None);
        assert_eq!(optional("contact", Some(" a ".into())).unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn labels_are_sorted_json_with_one_spelling_of_the_cluster_type() {
        let raw = [("ring", "1"), ("clusterType", "aks"), ("a", "ü\"")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(labels("labels", raw.into()).unwrap(), r#"{"a":"ü\"","cluster_type":"aks","ring":"1"}"#);
        assert_eq!(labels("labels", BTreeMap::new()).unwrap(), "");
    }

    proptest! {
        #[test]
        fn a_name_that_passed_passes_again_unchanged(raw in any::<String>()) {
            if let Ok(once) = name("x", raw) {
                prop_assert_eq!(name("x", once.clone()), Ok(once));
            }
        }
    }
}
