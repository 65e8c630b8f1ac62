//! The fleets of the design's budgets (S, M and L), as NDJSON of custom resources in time order.
//!
//! Hosts subscribe to targets of skewed popularity, versions are promoted environment by environment, a few reconcilers
//! lag, fail, or return to an older commit. The same preset and seed give the same bytes. Lines are rendered outside
//! every measured span.

use std::io::Write;

use koh::demo::driver::Batch;
use koh::demo::random::{Random, commit, hash};

/// 2025-01-01T00:00:00Z, when every fleet's history begins.
const EPOCH: i64 = 1_735_689_600;
const DAY: i64 = 86_400;
const DAYS: i64 = 180;
const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];
const TARGET_NAMES: [&str; 2] = ["functional-test", "performance-test"];
const TARGETS: usize = TARGET_NAMES.len();
const STATUS: [&str; 3] = ["success", "failure", "in_progress"];
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const IN_PROGRESS: u8 = 2;

/// Sizes of a fleet.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its letter.
    pub name: &'static str,
    pub hosts: usize,
    pub subscriptions: usize,
    pub workloads: usize,
    pub versions: usize,
    pub workspaces: usize,
    pub applications: usize,
}

impl Preset {
    /// The preset of a letter; T is for trying the benchmark itself.
    pub fn named(name: &str) -> Option<Preset> {
        let preset = |name, hosts, subscriptions, workloads, versions, workspaces, applications| Preset {
            name,
            hosts,
            subscriptions,
            workloads,
            versions,
            workspaces,
            applications,
        };
        match name {
            "T" => Some(preset("T", 12, 4, 3, 3, 1, 2)),
            "S" => Some(preset("S", 100, 20, 20, 10, 2, 2)),
            "D" => Some(preset("D", 1_000, 20, 60, 20, 5, 4)),
            "M" => Some(preset("M", 10_000, 20, 300, 20, 5, 6)),
            "L" => Some(preset("L", 100_000, 20, 900, 10, 10, 10)),
            _ => None,
        }
    }
}

/// A subscription of a host to a target, and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Reconciler {
    host: u32,
    target: u32,
    /// The version it runs at the end of the history.
    version: u8,
    status: u8,
}

/// One line of the history; `u32::MAX` as reconciler marks a descriptor of `target_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    /// Seconds since [`EPOCH`].
    at: u32,
    /// Descriptors (0) come before reports (1) of the same second.
    kind: u8,
    subject: u32,
    version: u8,
    status: u8,
}

/// A generated fleet.
#[derive(Debug)]
pub struct Fleet {
    pub preset: Preset,
    seed: u64,
    host_environment: Vec<u8>,
    reconcilers: Vec<Reconciler>,
    /// `sha1:<40 hex>` by target and version.
    commits: Vec<String>,
    /// Promotion times by target and version, seconds since [`EPOCH`].
    assigned: Vec<u32>,
    /// Reconciler name and endpoint by target.
    names: Vec<(String, String)>,
    events: Vec<Event>,
    /// Date parts of timestamps, by day since [`EPOCH`].
    dates: Vec<String>,
}

impl Fleet {
    /// The fleet of a preset.
    pub fn new(preset: Preset, seed: u64) -> Fleet {
        let mut random = Random::new(hash(&[seed, preset.hosts as u64]));
        let targets = preset.workloads * ENVIRONMENTS.len() * TARGETS;
        let mut fleet = Fleet {
            preset,
            seed,
            host_environment: Vec::with_capacity(preset.hosts),
            reconcilers: Vec::with_capacity(preset.hosts * preset.subscriptions),
            commits: Vec::with_capacity(targets * preset.versions),
            assigned: Vec::with_capacity(targets * preset.versions),
            names: Vec::with_capacity(targets),
            events: Vec::new(),
            dates: (0..DAYS + 8).map(|day| date(EPOCH + day * DAY)).collect(),
        };
        for workload in 0..preset.workloads {
            fleet.add_workload(workload, &mut random);
        }
        fleet.add_hosts(&mut random);
        fleet.add_history(&mut random);
        fleet.events.sort_unstable();
        fleet
    }

    fn add_workload(&mut self, workload: usize, random: &mut Random) {
        let versions = self.preset.versions;
        // Strictly increasing build times, at least a minute apart.
        let mut built: Vec<i64> = (0..versions).map(|_| random.between(0, DAYS * DAY * 9 / 10)).collect();
        built.sort_unstable();
        for (environment, promoted) in [0, 2 * 3600, 5 * 3600].into_iter().enumerate() {
            let shared = random.chance(25); // all targets of an environment change with one commit
            for (target, name) in TARGET_NAMES.into_iter().enumerate() {
                let offset = promoted + random.between(0, 1800);
                let key = if shared { TARGETS } else { target };
                for (version, built) in built.iter().enumerate() {
                    let parts = [self.seed, workload as u64, environment as u64, key as u64, version as u64];
                    self.commits.push(format!("sha1:{}", commit(&parts)));
                    self.assigned.push((built + version as i64 * 60 + offset) as u32);
                }
                let (application, workspace) = self.application(workload);
                let environment = ENVIRONMENTS[environment];
                self.names.push((
                    format!(
                        "{environment}.ws-{workspace:02}.app-{workspace:02}-{application:02}.wl-{workload:04}.{name}"
                    ),
                    format!("https://github.com/fleet-org/wl-{workload:04}-gitops/{environment}/./{name}"),
                ));
            }
        }
    }

    fn application(&self, workload: usize) -> (usize, usize) {
        let n = workload % (self.preset.workspaces * self.preset.applications);
        (n % self.preset.applications, n / self.preset.applications)
    }

    fn add_hosts(&mut self, random: &mut Random) {
        let slots = self.preset.workloads * TARGETS;
        // Popularity falls with rank, and rank is shuffled over workloads: weight = 1 / rank^0.6.
        let mut weights: Vec<f64> = (1..=slots).map(|rank| (rank as f64).powf(-0.6)).collect();
        for n in (1..slots).rev() {
            weights.swap(n, random.below(n + 1));
        }
        let total: f64 = weights.iter().sum();
        let cumulative: Vec<f64> = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight / total;
                Some(*sum)
            })
            .collect();
        let mut chosen = vec![u32::MAX; slots];
        for host in 0..self.preset.hosts {
            let environment = match host {
                0..=2 => host as u8,
                _ => [0, 1, 1, 2, 2, 2, 2, 2, 2, 2][random.below(10)],
            };
            self.host_environment.push(environment);
            let mut left = self.preset.subscriptions.min(slots);
            while left > 0 {
                let point = (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
                let slot = cumulative.partition_point(|sum| *sum < point).min(slots - 1);
                if chosen[slot] != host as u32 {
                    chosen[slot] = host as u32;
                    let (workload, target) = (slot / TARGETS, slot % TARGETS);
                    let target = (workload * ENVIRONMENTS.len() + usize::from(environment)) * TARGETS + target;
                    self.reconcilers.push(Reconciler {
                        host: host as u32,
                        target: target as u32,
                        version: 0,
                        status: SUCCESS,
                    });
                    left -= 1;
                }
            }
        }
    }

    fn add_history(&mut self, random: &mut Random) {
        let versions = self.preset.versions;
        for target in 0..self.names.len() {
            for version in 0..versions {
                let at = self.assigned[target * versions + version];
                self.events.push(Event { at, kind: 0, subject: target as u32, version: version as u8, status: 0 });
            }
        }
        for id in 0..self.reconcilers.len() {
            let target = self.reconcilers[id].target as usize;
            let lags = random.chance(5);
            let behind = if lags { random.between(1, 4).min(versions as i64 - 1) } else { 0 };
            let last = versions - 1 - behind as usize;
            let mut event = Event { at: 0, kind: 1, subject: id as u32, version: 0, status: SUCCESS };
            for version in 0..=last {
                let at = i64::from(self.assigned[target * versions + version]);
                let next = self.assigned.get(target * versions + version + 1).filter(|_| version + 1 < versions);
                let gap = next.map_or(7200, |next| i64::from(*next) - at);
                let status = match random.below(100) {
                    0..=4 => FAILURE,
                    5..=7 if version == last => IN_PROGRESS,
                    _ => SUCCESS,
                };
                let at = at + random.between(30, 1500).min((gap - 1).max(1));
                event = Event { at: at as u32, version: version as u8, status, ..event };
                self.events.push(event);
            }
            if last > 0 && random.chance(1) {
                let version = last - 1 - random.below(last.min(2));
                let at = DAYS * DAY + random.between(DAY, 2 * DAY);
                event = Event { at: at as u32, version: version as u8, status: SUCCESS, ..event };
                self.events.push(event);
            }
            self.reconcilers[id].version = event.version;
            self.reconcilers[id].status = event.status;
        }
    }

    /// Number of reconcilers.
    pub fn reconcilers(&self) -> usize {
        self.reconcilers.len()
    }

    /// Number of lines of the history.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// The history from line `from`, at most `lines` of it, in batches.
    pub fn history(&self, from: usize, lines: usize) -> Vec<Batch> {
        let to = (from + lines).min(self.events.len());
        let chunks = self.events[from..to].chunks(koh::demo::feed::BATCH);
        chunks
            .map(|events| {
                let mut body = Vec::with_capacity(events.len() * 800);
                for event in events {
                    let time = self.time(event.at);
                    if event.kind == 0 {
                        self.descriptor(event.subject as usize, event.version, &time, &mut body);
                    } else {
                        self.report(event.subject as usize, event.version, event.status, &time, &mut body);
                    }
                }
                Batch { path: "/api/v1/ingest", body: body.into(), items: events.len() }
            })
            .collect()
    }

    /// What every reconciler of `who` said last, said again at `time`: heartbeats.
    pub fn repeated(&self, who: &[u32], time: &str) -> Vec<Batch> {
        self.now(who, time, |reconciler| reconciler.status)
    }

    /// Every reconciler of `who` changes its status to failure in odd rounds and to success in even ones.
    pub fn changed(&self, who: &[u32], round: usize, time: &str) -> Vec<Batch> {
        let status = if round % 2 == 1 { FAILURE } else { SUCCESS };
        self.now(who, time, |_| status)
    }

    fn now(&self, who: &[u32], time: &str, status: impl Fn(&Reconciler) -> u8) -> Vec<Batch> {
        who.chunks(koh::demo::feed::BATCH)
            .map(|ids| {
                let mut body = Vec::with_capacity(ids.len() * 800);
                for &id in ids {
                    let reconciler = &self.reconcilers[id as usize];
                    self.report(id as usize, reconciler.version, status(reconciler), time, &mut body);
                }
                Batch { path: "/api/v1/ingest", body: body.into(), items: ids.len() }
            })
            .collect()
    }

    /// All reconcilers, in an order that has nothing to do with their ids.
    pub fn shuffled(&self, salt: u64) -> Vec<u32> {
        let mut random = Random::new(hash(&[self.seed, salt]));
        let mut ids: Vec<u32> = (0..self.reconcilers.len() as u32).collect();
        for n in (1..ids.len()).rev() {
            ids.swap(n, random.below(n + 1));
        }
        ids
    }

    /// Name of a host.
    pub fn host_name(&self, host: usize) -> String {
        format!("cl-{}-{host:06}", ENVIRONMENTS[usize::from(self.host_environment[host])])
    }

    /// Questions for the gate: any environment, workload and version.
    pub fn gate_questions(&self, count: usize) -> Vec<String> {
        let mut random = Random::new(hash(&[self.seed, 6]));
        (0..count)
            .map(|_| {
                let workload = random.below(self.preset.workloads);
                let environment = ENVIRONMENTS[random.below(ENVIRONMENTS.len())];
                let version = self.preset.versions - 1 - random.below(self.preset.versions.min(3));
                format!(
                    "/api/v1/rollouts/status?environment={environment}&workload=wl-{workload:04}&version=1.{version}.0"
                )
            })
            .collect()
    }

    fn time(&self, at: u32) -> String {
        let (day, second) = (at / DAY as u32, at % DAY as u32);
        format!("{}T{:02}:{:02}:{:02}Z", self.dates[day as usize], second / 3600, second / 60 % 60, second % 60)
    }

    fn commit(&self, target: usize, version: u8) -> &str {
        &self.commits[target * self.preset.versions + usize::from(version)]
    }

    fn descriptor(&self, target: usize, version: u8, time: &str, out: &mut Vec<u8>) {
        let workload = target / (ENVIRONMENTS.len() * TARGETS);
        let environment = ENVIRONMENTS[target / TARGETS % ENVIRONMENTS.len()];
        let name = TARGET_NAMES[target % TARGETS];
        let (application, workspace) = self.application(workload);
        let commit = self.commit(target, version);
        let source = commit_of_source(self.seed, workload, version);
        line(
            out,
            format_args!(
                r#"{{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"DeploymentDescriptor","metadata":{{"name":"wl-{workload:04}-{environment}-{name}","namespace":"flux-system","annotations":{{"hub.kalypso.io/observed-at":"{time}","hub.kalypso.io/gitops-revision":"{environment}@{commit}"}}}},"spec":{{"workload":{{"name":"wl-{workload:04}","source":{{"repo":"https://github.com/fleet-org/wl-{workload:04}","branch":"main","path":"."}},"application":{{"name":"app-{workspace:02}-{application:02}","workspace":{{"name":"ws-{workspace:02}"}}}}}},"deploymentTarget":{{"name":"{name}","environment":"{environment}","manifests":{{"repo":"https://github.com/fleet-org/wl-{workload:04}-gitops","branch":"{environment}","path":"./{name}"}}}},"workloadVersion":{{"version":"1.{version}.0","build":"build-{version}","commit":"{source}"}}}}}}"#
            ),
        );
    }

    fn report(&self, id: usize, version: u8, status: u8, time: &str, out: &mut Vec<u8>) {
        let reconciler = &self.reconcilers[id];
        let host = reconciler.host as usize;
        let environment = ENVIRONMENTS[usize::from(self.host_environment[host])];
        let (name, endpoint) = &self.names[reconciler.target as usize];
        let commit = self.commit(reconciler.target as usize, version);
        let workload = reconciler.target as usize / (ENVIRONMENTS.len() * TARGETS);
        let word = STATUS[usize::from(status)];
        let message = match status {
            SUCCESS => format!("Applied revision: {environment}@{commit}"),
            FAILURE => format!(
                "health check failed after 5m0s: timeout waiting for: [Deployment/wl-{workload:04}/wl-{workload:04}-api status: 'InProgress']; revision {environment}@{commit}"
            ),
            _ => format!("Reconciliation in progress, revision {environment}@{commit}"),
        };
        line(
            out,
            format_args!(
                r#"{{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{{"name":"cl-{environment}-{host:06}-{name}","namespace":"hub","annotations":{{"hub.kalypso.io/observed-at":"{time}"}}}},"spec":{{"hostName":"cl-{environment}-{host:06}","reconcilerName":"{name}","reconcilerType":"flux","manifestsStorageType":"git","manifestsEndpoint":"{endpoint}","deployment":{{"gitOpsCommitId":"{commit}","status":"{word}","statusMessage":"{message}"}}}}}}"#
            ),
        );
    }
}

fn line(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing into memory does not fail");
    out.push(b'\n');
}

fn commit_of_source(seed: u64, workload: usize, version: u8) -> String {
    commit(&[seed, 7, workload as u64, u64::from(version)])
}

fn date(seconds: i64) -> String {
    koh::model::Micros(seconds * 1_000_000).to_string()[..10].to_string()
}
