//! What each source said since the hub started: the counters behind `system.sources`.
//!
//! Invariant: bounded in sources and in bytes, whatever clients call themselves; counters only grow; no secret is kept.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::ledger::Receipt;
use crate::model::Micros;
use crate::normalize;
use crate::snapshot::Cell;
use crate::state::Tables;

/// Sources counted one by one; those that come later are counted together.
const SOURCES: usize = 1_000;
/// The name under which later ones are counted.
const OTHERS: &str = "(others)";
/// Bytes kept of an error.
const ERROR: usize = 500;

/// How a source speaks to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// It pushes.
    Push,
    /// The hub watches a folder.
    Directory,
    /// The hub watches an API server.
    Kubernetes,
}

impl SourceKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Push => "push",
            SourceKind::Directory => "directory",
            SourceKind::Kubernetes => "kubernetes",
        }
    }
}

/// What one source said since the start.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Statements that said something new.
    pub accepted: u64,
    /// Statements that said nothing new.
    pub unchanged: u64,
    /// Statements that were not taken.
    pub rejected: u64,
    /// When it last said something that was taken.
    pub last_received_at: Option<Micros>,
    /// When and what was last wrong with it.
    pub last_error: Option<(Micros, String)>,
}

/// How the watch of one kind of objects of a source fares, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// A word out of a few.
    pub state: &'static str,
    /// Since when it is in this state.
    pub since: Micros,
}

/// What each source said.
#[derive(Debug, Default)]
pub struct Sources {
    heard: Mutex<BTreeMap<(String, SourceKind), Heard>>,
    /// By source and kind of object: as many as the hub itself watches.
    watches: Mutex<BTreeMap<(String, &'static str), Watch>>,
}

impl Sources {
    /// A source said something that was taken.
    pub fn taken(&self, source: &str, kind: SourceKind, receipt: &Receipt, now: Micros) {
        self.with(source, kind, |heard| {
            heard.accepted += receipt.changed as u64;
            heard.unchanged += receipt.unchanged as u64;
            heard.last_received_at = Some(now);
        });
    }

    /// A source said `count` things that were not taken; `why` is what was wrong with the last one.
    pub fn refused(&self, source: &str, kind: SourceKind, count: u64, why: &str, now: Micros) {
        let mut why = normalize::scrub(why).into_owned();
        let cut = (0..=ERROR.min(why.len())).rev().find(|i| why.is_char_boundary(*i)).unwrap_or(0);
        why.truncate(cut);
        self.with(source, kind, |heard| {
            heard.rejected += count;
            heard.last_error = Some((now, why));
        });
    }

    /// The watch of a kind of objects is in this state.
    pub(super) fn watching(&self, source: &str, kind: &'static str, state: &'static str, now: Micros) {
        let mut watches = self.watches.lock();
        let watch = watches.entry((source.to_owned(), kind)).or_insert(Watch { state, since: now });
        if watch.state != state {
            *watch = Watch { state, since: now };
        }
    }

    /// What each source said.
    pub fn heard(&self) -> BTreeMap<(String, SourceKind), Heard> {
        self.heard.lock().clone()
    }

    /// How what the hub watches fares.
    pub fn watches(&self) -> BTreeMap<(String, &'static str), Watch> {
        self.watches.lock().clone()
    }

    fn with(&self, source: &str, kind: SourceKind, change: impl FnOnce(&mut Heard)) {
        let mut all = self.heard.lock();
        let mut key = (source.to_owned(), kind);
        if all.len() >= SOURCES && !all.contains_key(&key) {
            key.0 = OTHERS.to_owned();
        }
        change(all.entry(key).or_default());
    }

    /// The rows of `system.sources`: these, and those that the ledger remembers from earlier.
    pub(super) fn rows(&self, tables: &Tables) -> Vec<Vec<Cell<'static>>> {
        let heard = self.heard();
        let known = tables.sources.iter().map(|(_, s)| (tables.text(s.name), s));
        let known: BTreeMap<&str, _> = known.collect();
        let time = |at: Option<Micros>| at.map_or(Cell::Null, Cell::time);
        let mut rows: Vec<Vec<Cell<'static>>> = Vec::new();
        for ((source, kind), heard) in &heard {
            let (error_at, error) = heard.last_error.clone().unzip();
            rows.push(vec![
                Cell::Made(source.clone()),
                Cell::Text(kind.as_str()),
                Cell::Number(heard.accepted as i64),
                Cell::Number(heard.unchanged as i64),
                Cell::Number(heard.rejected as i64),
                time(known.get(source.as_str()).map(|s| s.first_received_at)),
                time(heard.last_received_at.or(known.get(source.as_str()).map(|s| s.last_received_at))),
                time(error_at),
                error.map_or(Cell::Null, Cell::Made),
            ]);
        }
        let silent = known.iter().filter(|(name, _)| !heard.keys().any(|(source, _)| source == *name));
        for (name, record) in silent {
            let kind = if *name == "hub" { Cell::Text("hub") } else { Cell::Null };
            rows.push(vec![
                Cell::Made((*name).to_owned()),
                kind,
                Cell::Number(0),
                Cell::Number(0),
                Cell::Number(0),
                Cell::time(record.first_received_at),
                Cell::time(record.last_received_at),
                Cell::Null,
                Cell::Null,
            ]);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_names_costs_a_bounded_table_and_no_secret_stays() {
        let sources = Sources::default();
        for n in 0..SOURCES + 50 {
            let why = format!("password=hunter{n} is wrong {}", "ü".repeat(ERROR));
            sources.refused(&format!("s{n}"), SourceKind::Push, 2, &why, Micros(n as i64));
        }
        let rows = sources.rows(&Tables::default());
        assert_eq!(rows.len(), SOURCES + 1);
        let text = format!("{rows:?}");
        assert!(!text.contains("hunter"), "{}", &text[..500]);
        let others = rows.iter().find(|row| format!("{:?}", row[0]).contains(OTHERS)).unwrap();
        assert!(matches!(others[4], Cell::Number(100)), "{others:?}");
    }
}
