//! The whole source over a real folder: what it hands over, when it is ready, what it survives.

use std::fs;
use std::sync::Mutex;

use super::*;
use crate::model::{Carrier, Said};

fn yaml(name: &str, version: &str) -> String {
    format!(
        "apiVersion: hub.kalypso.io/v1alpha1\nkind: DeploymentDescriptor\nmetadata:\n  name: {name}\nspec:\n  workload:\n    name: l\n    application:\n      name: a\n      workspace:\n        name: w\n  deploymentTarget:\n    name: {name}\n    environment: dev\n    manifests:\n      repo: https://h.x/o/r\n      branch: dev\n      path: ./t\n  workloadVersion:\n    version: {version}\n"
    )
}

/// What was handed over, as `+name version revision` and `-name`.
#[derive(Clone, Default)]
struct Taken {
    all: Arc<Mutex<Vec<String>>>,
    refuse: Arc<std::sync::atomic::AtomicUsize>,
}

impl Taken {
    fn sink(&self) -> impl Fn(Vec<Observation>) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync + use<> {
        let taken = self.clone();
        move |observations| {
            let taken = taken.clone();
            Box::pin(async move {
                if taken.refuse.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                    taken.refuse.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    anyhow::bail!("full");
                }
                taken.all.lock().unwrap().extend(observations.iter().map(shape));
                Ok(())
            })
        }
    }

    fn all(&self) -> Vec<String> {
        self.all.lock().unwrap().clone()
    }
}

fn shape(observation: &Observation) -> String {
    let Carrier::Resource { name, .. } = &observation.carrier else { panic!("no resource") };
    match &observation.said {
        Said::Descriptor(said) => {
            format!("+{name} {} {}", said.version, said.gitops_revision.as_deref().unwrap_or("-"))
        }
        Said::Deleted(_) => format!("-{name}"),
        other => panic!("{other:?}"),
    }
}

async fn until(seen: &mut watch::Receiver<Seen>, mut done: impl FnMut(&Seen) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), seen.wait_for(|seen| done(seen))).await;
    waited.expect("the source got there in time").expect("the source runs");
}

#[tokio::test]
async fn a_folder_is_read_watched_and_what_vanishes_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("a.yaml"), format!("{}---\n{}", yaml("a", "1.10"), yaml("b", "1"))).unwrap();
    fs::write(dir.path().join("sub/c.yml"), "kind: Secret\n").unwrap();
    fs::write(dir.path().join("notes.txt"), yaml("z", "1")).unwrap();
    let (taken, cancel) = (Taken::default(), CancellationToken::new());
    taken.refuse.store(1, std::sync::atomic::Ordering::SeqCst);
    let (sender, mut seen) = watch::channel(Seen::default());
    let running = tokio::spawn(run(dir.path().to_owned(), "directory".into(), taken.sink(), sender, cancel.clone()));
    until(&mut seen, |seen| seen.looks > 0).await;
    let (a, b, c) =
        ("a.yaml#DeploymentDescriptor//a", "a.yaml#DeploymentDescriptor//b", "sub/c.yml#DeploymentDescriptor//c");
    assert_eq!(taken.all(), [format!("+{a} 1.10 -"), format!("+{b} 1 -")]);
    until(&mut seen, |seen| seen.complete && seen.carriers.len() == 2).await;

    fs::write(dir.path().join("sub/c.yml"), yaml("c", "1")).unwrap();
    until(&mut seen, |seen| seen.carriers.len() == 3).await;
    fs::write(dir.path().join("a.yaml"), yaml("a", "2")).unwrap();
    until(&mut seen, |seen| seen.complete && seen.carriers.len() == 2).await;
    fs::remove_file(dir.path().join("sub/c.yml")).unwrap();
    until(&mut seen, |seen| seen.complete && seen.carriers.len() == 1).await;
    assert_eq!(taken.all()[2..], [format!("+{c} 1 -"), format!("+{a} 2 -"), format!("-{b}"), format!("-{c}")]);
    cancel.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_checkout_gives_the_commit_and_a_moved_head_is_observed() {
    const A: &str = "530af36eb38818ff7c4a8840f2068998ec8ec065";
    const B: &str = "158966cb50ef397ee70339624ede20e54ca071c7";
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    fs::create_dir_all(dir.path().join(".git/refs/heads")).unwrap();
    fs::create_dir(&manifests).unwrap();
    fs::write(dir.path().join(".git/HEAD"), "ref: refs/heads/dev\n").unwrap();
    fs::write(dir.path().join(".git/refs/heads/dev"), A).unwrap();
    fs::write(manifests.join("a.yaml"), yaml("a", "1")).unwrap();
    let (taken, cancel) = (Taken::default(), CancellationToken::new());
    let (sender, mut seen) = watch::channel(Seen::default());
    let running = tokio::spawn(run(manifests, "directory".into(), taken.sink(), sender, cancel.clone()));
    until(&mut seen, |seen| seen.looks > 0).await;
    fs::write(dir.path().join(".git/refs/heads/dev"), B).unwrap();
    // What git touches beside the refs is what wakes the source.
    fs::write(dir.path().join(".git/ORIG_HEAD"), A).unwrap();
    let all = taken.clone();
    until(&mut seen, |_| all.all().len() == 2).await;
    let name = "a.yaml#DeploymentDescriptor//a";
    assert_eq!(taken.all(), [format!("+{name} 1 dev@sha1:{A}"), format!("+{name} 1 dev@sha1:{B}")]);
    cancel.cancel();
    running.await.unwrap();
}

#[test]
fn a_broken_or_unreadable_file_keeps_its_documents_and_a_missing_folder_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("m");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), yaml("a", "1")).unwrap();
    let (mut looker, mut scan) = (Looker::new(folder.clone(), "directory".into()), Scan::default());
    assert_eq!(scan.apply("directory", looker.look()).observations.len(), 1);
    fs::write(folder.join("a.yaml"), yaml("a", "[1")).unwrap();
    for _ in 0..3 {
        let changes = scan.apply("directory", looker.look());
        assert!(changes.observations.is_empty() && !changes.complete);
    }
    fs::write(folder.join("a.yaml"), b"apiVersion: hub.kalypso.io/v1alpha1\nname: \xff").unwrap();
    assert!(!scan.apply("directory", looker.look()).complete);
    fs::write(folder.join("a.yaml"), yaml("a", "1")).unwrap();
    let changes = scan.apply("directory", looker.look());
    assert!(changes.observations.is_empty() && changes.complete);
    fs::rename(&folder, dir.path().join("n")).unwrap();
    for _ in 0..3 {
        let changes = scan.apply("directory", looker.look());
        assert!(changes.observations.is_empty() && !changes.complete);
    }
    assert_eq!(scan.carriers("directory").len(), 1);
}
