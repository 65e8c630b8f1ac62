//! Stable text ids: a hash of the natural key, so that a rebuild or an import gives the same.

use std::fmt::Write as _;

use twox_hash::XxHash3_128;

/// The id of the object of this kind with this natural key: 32 hex digits.
///
/// The parts are joined with a byte that no name holds, so that ("a", "bc") and ("ab", "c") differ.
pub fn id(kind: &str, parts: &[&str]) -> String {
    let mut text = String::with_capacity(32);
    let _ = write!(text, "{:032x}", hash(kind, parts));
    text
}

/// The hash behind [`id`].
pub fn hash(kind: &str, parts: &[&str]) -> u128 {
    let mut key = String::with_capacity(kind.len() + parts.iter().map(|p| p.len() + 1).sum::<usize>());
    key.push_str(kind);
    for part in parts {
        key.push('\0');
        key.push_str(part);
    }
    XxHash3_128::oneshot(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_kind_and_key_only_and_never_change() {
        assert_eq!(id("host", &["a"]), id("host", &["a"]));
        assert_ne!(id("reconciler", &["a", "bc"]), id("reconciler", &["ab", "c"]));
        assert_ne!(id("host", &["a"]), id("environment", &["a"]));
        assert_eq!(id("host", &["edge-1"]).len(), 32);
    }
}
