//! Where a reconciler stands at its endpoint, in as few words as the gate needs (design §5, §8).
//!
//! Invariants: a pure function of the tables; two reconcilers with equal standings at one endpoint are in the same bucket
//! of every question that a standing can decide. Commits and not places are kept, so a log may move its places for as long
//! as their order stays.

use crate::model::{Liveness, Status};

use super::tables::{Place, ReconcilerRecord, Tables};
use super::walk::Walk;

/// Whether a host is heard, as far as the gate asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// It is, or it is late at most.
    #[default]
    Lately,
    /// It is silent.
    Silent,
    /// It is not, and need not be.
    Unknown,
}

impl From<Liveness> for Heard {
    fn from(liveness: Liveness) -> Heard {
        match liveness {
            Liveness::Online | Liveness::Late | Liveness::Retired => Heard::Lately,
            Liveness::Silent => Heard::Silent,
            Liveness::Unknown => Heard::Unknown,
        }
    }
}

/// What the bucket of a reconciler depends on; the default is that of a retired one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Standing {
    /// Commit applied; 0 when unknown.
    pub applied: u32,
    /// Commit attempted; 0 when unknown.
    pub attempted: u32,
    /// Of the commits on which its last word is success: the latest in the log of its endpoint that is not after what runs; 0 when none.
    pub proven: u32,
    /// Status now.
    pub status: Status,
    /// Last word on the applied commit.
    pub applied_word: Status,
    /// Last word on the attempted commit.
    pub attempted_word: Status,
    /// Whether its host is heard.
    pub heard: Heard,
    /// It lives.
    pub alive: bool,
}

impl Standing {
    /// Reads the standing off a walked history. `unplaced` receives the commits whose place, once known, may change it.
    pub fn read(t: &Tables, r: &ReconcilerRecord, walk: &Walk, heard: Heard, unplaced: &mut Vec<u32>) -> Standing {
        let now = &walk.now;
        if !now.alive() {
            return Standing::default();
        }
        let word = |commit| walk.word_on(now.endpoint, commit).map_or(now.status, |w| w.status);
        let applied_word = word(now.applied);
        let attempted_word = if now.attempted == now.applied { applied_word } else { word(now.attempted) };
        Standing {
            applied: now.applied,
            attempted: now.attempted,
            proven: proven(t, r, walk, applied_word, unplaced),
            status: now.status,
            applied_word,
            attempted_word,
            heard,
            alive: true,
        }
    }
}

fn proven(t: &Tables, r: &ReconcilerRecord, walk: &Walk, applied_word: Status, unplaced: &mut Vec<u32>) -> u32 {
    let now = &walk.now;
    // A log that nobody watches places nothing; its first commit concerns everybody, so they need not be noted one by one.
    let Some(log) = t.home_log(now.endpoint).filter(|log| t.logs.get(*log).is_some_and(|l| l.placed() > 0)) else {
        return 0;
    };
    let runs = if now.applied == 0 { None } else { t.place(log, now.applied) };
    if runs.is_some() && applied_word == Status::Success {
        return now.applied;
    }
    let limit = runs.or_else(|| t.last_placed(log, now.endpoint, r));
    let mut latest: Option<(Place<'_>, u32)> = None;
    for word in walk.words.iter().filter(|w| w.endpoint == now.endpoint) {
        let Some(place) = t.place(log, word.commit) else {
            unplaced.push(word.commit);
            continue;
        };
        let counts = word.status == Status::Success && limit.is_some_and(|l| place <= l);
        if counts && latest.is_none_or(|(p, _)| p < place) {
            latest = Some((place, word.commit));
        }
    }
    latest.map_or(0, |(_, commit)| commit)
}
