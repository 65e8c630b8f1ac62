//! What exists in the simulated fleet: teams, applications, workloads, targets and hosts.
//!
//! The world never changes while it is simulated, and depends on the seed and the number of hosts only. Some names are
//! deliberately not ASCII: a hub that meets them in a demo will not meet them first in production.

use super::random::{Random, commit};

/// The environments, in the order in which versions move through them.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];

/// Index of the last environment in [`ENVIRONMENTS`].
pub const PROD: usize = 2;

/// Target names by environment.
const TARGETS: [&[&str]; 3] = [&["functional-test"], &["uat-test", "performance-test"], &["cloud", "edge"]];

/// Workspace, application, workload, contact of the smallest world; larger ones repeat them with a number.
const CATALOG: [(&str, &str, &str, &str); 9] = [
    ("storefront", "shop", "shop-web", "storefront@contoso.example"),
    ("storefront", "shop", "shop-cart", "storefront@contoso.example"),
    ("storefront", "payments", "payments-api", "payments on-call"),
    ("storefront", "payments", "payments-ledger", "payments on-call"),
    ("logistics", "tracking", "tracking-api", "Ines Okafor"),
    ("logistics", "tracking", "tracking-map", "Ines Okafor"),
    ("logistics", "routing", "routing-planner", "routing@contoso.example"),
    ("données", "prévisions", "prévisions-météo", "Zoë Lefèvre"),
    ("platform", "telemetry", "log-forwarder", "platform@contoso.example"),
];

const REGIONS: [&str; 4] = ["westeurope", "eastus", "southeastasia", "brazilsouth"];
const CITIES: [&str; 10] =
    ["münchen", "lyon", "são-paulo", "oslo", "kraków", "東京", "porto", "zürich", "genova", "αθήνα"];
const AUTHORS: [&str; 5] = ["Ada Njoroge", "Bruno Silva", "Chiyo Tanaka", "Dagný Jónsdóttir", "Emil Kowalski"];
const RINGS: [&str; 3] = ["canary", "early", "broad"];

/// Everything that exists.
#[derive(Clone, Debug)]
pub struct World {
    /// The number everything is derived from.
    pub seed: u64,
    /// Workloads, in a fixed order.
    pub workloads: Vec<Workload>,
    /// Deployment targets of all workloads and environments.
    pub targets: Vec<Target>,
    /// Hosts; each belongs to one environment.
    pub hosts: Vec<Host>,
    /// Reconcilers: a host's subscription to a target.
    pub reconcilers: Vec<Reconciler>,
    /// Reconcilers by target, in order.
    pub subscribers: Vec<Vec<usize>>,
}

/// One deployable part of an application.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Workspace it belongs to.
    pub workspace: String,
    /// Application it belongs to.
    pub application: String,
    /// Its name.
    pub name: String,
    /// Whom to ask.
    pub contact: String,
    /// Targets by environment, as indexes into [`World::targets`].
    pub targets: [Vec<usize>; 3],
}

/// Where a workload goes in an environment.
#[derive(Clone, Debug)]
pub struct Target {
    /// Index of the workload.
    pub workload: usize,
    /// Index into [`ENVIRONMENTS`].
    pub environment: usize,
    /// Its name.
    pub name: &'static str,
}

/// What kind of machine a host is, which decides who reconciles it and how it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A Kubernetes cluster with Flux; reports arrive as custom resources.
    Cluster,
    /// A small cluster at a site, with Argo CD; reports arrive as custom resources.
    Edge,
    /// A virtual machine pulled by Ansible; reports arrive as flat JSON.
    Machine,
}

/// A cluster, device or machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: HostKind,
    /// Index into [`ENVIRONMENTS`].
    pub environment: usize,
    /// Rollout ring: the earlier the ring, the sooner a host follows a commit.
    pub ring: usize,
    /// Region label.
    pub region: &'static str,
    /// Its reconcilers, as indexes into [`World::reconcilers`].
    pub reconcilers: Vec<usize>,
    /// Declared, with what it is expected to run, but never heard of.
    pub never_reports: bool,
}

/// A host's subscription to a target.
#[derive(Clone, Debug)]
pub struct Reconciler {
    /// Its name, unique on its host.
    pub name: String,
    /// Index of the host.
    pub host: usize,
    /// Index of the target.
    pub target: usize,
}

impl World {
    /// A world of `hosts` hosts.
    pub fn new(seed: u64, hosts: usize) -> World {
        let mut random = Random::new(seed);
        let mut world = World {
            seed,
            workloads: Vec::new(),
            targets: Vec::new(),
            hosts: Vec::new(),
            reconcilers: Vec::new(),
            subscribers: Vec::new(),
        };
        // Enough workloads that one host runs some of them only, few enough that each is on several hosts.
        for n in 0..(hosts / 6).clamp(CATALOG.len(), 300) {
            world.add_workload(n);
        }
        world.subscribers = vec![Vec::new(); world.targets.len()];
        for n in 0..hosts {
            world.add_host(n, hosts, &mut random);
        }
        world
    }

    fn add_workload(&mut self, n: usize) {
        let (workspace, application, name, contact) = CATALOG[n % CATALOG.len()];
        let generation = n / CATALOG.len();
        let numbered =
            |base: &str| if generation == 0 { base.to_string() } else { format!("{base}-{}", generation + 1) };
        let mut targets: [Vec<usize>; 3] = Default::default();
        for (environment, names) in TARGETS.iter().enumerate() {
            for name in *names {
                targets[environment].push(self.targets.len());
                self.targets.push(Target { workload: n, environment, name });
            }
        }
        self.workloads.push(Workload {
            workspace: workspace.to_string(),
            application: numbered(application),
            name: numbered(name),
            contact: contact.to_string(),
            targets,
        });
    }

    fn add_host(&mut self, n: usize, hosts: usize, random: &mut Random) {
        // A fifth of the fleet is dev, a fifth stage, the rest prod; the first three hosts cover all of them.
        let environment = [0, 1, PROD, PROD, PROD][n % 5];
        let kind = match (environment, n % 4) {
            (PROD, 0 | 1) => HostKind::Edge,
            (PROD, 3) => HostKind::Machine,
            _ => HostKind::Cluster,
        };
        let region = REGIONS[random.below(REGIONS.len())];
        let name = match kind {
            HostKind::Cluster => format!("aks-{}-{region}-{n:02}", ENVIRONMENTS[environment]),
            HostKind::Edge => format!("edge-{}-{n:02}", CITIES[random.below(CITIES.len())]),
            HostKind::Machine => format!("vm-{}-{region}-{n:02}", ENVIRONMENTS[environment]),
        };
        let ring = if n % 10 == 2 { 0 } else { 1 + random.below(RINGS.len() - 1) };
        let host = self.hosts.len();
        // The last host of a fleet that can spare one is still in its box.
        let never_reports = hosts >= 10 && n == hosts - 1;
        let mut reconcilers = Vec::new();
        let wanted = 6.min(self.workloads.len());
        let first = random.below(self.workloads.len());
        for step in 0..wanted {
            let workload = (first + step) % self.workloads.len();
            let targets = &self.workloads[workload].targets[environment];
            let target = match (environment, kind) {
                (PROD, HostKind::Edge) => targets[1],
                (PROD, _) => targets[0],
                _ => targets[n % targets.len()],
            };
            let id = self.reconcilers.len();
            reconcilers.push(id);
            self.reconcilers.push(Reconciler { name: self.reconciler_name(target), host, target });
            self.subscribers[target].push(id);
        }
        self.hosts.push(Host { name, kind, environment, ring, region, reconcilers, never_reports });
    }

    fn reconciler_name(&self, target: usize) -> String {
        let target = &self.targets[target];
        format!("{}.{}.{}", ENVIRONMENTS[target.environment], self.workloads[target.workload].name, target.name)
    }

    /// The GitOps repository of a workload.
    pub fn manifests_repo(&self, workload: usize) -> String {
        format!("https://github.com/contoso/{}-gitops", slug(&self.workloads[workload].name))
    }

    /// The source repository of a workload.
    pub fn source_repo(&self, workload: usize) -> String {
        format!("https://github.com/contoso/{}", slug(&self.workloads[workload].name))
    }

    /// The source commit a version was built from.
    pub fn source_commit(&self, workload: usize, build: u32) -> String {
        commit(&[self.seed, 1, workload as u64, u64::from(build)])
    }

    /// The `number`th commit on the branch of an environment.
    pub fn gitops_commit(&self, workload: usize, environment: usize, number: u32) -> String {
        commit(&[self.seed, 2, workload as u64, environment as u64, u64::from(number)])
    }

    /// Who pressed the button for a version.
    pub fn author(&self, workload: usize, build: u32) -> &'static str {
        AUTHORS
            [(super::random::hash(&[self.seed, 3, workload as u64, u64::from(build)]) % AUTHORS.len() as u64) as usize]
    }
}

impl Host {
    /// Labels a host carries.
    pub fn labels(&self) -> [(&'static str, &'static str); 3] {
        let cluster_type = match self.kind {
            HostKind::Cluster => "aks",
            HostKind::Edge => "k3s",
            HostKind::Machine => "vm",
        };
        [("cluster_type", cluster_type), ("ring", RINGS[self.ring]), ("region", self.region)]
    }

    /// Who reconciles on this host.
    pub fn reconciler_type(&self) -> &'static str {
        match self.kind {
            HostKind::Cluster => "flux",
            HostKind::Edge => "argocd",
            HostKind::Machine => "ansible",
        }
    }
}

/// A name as repositories and Kubernetes resources may carry it: lower-case ASCII letters, digits and `-`. What cannot
/// be kept is replaced by a short hash, so that different names stay different.
pub fn slug(name: &str) -> String {
    let mut kept = String::with_capacity(name.len());
    let mut lost = false;
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' | '-' => kept.push(c),
            '.' => kept.push('-'),
            _ => lost = true,
        }
    }
    if lost {
        let bytes: Vec<u64> = name.bytes().map(u64::from).collect();
        kept.push_str(&format!("-{:06x}", super::random::hash(&bytes) & 0xff_ffff));
    }
    kept.trim_matches('-').to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_world_is_the_same_for_the_same_seed() {
        assert_eq!(format!("{:?}", World::new(3, 40)), format!("{:?}", World::new(3, 40)));
        assert_ne!(format!("{:?}", World::new(3, 40)), format!("{:?}", World::new(4, 40)));
    }

    #[test]
    fn names_are_unique_and_every_environment_has_subscribers() {
        for hosts in [3, 12, 60, 1000] {
            let world = World::new(1, hosts);
            assert_eq!(world.hosts.len(), hosts);
            let names: BTreeSet<_> = world.hosts.iter().map(|h| &h.name).collect();
            assert_eq!(names.len(), hosts);
            let slugs: BTreeSet<_> = world.hosts.iter().map(|h| slug(&h.name)).collect();
            assert_eq!(slugs.len(), hosts, "names stay different as resource names");
            let repos: BTreeSet<_> = (0..world.workloads.len()).map(|w| world.manifests_repo(w)).collect();
            assert_eq!(repos.len(), world.workloads.len());
            for environment in 0..ENVIRONMENTS.len() {
                assert!(world.reconcilers.iter().any(|r| world.targets[r.target].environment == environment));
            }
        }
    }

    #[test]
    fn a_host_subscribes_only_to_targets_of_its_environment() {
        let world = World::new(9, 200);
        for reconciler in &world.reconcilers {
            assert_eq!(world.hosts[reconciler.host].environment, world.targets[reconciler.target].environment);
        }
    }

    #[test]
    fn slugs_are_valid_names_of_kubernetes_resources() {
        assert_eq!(slug("shop-web"), "shop-web");
        for name in ["prévisions-météo", "東京", "edge-αθήνα-07", "prod.prévisions-météo.cloud"] {
            let slug = slug(name);
            assert!(!slug.is_empty() && slug.len() <= 63, "{slug}");
            assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{slug}");
            assert!(
                slug.as_bytes()[0].is_ascii_alphanumeric() && slug.as_bytes()[slug.len() - 1].is_ascii_alphanumeric()
            );
        }
    }
}
