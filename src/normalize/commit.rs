//! Commits in one spelling: `sha1:<40 hex>`, whatever Flux, Argo CD, Azure or a pipeline wrote.
//!
//! Invariant: the canonical form is its own canonical form, so that it may be normalised again anywhere (queries, imports).

use regex::Regex;
use std::sync::LazyLock;

/// A revision taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Branch, tag or other ref the source named with the commit; empty when it named none.
    pub reference: String,
    /// The commit in normal form; `None` when there is none.
    pub commit: Option<String>,
}

/// Digest algorithms with the length of their hexadecimal form.
const ALGORITHMS: [(&str, usize); 5] = [("sha1", 40), ("sha256", 64), ("sha384", 96), ("sha512", 128), ("blake3", 64)];

/// The normal form of a commit in any spelling; `None` when the text names none.
///
/// Text that is no digest (a chart version, an image tag) is an opaque commit and stays as it is.
pub fn commit(raw: &str) -> Option<String> {
    split(raw).map(|(_, canonical)| canonical)
}

/// The ref part and the normal form of a revision in any spelling.
pub fn revision(raw: &str) -> Revision {
    match split(raw) {
        Some((reference, canonical)) => Revision { reference: reference.to_owned(), commit: Some(canonical) },
        None => Revision::default(),
    }
}

/// The commit a message speaks of: `Applied revision: main@sha1:…`, `stored artifact for revision 'main/<sha>'`.
pub fn in_message(message: &str) -> Option<String> {
    static DIGEST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})\b").expect("the pattern is constant and valid")
    });
    static LEGACY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?i)/([0-9a-f]{64}|[0-9a-f]{40})\b").expect("the pattern is constant and valid"));
    if let Some(found) = DIGEST.find(message) {
        return commit(found.as_str());
    }
    LEGACY.captures(message).and_then(|c| c.get(1)).and_then(|hex| commit(hex.as_str()))
}

fn split(raw: &str) -> Option<(&str, String)> {
    let text = strip(raw);
    if text.is_empty() {
        return None;
    }
    // Branch names may hold `@` and `/`: the commit is what follows the last one.
    if let Some((before, after)) = text.rsplit_once('@')
        && let Some(canonical) = prefixed(after)
    {
        return Some((reference(before), canonical));
    }
    if let Some(canonical) = prefixed(text) {
        return Some(("", canonical));
    }
    if let Some((before, after)) = text.rsplit_once('/')
        && let Some(canonical) = bare(after)
    {
        return Some((reference(before), canonical));
    }
    if let Some(canonical) = bare(text) {
        return Some(("", canonical));
    }
    // An abbreviated commit is still hexadecimal, where case means nothing.
    if text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(("", text.to_ascii_lowercase()));
    }
    Some(("", text.to_owned()))
}

/// White space and quotes around a value are never part of it.
fn strip(raw: &str) -> &str {
    raw.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`'))
}

/// `algo:hex` of a known algorithm.
fn prefixed(text: &str) -> Option<String> {
    let (algorithm, hex) = text.split_once(':')?;
    let known = ALGORITHMS.iter().any(|(name, _)| algorithm.eq_ignore_ascii_case(name));
    (known && is_hex(hex)).then(|| text.to_ascii_lowercase())
}

/// A full digest without its algorithm: the length tells which it is.
fn bare(text: &str) -> Option<String> {
    let algorithm = match text.len() {
        40 => "sha1:",
        64 => "sha256:",
        _ => return None,
    };
    is_hex(text).then(|| {
        let mut canonical = String::with_capacity(algorithm.len() + text.len());
        canonical.push_str(algorithm);
        canonical.push_str(text);
        canonical.make_ascii_lowercase();
        canonical
    })
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A ref is what stands last before the commit: `Applied revision: main` is `main`, and a detached `HEAD` is none.
fn reference(text: &str) -> &str {
    let last = strip(text).rsplit(char::is_whitespace).next().map(strip).unwrap_or_default();
    let last = last.strip_prefix("refs/heads/").unwrap_or(last);
    if last == "HEAD" { "" } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA1: &str = "530af36eb38818ff7c4a8840f2068998ec8ec065";
    const SHA256: &str = "55609ff9d959589ed917ce32e6bc0f0a36809565f308602c15c3668965979edc";

    #[test]
    fn every_spelling_of_a_commit_has_one_normal_form_and_gives_its_ref() {
        let sha1 = format!("sha1:{SHA1}");
        let sha256 = format!("sha256:{SHA256}");
        let cases = [
            (format!("dev-gray@sha1:{SHA1}"), "dev-gray", sha1.as_str()),
            (format!("refs/pull/420/head@sha1:{SHA1}"), "refs/pull/420/head", &sha1),
            (format!("refs/heads/main@sha1:{SHA1}"), "main", &sha1),
            (format!("feature/a@b@sha1:{SHA1}"), "feature/a@b", &sha1),
            (format!("main/{SHA1}"), "main", &sha1),
            (format!("feature/x/{SHA1}"), "feature/x", &sha1),
            (SHA1.to_owned(), "", &sha1),
            (SHA1.to_uppercase(), "", &sha1),
            (format!("SHA1:{}", SHA1.to_uppercase()), "", &sha1),
            (format!("  'main@sha1:{SHA1}' "), "main", &sha1),
            (format!("HEAD/{SHA1}"), "", &sha1),
            (format!("tag/{SHA256}"), "tag", &sha256),
            (SHA256.to_owned(), "", &sha256),
            (sha256.clone(), "", &sha256),
            (format!("latest@sha256:{SHA256}"), "latest", &sha256),
            ("latest@sha256:3b6c".to_owned(), "latest", "sha256:3b6c"),
            ("6.5.4".to_owned(), "", "6.5.4"),
            ("1.2.3+0123456789ab".to_owned(), "", "1.2.3+0123456789ab"),
            ("0BA6F0D".to_owned(), "", "0ba6f0d"),
            (format!("Applied revision: main@sha1:{SHA1}"), "main", &sha1),
        ];
        for (raw, reference, canonical) in cases {
            let found = revision(&raw);
            assert_eq!(found.commit.as_deref(), Some(canonical), "{raw}");
            assert_eq!(found.reference, reference, "{raw}");
        }
        for nothing in ["", "  ", "''"] {
            assert_eq!(revision(nothing), Revision::default());
        }
    }

    #[test]
    fn a_commit_is_found_inside_a_message() {
        let sha1 = format!("sha1:{SHA1}");
        for message in [
            format!("Applied revision: master/{SHA1}"),
            format!("'Applied revision: master/{SHA1}'"),
            format!("stored artifact for revision 'main@sha1:{SHA1}'"),
            format!("Fetched revision: feature/a@b@sha1:{}", SHA1.to_uppercase()),
        ] {
            assert_eq!(in_message(&message).as_deref(), Some(sha1.as_str()), "{message}");
        }
        assert_eq!(in_message("Reconciliation in progress"), None);
        assert_eq!(in_message("sha1:123"), None);
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_commit_is_its_own_normal_form(raw in "(\\PC{0,12}|[a-zA-Z/@:' ]{0,10})(sha1:|SHA256:|@|/)?([0-9a-fA-F]{40}|[0-9a-f]{64}|[0-9a-fA-F]{0,9})") {
            if let Some(canonical) = commit(&raw) {
                let again = commit(&canonical);
                prop_assert_eq!(again.as_deref(), Some(canonical.as_str()));
            }
        }

        #[test]
        fn no_text_is_too_strange_for_a_commit(raw in any::<String>()) {
            let _ = revision(&raw);
            let _ = in_message(&raw);
        }

        #[test]
        fn the_ref_in_front_does_not_change_the_commit(branch in "[a-z]{1,8}(/[a-z@]{1,8})?", hex in "[0-9a-f]{40}") {
            let canonical = Some(format!("sha1:{hex}"));
            prop_assert_eq!(commit(&format!("{branch}@sha1:{hex}")), canonical.clone());
            prop_assert_eq!(commit(&format!("{branch}/{hex}")), canonical.clone());
            prop_assert_eq!(commit(&hex), canonical);
        }
    }
}
