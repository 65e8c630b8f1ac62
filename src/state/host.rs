//! A host: what was declared of it, when it was last heard, and whether it is online, late, silent or retired (design §3.8).
//!
//! Invariants: silence is inferred and retirement is declared, and the two never mix; the last-heard time is the maximum over
//! all statements, whatever their order of arrival.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::record::{Decode, Derived, Encode};

use crate::model::{HostDeclaration, Liveness, Micros};

/// What was declared: of each detail the newest word, for a declaration may name some and leave others alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct HostDeclared {
    /// Event time of the newest declaration.
    pub at: Micros,
    /// External id (name id).
    pub external_id: u32,
    /// Host type (name id).
    pub host_type: u32,
    /// Class (name id).
    pub class: u32,
    /// Contact (name id).
    pub contact: u32,
    /// Labels (name id).
    pub labels: u32,
    /// Event time of the newest declaration that said anything about expectations, by name or by labels.
    pub expects_at: Option<Micros>,
    /// (workload, environment, deployment target) as name ids.
    pub expects: Vec<(u32, u32, u32)>,
}

impl HostDeclared {
    /// The details in one order: external id, host type, class, contact, labels.
    pub(super) fn details(&mut self) -> [&mut u32; DETAILS] {
        [&mut self.external_id, &mut self.host_type, &mut self.class, &mut self.contact, &mut self.labels]
    }
}

/// How many details a declaration of a host may name, besides what it is expected to run.
pub(super) const DETAILS: usize = 5;

/// A change of liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LivenessEntry {
    /// When.
    pub at: Micros,
    /// To what.
    pub liveness: Liveness,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HostRecord {
    /// Name (name id).
    pub name: u32,
    /// Newest declaration; `None` for hosts known by their reports only.
    pub declared: Option<Box<HostDeclared>>,
    /// Labels that came with reports (name id), and their time.
    pub reported_labels: (Micros, u32),
    /// Newest statement of the host or of one of its reconcilers; `Micros::MIN` when it was never heard.
    pub heard_at: Micros,
    /// First statement about it.
    pub first_seen_at: Micros,
    /// Times of declared retirement, ordered.
    pub retirements: Vec<Micros>,
    /// Carriers that ever declared the host itself.
    pub carriers: Vec<u32>,
    /// Online, late or silent; retirement is derived.
    pub silence: Liveness,
    /// History of silence.
    pub silences: Vec<LivenessEntry>,
    /// Event times of the details that were declared.
    pub(super) detailed_at: [Micros; DETAILS],
    /// The selector that was declared together with `expects` (name id of its text).
    pub selector: u32,
    /// Declared retired, or all that spoke of it is gone; `Micros::MAX` while it lives. Derived.
    pub retired_at: Derived<Micros>,
}

/// A host as files of record version 1 hold it: one time for all that was declared.
#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
pub(super) struct HostRecordV1 {
    name: u32,
    declared: Option<Box<HostDeclared>>,
    reported_labels: (Micros, u32),
    heard_at: Micros,
    first_seen_at: Micros,
    retirements: Vec<Micros>,
    carriers: Vec<u32>,
    silence: Liveness,
    silences: Vec<LivenessEntry>,
}

impl From<HostRecordV1> for HostRecord {
    fn from(old: HostRecordV1) -> HostRecord {
        let at = old.declared.as_ref().map_or(Micros::MIN, |d| d.at);
        HostRecord {
            name: old.name,
            declared: old.declared,
            reported_labels: old.reported_labels,
            heard_at: old.heard_at,
            first_seen_at: old.first_seen_at,
            retirements: old.retirements,
            carriers: old.carriers,
            silence: old.silence,
            silences: old.silences,
            detailed_at: [at; DETAILS],
            selector: 0,
            retired_at: Derived(Micros::MAX),
        }
    }
}

/// A host as files of record version 2 hold it: without a selector.
#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
pub(super) struct HostRecordV2 {
    first: HostRecordV1,
    detailed_at: [Micros; DETAILS],
}

impl From<HostRecordV2> for HostRecord {
    fn from(old: HostRecordV2) -> HostRecord {
        HostRecord { detailed_at: old.detailed_at, ..HostRecord::from(old.first) }
    }
}

impl HostRecord {
    /// A host first seen at this time.
    pub fn new(name: u32, at: Micros) -> HostRecord {
        HostRecord {
            name,
            declared: None,
            reported_labels: (Micros::MIN, 0),
            heard_at: Micros::MIN,
            first_seen_at: at,
            retirements: Vec::new(),
            carriers: Vec::new(),
            silence: Liveness::Online,
            silences: Vec::new(),
            detailed_at: [Micros::MIN; DETAILS],
            selector: 0,
            retired_at: Derived(Micros::MAX),
        }
    }

    /// Heard at this time; true when it had been late or silent.
    pub fn hear(&mut self, at: Micros) -> bool {
        self.first_seen_at = self.first_seen_at.min(at);
        if at <= self.heard_at {
            return false;
        }
        self.heard_at = at;
        if self.silence == Liveness::Online {
            return false;
        }
        self.silence = Liveness::Online;
        // What was concluded of a time after this word is void.
        self.silences.retain(|e| e.at <= at);
        if self.silences.last().is_some_and(|e| e.liveness != Liveness::Online) {
            self.silences.push(LivenessEntry { at, liveness: Liveness::Online });
        }
        true
    }

    /// The hub concluded that the host turned late or silent after `heard_at`, or that a watch hears it again; void when it was
    /// heard since.
    pub fn turn(&mut self, liveness: Liveness, at: Micros, heard_at: Micros) -> bool {
        let back = liveness == Liveness::Online;
        if self.heard_at != heard_at || self.silence == liveness || (self.silence > liveness && !back) {
            return false;
        }
        self.silence = liveness;
        self.silences.push(LivenessEntry { at, liveness });
        true
    }

    /// Whether all that a declaration of this time says was said at this time or later.
    pub(super) fn covers(&self, said: &HostDeclaration, at: Micros) -> bool {
        let named = [
            said.external_id.is_some(),
            said.host_type.is_some(),
            said.class.is_some(),
            said.contact.is_some(),
            !said.labels.is_empty(),
        ];
        let expected_at = self.declared.as_ref().and_then(|d| d.expects_at);
        named.into_iter().zip(self.detailed_at).all(|(named, known)| !named || known >= at)
            && (said.expects.is_none() || expected_at >= Some(at))
    }

    /// What is so now.
    pub fn liveness(&self) -> Liveness {
        if *self.retired_at == Micros::MAX { self.silence } else { Liveness::Retired }
    }

    /// Labels, declared ones first.
    pub fn labels(&self) -> u32 {
        match &self.declared {
            Some(d) if d.labels != 0 => d.labels,
            _ => self.reported_labels.1,
        }
    }

    /// The newest time at which anything says that the host exists.
    pub fn newest_statement(&self) -> Micros {
        self.heard_at.max(self.declared.as_ref().map_or(Micros::MIN, |d| d.at))
    }
}

/// A host's labels, read.
#[derive(Clone, Debug, Default)]
pub struct Labels(serde_json::Map<String, serde_json::Value>);

impl Labels {
    /// Reads the JSON object in which they are kept; the empty text is none.
    pub fn read(json: &str) -> Labels {
        Labels(serde_json::from_str(json).unwrap_or_default())
    }

    /// Whether there is, for each key that is asked for, any of its values.
    pub fn any_of(&self, wanted: &BTreeMap<String, BTreeSet<String>>) -> bool {
        wanted.iter().all(|(key, values)| self.get(key).is_some_and(|v| values.contains(&*v)))
    }

    /// A label's value. The cluster type has a name in two spellings.
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        let other = match key {
            "cluster_type" => "clusterType",
            "clusterType" => "cluster_type",
            _ => key,
        };
        let value = self.0.get(key).or_else(|| self.0.get(other))?;
        Some(value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed))
    }
}

/// When hosts turn late and silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Microseconds without a word until a host is late.
    pub late_after: i64,
    /// Microseconds without a word until a host is silent.
    pub silent_after: i64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { late_after: 15 * 60 * 1_000_000, silent_after: 60 * 60 * 1_000_000 }
    }
}

impl Heartbeat {
    /// What a host must turn at `now`, and since when; `listening_since` is when the hub began to listen to it.
    pub fn overdue(&self, host: &HostRecord, listening_since: Micros, now: Micros) -> Option<(Liveness, Micros)> {
        let base = host.newest_statement().max(listening_since);
        let quiet = now.since(base);
        if quiet >= self.silent_after && host.silence < Liveness::Silent {
            Some((Liveness::Silent, base.plus(self.silent_after)))
        } else if quiet >= self.late_after && host.silence < Liveness::Late {
            Some((Liveness::Late, base.plus(self.late_after)))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(declared: &HostDeclared) -> HostRecordV1 {
        HostRecordV1 {
            name: 1,
            declared: Some(Box::new(declared.clone())),
            reported_labels: (Micros::MIN, 0),
            heard_at: Micros(9),
            first_seen_at: Micros(5),
            retirements: Vec::new(),
            carriers: vec![4],
            silence: Liveness::Late,
            silences: vec![LivenessEntry { at: Micros(9), liveness: Liveness::Late }],
        }
    }

    /// The host of a file of an older version, and the version in which it is written again.
    fn restored(version: u8, old: impl Encode) -> (HostRecord, Vec<u8>) {
        let bytes = crate::ledger::record::encode(version, &(11_u64, vec![old]));
        let mut tables = crate::state::Tables::default();
        tables.restore(2, &bytes).unwrap();
        let written = tables.blocks(0).iter().filter(|b| b.table == 2).map(|b| b.encode()[0]).collect();
        (tables.hosts.get(0).unwrap().clone(), written)
    }

    #[test]
    fn a_host_of_an_older_file_keeps_its_details_and_their_time() {
        let declared = HostDeclared { at: Micros(7), class: 3, ..HostDeclared::default() };
        let (host, written) = restored(1, old(&declared));
        assert_eq!((host.declared.as_deref(), host.detailed_at), (Some(&declared), [Micros(7); DETAILS]));
        assert_eq!((host.silence, host.heard_at, host.selector), (Liveness::Late, Micros(9), 0));
        assert_eq!(written, [3], "it is written in the new shape");
        let detailed_at = [1, 2, 3, 4, 5].map(Micros);
        let (host, written) = restored(2, HostRecordV2 { first: old(&declared), detailed_at });
        assert_eq!((host.declared.as_deref(), host.detailed_at), (Some(&declared), detailed_at));
        assert_eq!((host.silence, host.heard_at, host.selector), (Liveness::Late, Micros(9), 0));
        assert_eq!(written, [3]);
    }

    #[test]
    fn time_in_which_the_hub_did_not_listen_is_no_silence() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(0));
        let beat = Heartbeat { late_after: 10, silent_after: 20 };
        assert_eq!(beat.overdue(&h, Micros(100), Micros(105)), None);
        assert_eq!(beat.overdue(&h, Micros(100), Micros(110)), Some((Liveness::Late, Micros(110))));
        assert_eq!(beat.overdue(&h, Micros(100), Micros(125)), Some((Liveness::Silent, Micros(120))));
    }

    #[test]
    fn a_late_word_takes_back_what_was_concluded_of_the_time_after_it() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(0));
        assert!(h.turn(Liveness::Late, Micros(15), Micros(0)) && h.turn(Liveness::Silent, Micros(60), Micros(0)));
        assert!(h.hear(Micros(30)));
        let seen = |h: &HostRecord| h.silences.iter().map(|e| (e.at.0, e.liveness)).collect::<Vec<_>>();
        assert_eq!(seen(&h), [(15, Liveness::Late), (30, Liveness::Online)]);
        assert!(h.turn(Liveness::Late, Micros(45), Micros(30)) && h.hear(Micros(40)));
        assert_eq!(seen(&h), [(15, Liveness::Late), (30, Liveness::Online)]);
    }

    #[test]
    fn a_conclusion_is_void_when_the_host_was_heard_since() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(5));
        assert!(!h.turn(Liveness::Late, Micros(20), Micros(0)));
        assert!(h.turn(Liveness::Late, Micros(20), Micros(5)));
        assert!(h.hear(Micros(30)));
        assert_eq!(h.silences.len(), 2);
    }
}
