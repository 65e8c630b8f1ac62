//! What a policy asks for besides counts: verifications, soak time, other environments first, no freeze.
//!
//! Invariant: a condition turns `complete` into `in_progress` or `failed` and never the other way round, and says when time
//! alone will meet it.

use hashbrown::HashMap;

use super::bucket::Range;
use super::held::Members;
use super::policy::in_words;
use super::status::{Answering, Case, DEPTH};
use super::{Asked, Clause, Question, Verdict};
use crate::model::{Micros, Outcome};

/// The verdict on a target, the clause it hangs on, and since when it has failed.
type Judged = (Verdict, Option<Clause>, Option<Micros>);

/// What verifications from outside say.
enum Verified {
    Passed,
    Waiting(Clause),
    Failed(Clause, Micros),
}

/// When the n-th of them was, or the last where there are fewer.
fn nth(mut times: Vec<Micros>, n: u64) -> Option<Micros> {
    let last = times.len().checked_sub(1)?;
    let n = usize::try_from(n.saturating_sub(1)).unwrap_or(last).min(last);
    Some(*times.select_nth_unstable(n).1)
}

/// A condition that is not met.
fn unmet(clause: &'static str, detail: String) -> Clause {
    Clause { clause, detail }
}

impl Answering<'_> {
    /// The verdict that follows from the counts and from the conditions.
    pub(super) fn judge(
        &mut self,
        case: &Case<'_>,
        range: &Range<'_>,
        (by_counts, clause): (Verdict, Option<Clause>),
        held_before: usize,
    ) -> Judged {
        let verified = self.verified(case);
        match by_counts {
            Verdict::Failed => {
                let since = self.failing_since(case, held_before);
                // It stands for as long as anything has failed it.
                let judged = if let Verified::Failed(_, at) = verified { Some(at) } else { None };
                return (by_counts, clause, since.into_iter().chain(judged).min());
            }
            Verdict::Superseded => return (by_counts, clause, None),
            // What failed outside fails the rollout, however far it has come.
            _ => {
                if let Verified::Failed(clause, at) = verified {
                    let verdict = if case.superseded { Verdict::Superseded } else { Verdict::Failed };
                    return (verdict, Some(clause), (verdict == Verdict::Failed).then_some(at));
                }
            }
        }
        if by_counts != Verdict::Complete {
            return (by_counts, clause, None);
        }
        let unmet = match verified {
            Verified::Waiting(clause) => Some(clause),
            _ => self.soak(case, range).or_else(|| self.after(case)).or_else(|| self.freeze(case)),
        };
        match unmet {
            None => (Verdict::Complete, None, None),
            Some(clause) if case.superseded => (Verdict::Superseded, Some(clause), None),
            Some(clause) => (Verdict::InProgress, Some(clause), None),
        }
    }

    /// What others must have found.
    fn verified(&self, case: &Case<'_>) -> Verified {
        if case.policy.verifications.is_empty() {
            return Verified::Passed;
        }
        let found = self.state.verifications_of(case.id, case.index);
        let start = case.target.assignments.list[case.index].start;
        let (mut failed, mut waiting): (Option<(Clause, Micros)>, Option<String>) = (None, None);
        for name in &case.policy.verifications {
            let said = found.iter().find(|v| v.name == name);
            match said.map(|v| (v.result, v)) {
                Some((Outcome::Passed, _)) => {}
                Some((Outcome::Failed, v)) => {
                    let more: Vec<&str> = v.message.into_iter().chain(v.link).collect();
                    let more = if more.is_empty() { String::new() } else { format!(": {}", more.join(" ")) };
                    // What was judged before, of an earlier rollout of the same, fails this one since it began.
                    let since = v.since.max(start);
                    failed = match failed {
                        Some((clause, at)) => Some((clause, at.min(since))),
                        None => Some((unmet("verifications", format!("{name} failed{more}")), since)),
                    };
                }
                Some((Outcome::Pending, _)) => waiting = waiting.or_else(|| Some(format!("{name} is pending"))),
                None => waiting = waiting.or_else(|| Some(format!("{name} has not been reported"))),
            }
        }
        if let Some((clause, since)) = failed {
            return Verified::Failed(clause, since);
        }
        waiting.map_or(Verified::Passed, |detail| Verified::Waiting(unmet("verifications", detail)))
    }

    /// Enough must have succeeded for a while.
    fn soak(&mut self, case: &Case<'_>, range: &Range<'_>) -> Option<Clause> {
        let soak = case.policy.soak;
        if soak == 0 {
            return None;
        }
        let since = self.enough_since(case, range);
        let until = since.plus(soak);
        if until <= self.now {
            return None;
        }
        self.due_at(until);
        let soak = in_words(soak);
        Some(unmet(
            "soak",
            format!("enough have succeeded since {since}, and that must stand for {soak}, until {until}"),
        ))
    }

    /// Since when as many as must have succeeded have done so, on as many hosts, without a failure in between.
    fn enough_since(&mut self, case: &Case<'_>, range: &Range<'_>) -> Micros {
        let start = range.assignment().start;
        let t = self.state.view();
        let mut times: Vec<Micros> = Vec::new();
        let mut hosts: HashMap<u32, Micros> = HashMap::new();
        for id in case.standings.succeeded.iter().flat_map(Members::iter) {
            let Some(r) = t.reconcilers.get(id) else { continue };
            t.walk(id, &mut self.walk);
            let since = range.good_since(&self.walk, r.now.endpoint).unwrap_or(r.now.since).max(start);
            times.push(since);
            hosts.entry(r.host).and_modify(|first| *first = since.min(*first)).or_insert(since);
        }
        let enough = nth(times, case.policy.wanted(&case.standings.buckets));
        enough.max(nth(hosts.into_values().collect(), case.policy.min_hosts)).unwrap_or(start)
    }

    /// The same source commit (or version, where nobody knows it) must be complete in other environments.
    fn after(&mut self, case: &Case<'_>) -> Option<Clause> {
        if self.depth >= DEPTH {
            return None;
        }
        let t = self.state.view();
        let version = t.versions.get(case.target.assignments.list[case.index].version)?;
        let asked = match t.some(version.source_commit) {
            Some(commit) => Asked::SourceCommit(commit.to_owned()),
            None => Asked::Version(t.text(version.version).to_owned()),
        };
        let own = |name: u32| vec![t.text(name).to_owned()];
        for environment in &case.policy.after {
            let question = Question {
                workspace: own(case.target.workspace),
                application: own(case.target.application),
                workload: own(case.target.workload),
                environment: vec![environment.clone()],
                ..Question::about(asked.clone())
            };
            let rules = self.rules.upstream();
            let mut first = Answering::new(self.state, &rules, self.now);
            first.depth = self.depth + 1;
            let answer = first.answer(&question);
            let (due, endpoints) = (first.due, std::mem::take(&mut first.endpoints));
            self.endpoints.extend(endpoints);
            if answer.verdict != Verdict::Complete {
                self.due_at(due);
                return Some(unmet("after", format!("it must be complete in {environment} first: {}", answer.reason)));
            }
        }
        None
    }

    /// Nothing is complete in a freeze.
    fn freeze(&mut self, case: &Case<'_>) -> Option<Clause> {
        let mut frozen = None;
        for window in &case.policy.freeze {
            let (now, next) = window.at(self.now);
            if let Some(next) = next {
                self.due_at(next);
            }
            if now && frozen.is_none() {
                let until = next.map(|at| format!(" until {at}")).unwrap_or_default();
                let why = window.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
                frozen = Some(unmet("freeze", format!("nothing may be promoted{until}{why}")));
            }
        }
        frozen
    }
}
