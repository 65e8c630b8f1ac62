//! How the hub itself fares, for its metrics: positions, times and counts, read in small steps.
//!
//! Invariant: no lock is held for longer than it takes to copy a bounded number of small values, and nothing waits for the writer,
//! so that this answers while the store is read-only or slow.

use std::collections::BTreeMap;

use super::heard::Watch;
use super::hub::Hub;
use super::kept::Exports;
use crate::ledger::{self, Trouble};
use crate::model::Micros;
use crate::query;

/// Sources of earlier that are looked at.
const SOURCES: usize = 1_000;

/// One moment of a hub.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// The last acknowledged sequence.
    pub seq: u64,
    /// Why nothing is taken, if nothing is.
    pub trouble: Option<Trouble>,
    /// From when on all that reconcilers reported is in the ledger.
    pub kept_since: Micros,
    /// Facts on their way into the ledger, and how many may be.
    pub queue: (usize, usize),
    /// The sequence of the current generation, and when it was taken.
    pub generation: (u64, Micros),
    /// The sequence of the newest export, and when its generation was taken.
    pub export: Option<(u64, Micros)>,
    /// How many wait for the gate, for answers to how many questions, and how often it made an answer.
    pub gate: (usize, usize, u64),
    /// What each source said, by name and kind.
    pub sources: BTreeMap<(String, &'static str), Source>,
    /// How the watches fare, by source and kind of object.
    pub watches: BTreeMap<(String, &'static str), Watch>,
    /// Sources whose first complete scan is not in yet.
    pub unheard: usize,
}

/// What one source said.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Statements since the start that said something new, nothing new, and that were not taken.
    pub statements: [u64; 3],
    /// When it was last heard, also before the start.
    pub heard_at: Option<Micros>,
    /// When something was last wrong with it.
    pub failed_at: Option<Micros>,
}

/// Which of the two engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// For lists and views.
    Rows,
    /// For statements of clients.
    Sql,
}

impl Hub {
    /// How the hub fares now.
    pub fn vitals(&self) -> Vitals {
        let known: Vec<(String, Micros)> = self.read(|state| {
            let tables = state.view();
            let sources = tables.sources.iter().take(SOURCES);
            sources.map(|(_, s)| (tables.text(s.name).to_owned(), s.last_received_at)).collect()
        });
        let mut sources: BTreeMap<(String, &'static str), Source> = BTreeMap::new();
        for ((name, kind), heard) in self.sources().heard() {
            let source = Source {
                statements: [heard.accepted, heard.unchanged, heard.rejected],
                heard_at: heard.last_received_at,
                failed_at: heard.last_error.map(|(at, _)| at),
            };
            sources.insert((name, kind.as_str()), source);
        }
        for (name, at) in known {
            let from = (name.clone(), "");
            let spoke: Vec<&mut Source> =
                sources.range_mut(from..).take_while(|((source, _), _)| *source == name).map(|(_, s)| s).collect();
            if spoke.is_empty() {
                // Which kind it was is not remembered; what the hub concludes by itself is a source of its own.
                let kind = if name == "hub" { "hub" } else { "" };
                sources.insert((name, kind), Source { heard_at: Some(at), ..Source::default() });
            } else {
                spoke.into_iter().for_each(|source| source.heard_at = source.heard_at.or(Some(at)));
            }
        }
        Vitals {
            seq: self.seq(),
            trouble: self.trouble(),
            kept_since: self.read(|state| state.view().kept_since()),
            queue: self.ledger().queue(),
            generation: self.newest_generation(),
            export: self.kept().newest_export(),
            gate: self.waiters().counts(),
            sources,
            watches: self.sources().watches(),
            unheard: self.unheard().len(),
        }
    }

    /// What the ledger counted since the start.
    pub fn ledger_stats(&self) -> &ledger::Stats {
        self.ledger().stats()
    }

    /// Exports in numbers.
    pub fn exports(&self) -> &Exports {
        self.kept().exports()
    }

    /// An engine.
    pub fn engine(&self, which: Engine) -> &query::Engine {
        match which {
            Engine::Rows => self.rows(),
            Engine::Sql => self.sql(),
        }
    }
}
