//! The simulated fleet: a stream of occurrences, from some days ago into the future without end.
//!
//! Pure: the same seed, number of hosts and length of history give the same stream; nobody asks for the time here.
//! Occurrences come in order of time, commits of one branch in order of their numbers (except after a rollback, which
//! returns to an older one).
//!
//! How versions move: a build goes to dev, after a soak to stage, after another to the first prod target, then to the
//! second. Each commit on a branch is met by every reconciler of that branch, also by those whose target it leaves alone.

use std::collections::VecDeque;

use super::random::{Random, hash};
use super::timeline::{Agenda, Chapter, HOUR, MINUTE, Occurrence, Outcome, Report, SECOND, What};
use super::world::{ENVIRONMENTS, HostKind, PROD, World};

/// What a simulation depends on.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    /// Seed of everything random.
    pub seed: u64,
    /// Number of hosts.
    pub hosts: usize,
    /// Length of the history before fleet time zero.
    pub history: i64,
    /// Whether hosts send heartbeats while nothing changes.
    pub heartbeats: bool,
}

/// Time between two releases of one workload, before variation.
const RELEASE_EVERY: i64 = 6 * HOUR;
/// Time between two heartbeats of one host, before variation.
const BEAT_EVERY: i64 = 5 * MINUTE;
/// Heartbeats of long ago add nothing to the history.
const BEATS_FROM: i64 = -15 * MINUTE;

/// A running simulation: an endless iterator of [`Occurrence`]s.
#[derive(Clone, Debug)]
pub struct Simulation {
    world: World,
    random: Random,
    agenda: Agenda<Plan>,
    /// Branches by workload and environment.
    branches: Vec<[Branch; 3]>,
    /// Newest build by workload.
    builds: Vec<u32>,
    hosts: Vec<HostState>,
    reconcilers: Vec<ReconcilerState>,
    /// What the last plan made happen and was not handed out yet.
    ready: VecDeque<Occurrence>,
    heartbeats: bool,
}

/// The branch of an environment in a workload's GitOps repository.
#[derive(Clone, Debug, Default)]
struct Branch {
    /// The commit the branch points at; 0 before the first.
    head: u32,
    /// Wanted builds by target, for each commit; 0 where nothing is wanted yet.
    commits: Vec<[u32; 2]>,
}

impl Branch {
    /// Builds by target at the head.
    fn wanted(&self) -> [u32; 2] {
        self.commits.get((self.head as usize).wrapping_sub(1)).copied().unwrap_or_default()
    }
}

/// The parts of a host that can change.
#[derive(Clone, Copy, Debug, Default)]
struct HostState {
    silent: bool,
    retired: bool,
    /// Whose turn the next heartbeat is.
    turn: usize,
}

/// The parts of a reconciler that can change.
#[derive(Clone, Copy, Debug, Default)]
struct ReconcilerState {
    applied: Option<u32>,
    attempted: Option<u32>,
    last: Option<Report>,
}

/// What the future holds.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Declare(usize),
    Retire(usize),
    Silence,
    Wake(usize),
    Beat(usize),
    Release(usize),
    /// `slot` is the target within the environment, `None` for all of them.
    Promote {
        workload: usize,
        environment: usize,
        slot: Option<usize>,
        build: u32,
    },
    /// A commit that changes configuration and no version.
    Touch(usize),
    RollBack {
        workload: usize,
        bad: u32,
    },
    Pickup(usize),
    Settle {
        reconciler: usize,
        commit: u32,
        attempt: u32,
    },
}

/// What a build turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Good,
    /// Good, but takes long to become healthy.
    Slow,
    FailsInStage,
    FailsInProd,
}

impl Simulation {
    /// A simulation at the start of its history.
    pub fn new(plot: Plot) -> Simulation {
        let world = World::new(plot.seed, plot.hosts);
        let mut simulation = Simulation {
            random: Random::new(hash(&[plot.seed, 4])),
            agenda: Agenda::default(),
            branches: vec![Default::default(); world.workloads.len()],
            builds: vec![0; world.workloads.len()],
            hosts: vec![HostState::default(); world.hosts.len()],
            reconcilers: vec![ReconcilerState::default(); world.reconcilers.len()],
            ready: VecDeque::new(),
            heartbeats: plot.heartbeats,
            world,
        };
        simulation.open(-plot.history.abs());
        simulation
    }

    /// What exists.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The newest build that any prod target of a workload wants; 0 when there is none yet.
    pub fn newest_in_prod(&self, workload: usize) -> u32 {
        let [first, second] = self.branches[workload][PROD].wanted();
        first.max(second)
    }

    fn open(&mut self, start: i64) {
        for host in 0..self.world.hosts.len() {
            self.agenda.plan(start + host as i64 * SECOND, Plan::Declare(host));
            if self.heartbeats && !self.world.hosts[host].never_reports {
                let first = self.random.between(0, BEAT_EVERY);
                self.agenda.plan(start.max(BEATS_FROM) + first, Plan::Beat(host));
            }
        }
        let workloads = self.world.workloads.len() as i64;
        for workload in 0..self.world.workloads.len() {
            let at = start + HOUR / 2 + workload as i64 * RELEASE_EVERY / workloads;
            self.agenda.plan(at, Plan::Release(workload));
            self.agenda.plan(at + 5 * HOUR, Plan::Touch(workload));
        }
        self.agenda.plan(start / 4, Plan::Silence);
        // A machine that was replaced a while ago, where the fleet can spare one.
        let replaced = self.world.hosts.iter().rposition(|h| h.kind == HostKind::Machine && !h.never_reports);
        if let (Some(host), true) = (replaced, self.world.hosts.len() >= 10) {
            self.agenda.plan(start / 3, Plan::Retire(host));
        }
    }

    fn emit(&mut self, at: i64, what: What) {
        self.ready.push_back(Occurrence { at, what });
    }

    fn carry_out(&mut self, at: i64, plan: Plan) {
        match plan {
            Plan::Declare(host) => self.emit(at, What::Declared { host }),
            Plan::Retire(host) => {
                self.hosts[host].retired = true;
                self.emit(at, What::Retired { host });
                self.emit(at, What::Told(Chapter::Retired { host }));
            }
            Plan::Silence => self.silence(at),
            Plan::Wake(host) => self.wake(at, host),
            Plan::Beat(host) => self.beat(at, host),
            Plan::Release(workload) => self.release(at, workload),
            Plan::Promote { workload, environment, slot, build } => {
                self.promote(at, workload, environment, slot, build)
            }
            Plan::Touch(workload) => {
                let environment = self.random.below(ENVIRONMENTS.len());
                let builds = self.branches[workload][environment].wanted();
                if builds != [0; 2] {
                    self.commit(at, workload, environment, builds);
                }
                self.agenda.plan(at + self.random.between(12 * HOUR, 30 * HOUR), Plan::Touch(workload));
            }
            Plan::RollBack { workload, bad } => self.roll_back(at, workload, bad),
            Plan::Pickup(reconciler) => self.pick_up(at, reconciler),
            Plan::Settle { reconciler, commit, attempt } => self.settle(at, reconciler, commit, attempt),
        }
    }

    fn release(&mut self, at: i64, workload: usize) {
        self.builds[workload] += 1;
        let build = self.builds[workload];
        self.emit(at, What::Told(Chapter::Built { workload, build }));
        let quality = self.quality(workload, build);
        let plans = [
            (0, None, 2 * MINUTE, true),
            (1, None, 28 * MINUTE, true),
            (PROD, Some(0), 70 * MINUTE, quality != Quality::FailsInStage),
            (PROD, Some(1), 100 * MINUTE, !matches!(quality, Quality::FailsInStage | Quality::FailsInProd)),
        ];
        for (environment, slot, after, promoted) in plans {
            if promoted {
                let at = at + after + self.random.between(0, 5 * MINUTE);
                self.agenda.plan(at, Plan::Promote { workload, environment, slot, build });
            }
        }
        if quality == Quality::FailsInProd {
            self.agenda.plan(at + 95 * MINUTE, Plan::RollBack { workload, bad: build });
        }
        // A bad build is followed by its fix sooner than a good one by its successor.
        let gap = if matches!(quality, Quality::Good | Quality::Slow) { RELEASE_EVERY } else { RELEASE_EVERY / 2 };
        self.agenda.plan(at + gap + self.random.between(-HOUR / 2, HOUR / 2), Plan::Release(workload));
    }

    fn quality(&self, workload: usize, build: u32) -> Quality {
        match hash(&[self.world.seed, 5, workload as u64, u64::from(build)]) % 8 {
            // The first build of all is good, and one early build of one workload always ends in a rollback.
            _ if build == 1 => Quality::Good,
            _ if workload == 0 && build == 3 => Quality::FailsInProd,
            0 => Quality::FailsInProd,
            1 => Quality::FailsInStage,
            2 => Quality::Slow,
            _ => Quality::Good,
        }
    }

    fn promote(&mut self, at: i64, workload: usize, environment: usize, slot: Option<usize>, build: u32) {
        let mut builds = self.branches[workload][environment].wanted();
        match slot {
            Some(slot) => builds[slot] = build,
            None => builds = [build; 2],
        }
        if slot != Some(1) {
            self.emit(at, What::Told(Chapter::Promoted { workload, build, environment }));
        }
        self.commit(at, workload, environment, builds);
    }

    fn commit(&mut self, at: i64, workload: usize, environment: usize, builds: [u32; 2]) {
        let branch = &mut self.branches[workload][environment];
        branch.commits.push(builds);
        branch.head = branch.commits.len() as u32;
        self.announce(at, workload, environment);
    }

    /// The branch has a new head: the descriptors are applied at it, and every subscriber is going to notice.
    fn announce(&mut self, at: i64, workload: usize, environment: usize) {
        let commit = self.branches[workload][environment].head;
        let builds = self.branches[workload][environment].commits[commit as usize - 1];
        let targets = self.world.workloads[workload].targets[environment].clone();
        for (&target, build) in targets.iter().zip(builds).filter(|(_, build)| *build > 0) {
            self.emit(at, What::Wanted { target, build, commit });
            for n in 0..self.world.subscribers[target].len() {
                let reconciler = self.world.subscribers[target][n];
                let host = &self.world.hosts[self.world.reconcilers[reconciler].host];
                if !host.never_reports {
                    let (soonest, latest) = [(1, 3), (3, 8), (8, 18)][host.ring];
                    let after = self.random.between(soonest * MINUTE, latest * MINUTE);
                    self.agenda.plan(at + after, Plan::Pickup(reconciler));
                }
            }
        }
    }

    fn roll_back(&mut self, at: i64, workload: usize, bad: u32) {
        let branch = &mut self.branches[workload][PROD];
        let good = branch.commits.iter().rposition(|builds| builds[0] > 0 && !builds.contains(&bad));
        if let Some(good) = good {
            branch.head = good as u32 + 1;
            let build = branch.commits[good][0];
            self.emit(at, What::Told(Chapter::RolledBack { workload, build, environment: PROD }));
            self.announce(at, workload, PROD);
        }
    }

    fn talks(&self, reconciler: usize) -> bool {
        let host = &self.hosts[self.world.reconcilers[reconciler].host];
        !host.silent && !host.retired
    }

    fn report(&mut self, at: i64, reconciler: usize, outcome: Outcome) {
        let state = &mut self.reconcilers[reconciler];
        if let Some(attempted) = state.attempted {
            let report = Report { attempted, applied: state.applied, outcome };
            state.last = Some(report);
            self.emit(at, What::Reported { reconciler, report });
        }
    }

    fn pick_up(&mut self, at: i64, reconciler: usize) {
        let target = &self.world.targets[self.world.reconcilers[reconciler].target];
        let branch = &self.branches[target.workload][target.environment];
        let head = branch.head;
        if head == 0 || !self.talks(reconciler) || self.reconcilers[reconciler].attempted == Some(head) {
            return;
        }
        self.reconcilers[reconciler].attempted = Some(head);
        self.report(at, reconciler, Outcome::InProgress);
        let slow = self.quality_at(reconciler, head) == Quality::Slow;
        let takes = if slow {
            self.random.between(8 * MINUTE, 30 * MINUTE)
        } else {
            self.random.between(20 * SECOND, 3 * MINUTE)
        };
        self.agenda.plan(at + takes, Plan::Settle { reconciler, commit: head, attempt: 1 });
    }

    fn settle(&mut self, at: i64, reconciler: usize, commit: u32, attempt: u32) {
        if self.reconcilers[reconciler].attempted != Some(commit) {
            return; // it has moved on to another commit
        }
        if !self.talks(reconciler) {
            self.reconcilers[reconciler].attempted = None; // it starts over when it is back
            return;
        }
        let environment = self.world.targets[self.world.reconcilers[reconciler].target].environment;
        let percent = match self.quality_at(reconciler, commit) {
            Quality::FailsInStage if environment >= 1 => 75,
            Quality::FailsInProd if environment == PROD => 60,
            _ if attempt == 1 => 4,
            _ => 20,
        };
        if self.random.chance(percent) {
            self.report(at, reconciler, Outcome::Failure);
            if attempt < 4 {
                let again = at + self.random.between(5 * MINUTE, 20 * MINUTE);
                self.agenda.plan(again, Plan::Settle { reconciler, commit, attempt: attempt + 1 });
            }
        } else {
            self.reconcilers[reconciler].applied = Some(commit);
            self.report(at, reconciler, Outcome::Success);
        }
    }

    fn quality_at(&self, reconciler: usize, commit: u32) -> Quality {
        let id = self.world.reconcilers[reconciler].target;
        let target = &self.world.targets[id];
        let slot = usize::from(self.world.workloads[target.workload].targets[target.environment][0] != id);
        let build = self.branches[target.workload][target.environment].commits[commit as usize - 1][slot];
        self.quality(target.workload, build)
    }

    fn silence(&mut self, at: i64) {
        let silent = self.hosts.iter().filter(|h| h.silent).count();
        let host = self.random.below(self.hosts.len());
        let state = self.hosts.get(host).copied().unwrap_or_default();
        if silent * 15 < self.hosts.len() && !state.silent && !state.retired && !self.world.hosts[host].never_reports {
            self.hosts[host].silent = true;
            self.emit(at, What::Told(Chapter::WentSilent { host }));
            self.agenda.plan(at + self.random.between(100 * MINUTE, 5 * HOUR), Plan::Wake(host));
        }
        self.agenda.plan(at + self.random.between(20 * MINUTE, 60 * MINUTE), Plan::Silence);
    }

    fn wake(&mut self, at: i64, host: usize) {
        self.hosts[host].silent = false;
        self.emit(at, What::Told(Chapter::CameBack { host }));
        for n in 0..self.world.hosts[host].reconcilers.len() {
            let reconciler = self.world.hosts[host].reconcilers[n];
            let after = self.random.between(SECOND, MINUTE);
            self.agenda.plan(at + after, Plan::Pickup(reconciler));
        }
    }

    fn beat(&mut self, at: i64, host: usize) {
        let state = self.hosts[host];
        if state.retired {
            return;
        }
        if !state.silent {
            // Clusters say it by repeating a report, machines by a heartbeat of their own.
            if self.world.hosts[host].kind == HostKind::Machine {
                self.emit(at, What::Heartbeat { host });
            } else {
                let reconcilers = &self.world.hosts[host].reconcilers;
                let reconciler = reconcilers[state.turn % reconcilers.len()];
                self.hosts[host].turn += 1;
                if let Some(report) = self.reconcilers[reconciler].last {
                    self.emit(at, What::Reported { reconciler, report });
                }
            }
        }
        self.agenda.plan(at + BEAT_EVERY + self.random.between(-MINUTE, MINUTE), Plan::Beat(host));
    }
}

impl Iterator for Simulation {
    type Item = Occurrence;

    fn next(&mut self) -> Option<Occurrence> {
        loop {
            if let Some(occurrence) = self.ready.pop_front() {
                return Some(occurrence);
            }
            let (at, plan) = self.agenda.take()?;
            self.carry_out(at, plan);
        }
    }
}

#[cfg(test)]
mod tests;
