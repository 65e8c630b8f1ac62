//! The commit log of one branch (§3.2, §3.3): where each commit stands, by those who watch the branch.

use std::collections::BTreeMap;

use super::input::{At, Said};
use super::statements::Statement;

/// Where a commit stands: time, then commit (§3.7 *Equal times*).
pub type Place = (At, String);

/// The places of every commit of one (repo, ref).
#[derive(Debug, Default)]
pub struct Log {
    /// Per commit: its first place, then one place for each return.
    places: BTreeMap<String, Vec<At>>,
}

impl Log {
    /// The latest place of a commit (§3.3).
    pub fn place(&self, commit: &str) -> Option<Place> {
        let at = *self.places.get(commit)?.last()?;
        Some((at, commit.to_string()))
    }

    /// When the branch first was at the commit (§3.2).
    pub fn first_at(&self, commit: &str) -> Option<At> {
        self.places.get(commit)?.first().copied()
    }

    /// Every commit, in order of place.
    pub fn commits(&self) -> Vec<String> {
        let mut commits: Vec<String> = self.places.keys().cloned().collect();
        commits.sort_by_key(|c| self.place(c));
        commits
    }
}

/// Builds the log from what every watcher saw (§3.3: returns are counted per watcher, the n-th is placed at its earliest sighting).
pub fn log(statements: &[Statement], repo: &str, branch: &str) -> Log {
    let mut watchers: BTreeMap<&str, Vec<&Statement>> = BTreeMap::new();
    for statement in statements {
        if sighting(statement, repo, branch).is_some() {
            watchers.entry(&statement.carrier).or_default().push(statement);
        }
    }
    let mut log = Log::default();
    for mut seen in watchers.into_values() {
        seen.sort_by(|a, b| a.rank.cmp(&b.rank));
        let mut on: Option<&str> = None;
        let mut visits: BTreeMap<&str, usize> = BTreeMap::new();
        for statement in seen {
            let Some(commit) = sighting(statement, repo, branch) else { continue };
            if on == Some(commit) {
                continue;
            }
            on = Some(commit);
            let visit = visits.entry(commit).or_insert(0);
            let places = log.places.entry(commit.to_string()).or_default();
            match places.get_mut(*visit) {
                Some(earliest) => *earliest = statement.at.min(*earliest),
                None => places.push(statement.at),
            }
            *visit += 1;
        }
    }
    log
}

/// The commit of this branch that a statement saw. Only those who watch the branch count (§3.3): reports do not.
fn sighting<'a>(statement: &'a Statement, repo: &str, branch: &str) -> Option<&'a str> {
    match &statement.said {
        Said::Declares(d) if d.endpoint.repo == repo && d.endpoint.branch == branch => d.commit.as_deref(),
        _ => None,
    }
}
