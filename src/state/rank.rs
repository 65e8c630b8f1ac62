//! The tie rule for what a carrier says of several objects at one time (design §3.7).
//!
//! Invariant: ranks depend on what was said and on nothing else, so that every store breaks ties alike.

/// Orders what a carrier says of several objects at one time: status, then commit, then content (as a hash, the same in every
/// store). A commit weighs by its first characters, which tell commits apart.
pub(super) fn rank(status: u64, commit: &Option<String>, key: &[&str]) -> u64 {
    let commit = commit.as_deref().unwrap_or_default();
    let digits = commit.split_once(':').map_or(commit, |(_, digits)| digits);
    let weight = digits.bytes().chain(std::iter::repeat(0)).take(6).fold(0, |all, byte| all << 8 | u64::from(byte));
    let content = twox_hash::XxHash3_128::oneshot(key.join("\u{1f}").as_bytes()) >> 114;
    status << 62 | weight << 14 | content as u64
}
