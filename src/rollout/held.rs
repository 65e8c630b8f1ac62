//! Who holds a rollout up: groups of reconcilers, and the few or the page of them that are named.
//!
//! Invariant: the worst first. The bounded list of an answer looks at no more than it names; a page looks at all, in the total
//! order of bucket, host, reconciler and target.

use super::status::Answering;
use super::{Bucket, HoldsUp, Question, Rules};
use crate::model::Micros;
use crate::state::subscribers::Group;
use crate::state::{State, Tables};

/// Hosts and targets named in an answer.
pub(super) const NAMED: usize = 100;

/// Some that stand alike.
#[derive(Clone, Debug)]
pub(super) enum Members<'a> {
    /// All of a group.
    Group(&'a Group),
    /// Some of one, or of several.
    Listed(Vec<u32>),
}

impl Members<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Members::Group(group) => group.ids().len(),
            Members::Listed(ids) => ids.len(),
        }
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Members::Group(group) => Box::new(group.ids().iter().copied()),
            Members::Listed(ids) => Box::new(ids.iter().copied()),
        }
    }
}

/// Some that hold a rollout up: reconcilers that stand alike, or hosts that never reported.
#[derive(Clone, Debug)]
pub(super) struct Held<'a> {
    pub(super) target: u32,
    pub(super) bucket: Bucket,
    pub(super) note: Option<&'static str>,
    pub(super) members: Members<'a>,
}

/// One of them.
type One = (u32, u32, Bucket, Option<&'static str>);

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

/// Those that hold it up, the worst first. Of those alike the longest known are named.
pub(super) fn named(t: &Tables, mut held: Vec<Held<'_>>) -> Vec<HoldsUp> {
    held.sort_by_key(|h| rank(h.bucket));
    let mut named: Vec<HoldsUp> = Vec::new();
    for alike in held.chunk_by(|a, b| a.bucket == b.bucket) {
        let left = NAMED - named.len();
        let mut ids: Vec<One> = Vec::new();
        for h in alike {
            ids.extend(h.members.iter().take(left).map(|id| (id, h.target, h.bucket, h.note)));
        }
        ids.sort_unstable();
        ids.truncate(left);
        let mut here: Vec<HoldsUp> = ids.into_iter().filter_map(|one| hold_up(t, one)).collect();
        here.sort_by(|a, b| (&a.host, &a.reconciler).cmp(&(&b.host, &b.reconciler)));
        named.append(&mut here);
    }
    named
}

/// A page of those that hold a rollout up.
#[derive(Clone, Debug)]
pub struct HeldPage {
    /// The rows.
    pub rows: Vec<HoldsUp>,
    /// How many there are in all.
    pub total: usize,
}

/// Some of those that hold a rollout up: `limit` of them after the first `skip`, in a total order, of one bucket or of all.
pub fn holding_up(
    state: &State,
    question: &Question,
    rules: &Rules,
    now: Micros,
    bucket: Option<Bucket>,
    (skip, limit): (usize, usize),
) -> HeldPage {
    let t = state.view();
    let mut answering = Answering::new(state, rules, now);
    // Where nothing is known, nobody holds anything up.
    let _ = answering.targets(question);
    let wanted = answering.held.iter().filter(|h| bucket.is_none_or(|b| b == h.bucket));
    let mut all: Vec<(u8, &str, &str, One)> = wanted
        .flat_map(|h| h.members.iter().map(move |id| (id, h.target, h.bucket, h.note)))
        .map(|one| {
            let (id, _, bucket, _) = one;
            let (host, reconciler) = match t.reconcilers.get(id) {
                _ if bucket == Bucket::NeverReported => (t.host_name(id), ""),
                Some(r) => (t.host_name(r.host), t.text(r.name)),
                None => ("", ""),
            };
            (rank(bucket), host, reconciler, one)
        })
        .collect();
    all.sort_unstable();
    let rows = all.iter().skip(skip).take(limit).filter_map(|(_, _, _, one)| hold_up(t, *one)).collect();
    HeldPage { rows, total: all.len() }
}

/// One that holds it up; its id is that of a reconciler, or of a host that never reported.
fn hold_up(t: &Tables, (id, target, bucket, note): One) -> Option<HoldsUp> {
    let at = t.targets.get(target)?;
    let nobody = HoldsUp {
        environment: t.text(at.environment).to_owned(),
        workload: t.text(at.workload).to_owned(),
        deployment_target: t.text(at.name).to_owned(),
        host: String::new(),
        reconciler: None,
        bucket,
        note,
        commit: None,
        attempted_commit: None,
        status: None,
        message: None,
        reported_at: None,
        contact: None,
        usual_seconds: None,
        key: (target, id),
    };
    if bucket == Bucket::NeverReported {
        return Some(HoldsUp { host: t.host_name(id).to_owned(), contact: contact(t, id), ..nobody });
    }
    let r = t.reconcilers.get(id)?;
    let now = &r.now;
    Some(HoldsUp {
        host: t.host_name(r.host).to_owned(),
        reconciler: Some(t.text(r.name).to_owned()),
        commit: t.some(now.applied).map(str::to_owned),
        attempted_commit: t.some(now.attempted).map(str::to_owned),
        status: Some(now.status.as_str()),
        message: t.some(now.message).map(str::to_owned),
        reported_at: Some(now.reported_at.to_string()),
        contact: contact(t, r.host),
        ..nobody
    })
}

fn contact(t: &Tables, host: u32) -> Option<String> {
    let declared = t.hosts.get(host)?.declared.as_ref()?;
    t.some(declared.contact).map(str::to_owned)
}
