//! Event time, order, and the lives of carriers (§3.7, §3.14).
//!
//! Invariant: everything below this module sees statements by event time only; the order of receipt decides nothing but which
//! confirmations of a run are kept (`reconcilers`).

use std::collections::BTreeMap;

use super::input::{At, FUTURE, Object, Observed, Said, Status};

/// A statement with its event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub at: At,
    pub carrier: String,
    pub said: Said,
    /// Where it stands among others.
    pub rank: Rank,
}

/// The order of statements: event time, deletion last, then status, commit, content (§3.7 *Equal times*).
pub type Rank = (At, bool, Option<Status>, Option<String>, String);

impl Statement {
    fn new(at: At, carrier: String, said: Said) -> Statement {
        let (status, commit) = match &said {
            Said::Declares(d) => (None, d.commit.clone()),
            Said::Reports(r) => (Some(r.status), r.commit.clone()),
            Said::Host(_) | Said::Gone(_) => (None, None),
        };
        let rank = (at, ends(&said), status, commit, format!("{said:?} {carrier}"));
        Statement { at, carrier, said, rank }
    }

    /// The host this is heard of.
    pub fn host(&self) -> Option<&str> {
        match &self.said {
            Said::Reports(r) => Some(&r.host),
            Said::Host(h) => Some(&h.name),
            _ => None,
        }
    }
}

/// Whether this ends something: a deletion, or a host declared retired.
fn ends(said: &Said) -> bool {
    match said {
        Said::Gone(_) => true,
        Said::Host(word) => word.retired,
        _ => false,
    }
}

/// Finds event times (§3.7 *Event time*). Keeps the order of receipt, and what was said before, word for word.
pub fn resolve(history: &[Observed]) -> Vec<Statement> {
    let mut arrived: Vec<Statement> = Vec::new();
    let mut known: BTreeMap<(String, String), At> = BTreeMap::new();
    let mut latest: BTreeMap<String, (String, At)> = BTreeMap::new();
    for observed in history {
        let carrier = observed.carrier_key();
        let content = format!("{:?} {:?}", observed.said_at, observed.said);
        let believed = observed.said_at.filter(|said| *said <= observed.received_at + FUTURE);
        let first_receipt = match &observed.identity {
            Some(identity) => *known.entry((carrier.clone(), identity.clone())).or_insert(observed.received_at),
            None => match latest.get(&carrier) {
                Some((same, first)) if *same == content => *first,
                _ => observed.received_at,
            },
        };
        latest.insert(carrier.clone(), (content, first_receipt));
        arrived.push(Statement::new(believed.unwrap_or(first_receipt), carrier, observed.said.clone()));
    }
    arrived
}

/// One carrier speaking of one object, without a break (§3.14).
#[derive(Clone, Debug)]
pub struct Life {
    pub object: Object,
    pub from: At,
    /// When the carrier went, let go for another object, or the host was retired; `None` while it lives.
    pub until: Option<At>,
    /// What it said, in order.
    pub said: Vec<Statement>,
}

/// The lives of all carriers (§3.14: deletion closes, a later declaration undoes it, another key lets go of the old one;
/// §3.8: a host declared retired takes its reconcilers with it).
pub fn lives(statements: &[Statement]) -> Vec<Life> {
    let mut carriers: Vec<&String> = statements.iter().map(|s| &s.carrier).collect();
    carriers.sort();
    carriers.dedup();
    carriers.into_iter().flat_map(|carrier| lives_of(carrier, statements)).collect()
}

fn lives_of(carrier: &str, statements: &[Statement]) -> Vec<Life> {
    let mut seen: Vec<&Statement> = statements.iter().filter(|s| s.carrier == carrier || retires_a_host(s)).collect();
    seen.sort_by(|a, b| a.rank.cmp(&b.rank));
    let mut finished = Vec::new();
    let mut open: Option<Life> = None;
    for statement in seen {
        let over = if retires_a_host(statement) {
            open.as_ref().is_some_and(|life| belongs_to(&life.object, statement))
        } else {
            open.as_ref().is_some_and(|life| ends(&statement.said) || life.object != statement.said.object())
        };
        if over && let Some(mut life) = open.take() {
            life.until = Some(statement.at);
            finished.push(life);
        }
        if ends(&statement.said) {
            continue;
        }
        let life = open.get_or_insert_with(|| Life {
            object: statement.said.object(),
            from: statement.at,
            until: None,
            said: Vec::new(),
        });
        life.said.push(statement.clone());
    }
    finished.extend(open);
    finished
}

fn retires_a_host(statement: &Statement) -> bool {
    matches!(&statement.said, Said::Host(word) if word.retired)
}

fn belongs_to(object: &Object, retirement: &Statement) -> bool {
    match object {
        Object::Reconciler { host, .. } | Object::Host(host) => retirement.host() == Some(host),
        Object::Target(_) => false,
    }
}
