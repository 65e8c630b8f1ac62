//! What earlier rollouts of a target tell, kept for as long as nothing about it moved.
//!
//! Invariant: a past is read in slices, so that no writer waits long, and takes a bounded share of the time however often it is
//! asked for: while it moves, one that was dear to read is read again only after many times as long.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::hub::Hub;
use crate::access::Restriction;
use crate::rollout::{Answer, Hosts, Past, PastReader, subscribed};
use crate::state::State;
use crate::state::target::Assignments;

/// Histories read under one lock.
const SLICE: usize = 256;
/// A past rests so many times as long as it took to read, …
const REST: u32 = 20;
/// … and so long where only reports have come since: they make the next past, and hardly change this one.
const REPORTS_REST: Duration = Duration::from_secs(5);
/// Targets of one answer whose past is told.
const TARGETS: usize = 20;
/// Pasts kept; beyond, all are forgotten.
const KEPT: usize = 16_384;

/// A target, and the number of the assignment asked about.
type Key = (u32, usize);

/// The pasts that are known, by the hosts that whoever asks sees: what others did is none of his past.
#[derive(Debug, Default)]
pub(super) struct Pasts(Mutex<HashMap<(Key, Hosts), Known>>);

#[derive(Clone, Debug)]
struct Known {
    past: Arc<Past>,
    /// What was wanted on the target when it was read.
    assignments: Arc<Assignments>,
    moves: u64,
    read_at: Instant,
    took: Duration,
}

impl Hub {
    /// An answer with what the past tells: the last good version, the expected end.
    pub async fn recall(self: &Arc<Hub>, mut answer: Answer, sees: &Arc<Restriction>) -> Answer {
        let mut keys = answer.wants_past();
        keys.truncate(TARGETS);
        if keys.is_empty() {
            return answer;
        }
        let mut pasts: BTreeMap<Key, Arc<Past>> = BTreeMap::new();
        let missing: Vec<Key> = keys
            .into_iter()
            .filter(|key| match self.known_past(*key, &sees.hosts) {
                Some(past) => pasts.insert(*key, past).is_some(),
                None => true,
            })
            .collect();
        if !missing.is_empty() {
            let (hub, sees) = (Arc::clone(self), Arc::clone(sees));
            let read = move || {
                let of = |key| Some((key, hub.read_past(key, &sees.hosts)?));
                missing.into_iter().filter_map(of).collect::<Vec<_>>()
            };
            // A panic is in the log, and leaves the answer without a past.
            pasts.extend(tokio::task::spawn_blocking(read).await.unwrap_or_default());
        }
        answer.recall(&pasts);
        answer
    }

    fn known_past(&self, key: Key, hosts: &Hosts) -> Option<Arc<Past>> {
        let known = self.pasts().0.lock().get(&(key, hosts.clone())).cloned()?;
        let age = known.read_at.elapsed();
        if age < known.took * REST {
            return Some(known.past);
        }
        let (assignments, moved) = self.read(|state| moves(state, key))?;
        let stands = Arc::ptr_eq(&assignments, &known.assignments) && (moved == known.moves || age < REPORTS_REST);
        stands.then_some(known.past)
    }

    fn read_past(&self, key: Key, hosts: &Hosts) -> Option<Arc<Past>> {
        let begun = Instant::now();
        let (assignments, moves) = self.read(|state| moves(state, key))?;
        let mut reader = self.read(|state| PastReader::new(state, key.0, key.1, hosts))?;
        while self.read(|state| reader.read(state, SLICE)) {}
        let past = Arc::new(self.read(|state| reader.finish(state)));
        let known =
            Known { past: Arc::clone(&past), assignments, moves, read_at: Instant::now(), took: begun.elapsed() };
        let mut all = self.pasts().0.lock();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert((key, hosts.clone()), known);
        Some(past)
    }
}

/// What is wanted on a target, and how much moved so far that a past depends on.
fn moves(state: &State, (target, index): Key) -> Option<(Arc<Assignments>, u64)> {
    let record = state.view().targets.get(target).filter(|r| index < r.assignments.list.len())?;
    let subscribers = state.index().current(subscribed(record, index)).map_or(0, |s| s.moves());
    // Both only grow, so their sum is the same only when each of them is.
    Some((Arc::clone(&record.assignments), state.index().desired_moves() + subscribers))
}
