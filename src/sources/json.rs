//! Reading one JSON text into a shape, with errors that name the path of the field.
//!
//! Invariant: the good case is one pass of serde over the bytes; the path is looked for only when that fails.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use std::{collections::BTreeMap, fmt, marker::PhantomData};

use crate::{model::Micros, normalize::Rejection};

/// How deep a value may nest: what the JSON reader allows itself.
pub(crate) const MAX_DEPTH: usize = 127;

/// Reads a value; `what` and `advice` go into the rejection.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str, advice: &str) -> Result<T, Rejection> {
    let text = utf8(bytes)?;
    serde_json::from_str(text).map_err(|error| explain(text, &error, what, advice))
}

/// The text, or where it stops being UTF-8.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(bytes).map_err(|error| {
        Rejection::new(
            format!("invalid UTF-8 at byte {}", error.valid_up_to()),
            "JSON is UTF-8; re-encode the text before sending it",
        )
    })
}

fn explain(text: &str, error: &serde_json::Error, what: &str, advice: &str) -> Rejection {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    let (line, column) = (error.line(), error.column());
    if error.is_data() {
        let path = path_at(text, line, column);
        let title = if path.is_empty() { format!("{what}: {reason}") } else { format!("{path}: {reason}") };
        return Rejection::new(title, format!("in {what} at line {line} column {column}; {advice}"));
    }
    Rejection::new(
        format!("not valid JSON: {reason}"),
        format!("at line {line} column {column} of {what}; check the text with a JSON parser, then send it again"),
    )
}

/// The path of the field that ends at a position: `spec.deployment.status`, `items[3].kind`.
fn path_at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = (start + column).min(text.len());
    let bytes = &text.as_bytes()[..end];
    let mut path: Vec<Step> = Vec::new();
    let mut at = 0;
    let mut text_before: Option<(usize, usize)> = None;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => path.push(Step::Key(None)),
            b'[' => path.push(Step::Index(0)),
            // The value just closed is still the subject when the text ends here.
            b'}' | b']' if at + 1 < bytes.len() => {
                path.pop();
            }
            b',' if at + 1 < bytes.len() => match path.last_mut() {
                Some(Step::Index(n)) => *n += 1,
                Some(Step::Key(key)) => *key = None,
                None => {}
            },
            b':' => {
                if let (Some(Step::Key(key)), Some((from, to))) = (path.last_mut(), text_before) {
                    *key = Some((from, to));
                }
            }
            b'"' => {
                let from = at + 1;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                text_before = Some((from, at.min(bytes.len())));
            }
            _ => {}
        }
        at += 1;
    }
    // A duplicate key is noticed when the key has been read and its value has not.
    if let (Some(Step::Key(key @ None)), Some(before)) = (path.last_mut(), text_before) {
        *key = Some(before);
    }
    let mut spelled = String::new();
    for step in path {
        match step {
            Step::Key(Some((from, to))) => {
                if !spelled.is_empty() {
                    spelled.push('.');
                }
                spelled.extend(text.get(from..to).unwrap_or_default().chars().take(100));
            }
            Step::Index(n) => spelled.push_str(&format!("[{n}]")),
            Step::Key(None) => {}
        }
    }
    spelled
}

enum Step {
    Key(Option<(usize, usize)>),
    Index(usize),
}

/// A value that is an object: the derived readers alone would take an array for one, by position.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with named fields")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Visit(PhantomData))
    }
}

/// For `deserialize_with`: an object, null or nothing.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

/// For `deserialize_with`: an array of objects, null or nothing.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|objects| objects.into_iter().map(|object| object.0).collect()))
}

/// A map of texts in which no key may stand twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts(pub(crate) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    if all.insert(key, value.unwrap_or_default()).is_some() {
                        return Err(serde::de::Error::custom("duplicate key in a map"));
                    }
                }
                Ok(Texts(all))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// A time somebody wrote; empty is absent.
pub(crate) fn time(path: &str, raw: Option<&str>) -> Result<Option<Micros>, Rejection> {
    let Some(raw) = raw.map(str::trim).filter(|raw| !raw.is_empty()) else { return Ok(None) };
    Micros::parse(raw).map(Some).map_err(|_| {
        let shown: String = raw.chars().take(60).collect();
        Rejection::new(
            format!("{path}: `{shown}` is not a time"),
            "write times in RFC 3339 with an offset, for example 2026-01-31T12:00:00Z",
        )
    })
}

/// Collects required fields, so that all missing ones are named at once.
#[derive(Debug, Default)]
pub(crate) struct Required {
    missing: Vec<&'static str>,
}

impl Required {
    /// The value of a required field; empty while it is missing.
    pub(crate) fn take(&mut self, path: &'static str, value: Option<String>) -> String {
        value.unwrap_or_else(|| {
            self.missing.push(path);
            String::new()
        })
    }

    /// Notes a missing field that is no text.
    pub(crate) fn missing(&mut self, path: &'static str) {
        self.missing.push(path);
    }

    /// A rejection that names what is missing, if anything is.
    pub(crate) fn check(self, what: &str, advice: &str) -> Result<(), Rejection> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(Rejection::new(format!("{what} lacks {}", self.missing.join(", ")), advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Outer {
        inner: Vec<Inner>,
        name: Option<String>,
        texts: Option<Texts>,
    }
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Inner {
        id: Option<u8>,
        deep: Option<Deep>,
    }
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Deep {
        text: String,
    }

    fn title(text: &str) -> String {
        read::<Outer>(text.as_bytes(), "the item", "fix it").unwrap_err().title
    }

    #[test]
    fn errors_name_the_path_of_the_field() {
        assert!(title(r#"{"inner":[{"id":1},{"id":"x"}]}"#).starts_with("inner[1].id: invalid type: string"));
        assert!(
            title("{\"inner\":[\n {\"deep\": {\"text\": 5}}]}")
                .starts_with("inner[0].deep.text: invalid type: integer")
        );
        assert!(title(r#"{"inner":[],"name":[1]}"#).starts_with("name: invalid type: sequence"));
        assert!(title(r#"{"inner":{"a":1}}"#).starts_with("inner: invalid type: map"));
        assert!(title(r#"{"inner":[],"name":"a","name":"b"}"#).contains("duplicate field `name`"));
        assert!(title(r#"{"inner":[],"texts":{"a":"b","a":"c"}}"#).contains("duplicate key"));
    }

    #[test]
    fn broken_text_says_where_it_breaks() {
        assert!(title("{\"inner\": [}").starts_with("not valid JSON: "));
        let error = read::<Outer>(b"{\"name\":\"\xff\"}", "the item", "fix it").unwrap_err();
        assert_eq!(error.title, "invalid UTF-8 at byte 9");
    }

    #[test]
    fn a_time_without_an_offset_is_no_time() {
        assert_eq!(time("observed_at", Some(" ")).unwrap(), None);
        assert_eq!(time("observed_at", Some("1970-01-01T00:00:01Z")).unwrap(), Some(Micros(1_000_000)));
        assert!(time("observed_at", Some("2026-01-01 10:00")).unwrap_err().title.starts_with("observed_at: "));
    }
}
