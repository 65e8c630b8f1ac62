//! The tables about hosts: what they are and when they were heard.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use super::generation::Shared;
use super::ids::id;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::{Liveness, Micros};
use crate::state::ObjectKind;
use crate::state::host::{HostDeclared, HostRecord, Labels, class_label};

/// Of the labels of a host: cluster type, ring, region and class.
pub(super) type KnownLabels = [Option<String>; 4];

/// Label sets (name id of their JSON), read.
pub type LabelSets = HashMap<u32, KnownLabels>;

fn label_sets(s: &Shared) -> LabelSets {
    let mut sets = LabelSets::new();
    for (_, h) in s.tables.hosts.iter() {
        let labels = h.labels();
        sets.entry(labels).or_insert_with(|| known_labels(s.tables.text(labels)));
    }
    sets
}

/// Those labels of a host that have a column.
pub(super) fn known_labels(json: &str) -> KnownLabels {
    let labels = Labels::read(json);
    let [cluster_type, ring, region] =
        ["cluster_type", "ring", "region"].map(|key| labels.get(key).map(Cow::into_owned));
    [cluster_type, ring, region, class_label(json)]
}

impl Shared {
    fn host_label(&self, host: &HostRecord, which: usize) -> Cell<'_> {
        let sets = self.labels.get_or_init(|| label_sets(self));
        let label = sets.get(&host.labels()).and_then(|l| l[which].as_deref());
        label.map_or(Cell::Null, Cell::some)
    }

    pub(super) fn liveness(&self, host: u32) -> &'static str {
        self.tables.hosts.get(host).map_or(Liveness::Online, HostRecord::liveness).as_str()
    }
}

/// The table `hosts`.
#[derive(Debug)]
pub(super) struct Hosts(pub(super) Arc<Shared>);

impl Hosts {
    fn host(&self, host: u32) -> &HostRecord {
        self.0.tables.hosts.get(host).expect("rows are made from the hosts there are")
    }

    fn declared(&self, host: u32, detail: fn(&HostDeclared) -> u32) -> Cell<'_> {
        let declared = self.host(host).declared.as_ref();
        declared.map_or(Cell::Null, |d| Cell::some(self.0.tables.text(detail(d))))
    }
}

impl Rows for Hosts {
    type Row = u32;

    fn table(&self) -> &'static TableSchema {
        &schema::HOSTS
    }

    fn chunks(&self) -> usize {
        self.0.tables.hosts.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<u32> {
        chunk_of(self.0.tables.hosts.len(), chunk).map(|i| i as u32).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "host_id" => |s, r| Cell::Made(id("host", &[s.0.tables.host_name(*r)])),
            "host" => |s, r| Cell::Text(s.0.tables.host_name(*r)),
            "external_id" => |s, r| s.declared(*r, |d| d.external_id),
            "host_type" => |s, r| s.declared(*r, |d| d.host_type),
            "cluster_type" => |s, r| s.0.host_label(s.host(*r), 0),
            "ring" => |s, r| s.0.host_label(s.host(*r), 1),
            "region" => |s, r| s.0.host_label(s.host(*r), 2),
            "labels" => |s, r| Cell::some(s.0.tables.text(s.host(*r).labels())),
            "class" => |s, r| match s.declared(*r, |d| d.class) {
                Cell::Null => s.0.host_label(s.host(*r), 3),
                declared => declared,
            },
            "contact" => |s, r| s.declared(*r, |d| d.contact),
            // It names whatever the host takes in, the workspaces of others among it.
            "expects_selector" => |s, r| match &s.0.seen {
                Some(seen) if seen.is_by_workspace() => Cell::Null,
                _ => Cell::some(s.0.tables.text(s.host(*r).selector)),
            },
            "liveness" => |s, r| Cell::Text(s.0.liveness(*r)),
            "liveness_since" => |s, r| stretches(s.host(*r), &[]).last().map_or(Cell::Null, |t| Cell::time(t.1)),
            "first_heard_at" => |s, r| Cell::time(s.host(*r).first_seen_at),
            "last_heard_at" => |s, r| Cell::time(s.host(*r).heard_at),
            "retired_at" => |s, r| Cell::time(*s.host(*r).retired_at),
            "host_no" => |_, r| Cell::Number(i64::from(*r)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.hosts.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        self.0.shows_host(seen, *row)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}

/// Stretches of one liveness: (liveness, start, end). `dead` are the times without life, as far as they are over.
fn stretches(host: &HostRecord, dead: &[(Micros, Micros)]) -> Vec<(Liveness, Micros, Micros)> {
    let mut heard = vec![(Liveness::Online, host.first_seen_at)];
    heard.extend(host.silences.iter().filter(|e| e.at < *host.retired_at).map(|e| (e.liveness, e.at)));
    let mut changes = heard.clone();
    for &(from, to) in dead.iter().filter(|d| d.1 < *host.retired_at) {
        changes.retain(|c| c.1 < from || to <= c.1);
        changes.push((Liveness::Retired, from));
        let back = heard.iter().rev().find(|c| c.1 <= to).map_or(Liveness::Online, |c| c.0);
        changes.retain(|c| c.1 != to);
        changes.push((back, to));
    }
    changes.sort_by_key(|c| c.1);
    if *host.retired_at != Micros::MAX {
        changes.push((Liveness::Retired, *host.retired_at));
    }
    let ends = changes.iter().skip(1).map(|c| c.1).chain([Micros::MAX]).collect::<Vec<_>>();
    changes.into_iter().zip(ends).map(|((liveness, start), end)| (liveness, start, end)).collect()
}

/// The table `host_transitions`.
#[derive(Debug)]
pub(super) struct HostTransitions {
    shared: Arc<Shared>,
    dead: std::sync::OnceLock<HashMap<u32, Vec<(Micros, Micros)>>>,
}

impl HostTransitions {
    pub(super) fn new(shared: Arc<Shared>) -> HostTransitions {
        HostTransitions { shared, dead: std::sync::OnceLock::new() }
    }
}

/// The times without life of the hosts that had any.
fn dead(s: &Shared) -> HashMap<u32, Vec<(Micros, Micros)>> {
    let t = &s.tables;
    let left = |id: u32, h: &HostRecord| {
        let stays = |c: &u32| t.carriers.get(*c).is_some_and(|c| c.only_ever(ObjectKind::Host, id));
        !h.retirements.is_empty() || !h.carriers.iter().all(stays)
    };
    let mut members: HashMap<u32, Vec<u32>> =
        t.hosts.iter().filter(|(id, h)| left(*id, h)).map(|(id, _)| (id, Vec::new())).collect();
    for (id, r) in t.reconcilers.iter() {
        if !members.contains_key(&r.host) && !t.dead_times(id, r).is_empty() {
            members.insert(r.host, Vec::new());
        }
    }
    for (id, r) in t.reconcilers.iter() {
        if let Some(members) = members.get_mut(&r.host) {
            members.push(id);
        }
    }
    let dead = |(id, members): (u32, Vec<u32>)| Some((id, t.host_dead_times(id, t.hosts.get(id)?, &members)));
    members.into_iter().filter_map(dead).collect()
}

impl Rows for HostTransitions {
    type Row = (u32, Liveness, Micros, Micros);

    fn table(&self) -> &'static TableSchema {
        &schema::HOST_TRANSITIONS
    }

    fn chunks(&self) -> usize {
        self.shared.tables.hosts.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Self::Row> {
        let all = &self.shared.tables.hosts;
        let dead = self.dead.get_or_init(|| dead(&self.shared));
        let hosts = chunk_of(all.len(), chunk).filter_map(|i| Some((i as u32, all.get(i as u32)?)));
        let of = |id: u32| dead.get(&id).map_or(&[][..], Vec::as_slice);
        hosts.flat_map(|(id, h)| stretches(h, of(id)).into_iter().map(move |(l, a, b)| (id, l, a, b))).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "host" => |s, r| Cell::Text(s.shared.tables.host_name(r.0)),
            "liveness" => |_, r| Cell::Text(r.1.as_str()),
            "started_at" => |_, r| Cell::time(r.2),
            "ended_at" => |_, r| Cell::time(r.3),
            "host_no" => |_, r| Cell::Number(i64::from(r.0)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        None
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        self.shared.shows_host(seen, row.0)
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }
}
