//! What changed between two looks at a folder.
//!
//! Invariant: pure. A document is retired only when two successive looks miss it and its file did not change in between: a
//! file that is being written or replaced misses its documents for a moment, and what cannot be read misses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::document::{Document, Parsed};
use crate::model::{Carrier, CarrierKey, Observation, Said, When};
use crate::normalize::keys;

/// What one look found of a file.
#[derive(Clone, Debug)]
pub enum Found {
    /// It is as it was at the last look, and has been so for a while.
    Same,
    /// All of it was read.
    Documents(Vec<Document>),
    /// Part of it was refused or could not be read: nothing that is missing counts as gone.
    Broken {
        /// What was read.
        documents: Vec<Document>,
        /// What was recognised and refused: names and carriers.
        refused: Vec<(String, Carrier)>,
        /// Part of it was not even recognised, so that other objects may be in it.
        unreadable: bool,
    },
}

/// One look at the folder.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The files by their path below the folder.
    pub files: BTreeMap<String, Found>,
    /// False when a part of the folder could not be read: then no file counts as gone.
    pub complete: bool,
}

/// What a look changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New and changed documents, then deletions.
    pub observations: Vec<Observation>,
    /// Something was missed for the first time; the next look decides.
    pub fading: bool,
    /// Everything in the folder was read: what has no carrier here is gone.
    pub complete: bool,
}

/// What the last looks found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    files: BTreeMap<String, File>,
}

#[derive(Clone, Debug, Default)]
struct File {
    documents: HashMap<String, Known>,
    unreadable: bool,
    missed: bool,
}

#[derive(Clone, Debug)]
struct Known {
    carrier: Carrier,
    /// Of every statement on this object in the file; an import has many.
    fingerprints: HashSet<u128>,
    missed: bool,
}

impl From<Parsed> for Found {
    fn from(parsed: Parsed) -> Found {
        let Parsed { documents, refused, errors, unreadable, foreign: _ } = parsed;
        if errors.is_empty() { Found::Documents(documents) } else { Found::Broken { documents, refused, unreadable } }
    }
}

impl Scan {
    /// Takes a look in and gives what it changes.
    pub fn apply(&mut self, source: &str, look: Look) -> Changes {
        let mut changes = Changes { complete: look.complete, ..Changes::default() };
        let mut gone = Vec::new();
        for (path, file) in &mut self.files {
            if look.files.contains_key(path) || !look.complete {
                continue;
            }
            if file.missed {
                gone.extend(file.documents.drain().map(|(_, known)| known.carrier));
            }
            file.missed = true;
            changes.fading |= !file.documents.is_empty();
        }
        self.files.retain(|_, file| !file.missed || !file.documents.is_empty());
        for (path, found) in look.files {
            let file = self.files.entry(path).or_default();
            file.missed = false;
            match found {
                Found::Same => {
                    let faded = file.documents.extract_if(|_, known| known.missed);
                    gone.extend(faded.map(|(_, known)| known.carrier));
                }
                Found::Documents(documents) => {
                    file.unreadable = false;
                    let mut before = std::mem::take(&mut file.documents);
                    changes.observations.extend(take(&mut file.documents, &before, documents));
                    before.retain(|name, _| !file.documents.contains_key(name));
                    // A file that was just written may be half of what it will be: it must stay as it is first.
                    for (name, mut known) in before {
                        known.missed = true;
                        changes.fading = true;
                        file.documents.insert(name, known);
                    }
                }
                Found::Broken { documents, refused, unreadable } => {
                    file.unreadable = unreadable;
                    let before = file.documents.clone();
                    let mut now = HashMap::new();
                    changes.observations.extend(take(&mut now, &before, documents));
                    for (name, known) in now {
                        file.documents.insert(name, known);
                    }
                    for (name, carrier) in refused {
                        file.documents.entry(name).or_insert_with(|| Known {
                            carrier,
                            fingerprints: HashSet::new(),
                            missed: false,
                        });
                    }
                    file.documents.values_mut().for_each(|known| known.missed = false);
                }
            }
            changes.complete &= !file.unreadable;
        }
        changes.observations.extend(gone.into_iter().map(|carrier| Observation {
            source: source.to_owned(),
            carrier,
            when: When::default(),
            said: Said::Deleted(None),
        }));
        changes
    }

    /// The keys of all carriers that are in the folder, or were missed only once.
    pub fn carriers(&self, source: &str) -> HashSet<CarrierKey> {
        self.files
            .values()
            .flat_map(|file| file.documents.values())
            .filter_map(|known| match &known.carrier {
                Carrier::Resource { kind, namespace, name } => {
                    Some(keys::resource(source.trim(), *kind, namespace.trim(), name.trim()))
                }
                Carrier::Natural => None,
            })
            .collect()
    }
}

/// Files documents under their names and gives what the last look had not.
fn take(
    now: &mut HashMap<String, Known>,
    before: &HashMap<String, Known>,
    documents: Vec<Document>,
) -> Vec<Observation> {
    let mut new = Vec::new();
    for Document { name, fingerprint, observation } in documents {
        let known = before.get(&name).is_some_and(|known| known.fingerprints.contains(&fingerprint));
        now.entry(name)
            .or_insert_with(|| Known {
                carrier: observation.carrier.clone(),
                fingerprints: HashSet::new(),
                missed: false,
            })
            .fingerprints
            .insert(fingerprint);
        if !known {
            new.push(observation);
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::directory::document::parse;

    fn yaml(name: &str, message: &str) -> String {
        format!(
            "apiVersion: hub.kalypso.io/v1alpha1\nkind: Reconciler\nmetadata:\n  name: {name}\nspec:\n  hostName: h\n  reconcilerName: {name}\n  reconcilerType: flux\n  manifestsEndpoint: https://h.x/o/r/dev/t\n  deployment:\n    status: success\n    statusMessage: {message}\n---\n"
        )
    }

    fn documents(path: &str, text: &str) -> Found {
        let parsed = parse(path, text.as_bytes(), "directory", None);
        parsed.into()
    }

    fn look(files: &[(&str, Option<&str>)]) -> Look {
        let found = |(path, text): &(&str, Option<&str>)| {
            ((*path).to_owned(), text.map_or(Found::Same, |text| documents(path, text)))
        };
        Look { files: files.iter().map(found).collect(), complete: true }
    }

    fn shape(changes: &Changes) -> Vec<String> {
        changes
            .observations
            .iter()
            .map(|o| {
                let Carrier::Resource { name, .. } = &o.carrier else { panic!("no resource") };
                format!("{}{}", if matches!(o.said, Said::Deleted(_)) { "-" } else { "+" }, name)
            })
            .collect()
    }

    #[test]
    fn new_and_changed_documents_are_observed_and_unchanged_ones_are_not() {
        let mut scan = Scan::default();
        let (a, b) = (yaml("a", "x"), yaml("b", "x"));
        let first = scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{b}")))]));
        assert_eq!(shape(&first), ["+f.yaml#Reconciler//a", "+f.yaml#Reconciler//b"]);
        assert_eq!(scan.carriers("directory").len(), 2);
        let again = scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{b}")))]));
        assert!(again.observations.is_empty() && !again.fading && again.complete);
        let changed = scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{}", yaml("b", "y"))))]));
        assert_eq!(shape(&changed), ["+f.yaml#Reconciler//b"]);
        let back = scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{b}")))]));
        assert_eq!(shape(&back), ["+f.yaml#Reconciler//b"]);
    }

    #[test]
    fn a_document_is_gone_only_after_two_looks_without_it() {
        let mut scan = Scan::default();
        let (a, b) = (yaml("a", "x"), yaml("b", "x"));
        scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{b}"))), ("g.yaml", Some(&a))]));
        let once = scan.apply("directory", look(&[("f.yaml", Some(&a))]));
        assert!(once.observations.is_empty() && once.fading);
        assert_eq!(scan.carriers("directory").len(), 3);
        let twice = scan.apply("directory", look(&[("f.yaml", None)]));
        let mut gone = shape(&twice);
        gone.sort();
        assert_eq!(gone, ["-f.yaml#Reconciler//b", "-g.yaml#Reconciler//a"]);
        assert!(!twice.fading);
        assert!(scan.apply("directory", look(&[("f.yaml", None)])).observations.is_empty());
        assert_eq!(scan.carriers("directory").len(), 1);
    }

    #[test]
    fn a_file_that_is_being_written_deletes_nothing() {
        let mut scan = Scan::default();
        let (a, b) = (yaml("a", "x"), yaml("b", "x"));
        let whole = format!("{a}{b}");
        scan.apply("directory", look(&[("f.yaml", Some(&whole))]));
        for half in ["", &whole[..60], a.as_str()] {
            let changes = scan.apply("directory", look(&[("f.yaml", Some(half))]));
            assert!(changes.observations.is_empty(), "{half:?}");
            let changes = scan.apply("directory", look(&[("f.yaml", Some(&whole))]));
            assert!(changes.observations.is_empty() && !changes.fading, "{half:?}");
        }
        let broken = scan.apply("directory", look(&[("f.yaml", Some(&whole[..60]))]));
        assert!(!broken.complete);
        for _ in 0..3 {
            let still = scan.apply("directory", look(&[("f.yaml", None)]));
            assert!(still.observations.is_empty() && !still.complete);
        }
        assert_eq!(scan.carriers("directory").len(), 2);
    }

    #[test]
    fn a_refused_document_keeps_what_it_said_and_is_there() {
        let mut scan = Scan::default();
        let (a, b) = (yaml("a", "x"), yaml("b", "x"));
        scan.apply("directory", look(&[("f.yaml", Some(&format!("{a}{b}")))]));
        let refused =
            format!("{}{}", b.replace("hostName: h", "hostName: [h]"), yaml("c", "x").replace("spec:", "spic:"));
        for text in [Some(refused.as_str()), None, None] {
            let changes = scan.apply("directory", look(&[("f.yaml", text)]));
            assert!(changes.observations.is_empty() && changes.complete && !changes.fading);
        }
        assert_eq!(scan.carriers("directory").len(), 3);
    }

    #[test]
    fn a_look_at_half_the_folder_deletes_nothing() {
        let mut scan = Scan::default();
        scan.apply("directory", look(&[("f.yaml", Some(&yaml("a", "x")))]));
        for _ in 0..3 {
            assert!(scan.apply("directory", Look::default()).observations.is_empty());
        }
        assert_eq!(scan.carriers("directory").len(), 1);
    }

    #[test]
    fn a_moved_head_observes_all_documents_again() {
        let mut scan = Scan::default();
        let text = yaml("a", "x");
        let at = |head: &str| Look {
            files: [(
                "f.yaml".to_owned(),
                Found::Documents(parse("f.yaml", text.as_bytes(), "directory", Some(head)).documents),
            )]
            .into(),
            complete: true,
        };
        assert_eq!(scan.apply("directory", at("main@sha1:1")).observations.len(), 1);
        assert_eq!(scan.apply("directory", at("main@sha1:1")).observations.len(), 0);
        assert_eq!(scan.apply("directory", at("main@sha1:2")).observations.len(), 1);
    }
}
