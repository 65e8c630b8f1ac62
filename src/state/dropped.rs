//! What is left of the statements that were dropped from a history: the last word on each commit, and no more.
//!
//! Invariants: a history without what it dropped, and with this, says the same of what is so now, of every last word, and of all that
//! happened since (see [`super::trim`], which makes sure); `iter` gives what `with` was given.

use crate::ledger::record::{Decode, Encode};
use crate::model::{Micros, Status};

use super::packed::{put, put_time, take, take_time};
use super::walk::Word;

/// What was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Dropped {
    /// Time of the first statement.
    pub first: Micros,
    /// Time of the first statement that was kept: what comes late of a time before it stands among what was dropped, and nobody knows
    /// where.
    pub cut: Micros,
    /// How many deployments had ended.
    pub deployments: u32,
    /// The one that had not.
    pub open: Option<Open>,
    /// Each endpoint that was reported, with the commits attempted and applied there last (name ids).
    pub known: Vec<(u32, u32, u32)>,
    pub(super) words: Vec<u8>,
}

/// A deployment that was under way when the statements were dropped that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// Endpoint id.
    pub endpoint: u32,
    /// Attempted commit (name id).
    pub commit: u32,
    /// Start.
    pub start: Micros,
    /// The commit had been deployed before, with another in between.
    pub rolled_back: bool,
}

/// A last word, and what is known of the deployments of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldWord {
    /// The word.
    pub word: Word,
    /// Starts of the first and the last deployment; `None` where it never was attempted.
    pub deployed: Option<(Micros, Micros)>,
    /// One of them was a rollback.
    pub rolled_back: bool,
    /// The commit was applied.
    pub ran: bool,
}

const SAME_ENDPOINT: u8 = 1 << 2;
const DEPLOYED: u8 = 1 << 3;
/// The first word, and the only deployment, began at one time.
const AT_ONCE: u8 = 1 << 4;
const ROLLED_BACK: u8 = 1 << 5;
const SUCCEEDED: u8 = 1 << 6;
const RAN: u8 = 1 << 7;

impl Dropped {
    /// With these words.
    pub fn with(self, words: &[OldWord]) -> Dropped {
        let mut bytes = Vec::new();
        let mut before: Option<&OldWord> = None;
        for old in words {
            push(&mut bytes, old, before);
            before = Some(old);
        }
        bytes.shrink_to_fit();
        Dropped { words: bytes, ..self }
    }

    /// The last words; those of commits that ran in the order in which they ran last.
    pub fn iter(&self) -> impl Iterator<Item = OldWord> {
        let mut bytes = self.words.as_slice();
        let mut before = None;
        std::iter::from_fn(move || {
            before = pop(&mut bytes, before.as_ref());
            before
        })
    }
}

fn push(out: &mut Vec<u8>, old: &OldWord, before: Option<&OldWord>) {
    let OldWord { word, deployed, rolled_back, ran } = old;
    let since = word.first.0;
    let same_endpoint = before.is_some_and(|b| b.word.endpoint == word.endpoint);
    let at_once = *deployed == Some((word.first, word.first));
    let succeeded = word.succeeded_at != Micros::MAX;
    let mut flags = word.status as u8;
    for (set, flag) in [
        (same_endpoint, SAME_ENDPOINT),
        (deployed.is_some(), DEPLOYED),
        (at_once, AT_ONCE),
        (*rolled_back, ROLLED_BACK),
        (succeeded, SUCCEEDED),
        (*ran, RAN),
    ] {
        if set {
            flags |= flag;
        }
    }
    out.push(flags);
    put_time(out, since.wrapping_sub(before.map_or(0, |b| b.word.first.0)));
    put_time(out, word.last.0.wrapping_sub(since));
    put(out, u64::from(word.commit));
    put(out, u64::from(word.message));
    if !same_endpoint {
        put(out, u64::from(word.endpoint));
    }
    if let Some((first, last)) = deployed.filter(|_| !at_once) {
        put_time(out, first.0.wrapping_sub(since));
        put_time(out, last.0.wrapping_sub(since));
    }
    if succeeded {
        put_time(out, word.succeeded_at.0.wrapping_sub(since));
    }
}

fn pop(bytes: &mut &[u8], before: Option<&OldWord>) -> Option<OldWord> {
    let (&flags, rest) = bytes.split_first()?;
    *bytes = rest;
    let is = |flag| flags & flag != 0;
    let since = before.map_or(0, |b| b.word.first.0).wrapping_add(take_time(bytes)?);
    let last = since.wrapping_add(take_time(bytes)?);
    let (commit, message) = (take(bytes)? as u32, take(bytes)? as u32);
    let endpoint = if is(SAME_ENDPOINT) { before?.word.endpoint } else { take(bytes)? as u32 };
    let after = |bytes: &mut &[u8]| Some(Micros(since.wrapping_add(take_time(bytes)?)));
    let deployed = match (is(DEPLOYED), is(AT_ONCE)) {
        (false, _) => None,
        (true, true) => Some((Micros(since), Micros(since))),
        (true, false) => Some((after(bytes)?, after(bytes)?)),
    };
    let succeeded_at = if is(SUCCEEDED) { after(bytes)? } else { Micros::MAX };
    let word = Word {
        endpoint,
        commit,
        status: Status::from_u8(flags & 3),
        first: Micros(since),
        last: Micros(last),
        message,
        succeeded_at,
    };
    Some(OldWord { word, deployed, rolled_back: is(ROLLED_BACK), ran: is(RAN) })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn packing_keeps_every_word(raw in proptest::collection::vec(
            (0i64..1_000_000_000_000, 0i64..5_000_000, 1u32..400, 0u32..300, 0u32..3, proptest::option::of((0i64..3, 0i64..9)),
             proptest::bool::ANY, proptest::option::of(0i64..9), 0u8..4), 0..40)) {
            let words: Vec<OldWord> = raw.iter().map(|&(first, span, commit, message, endpoint, deployed, rolled_back, succeeded, status)| OldWord {
                word: Word {
                    endpoint, commit, message, status: Status::from_u8(status), first: Micros(first), last: Micros(first + span),
                    succeeded_at: succeeded.map_or(Micros::MAX, |s| Micros(first + s)),
                },
                deployed: deployed.map(|(a, b)| (Micros(first + a), Micros(first + a + b))),
                rolled_back,
                ran: rolled_back != (commit % 2 == 0),
            }).collect();
            let dropped = Dropped::default().with(&words);
            proptest::prop_assert_eq!(dropped.iter().collect::<Vec<_>>(), words);
        }
    }
}
