//! Stable hashes: the key of a carrier and the identity of a statement.
//!
//! Invariant: keys are part of the stored format. Every text is preceded by its length, so that no two lists of texts give
//! the same bytes; the order of the texts and the tags never change.

use std::cell::RefCell;

use twox_hash::XxHash3_128;

use crate::model::{CarrierKey, ResourceKind, Verification};

/// The key of a custom resource (or listed row) of a source.
pub fn resource(source: &str, kind: ResourceKind, namespace: &str, name: &str) -> CarrierKey {
    carrier(source, kind.as_str(), &[namespace, name])
}

/// The key of a target that is declared without a resource.
pub fn target(source: &str, key: [&str; 5]) -> CarrierKey {
    carrier(source, "descriptor", &key)
}

/// The key of a reconciler that reports without a resource.
pub fn reconciler(source: &str, host: &str, reconciler: &str) -> CarrierKey {
    carrier(source, "reconciler", &[host, reconciler])
}

/// The key of a host that is declared without a resource.
pub fn host(source: &str, name: &str) -> CarrierKey {
    carrier(source, "host", &[name])
}

/// The key of one who watches a branch.
pub fn watcher(source: &str, watcher: &str) -> CarrierKey {
    carrier(source, "watcher", &[watcher])
}

/// The key of one verification of one subject.
pub fn verification(source: &str, v: &Verification) -> CarrierKey {
    let (kind, subject) = v.subject.parts();
    let [a, b, c, d, e] = v.selectors.each_ref().map(|name| name.as_deref().unwrap_or_default());
    carrier(source, "verification", &[&v.name, kind, subject, a, b, c, d, e])
}

fn carrier(source: &str, tag: &str, texts: &[&str]) -> CarrierKey {
    CarrierKey(hash(|bytes| {
        text(bytes, source);
        text(bytes, tag);
        for part in texts {
            text(bytes, part);
        }
    }))
}

/// Hashes what `write` puts into a buffer of this thread.
pub(crate) fn hash(write: impl FnOnce(&mut Vec<u8>)) -> u128 {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        write(buffer);
        XxHash3_128::oneshot(buffer)
    })
}

/// Appends a text with its length.
pub(super) fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Appends a text that may be absent; absent and empty differ.
pub(super) fn optional(bytes: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => text(bytes, value),
        None => bytes.extend_from_slice(&u64::MAX.to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_do_not_run_together_and_kinds_differ() {
        assert_ne!(reconciler("push", "ab", "c"), reconciler("push", "a", "bc"));
        assert_ne!(host("push", "x"), host("pus", "hx"));
        assert_ne!(
            resource("push", ResourceKind::Cluster, "", "x"),
            resource("push", ResourceKind::Reconciler, "", "x")
        );
    }

    #[test]
    fn keys_are_part_of_the_stored_format() {
        assert_eq!(host("push", "cl-1"), host("push", "cl-1"));
        assert_eq!(format!("{:032x}", host("push", "cl-1").0), "d6cca71c27dce6d3cc5c4d3a66d15f75");
    }
}
