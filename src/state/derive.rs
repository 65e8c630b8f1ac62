//! Recomputes what is derived: after each fact for the objects it touched, and for everything after the tables were restored.
//!
//! Invariants: derived fields are a function of the stored ones, so that live and restored state agree; whoever changes `now`
//! or `standing` of a reconciler moves it among the [`Subscribers`](super::subscribers::Subscribers) too. What changes
//! derived fields alone does so at sequence 0, for it gives a checkpoint nothing to write.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::ledger::record::Derived;
use crate::model::{Liveness, Micros, Selector};

use super::carrier::{Object, ObjectKind};
use super::commit_log::Moved;
use super::expectations::Expected;
use super::fold::WHY;
use super::labels::Labels;
use super::standing::{Heard, Standing};
use super::target::{TargetRecord, assignments};
use super::walk::{Now, Walk};
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
        let before = expected_as(target);
        target.assignments = Derived(derived);
        self.index.desired_moves += 1;
        let expected = (target.workload, target.environment, target.name);
        if expected_as(target) != before {
            self.derive_selected(id);
            for host in self.index.expectations.ever(expected) {
                self.derive_missing(id, host);
            }
        }
    }

    /// The state of a reconciler, and its place among the subscribers of its endpoint.
    pub(super) fn derive_reconciler(&mut self, seq: u64, id: u32) {
        let mut walk = std::mem::take(&mut self.walk);
        let mut unplaced = Vec::new();
        let (now, standing) = self.reconciler_now(id, &mut walk, &mut unplaced);
        self.walk = walk;
        for commit in unplaced {
            self.index.unplaced.entry(commit).or_default().insert(id);
        }
        let r = self.tables.reconcilers.get_mut(id, seq).expect(WHY);
        self.index.at(r.now.endpoint).leave(id, &r.standing, &r.now);
        (r.now, r.standing) = (Derived(now), Derived(standing));
        self.index.at(r.now.endpoint).enter(id, &r.standing, &r.now);
    }

    /// What a reconciler runs now and where it stands, by its records. `unplaced` receives the commits that may change it.
    pub(super) fn reconciler_now(&self, id: u32, walk: &mut Walk, unplaced: &mut Vec<u32>) -> (Now, Standing) {
        self.tables.walk(id, walk);
        let r = self.tables.reconcilers.get(id).expect(WHY);
        let standing = Standing::read(&self.tables, r, walk, self.heard(r.host), unplaced);
        // A run of equal words names the source of the first one; of several sources the freshest prevails.
        if let Some(freshest) = r.sources.iter().max_by_key(|w| w.at).filter(|w| w.at >= walk.now.reported_at) {
            walk.now.source = freshest.source;
        }
        (walk.now, standing)
    }

    pub(super) fn heard(&self, host: u32) -> Heard {
        self.tables.hosts.get(host).expect(WHY).liveness().into()
    }

    /// A host turned from what it was before, or is heard again: so do its reconcilers.
    pub(super) fn derive_silence(&mut self, host: u32, before: Liveness) {
        if before == Liveness::Unknown || self.heard(host) == Heard::Unknown {
            // Where it is missing it counts again, or no more.
            self.index.desired_moves += 1;
        }
        self.derive_heard(host);
    }

    fn derive_heard(&mut self, host: u32) {
        let heard = self.heard(host);
        for at in 0..self.index.reconcilers_of(host).len() {
            let id = self.index.reconcilers_of(host)[at];
            let r = self.tables.reconcilers.get(id).expect(WHY);
            if !r.standing.alive || r.standing.heard == heard {
                continue;
            }
            let r = self.tables.reconcilers.get_mut(id, 0).expect(WHY);
            let here = self.index.at(r.now.endpoint);
            here.leave(id, &r.standing, &r.now);
            r.standing.heard = heard;
            here.enter(id, &r.standing, &r.now);
        }
    }

    /// A commit got a place, or places changed their order: whoever spoke of such commits stands elsewhere by now.
    pub(super) fn derive_moved(&mut self, log: u32, moved: &Moved) {
        self.index.desired_moves += u64::from(moved.visited);
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
        self.derive_group(host);
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
        let missing = self.is_missing(id, host);
        self.index.desired_moves += u64::from(self.index.expectations.set(id, host, missing));
    }

    /// Whether a host is expected on a target by name and never reported for its endpoint.
    pub(super) fn is_missing(&self, id: u32, host: u32) -> bool {
        let target = self.tables.targets.get(id).expect(WHY);
        let expected = (target.workload, target.environment, target.name);
        let expects = self.tables.expects(host, self.tables.hosts.get(host).expect(WHY)).contains(&expected);
        let selected = self.index.expectations.selector_of(host).is_some_and(|s| target.selected.contains(&s));
        expects && !selected && target.endpoint().is_some_and(|e| !self.index.ever_reported(host, e))
    }

    /// The hosts that a host selects like, by the selector that stands now.
    fn derive_group(&mut self, host: u32) {
        let selector = self.tables.selector(host, self.tables.hosts.get(host).expect(WHY));
        let before = self.index.expectations.selector_of(host);
        if before.unwrap_or(0) == selector {
            return;
        }
        self.index.desired_moves += 1;
        let reconcilers = self.index.reconcilers_of(host).iter().filter_map(|r| self.tables.reconcilers.get(*r));
        let endpoints: BTreeSet<u32> = reconcilers.flat_map(|r| r.history.endpoints()).collect();
        if let Some(before) = before
            && self.index.expectations.leave(host, &endpoints)
        {
            self.derive_selector(before, None);
        }
        // Id 0 is the empty text, which is no selector.
        if let Some(parsed) = Selector::parse(self.tables.text(selector)) {
            if self.index.expectations.join(selector, parsed.clone(), host) {
                self.derive_selector(selector, Some(&parsed));
            }
            for endpoint in endpoints {
                self.index.expectations.reported(host, endpoint);
            }
        }
    }

    /// The targets that a selector takes in, when the first host has it or (`None`) none has it any more.
    fn derive_selector(&mut self, id: u32, selector: Option<&Selector>) {
        let t = &self.tables;
        // Many targets are labelled alike.
        let mut labels: HashMap<u32, Labels> = HashMap::new();
        let mut takes = |target: &TargetRecord| {
            let Some((selector, (_, a))) = selector.zip(target.assignments.in_force()) else { return false };
            let declared = labels.entry(a.labels).or_insert_with(|| t.labels(target).unwrap_or_default());
            selector.matches(|key| t.label(target, declared, key))
        };
        let changed = t.targets.iter().filter(|(_, target)| takes(target) != target.selected.contains(&id));
        for target in changed.map(|(target, _)| target).collect::<Vec<_>>() {
            let selected = &mut self.tables.targets.get_mut(target, 0).expect(WHY).selected;
            if !selected.remove(&id) {
                selected.insert(id);
            }
        }
    }

    /// The selectors that take in a target, when it or its labels changed.
    fn derive_selected(&mut self, id: u32) {
        let target = self.tables.targets.get(id).expect(WHY);
        let labels = if self.index.expectations.any_selects() { self.tables.labels(target) } else { None };
        let selecting = |labels| self.index.expectations.selecting(|key| self.tables.label(target, &labels, key));
        let selected = labels.map(selecting).unwrap_or_default();
        if *target.selected != selected {
            self.tables.targets.get_mut(id, 0).expect(WHY).selected = Derived(selected);
        }
    }

    pub(super) fn derive_host(&mut self, seq: u64, id: u32) -> bool {
        let retired_at = self.host_retired_at(id);
        let h = self.tables.hosts.get(id).expect(WHY);
        if *h.retired_at == retired_at {
            return false;
        }
        self.tables.hosts.get_mut(id, seq).expect(WHY).retired_at = Derived(retired_at);
        self.derive_heard(id);
        self.derive_expectations(id, &[]);
        true
    }

    /// A host is retired when that was declared after everything else that was said of it, or when all that spoke of it is gone.
    pub(super) fn host_retired_at(&self, id: u32) -> Micros {
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
        declared.unwrap_or(if lives || gone == Micros::MIN { Micros::MAX } else { gone })
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

/// What expectations hang on: endpoint and labels, while the target lives.
fn expected_as(target: &TargetRecord) -> Option<(u32, u32)> {
    target.assignments.in_force().map(|(_, a)| (a.endpoint, a.labels))
}
