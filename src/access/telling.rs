//! What a restricted token may tell of.
//!
//! Invariant: what is let through changes nothing outside the part, but for the time at which a host was last heard. So a statement
//! is judged by what the hub knows - whose manifests, whose reconciler, which labels - and never by what it says of itself; all that
//! its carrier ever named must lie in the part too, for a carrier that names another object lets go of the old one. What cannot be
//! judged is refused. Each condition is one of refusal, so a token with both may tell no more than one with either.

use super::Restriction;
use crate::model::{Body, Declaration, Fact, HostDeclaration, Report, Verification};
use crate::normalize::Rejection;
use crate::state::host::{HostRecord, Labels};
use crate::state::tables::ReconcilerRecord;
use crate::state::{Object, ObjectKind, State, Tables};

/// A part of what the hub knows.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    restriction: &'a Restriction,
    state: &'a State,
}

impl<'a> Part<'a> {
    /// The part of a state that a restriction leaves.
    pub fn of(restriction: &'a Restriction, state: &'a State) -> Part<'a> {
        Part { restriction, state }
    }

    /// Whether a statement is about the part alone; a rejection says why it is not.
    pub fn judge(&self, fact: &Fact) -> Result<(), Rejection> {
        match &fact.body {
            Body::Declaration(declaration) => self.declaration(declaration)?,
            Body::Report(report) => self.report(report)?,
            Body::Host(host) => self.host(host)?,
            Body::Verification(verification) => self.verification(verification)?,
            // What goes is judged by what was there.
            Body::Gone => {}
            Body::Sighting(_) | Body::Liveness(_) => return Err(self.beyond("this is not told with a token")),
        }
        self.carrier(fact)
    }

    fn declaration(&self, d: &Declaration) -> Result<(), Rejection> {
        if !self.restriction.hosts.is_empty() {
            return Err(self.beyond("what is wanted concerns hosts of any labels"));
        }
        if !self.restriction.sees_workspace(&d.workspace) {
            return Err(self.beyond(&format!("the workspace {} is not one of the token's", d.workspace)));
        }
        let (t, index) = (self.tables(), self.state.index());
        let log = index.log(t, &d.repo, &d.branch).map_or(&[][..], |log| index.targets_in(log));
        let endpoint = index.endpoint(t, &d.endpoint.storage_type, &d.endpoint.canonical);
        let there = endpoint.map_or(&[][..], |endpoint| index.targets_at(endpoint));
        // A commit gets a place on its branch, and by that order everybody is judged whose manifests are there.
        if log.iter().chain(there).all(|target| self.target(*target)) {
            return Ok(());
        }
        Err(self.advise(
            "another workspace has manifests on this branch",
            "Its rollouts would be judged by the order of these commits. Keep the manifests apart by repository or branch, or \
             restrict the token to all workspaces that are there.",
        ))
    }

    fn verification(&self, v: &Verification) -> Result<(), Rejection> {
        if !self.restriction.hosts.is_empty() {
            return Err(self.beyond("a verification concerns hosts of any labels"));
        }
        match v.selectors[0].as_deref() {
            Some(workspace) if self.restriction.sees_workspace(workspace) => Ok(()),
            Some(workspace) => Err(self.beyond(&format!("the workspace {workspace} is not one of the token's"))),
            None => Err(self.advise(
                "the verification is about all workspaces",
                "Name the workspace that was judged, as in \"workspace\": \"shop\".",
            )),
        }
    }

    fn host(&self, h: &HostDeclaration) -> Result<(), Rejection> {
        if !self.restriction.workspaces.is_empty() {
            return Err(self.beyond("a host belongs to no workspace, and others run on it too"));
        }
        let known = self.labelled(&h.name)?;
        self.keeps_labels(known, &h.labels)
    }

    fn report(&self, r: &Report) -> Result<(), Rejection> {
        let (t, index) = (self.tables(), self.state.index());
        if !self.restriction.hosts.is_empty() {
            let known = self.labelled(&r.host)?;
            if !is_declared(known) {
                self.keeps_labels(known, &r.labels)?;
            }
        }
        if self.restriction.workspaces.is_empty() {
            return Ok(());
        }
        let endpoint = index.endpoint(t, &r.endpoint.storage_type, &r.endpoint.canonical);
        let there = endpoint.map_or(&[][..], |endpoint| index.targets_at(endpoint));
        if !there.iter().any(|target| self.target(*target)) {
            return Err(self.advise(
                "no deployment target of the token's workspaces has these manifests",
                "Check manifests_endpoint; push the descriptor first, where it is not known yet.",
            ));
        }
        if !endpoint.is_some_and(|endpoint| self.owns(endpoint)) {
            return Err(self.beyond("another workspace has these manifests too"));
        }
        let known = index.reconciler(t, &r.host, &r.reconciler).and_then(|id| t.reconcilers.get(id));
        if known.is_some_and(|known| !self.reconciler(known)) {
            return Err(self.advise(
                &format!("the reconciler {} of {} has reported for manifests of others", r.reconciler, r.host),
                "Its history is theirs too: report under another name.",
            ));
        }
        self.leaves_labels(r)
    }

    /// A report may give labels to a host that nobody declared and nobody else is on, and repeat those of any other.
    fn leaves_labels(&self, r: &Report) -> Result<(), Rejection> {
        let (t, index) = (self.tables(), self.state.index());
        let Some(id) = index.host(t, &r.host) else { return Ok(()) };
        let Some(known) = t.hosts.get(id).filter(|known| !r.labels.is_empty() && !is_declared(known)) else {
            return Ok(());
        };
        let alone = || {
            let all = index.reconcilers_of(id).iter().filter_map(|r| t.reconcilers.get(*r));
            known.declared.is_none() && all.into_iter().all(|r| self.reconciler(r))
        };
        if t.text(known.labels()) == r.labels || alone() {
            return Ok(());
        }
        Err(self.advise(
            &format!("the labels of {} are not those that the hub knows", r.host),
            "Others run on this host too: leave labels out, or let somebody declare the host who may.",
        ))
    }

    /// A host by name, if the hub knows it and its labels are the token's.
    fn labelled(&self, name: &str) -> Result<&'a HostRecord, Rejection> {
        let (t, index) = (self.tables(), self.state.index());
        let Some(known) = index.host(t, name).and_then(|id| t.hosts.get(id)) else {
            return Err(self.advise(
                &format!("the hub does not know the host {name}"),
                "Nobody declared it yet, so nobody knows its labels; let somebody declare it first who may declare any host.",
            ));
        };
        if self.has_labels(known) {
            return Ok(known);
        }
        Err(self.beyond(&format!("the labels of the host {name}, as the hub knows them, are not the token's")))
    }

    /// The labels that decide what is in the part stay what they are.
    fn keeps_labels(&self, known: &HostRecord, said: &str) -> Result<(), Rejection> {
        if said.is_empty() {
            return Ok(());
        }
        let (known, said) = (Labels::read(self.tables().text(known.labels())), Labels::read(said));
        match self.restriction.hosts.keys().find(|key| known.get(key) != said.get(key)) {
            None => Ok(()),
            Some(key) => Err(self.advise(
                &format!("the label {key} would change"),
                "By this label the token is restricted: say it as the hub knows it, or leave all labels out.",
            )),
        }
    }

    /// What the carrier of a statement ever named.
    fn carrier(&self, fact: &Fact) -> Result<(), Rejection> {
        let known = self.state.index().carrier(fact.carrier).and_then(|id| self.tables().carriers.get(id));
        let mut named =
            known.into_iter().flat_map(|carrier| carrier.claims()).filter_map(|claim| claim.object).peekable();
        if fact.body == Body::Gone && named.peek().is_none() {
            return Err(self.advise(
                "this token has declared nothing under that name",
                "It takes back what it declared itself, from the same source; what others declared is theirs to take back.",
            ));
        }
        let mut last = None;
        let lies_within = |object: Object| last.replace(object) == Some(object) || self.holds(object);
        if named.all(lies_within) {
            return Ok(());
        }
        Err(self.advise(
            "the name stands for something that is not the token's any more",
            "What was declared under it before would be let go: choose another name.",
        ))
    }

    fn holds(&self, object: Object) -> bool {
        let t = self.tables();
        match object.kind {
            ObjectKind::Target => self.restriction.hosts.is_empty() && self.target(object.id),
            ObjectKind::Host => {
                self.restriction.workspaces.is_empty() && t.hosts.get(object.id).is_some_and(|h| self.has_labels(h))
            }
            ObjectKind::Reconciler => t
                .reconcilers
                .get(object.id)
                .is_some_and(|r| self.reconciler(r) && t.hosts.get(r.host).is_some_and(|host| self.has_labels(host))),
            ObjectKind::Verification => {
                let workspace = t.verifications.get(object.id).map(|v| t.text(v.key.selectors[0]));
                self.restriction.hosts.is_empty() && workspace.is_some_and(|w| self.restriction.sees_workspace(w))
            }
        }
    }

    fn target(&self, id: u32) -> bool {
        let t = self.tables();
        t.targets.get(id).is_some_and(|target| self.restriction.sees_workspace(t.text(target.workspace)))
    }

    /// Whether targets of these workspaces are at an endpoint, and never were any others.
    fn owns(&self, endpoint: u32) -> bool {
        let there = self.state.index().targets_at(endpoint);
        !there.is_empty() && there.iter().all(|target| self.target(*target))
    }

    /// Whether a reconciler never reported for manifests of others.
    fn reconciler(&self, r: &ReconcilerRecord) -> bool {
        if self.restriction.workspaces.is_empty() {
            return true;
        }
        let mut last = None;
        r.history.endpoints().all(|endpoint| last.replace(endpoint) == Some(endpoint) || self.owns(endpoint))
    }

    fn has_labels(&self, host: &HostRecord) -> bool {
        self.restriction.hosts.is_empty()
            || Labels::read(self.tables().text(host.labels())).any_of(&self.restriction.hosts)
    }

    fn tables(&self) -> &'a Tables {
        self.state.view()
    }

    fn beyond(&self, title: &str) -> Rejection {
        self.advise(title, "Tell it with a token that is not restricted, or whose restriction covers it.")
    }

    fn advise(&self, title: &str, advice: &str) -> Rejection {
        Rejection::new(title, format!("The token tells of {} only. {advice}", self.restriction))
    }
}

/// Whether labels were declared of a host: those that come with reports are not shown then.
fn is_declared(host: &HostRecord) -> bool {
    host.declared.as_ref().is_some_and(|declared| declared.labels != 0)
}
