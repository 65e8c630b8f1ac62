//! Reads a reconciler's history and tells what it means: transitions, deployments, last words, and what runs now.
//!
//! Pure: the same history and the same retirements give the same answer (design §3.5-3.7, §3.13-3.16). Everything that the
//! tables, the views and the gate know about a reconciler comes from here.

use crate::model::{Micros, Status};

use super::dropped::{OldWord, Open};
use super::history::{History, Statement};

/// A change of (endpoint, commit, status), or the first word after a retirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Endpoint id.
    pub endpoint: u32,
    /// The commit attempted (for a report without a commit: the one that runs); 0 when unknown.
    pub commit: u32,
    /// The commit applied; 0 when unknown.
    pub applied: u32,
    /// Status.
    pub status: Status,
    /// Raw status.
    pub raw: u32,
    /// Message.
    pub message: u32,
    /// Event time.
    pub reported_at: Micros,
    /// Receipt.
    pub received_at: Micros,
    /// The last statement that said the same.
    pub last_confirmed_at: Micros,
    /// Source.
    pub source: u32,
    /// The claimed time lay in the future.
    pub future: bool,
}

/// A reconciler met a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Endpoint id.
    pub endpoint: u32,
    /// Attempted commit.
    pub commit: u32,
    /// Start.
    pub start: Micros,
    /// End; `Micros::MAX` while it lasts.
    pub end: Micros,
    /// Last status during the deployment.
    pub status: Status,
    /// Message of the last status.
    pub message: u32,
    /// Last statement of the deployment.
    pub reported_at: Micros,
    /// The commit had been deployed at this endpoint before, with another in between.
    pub rolled_back: bool,
}

/// The last word on one (endpoint, commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Endpoint id.
    pub endpoint: u32,
    /// Commit.
    pub commit: u32,
    /// Status of the last word.
    pub status: Status,
    /// Time of the first word.
    pub first: Micros,
    /// Time of the last word.
    pub last: Micros,
    /// Message of the last word.
    pub message: u32,
    /// Time of the first word of success since it came to this commit last; `Micros::MAX` when there is none.
    pub succeeded_at: Micros,
}

/// What is so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Current endpoint.
    pub endpoint: u32,
    /// Attempted commit; 0 when unknown.
    pub attempted: u32,
    /// Applied commit: what runs; 0 when unknown.
    pub applied: u32,
    /// Status.
    pub status: Status,
    /// Raw status.
    pub raw: u32,
    /// Message.
    pub message: u32,
    /// Last report.
    pub reported_at: Micros,
    /// Last transition.
    pub since: Micros,
    /// Start of the current deployment; `Micros::MIN` when there is none.
    pub deployed_at: Micros,
    /// The current deployment is a rollback.
    pub rolled_back: bool,
    /// End of life; `Micros::MAX` while it lives.
    pub retired_at: Micros,
    /// Source of the newest statement.
    pub source: u32,
}

impl Default for Now {
    fn default() -> Self {
        Now {
            endpoint: 0,
            attempted: 0,
            applied: 0,
            status: Status::Unknown,
            raw: 0,
            message: 0,
            reported_at: Micros::MIN,
            since: Micros::MIN,
            deployed_at: Micros::MIN,
            rolled_back: false,
            retired_at: Micros::MAX,
            source: 0,
        }
    }
}

impl Now {
    /// Whether the reconciler lives.
    pub fn alive(&self) -> bool {
        self.retired_at == Micros::MAX
    }
}

/// The meaning of a history; reuse one to spare allocations.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Transitions, in order.
    pub transitions: Vec<Transition>,
    /// Deployments, in order.
    pub deployments: Vec<Deployment>,
    /// Last words, in order of first mention.
    pub words: Vec<Word>,
    /// What is so now.
    pub now: Now,
    /// What was dropped of the history, and how many deployments with it.
    pub old: Vec<OldWord>,
    /// See `old`.
    pub old_deployments: u32,
    /// Each endpoint that was reported, and the commits attempted and applied there last.
    pub known: Vec<(u32, u32, u32)>,
    /// How many transitions came late: from among what was dropped.
    late: usize,
    /// What is of a time before this is late.
    cut: Micros,
}

impl Walk {
    /// Reads a history. `dead` are the times without life, in order; one may end at `Micros::MAX`.
    pub fn read(&mut self, history: &History, dead: &[(Micros, Micros)]) {
        self.begin(history);
        self.statements(history.iter(), dead);
    }

    /// Nothing but what was dropped.
    pub fn begin(&mut self, history: &History) {
        self.transitions.clear();
        self.deployments.clear();
        self.words.clear();
        self.known.clear();
        self.old.clear();
        self.old_deployments = 0;
        self.late = 0;
        self.cut = Micros::MIN;
        self.now = Now::default();
        if let Some(dropped) = history.dropped() {
            self.old.extend(dropped.iter());
            self.words.extend(self.old.iter().map(|old| old.word));
            self.known.extend_from_slice(&dropped.known);
            self.old_deployments = dropped.deployments;
            self.cut = dropped.cut;
            if let Some(open) = dropped.open {
                self.resume(&open);
            }
        }
    }

    /// The deployment that goes on with the first statement that was kept.
    fn resume(&mut self, open: &Open) {
        let Open { endpoint, commit, start, rolled_back } = *open;
        self.deployments.push(Deployment {
            endpoint,
            commit,
            start,
            end: Micros::MAX,
            status: Status::Unknown,
            message: 0,
            reported_at: start,
            rolled_back,
        });
        let known = self.known.iter().find(|k| k.0 == endpoint);
        let (attempted, applied) = known.map_or((0, 0), |k| (k.1, k.2));
        self.now = Now { endpoint, attempted, applied, ..self.now };
    }

    /// Reads statements beside what was dropped, and then those after it.
    pub fn statements(&mut self, history: impl Iterator<Item = Statement>, dead: &[(Micros, Micros)]) {
        let resumed = self.deployments.first().map(|open| open.start);
        let cut = self.cut;
        let mut history = history.filter(|s| !s.gone).peekable();
        while let Some(s) = history.next_if(|s| s.first < cut) {
            self.late(&s);
        }
        self.late = self.transitions.len();
        let mut dead = dead.iter().filter(|(from, _)| resumed.is_none_or(|start| *from >= start)).peekable();
        let mut fresh = resumed.is_none();
        for s in history {
            while let Some(&(from, _)) = dead.next_if(|(from, _)| *from < s.first) {
                if self.transitions.len() > self.late || resumed.is_some() {
                    self.close(from);
                    fresh = true;
                }
            }
            self.statement(&s, fresh);
            fresh = false;
        }
        for &(from, to) in dead {
            self.close(from);
            if to == Micros::MAX {
                self.now.retired_at = from;
            }
        }
        self.conclude();
    }

    /// Of a time whose statements were dropped: it is a word, and a transition unless it says what was said then by all that is known,
    /// and what came after it stays as it was.
    fn late(&mut self, s: &Statement) {
        let runs = s.runs().unwrap_or_default();
        if !self.is_known_of_then(s) {
            self.transition(s, s.commit, runs, false);
        }
        if !self.known.iter().any(|k| k.0 == s.endpoint) {
            self.known.push((s.endpoint, s.commit, runs));
        }
        if s.commit != 0 {
            self.word(s, s.commit, (s.status, s.message), false);
        }
        if s.applied != 0 && s.applied != s.commit {
            self.word(s, s.applied, (Status::Success, 0), false);
        }
    }

    /// Whether a word that is left of what was dropped says the same of that time: the last one of all stood until the cut.
    fn is_known_of_then(&self, s: &Statement) -> bool {
        let last = self.old.iter().map(|old| old.word.last).max();
        self.old.iter().map(|old| &old.word).any(|w| {
            let same = (w.endpoint, w.commit, w.status) == (s.endpoint, s.commit, s.status);
            same && w.first <= s.first && (s.last <= w.last || Some(w.last) == last)
        })
    }

    fn close(&mut self, at: Micros) {
        if let Some(d) = self.deployments.last_mut()
            && d.end == Micros::MAX
        {
            d.end = at.max(d.start);
        }
    }

    fn statement(&mut self, s: &Statement, fresh: bool) {
        let known = self.known.iter().position(|k| k.0 == s.endpoint);
        let (attempted, applied) = if s.commit != 0 {
            (s.commit, if s.applied != 0 { s.applied } else { s.commit })
        } else {
            known.map_or((0, 0), |k| (self.known[k].1, self.known[k].2))
        };
        let said = (s.endpoint, attempted, applied);
        match known {
            Some(k) => self.known[k] = said,
            None => self.known.push(said),
        }
        let subject = if s.commit != 0 { s.commit } else { applied };
        self.transition(s, subject, applied, fresh);
        self.deployment(s, attempted, fresh);
        let before = self.now;
        let stays = |c| !fresh && before.endpoint == s.endpoint && (before.attempted == c || before.applied == c);
        if subject != 0 {
            self.word(s, subject, (s.status, s.message), stays(subject));
        }
        if s.applied != 0 && s.applied != s.commit {
            // The message is about the commit attempted.
            self.word(s, s.applied, (Status::Success, 0), stays(s.applied));
        }
        self.now = Now {
            endpoint: s.endpoint,
            attempted,
            applied,
            status: s.status,
            raw: s.raw,
            message: s.message,
            reported_at: s.last,
            source: s.source,
            ..self.now
        };
    }

    fn transition(&mut self, s: &Statement, commit: u32, applied: u32, fresh: bool) {
        if let Some(t) = self.transitions[self.late..].last_mut()
            && !fresh
            && (t.endpoint, t.commit, t.status) == (s.endpoint, commit, s.status)
        {
            t.last_confirmed_at = s.last;
            return;
        }
        self.transitions.push(Transition {
            endpoint: s.endpoint,
            commit,
            applied,
            status: s.status,
            raw: s.raw,
            message: s.message,
            reported_at: s.first,
            received_at: s.received_at,
            last_confirmed_at: s.last,
            source: s.source,
            future: s.future,
        });
        self.now.since = s.first;
    }

    /// `commit` is the one attempted; a report without a commit names the one known at its endpoint, if any.
    fn deployment(&mut self, s: &Statement, commit: u32, fresh: bool) {
        let open = self.deployments.last_mut().filter(|d| d.end == Micros::MAX && !fresh);
        let stays = open.is_some_and(|d| {
            let same = d.endpoint == s.endpoint && d.commit == commit;
            if same {
                (d.status, d.message, d.reported_at) = (s.status, s.message, s.last);
            }
            same
        });
        if stays {
            return;
        }
        self.close(s.first);
        if commit != 0 {
            let rolled_back = self.is_rollback(s.endpoint, commit);
            self.deployments.push(Deployment {
                endpoint: s.endpoint,
                commit,
                start: s.first,
                end: Micros::MAX,
                status: s.status,
                message: s.message,
                reported_at: s.last,
                rolled_back,
            });
        }
    }

    fn is_rollback(&self, endpoint: u32, commit: u32) -> bool {
        let mut another = false;
        for d in self.deployments.iter().rev().filter(|d| d.endpoint == endpoint) {
            if d.commit == commit {
                return another;
            }
            another = true;
        }
        let here = |o: &&OldWord| o.word.endpoint == endpoint;
        let last = |o: &OldWord| o.deployed.map(|(_, last)| last);
        let Some(before) = self.old.iter().filter(here).find(|o| o.word.commit == commit).and_then(last) else {
            return false;
        };
        another || self.old.iter().filter(here).filter_map(last).any(|other| other > before)
    }

    fn word(&mut self, s: &Statement, commit: u32, (status, message): (Status, u32), stays: bool) {
        let succeeded = if status == Status::Success { s.first } else { Micros::MAX };
        match self.words.iter_mut().rev().find(|w| w.endpoint == s.endpoint && w.commit == commit) {
            // It came late, of a time whose statements were dropped.
            Some(w) if s.last < w.last => w.first = w.first.min(s.first),
            Some(w) => {
                // Of two words of one time the graver one is last, also where the other came with the report of another commit.
                if w.last < s.last || w.status <= status {
                    let keeps = message == 0 && w.status == status;
                    (w.status, w.message) = (status, if keeps { w.message } else { message });
                }
                w.last = s.last;
                w.succeeded_at = if stays { w.succeeded_at.min(succeeded) } else { succeeded };
            }
            None => self.words.push(Word {
                endpoint: s.endpoint,
                commit,
                status,
                first: s.first,
                last: s.last,
                message,
                succeeded_at: succeeded,
            }),
        }
    }

    /// What is current is the last deployment, unless something without a commit came after it.
    fn conclude(&mut self) {
        let now = &mut self.now;
        let current = self.deployments.last().filter(|d| d.end == Micros::MAX || d.end == now.retired_at);
        if let Some(d) = current {
            (now.deployed_at, now.rolled_back) = (d.start, d.rolled_back);
        }
    }

    /// The last word on a commit at an endpoint.
    pub fn word_on(&self, endpoint: u32, commit: u32) -> Option<&Word> {
        self.words.iter().find(|w| w.endpoint == endpoint && w.commit == commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn st(at: i64, commit: u32, status: Status) -> Statement {
        Statement { commit, status, gone: false, endpoint: 1, ..Statement::departure(Micros(at), Micros(at)) }
    }

    fn walk(statements: &[Statement], dead: &[(Micros, Micros)]) -> Walk {
        let mut w = Walk::default();
        w.statements(statements.iter().copied(), dead);
        w
    }

    use Status::{Failure, InProgress, Success};

    #[test]
    fn going_back_to_a_commit_is_a_third_deployment_and_a_rollback() {
        let w = walk(&[st(1, 7, Success), st(2, 8, Success), st(3, 7, Success)], &[]);
        assert_eq!(w.deployments.iter().map(|d| d.rolled_back).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!((w.now.applied, w.now.rolled_back, w.now.deployed_at), (7, true, Micros(3)));
    }

    #[test]
    fn failure_then_success_on_one_commit_is_two_transitions_and_one_deployment() {
        let w = walk(&[st(1, 7, Failure), st(2, 7, Success)], &[]);
        assert_eq!((w.transitions.len(), w.deployments.len()), (2, 1));
        assert_eq!(w.word_on(1, 7).unwrap().status, Success);
    }

    #[test]
    fn a_report_without_a_commit_is_the_last_word_on_what_runs() {
        let attempt = Statement { applied: 7, ..st(2, 8, Failure) };
        let w = walk(&[st(1, 7, Success), attempt, st(3, 0, InProgress)], &[]);
        assert_eq!((w.now.applied, w.now.attempted, w.now.status), (7, 8, InProgress));
        assert_eq!(w.word_on(1, 7).unwrap().status, InProgress);
        assert_eq!(w.word_on(1, 8).unwrap().status, Failure);
    }

    #[test]
    fn an_applied_commit_is_a_word_of_success_without_a_deployment() {
        let w = walk(&[Statement { applied: 7, ..st(2, 8, Failure) }], &[]);
        assert_eq!(w.word_on(1, 7).unwrap().status, Success);
        assert_eq!((w.deployments.len(), w.transitions.len()), (1, 1));
        assert_eq!((w.now.applied, w.now.attempted), (7, 8));
    }

    #[test]
    fn at_one_time_a_failure_outweighs_the_success_that_came_with_the_report_of_another_commit() {
        let attempt = Statement { applied: 7, ..st(2, 8, Failure) };
        let w = walk(&[st(2, 7, Failure), attempt], &[]);
        assert_eq!(w.word_on(1, 7).unwrap().status, Failure);
        let w = walk(&[st(1, 7, Failure), attempt], &[]);
        assert_eq!(w.word_on(1, 7).unwrap().status, Success);
    }

    #[test]
    fn a_success_counts_since_the_last_return_to_its_commit() {
        let w = walk(&[st(1, 7, Success), st(2, 8, Success), st(3, 7, InProgress), st(4, 7, Success)], &[]);
        let at = |commit| w.word_on(1, commit).unwrap().succeeded_at;
        assert_eq!((at(7), at(8)), (Micros(4), Micros(2)));
        let attempt = Statement { applied: 7, ..st(2, 8, Failure) };
        let w = walk(&[st(1, 7, Success), attempt, st(3, 7, Success)], &[]);
        assert_eq!(w.word_on(1, 7).unwrap().succeeded_at, Micros(1), "it never ran anything else");
    }

    #[test]
    fn the_message_of_an_attempt_is_not_the_message_of_what_runs() {
        let said = |message, s: Statement| Statement { message, ..s };
        let w = walk(&[said(5, st(1, 7, Success)), said(6, Statement { applied: 7, ..st(2, 8, Failure) })], &[]);
        assert_eq!((w.word_on(1, 7).unwrap().message, w.word_on(1, 8).unwrap().message), (5, 6));
        let w = walk(&[said(5, st(1, 7, Failure)), said(6, Statement { applied: 7, ..st(2, 8, Failure) })], &[]);
        assert_eq!(w.word_on(1, 7).unwrap().message, 0, "what was said of its failure is over");
    }

    #[test]
    fn the_first_word_after_a_retirement_is_a_transition_and_no_rollback() {
        let dead = [(Micros(2), Micros(5))];
        let w = walk(&[st(1, 7, Success), st(5, 7, Success)], &dead);
        assert_eq!(w.transitions.len(), 2);
        assert_eq!(w.deployments[0].end, Micros(2));
        assert!(!w.now.rolled_back && w.now.alive());
        let w = walk(&[st(1, 7, Success)], &[(Micros(2), Micros::MAX)]);
        assert_eq!(w.now.retired_at, Micros(2));
    }
}
