//! What hosts are expected to run, by name and by selectors of labels, matched with the living targets.
//!
//! Invariant: a host and a target meet once, however many reasons there are. What selectors give is counted, and made row by
//! row for whoever reads it: it may be every host times every target.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashSet};

use super::generation::Shared;
use super::scan::{CHUNK, Cell, Reader, Rows, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::{Liveness, Micros};

/// One expectation of a host and one living target it matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    host: u32,
    names: (u32, u32, u32),
    since: Micros,
    target: Option<u32>,
    reported: bool,
}

/// All expectations.
#[derive(Debug, Default)]
struct All {
    named: Vec<Expected>,
    selected: Vec<Selected>,
    /// Who ever reported for which endpoint, of the hosts that expect anything.
    reported: HashSet<(u32, u32)>,
    rows: usize,
}

/// Hosts that select alike, and what they select.
#[derive(Debug, Default)]
struct Selected {
    /// Rows before those of this group.
    start: usize,
    /// Hosts, and since when they are expected.
    hosts: Vec<(u32, Micros)>,
    /// Targets and their endpoints.
    targets: Vec<(u32, u32)>,
}

impl Selected {
    fn len(&self) -> usize {
        self.hosts.len() * self.targets.len()
    }
}

impl All {
    fn of(s: &Shared) -> All {
        let t = &s.tables;
        let declared = t.hosts.iter().filter_map(|(id, h)| Some((id, h, h.declared.as_deref()?)));
        let expecting: Vec<_> = declared
            .map(|(id, h, d)| (id, d.expects_at.unwrap_or(d.at), t.expects(id, h), t.selector(id, h)))
            .filter(|(id, _, named, selector)| (!named.is_empty() || *selector != 0) && s.counts(*id))
            .collect();
        let mut all = All::default();
        if expecting.is_empty() {
            return all;
        }
        let hosts: HashSet<u32> = expecting.iter().map(|e| e.0).collect();
        for (_, r) in t.reconcilers.iter().filter(|(_, r)| hosts.contains(&r.host)) {
            all.reported.extend(r.history.endpoints().map(|endpoint| (r.host, endpoint)));
        }
        let mut by_name: HashMap<(u32, u32, u32), Vec<(u32, u32)>> = HashMap::new();
        let mut by_selector: BTreeMap<u32, Selected> = BTreeMap::new();
        for (id, target) in t.targets.iter() {
            let Some(endpoint) = target.endpoint() else { continue };
            by_name.entry((target.workload, target.environment, target.name)).or_default().push((id, endpoint));
            for selector in target.selected.iter() {
                by_selector.entry(*selector).or_default().targets.push((id, endpoint));
            }
        }
        for (host, since, named, selector) in expecting {
            if let Some(selected) = by_selector.get_mut(&selector) {
                selected.hosts.push((host, since));
            }
            for &names in named {
                let row = |target, reported| Expected { host, names, since, target, reported };
                let matching = by_name.get(&names).map_or(&[][..], Vec::as_slice);
                if matching.is_empty() {
                    all.named.push(row(None, false));
                }
                let selects = |id: u32| t.targets.get(id).is_some_and(|target| target.selected.contains(&selector));
                let rest = matching.iter().filter(|(target, _)| !selects(*target));
                all.named.extend(rest.map(|(target, e)| row(Some(*target), all.reported.contains(&(host, *e)))));
            }
        }
        all.rows = all.named.len();
        all.selected = by_selector.into_values().filter(|group| group.len() > 0).collect();
        for group in &mut all.selected {
            group.start = all.rows;
            all.rows += group.len();
        }
        all
    }

    fn row(&self, s: &Shared, at: usize) -> Option<Expected> {
        if let Some(named) = self.named.get(at) {
            return Some(*named);
        }
        let next = self.selected.partition_point(|group| group.start <= at);
        let group = self.selected.get(next.checked_sub(1)?)?;
        let at = at - group.start;
        let (host, since) = group.hosts[at / group.targets.len()];
        let (id, endpoint) = group.targets[at % group.targets.len()];
        let target = s.tables.targets.get(id)?;
        let names = (target.workload, target.environment, target.name);
        Some(Expected { host, names, since, target: Some(id), reported: self.reported.contains(&(host, endpoint)) })
    }
}

/// How many hosts are expected on each target and never reported there, without those that nobody waits for.
pub(super) fn missing(s: &Shared) -> HashMap<u32, u64> {
    let all = All::of(s);
    let waited = |host: u32| s.tables.hosts.get(host).is_some_and(|h| h.liveness() != Liveness::Unknown);
    let mut missing: HashMap<u32, u64> = HashMap::new();
    for target in all.named.iter().filter(|e| !e.reported && waited(e.host)).filter_map(|e| e.target) {
        *missing.entry(target).or_default() += 1;
    }
    let members = |group: &Selected| group.hosts.iter().map(|h| h.0).filter(|h| waited(*h)).collect();
    let hosts: Vec<Vec<u32>> = all.selected.iter().map(members).collect();
    let group_of: HashMap<u32, usize> =
        hosts.iter().enumerate().flat_map(|(at, hosts)| hosts.iter().map(move |h| (*h, at))).collect();
    let mut reported: HashMap<(usize, u32), u64> = HashMap::new();
    for (host, endpoint) in &all.reported {
        if let Some(group) = group_of.get(host) {
            *reported.entry((*group, *endpoint)).or_default() += 1;
        }
    }
    for (at, group) in all.selected.iter().enumerate() {
        for (target, endpoint) in &group.targets {
            let there = reported.get(&(at, *endpoint)).copied().unwrap_or(0);
            *missing.entry(*target).or_default() += hosts[at].len() as u64 - there;
        }
    }
    missing
}

/// The hosts that should run one of these targets.
pub(super) fn hosts(s: &Shared, seen: impl Fn(u32) -> bool) -> HashSet<u32> {
    let all = All::of(s);
    let named = all.named.iter().filter(|e| e.target.is_some_and(&seen)).map(|e| e.host);
    let selected = all.selected.iter().filter(|group| group.targets.iter().any(|(target, _)| seen(*target)));
    named.chain(selected.flat_map(|group| group.hosts.iter().map(|(host, _)| *host))).collect()
}

/// The table `expectations`.
#[derive(Debug)]
pub(super) struct Expectations {
    shared: Arc<Shared>,
    all: OnceLock<All>,
}

impl Expectations {
    pub(super) fn new(shared: Arc<Shared>) -> Expectations {
        Expectations { shared, all: OnceLock::new() }
    }

    fn all(&self) -> &All {
        self.all.get_or_init(|| All::of(&self.shared))
    }
}

impl Rows for Expectations {
    type Row = Expected;

    fn table(&self) -> &'static TableSchema {
        &schema::EXPECTATIONS
    }

    fn chunks(&self) -> usize {
        self.all().rows.div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Expected> {
        let all = self.all();
        chunk_of(all.rows, chunk).filter_map(|at| all.row(&self.shared, at)).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "host" => |s, r| Cell::Text(s.shared.tables.host_name(r.host)),
            "workload" => |s, r| Cell::Text(s.shared.tables.text(r.names.0)),
            "environment" => |s, r| Cell::Text(s.shared.tables.text(r.names.1)),
            "deployment_target" => |s, r| Cell::Text(s.shared.tables.text(r.names.2)),
            "expected_since" => |_, r| Cell::time(r.since),
            "reported" => |_, r| Cell::Flag(r.reported),
            "host_no" => |_, r| Cell::Number(i64::from(r.host)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.all().rows)
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.counts(row.host) && seen.maybe_target(row.target)
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn target(row: &Expected) -> Option<u32> {
        row.target
    }
}
