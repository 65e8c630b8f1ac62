//! What a target's earlier rollouts tell: what was complete last, and how long it usually takes.
//!
//! Invariants: an assignment was complete when everybody who subscribed before it ended came there, and somebody to that very
//! version; it was so when the last of them did. Who is left out today held up nothing. Reading it looks into every subscriber's
//! history, so it is read in slices: whoever holds the state lets others in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::answer::{Answer, Eta, LastGood};
use super::bucket::{Range, subscribed};
use super::{Bucket, Hosts, Verdict};
use crate::model::Micros;
use crate::state::State;
use crate::state::labelled::Labelled;
use crate::state::standing::Heard;
use crate::state::target::Assignments;
use crate::state::walk::Walk;

/// Earlier assignments that are looked at, the newest ones.
const LOOKED_AT: usize = 12;
/// The percentile that "latest" stands for.
const LATE: usize = 90;

/// What the rollouts of a target before a certain one tell.
#[derive(Clone, Debug, Default)]
pub struct Past {
    last_good: Option<LastGood>,
    started_at: Micros,
    /// From assignment to completion, in microseconds, ascending.
    durations: Vec<i64>,
    /// Reconciler to the median of its times from assignment to success.
    usual: HashMap<u32, i64>,
}

/// One earlier assignment while it is read.
#[derive(Debug, Default)]
struct Earlier {
    index: usize,
    /// Somebody who was there has not come to it.
    open: bool,
    /// Somebody came to this very version.
    own: bool,
    completed_at: Option<Micros>,
}

/// Reads the past of one target in slices.
#[derive(Debug)]
pub struct PastReader {
    target: u32,
    asked: usize,
    assignments: Arc<Assignments>,
    earlier: Vec<Earlier>,
    times: HashMap<u32, Vec<i64>>,
    ids: Vec<u32>,
    walk: Walk,
}

impl PastReader {
    /// Begins to read what was before an assignment, on hosts with these labels; `None` when there is no such target any more.
    pub fn new(state: &State, target: u32, asked: usize, hosts: &Hosts) -> Option<PastReader> {
        let record = state.view().targets.get(target)?;
        let assignments = Arc::clone(&record.assignments);
        assignments.list.get(asked)?;
        let earlier = (0..asked).rev().filter(|i| assignments.list[*i].start < assignments.list[*i].end);
        let earlier: Vec<_> = earlier.take(LOOKED_AT).map(|index| Earlier { index, ..Earlier::default() }).collect();
        let mut labelled = Labelled::default();
        let on =
            |id: &u32| state.view().reconcilers.get(*id).is_some_and(|r| labelled.has(state.view(), r.host, hosts));
        let ids = match state.index().current(subscribed(record, asked)) {
            Some(subscribers) if !earlier.is_empty() && hosts.is_empty() => subscribers.ids().collect(),
            Some(subscribers) if !earlier.is_empty() => subscribers.ids().filter(on).collect(),
            _ => Vec::new(),
        };
        Some(PastReader { target, asked, assignments, earlier, times: HashMap::new(), ids, walk: Walk::default() })
    }

    /// Reads up to `n` histories; false when there are none left, or when the target is no longer what it was.
    pub fn read(&mut self, state: &State, n: usize) -> bool {
        let t = state.view();
        let record = t.targets.get(self.target).filter(|r| Arc::ptr_eq(&r.assignments, &self.assignments));
        let Some(record) = record else { return false };
        let oldest = self.earlier.last().map_or(self.asked, |e| e.index);
        let ranges = Range::several(t, record, oldest, self.asked);
        for id in self.ids.split_off(self.ids.len().saturating_sub(n)) {
            let Some(r) = t.reconcilers.get(id).filter(|r| r.now.alive()) else { continue };
            t.walk(id, &mut self.walk);
            let endpoint = r.now.endpoint;
            let came = self.walk.words.iter().filter(|w| w.endpoint == endpoint).map(|w| w.first).min();
            for e in &mut self.earlier {
                let range = &ranges[e.index - oldest];
                let a = &self.assignments.list[e.index];
                // Who came later says nothing about what was before.
                if came.is_none_or(|came| came >= a.end) {
                    continue;
                }
                let Some(at) = range.succeeded_at(&self.walk.words, endpoint) else {
                    e.open |= r.standing.heard != Heard::Unknown;
                    continue;
                };
                e.own |= range.succeeded_on(&self.walk.words, endpoint);
                e.completed_at = e.completed_at.max(Some(at.max(a.start)));
                self.times.entry(id).or_default().push(at.since(a.start).max(0));
            }
        }
        !self.ids.is_empty()
    }

    /// What was read.
    pub fn finish(self, state: &State) -> Past {
        let t = state.view();
        let complete = self.earlier.iter().filter(|e| !e.open && e.own);
        let complete: Vec<_> = complete.filter_map(|e| Some((e.index, e.completed_at?))).collect();
        let mut durations: Vec<i64> =
            complete.iter().map(|(i, at)| at.since(self.assignments.list[*i].start)).collect();
        durations.sort_unstable();
        let last_good = complete.first().map(|(i, at)| {
            let a = &self.assignments.list[*i];
            LastGood {
                version: t.version_text(a.version).to_owned(),
                commit: t.some(a.commit).map(str::to_owned),
                since: at.to_string(),
            }
        });
        let median = |mut times: Vec<i64>| {
            times.sort_unstable();
            quantile(&times, 50)
        };
        Past {
            last_good,
            started_at: self.assignments.list[self.asked].start,
            durations,
            usual: self.times.into_iter().map(|(id, times)| (id, median(times))).collect(),
        }
    }
}

/// The nearest-rank percentile of ordered times; 0 when there are none.
fn quantile(ordered: &[i64], percent: usize) -> i64 {
    let rank = (ordered.len() * percent).div_ceil(100).max(1);
    ordered.get(rank - 1).copied().unwrap_or(0)
}

impl Past {
    fn eta(&self) -> Option<Eta> {
        let n = self.durations.len();
        if n == 0 {
            return None;
        }
        let (p50, p90) = (quantile(&self.durations, 50), quantile(&self.durations, LATE));
        let past = if n == 1 { "the last rollout".to_owned() } else { format!("the last {n} rollouts") };
        Some(Eta {
            at: self.started_at.plus(p50).to_string(),
            latest: self.started_at.plus(p90).to_string(),
            p50_seconds: p50 as f64 / 1e6,
            p90_seconds: p90 as f64 / 1e6,
            rollouts: n as u64,
            basis: format!("median and {LATE}th percentile of {past} that were complete on this target"),
        })
    }
}

impl Answer {
    /// The targets whose past this answer should name: those that failed, stalled or are under way.
    pub fn wants_past(&self) -> Vec<(u32, usize)> {
        let wants = |v| matches!(v, Verdict::Failed | Verdict::Stalled | Verdict::InProgress);
        self.targets.iter().filter(|t| wants(t.verdict)).map(|t| t.key()).collect()
    }

    /// Names what the past tells: the last good version where it failed, the expected end where it is under way.
    pub fn recall(&mut self, pasts: &BTreeMap<(u32, usize), Arc<Past>>) {
        for target in &mut self.targets {
            let Some(past) = pasts.get(&target.key()) else { continue };
            match target.verdict {
                Verdict::Failed | Verdict::Stalled => target.last_good = past.last_good.clone(),
                // The past tells how long hosts take, not how long a soak, a freeze or people do.
                Verdict::InProgress if !target.waits_for_conditions() => target.eta = past.eta(),
                _ => {}
            }
        }
        for host in &mut self.hosts {
            let Some((target, reconciler)) = host.reconciler_id() else { continue };
            let past = pasts.iter().find(|((t, _), _)| *t == target).map(|(_, past)| past);
            let waits = matches!(host.bucket, Bucket::Behind | Bucket::InProgress | Bucket::Silent);
            let usual = past.filter(|_| waits).and_then(|p| p.usual.get(&reconciler));
            host.usual_seconds = usual.map(|micros| *micros as f64 / 1e6);
        }
        if let [one] = &self.targets[..] {
            self.last_good = one.last_good.clone();
        }
        let waiting = self.targets.iter().filter(|t| t.verdict == Verdict::InProgress);
        // One that nobody can foretell leaves the whole without an end.
        let etas: Option<Vec<&Eta>> = waiting.map(|t| t.eta.as_ref()).collect();
        if self.verdict == Verdict::InProgress {
            self.eta = etas.and_then(|e| e.into_iter().max_by(|a, b| a.at.cmp(&b.at)).cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were() {
        let times = [10, 20, 30, 40];
        assert_eq!((quantile(&times, 50), quantile(&times, 90)), (20, 40));
        assert_eq!((quantile(&[7], 50), quantile(&[7], 90), quantile(&[], 50)), (7, 7, 0));
    }
}
