//! Answers a question: which targets are meant, what the buckets hold, and what follows from the policy.
//!
//! Invariant: what an answer costs does not grow with the hosts. Reconcilers are judged by groups that stand alike, and only
//! the few that are named are looked at one by one.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashSet;

use crate::model::{ManifestsSaid, Micros};
use crate::normalize;
use crate::state::walk::Walk;
use crate::state::{State, Tables};

use super::bucket::{Range, Stand};
use super::{Answer, Asked, Bucket, Buckets, Freshness, HoldsUp, Policy, Question, TargetAnswer, Verdict};

/// Hosts and targets named in an answer.
const NAMED: usize = 100;

/// The span in which a report counts as fresh.
const FRESH: i64 = 300 * 1_000_000;

/// The state of a rollout.
pub fn status(state: &State, question: &Question, policy: &Policy, now: Micros) -> Answer {
    let mut answer =
        Answering { state, policy, now, walk: Walk::default(), held: Vec::new(), heard: 0, oldest: Micros::MAX };
    let targets = matching(state, question);
    if targets.is_empty() {
        return answer.nothing(Verdict::NoTargets, no_targets(question));
    }
    let asked: Vec<(u32, usize, Option<u32>)> =
        targets.iter().filter_map(|id| asked_on(state, *id, &question.asked).map(|(i, from)| (*id, i, from))).collect();
    if asked.is_empty() {
        let reason = format!(
            "{} {} on {}.",
            describe(&question.asked),
            "is not known",
            plural(targets.len(), "matching target")
        );
        return answer.nothing(Verdict::UnknownCommit, reason);
    }
    let mut per_target: Vec<TargetAnswer> = asked.iter().map(|(id, i, from)| answer.target(*id, *i, *from)).collect();
    let mut buckets = Buckets::default();
    for t in &per_target {
        buckets.join(&t.buckets);
    }
    let verdict = per_target.iter().map(|t| t.verdict).min().unwrap_or(Verdict::NoTargets);
    let reason = reason_of(&per_target, verdict, &buckets);
    per_target.truncate(NAMED);
    let total = buckets.total();
    Answer {
        verdict,
        reason,
        total,
        buckets,
        freshness: answer.freshness(total),
        hosts: answer.named(),
        policy: policy.clone(),
        targets: per_target,
    }
}

fn no_targets(question: &Question) -> String {
    let parts = [
        ("workspace", &question.workspace),
        ("application", &question.application),
        ("workload", &question.workload),
        ("environment", &question.environment),
        ("deployment target", &question.deployment_target),
        ("manifests endpoint", &question.manifests_endpoint),
    ];
    let named: Vec<String> = parts.iter().filter_map(|(what, v)| v.as_ref().map(|v| format!("{what} {v}"))).collect();
    format!("Nothing is described for {}.", if named.is_empty() { "any target".to_owned() } else { named.join(", ") })
}

fn describe(asked: &Asked) -> String {
    match asked {
        Asked::Version(v) => format!("Version {v}"),
        Asked::Commit(c) => format!("Commit {c}"),
        Asked::SourceCommit(c) => format!("Source commit {c}"),
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("the {what}") } else { format!("any of the {n} {what}s") }
}

/// Living targets that the selectors mean.
fn matching(state: &State, q: &Question) -> Vec<u32> {
    let (t, index) = (state.view(), state.index());
    // A name that was never seen matches nothing.
    let id = |want: &Option<String>| want.as_deref().map(|name| index.name(t, name).unwrap_or(u32::MAX));
    let wanted = [&q.environment, &q.workload, &q.deployment_target, &q.application, &q.workspace].map(id);
    let endpoints = q.manifests_endpoint.as_deref().map(|raw| endpoints(state, raw));
    let mut candidates: Vec<u32> = match (&wanted, &endpoints) {
        ([Some(environment), Some(workload), ..], _) => index.targets_of(*workload, *environment).to_vec(),
        (_, Some(endpoints)) => endpoints.iter().flat_map(|e| index.targets_at(*e)).copied().collect(),
        _ => (0..t.targets.len() as u32).collect(),
    };
    candidates.retain(|id| {
        t.targets.get(*id).is_some_and(|r| {
            let names = [r.environment, r.workload, r.name, r.application, r.workspace];
            let at = r.assignments.in_force().map(|(_, a)| a.endpoint);
            wanted.iter().zip(names).all(|(want, is)| want.is_none_or(|w| w == is))
                && at.is_some_and(|at| endpoints.as_ref().is_none_or(|e| e.contains(&at)))
        })
    });
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}

/// The endpoints a spelling can mean, of any storage type.
pub(super) fn endpoints(state: &State, raw: &str) -> Vec<u32> {
    let said = ManifestsSaid::Endpoint { storage_type: String::new(), endpoint: raw.to_owned() };
    let Ok(place) = normalize::endpoint(said) else { return Vec::new() };
    let t = state.view();
    let Some(canonical) = state.index().name(t, &place.endpoint.canonical) else { return Vec::new() };
    t.endpoints.iter().filter(|(_, e)| e.canonical == canonical).map(|(id, _)| id).collect()
}

/// The assignment asked about on a target, and the commit to start from when a commit was asked about.
fn asked_on(state: &State, id: u32, asked: &Asked) -> Option<(usize, Option<u32>)> {
    let t = state.view();
    let all = &t.targets.get(id)?.assignments;
    let latest = |matches: &dyn Fn(u32) -> bool| all.list.iter().rposition(|a| matches(a.version));
    match asked {
        Asked::Version(version) => Some((latest(&|v| t.version_text(v) == version)?, None)),
        Asked::SourceCommit(raw) => {
            let commit = state.index().name(t, &normalize::commit(raw)?)?;
            Some((latest(&|v| t.versions.get(v).is_some_and(|v| v.source_commit == commit))?, None))
        }
        Asked::Commit(raw) => {
            let commit = state.index().name(t, &normalize::commit(raw)?)?;
            let (_, in_force) = all.in_force()?;
            let logs = std::iter::once(in_force.log).chain(all.list.iter().rev().map(|a| a.log));
            logs.filter_map(|log| t.cover(all, log, commit)).next().map(|i| (i, Some(commit)))
        }
    }
}

fn rank(bucket: Bucket) -> u8 {
    match bucket {
        Bucket::Failure => 0,
        Bucket::Silent => 1,
        Bucket::NeverReported => 2,
        Bucket::Behind => 3,
        Bucket::InProgress => 4,
        Bucket::Success | Bucket::Retired => 5,
    }
}

fn reason_of(targets: &[TargetAnswer], verdict: Verdict, buckets: &Buckets) -> String {
    match targets {
        [one] => one.reason.clone(),
        _ if verdict == Verdict::Complete => {
            format!(
                "All {} targets are complete: {} of {} reconcilers succeeded.",
                targets.len(),
                buckets.success,
                buckets.total()
            )
        }
        _ => {
            let worst = targets.iter().find(|t| t.verdict == verdict);
            let n = targets.iter().filter(|t| t.verdict == verdict).count();
            let first = worst.map_or(String::new(), |t| format!(" {}: {}", t.deployment_target, t.reason));
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

struct Answering<'a> {
    state: &'a State,
    policy: &'a Policy,
    now: Micros,
    walk: Walk,
    held: Vec<Held<'a>>,
    heard: u64,
    oldest: Micros,
}

/// Some that hold a rollout up: reconcilers that stand alike, or hosts that never reported.
struct Held<'a> {
    bucket: Bucket,
    note: Option<&'static str>,
    count: u64,
    ids: Box<dyn Iterator<Item = u32> + 'a>,
}

impl<'a> Answering<'a> {
    fn nothing(self, verdict: Verdict, reason: String) -> Answer {
        Answer {
            verdict,
            reason,
            total: 0,
            buckets: Buckets::default(),
            freshness: self.freshness(0),
            hosts: Vec::new(),
            policy: self.policy.clone(),
            targets: Vec::new(),
        }
    }

    fn freshness(&self, of: u64) -> Freshness {
        Freshness {
            heard: self.heard,
            of,
            within_seconds: FRESH as u64 / 1_000_000,
            oldest_reported_at: (self.oldest != Micros::MAX).then(|| self.oldest.to_string()),
            text: format!("{} of {of} heard from in the last {} min", self.heard, FRESH / 60_000_000),
        }
    }

    fn target(&mut self, id: u32, index: usize, from: Option<u32>) -> TargetAnswer {
        let state = self.state;
        let t = state.view();
        let target = t.targets.get(id).expect("the target was just found in the same table");
        let range = Range::new(t, target, index, from);
        let held_before = self.held.len();
        let (in_force, current) =
            target.assignments.in_force().expect("only targets with something in force are asked about");
        let mut buckets = Buckets::default();
        let mut changed = range.assignment().start;
        let mut succeeded: Vec<&'a BTreeSet<u32>> = Vec::new();
        let mut one_by_one = Vec::new();
        if let Some(subscribers) = state.index().current(current.endpoint) {
            changed = subscribers.last_change().map_or(changed, |at| at.max(changed));
            self.heard += subscribers.heard_since(self.now.plus(-FRESH));
            self.oldest = subscribers.oldest_report().map_or(self.oldest, |at| at.min(self.oldest));
            for (standing, ids) in subscribers.groups() {
                match range.stand(standing) {
                    Some((bucket, note)) => {
                        buckets.add(bucket, ids.len() as u64);
                        match bucket {
                            Bucket::Success => succeeded.push(ids),
                            Bucket::Retired => {}
                            _ => {
                                let count = ids.len() as u64;
                                self.held.push(Held { bucket, note, count, ids: Box::new(ids.iter().copied()) });
                            }
                        }
                    }
                    None => one_by_one.extend(ids),
                }
            }
        }
        let by_history = self.one_by_one(&range, one_by_one, &mut buckets);
        let missing = state.index().expectations().missing(id);
        if missing.len() > 0 {
            let count = missing.len() as u64;
            buckets.add(Bucket::NeverReported, count);
            self.held.push(Held { bucket: Bucket::NeverReported, note: None, count, ids: Box::new(missing) });
        }
        let success_hosts =
            hosts_up_to(t, succeeded.into_iter().flatten().copied().chain(by_history), self.policy.min_hosts);
        let verdict = self.policy.verdict(&buckets, success_hosts, in_force != index, self.now.since(changed));
        let held_here = self.held[held_before..].iter();
        let newer: u64 = held_here.filter(|h| h.note == Some("newer_commit")).map(|h| h.count).sum();
        let a = range.assignment();
        let began = from.or((a.commit != 0).then_some(a.commit));
        let commit = began.map(|c| t.text(c)).or(range.first.map(|p| p.commit));
        TargetAnswer {
            workspace: t.text(target.workspace).to_owned(),
            application: t.text(target.application).to_owned(),
            workload: t.text(target.workload).to_owned(),
            environment: t.text(target.environment).to_owned(),
            deployment_target: t.text(target.name).to_owned(),
            version: Some(t.version_text(a.version).to_owned()),
            commit: commit.map(str::to_owned),
            verdict,
            reason: self.reason(verdict, &buckets, t.version_text(current.version), newer),
            total: buckets.total(),
            buckets,
            started_at: Some(a.start.to_string()),
        }
    }

    /// Judges by their histories those whose standings do not tell; gives those that succeeded.
    fn one_by_one(&mut self, range: &Range<'_>, ids: Vec<u32>, buckets: &mut Buckets) -> Vec<u32> {
        let t = self.state.view();
        let mut succeeded = Vec::new();
        let mut held: BTreeMap<Stand, Vec<u32>> = BTreeMap::new();
        for id in ids {
            let Some(r) = t.reconcilers.get(id) else { continue };
            let stand = range.stand_of(id, r, &mut self.walk);
            buckets.add(stand.0, 1);
            match stand.0 {
                Bucket::Success => succeeded.push(id),
                _ => held.entry(stand).or_default().push(id),
            }
        }
        for ((bucket, note), ids) in held {
            let count = ids.len() as u64;
            self.held.push(Held { bucket, note, count, ids: Box::new(ids.into_iter()) });
        }
        succeeded
    }

    /// Those that hold it up, the worst first. Of those alike the longest known are named.
    fn named(&mut self) -> Vec<HoldsUp> {
        let t = self.state.view();
        self.held.sort_by_key(|h| rank(h.bucket));
        let mut named: Vec<HoldsUp> = Vec::new();
        for alike in std::mem::take(&mut self.held).chunk_by_mut(|a, b| a.bucket == b.bucket) {
            let left = NAMED - named.len();
            let mut ids: Vec<(u32, Bucket, Option<&'static str>)> = Vec::new();
            for Held { bucket, note, ids: group, .. } in alike {
                ids.extend(group.take(left).map(|id| (id, *bucket, *note)));
            }
            ids.sort_unstable();
            ids.truncate(left);
            let mut named_here: Vec<HoldsUp> =
                ids.into_iter().filter_map(|(id, b, note)| hold_up(t, id, b, note)).collect();
            named_here.sort_by(|a, b| (&a.host, &a.reconciler).cmp(&(&b.host, &b.reconciler)));
            named.append(&mut named_here);
        }
        named
    }

    fn reason(&self, verdict: Verdict, b: &Buckets, current: &str, newer: u64) -> String {
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
        match verdict {
            Verdict::Superseded => format!(
                "Version {current} is wanted by now; {} of {} reconcilers succeeded{rest}.",
                b.success,
                b.total()
            ),
            _ if b.total() == 0 => "Nobody subscribes to this target.".to_owned(),
            Verdict::Stalled => {
                format!("Nothing has changed for too long; {} of {} reconcilers succeeded{rest}.", b.success, b.total())
            }
            _ => format!("{} of {} reconcilers succeeded{rest}.", b.success, b.total()),
        }
    }
}

/// One that holds it up; `id` is that of a reconciler, or of a host that never reported.
fn hold_up(t: &Tables, id: u32, bucket: Bucket, note: Option<&'static str>) -> Option<HoldsUp> {
    if bucket == Bucket::NeverReported {
        return Some(HoldsUp {
            host: t.host_name(id).to_owned(),
            reconciler: None,
            bucket,
            note,
            commit: None,
            attempted_commit: None,
            status: None,
            message: None,
            reported_at: None,
            contact: contact(t, id),
        });
    }
    let r = t.reconcilers.get(id)?;
    let now = &r.now;
    Some(HoldsUp {
        host: t.host_name(r.host).to_owned(),
        reconciler: Some(t.text(r.name).to_owned()),
        bucket,
        note,
        commit: t.some(now.applied).map(str::to_owned),
        attempted_commit: t.some(now.attempted).map(str::to_owned),
        status: Some(now.status.as_str()),
        message: t.some(now.message).map(str::to_owned),
        reported_at: Some(now.reported_at.to_string()),
        contact: contact(t, r.host),
    })
}

/// How many hosts these reconcilers are on; no more than `enough` are counted.
fn hosts_up_to(t: &Tables, ids: impl Iterator<Item = u32>, enough: u64) -> u64 {
    let mut hosts: HashSet<u32> = HashSet::new();
    for r in ids.filter_map(|id| t.reconcilers.get(id)) {
        if hosts.len() as u64 >= enough {
            break;
        }
        hosts.insert(r.host);
    }
    hosts.len() as u64
}

fn contact(t: &Tables, host: u32) -> Option<String> {
    let declared = t.hosts.get(host)?.declared.as_ref()?;
    t.some(declared.contact).map(str::to_owned)
}
