//! Answers a question: which targets are meant, what the buckets hold, and what follows from the policy.

use crate::model::{ManifestsSaid, Micros};
use crate::normalize;
use crate::state::target::TargetRecord;
use crate::state::walk::Walk;
use crate::state::{State, Tables};

use super::bucket::Range;
use super::{
    Answer, Asked, Bucket, Buckets, Freshness, HoldsUp, Policy, Question, SilentPolicy, TargetAnswer, Verdict,
};

/// Hosts and targets named in an answer.
const NAMED: usize = 100;

/// The span in which a report counts as fresh.
const FRESH_SECONDS: u64 = 300;

/// The state of a rollout.
pub fn status(state: &State, question: &Question, policy: &Policy, now: Micros) -> Answer {
    let mut answer =
        Answering { state, policy, now, walk: Walk::default(), hosts: Vec::new(), heard: 0, oldest: Micros::MAX };
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
    answer
        .hosts
        .sort_by(|a, b| (rank(a.bucket), &a.host, &a.reconciler).cmp(&(rank(b.bucket), &b.host, &b.reconciler)));
    answer.hosts.truncate(NAMED);
    let total = buckets.total();
    Answer {
        verdict,
        reason,
        total,
        buckets,
        freshness: answer.freshness(total),
        hosts: answer.hosts,
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
    let t = state.view();
    let text = |want: &Option<String>, id: u32| want.as_deref().is_none_or(|w| t.text(id) == w);
    let endpoint = q.manifests_endpoint.as_deref().map(|raw| endpoints(state, raw));
    let at = |record: &TargetRecord| {
        let Some(wanted) = &endpoint else { return true };
        record.assignments.in_force().is_some_and(|(_, a)| wanted.contains(&a.endpoint))
    };
    let wanted = |r: &TargetRecord| {
        r.assignments.in_force().is_some()
            && text(&q.environment, r.environment)
            && text(&q.workload, r.workload)
            && text(&q.deployment_target, r.name)
            && text(&q.application, r.application)
            && text(&q.workspace, r.workspace)
            && at(r)
    };
    t.targets.iter().filter(|(_, r)| wanted(r)).map(|(id, _)| id).collect()
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
    hosts: Vec<HoldsUp>,
    heard: u64,
    oldest: Micros,
}

impl Answering<'_> {
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
            within_seconds: FRESH_SECONDS,
            oldest_reported_at: (self.oldest != Micros::MAX).then(|| self.oldest.to_string()),
            text: format!("{} of {of} heard from in the last {} min", self.heard, FRESH_SECONDS / 60),
        }
    }

    fn target(&mut self, id: u32, index: usize, from: Option<u32>) -> TargetAnswer {
        let state = self.state;
        let t = state.view();
        let target = t.targets.get(id).expect("the target was just found in the same table");
        let range = Range::new(t, target, index, from);
        let (in_force, current) =
            target.assignments.in_force().expect("only targets with something in force are asked about");
        let mut buckets = Buckets::default();
        let mut changed = range.assignment().start;
        let mut success_hosts: Vec<u32> = Vec::new();
        for &r in state.index().subscribers(current.endpoint) {
            let Some(record) = t.reconcilers.get(r).filter(|r| r.now.endpoint == current.endpoint) else { continue };
            let (bucket, note) = range.stand(r, record, &mut self.walk);
            buckets.add(bucket);
            if bucket == Bucket::Retired {
                continue;
            }
            changed = changed.max(record.now.since);
            self.heard += u64::from(self.now.since(record.now.reported_at) <= FRESH_SECONDS as i64 * 1_000_000);
            self.oldest = self.oldest.min(record.now.reported_at);
            if bucket == Bucket::Success {
                success_hosts.push(record.host);
            } else {
                self.hold_up(t, r, bucket, note);
            }
        }
        for host in missing(state, target, current.endpoint) {
            buckets.add(Bucket::NeverReported);
            if self.hosts.len() < NAMED * 10 {
                self.hosts.push(HoldsUp {
                    host: t.host_name(host).to_owned(),
                    contact: contact(t, host),
                    ..never_reported()
                });
            }
        }
        success_hosts.sort_unstable();
        success_hosts.dedup();
        let verdict = self.verdict(&buckets, success_hosts.len() as u64, in_force != index, changed);
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
            reason: self.reason(verdict, &buckets, t.version_text(current.version)),
            total: buckets.total(),
            buckets,
            started_at: Some(a.start.to_string()),
        }
    }

    fn hold_up(&mut self, t: &Tables, id: u32, bucket: Bucket, note: Option<&'static str>) {
        // The list is sorted and cut later; a bound keeps an answer about a whole fleet small.
        if self.hosts.len() >= NAMED * 10 && rank(bucket) > 0 {
            return;
        }
        let Some(r) = t.reconcilers.get(id) else { return };
        let now = &r.now;
        self.hosts.push(HoldsUp {
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
        });
    }

    fn verdict(&self, b: &Buckets, success_hosts: u64, superseded: bool, changed: Micros) -> Verdict {
        let p = self.policy;
        let (mut total, mut failures) = (b.total(), b.failure);
        match p.silent {
            SilentPolicy::Block => {}
            SilentPolicy::Ignore => total -= b.silent,
            SilentPolicy::Fail => failures += b.silent,
        }
        let enough = total > 0 && b.success as f64 * 100.0 >= p.min_success_percent * total as f64;
        if enough && b.success > 0 && failures <= p.max_failures && success_hosts >= p.min_hosts {
            Verdict::Complete
        } else if superseded {
            Verdict::Superseded
        } else if failures > p.max_failures {
            Verdict::Failed
        } else if b.total() > 0 && self.now.since(changed) >= p.stall_after {
            Verdict::Stalled
        } else {
            Verdict::InProgress
        }
    }

    fn reason(&self, verdict: Verdict, b: &Buckets, current: &str) -> String {
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
        let rest = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
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

fn never_reported() -> HoldsUp {
    HoldsUp {
        host: String::new(),
        reconciler: None,
        bucket: Bucket::NeverReported,
        note: None,
        commit: None,
        attempted_commit: None,
        status: None,
        message: None,
        reported_at: None,
        contact: None,
    }
}

fn contact(t: &Tables, host: u32) -> Option<String> {
    let declared = t.hosts.get(host)?.declared.as_ref()?;
    t.some(declared.contact).map(str::to_owned)
}

/// Hosts that are expected on a target and never reported for its endpoint.
fn missing(state: &State, target: &TargetRecord, endpoint: u32) -> Vec<u32> {
    let t = state.view();
    let wanted = (target.workload, target.environment, target.name);
    let reported = |host: u32| {
        let subscribers = state.index().subscribers(endpoint);
        state.index().reconcilers_of(host).iter().any(|r| subscribers.binary_search(r).is_ok())
    };
    t.hosts.iter().filter(|(id, h)| t.expects(*id, h).contains(&wanted) && !reported(*id)).map(|(id, _)| id).collect()
}
