//! Trimming: what reconcilers said before a time goes, but for what the present hangs on.
//!
//! Invariants: a history is cut only where the rest says the same as before of what is so now, of the last word on every commit, and
//! of every transition and deployment from the cut on; it is read both ways, and left as it is where it does not. The transition and
//! the deployment in force at the time stay, however old they are.

use std::ops::Range;

use hashbrown::HashMap;

use super::State;
use super::dropped::{Dropped, OldWord, Open};
use super::fold::WHY;
use super::history::{History, Statement};
use super::standing::Standing;
use super::tables::{ReconcilerRecord, Tables, Window};
use super::walk::{Walk, Word};
use crate::model::Micros;

/// Places that are tried for one cut: where the rest means something else, what began it stays too.
const TRIES: usize = 8;

/// The two readings of one history.
#[derive(Debug, Default)]
pub struct Trimmer {
    whole: Walk,
    rest: Walk,
}

/// A history that was trimmed.
#[derive(Debug)]
pub struct Trimmed {
    id: u32,
    history: History,
    /// How many statements are not in it any more.
    went: usize,
}

impl State {
    /// From now on what was said before `window.since` is not kept.
    pub fn set_window(&mut self, seq: u64, window: Window) {
        match self.tables.window.get_mut(0, seq) {
            Some(known) => *known = window,
            None => _ = self.tables.window.push(window, seq),
        }
    }

    /// The histories of some reconcilers as they are when they are trimmed to the window; of those that are not trimmed, none. Where
    /// `archived` is given only what is in it goes: it is what is kept elsewhere.
    pub fn trim(
        &self,
        ids: Range<u32>,
        window: Window,
        archived: Option<&Tables>,
        trimmer: &mut Trimmer,
    ) -> Vec<Trimmed> {
        let known = ids.map_while(|id| Some((id, self.tables.reconcilers.get(id)?)));
        known.filter_map(|(id, r)| self.trimmed(id, r, window, archived, trimmer)).collect()
    }

    /// Puts trimmed histories in the place of whole ones, which say the same; gives how many statements went.
    pub fn put_trimmed(&mut self, seq: u64, histories: Vec<Trimmed>) -> usize {
        let mut all = 0;
        for Trimmed { id, history, went } in histories {
            self.tables.reconcilers.get_mut(id, seq).expect(WHY).history = history;
            all += went;
        }
        all
    }

    /// Drops what is known of the silence of hosts before a time, but for what was so at it.
    pub fn forget_silences(&mut self, seq: u64, before: Micros) {
        for id in 0..self.tables.hosts.len() as u32 {
            let over = self.tables.hosts.get(id).map_or(0, |h| h.silences.partition_point(|e| e.at < before));
            if over > 1 {
                self.tables.hosts.get_mut(id, seq).expect(WHY).silences.drain(..over - 1);
            }
        }
    }

    fn trimmed(
        &self,
        id: u32,
        r: &ReconcilerRecord,
        window: Window,
        archived: Option<&Tables>,
        trimmer: &mut Trimmer,
    ) -> Option<Trimmed> {
        let old = |s: Statement| s.first < window.since;
        let forgets = r.history.dropped().is_some_and(|d| d.iter().any(|o| o.word.last < window.forgotten));
        if !r.history.iter().nth(1).is_some_and(old) && !forgets {
            return None;
        }
        let Trimmer { whole, rest } = trimmer;
        self.tables.walk(id, whole);
        let statements: Vec<Statement> = r.history.iter().collect();
        let safe = match archived {
            None => statements.len(),
            // What came since the archive was written is not in it.
            Some(tables) => {
                let kept = tables.reconcilers.get(id).filter(|other| other.history.dropped() == r.history.dropped())?;
                kept.history.iter().zip(&statements).take_while(|(a, b)| a == *b).count()
            }
        };
        let standing = |r: &ReconcilerRecord, walk: &Walk| {
            Standing::read(&self.tables, r, walk, self.heard(r.host), &mut Vec::new())
        };
        let before = standing(r, whole);
        for cut in cuts(whole, window.since) {
            let from = statements.partition_point(|s| s.first < cut);
            let Some(next) = statements.get(from) else { continue };
            if from > safe || (from == 0 && !forgets) {
                continue;
            }
            let dropped = self.dropped((id, r), &statements[..from], next.first, whole, window, rest);
            let mut other = r.clone();
            other.history = History::since(dropped, &statements[from..]);
            rest.read(&other.history, &self.tables.dead_times(id, &other));
            if means_the_same(whole, rest, window) && standing(&other, rest) == before {
                return Some(Trimmed { id, history: other.history, went: from });
            }
        }
        None
    }

    /// What is left of the first statements, up to a time; `walk` is a place to read them.
    fn dropped(
        &self,
        (id, r): (u32, &ReconcilerRecord),
        statements: &[Statement],
        cut: Micros,
        whole: &Walk,
        window: Window,
        walk: &mut Walk,
    ) -> Dropped {
        walk.begin(&r.history);
        walk.statements(statements.iter().copied(), &self.tables.dead_times(id, r));
        let order = order(r, statements);
        let ran = |o: &OldWord| order.get(&(o.word.endpoint, o.word.commit)).copied();
        let mut words: Vec<OldWord> = walk.words.iter().map(|word| summary(*word, walk)).collect();
        words.iter_mut().for_each(|o| o.ran = ran(o).is_some());
        words.sort_by_key(ran);
        let runs = |o: &OldWord| [whole.now.attempted, whole.now.applied].contains(&o.word.commit);
        let spoken_of =
            |o: &OldWord| whole.word_on(o.word.endpoint, o.word.commit).is_some_and(|w| w.last >= window.forgotten);
        words.retain(|o| spoken_of(o) || runs(o));
        let ended = walk.deployments.len();
        // Whether the last one goes on is seen where everything is read.
        let last = ended.checked_sub(1).and_then(|last| whole.deployments.get(last));
        let open = last.filter(|d| d.end > cut).map(|d| Open {
            endpoint: d.endpoint,
            commit: d.commit,
            start: d.start,
            rolled_back: d.rolled_back,
        });
        let ended = ended - usize::from(open.is_some());
        Dropped {
            first: r.history.first_report().unwrap_or_default(),
            cut,
            deployments: walk.old_deployments + ended as u32,
            open,
            known: walk.known.clone(),
            ..Dropped::default()
        }
        .with(&words)
    }
}

/// Where a history may be cut, best first: the start of the transition in force at a time, then of the deployment, then of those before.
fn cuts(whole: &Walk, at: Micros) -> impl Iterator<Item = Micros> {
    let transition = whole.transitions.iter().rev().map(|t| t.reported_at).find(|start| *start < at);
    let deployments = whole.deployments.iter().rev().map(|d| d.start).filter(move |start| *start < at);
    transition.into_iter().chain(deployments.take(TRIES))
}

/// In which order commits ran last, by endpoint and commit.
fn order(r: &ReconcilerRecord, statements: &[Statement]) -> HashMap<(u32, u32), usize> {
    let before = r.history.dropped().into_iter().flat_map(Dropped::iter).filter(|o| o.ran);
    let before = before.map(|o| (o.word.endpoint, o.word.commit));
    let said = statements.iter().filter(|s| !s.gone).filter_map(|s| Some((s.endpoint, s.runs()?)));
    before.chain(said).enumerate().map(|(nth, commit)| (commit, nth)).collect()
}

/// A word, with what is known of the deployments of its commit.
fn summary(word: Word, walk: &Walk) -> OldWord {
    let this = (word.endpoint, word.commit);
    let before = walk.old.iter().find(|o| (o.word.endpoint, o.word.commit) == this);
    let mut all = OldWord {
        word,
        deployed: before.and_then(|o| o.deployed),
        rolled_back: before.is_some_and(|o| o.rolled_back),
        ran: false,
    };
    for d in walk.deployments.iter().filter(|d| (d.endpoint, d.commit) == this) {
        let (first, last) = all.deployed.unwrap_or((d.start, d.start));
        all.deployed = Some((first.min(d.start), last.max(d.start)));
        all.rolled_back |= d.rolled_back;
    }
    all
}

/// The words of a history, in an order that does not hang on what was dropped.
fn sorted(walk: &Walk) -> impl Iterator<Item = &Word> {
    let mut words: Vec<&Word> = walk.words.iter().collect();
    words.sort_by_key(|w| (w.endpoint, w.commit));
    words.into_iter()
}

/// Whether the rest of a history says what the whole says.
fn means_the_same(whole: &Walk, rest: &Walk, window: Window) -> bool {
    let kept = |w: &&Word| w.last >= window.forgotten || [whole.now.attempted, whole.now.applied].contains(&w.commit);
    let ends_with = |whole: usize, rest: usize| whole.checked_sub(rest);
    let transitions = ends_with(whole.transitions.len(), rest.transitions.len());
    let deployments = ends_with(whole.deployments.len(), rest.deployments.len());
    rest.now == whole.now
        && transitions.is_some_and(|n| whole.transitions[n..] == rest.transitions[..])
        && deployments.is_some_and(|n| {
            whole.deployments[n..] == rest.deployments[..]
                && whole.old_deployments as usize + n == rest.old_deployments as usize
        })
        && sorted(whole).filter(kept).eq(sorted(rest).filter(kept))
        && whole.known == rest.known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Liveness;
    use crate::state::host::{HostRecord, LivenessEntry};

    #[test]
    fn what_a_host_was_at_the_time_stays() {
        let mut state = State::new();
        let mut host = HostRecord::new(1, Micros(0));
        let entry = |at, liveness| LivenessEntry { at: Micros(at), liveness };
        host.silences = vec![entry(1, Liveness::Late), entry(5, Liveness::Silent), entry(9, Liveness::Online)];
        state.tables.hosts.push(host, 1);
        let left =
            |state: &State| state.tables.hosts.get(0).unwrap().silences.iter().map(|e| e.at.0).collect::<Vec<_>>();
        state.forget_silences(2, Micros::MIN);
        assert_eq!(left(&state), [1, 5, 9]);
        state.forget_silences(2, Micros(6));
        assert_eq!(left(&state), [5, 9], "it was silent at 6");
        state.forget_silences(2, Micros(100));
        assert_eq!(left(&state), [9]);
    }
}
