//! Helm, as a person runs it: the one of `tests/install/build.sh`, as the administrator of the test's API server.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cluster::Cluster;

/// The chart of the hub.
pub const HUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/kalypso-observability-hub");
/// The chart of its custom resources.
pub const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/kalypso-observability-hub-crds");

/// Helm, with a folder for what it wants to keep.
pub struct Helm {
    tools: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// `None`, and a word about it, where there is none.
    pub fn found(cluster: &Cluster) -> Option<Helm> {
        let Some(tools) = std::env::var_os("KOH_CHART_TOOLS").map(PathBuf::from) else {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED a test of the charts: KOH_CHART_TOOLS is not set. Where Go is installed:\n\
                 \x20        export KOH_CHART_TOOLS=\"$(tests/install/build.sh)\""
            );
            return None;
        };
        let home = cluster.home().join("helm");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("kubeconfig"), cluster.admin_kubeconfig()).unwrap();
        Some(Helm { tools, home })
    }

    /// Definitions of other people's custom resources that the chart makes.
    pub fn foreign_definitions(&self) -> Vec<String> {
        let read = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path()).unwrap();
        fs::read_dir(self.tools.join("crds")).unwrap().map(read).collect()
    }

    /// Runs it in a namespace; what it prints.
    pub fn run(&self, namespace: &str, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = Command::new(self.tools.join("helm"))
            .args(args)
            .args(["--namespace", namespace, "--kubeconfig"])
            .arg(self.home.join("kubeconfig"))
            .env("HELM_CACHE_HOME", &self.home)
            .env("HELM_CONFIG_HOME", &self.home)
            .env("HELM_DATA_HOME", &self.home)
            .output()
            .unwrap();
        assert!(status.success(), "helm {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

/// The sets of values that golden renders exist of.
pub fn sets_of_values() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/install/values");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    files
}
