//! The documents in one file: YAML of many documents, JSON, NDJSON.
//!
//! Invariant: what cannot be read is an error of the file and hides no other document of it; what is of no kind of the hub
//! is only counted.

use serde_json::value::RawValue;

use crate::model::{Carrier, Observation, Said};
use crate::normalize::{Rejection, keys};
use crate::sources::resource;

/// The group in the apiVersion of everything that matters here: a text without it is of no kind of the hub.
const GROUP: &str = "hub.kalypso.io/";
/// The longest file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 64 * 1024 * 1024;
/// The longest YAML document that is read, in bytes.
const MAX_YAML: usize = 4 * 1024 * 1024;

/// One document of the hub.
#[derive(Clone, Debug)]
pub struct Document {
    /// `kind/namespace/name`, unique within the file for one object.
    pub name: String,
    /// Changes with what is observed.
    pub fingerprint: u128,
    /// What it says; the carrier's name holds the path of the file.
    pub observation: Observation,
}

/// What is in a file.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The documents of the hub, in order.
    pub documents: Vec<Document>,
    /// Documents of other kinds.
    pub foreign: usize,
    /// Objects that are there and were refused for what they say: their names and carriers.
    pub refused: Vec<(String, Carrier)>,
    /// What was refused or could not be read, with where in the file.
    pub errors: Vec<Rejection>,
    /// Something could not even be recognised: which objects are in the file is not known.
    pub unreadable: bool,
}

/// Reads the documents of a file; `revision` is the commit of its checkout.
pub fn parse(path: &str, bytes: &[u8], source: &str, revision: Option<&str>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut reader = Reader { path, source, revision, parsed: &mut parsed };
    match std::str::from_utf8(bytes) {
        Err(error) => reader
            .error(Rejection::new(format!("invalid UTF-8 at byte {}", error.valid_up_to()), "save the file as UTF-8")),
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let yaml = !(path.ends_with(".json") || path.ends_with(".ndjson"));
            if yaml { reader.yaml(text) } else { reader.json(text) }
        }
    }
    parsed
}

struct Reader<'a> {
    path: &'a str,
    source: &'a str,
    revision: Option<&'a str>,
    parsed: &'a mut Parsed,
}

impl Reader<'_> {
    fn yaml(&mut self, text: &str) {
        for (line, document) in split(text) {
            if !document.contains(GROUP) {
                self.parsed.foreign += usize::from(!document.trim().is_empty());
                continue;
            }
            if document.len() > MAX_YAML {
                self.error(Rejection::new(
                    format!("the document at line {line} is longer than 4 MiB"),
                    "split it into smaller documents",
                ));
                continue;
            }
            let found = resource::decode_yaml(document, self.source);
            self.take(found, document, &format!("document at line {line}"));
        }
    }

    fn json(&mut self, text: &str) {
        for (n, one) in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().enumerate() {
            match one {
                Ok(raw) => self.value(raw.get(), &format!("text {n}")),
                Err(error) => {
                    // Where the next text begins is not certain any more.
                    return self.error(Rejection::new(
                        format!("not valid JSON: {error}"),
                        "check the file with a JSON parser; what follows was not read",
                    ));
                }
            }
        }
    }

    fn value(&mut self, text: &str, place: &str) {
        if text.starts_with('[') {
            match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(all) => {
                    for (n, raw) in all.into_iter().enumerate() {
                        self.value(raw.get(), &format!("{place}, element {n}"));
                    }
                }
                Err(error) => {
                    self.error(Rejection::new(format!("not valid JSON: {error}"), "check the file with a JSON parser"))
                }
            }
            return;
        }
        if !text.contains(GROUP) {
            self.parsed.foreign += 1;
            return;
        }
        let found = resource::decode(text.as_bytes(), self.source);
        self.take(found, text, place);
    }

    fn take(&mut self, found: Result<Vec<Result<Observation, Rejection>>, Rejection>, text: &str, place: &str) {
        for one in found.unwrap_or_else(|rejection| vec![Err(rejection)]) {
            match one {
                Ok(observation) => self.document(observation),
                Err(rejection) if resource::is_foreign(&rejection) => self.parsed.foreign += 1,
                Err(rejection) => {
                    let rejection = Rejection::new(format!("{place}: {}", rejection.title), rejection.detail);
                    let Some((kind, namespace, name)) = resource::recognise(text) else {
                        self.error(rejection);
                        continue;
                    };
                    let own = format!("{}/{namespace}/{name}", kind.as_str());
                    let carrier = Carrier::Resource { kind, namespace, name: format!("{}#{own}", self.path) };
                    self.parsed.refused.push((own, carrier));
                    self.parsed.errors.push(rejection);
                }
            }
        }
    }

    fn document(&mut self, mut observation: Observation) {
        let Carrier::Resource { kind, namespace, name } = &mut observation.carrier else { return };
        let own = format!("{}/{namespace}/{name}", kind.as_str());
        *name = format!("{}#{own}", self.path);
        if let Said::Descriptor(said) = &mut observation.said
            && said.gitops_revision.is_none()
        {
            said.gitops_revision = self.revision.map(str::to_owned);
        }
        let fingerprint = keys::hash(|bytes| {
            bytes.extend_from_slice(format!("{observation:?}").as_bytes());
            bytes.extend_from_slice(self.revision.unwrap_or_default().as_bytes());
        });
        self.parsed.documents.push(Document { name: own, fingerprint, observation });
    }

    fn error(&mut self, rejection: Rejection) {
        self.parsed.unreadable = true;
        self.parsed.errors.push(rejection);
    }
}

/// The documents of a YAML text with the line each begins at: a line of `---` stands between them.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    let (mut start, mut first_line) = (0, 1);
    let mut at = 0;
    for (n, line) in text.split_inclusive('\n').enumerate() {
        let marks =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marks {
            all.push((first_line, &text[start..at]));
            // What follows the marker on its line belongs to the document.
            start = at + 3;
            first_line = n + 1;
        }
        at += line.len();
    }
    all.push((first_line, &text[start..]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECONCILER: &str = "apiVersion: hub.kalypso.io/v1alpha1\nkind: Reconciler\nmetadata:\n  name: r\nspec:\n  hostName: h\n  reconcilerName: f\n  reconcilerType: flux\n  manifestsEndpoint: https://h.x/o/r/dev/t\n";

    #[test]
    fn documents_of_other_kinds_are_counted_and_a_broken_one_hides_no_other() {
        let text = format!(
            "# head\n---\n{RECONCILER}--- # next\napiVersion: v1\nkind: Secret\n---\nbroken: [ {{{{ helm }}}}\n---\n{}---\n{}",
            RECONCILER.replace("name: r\n", "name: s\n"),
            RECONCILER.replace("hostName: h", "hostName: [")
        );
        let parsed = parse("a/b.yaml", text.as_bytes(), "directory", None);
        let names: Vec<&str> = parsed.documents.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["Reconciler//r", "Reconciler//s"]);
        assert_eq!(parsed.foreign, 3);
        assert_eq!(parsed.errors.len(), 1);
        assert!(
            parsed.errors[0].title.starts_with("document at line 27: not valid YAML"),
            "{}",
            parsed.errors[0].title
        );
        let Carrier::Resource { name, .. } = &parsed.documents[0].observation.carrier else { panic!("no resource") };
        assert_eq!(name, "a/b.yaml#Reconciler//r");
    }

    #[test]
    fn an_object_that_is_refused_is_still_recognised() {
        let wrong = RECONCILER.replace("hostName: h", "hostName: [h]");
        let parsed = parse("a.yaml", wrong.as_bytes(), "directory", None);
        assert_eq!((parsed.errors.len(), parsed.unreadable), (1, false));
        assert_eq!(parsed.refused[0].0, "Reconciler//r");
        let broken = RECONCILER.replace("hostName: h", "hostName: [");
        assert!(parse("a.yaml", broken.as_bytes(), "directory", None).unreadable);
    }

    #[test]
    fn json_arrays_lists_and_lines_are_read() {
        let one = |name: &str| {
            format!(
                r#"{{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{{"name":"{name}"}},"spec":{{"hostName":"h","reconcilerName":"f","reconcilerType":"flux","manifestsEndpoint":"e"}}}}"#
            )
        };
        let names = |path: &str, text: String| -> Vec<String> {
            let parsed = parse(path, text.as_bytes(), "directory", None);
            assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
            parsed.documents.into_iter().map(|d| d.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names("a.json", one("a")), ["a"]);
        assert_eq!(names("a.json", format!("[{},{{\"kind\":\"x\"}},{}]", one("a"), one("b"))), ["a", "b"]);
        assert_eq!(names("a.ndjson", format!("{}\n{}\n", one("a"), one("b"))), ["a", "b"]);
        let list = format!(r#"{{"kind":"List","items":[{},{}]}}"#, one("a"), one("b"));
        assert_eq!(names("a.json", list.clone()), ["a", "b"]);
        assert_eq!(names("a.yaml", list), ["a", "b"]);
        assert_eq!(parse("a.json", b"{\"apiVersion", "directory", None).errors.len(), 1);
    }
}
