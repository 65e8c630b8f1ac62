//! What was wanted on a target, over time, and which commits that covers (§3.2, §3.4, §3.14, §3.16).

use super::Model;
use super::input::{At, Declaration, Endpoint, Object, Said, Target};
use super::log::Log;
use super::statements::{Life, Rank, Statement};

/// A version wanted on a target at an endpoint, from when until when (§2, §3.16).
#[derive(Clone, Debug)]
pub struct Assignment {
    pub version: String,
    /// The commit of the declaration that began it (§2 *assignment*: wanted as of a commit), whatever names that commit later.
    pub began_at: Option<String>,
    /// The newest declaration that put or kept it in force.
    pub declared: Declaration,
    pub started_at: At,
    pub ended_at: Option<At>,
}

/// A record that names a commit for an assignment (§3.2).
#[derive(Clone, Debug)]
struct Naming {
    endpoint: Endpoint,
    commit: String,
    assignment: usize,
}

/// Everything wanted on one target.
#[derive(Clone, Debug, Default)]
pub struct TargetHistory {
    pub assignments: Vec<Assignment>,
    /// In order of time; the newest wins.
    namings: Vec<Naming>,
}

impl TargetHistory {
    /// The assignment in force now, if the target is not retired.
    pub fn in_force(&self) -> Option<usize> {
        self.assignments.iter().rposition(|a| a.ended_at.is_none())
    }

    /// The assignment in force at an instant.
    fn in_force_at(&self, at: At) -> Option<usize> {
        self.assignments.iter().rposition(|a| a.started_at <= at && a.ended_at.is_none_or(|end| end > at))
    }

    /// Which assignment covers a commit of a branch (§3.2 *Which assignment covers a commit*).
    pub fn covering(&self, log: &Log, branch: &Endpoint, commit: &str) -> Option<usize> {
        let named = self.namings.iter().rfind(|n| n.commit == commit && same_branch(&n.endpoint, branch));
        if let Some(naming) = named {
            return Some(naming.assignment);
        }
        let index = self.in_force_at(log.first_at(commit)?)?;
        same_branch(&self.assignments[index].declared.endpoint, branch).then_some(index)
    }

    /// The commits an assignment covers, in order of place: C₁…Cₙ (§8).
    pub fn commits(&self, model: &Model, assignment: usize) -> Vec<String> {
        let endpoint = &self.assignments[assignment].declared.endpoint;
        let log = model.log(endpoint);
        let mut commits = log.commits();
        commits.retain(|c| self.covering(log, endpoint, c) == Some(assignment));
        commits
    }

    /// The commit an assignment began at, else the first one it covers (§6 *desired_commit*).
    pub fn first_commit(&self, model: &Model, assignment: usize) -> Option<String> {
        let began_at = self.assignments[assignment].began_at.clone();
        began_at.or_else(|| self.commits(model, assignment).into_iter().next())
    }

    /// Whether a version was on the target before an assignment began (§8).
    pub fn had_before(&self, version: &str, assignment: usize) -> bool {
        version != self.assignments[assignment].version
            && self.assignments[..assignment].iter().any(|a| a.version == version)
    }
}

/// What one living carrier wants, once what was recorded too early is left out.
#[derive(Clone)]
struct Wanted {
    /// When it began to want this; repeating it is a confirmation, not newer (§3.14).
    since: Rank,
    latest: Declaration,
}

enum Event<'a> {
    Record(&'a Declaration, bool),
    End,
}

/// Replays the records of a target in order of event time.
pub fn history(target: &Target, lives: &[Life]) -> TargetHistory {
    let lives: Vec<&Life> = lives.iter().filter(|l| l.object == Object::Target(target.clone())).collect();
    let early = too_early(&lives);
    let mut events: Vec<(Rank, usize, Event<'_>)> = Vec::new();
    for (index, life) in lives.iter().enumerate() {
        for statement in &life.said {
            if let Said::Declares(declaration) = &statement.said {
                let dropped = early.contains(&statement.rank);
                events.push((statement.rank.clone(), index, Event::Record(declaration, dropped)));
            }
        }
        if let Some(until) = life.until {
            events.push(((until, true, None, None, String::new()), index, Event::End));
        }
    }
    events.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));

    let mut replay = Replay { living: vec![false; lives.len()], wanted: vec![None; lives.len()], ..Replay::default() };
    let mut events = events.into_iter().peekable();
    while let Some((rank, life, event)) = events.next() {
        // All that leave at one time leave together.
        let more = events.peek().is_some_and(|next| next.0.0 == rank.0 && matches!(next.2, Event::End));
        if matches!(event, Event::End) && more {
            replay.leave(life);
        } else {
            replay.step(rank, life, &event);
        }
    }
    replay.history
}

#[derive(Default)]
struct Replay {
    living: Vec<bool>,
    wanted: Vec<Option<Wanted>>,
    winner: Option<usize>,
    history: TargetHistory,
}

impl Replay {
    fn step(&mut self, rank: Rank, life: usize, event: &Event<'_>) {
        let at = rank.0;
        match event {
            Event::Record(declaration, dropped) => {
                self.living[life] = true;
                if !dropped {
                    let confirms = self.wanted[life].as_ref().is_some_and(|w| same(&w.latest, declaration));
                    let since = self.wanted[life].take().filter(|_| confirms).map_or(rank, |w| w.since);
                    self.wanted[life] = Some(Wanted { since, latest: (*declaration).clone() });
                }
            }
            Event::End => self.leave(life),
        }
        match self.newest() {
            Some(winner) => self.in_force(at, winner, event),
            // §3.4 with §3.14: only records made too early are left, so the previous assignment stays.
            None if self.living.contains(&true) => {}
            None => self.close(at),
        }
    }

    fn leave(&mut self, life: usize) {
        self.living[life] = false;
        self.wanted[life] = None;
    }

    /// The newest declaration among the living carriers (§3.14).
    fn newest(&self) -> Option<usize> {
        (0..self.wanted.len())
            .filter(|i| self.wanted[*i].is_some())
            .max_by_key(|i| self.wanted[*i].as_ref().map(|w| &w.since))
    }

    fn in_force(&mut self, at: At, winner: usize, event: &Event<'_>) {
        let Some(wanted) = self.wanted[winner].clone() else { return };
        let open = self.history.in_force();
        let continues = open.is_some_and(|i| same(&self.history.assignments[i].declared, &wanted.latest));
        if !continues {
            self.close(at);
            self.history.assignments.push(Assignment {
                version: wanted.latest.version.clone(),
                began_at: wanted.latest.commit.clone(),
                declared: wanted.latest.clone(),
                started_at: at,
                ended_at: None,
            });
        }
        let current = self.history.assignments.len() - 1;
        self.history.assignments[current].declared = wanted.latest.clone();
        match event {
            // §3.2: a record of the target names the commit for the assignment it put or kept in force.
            Event::Record(said, false) if same(said, &wanted.latest) => self.name(said, current),
            // §3.2: a declaration wanted again counts as recorded anew.
            _ if self.winner != Some(winner) => self.name(&wanted.latest, current),
            _ => {}
        }
        self.winner = Some(winner);
    }

    fn name(&mut self, declaration: &Declaration, assignment: usize) {
        if let Some(commit) = declaration.commit.clone() {
            let endpoint = declaration.endpoint.clone();
            self.history.namings.push(Naming { endpoint, commit, assignment });
        }
    }

    fn close(&mut self, at: At) {
        if let Some(open) = self.history.in_force() {
            self.history.assignments[open].ended_at = Some(at);
        }
        self.winner = None;
    }
}

/// Positions compare only inside one (repo, ref) (§3.2).
fn same_branch(a: &Endpoint, b: &Endpoint) -> bool {
    a.repo == b.repo && a.branch == b.branch
}

/// Same version at the same endpoint: a confirmation (§3.14).
fn same(a: &Declaration, b: &Declaration) -> bool {
    a.version == b.version && a.endpoint.canonical() == b.endpoint.canonical()
}

/// The records that were made too early (§3.4), by rank.
fn too_early(lives: &[&Life]) -> Vec<Rank> {
    let mut records: Vec<&Statement> = lives.iter().flat_map(|l| &l.said).collect();
    records.sort_by(|a, b| a.rank.cmp(&b.rank));
    let mut early: Vec<Rank> = Vec::new();
    for record in &records {
        let (version, commit) = version_at(record);
        let Some(commit) = commit else { continue };
        let had_another = records.iter().any(|r| {
            let (v, c) = version_at(r);
            r.at < record.at && c == Some(commit) && v != version && !early.contains(&r.rank)
        });
        let again = records.iter().any(|r| {
            let (v, c) = version_at(r);
            r.at > record.at && v == version && c.is_some_and(|c| c != commit)
        });
        if had_another && again {
            early.push(record.rank.clone());
        }
    }
    early
}

fn version_at(statement: &Statement) -> (&str, Option<&str>) {
    match &statement.said {
        Said::Declares(d) => (&d.version, d.commit.as_deref()),
        _ => ("", None),
    }
}
