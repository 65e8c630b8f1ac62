//! Recomputes what is derived: after each fact for the objects it touched, and for everything after the tables were restored.
//!
//! Invariants: derived fields are a function of the stored ones, so that live and restored state agree; whoever changes `now`
//! or `standing` of a reconciler moves it among the [`Subscribers`](super::subscribers::Subscribers) too. What changes
//! derived fields alone does so at sequence 0, for it gives a checkpoint nothing to write.

use std::sync::Arc;

use crate::ledger::record::Derived;
use crate::model::{Liveness, Micros};

use super::carrier::{Object, ObjectKind};
use super::commit_log::Moved;
use super::expectations::Expected;
use super::fold::WHY;
use super::standing::Standing;
use super::target::{TargetRecord, assignments};
use super::{State, Touched};

impl State {
    pub(super) fn derive(&mut self, seq: u64, object: Object, touched: &mut Touched) {
        match object.kind {
            ObjectKind::Target => self.derive_target(seq, object.id),
            ObjectKind::Reconciler => {
                self.derive_reconciler(seq, object.id);
                let host = self.tables.reconcilers.get(object.id).expect(WHY).host;
                if self.derive_host(seq, host) {
                    touched.push(Object { kind: ObjectKind::Host, id: host, rank: 0 });
                }
            }
            ObjectKind::Host => {
                self.derive_host(seq, object.id);
                self.derive_expectations(object.id, &[]);
            }
            // Nothing follows from what is said of it: the gate reads it as it is.
            ObjectKind::Verification => {}
        }
    }

    fn derive_target(&mut self, seq: u64, id: u32) {
        let target = self.tables.targets.get(id).expect(WHY);
        let spans = self.tables.spans(ObjectKind::Target, id, target.carriers.iter().copied());
        let derived = Arc::new(assignments(&target.declarations, &spans));
        let target = self.tables.targets.get_mut(id, seq).expect(WHY);
        let before = endpoint_of(target);
        target.assignments = Derived(derived);
        self.index.desired_moves += 1;
        let expected = (target.workload, target.environment, target.name);
        if endpoint_of(target) != before {
            for host in self.index.expectations.ever(expected) {
                self.derive_missing(id, host);
            }
        }
    }

    /// The state of a reconciler, and its place among the subscribers of its endpoint.
    pub(super) fn derive_reconciler(&mut self, seq: u64, id: u32) {
        let mut walk = std::mem::take(&mut self.walk);
        self.tables.walk(id, &mut walk);
        let r = self.tables.reconcilers.get(id).expect(WHY);
        let mut unplaced = Vec::new();
        let standing = Standing::read(&self.tables, r, &walk, self.is_silent(r.host), &mut unplaced);
        for commit in unplaced {
            self.index.unplaced.entry(commit).or_default().insert(id);
        }
        let r = self.tables.reconcilers.get_mut(id, seq).expect(WHY);
        // A run of equal words names the source of the first one; of several sources the freshest prevails.
        if let Some(freshest) = r.sources.iter().max_by_key(|w| w.at).filter(|w| w.at >= walk.now.reported_at) {
            walk.now.source = freshest.source;
        }
        self.index.at(r.now.endpoint).leave(id, &r.standing, &r.now);
        (r.now, r.standing) = (Derived(walk.now), Derived(standing));
        self.index.at(r.now.endpoint).enter(id, &r.standing, &r.now);
        self.walk = walk;
    }

    fn is_silent(&self, host: u32) -> bool {
        self.tables.hosts.get(host).expect(WHY).liveness() == Liveness::Silent
    }

    /// A host fell silent or is heard again: so do its reconcilers.
    pub(super) fn derive_silence(&mut self, host: u32) {
        let silent = self.is_silent(host);
        for at in 0..self.index.reconcilers_of(host).len() {
            let id = self.index.reconcilers_of(host)[at];
            let r = self.tables.reconcilers.get(id).expect(WHY);
            if !r.standing.alive || r.standing.silent == silent {
                continue;
            }
            let r = self.tables.reconcilers.get_mut(id, 0).expect(WHY);
            let here = self.index.at(r.now.endpoint);
            here.leave(id, &r.standing, &r.now);
            r.standing.silent = silent;
            here.enter(id, &r.standing, &r.now);
        }
    }

    /// A commit got a place, or places changed their order: whoever spoke of such commits stands elsewhere by now.
    pub(super) fn derive_moved(&mut self, log: u32, moved: &Moved) {
        self.index.desired_moves += u64::from(moved.reordered || !moved.placed.is_empty());
        for commit in &moved.placed {
            for id in self.index.unplaced.remove(commit).unwrap_or_default() {
                self.derive_reconciler(0, id);
            }
        }
        let all_new = !moved.placed.is_empty() && self.tables.logs.get(log).expect(WHY).placed() == moved.placed.len();
        if moved.reordered || all_new {
            let endpoints = self.tables.endpoints.iter().filter(|(_, e)| *e.log == Some(log));
            for endpoint in endpoints.map(|(id, _)| id).collect::<Vec<_>>() {
                self.derive_subscribers(endpoint);
            }
        }
    }

    /// The log in which the commits of an endpoint are placed. Nobody should declare one endpoint in two logs; of those who
    /// do the first known log counts, and the gate reads histories for the other.
    pub(super) fn derive_home(&mut self, endpoint: u32, log: u32) {
        let known = *self.tables.endpoints.get(endpoint).expect(WHY).log;
        if known.is_none_or(|known| log < known) {
            self.tables.endpoints.get_mut(endpoint, 0).expect(WHY).log = Derived(Some(log));
            self.derive_subscribers(endpoint);
        }
    }

    fn derive_subscribers(&mut self, endpoint: u32) {
        let ids: Vec<u32> = self.index.current(endpoint).map(|s| s.ids().collect()).unwrap_or_default();
        for id in ids {
            self.derive_reconciler(0, id);
        }
    }

    /// Where a host is missing, after anything it said or any of its reconcilers said; `before` is what it expected before.
    pub(super) fn derive_expectations(&mut self, host: u32, before: &[Expected]) {
        let declared = self.tables.hosts.get(host).expect(WHY).declared.as_ref();
        let mut expected: Vec<Expected> = declared.map(|d| d.expects.clone()).unwrap_or_default();
        expected.iter().for_each(|e| self.index.expectations.expect(*e, host));
        expected.extend(before);
        for (workload, environment, name) in expected {
            for at in 0..self.index.targets_of(workload, environment).len() {
                let target = self.index.targets_of(workload, environment)[at];
                if self.tables.targets.get(target).expect(WHY).name == name {
                    self.derive_missing(target, host);
                }
            }
        }
    }

    fn derive_missing(&mut self, id: u32, host: u32) {
        let target = self.tables.targets.get(id).expect(WHY);
        let expected = (target.workload, target.environment, target.name);
        let expects = self.tables.expects(host, self.tables.hosts.get(host).expect(WHY)).contains(&expected);
        let missing = expects && endpoint_of(target).is_some_and(|e| !self.index.ever_reported(host, e));
        self.index.desired_moves += u64::from(self.index.expectations.set(id, host, missing));
    }

    /// A host is retired when that was declared after everything else that was said of it, or when all that spoke of it is gone.
    pub(super) fn derive_host(&mut self, seq: u64, id: u32) -> bool {
        let h = self.tables.hosts.get(id).expect(WHY);
        let carried = |c: &u32| {
            self.tables
                .carriers
                .get(*c)
                .and_then(|c| c.object())
                .is_some_and(|o| o.kind == ObjectKind::Host && o.id == id)
        };
        let declared = h.retirements.last().copied().filter(|at| *at >= h.newest_statement());
        let mut gone = Micros::MIN;
        let mut lives = h.carriers.iter().any(carried);
        if !lives {
            let spans = self.tables.spans(ObjectKind::Host, id, h.carriers.iter().copied());
            gone = spans.iter().map(|(_, s)| s.to).max().unwrap_or(Micros::MIN);
        }
        for r in self.index.reconcilers_of(id) {
            let now = &self.tables.reconcilers.get(*r).expect(WHY).now;
            lives |= now.alive();
            if lives {
                break;
            }
            gone = gone.max(now.retired_at);
        }
        let retired_at = declared.unwrap_or(if lives || gone == Micros::MIN { Micros::MAX } else { gone });
        if *h.retired_at == retired_at {
            return false;
        }
        self.tables.hosts.get_mut(id, seq).expect(WHY).retired_at = Derived(retired_at);
        self.derive_silence(id);
        self.derive_expectations(id, &[]);
        true
    }

    /// Recomputes everything derived, after the tables were restored.
    pub(super) fn derive_all(&mut self) {
        for id in 0..self.tables.logs.len() as u32 {
            self.tables.logs.get_mut(id, 0).expect(WHY).rebuild();
        }
        for id in 0..self.tables.targets.len() as u32 {
            self.derive_target(0, id);
            for at in 0..self.tables.targets.get(id).expect(WHY).declarations.len() {
                let d = self.tables.targets.get(id).expect(WHY).declarations[at];
                self.derive_home(d.endpoint, d.log);
            }
        }
        for id in 0..self.tables.reconcilers.len() as u32 {
            self.derive_reconciler(0, id);
        }
        for id in 0..self.tables.hosts.len() as u32 {
            self.derive_host(0, id);
            self.derive_expectations(id, &[]);
        }
    }
}

fn endpoint_of(target: &TargetRecord) -> Option<u32> {
    target.assignments.in_force().map(|(_, a)| a.endpoint)
}
