//! A host: what was declared of it, when it was last heard, and whether it is online, late, silent, unknown or retired (design §3.8).
//!
//! Invariants: silence is inferred and retirement is declared, and the two never mix; the last-heard time is the maximum over
//! all statements, whatever their order of arrival.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::record::{Decode, Derived, Encode};

use crate::model::{HostDeclaration, Liveness, Micros};

use super::tables::Tables;

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
    /// Online, late, silent or unknown; retirement is derived.
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

    /// Heard at this time; what it had been before it, when that was not online.
    pub fn hear(&mut self, at: Micros) -> Option<Liveness> {
        self.first_seen_at = self.first_seen_at.min(at);
        if at <= self.heard_at {
            return None;
        }
        self.heard_at = at;
        if self.silence == Liveness::Online {
            return None;
        }
        let before = std::mem::replace(&mut self.silence, Liveness::Online);
        // What was concluded of a time after this word is void.
        self.silences.retain(|e| e.at <= at);
        if self.silences.last().is_some_and(|e| e.liveness != Liveness::Online) {
            self.silences.push(LivenessEntry { at, liveness: Liveness::Online });
        }
        Some(before)
    }

    /// The hub concluded that the host turned late, silent or unknown after `heard_at`, or that it is so no more; void when it was
    /// heard since. Gives what it had been.
    pub fn turn(&mut self, liveness: Liveness, at: Micros, heard_at: Micros) -> Option<Liveness> {
        if self.heard_at != heard_at || self.silence == liveness {
            return None;
        }
        let before = std::mem::replace(&mut self.silence, liveness);
        // Of two conclusions of one time the later one counts.
        self.silences.pop_if(|e| e.at == at);
        if self.silences.last().map_or(Liveness::Online, |e| e.liveness) != liveness {
            self.silences.push(LivenessEntry { at, liveness });
        }
        Some(before)
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

    /// Its class: the declared one, else that of its labels.
    pub fn class<'a>(&self, t: &'a Tables) -> Option<Cow<'a, str>> {
        let declared = self.declared.as_ref().and_then(|d| t.some(d.class));
        declared.map(Cow::Borrowed).or_else(|| class_label(t.text(self.labels())).map(Cow::Owned))
    }

    /// Its last word; of one that was never heard, the time since when there could have been one.
    pub fn last_word(&self) -> Micros {
        if self.heard_at == Micros::MIN { self.first_seen_at } else { self.heard_at }
    }

    /// The newest time at which anything says that the host exists.
    pub fn newest_statement(&self) -> Micros {
        self.heard_at.max(self.declared.as_ref().map_or(Micros::MIN, |d| d.at))
    }
}

/// The label that names the class of a host that declares none.
const CLASS: &str = "hub.kalypso.io/class";

/// The class that labels name, as they are kept: a JSON object.
pub fn class_label(json: &str) -> Option<String> {
    // Most labels name none, and need not be read to know that.
    let labels = json.contains(CLASS).then(|| Labels::read(json))?;
    labels.get(CLASS).filter(|class| !class.is_empty()).map(Cow::into_owned)
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
    fn a_late_word_takes_back_what_was_concluded_of_the_time_after_it() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(0));
        assert_eq!(h.turn(Liveness::Late, Micros(15), Micros(0)), Some(Liveness::Online));
        assert_eq!(h.turn(Liveness::Silent, Micros(60), Micros(0)), Some(Liveness::Late));
        assert_eq!(h.hear(Micros(30)), Some(Liveness::Silent));
        let seen = |h: &HostRecord| h.silences.iter().map(|e| (e.at.0, e.liveness)).collect::<Vec<_>>();
        assert_eq!(seen(&h), [(15, Liveness::Late), (30, Liveness::Online)]);
        assert!(h.turn(Liveness::Late, Micros(45), Micros(30)).is_some() && h.hear(Micros(40)).is_some());
        assert_eq!(seen(&h), [(15, Liveness::Late), (30, Liveness::Online)]);
    }

    #[test]
    fn a_conclusion_is_void_when_the_host_was_heard_since() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(5));
        assert_eq!(h.turn(Liveness::Late, Micros(20), Micros(0)), None);
        assert_eq!(h.turn(Liveness::Late, Micros(20), Micros(5)), Some(Liveness::Online));
        assert_eq!(h.hear(Micros(30)), Some(Liveness::Late));
        assert_eq!(h.silences.len(), 2);
    }

    #[test]
    fn of_two_conclusions_of_one_time_the_later_one_counts_and_none_says_what_was_so_already() {
        let mut h = HostRecord::new(1, Micros(0));
        h.hear(Micros(0));
        let seen = |h: &HostRecord| h.silences.iter().map(|e| (e.at.0, e.liveness)).collect::<Vec<_>>();
        for (liveness, at) in [(Liveness::Late, 15), (Liveness::Silent, 60), (Liveness::Unknown, 60)] {
            assert!(h.turn(liveness, Micros(at), Micros(0)).is_some());
        }
        assert_eq!(seen(&h), [(15, Liveness::Late), (60, Liveness::Unknown)]);
        assert!(h.turn(Liveness::Late, Micros(60), Micros(0)).is_some());
        assert_eq!((h.silence, seen(&h)), (Liveness::Late, vec![(15, Liveness::Late)]));
        assert!(h.turn(Liveness::Online, Micros(15), Micros(0)).is_some());
        assert_eq!((h.silence, seen(&h)), (Liveness::Online, vec![]));
    }

    #[test]
    fn the_class_is_the_declared_one_else_that_of_the_labels() {
        let mut state = crate::state::State::new();
        let mut h = HostRecord::new(1, Micros(0));
        let [edge, labels, empty, other] = [
            "edge",
            r#"{"hub.kalypso.io/class":"laptop","ring":"1"}"#,
            r#"{"hub.kalypso.io/class":""}"#,
            r#"{"ring":"1"}"#,
        ]
        .map(|text| state.intern(text, 1));
        assert_eq!(h.class(state.view()), None);
        for (id, class) in [(labels, Some("laptop")), (empty, None), (other, None), (labels, Some("laptop"))] {
            h.reported_labels = (Micros(1), id);
            assert_eq!(h.class(state.view()).as_deref(), class);
        }
        h.declared = Some(Box::new(HostDeclared { class: edge, ..HostDeclared::default() }));
        assert_eq!(h.class(state.view()).as_deref(), Some("edge"));
    }
}
