//! What can happen in the simulated fleet, when, and in which order.
//!
//! Times are fleet time: microseconds, zero where history ends and the live part begins. Two things at one time keep
//! the order in which they were planned, so that a run depends on nothing but its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::world::{ENVIRONMENTS, World};

/// One second of fleet time.
pub const SECOND: i64 = 1_000_000;
/// One minute of fleet time.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour of fleet time.
pub const HOUR: i64 = 60 * MINUTE;

/// Something that happened, at a fleet time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Fleet time.
    pub at: i64,
    /// What happened.
    pub what: What,
}

/// What a source would tell the hub, or the audience of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A host exists and is expected to run something.
    Declared {
        /// Index of the host.
        host: usize,
    },
    /// A host is alive.
    Heartbeat {
        /// Index of the host.
        host: usize,
    },
    /// A host is gone for good.
    Retired {
        /// Index of the host.
        host: usize,
    },
    /// A build is wanted on a target, as of a commit.
    Wanted {
        /// Index of the target.
        target: usize,
        /// Build of the workload.
        build: u32,
        /// Number of the commit on the branch.
        commit: u32,
    },
    /// A reconciler says how it stands.
    Reported {
        /// Index of the reconciler.
        reconciler: usize,
        /// What it says.
        report: Report,
    },
    /// A line of the story; nothing is sent.
    Told(Chapter),
}

/// What a reconciler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Number of the commit it is at or tries.
    pub attempted: u32,
    /// Number of the commit that last succeeded.
    pub applied: Option<u32>,
    /// How the attempt stands.
    pub outcome: Outcome,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Being applied.
    InProgress,
    /// Applied and healthy.
    Success,
    /// Not healthy in time.
    Failure,
}

/// The turns of the story worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    /// A version was built.
    Built {
        /// Index of the workload.
        workload: usize,
        /// Its build.
        build: u32,
    },
    /// A version moved into an environment.
    Promoted {
        /// Index of the workload.
        workload: usize,
        /// Its build.
        build: u32,
        /// Index into [`ENVIRONMENTS`].
        environment: usize,
    },
    /// The former version was put back.
    RolledBack {
        /// Index of the workload.
        workload: usize,
        /// The build that is wanted again.
        build: u32,
        /// Index into [`ENVIRONMENTS`].
        environment: usize,
    },
    /// A host stopped talking.
    WentSilent {
        /// Index of the host.
        host: usize,
    },
    /// A silent host talks again.
    CameBack {
        /// Index of the host.
        host: usize,
    },
    /// A host was retired.
    Retired {
        /// Index of the host.
        host: usize,
    },
}

impl Chapter {
    /// The line as a person reads it.
    pub fn line(&self, world: &World) -> String {
        match *self {
            Chapter::Built { workload, build } => {
                format!("{} {} is built", world.workloads[workload].name, version(build))
            }
            Chapter::Promoted { workload, build, environment } => {
                let name = &world.workloads[workload].name;
                format!("{name} {} goes to {}", version(build), ENVIRONMENTS[environment])
            }
            Chapter::RolledBack { workload, build, environment } => {
                let name = &world.workloads[workload].name;
                format!("{name} fails in {}: rolled back to {}", ENVIRONMENTS[environment], version(build))
            }
            Chapter::WentSilent { host } => format!("{} stops reporting", world.hosts[host].name),
            Chapter::CameBack { host } => format!("{} is back", world.hosts[host].name),
            Chapter::Retired { host } => format!("{} is retired", world.hosts[host].name),
        }
    }
}

/// The version string of a build.
pub fn version(build: u32) -> String {
    format!("1.{build}.0")
}

/// Plans in the order of their times.
#[derive(Clone, Debug)]
pub struct Agenda<P> {
    heap: BinaryHeap<Reverse<Planned<P>>>,
    planned: u64,
}

#[derive(Clone, Debug)]
struct Planned<P> {
    at: i64,
    order: u64,
    plan: P,
}

impl<P> Default for Agenda<P> {
    fn default() -> Self {
        Agenda { heap: BinaryHeap::new(), planned: 0 }
    }
}

impl<P> Agenda<P> {
    /// Plans something.
    pub fn plan(&mut self, at: i64, plan: P) {
        self.heap.push(Reverse(Planned { at, order: self.planned, plan }));
        self.planned += 1;
    }

    /// Takes what comes first.
    pub fn take(&mut self) -> Option<(i64, P)> {
        self.heap.pop().map(|Reverse(planned)| (planned.at, planned.plan))
    }
}

impl<P> PartialEq for Planned<P> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<P> Eq for Planned<P> {}

impl<P> PartialOrd for Planned<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for Planned<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_come_by_time_and_then_in_the_order_they_were_made() {
        let mut agenda = Agenda::default();
        for (at, plan) in [(5, "c"), (1, "a"), (5, "d"), (1, "b")] {
            agenda.plan(at, plan);
        }
        let mut seen = Vec::new();
        while let Some((_, plan)) = agenda.take() {
            seen.push(plan);
        }
        assert_eq!(seen, ["a", "b", "c", "d"]);
    }

    #[test]
    fn chapters_read_as_sentences() {
        let world = World::new(1, 12);
        let line = Chapter::Promoted { workload: 0, build: 4, environment: 1 }.line(&world);
        assert_eq!(line, "shop-web 1.4.0 goes to stage");
    }
}
