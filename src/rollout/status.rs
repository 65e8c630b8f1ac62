//! Answers a question: which targets are meant, what the buckets hold, and what follows from the policy.
//!
//! Invariant: what an answer costs does not grow with the hosts. Reconcilers are judged by groups that stand alike, and only
//! the few that are named are looked at one by one; a policy that picks hosts by their labels is the one exception.

use std::collections::BTreeMap;

use hashbrown::HashSet;

use super::bucket::{Range, Stand};
use super::depends::Depends;
use super::held::{Held, Members, NAMED, named};
use super::policy::{Hosts, Policy, SilentPolicy};
use super::{Answer, Bucket, Buckets, Clause, Freshness, LeftOut, Links, Question, Rules, TargetAnswer, Verdict};
use crate::model::{Liveness, Micros};
use crate::state::State;
use crate::state::labelled::Labelled;
use crate::state::target::TargetRecord;
use crate::state::walk::Walk;

/// The span in which a report counts as fresh.
const FRESH: i64 = 300 * 1_000_000;
/// How far "complete there first" is followed.
pub(super) const DEPTH: u8 = 4;

/// An answer, and what tells when to ask again.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The answer.
    pub answer: Answer,
    /// What it depends on.
    pub depends: Depends,
}

/// The state of a rollout.
pub fn status(state: &State, question: &Question, rules: &Rules, now: Micros) -> Answer {
    evaluate(state, question, rules, now).answer
}

/// The same, with what tells when to ask again.
pub fn evaluate(state: &State, question: &Question, rules: &Rules, now: Micros) -> Evaluation {
    let mut answering = Answering::new(state, rules, now);
    let answer = answering.answer(question);
    let due = (answering.due != Micros::MAX).then_some(answering.due);
    Evaluation { answer, depends: Depends::new(state, answering.endpoints, due) }
}

/// An answer in the making.
pub(super) struct Answering<'a> {
    pub(super) state: &'a State,
    pub(super) rules: &'a Rules,
    pub(super) now: Micros,
    pub(super) walk: Walk,
    pub(super) held: Vec<Held<'a>>,
    left_out: Vec<Held<'a>>,
    pub(super) due: Micros,
    pub(super) endpoints: Vec<u32>,
    pub(super) depth: u8,
    labelled: Labelled,
    heard: u64,
    oldest: Micros,
}

/// The reconcilers of one target, by where they stand.
#[derive(Default)]
pub(super) struct Standings<'a> {
    pub(super) buckets: Buckets,
    left_out: u64,
    pub(super) succeeded: Vec<Members<'a>>,
    /// The newest change of a bucket.
    changed: Option<Micros>,
}

/// A target's answer, its policy, and whether its failure has stood for long enough.
pub(super) type Judged = (TargetAnswer, Policy, bool);

/// What is known of a target before the policy is asked.
pub(super) struct Case<'a> {
    pub(super) target: &'a TargetRecord,
    pub(super) id: u32,
    pub(super) index: usize,
    pub(super) policy: Policy,
    pub(super) standings: Standings<'a>,
    pub(super) superseded: bool,
}

impl<'a> Answering<'a> {
    pub(super) fn new(state: &'a State, rules: &'a Rules, now: Micros) -> Answering<'a> {
        Answering {
            state,
            rules,
            now,
            walk: Walk::default(),
            held: Vec::new(),
            left_out: Vec::new(),
            due: Micros::MAX,
            endpoints: Vec::new(),
            depth: 0,
            labelled: Labelled::default(),
            heard: 0,
            oldest: Micros::MAX,
        }
    }

    /// Time alone may change the answer then.
    pub(super) fn due_at(&mut self, at: Micros) {
        if at > self.now {
            self.due = self.due.min(at);
        }
    }

    /// The answers of the targets that know what is asked about; an error is the answer where there are none.
    pub(super) fn targets(&mut self, question: &Question) -> Result<Vec<Judged>, (Verdict, String)> {
        let mut targets = question.targets(self.state);
        let t = self.state.view();
        let sees = |id: &u32| t.targets.get(*id).is_some_and(|r| self.rules.sees.sees_workspace(t.text(r.workspace)));
        targets.retain(sees);
        if targets.is_empty() {
            let reason = format!("Nothing is described for {}.", question.selectors_in_words());
            return Err((Verdict::NoTargets, reason));
        }
        let asked: Vec<(u32, (usize, Option<u32>))> =
            targets.iter().filter_map(|id| Some((*id, question.asked.on(self.state, *id)?))).collect();
        if asked.is_empty() {
            let on = if targets.len() == 1 {
                "the matching target".to_owned()
            } else {
                format!("any of the {} matching targets", targets.len())
            };
            return Err((Verdict::UnknownCommit, format!("{} is not known on {on}.", question.asked)));
        }
        Ok(asked.into_iter().map(|(id, (index, from))| self.target(id, index, from)).collect())
    }

    pub(super) fn answer(&mut self, question: &Question) -> Answer {
        let mut judged = match self.targets(question) {
            Ok(judged) => judged,
            Err((verdict, reason)) => {
                let policy = self.rules.policy(&[""; 5]);
                return self.whole(verdict, reason, policy, false, Vec::new());
            }
        };
        let verdict = judged.iter().map(|(t, ..)| t.verdict).min().unwrap_or(Verdict::NoTargets);
        let is_final = match verdict {
            Verdict::Complete | Verdict::Superseded => true,
            Verdict::Failed => judged.iter().any(|(.., stood)| *stood),
            _ => false,
        };
        judged.sort_by_key(|(t, ..)| t.verdict);
        let policy = judged.first().map(|(_, policy, _)| policy.clone()).unwrap_or_default();
        let targets: Vec<TargetAnswer> = judged.into_iter().map(|(t, ..)| t).collect();
        let reason = reason_of(&targets, verdict);
        self.whole(verdict, reason, policy, is_final, targets)
    }

    fn whole(
        &mut self,
        verdict: Verdict,
        reason: String,
        policy: Policy,
        is_final: bool,
        mut targets: Vec<TargetAnswer>,
    ) -> Answer {
        let mut buckets = Buckets::default();
        targets.iter().for_each(|t| buckets.join(&t.buckets));
        let total = buckets.total();
        let left_out = LeftOut {
            total: targets.iter().map(|t| t.left_out).sum(),
            hosts: named(self.state.view(), std::mem::take(&mut self.left_out)),
        };
        targets.truncate(NAMED);
        Answer {
            verdict,
            is_final,
            reason,
            failing_clause: targets.first().and_then(|t| t.failing_clause.clone()),
            total,
            buckets,
            hosts: named(self.state.view(), std::mem::take(&mut self.held)),
            left_out,
            freshness: self.freshness(total),
            policy,
            eta: None,
            last_good: None,
            as_of: self.now.to_string(),
            links: Links::default(),
            targets,
        }
    }

    fn freshness(&self, of: u64) -> Freshness {
        // Who is left out may have been heard, where a class is taken for unknown so early.
        let heard = self.heard.min(of);
        Freshness {
            heard,
            of,
            within_seconds: FRESH as u64 / 1_000_000,
            oldest_reported_at: (self.oldest != Micros::MAX).then(|| self.oldest.to_string()),
            text: format!("{heard} of {of} heard from in the last {} min", FRESH / 60_000_000),
        }
    }

    fn target(&mut self, id: u32, index: usize, from: Option<u32>) -> Judged {
        let t = self.state.view();
        let target = t.targets.get(id).expect("the target was just found in the same table");
        let (in_force, current) =
            target.assignments.in_force().expect("only targets with something in force are asked about");
        let names = [target.workspace, target.application, target.workload, target.environment, target.name];
        let names = names.map(|n| t.text(n));
        let policy = self.rules.policy(&names);
        let range = Range::new(t, target, index, from);
        let held_before = self.held.len();
        let standings = self.standings(id, current.endpoint, &range, &policy.hosts);
        let (buckets, left_out) = (standings.buckets, standings.left_out);
        let a = range.assignment();
        let unchanged_since = standings.changed.map_or(a.start, |at| at.max(a.start));
        let success_hosts = self.hosts_up_to(&standings.succeeded, policy.min_hosts);
        let superseded = in_force != index;
        let (by_counts, clause) = policy.verdict(&buckets, success_hosts, superseded, self.now.since(unchanged_since));
        if by_counts == Verdict::InProgress && buckets.total() > 0 {
            self.due_at(unchanged_since.plus(policy.stall_after));
        }
        let case = Case { target, id, index, policy, standings, superseded };
        let (verdict, clause, failed_since) = self.judge(&case, &range, (by_counts, clause), held_before);
        let stood = failed_since.is_some_and(|since| {
            let until = since.plus(case.policy.failure_grace);
            self.due_at(until);
            until <= self.now
        });
        let newer: usize =
            self.held[held_before..].iter().filter(|h| h.note == Some("newer_commit")).map(|h| h.members.len()).sum();
        let began = from.or((a.commit != 0).then_some(a.commit));
        let commit = began.map(|c| t.text(c)).or(range.first.map(|p| p.commit));
        let counts = Counts { buckets: &buckets, newer, left_out };
        let reason = reason(verdict, by_counts, &counts, t.version_text(current.version), clause.as_ref());
        let [workspace, application, workload, environment, deployment_target] = names.map(str::to_owned);
        let answer = TargetAnswer {
            workspace,
            application,
            workload,
            environment,
            deployment_target,
            version: Some(t.version_text(a.version).to_owned()),
            commit: commit.map(str::to_owned),
            verdict,
            reason,
            failing_clause: clause,
            policy: case.policy.name.clone(),
            total: buckets.total(),
            buckets,
            left_out,
            started_at: Some(a.start.to_string()),
            failed_since: failed_since.map(|at| at.to_string()),
            eta: None,
            last_good: None,
            key: (id, index),
        };
        (answer, case.policy, stood)
    }

    /// Where everybody stands who subscribes to a target or is expected on it.
    fn standings(&mut self, id: u32, endpoint: u32, range: &Range<'_>, hosts: &Hosts) -> Standings<'a> {
        let (t, index) = (self.state.view(), self.state.index());
        let mut found = Standings::default();
        let mut one_by_one = Vec::new();
        // Every policy chooses hosts of its own.
        self.labelled = Labelled::default();
        self.endpoints.push(endpoint);
        if let Some(subscribers) = index.current(endpoint) {
            if hosts.is_empty() {
                found.changed = subscribers.last_change();
                self.heard += subscribers.heard_since(self.now.plus(-FRESH));
                self.oldest = subscribers.oldest_report().map_or(self.oldest, |at| at.min(self.oldest));
            }
            for (standing, group) in subscribers.groups() {
                let members = if hosts.is_empty() {
                    Members::Group(group)
                } else {
                    Members::Listed(self.picked(group.ids().iter().copied(), hosts, standing.alive, &mut found.changed))
                };
                match range.stand(standing) {
                    Some(stand) => self.sort(id, stand, members, &mut found),
                    None => one_by_one.extend(members.iter()),
                }
            }
        }
        let mut alike: BTreeMap<Stand, Vec<u32>> = BTreeMap::new();
        for reconciler in one_by_one {
            let Some(r) = t.reconcilers.get(reconciler) else { continue };
            alike.entry(range.stand_of(reconciler, r, &mut self.walk)).or_default().push(reconciler);
        }
        for (stand, ids) in alike {
            self.sort(id, stand, Members::Listed(ids), &mut found);
        }
        let missing = t.targets.get(id).map(|target| index.expectations().missing(id, target));
        let missing = missing.into_iter().flatten().filter(|host| self.labelled.has(t, *host, hosts));
        let unknown = |host: &u32| t.hosts.get(*host).is_some_and(|h| h.liveness() == Liveness::Unknown);
        let (unknown, missing): (Vec<u32>, Vec<u32>) = missing.partition(unknown);
        for (left_out, hosts) in [(false, missing), (true, unknown)] {
            let stand = Stand { bucket: Bucket::NeverReported, note: None, left_out };
            self.sort(id, stand, Members::Listed(hosts), &mut found);
        }
        found
    }

    fn sort(&mut self, target: u32, stand: Stand, members: Members<'a>, found: &mut Standings<'a>) {
        let Stand { bucket, note, left_out } = stand;
        if members.len() == 0 {
            return;
        }
        if left_out {
            found.left_out += members.len() as u64;
            self.left_out.push(Held { target, bucket, note, members });
            return;
        }
        found.buckets.add(bucket, members.len() as u64);
        match bucket {
            Bucket::Success => found.succeeded.push(members),
            Bucket::Retired => {}
            _ => self.held.push(Held { target, bucket, note, members }),
        }
    }

    /// Those on hosts with certain labels; what the subscribers as a whole know of times is read off them one by one.
    fn picked(
        &mut self,
        ids: impl Iterator<Item = u32>,
        hosts: &Hosts,
        alive: bool,
        changed: &mut Option<Micros>,
    ) -> Vec<u32> {
        let t = self.state.view();
        let mut picked = Vec::new();
        for id in ids {
            let Some(r) = t.reconcilers.get(id).filter(|r| self.labelled.has(t, r.host, hosts)) else {
                continue;
            };
            if alive {
                *changed = (*changed).max(Some(r.now.since));
                self.heard += u64::from(r.now.reported_at >= self.now.plus(-FRESH));
                self.oldest = self.oldest.min(r.now.reported_at);
            }
            picked.push(id);
        }
        picked
    }

    /// How many hosts these reconcilers are on; no more than `enough` are counted.
    fn hosts_up_to(&self, succeeded: &[Members<'_>], enough: u64) -> u64 {
        let t = self.state.view();
        let mut hosts: HashSet<u32> = HashSet::new();
        for r in succeeded.iter().flat_map(Members::iter).filter_map(|id| t.reconcilers.get(id)) {
            if hosts.len() as u64 >= enough {
                break;
            }
            hosts.insert(r.host);
        }
        hosts.len() as u64
    }

    /// Since when there have been more failures than the policy allows, by the times of those that fail now.
    pub(super) fn failing_since(&self, case: &Case<'_>, held_before: usize) -> Option<Micros> {
        let t = self.state.view();
        let over = usize::try_from(case.policy.max_failures).unwrap_or(usize::MAX);
        let mut times: Vec<Micros> = Vec::new();
        for h in &self.held[held_before..] {
            match (h.bucket, &h.members) {
                // A group has its times in order: no more of them are of interest than the policy allows.
                (Bucket::Failure, Members::Group(group)) => {
                    let each = group.since().flat_map(|(at, n)| std::iter::repeat_n(at, n as usize));
                    times.extend(each.take(over.saturating_add(1)));
                }
                (Bucket::Failure, listed) => {
                    times.extend(listed.iter().filter_map(|id| t.reconcilers.get(id)).map(|r| r.now.since));
                }
                (Bucket::Silent, members) if case.policy.silent == SilentPolicy::Fail => {
                    let since = |host: u32| t.hosts.get(host)?.silences.last().map(|s| s.at);
                    let silent = members.iter().filter_map(|id| t.reconcilers.get(id));
                    times.extend(silent.map(|r| since(r.host).unwrap_or(r.now.since)));
                }
                _ => {}
            }
        }
        if over >= times.len() {
            return None;
        }
        let (_, at, _) = times.select_nth_unstable(over);
        Some((*at).max(case.target.assignments.list[case.index].start))
    }
}

fn reason_of(targets: &[TargetAnswer], verdict: Verdict) -> String {
    match targets {
        [one] => one.reason.clone(),
        _ if verdict == Verdict::Complete => {
            let succeeded: u64 = targets.iter().map(|t| t.buckets.success).sum();
            let total: u64 = targets.iter().map(|t| t.total).sum();
            format!("All {} targets are complete: {succeeded} of {total} reconcilers succeeded.", targets.len())
        }
        _ => {
            let worst = targets.iter().find(|t| t.verdict == verdict);
            let n = targets.iter().filter(|t| t.verdict == verdict).count();
            let first = worst.map_or(String::new(), |t| {
                format!(" {} {} {}: {}", t.environment, t.workload, t.deployment_target, t.reason)
            });
            format!("{n} of {} targets {}.{first}", targets.len(), be(verdict, n))
        }
    }
}

fn be(verdict: Verdict, n: usize) -> String {
    let word = verdict.as_str().replace('_', " ");
    match verdict {
        Verdict::Failed | Verdict::Stalled => word,
        _ if n == 1 => format!("is {word}"),
        _ => format!("are {word}"),
    }
}

/// What a reason counts.
struct Counts<'a> {
    buckets: &'a Buckets,
    /// Those that try a newer commit.
    newer: usize,
    left_out: u64,
}

fn reason(verdict: Verdict, by_counts: Verdict, counts: &Counts<'_>, current: &str, clause: Option<&Clause>) -> String {
    let Counts { buckets: b, newer, left_out } = *counts;
    let left_out = match left_out {
        0 => String::new(),
        n => format!("; {n} left out, not heard for long and of a class that need not report"),
    };
    if b.total() == 0 {
        return match verdict {
            Verdict::Superseded => {
                format!("Version {current} is wanted by now; nobody subscribes to this target{left_out}.")
            }
            _ if left_out.is_empty() => "Nobody subscribes to this target.".to_owned(),
            _ => format!("Nobody who counts subscribes to this target{left_out}."),
        };
    }
    let parts: Vec<String> = [
        (b.failure, "failed"),
        (b.in_progress, "in progress"),
        (b.behind, "behind"),
        (b.silent, "silent"),
        (b.never_reported, "never reported"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    let mut rest = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    if newer > 0 {
        let try_it = if newer == 1 { "is trying" } else { "are trying" };
        rest.push_str(&format!("; {newer} of them {try_it} a newer commit"));
    }
    let counts = format!("{} of {} reconcilers succeeded{rest}{left_out}", b.success, b.total());
    match (verdict, clause) {
        (Verdict::Superseded, _) => format!("Version {current} is wanted by now; {counts}."),
        (Verdict::Stalled, _) => format!("Nothing has changed for too long; {counts}."),
        // The counts would do: it hangs on something else.
        (_, Some(clause)) if verdict != by_counts => format!("{counts}; {}.", clause.detail),
        _ => format!("{counts}."),
    }
}
