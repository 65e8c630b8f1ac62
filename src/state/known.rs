//! What a fact would say, in ids, when all its words were seen before: how the state knows a fact again without changing.

use super::State;
use super::fold::said;
use super::history::Statement;
use super::target::Declared;
use crate::model::{Clock, Declaration, Fact, Report};

impl State {
    /// The statement a report makes, when all its words were seen before; `None` means it certainly changes something.
    pub(super) fn find_statement(&self, fact: &Fact, report: &Report) -> Option<(u32, Statement)> {
        let t = &self.tables;
        let name = |text: &str| self.index.name(t, text);
        let some = |text: &Option<String>| text.as_deref().map_or(Some(0), name);
        let id = self.index.reconciler(t, &report.host, &report.reconciler)?;
        let endpoint = self.index.endpoint(t, &report.endpoint.storage_type, &report.endpoint.canonical)?;
        let ids = [
            endpoint,
            some(&report.commit)?,
            some(&report.applied)?,
            name(&report.raw_status)?,
            name(&report.message)?,
            name(&fact.source)?,
        ];
        Some((id, said(fact, report, ids)))
    }

    /// The declaration a fact makes, when all its words were seen before.
    pub(super) fn find_declaration(&self, carrier: u32, fact: &Fact, d: &Declaration) -> Option<(u32, Declared)> {
        let t = &self.tables;
        let name = |text: &str| self.index.name(t, text);
        let some = |text: &Option<String>| text.as_deref().map_or(Some(0), name);
        let (w, a, l) = (name(&d.workspace)?, name(&d.application)?, name(&d.workload)?);
        let key = (w, a, l, name(&d.environment)?, name(&d.deployment_target)?);
        let target = *self.index.targets.get(&key)?;
        let declared = Declared {
            at: fact.at,
            received_at: fact.received_at,
            carrier,
            version: *self.index.versions.get(&(w, a, l, name(&d.version)?))?,
            endpoint: self.index.endpoint(t, &d.endpoint.storage_type, &d.endpoint.canonical)?,
            log: *self.index.logs.get(&(name(&d.repo)?, name(&d.branch)?))?,
            commit: some(&d.commit)?,
            contact: some(&d.contact)?,
            labels: name(&d.labels)?,
            source: name(&fact.source)?,
            future: fact.clock == Clock::Future,
        };
        Some((target, declared))
    }

    /// Whether the details of a version would stay as they are.
    pub(super) fn version_known(&self, fact: &Fact, d: &Declaration) -> bool {
        let t = &self.tables;
        let name = |text: &str| self.index.name(t, text);
        let find = || {
            let key = (name(&d.workspace)?, name(&d.application)?, name(&d.workload)?, name(&d.version)?);
            t.versions.get(*self.index.versions.get(&key)?)
        };
        let same = |text: &Option<String>, id: u32| t.text(id) == text.as_deref().unwrap_or_default();
        find().is_some_and(|v| {
            v.at > fact.at
                || (same(&d.source_repo, v.source_repo)
                    && same(&d.source_branch, v.source_branch)
                    && same(&d.source_path, v.source_path)
                    && same(&d.source_commit, v.source_commit)
                    && same(&d.build, v.build)
                    && same(&d.image_digest, v.image_digest)
                    && same(&d.author, v.author)
                    && same(&d.pull_request, v.pull_request)
                    && d.build_time == v.build_time)
        })
    }
}
