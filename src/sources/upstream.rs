//! The existing hub's Postgres tables, exported as CSV, as statements of this hub.
//!
//! ```text
//! deployment_assignment (+ target, version, workload … )  -> what was wanted, from created_on on
//! deployment (+ reconciler, host)                         -> a report at created_on, and the last word at updated_on
//! ```
//!
//! That hub has one row per reconciler and commit, and overwrites it. So the row that was inserted last is not what runs when a
//! reconciler went back to an older commit; the row that was updated last is. Each row is therefore said twice where it was updated:
//! what was said at `created_on` is lost (`unknown`), what was said at `updated_on` is the status it has.
//!
//! Invariant: nothing is made up. What an export cannot tell is left out or unknown, and counted.

mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use table::ImportError;

use crate::model::Micros;
use crate::normalize;
use table::{Row, Table};

/// What was said of a commit before its row was overwritten.
const LOST: &str = "unknown";
/// Broken rows that are told one by one.
const TOLD: usize = 10;

/// Every table but the deployments, by id.
#[derive(Debug)]
pub struct Export {
    directory: PathBuf,
    targets: HashMap<i64, Target>,
    versions: HashMap<i64, Version>,
    reconcilers: HashMap<i64, Reconciler>,
    hosts: usize,
    tally: Tally,
}

#[derive(Debug)]
struct Target {
    /// The fields of a descriptor that do not change.
    named: Value,
    branch: String,
}

#[derive(Debug)]
struct Version {
    version: String,
    build: String,
    commit: String,
}

#[derive(Debug)]
struct Reconciler {
    named: Value,
    /// The commit of the row that was inserted last, and of the one that was updated last.
    inserted: Option<(Micros, Box<str>)>,
    updated: Option<(Micros, Box<str>)>,
}

/// What an export holds, and what it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deployment targets.
    pub targets: usize,
    /// Assignments.
    pub assignments: u64,
    /// Hosts.
    pub hosts: usize,
    /// Reconcilers.
    pub reconcilers: usize,
    /// Deployments: rows per reconciler and commit.
    pub deployments: u64,
    /// Of these, rows whose first words were overwritten.
    pub overwritten: u64,
    /// Reconcilers that run another commit than the row that was inserted last.
    pub rolled_back: u64,
    /// Rows that could not be read, or name something that is not in the export.
    pub broken: u64,
    /// The first of them.
    pub told: Vec<String>,
}

impl Tally {
    fn broken(&mut self, row: &Row<'_>, why: impl std::fmt::Display) {
        self.broken += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{}: {why}", row.place()));
        }
    }
}

impl Export {
    /// Reads all tables of a directory but the deployments.
    pub fn open(directory: &Path) -> Result<Export, ImportError> {
        let mut tally = Tally::default();
        let names = |table: &str| -> Result<HashMap<i64, String>, ImportError> {
            let mut names = HashMap::new();
            Table::open(directory, table)?.each(|row| {
                names.insert(row.id("id")?, row.text("name")?.to_owned());
                Ok(())
            })?;
            Ok(names)
        };
        let (workspaces, environments, hosts) = (names("workspace")?, names("environment")?, names("host")?);
        let mut applications = HashMap::new();
        Table::open(directory, "application")?.each(|row| {
            let workspace = row.known(&workspaces, "workspace_id")?;
            applications.insert(row.id("id")?, (workspace.clone(), row.text("name")?.to_owned()));
            Ok(())
        })?;
        let mut workloads = HashMap::new();
        Table::open(directory, "workload")?.each(|row| {
            let (workspace, application) = row.known(&applications, "application_id")?;
            let named = json!({"workspace": workspace, "application": application, "workload": row.text("name")?,
            "source": row.optional("source_endpoint").and_then(parts).map(|[repo, branch, path]| {
                json!({"repo": repo, "branch": branch, "path": path})
            })});
            workloads.insert(row.id("id")?, named);
            Ok(())
        })?;
        let mut targets = HashMap::new();
        Table::open(directory, "deployment_target")?.each_or(&mut tally, |row| {
            let mut named = row.known(&workloads, "workload_id")?.clone();
            let endpoint = row.text("manifests_endpoint")?;
            let [repo, branch, path] = parts(endpoint)
                .ok_or_else(|| format!("manifests_endpoint {endpoint} names no repository, branch and path"))?;
            named["environment"] = row.known(&environments, "environment_id")?.as_str().into();
            named["deployment_target"] = row.text("name")?.into();
            named["manifests"] = json!({"storage_type": row.optional("manifests_storage_type").unwrap_or_default(),
                "repo": repo, "branch": branch, "path": path});
            targets.insert(row.id("id")?, Target { named, branch });
            Ok(())
        })?;
        let mut versions = HashMap::new();
        Table::open(directory, "workload_version")?.each(|row| {
            let text = |column: &str| row.optional(column).unwrap_or_default().to_owned();
            let (build, commit) = (text("build_id"), text("build_commit_id"));
            versions.insert(row.id("id")?, Version { version: row.text("version")?.to_owned(), build, commit });
            Ok(())
        })?;
        let mut reconcilers = HashMap::new();
        Table::open(directory, "reconciler")?.each_or(&mut tally, |row| {
            let named = json!({"host": row.known(&hosts, "host_id")?, "reconciler": row.text("name")?,
                "reconciler_type": row.optional("reconciler_type").unwrap_or("flux"),
                "manifests_endpoint": row.text("manifests_endpoint")?});
            reconcilers.insert(row.id("id")?, Reconciler { named, inserted: None, updated: None });
            Ok(())
        })?;
        (tally.targets, tally.hosts, tally.reconcilers) = (targets.len(), hosts.len(), reconcilers.len());
        let hosts = hosts.len();
        Ok(Export { directory: directory.to_owned(), targets, versions, reconcilers, hosts, tally })
    }

    /// Bytes of the tables that are still to be read.
    pub fn bytes(&self) -> u64 {
        let size = |table| std::fs::metadata(table::file(&self.directory, table)).map_or(0, |m| m.len());
        size("deployment_assignment") + size("deployment")
    }

    /// Gives every descriptor, as a flat JSON document, and how many bytes were read for it.
    pub fn descriptors(
        &mut self,
        mut give: impl FnMut(String, u64) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let Export { directory, targets, versions, tally, .. } = self;
        let mut table = Table::open(directory, "deployment_assignment")?;
        let mut row = Row::default();
        while table.next(&mut row)? {
            let descriptor = || -> Result<Value, String> {
                let Target { named, branch } = row.known(targets, "deployment_target_id")?;
                let Version { version, build, commit } = row.known(versions, "workload_version_id")?;
                let wanted =
                    normalize::commit(row.text("gitops_commit_id")?).ok_or("gitops_commit_id names no commit")?;
                let mut descriptor = named.clone();
                descriptor["version"] = version.as_str().into();
                descriptor["build"] = build.as_str().into();
                descriptor["source_commit"] = commit.as_str().into();
                descriptor["gitops_revision"] = format!("{branch}@{wanted}").into();
                descriptor["observed_at"] = row.time("created_on")?.to_string().into();
                Ok(descriptor)
            };
            match descriptor() {
                Ok(descriptor) => {
                    tally.assignments += 1;
                    give(descriptor.to_string(), table.bytes())?;
                }
                Err(why) => tally.broken(&row, why),
            }
        }
        Ok(())
    }

    /// Gives every report, as a flat JSON document, and how many bytes were read for it.
    pub fn reports(&mut self, mut give: impl FnMut(String, u64) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Export { directory, reconcilers, tally, .. } = self;
        let mut table = Table::open(directory, "deployment")?;
        let mut row = Row::default();
        while table.next(&mut row)? {
            let mut read = || -> Result<(Value, Micros, Micros), String> {
                let id = row.id("reconciler_id")?;
                let reconciler = reconcilers.get_mut(&id).ok_or_else(|| format!("there is no reconciler {id}"))?;
                let commit =
                    normalize::commit(row.text("gitops_commit_id")?).ok_or("gitops_commit_id names no commit")?;
                let created = row.time("created_on")?;
                let updated = row.optional("updated_on").map_or(Ok(created), |_| row.time("updated_on"))?.max(created);
                let newer =
                    |known: &Option<(Micros, Box<str>)>, at| known.as_ref().is_none_or(|(known, _)| *known <= at);
                if newer(&reconciler.inserted, created) {
                    reconciler.inserted = Some((created, commit.as_str().into()));
                }
                if newer(&reconciler.updated, updated) {
                    reconciler.updated = Some((updated, commit.as_str().into()));
                }
                let mut report = reconciler.named.clone();
                report["commit"] = commit.into();
                report["status"] = row.text("status")?.into();
                report["message"] = row.optional("status_message").unwrap_or_default().into();
                Ok((report, created, updated))
            };
            let (mut report, created, updated) = match read() {
                Ok(read) => read,
                Err(why) => {
                    tally.broken(&row, why);
                    continue;
                }
            };
            tally.deployments += 1;
            if created < updated {
                tally.overwritten += 1;
                let mut first = report.clone();
                first["status"] = LOST.into();
                first["message"] = "".into();
                first["reported_at"] = created.to_string().into();
                give(first.to_string(), table.bytes())?;
            }
            report["reported_at"] = updated.to_string().into();
            give(report.to_string(), table.bytes())?;
        }
        Ok(())
    }

    /// What was read, after all of it.
    pub fn tally(mut self) -> Tally {
        let another = |r: &&Reconciler| {
            let commit = |row: &Option<(Micros, Box<str>)>| row.as_ref().map(|(_, commit)| commit.clone());
            commit(&r.inserted) != commit(&r.updated)
        };
        self.tally.rolled_back = self.reconcilers.values().filter(another).count() as u64;
        self.tally.hosts = self.hosts;
        self.tally
    }
}

/// Repository, branch and path of an endpoint that was joined of them: `https://github.com/org/app/dev/./edge`.
///
/// The repository ends with `.git`, with the name after `_git`, or after owner and name; the branch, where it has several parts,
/// ends before `/./`.
fn parts(endpoint: &str) -> Option<[String; 3]> {
    let endpoint = endpoint.trim();
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let (head, path) = match rest.split_once("/./") {
        Some((head, path)) => (head, Some(path)),
        None => (rest.strip_suffix("/.").unwrap_or(rest), rest.ends_with("/.").then_some("")),
    };
    let segments: Vec<&str> = head.split('/').filter(|s| !s.is_empty()).collect();
    let marked = segments.iter().position(|s| *s == "_git").map(|at| at + 2);
    let ended = segments.iter().position(|s| s.ends_with(".git")).map(|at| at + 1);
    let repo = marked.or(ended).unwrap_or(3);
    let branch = if path.is_some() { segments.len() } else { repo + 1 };
    if segments.len() < branch || branch <= repo {
        return None;
    }
    let path = path.map_or_else(|| segments[branch..].join("/"), str::to_owned);
    Some([format!("{scheme}://{}", segments[..repo].join("/")), segments[repo..branch].join("/"), path])
}

#[cfg(test)]
mod tests;
