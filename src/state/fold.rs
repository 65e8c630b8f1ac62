//! Applies facts to the tables: one function per kind of fact.
//!
//! Invariant: whatever a fact touches, the derived fields (`now`, `assignments`, `retired_at`, places) of all objects that
//! depend on it are recomputed before `apply` returns, by [`super::derive`].

use super::carrier::{CarrierRecord, Object, ObjectKind};
use super::commit_log::{LogRecord, Moved};
use super::history::{Inserted, Statement};
use super::host::{HostDeclared, HostRecord};
use super::index::add;
use super::rank::rank;
use super::tables::{EndpointRecord, ReconcilerRecord, SourceRecord, SourceWord, VersionRecord};
use super::target::{Declared, TargetRecord};
use super::{State, Touched, tie};
use crate::model::{
    Body, Clock, Declaration, Endpoint, Fact, HostDeclaration, LivenessChange, Micros, Report, Sighting,
};

pub(super) const WHY: &str = "the id came from the index, which names existing records only";

impl State {
    /// Folds a (resolved) fact in; `seq` is the sequence that makes it durable.
    pub fn apply(&mut self, seq: u64, fact: &Fact) -> Touched {
        let source = self.intern(&fact.source, seq);
        if let Body::Liveness(changes) = &fact.body {
            return self.apply_liveness(seq, changes);
        }
        self.count(source, fact, seq);
        let carrier = self.intern_carrier(fact, source, seq);
        let record = self.tables.carriers.get_mut(carrier, seq).expect(WHY);
        record.received(fact.identity, fact.at);
        if fact.clock != Clock::Said {
            record.remember(fact.identity, fact.at);
        }
        match &fact.body {
            Body::Declaration(d) => self.apply_declaration(seq, fact, carrier, source, d),
            Body::Report(r) => self.apply_report(seq, fact, carrier, source, r),
            Body::Host(h) => self.apply_host(seq, fact, carrier, h),
            Body::Gone => self.claim(seq, fact, carrier, None, &[]),
            Body::Sighting(s) => self.apply_sighting(seq, fact, carrier, s),
            Body::Verification(v) => self.apply_verification(seq, fact, carrier, v),
            Body::Liveness(_) => Touched::new(),
        }
    }

    pub(super) fn intern(&mut self, text: &str, seq: u64) -> u32 {
        self.index.names.intern(&mut self.tables.names, text, seq)
    }

    fn intern_some(&mut self, text: &Option<String>, seq: u64) -> u32 {
        text.as_deref().map_or(0, |t| self.intern(t, seq))
    }

    fn count(&mut self, source: u32, fact: &Fact, seq: u64) {
        let id = match self.index.sources.get(&source) {
            Some(id) => *id,
            None => {
                let record =
                    SourceRecord { name: source, first_received_at: fact.received_at, ..SourceRecord::default() };
                let id = self.tables.sources.push(record, seq);
                self.index.sources.insert(source, id);
                id
            }
        };
        let record = self.tables.sources.get_mut(id, seq).expect(WHY);
        record.last_received_at = record.last_received_at.max(fact.received_at);
        record.changes += 1;
    }

    fn intern_carrier(&mut self, fact: &Fact, source: u32, seq: u64) -> u32 {
        if let Some(id) = self.index.carriers.get(&fact.carrier) {
            return *id;
        }
        let id = self.tables.carriers.push(CarrierRecord::new(fact.carrier, source), seq);
        self.index.carriers.insert(fact.carrier, id);
        id
    }

    fn intern_endpoint(&mut self, e: &Endpoint, seq: u64) -> u32 {
        let storage_type = self.intern(&e.storage_type, seq);
        let canonical = self.intern(&e.canonical, seq);
        if let Some(id) = self.index.endpoints.get(&(storage_type, canonical)) {
            return *id;
        }
        let raw = self.intern(&e.raw, seq);
        let id = self
            .tables
            .endpoints
            .push(EndpointRecord { storage_type, canonical, raw, ..EndpointRecord::default() }, seq);
        self.index.endpoints.insert((storage_type, canonical), id);
        id
    }

    fn intern_log(&mut self, repo: &str, branch: &str, seq: u64) -> u32 {
        let key = (self.intern(repo, seq), self.intern(branch, seq));
        if let Some(log) = self.index.logs.get(&key) {
            return *log;
        }
        let log = self.tables.logs.push(LogRecord::new(key.0, key.1), seq);
        self.index.logs.insert(key, log);
        log
    }

    fn intern_host(&mut self, name: &str, fact: &Fact, seq: u64) -> u32 {
        let name = self.intern(name, seq);
        if let Some(id) = self.index.hosts.get(&name) {
            return *id;
        }
        let id = self.tables.hosts.push(HostRecord::new(name, fact.at), seq);
        self.index.hosts.insert(name, id);
        self.known_since.insert(id, fact.received_at);
        id
    }

    /// Files what a carrier names, and recomputes all objects it ever named when that changed.
    pub(super) fn claim(
        &mut self,
        seq: u64,
        fact: &Fact,
        carrier: u32,
        object: Option<Object>,
        barriers: &[Micros],
    ) -> Touched {
        let moved = self.file(seq, fact, carrier, object, barriers);
        self.derive_named(seq, carrier, object, moved)
    }

    /// Files what a carrier names; true when other objects it named may be concerned.
    fn file(&mut self, seq: u64, fact: &Fact, carrier: u32, object: Option<Object>, barriers: &[Micros]) -> bool {
        let record = self.tables.carriers.get_mut(carrier, seq).expect(WHY);
        let moved = record.claim(fact.at, object, barriers) && (record.claims().count() > 1 || object.is_none());
        if moved {
            self.mark_departures(seq, carrier, fact.received_at);
        }
        moved
    }

    fn derive_named(&mut self, seq: u64, carrier: u32, object: Option<Object>, moved: bool) -> Touched {
        let mut touched: Touched = object.into_iter().collect();
        if moved {
            for o in self.tables.carriers.get(carrier).expect(WHY).claims().filter_map(|c| c.object) {
                if !touched.contains(&o) {
                    touched.push(o);
                }
            }
        }
        for o in touched.clone() {
            self.derive(seq, o, &mut touched);
        }
        touched
    }

    /// Writes the departures of a carrier into the histories of the reconcilers it left, so that nothing is merged across them.
    fn mark_departures(&mut self, seq: u64, carrier: u32, received_at: Micros) {
        let record = self.tables.carriers.get(carrier).expect(WHY);
        let claims: Vec<_> = record.claims().collect();
        for pair in claims.windows(2) {
            if let Some(o) = pair[0].object
                && o.kind == ObjectKind::Reconciler
                && pair[1].object != Some(o)
            {
                self.mark_departure(seq, o.id, pair[1].first, received_at);
            }
        }
    }

    fn mark_departure(&mut self, seq: u64, reconciler: u32, at: Micros, received_at: Micros) {
        let known = |r: &ReconcilerRecord| r.history.iter().any(|s| s.gone && s.first == at);
        if self.tables.reconcilers.get(reconciler).is_none_or(known) {
            return;
        }
        self.insert_statement(seq, reconciler, Statement::departure(at, received_at));
    }

    fn insert_statement(&mut self, seq: u64, reconciler: u32, s: Statement) -> Inserted {
        if self.is_forgotten(reconciler, &s) {
            return Inserted::Known;
        }
        // The history leaves its record for the time of the insertion: the tie rule reads the tables.
        let mut history = std::mem::take(&mut self.tables.reconcilers.get_mut(reconciler, seq).expect(WHY).history);
        let inserted = history.insert(s, &|a, b| tie(&self.tables, a, b));
        self.tables.reconcilers.get_mut(reconciler, seq).expect(WHY).history = history;
        inserted
    }

    /// Whether a statement came from among those that were dropped, of a time of which no word is kept either.
    fn is_forgotten(&self, reconciler: u32, s: &Statement) -> bool {
        let history = &self.tables.reconcilers.get(reconciler).expect(WHY).history;
        self.tables.window.get(0).is_some_and(|window| s.first < window.forgotten)
            && history.dropped().is_some()
            && history.iter().next().is_some_and(|kept| s.first < kept.first)
    }

    fn apply_report(&mut self, seq: u64, fact: &Fact, carrier: u32, source: u32, report: &Report) -> Touched {
        let host = self.intern_host(&report.host, fact, seq);
        let name = self.intern(&report.reconciler, seq);
        let kind = self.intern(&report.reconciler_type, seq);
        let known = self.index.reconcilers.get(&(host, name)).copied();
        let id = known.unwrap_or_else(|| {
            let record = ReconcilerRecord { host, name, kind, carrier, ..ReconcilerRecord::default() };
            let id = self.tables.reconcilers.push(record, seq);
            self.index.reconcilers.insert((host, name), id);
            add(&mut self.index.host_reconcilers, host, id);
            id
        });
        let endpoint = self.intern_endpoint(&report.endpoint, seq);
        let subscribes = add(&mut self.index.subscribers, endpoint, id);
        let new = self.statement(fact, report, endpoint, source, seq);
        let retirements = self.tables.hosts.get(host).expect(WHY).retirements.clone();
        let object = Object {
            kind: ObjectKind::Reconciler,
            id,
            rank: rank(report.status as u64, &report.commit, &[&report.host, &report.reconciler]),
        };
        // A departure that is known already ends the life that a late word began: it must stand before the word is merged.
        let late = self.tables.carriers.get(carrier).and_then(CarrierRecord::newest).is_some_and(|c| c.last >= fact.at);
        let filed = late.then(|| self.file(seq, fact, carrier, Some(object), &retirements));
        let r = self.tables.reconcilers.get(id).expect(WHY);
        if carrier != r.carrier || !r.more_carriers.is_empty() {
            // Before a run takes the word in and with it the word of another source.
            self.hear_source(seq, id, &new);
        }
        // At one time a failure outweighs what else was said; as soon as the rest is said again, it is the last word.
        let newest = self.tables.reconcilers.get(id).and_then(|r| r.history.newest());
        let outgrows = newest.is_some_and(|n| n.applied != 0 && n.first == n.last);
        let inserted = self.insert_statement(seq, id, new);
        if known.is_none() {
            for at in &retirements {
                self.mark_departure(seq, id, *at, fact.received_at);
            }
        }
        let r = self.tables.reconcilers.get_mut(id, seq).expect(WHY);
        if carrier != r.carrier && !r.more_carriers.contains(&carrier) {
            r.more_carriers.push(carrier);
        }
        if r.history.newest().is_some_and(|n| n.last == fact.at && n.same(&new)) {
            r.kind = kind;
        }
        let labels = self.intern(&report.labels, seq);
        let h = self.tables.hosts.get_mut(host, seq).expect(WHY);
        let (is_new, shown) = (h.heard_at == Micros::MIN && h.declared.is_none(), h.labels());
        let back = h.hear(fact.at);
        let text = |id: u32| super::names::text(&self.tables.names, id);
        let (at, before) = h.reported_labels;
        if labels != 0 && (at, text(before)) <= (fact.at, text(labels)) {
            self.index.desired_moves += u64::from(before != labels);
            h.reported_labels = (fact.at, labels);
        }
        let of_host = is_new || back.is_some() || h.labels() != shown;
        let of_host = of_host.then_some(Object { kind: ObjectKind::Host, id: host, rank: 0 });
        if let Some(before) = back {
            self.derive_silence(host, before);
        }
        if subscribes {
            // Late words too: whoever was missing there is so no more, though it is elsewhere now.
            self.index.desired_moves += u64::from(self.index.expectations.reported(host, endpoint));
            self.derive_expectations(host, &[]);
        }
        if inserted == Inserted::Confirmed
            && !outgrows
            && retirements.is_empty()
            && self.confirm(seq, fact, carrier, object)
        {
            return of_host.into_iter().collect();
        }
        let moved = filed.unwrap_or_else(|| self.file(seq, fact, carrier, Some(object), &retirements));
        let mut touched = self.derive_named(seq, carrier, Some(object), moved);
        touched.extend(of_host);
        touched
    }

    /// A later word that says the same moves the time of the last report and nothing else; false when there is more to it.
    fn confirm(&mut self, seq: u64, fact: &Fact, carrier: u32, object: Object) -> bool {
        let named = self.tables.carriers.get(carrier).and_then(|c| c.newest().copied());
        let repeats = named.is_some_and(|c| c.object == Some(object) && c.last < fact.at);
        let r = self.tables.reconcilers.get_mut(object.id, seq).expect(WHY);
        let lives = *self.tables.hosts.get(r.host).expect(WHY).retired_at == Micros::MAX && r.now.alive();
        if !(repeats && lives) {
            return false;
        }
        let before = std::mem::replace(&mut r.now.reported_at, fact.at);
        self.index.at(r.now.endpoint).heard(before, fact.at);
        self.tables.carriers.get_mut(carrier, seq).expect(WHY).claim(fact.at, Some(object), &[]);
        true
    }

    fn statement(&mut self, fact: &Fact, report: &Report, endpoint: u32, source: u32, seq: u64) -> Statement {
        let commit = self.intern_some(&report.commit, seq);
        let applied = self.intern_some(&report.applied, seq);
        let raw = self.intern(&report.raw_status, seq);
        let message = self.intern(&report.message, seq);
        said(fact, report, [endpoint, commit, applied, raw, message, source])
    }

    /// Keeps the last word of each source once a reconciler has more than one.
    fn hear_source(&mut self, seq: u64, id: u32, new: &Statement) {
        let r = self.tables.reconcilers.get_mut(id, seq).expect(WHY);
        let word = |s: &Statement| SourceWord {
            source: s.source,
            at: s.last,
            endpoint: s.endpoint,
            commit: s.commit,
            status: s.status,
        };
        if r.sources.is_empty() {
            let other = r.history.iter().filter(|s| !s.gone && s.source != new.source).last();
            let Some(other) = other else { return };
            r.sources.push(word(&other));
        }
        match r.sources.iter_mut().find(|w| w.source == new.source) {
            Some(w) if (w.at, w.status) <= (new.first, new.status) => *w = word(new),
            Some(_) => {}
            None => r.sources.push(word(new)),
        }
    }

    fn apply_declaration(&mut self, seq: u64, fact: &Fact, carrier: u32, source: u32, d: &Declaration) -> Touched {
        let key = [&d.workspace, &d.application, &d.workload, &d.environment, &d.deployment_target];
        let [workspace, application, workload, environment, name] = key.map(|n| self.intern(n, seq));
        let key_ids = (workspace, application, workload, environment, name);
        let id = match self.index.targets.get(&key_ids) {
            Some(id) => *id,
            None => {
                let record =
                    TargetRecord { workspace, application, workload, environment, name, ..TargetRecord::default() };
                let id = self.tables.targets.push(record, seq);
                self.index.targets.insert(key_ids, id);
                self.index.targets_of.entry((workload, environment)).or_default().push(id);
                id
            }
        };
        let endpoint = self.intern_endpoint(&d.endpoint, seq);
        add(&mut self.index.targets_at, endpoint, id);
        let log = self.intern_log(&d.repo, &d.branch, seq);
        add(&mut self.index.targets_in, log, id);
        let version = self.apply_version(seq, fact, d, (workspace, application, workload));
        let declared = Declared {
            at: fact.at,
            received_at: fact.received_at,
            carrier,
            version,
            endpoint,
            log,
            commit: self.intern_some(&d.commit, seq),
            contact: self.intern_some(&d.contact, seq),
            labels: self.intern(&d.labels, seq),
            source,
            future: fact.clock == Clock::Future,
        };
        let names = &self.tables.names;
        let text = |id: u32| super::names::text(names, id);
        let versions = &self.tables.versions;
        let (endpoints, carriers) = (&self.tables.endpoints, &self.tables.carriers);
        // No id of this store decides, so that every store breaks ties alike.
        let content = |d: &Declared| {
            let endpoint = text(endpoints.get(d.endpoint).map_or(0, |e| e.canonical));
            let version = text(versions.get(d.version).map_or(0, |v| v.version));
            let carrier = carriers.get(d.carrier).map_or(0, |c| c.key.0);
            (text(d.commit), version, endpoint, text(d.contact), text(d.labels), carrier)
        };
        self.tables.targets.get_mut(id, seq).expect(WHY).declare(declared, |a, b| content(a) > content(b));
        let sighted = self.tables.logs.get_mut(log, seq).expect(WHY);
        let moved = match declared.commit {
            0 => Moved::default(),
            commit => sighted.sight(carrier, fact.at, commit, |a, b| text(a) > text(b)),
        };
        self.derive_home(endpoint, log);
        self.derive_moved(log, &moved);
        let rank = rank(0, &d.commit, &key.map(String::as_str));
        self.claim(seq, fact, carrier, Some(Object { kind: ObjectKind::Target, id, rank }), &[])
    }

    /// A watcher was on a commit: this may move places, and so what the gate says of every target of the branch.
    fn apply_sighting(&mut self, seq: u64, fact: &Fact, carrier: u32, s: &Sighting) -> Touched {
        let log = self.intern_log(&s.repo, &s.branch, seq);
        let commit = self.intern(&s.commit, seq);
        let names = &self.tables.names;
        let text = |id: u32| super::names::text(names, id);
        let sighted = self.tables.logs.get_mut(log, seq).expect(WHY);
        let moved = sighted.sight(carrier, fact.at, commit, |a, b| text(a) > text(b));
        self.derive_moved(log, &moved);
        Touched::new()
    }

    fn apply_version(
        &mut self,
        seq: u64,
        fact: &Fact,
        d: &Declaration,
        (workspace, application, workload): (u32, u32, u32),
    ) -> u32 {
        let version = self.intern(&d.version, seq);
        let key = (workspace, application, workload, version);
        let id = match self.index.versions.get(&key) {
            Some(id) => *id,
            None => {
                let record = VersionRecord {
                    workspace,
                    application,
                    workload,
                    version,
                    at: Micros::MIN,
                    first_seen_at: fact.at,
                    ..VersionRecord::default()
                };
                let id = self.tables.versions.push(record, seq);
                self.index.versions.insert(key, id);
                id
            }
        };
        let texts = [
            &d.source_repo,
            &d.source_branch,
            &d.source_path,
            &d.source_commit,
            &d.build,
            &d.image_digest,
            &d.author,
            &d.pull_request,
        ];
        let [source_repo, source_branch, source_path, source_commit, build, image_digest, author, pull_request] =
            texts.map(|t| self.intern_some(t, seq));
        let v = self.tables.versions.get_mut(id, seq).expect(WHY);
        v.first_seen_at = v.first_seen_at.min(fact.at);
        let names = &self.tables.names;
        let content = |v: &VersionRecord| v.details().map(|d| super::names::text(names, d).to_owned());
        let new = VersionRecord {
            at: fact.at,
            source_repo,
            source_branch,
            source_path,
            source_commit,
            build,
            build_time: d.build_time,
            image_digest,
            author,
            pull_request,
            ..*v
        };
        if v.at < fact.at || (v.at == fact.at && (content(v), v.build_time) < (content(&new), new.build_time)) {
            *v = new;
        }
        id
    }

    fn apply_host(&mut self, seq: u64, fact: &Fact, carrier: u32, h: &HostDeclaration) -> Touched {
        let id = self.intern_host(&h.name, fact, seq);
        let texts = [&h.external_id, &h.host_type, &h.class, &h.contact];
        let [external_id, host_type, class, contact] = texts.map(|t| self.intern_some(t, seq));
        let labels = self.intern(&h.labels, seq);
        let selector = self.intern(&h.selector, seq);
        let expects = h.expects.as_ref().map(|list| {
            list.iter()
                .map(|e| {
                    (
                        self.intern(&e.workload, seq),
                        self.intern(&e.environment, seq),
                        self.intern(&e.deployment_target, seq),
                    )
                })
                .collect::<Vec<_>>()
        });
        let record = self.tables.hosts.get_mut(id, seq).expect(WHY);
        let expected_before = record.declared.as_ref().map(|d| d.expects.clone()).unwrap_or_default();
        if !record.carriers.contains(&carrier) {
            record.carriers.push(carrier);
        }
        let back = if h.heartbeat { record.hear(fact.at) } else { None };
        if h.retired {
            if let Err(at) = record.retirements.binary_search(&fact.at) {
                record.retirements.insert(at, fact.at);
            }
            for r in self.index.reconcilers_of(id).to_vec() {
                self.mark_departure(seq, r, fact.at, fact.received_at);
                let carriers: Vec<u32> = self.tables.reconcilers.get(r).expect(WHY).carriers().collect();
                for c in carriers {
                    let object = Object { kind: ObjectKind::Reconciler, id: r, rank: 0 };
                    self.tables.carriers.get_mut(c, seq).expect(WHY).cut(fact.at, object);
                }
            }
        } else {
            record.first_seen_at = record.first_seen_at.min(fact.at);
            let declared = record
                .declared
                .get_or_insert_with(|| Box::new(HostDeclared { at: Micros::MIN, ..HostDeclared::default() }));
            declared.at = declared.at.max(fact.at);
            let text = |id: u32| super::names::text(&self.tables.names, id);
            let said = [external_id, host_type, class, contact, labels];
            for ((known, at), new) in declared.details().into_iter().zip(&mut record.detailed_at).zip(said) {
                // At one time the greater text counts, so that the order of arrival does not.
                if new != 0 && (*at, text(*known)) <= (fact.at, text(new)) {
                    self.index.desired_moves += u64::from(*known != new);
                    (*known, *at) = (new, fact.at);
                }
            }
            if let Some(expects) = expects {
                let texts = |list: &[(u32, u32, u32)]| -> Vec<_> {
                    list.iter().map(|e| (text(e.0), text(e.1), text(e.2))).collect()
                };
                let known = (declared.expects_at, texts(&declared.expects), text(record.selector));
                if known <= (Some(fact.at), texts(&expects), text(selector)) {
                    (declared.expects_at, declared.expects, record.selector) = (Some(fact.at), expects, selector);
                }
            }
        }
        let object = Object { kind: ObjectKind::Host, id, rank: rank(0, &None, &[&h.name]) };
        let mut touched = self.claim(seq, fact, carrier, Some(object), &[]);
        if h.retired {
            for r in self.index.reconcilers_of(id).to_vec() {
                touched.push(Object { kind: ObjectKind::Reconciler, id: r, rank: 0 });
                self.derive_reconciler(seq, r);
            }
            self.derive_host(seq, id);
        }
        if let Some(before) = back {
            self.derive_silence(id, before);
        }
        self.derive_expectations(id, &expected_before);
        touched
    }

    fn apply_liveness(&mut self, seq: u64, changes: &[LivenessChange]) -> Touched {
        let mut touched = Touched::new();
        for c in changes {
            let Some(id) = self.index.host(&self.tables, &c.host) else { continue };
            if let Some(before) = self.tables.hosts.get_mut(id, seq).expect(WHY).turn(c.liveness, c.at, c.heard_at) {
                touched.push(Object { kind: ObjectKind::Host, id, rank: 0 });
                self.derive_silence(id, before);
            }
        }
        touched
    }
}

/// The statement that a report makes.
pub(super) fn said(
    fact: &Fact,
    report: &Report,
    [endpoint, commit, applied, raw, message, source]: [u32; 6],
) -> Statement {
    Statement {
        first: fact.at,
        last: fact.at,
        received_at: fact.received_at,
        endpoint,
        commit: if commit == 0 { applied } else { commit },
        applied: if applied == commit || commit == 0 { 0 } else { applied },
        source,
        raw,
        message,
        status: report.status,
        gone: false,
        future: fact.clock == Clock::Future,
    }
}
