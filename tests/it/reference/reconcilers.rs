//! What a reconciler told, over time: kept statements, transitions, deployments, last words (§3.5, §3.6, §3.7, §3.13, §3.15).

use std::collections::{BTreeMap, BTreeSet};

use super::input::{At, Object, Report, Said, Status};
use super::statements::{self, Life, Statement};

/// A kept report with what it means once earlier ones are known.
#[derive(Clone, Debug)]
pub struct Meant {
    pub at: At,
    pub endpoint: String,
    pub attempted: Option<String>,
    pub applied: Option<String>,
    /// The commit its transition row carries.
    pub commit: Option<String>,
    pub status: Status,
    pub message: String,
    /// The first word after a retirement.
    pub after_retirement: bool,
}

/// A change of (endpoint, commit, status), or the first word after a retirement (§6 *transitions*).
#[derive(Clone, Debug)]
pub struct Transition {
    pub endpoint: String,
    pub commit: Option<String>,
    pub status: Status,
    pub reported_at: At,
    pub last_confirmed_at: At,
}

/// A maximal run of statements on one (endpoint, attempted commit), also ended by retirement.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub endpoint: String,
    pub commit: Option<String>,
    pub started_at: At,
    pub ended_at: Option<At>,
    pub rolled_back: bool,
}

/// A status said of a commit at an endpoint, at an instant.
pub type Word = (At, Status);

/// Everything one reconciler told.
#[derive(Clone, Debug)]
pub struct Told {
    pub host: String,
    pub name: String,
    pub meant: Vec<Meant>,
    /// The instants at which it was retired.
    pub retirements: Vec<At>,
    pub living: bool,
}

/// Collects what a reconciler told.
pub fn told(arrived: &[Statement], lives: &[Life], host: &str, name: &str) -> Told {
    let object = Object::Reconciler { host: host.to_string(), name: name.to_string() };
    let kept = kept(arrived, &object);
    let retirements = retirements(lives, &object);
    let living = lives.iter().any(|l| l.object == object && l.until.is_none());
    Told { host: host.to_string(), name: name.to_string(), meant: meant(&kept, &retirements), retirements, living }
}

/// The statements kept (§3.7 *Transitions and intervals*): in order of receipt, what its neighbours in time already say is left out.
fn kept(arrived: &[Statement], object: &Object) -> Vec<Statement> {
    let mut kept: Vec<Statement> = Vec::new();
    // Only the carriers that ever spoke of it, and retirements of hosts, can end it.
    let carriers: BTreeSet<&String> =
        arrived.iter().filter(|s| s.said.object() == *object).map(|s| &s.carrier).collect();
    let concerns = |s: &&Statement| carriers.contains(&s.carrier) || matches!(s.said, Said::Host(_));
    let arrived: Vec<Statement> = arrived.iter().filter(concerns).cloned().collect();
    for (index, statement) in arrived.iter().enumerate() {
        if !matches!(statement.said, Said::Reports(_)) || statement.said.object() != *object || kept.contains(statement)
        {
            continue;
        }
        let ends = ends(&statements::lives(&arrived[..=index]), object);
        let at = kept.partition_point(|k| k.rank < statement.rank);
        kept.insert(at, statement.clone());
        for position in [at, at + 1, at.wrapping_sub(1)] {
            if is_confirmation(&kept, position, &ends) {
                kept.remove(position);
                if position == at {
                    break;
                }
            }
        }
    }
    kept
}

/// Whether a statement inside a run only repeats it (§3.7; §3.7: without a commit never merged; §3.6: not over a deletion).
fn is_confirmation(kept: &[Statement], position: usize, ends: &[At]) -> bool {
    let (Some(before), Some(it), Some(after)) =
        (position.checked_sub(1).and_then(|p| kept.get(p)), kept.get(position), kept.get(position.saturating_add(1)))
    else {
        return false;
    };
    let (Said::Reports(a), Said::Reports(b), Said::Reports(c)) = (&before.said, &it.said, &after.said) else {
        return false;
    };
    let across = ends.iter().any(|end| before.at <= *end && *end < after.at);
    // One commit alone is both (§3.15), so a report that names it twice says the same.
    let said = |r: &Report| (r.endpoint.clone(), named(r), r.status, r.message.clone());
    named(b).is_some() && said(a) == said(b) && said(b) == said(c) && !across
}

/// When carriers of the object went.
fn ends(lives: &[Life], object: &Object) -> Vec<At> {
    lives.iter().filter(|l| l.object == *object).filter_map(|l| l.until).collect()
}

/// When the object was retired: a carrier went and none was left (§3.14 *lives while any carrier declares it*).
fn retirements(lives: &[Life], object: &Object) -> Vec<At> {
    let alive_after =
        |at: At| lives.iter().any(|l| l.object == *object && l.from <= at && l.until.is_none_or(|until| until > at));
    let mut retirements: Vec<At> = ends(lives, object).into_iter().filter(|end| !alive_after(*end)).collect();
    retirements.sort_unstable();
    retirements.dedup();
    retirements
}

/// The attempted and the applied commit a report names itself; one commit alone is both (§3.15).
fn named(report: &Report) -> Option<(String, String)> {
    match (&report.commit, &report.applied) {
        (Some(attempted), Some(applied)) => Some((attempted.clone(), applied.clone())),
        (Some(one), None) | (None, Some(one)) => Some((one.clone(), one.clone())),
        (None, None) => None,
    }
}

/// Gives every kept report its commits (§3.13, §3.15).
fn meant(kept: &[Statement], retirements: &[At]) -> Vec<Meant> {
    let mut last_known: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut meant: Vec<Meant> = Vec::new();
    for statement in kept {
        let Said::Reports(report) = &statement.said else { continue };
        let own = named(report);
        let known = own.clone().or_else(|| last_known.get(&report.endpoint).cloned());
        let (attempted, applied) = known.clone().unzip();
        let commit = if own.is_some() { attempted.clone() } else { applied.clone() };
        let after_retirement =
            meant.last().is_some_and(|before| retirements.iter().any(|r| before.at <= *r && *r < statement.at));
        last_known.extend(known.map(|commits| (report.endpoint.clone(), commits)));
        meant.push(Meant {
            at: statement.at,
            endpoint: report.endpoint.clone(),
            attempted,
            applied,
            commit,
            status: report.status,
            message: report.message.clone(),
            after_retirement,
        });
    }
    meant
}

impl Told {
    /// The newest word: what it does now (§3.11).
    pub fn current(&self) -> &Meant {
        self.meant.last().expect("a reconciler is known by a report, and the newest is always kept")
    }

    /// The last word on each (endpoint, commit): latest by event time, then by status (§3.7, §3.13, §3.15).
    pub fn last_words(&self) -> BTreeMap<(String, String), Word> {
        let mut words: BTreeMap<(String, String), Word> = BTreeMap::new();
        let mut say = |endpoint: &String, commit: &Option<String>, word: Word| {
            if let Some(commit) = commit {
                let last = words.entry((endpoint.clone(), commit.clone())).or_insert(word);
                *last = word.max(*last);
            }
        };
        for it in &self.meant {
            say(&it.endpoint, &it.commit, (it.at, it.status));
            // §3.15: an applied commit is a word of success on it.
            if it.applied != it.commit {
                say(&it.endpoint, &it.applied, (it.at, Status::Success));
            }
        }
        words
    }

    /// Changes of (endpoint, commit, status) and first words after retirement (§3.6).
    pub fn transitions(&self) -> Vec<Transition> {
        let mut transitions: Vec<Transition> = Vec::new();
        for it in &self.meant {
            match transitions.last_mut() {
                Some(last)
                    if !it.after_retirement
                        && (&last.endpoint, &last.commit, last.status) == (&it.endpoint, &it.commit, it.status) =>
                {
                    last.last_confirmed_at = it.at;
                }
                _ => transitions.push(Transition {
                    endpoint: it.endpoint.clone(),
                    commit: it.commit.clone(),
                    status: it.status,
                    reported_at: it.at,
                    last_confirmed_at: it.at,
                }),
            }
        }
        transitions
    }

    /// Runs on one (endpoint, attempted commit) (§3.5, §3.16).
    pub fn deployments(&self) -> Vec<Deployment> {
        let mut deployments: Vec<Deployment> = Vec::new();
        for it in &self.meant {
            let continues = deployments.last().is_some_and(|last| {
                !it.after_retirement && last.endpoint == it.endpoint && last.commit == it.attempted
            });
            if continues {
                continue;
            }
            let rolled_back = returns(&deployments, it);
            self.end_last(&mut deployments, Some(it.at));
            deployments.push(Deployment {
                endpoint: it.endpoint.clone(),
                commit: it.attempted.clone(),
                started_at: it.at,
                ended_at: None,
                rolled_back,
            });
        }
        self.end_last(&mut deployments, None);
        deployments
    }

    /// A deployment ends where the next one starts, or where its reconciler was retired before that.
    fn end_last(&self, deployments: &mut [Deployment], next: Option<At>) {
        let Some(last) = deployments.last_mut() else { return };
        let said = self.meant.iter().filter(|m| next.is_none_or(|next| m.at < next)).map(|m| m.at).max();
        let heard = said.unwrap_or(last.started_at).max(last.started_at);
        let retired = self.retirements.iter().copied().find(|r| *r >= heard && next.is_none_or(|next| *r < next));
        last.ended_at = retired.or(next);
    }
}

/// Whether a deployment starting now was there before at this endpoint, with another commit in between (§3.5).
fn returns(earlier: &[Deployment], it: &Meant) -> bool {
    let here: Vec<&Deployment> = earlier.iter().filter(|d| d.endpoint == it.endpoint && d.commit.is_some()).collect();
    let Some(before) = here.iter().rposition(|d| d.commit == it.attempted) else { return false };
    here[before..].iter().any(|d| d.commit != it.attempted)
}
