//! What somebody may have meant by a name that does not exist.
//!
//! Invariant: a name is suggested only when it is near, and comparing is bounded however long the names are.

/// The name most like `wanted`, if any is near.
pub fn nearest<'a, S: AsRef<str>>(wanted: &str, names: &'a [S]) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(64).collect();
    names
        .iter()
        .map(AsRef::as_ref)
        .map(|name| (edits(&wanted, &name.to_lowercase().chars().take(64).collect::<Vec<_>>()), name))
        .filter(|(edits, _)| *edits <= wanted.len() / 3 + 1)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_near_is_suggested_and_others_are_not() {
        let names = ["min_success", "min_hosts", "soak"];
        assert_eq!(nearest("min_sucess", &names), Some("min_success"));
        assert_eq!(nearest("SOAK", &names), Some("soak"));
        assert_eq!(nearest("verifications", &names), None);
    }
}
