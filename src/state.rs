//! The fold: facts in, current state, history and intervals out. Pure and in memory; no clock, no I/O.
//!
//! Invariants: applying the same facts in the same order gives the same state; current state, last words, first and last times
//! do not even depend on the order (design §3.7). [`Tables`] hold the records, [`Index`] finds them and is rebuilt at start.

pub mod blocks;
pub mod carrier;
pub mod commit_log;
mod dropped;
pub mod expectations;
pub mod heartbeat;
pub mod history;
pub mod host;
mod index;
pub mod labelled;
mod labels;
pub mod names;
mod packed;
mod rank;
pub mod recount;
pub mod standing;
pub mod subscribers;
pub mod tables;
pub mod target;
pub mod trim;
pub mod verification;
pub mod verifications;
pub mod walk;

mod derive;
mod fold;
mod known;

use std::cmp::Ordering;

use hashbrown::HashMap;

pub use carrier::{Object, ObjectKind};
pub use heartbeat::{Heartbeat, Heartbeats};
pub use index::Index;
pub use tables::Tables;
pub use verifications::VerificationView;

use crate::model::{Body, Clock, Fact, Liveness, LivenessChange, Micros, Report};
use history::{Inserted, Statement};

/// What applying a fact would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Nothing: it is known.
    Known,
    /// It confirms what is known at a later time.
    Confirmed,
    /// It changes something.
    Changed,
}

/// The objects a fact touched, for the change feed.
pub type Touched = Vec<Object>;

/// The state.
#[derive(Clone, Debug, Default)]
pub struct State {
    tables: Tables,
    index: Index,
    watched: Vec<WatchedSource>,
    /// The first receipt of what was said of each host since this state was made.
    known_since: HashMap<u32, Micros>,
    walk: walk::Walk,
}

impl State {
    /// An empty state.
    pub fn new() -> State {
        State::default()
    }

    /// A state from stored tables; rebuilds what is derived.
    pub fn from_tables(tables: Tables) -> State {
        let mut state = State { tables, ..State::default() };
        state.index = Index::rebuild(&state.tables);
        state.derive_all();
        state
    }

    /// A source watches its objects: until the watch breaks, what it carries counts as heard.
    pub fn watch_source(&mut self, source: &str, broken_since: Option<Micros>) {
        self.watched.retain(|w| w.source != source);
        self.watched.push(WatchedSource { source: source.to_owned(), broken_since });
    }

    /// The sources whose watch is broken.
    pub fn broken_watches(&self) -> impl Iterator<Item = &str> {
        self.watched.iter().filter(|w| w.broken_since.is_some()).map(|w| w.source.as_str())
    }

    /// An immutable snapshot.
    pub fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// The records, without copying.
    pub fn view(&self) -> &Tables {
        &self.tables
    }

    /// The indexes.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Gives a statement that nobody timed the time of its first receipt, when it is known again.
    pub fn resolve(&self, fact: &mut Fact) {
        if fact.clock == Clock::Said {
            return;
        }
        let known = self.index.carrier(fact.carrier).and_then(|id| self.tables.carriers.get(id));
        if let Some(at) = known.and_then(|c| c.remembered(fact.identity)) {
            fact.at = at;
        }
    }

    /// What applying a (resolved) fact would do.
    pub fn novelty(&self, fact: &Fact) -> Novelty {
        let Some(carrier) = self.index.carrier(fact.carrier) else { return Novelty::Changed };
        let Some(record) = self.tables.carriers.get(carrier) else { return Novelty::Changed };
        match &fact.body {
            Body::Gone => {
                let known = record.claims().any(|c| c.object.is_none() && c.first <= fact.at && fact.at <= c.last);
                if known { Novelty::Known } else { Novelty::Changed }
            }
            Body::Report(r) => self.report_novelty(record, fact, r),
            Body::Declaration(d) => {
                let Some((target, declared)) = self.find_declaration(carrier, fact, d) else { return Novelty::Changed };
                let known = self.tables.targets.get(target).is_some_and(|t| t.knows(&declared));
                if known && self.version_known(fact, d) { Novelty::Known } else { Novelty::Changed }
            }
            Body::Host(h) => self.host_novelty(record, fact, h),
            // A repetition is news as well: the gate may hang on its time, so it is acknowledged when it is durable.
            Body::Verification(v) => {
                if self.verification_known(fact, v) {
                    Novelty::Known
                } else {
                    Novelty::Changed
                }
            }
            Body::Liveness(_) => Novelty::Changed,
            Body::Sighting(s) => {
                let name = |text: &str| self.index.name(&self.tables, text);
                let known = || {
                    let log = *self.index.logs.get(&(name(&s.repo)?, name(&s.branch)?))?;
                    let commit = name(&s.commit)?;
                    Some(self.tables.logs.get(log)?.has_seen(carrier, fact.at, commit))
                };
                if known().unwrap_or(false) { Novelty::Known } else { Novelty::Changed }
            }
        }
    }

    fn report_novelty(&self, carrier: &carrier::CarrierRecord, fact: &Fact, report: &Report) -> Novelty {
        let Some((id, new)) = self.find_statement(fact, report) else { return Novelty::Changed };
        let Some(r) = self.tables.reconcilers.get(id) else { return Novelty::Changed };
        let claims = carrier.newest().is_some_and(|c| {
            c.object.is_some_and(|o| o.kind == ObjectKind::Reconciler && o.id == id) && c.last <= fact.at
        });
        let host = self.tables.hosts.get(r.host);
        let labels_known = report.labels.is_empty()
            || host.is_some_and(|h| {
                h.reported_labels.0 > fact.at || self.tables.text(h.reported_labels.1) == report.labels
            });
        let kind_known = self.tables.text(r.kind) == report.reconciler_type;
        let single_source =
            r.sources.is_empty() && self.tables.carriers.get(r.carrier).is_some_and(|c| c.source == new.source);
        let inserted = r.history.would(&new, &|a, b| tie(&self.tables, a, b));
        if inserted == Inserted::Known && claims_cover(carrier, id, fact.at) {
            return Novelty::Known;
        }
        let heard = host.is_some_and(|h| h.silence == Liveness::Online && *h.retired_at == Micros::MAX);
        let plain = claims && labels_known && kind_known && single_source && heard && r.now.alive();
        if inserted == Inserted::Confirmed && plain && is_live(fact) { Novelty::Confirmed } else { Novelty::Changed }
    }

    fn host_novelty(
        &self,
        carrier: &carrier::CarrierRecord,
        fact: &Fact,
        h: &crate::model::HostDeclaration,
    ) -> Novelty {
        let found = self.index.host(&self.tables, &h.name).and_then(|id| Some((id, self.tables.hosts.get(id)?)));
        let Some((id, record, declared)) = found.and_then(|(id, r)| Some((id, r, r.declared.as_ref()?))) else {
            return Novelty::Changed;
        };
        let t = &self.tables;
        let text = |o: &Option<String>, id: u32| o.as_deref().is_none_or(|o| t.text(id) == o);
        let said = |e: &(u32, u32, u32)| (t.text(e.0), t.text(e.1), t.text(e.2));
        let expects = h.expects.as_ref().is_none_or(|list| {
            list.len() == declared.expects.len()
                && list.iter().zip(&declared.expects).all(|(n, o)| {
                    (n.workload.as_str(), n.environment.as_str(), n.deployment_target.as_str()) == said(o)
                })
        });
        let same = text(&h.external_id, declared.external_id)
            && text(&h.host_type, declared.host_type)
            && text(&h.class, declared.class)
            && text(&h.contact, declared.contact)
            && (h.labels.is_empty() || t.text(declared.labels) == h.labels)
            && expects
            && (h.expects.is_none() || t.text(record.selector) == h.selector);
        if h.retired {
            return if record.retirements.contains(&fact.at) { Novelty::Known } else { Novelty::Changed };
        }
        // What a retirement ended, or what nobody carried any more, is news when it is said again.
        let stands = carrier.object().is_some_and(|o| o.kind == ObjectKind::Host && o.id == id)
            && (h.expects.is_none() || declared.expects_at > record.retirements.last().copied());
        if !same || *record.retired_at != Micros::MAX {
            Novelty::Changed
        } else if fact.at <= declared.at && (!h.heartbeat || fact.at <= record.heard_at) && record.covers(h, fact.at) {
            Novelty::Known
        } else if record.silence == Liveness::Online && stands && is_live(fact) {
            Novelty::Confirmed
        } else {
            Novelty::Changed
        }
    }

    /// Hosts that turned late, silent or unknown, and those that are so no more, since a watch hears them or other intervals are in
    /// force. None turns before one full interval of listening to it, however old what it said.
    pub fn overdue(&self, beats: &mut Heartbeats, now: Micros, listening_since: Micros) -> Vec<LivenessChange> {
        let mut changes = Vec::new();
        let mut pass = beats.pass(&self.tables, now);
        for (id, h) in self.tables.hosts.iter() {
            if *h.retired_at != Micros::MAX {
                continue;
            }
            let since = self.known_since.get(&id).map_or(listening_since, |at| listening_since.max(*at));
            let turned = pass.turned(h, since, || self.heard_by_watch(id, h, now));
            let Some((liveness, at)) = turned else { continue };
            let host = self.tables.text(h.name).to_owned();
            changes.push(LivenessChange { host, liveness, at, heard_at: h.heard_at });
        }
        changes
    }

    /// Until when a watch stands for the word of a host: a resource that names no time counts as heard while it is watched.
    fn heard_by_watch(&self, id: u32, host: &host::HostRecord, now: Micros) -> Option<Micros> {
        if self.watched.is_empty() {
            return None;
        }
        let until = |c: u32| {
            let carrier = self.tables.carriers.get(c).filter(|c| c.object().is_some() && c.is_untimed())?;
            let source = self.tables.text(carrier.source);
            let watched = self.watched.iter().find(|w| w.source == source)?;
            Some(watched.broken_since.unwrap_or(now))
        };
        let of_reconcilers = self.index.reconcilers_of(id).iter().filter_map(|r| self.tables.reconcilers.get(*r));
        host.carriers.iter().copied().chain(of_reconcilers.flat_map(|r| r.carriers())).filter_map(until).max()
    }

    /// Carriers of a source that still name something (of a kind): what a complete listing did not show must be told gone.
    pub fn living_carriers(&self, source: &str, kind: Option<ObjectKind>) -> Vec<crate::model::CarrierKey> {
        let living = |c: &carrier::CarrierRecord| {
            c.object().is_some_and(|o| kind.is_none_or(|kind| o.kind == kind)) && self.tables.text(c.source) == source
        };
        self.tables.carriers.iter().filter(|(_, c)| living(c)).map(|(_, c)| c.key).collect()
    }
}

/// A source whose watch stands for the words of what it carries.
#[derive(Clone, Debug)]
struct WatchedSource {
    source: String,
    broken_since: Option<Micros>,
}

/// How far a word may lie behind its receipt and still be a heartbeat, whose loss in a crash the next one mends. What is older
/// is history: it comes once, so it is journaled.
const HEARTBEAT_LAG: i64 = 60 * 1_000_000;

fn is_live(fact: &Fact) -> bool {
    fact.clock == Clock::Said && fact.received_at.since(fact.at) <= HEARTBEAT_LAG
}

fn claims_cover(carrier: &carrier::CarrierRecord, reconciler: u32, at: Micros) -> bool {
    let named = |o: Object| o.kind == ObjectKind::Reconciler && o.id == reconciler;
    carrier.claims().any(|c| c.object.is_some_and(named) && c.first <= at && at <= c.last)
}

/// Which of two statements of one time counts as later: deletion last, then status, then commit, then content (design §3.7).
fn tie(t: &Tables, a: &Statement, b: &Statement) -> Ordering {
    let coarse = (a.gone, a.status).cmp(&(b.gone, b.status));
    coarse
        .then_with(|| t.text(a.commit).cmp(t.text(b.commit)))
        .then_with(|| t.endpoint_text(a.endpoint).cmp(t.endpoint_text(b.endpoint)))
        .then_with(|| t.text(a.applied).cmp(t.text(b.applied)))
        .then_with(|| t.text(a.raw).cmp(t.text(b.raw)))
        .then_with(|| t.text(a.message).cmp(t.text(b.message)))
}
