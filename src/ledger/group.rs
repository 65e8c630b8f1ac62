//! Groups: how many waiting facts one commit takes, and which of them it needs.
//!
//! Invariant: every fact of a group is judged as if the facts before it were folded. Where that cannot be known before they
//! are, the fact is taken as news (and journaled), or the group ends before it.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::{HashMap, HashSet};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

use super::{AppendError, Receipt};
use crate::model::{CarrierKey, Clock, Fact, Micros};
use crate::state::{Novelty, State};

/// Whose facts these are; answered when the last of them is settled.
#[derive(Debug)]
struct Ticket {
    open: usize,
    receipt: Receipt,
    reply: oneshot::Sender<Result<Receipt, AppendError>>,
    /// What the request is a part of, for whoever traces it.
    asked: Span,
    _room: OwnedSemaphorePermit,
}

/// A fact on its way, and the ticket it belongs to.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) fact: Fact,
    pub(super) ticket: u64,
    /// As far as could be told before the group was folded.
    pub(super) novelty: Novelty,
}

impl Queued {
    /// To be journaled with its group.
    pub(super) fn is_news(&self) -> bool {
        self.novelty == Novelty::Changed
    }
}

/// What was taken from the queue and is not settled yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    facts: VecDeque<Queued>,
    tickets: HashMap<u64, Ticket>,
    /// The ticket given last.
    next: u64,
}

impl Backlog {
    /// The ticket of what the hub says to itself: nobody waits for an answer.
    pub(super) const NOBODY: u64 = 0;

    /// Adds the facts of one request.
    pub(super) fn add(
        &mut self,
        facts: Vec<Fact>,
        reply: oneshot::Sender<Result<Receipt, AppendError>>,
        room: OwnedSemaphorePermit,
        asked: Span,
    ) {
        self.next += 1;
        let ticket = self.next;
        let open = facts.len();
        self.tickets.insert(ticket, Ticket { open, receipt: Receipt::default(), reply, asked, _room: room });
        self.facts.extend(facts.into_iter().map(|fact| Queued { fact, ticket, novelty: Novelty::Changed }));
    }

    /// The span of storing a group: below that of its first request, and linked with those of the others.
    pub(super) fn span(&self, group: &[Queued]) -> Span {
        if !tracing::span_enabled!(target: crate::TRACES, tracing::Level::DEBUG) {
            return Span::none();
        }
        let tickets: BTreeSet<u64> = group.iter().map(|queued| queued.ticket).collect();
        let mut asked = tickets.iter().filter_map(|ticket| self.tickets.get(ticket)).map(|ticket| &ticket.asked);
        let first = asked.next().cloned().unwrap_or_else(Span::none);
        let span = tracing::debug_span!(target: crate::TRACES, parent: &first, "journal", koh.facts = group.len());
        asked.for_each(|other| _ = span.follows_from(other));
        span
    }

    /// Facts waiting to be taken into a group.
    pub(super) fn len(&self) -> usize {
        self.facts.len()
    }

    /// True when none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Puts facts back to the front, in their order.
    pub(super) fn put_back(&mut self, facts: Vec<Queued>) {
        for fact in facts.into_iter().rev() {
            self.facts.push_front(fact);
        }
    }

    /// A fact is durable and shown since `seq`; answers its request if it was the last one.
    pub(super) fn settle(&mut self, ticket: u64, seq: u64, news: bool) {
        let Some(open) = self.tickets.get_mut(&ticket) else { return };
        open.open -= 1;
        open.receipt.seq = open.receipt.seq.max(seq);
        *(if news { &mut open.receipt.changed } else { &mut open.receipt.unchanged }) += 1;
        if open.open == 0
            && let Some(done) = self.tickets.remove(&ticket)
        {
            // The one who asked may have gone; what it asked for is done all the same.
            let _ = done.reply.send(Ok(done.receipt));
        }
    }

    /// Answers every open request that it failed.
    pub(super) fn fail(&mut self, why: &AppendError) {
        self.facts.clear();
        for (_, ticket) in self.tickets.drain() {
            let _ = ticket.reply.send(Err(why.clone()));
        }
    }

    /// Takes a group of up to `limit` facts, in the order of arrival, and tells news from repeats.
    pub(super) fn take_group(&mut self, state: &State, limit: usize) -> Vec<Queued> {
        let mut group = Vec::new();
        let mut carriers = Carriers::default();
        for _ in 0..limit {
            let Some(mut next) = self.facts.pop_front() else { break };
            match carriers.resolve(state, &mut next.fact) {
                Resolved::First => next.novelty = state.novelty(&next.fact),
                // Folding the group decides: what turns out to be news after all is taken again.
                Resolved::Again => next.novelty = Novelty::Known,
                Resolved::Later => next.novelty = Novelty::Changed,
                Resolved::Unclear => {
                    self.facts.push_front(next);
                    break;
                }
            }
            if next.is_news() {
                carriers.remember(&next.fact);
            }
            group.push(next);
        }
        group
    }
}

/// What the news of a group said per carrier: the part of the fold that event times depend on.
#[derive(Default)]
struct Carriers {
    latest: HashMap<CarrierKey, Latest>,
    /// What carriers said before their latest.
    earlier: HashSet<(CarrierKey, u64)>,
    untimed: HashSet<(CarrierKey, u64)>,
}

#[derive(Clone, Copy)]
struct Latest {
    identity: u64,
    at: Micros,
    clock: Clock,
}

enum Resolved {
    /// The group has no news of this carrier yet: the state judges.
    First,
    /// The group has news of this carrier, and this repeats it.
    Again,
    /// The group has news of this carrier: this is news too.
    Later,
    /// Its event time depends on folding the group.
    Unclear,
}

impl Carriers {
    fn resolve(&self, state: &State, fact: &mut Fact) -> Resolved {
        let Some(latest) = self.latest.get(&fact.carrier) else {
            state.resolve(fact);
            return Resolved::First;
        };
        if fact.identity == latest.identity {
            (fact.at, fact.clock) = (latest.at, latest.clock);
            return Resolved::Again;
        }
        if fact.clock == Clock::Said {
            let said = self.earlier.contains(&(fact.carrier, fact.identity));
            return if said { Resolved::Again } else { Resolved::Later };
        }
        // Said before, but perhaps not by the carrier's latest statement: by content it would be new, by version it is known.
        let mut known = fact.clone();
        state.resolve(&mut known);
        if known != *fact || self.untimed.contains(&(fact.carrier, fact.identity)) {
            return Resolved::Unclear;
        }
        Resolved::Later
    }

    fn remember(&mut self, fact: &Fact) {
        let latest = Latest { identity: fact.identity, at: fact.at, clock: fact.clock };
        if let Some(before) = self.latest.insert(fact.carrier, latest) {
            self.earlier.insert((fact.carrier, before.identity));
        }
        if fact.clock != Clock::Said {
            self.untimed.insert((fact.carrier, fact.identity));
        }
    }
}
