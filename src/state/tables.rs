//! The records of the fold, one table per kind: what checkpoints store and what readers see.
//!
//! Invariant: a clone is an immutable, consistent snapshot. Everything here but the fields marked derived is stored; the
//! derived ones are a function of the rest and are rebuilt at start.

use std::sync::Arc;

use crate::ledger::record::{Decode, Derived, Encode};

use super::blocks::{Block, Blocks};
use super::carrier::{self, CarrierRecord, Object, ObjectKind, Span};
use super::commit_log::LogRecord;
use super::dropped::Dropped;
use super::history::{History, HistoryV1, Statement};
use super::host::{HostRecord, HostRecordV1, HostRecordV2};
use super::names;
use super::rank::rank;
use super::standing::Standing;
use super::target::{Assignments, TargetRecord};
use super::verification::VerificationRecord;
use super::walk::{Now, Walk};
use crate::ledger::record::{self, RecordError};
use crate::model::{Micros, Status};

/// A manifests endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct EndpointRecord {
    /// Storage type (name id).
    pub storage_type: u32,
    /// Canonical string (name id).
    pub canonical: u32,
    /// As first spelled (name id).
    pub raw: u32,
    /// The log in which its commits are placed, once it is described; derived.
    pub log: Derived<Option<u32>>,
}

/// A workload version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct VersionRecord {
    /// Workspace (name id).
    pub workspace: u32,
    /// Application (name id).
    pub application: u32,
    /// Workload (name id).
    pub workload: u32,
    /// Version (name id).
    pub version: u32,
    /// Event time of the declaration that gave the details below.
    pub at: Micros,
    /// First declaration.
    pub first_seen_at: Micros,
    /// Source repository (name id).
    pub source_repo: u32,
    /// Source branch (name id).
    pub source_branch: u32,
    /// Source path (name id).
    pub source_path: u32,
    /// Source commit (name id).
    pub source_commit: u32,
    /// Build id (name id).
    pub build: u32,
    /// Build time.
    pub build_time: Option<Micros>,
    /// Image digest (name id).
    pub image_digest: u32,
    /// Author (name id).
    pub author: u32,
    /// Pull request (name id).
    pub pull_request: u32,
}

impl VersionRecord {
    /// What was declared of it last (name ids).
    pub fn details(&self) -> [u32; 8] {
        [
            self.source_repo,
            self.source_branch,
            self.source_path,
            self.source_commit,
            self.build,
            self.image_digest,
            self.author,
            self.pull_request,
        ]
    }
}

/// The last word of one source on a reconciler that has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SourceWord {
    /// Source (name id).
    pub source: u32,
    /// Time.
    pub at: Micros,
    /// Endpoint id.
    pub endpoint: u32,
    /// Attempted commit (name id).
    pub commit: u32,
    /// Status.
    pub status: Status,
}

/// A reconciler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ReconcilerRecord {
    /// Host id.
    pub host: u32,
    /// Name (name id).
    pub name: u32,
    /// Type (name id) as last reported.
    pub kind: u32,
    /// The first carrier that named it.
    pub carrier: u32,
    /// Further carriers.
    pub more_carriers: Vec<u32>,
    /// Last word of each source; empty while there is one source only.
    pub sources: Vec<SourceWord>,
    /// What it said.
    pub history: History,
    /// What is so now; derived.
    pub now: Derived<Now>,
    /// Where it stands; derived.
    pub standing: Derived<Standing>,
}

/// A reconciler as files of record version 1 hold it.
#[derive(Debug, Decode)]
#[cfg_attr(test, derive(Encode))]
pub(super) struct ReconcilerRecordV1 {
    host: u32,
    name: u32,
    kind: u32,
    carrier: u32,
    more_carriers: Vec<u32>,
    sources: Vec<SourceWord>,
    history: HistoryV1,
}

impl From<ReconcilerRecordV1> for ReconcilerRecord {
    fn from(old: ReconcilerRecordV1) -> ReconcilerRecord {
        let ReconcilerRecordV1 { host, name, kind, carrier, more_carriers, sources, history } = old;
        let (now, standing) = Default::default();
        ReconcilerRecord { host, name, kind, carrier, more_carriers, sources, history: history.into(), now, standing }
    }
}

/// Number of the table of the one [`Window`].
const WINDOW: u8 = 10;

/// From when on histories are kept whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    /// What reconcilers said before was dropped, but for their last words; rows of transitions and of deployments that ended before
    /// are kept elsewhere, or nowhere.
    pub since: Micros,
    /// Last words from before this time were dropped too.
    pub forgotten: Micros,
}

impl Window {
    /// What was said before is in the archive and nowhere else, where there is an archive at all.
    pub fn archived(self) -> Option<Micros> {
        (self.since > self.forgotten).then_some(self.since)
    }
}

impl ReconcilerRecord {
    /// All carriers that ever named it.
    pub fn carriers(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.carrier).chain(self.more_carriers.iter().copied())
    }
}

/// A source, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SourceRecord {
    /// Name (name id).
    pub name: u32,
    /// First statement received.
    pub first_received_at: Micros,
    /// Newest statement received that changed anything.
    pub last_received_at: Micros,
    /// Statements that changed anything.
    pub changes: u64,
}

/// All records.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Interned strings.
    pub names: Blocks<Box<str>>,
    /// Carriers.
    pub carriers: Blocks<CarrierRecord>,
    /// Hosts.
    pub hosts: Blocks<HostRecord>,
    /// Reconcilers.
    pub reconcilers: Blocks<ReconcilerRecord>,
    /// Manifests endpoints.
    pub endpoints: Blocks<EndpointRecord>,
    /// Commit logs.
    pub logs: Blocks<LogRecord>,
    /// Deployment targets.
    pub targets: Blocks<TargetRecord>,
    /// Workload versions.
    pub versions: Blocks<VersionRecord>,
    /// Sources.
    pub sources: Blocks<SourceRecord>,
    /// Verifications.
    pub verifications: Blocks<VerificationRecord>,
    /// At most one record: there is none while everything is kept.
    pub window: Blocks<Window>,
}

/// The stored version of the records of most tables.
const RECORD_VERSION: u8 = 1;
/// That of hosts: in version 1 the details of a declaration had one time, in version 2 there were no selectors.
const HOST_VERSION: u8 = 3;
/// That of reconcilers: in version 1 nothing was ever dropped from a history.
const RECONCILER_VERSION: u8 = 2;

/// A block that a checkpoint may have to write: a snapshot of its own.
pub struct BlockRef {
    /// Table number.
    pub table: u8,
    /// Block number.
    pub block: u32,
    /// Sequence of the last change.
    pub changed_at: u64,
    encode: Box<dyn Fn() -> Vec<u8> + Send + Sync>,
}

impl std::fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockRef").field("table", &self.table).field("block", &self.block).finish_non_exhaustive()
    }
}

impl BlockRef {
    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        (self.encode)()
    }
}

fn refs<T: Clone + Encode + Send + Sync + 'static>(table: u8, blocks: &Blocks<T>, since: u64) -> Vec<BlockRef> {
    let version = match table {
        2 => HOST_VERSION,
        3 => RECONCILER_VERSION,
        _ => RECORD_VERSION,
    };
    let all = blocks.blocks().iter().enumerate();
    all.filter(|(_, b)| b.changed_at > since)
        .map(|(i, b)| {
            let (block, changed_at, b) = (i as u32, b.changed_at, Arc::clone(b));
            let encode = move || record::encode(version, &(b.changed_at, &b.records));
            BlockRef { table, block, changed_at, encode: Box::new(encode) }
        })
        .collect()
}

fn restored<T: Decode<()>>(bytes: &[u8]) -> Result<Block<T>, RecordError> {
    converted::<T, T>(bytes, RECORD_VERSION)
}

fn restored_hosts(bytes: &[u8]) -> Result<Block<HostRecord>, RecordError> {
    match record::version(bytes)? {
        1 => converted::<HostRecordV1, _>(bytes, 1),
        2 => converted::<HostRecordV2, _>(bytes, 2),
        _ => converted::<HostRecord, _>(bytes, HOST_VERSION),
    }
}

fn restored_reconcilers(bytes: &[u8]) -> Result<Block<ReconcilerRecord>, RecordError> {
    match record::version(bytes)? {
        1 => converted::<ReconcilerRecordV1, _>(bytes, 1),
        _ => converted::<ReconcilerRecord, _>(bytes, RECONCILER_VERSION),
    }
}

fn converted<Old: Decode<()>, T: From<Old>>(bytes: &[u8], version: u8) -> Result<Block<T>, RecordError> {
    let (changed_at, records) = record::decode::<(u64, Vec<Old>)>(bytes, version)?;
    Ok(Block { changed_at, records: records.into_iter().map(T::from).collect() })
}

impl Tables {
    /// The blocks changed after a sequence, in (table, block) order.
    pub fn blocks(&self, since: u64) -> Vec<BlockRef> {
        let mut all = refs(0, &self.names, since);
        all.extend(refs(1, &self.carriers, since));
        all.extend(refs(2, &self.hosts, since));
        all.extend(refs(3, &self.reconcilers, since));
        all.extend(refs(4, &self.endpoints, since));
        all.extend(refs(5, &self.logs, since));
        all.extend(refs(6, &self.targets, since));
        all.extend(refs(7, &self.versions, since));
        all.extend(refs(8, &self.sources, since));
        all.extend(refs(9, &self.verifications, since));
        all.extend(refs(WINDOW, &self.window, since));
        all
    }

    /// Puts a stored block back; blocks of one table must come in order.
    pub fn restore(&mut self, table: u8, bytes: &[u8]) -> Result<(), RecordError> {
        match table {
            0 => self.names.restore(restored(bytes)?),
            1 => self.carriers.restore(restored(bytes)?),
            2 => self.hosts.restore(restored_hosts(bytes)?),
            3 => self.reconcilers.restore(restored_reconcilers(bytes)?),
            4 => self.endpoints.restore(restored(bytes)?),
            5 => self.logs.restore(restored(bytes)?),
            6 => self.targets.restore(restored(bytes)?),
            7 => self.versions.restore(restored(bytes)?),
            8 => self.sources.restore(restored(bytes)?),
            9 => self.verifications.restore(restored(bytes)?),
            WINDOW => self.window.restore(restored(bytes)?),
            // A table that a newer koh wrote is refused by the format number before it comes to this.
            _ => {}
        }
        Ok(())
    }

    /// Reads a stored block without keeping it; gives how many records it holds.
    pub fn examine(table: u8, bytes: &[u8]) -> Result<usize, RecordError> {
        let mut tables = Tables::default();
        tables.restore(table, bytes)?;
        let Tables {
            names,
            carriers,
            hosts,
            reconcilers,
            endpoints,
            logs,
            targets,
            versions,
            sources,
            verifications,
            window,
        } = &tables;
        let counts = [names.len(), carriers.len(), hosts.len(), reconcilers.len(), endpoints.len(), logs.len()];
        let more = [targets.len(), versions.len(), sources.len(), verifications.len(), window.len()];
        Ok(counts.iter().chain(&more).sum())
    }

    /// The window, where a stored block is the one that holds it.
    pub fn window_of(table: u8, bytes: &[u8]) -> Option<Window> {
        let mut tables = Tables::default();
        (table == WINDOW).then(|| tables.restore(table, bytes).ok())??;
        tables.window.get(0).copied()
    }

    /// From when on everything that reconcilers said is kept; the beginning of time while nothing was dropped.
    pub fn kept_since(&self) -> Micros {
        self.window.get(0).map_or(Micros::MIN, |window| window.since)
    }

    /// The text of a name.
    pub fn text(&self, id: u32) -> &str {
        names::text(&self.names, id)
    }

    /// The text of a name, or `None` for the absent one.
    pub fn some(&self, id: u32) -> Option<&str> {
        (id != names::NONE).then(|| self.text(id))
    }

    /// A host's name.
    pub fn host_name(&self, host: u32) -> &str {
        self.hosts.get(host).map_or("", |h| self.text(h.name))
    }

    /// An endpoint's canonical string.
    pub fn endpoint_text(&self, endpoint: u32) -> &str {
        self.endpoints.get(endpoint).map_or("", |e| self.text(e.canonical))
    }

    /// A version's string.
    pub fn version_text(&self, version: u32) -> &str {
        self.versions.get(version).map_or("", |v| self.text(v.version))
    }

    /// A commit's place in a log; what comes later is greater.
    pub fn place(&self, log: u32, commit: u32) -> Option<Place<'_>> {
        let at = self.logs.get(log)?.place(commit)?;
        Some(Place { at, commit: self.text(commit) })
    }

    /// The log in which the commits of an endpoint are placed; `None` while nobody described it.
    pub fn home_log(&self, endpoint: u32) -> Option<u32> {
        *self.endpoints.get(endpoint)?.log
    }

    /// The place in a log of the last applied commit that has one, of those a reconciler reported at an endpoint: an applied
    /// commit without a place leaves what was proven as it was.
    pub fn last_placed(&self, log: u32, endpoint: u32, r: &ReconcilerRecord) -> Option<Place<'_>> {
        let dropped = r.history.dropped().into_iter().flat_map(Dropped::iter);
        let dropped = dropped.filter(|old| old.ran && old.word.endpoint == endpoint).map(|old| old.word.commit);
        let said = r.history.iter().filter(|s| !s.gone && s.endpoint == endpoint).filter_map(|s| s.runs());
        dropped.chain(said).filter_map(|commit| self.place(log, commit)).last()
    }

    /// The assignment of a target that covers a commit of a log.
    pub fn cover(&self, assignments: &Assignments, log: u32, commit: u32) -> Option<usize> {
        if commit == 0 {
            return None;
        }
        assignments.cover(log, commit, || self.logs.get(log)?.first_place(commit))
    }

    /// The spans in which carriers named an object.
    pub fn spans(&self, kind: ObjectKind, id: u32, carriers: impl Iterator<Item = u32>) -> Vec<(u32, Span)> {
        let mut spans = Vec::new();
        for c in carriers {
            if let Some(record) = self.carriers.get(c) {
                spans.extend(record.spans(kind, id).into_iter().map(|span| (c, span)));
            }
        }
        spans
    }

    /// What a host is expected to run by name: (workload, environment, deployment target).
    pub fn expects<'a>(&self, id: u32, host: &'a HostRecord) -> &'a [(u32, u32, u32)] {
        host.declared.as_ref().filter(|_| self.is_expecting(id, host)).map_or(&[], |d| &d.expects)
    }

    /// The selector of what a host is expected to run (name id); 0 when it selects nothing.
    pub fn selector(&self, id: u32, host: &HostRecord) -> u32 {
        if host.selector != 0 && self.is_expecting(id, host) { host.selector } else { 0 }
    }

    /// Expectations stand as long as the host lives and a carrier declares it; a declared retirement ends what was expected before.
    fn is_expecting(&self, id: u32, host: &HostRecord) -> bool {
        let Some(declared) = host.declared.as_ref().filter(|_| *host.retired_at == Micros::MAX) else { return false };
        let carried = |c: &u32| {
            let object = self.carriers.get(*c).and_then(CarrierRecord::object);
            object.is_some_and(|o| o.kind == ObjectKind::Host && o.id == id)
        };
        declared.expects_at > host.retirements.last().copied() && host.carriers.iter().any(carried)
    }

    /// Times in which a reconciler did not live, in order; a declared retirement of its host is there also as an instant.
    pub fn dead_times(&self, id: u32, r: &ReconcilerRecord) -> Vec<(Micros, Micros)> {
        let retirements = self.hosts.get(r.host).map_or(&[][..], |h| &h.retirements);
        let simple = r.more_carriers.is_empty()
            && self.carriers.get(r.carrier).is_some_and(|c| c.only_ever(ObjectKind::Reconciler, id));
        if simple && retirements.is_empty() {
            return Vec::new();
        }
        let mut dead = without_life(id, r.carriers().filter_map(|c| self.carriers.get(c)), retirements);
        if let Some(carrier) = self.carriers.get(r.carrier).filter(|_| r.more_carriers.is_empty()) {
            // A run of claims keeps its first and its last time. Where a departure came into it late, what its only carrier said in
            // between stands in the history of the reconciler, and says that it lived then.
            let hidden = |at: Micros| dead.iter().any(|(from, to)| *from <= at && at < *to);
            let names = [self.host_name(r.host), self.text(r.name)];
            let ranked = |s: &Statement| rank(s.status as u64, &self.some(s.commit).map(str::to_owned), &names);
            let named = |s: &Statement| Object { kind: ObjectKind::Reconciler, id, rank: ranked(s) };
            let said = r.history.iter().filter(|s| !s.gone && (hidden(s.first) || hidden(s.last)));
            let between: Vec<_> = said.flat_map(|s| [(s.first, named(&s)), (s.last, named(&s))]).collect();
            if !between.is_empty() {
                dead = without_life(id, std::iter::once(&carrier.with(&between)), retirements);
            }
        }
        // Whatever else is known, what comes after a declared retirement is a first word.
        dead.extend(retirements.iter().map(|at| (*at, *at)));
        dead.sort_unstable();
        dead
    }

    /// Times between the first and the last word about a host in which nothing named it, and after the last.
    pub fn host_dead_times(&self, id: u32, host: &HostRecord, reconcilers: &[u32]) -> Vec<(Micros, Micros)> {
        let mut spans = Vec::new();
        for carrier in host.carriers.iter().filter_map(|c| self.carriers.get(*c)) {
            for span in carrier.spans(ObjectKind::Host, id) {
                let next = |at| carrier.next_claim(at, ObjectKind::Host, id);
                cut(&mut spans, span, &host.retirements, next);
            }
        }
        for (id, r) in reconcilers.iter().filter_map(|id| Some((*id, self.reconcilers.get(*id)?))) {
            let Some(mut from) = r.history.first_report() else { continue };
            for (end, again) in self.dead_times(id, r).into_iter().filter(|(end, again)| end < again) {
                spans.push((from, end));
                from = again;
            }
            if from != Micros::MAX {
                spans.push((from, Micros::MAX));
            }
        }
        carrier::gaps(spans)
    }

    /// Reads a reconciler's history into `walk`.
    pub fn walk(&self, id: u32, walk: &mut Walk) {
        if let Some(r) = self.reconcilers.get(id) {
            walk.read(&r.history, &self.dead_times(id, r));
        }
    }
}

/// Times in which none of these carriers named a reconciler.
fn without_life<'a>(
    id: u32,
    carriers: impl Iterator<Item = &'a CarrierRecord>,
    retirements: &[Micros],
) -> Vec<(Micros, Micros)> {
    let mut spans = Vec::new();
    for carrier in carriers {
        for span in carrier.spans(ObjectKind::Reconciler, id) {
            let next = |at| carrier.next_claim(at, ObjectKind::Reconciler, id);
            cut(&mut spans, span, retirements, next);
        }
    }
    carrier::gaps(spans)
}

/// A declared retirement of the host ends what a carrier claims, until that carrier speaks again.
fn cut(spans: &mut Vec<(Micros, Micros)>, span: Span, retirements: &[Micros], next: impl Fn(Micros) -> Option<Micros>) {
    let Span { mut from, to, .. } = span;
    for &at in retirements {
        if at < from || at >= to {
            continue;
        }
        spans.push((from, at));
        match next(at) {
            Some(next) if next <= to => from = next,
            _ => return,
        }
    }
    spans.push((from, to));
}

/// A commit's place: comparable inside one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'a> {
    /// Event time.
    pub at: Micros,
    /// Breaks ties.
    pub commit: &'a str,
}
