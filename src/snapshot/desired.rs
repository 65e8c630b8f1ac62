//! The tables of the desired side that are plain records: targets, versions, logs, endpoints, and the names above them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::coverage::LogEntry;
use super::generation::Shared;
use super::ids::id;
use super::scan::{CHUNK, Cell, Reader, Rows, Scan, chunk_of};
use super::schema::{self, TableSchema};
use super::seen::Seen;
use crate::model::Micros;
use crate::query::Table;
use crate::state::tables::VersionRecord;
use crate::state::target::TargetRecord;

/// The tables of this module.
pub(super) fn tables(s: &Arc<Shared>) -> Vec<Arc<dyn Table>> {
    let named = |level| Scan::of(Named { shared: Arc::clone(s), level });
    vec![
        named(Level::Workspace),
        named(Level::Application),
        named(Level::Workload),
        named(Level::Environment),
        Scan::of(DeploymentTargets(Arc::clone(s))),
        Scan::of(WorkloadVersions(Arc::clone(s))),
        Scan::of(CommitLog(Arc::clone(s))),
        Scan::of(ManifestsEndpoints(Arc::clone(s))),
        Scan::of(Sources(Arc::clone(s))),
    ]
}

impl Shared {
    pub(super) fn storage_type(&self, endpoint: u32) -> Cell<'_> {
        self.tables.endpoints.get(endpoint).map_or(Cell::Null, |e| Cell::Text(self.tables.text(e.storage_type)))
    }

    pub(super) fn version_detail(&self, version: u32, detail: fn(&VersionRecord) -> u32) -> Cell<'_> {
        self.tables.versions.get(version).map_or(Cell::Null, |v| Cell::some(self.tables.text(detail(v))))
    }
}

/// What is first and last known of the targets below a name.
#[derive(Clone, Debug)]
pub struct Group {
    names: Vec<u32>,
    first_declared_at: Micros,
    retired_at: Micros,
}

/// Groups by level: workspaces, applications, workloads, environments.
pub type Groups = [Vec<Group>; 4];

#[derive(Clone, Copy, Debug)]
enum Level {
    Workspace,
    Application,
    Workload,
    Environment,
}

fn groups(s: &Shared) -> Groups {
    [Level::Workspace, Level::Application, Level::Workload, Level::Environment].map(|level| {
        let mut groups: BTreeMap<Vec<u32>, Group> = BTreeMap::new();
        let seen = |id: u32| s.seen.as_ref().is_none_or(|seen| seen.target(id));
        for (_, t) in s.tables.targets.iter().filter(|(id, _)| seen(*id)) {
            let names = match level {
                Level::Workspace => vec![t.workspace],
                Level::Application => vec![t.workspace, t.application],
                Level::Workload => vec![t.workspace, t.application, t.workload],
                Level::Environment => vec![t.environment],
            };
            let retired_at = t.assignments.retired_at().unwrap_or(Micros::MAX);
            let first = t.assignments.declared_at;
            let new = || Group { names: names.clone(), first_declared_at: first, retired_at };
            let g = groups.entry(names.clone()).or_insert_with(new);
            g.first_declared_at = g.first_declared_at.min(first);
            g.retired_at = g.retired_at.max(retired_at);
        }
        groups.into_values().collect()
    })
}

/// The tables `workspaces`, `applications`, `workloads` and `environments`.
#[derive(Debug)]
struct Named {
    shared: Arc<Shared>,
    level: Level,
}

impl Named {
    fn rows(&self) -> &[Group] {
        &self.shared.groups.get_or_init(|| groups(&self.shared))[self.level as usize]
    }

    fn name(&self, group: &Group, index: usize) -> Cell<'_> {
        group.names.get(index).map_or(Cell::Null, |n| Cell::Text(self.shared.tables.text(*n)))
    }

    fn id(&self, kind: &str, group: &Group) -> Cell<'_> {
        let names: Vec<&str> = group.names.iter().map(|n| self.shared.tables.text(*n)).collect();
        Cell::Made(id(kind, &names))
    }
}

impl Rows for Named {
    type Row = Group;

    fn table(&self) -> &'static TableSchema {
        match self.level {
            Level::Workspace => &schema::WORKSPACES,
            Level::Application => &schema::APPLICATIONS,
            Level::Workload => &schema::WORKLOADS,
            Level::Environment => &schema::ENVIRONMENTS,
        }
    }

    fn chunks(&self) -> usize {
        self.rows().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<Group> {
        self.rows()[chunk_of(self.rows().len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "workspace_id" => |s, g| s.id("workspace", g),
            "application_id" => |s, g| s.id("application", g),
            "workload_id" => |s, g| s.id("workload", g),
            "environment_id" => |s, g| s.id("environment", g),
            "workspace" | "environment" => |s, g| s.name(g, 0),
            "application" => |s, g| s.name(g, 1),
            "workload" => |s, g| s.name(g, 2),
            "first_declared_at" => |_, g| Cell::time(g.first_declared_at),
            "retired_at" => |_, g| Cell::time(g.retired_at),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.rows().len())
    }

    fn shows(&self, _: &Self::Row, _: &Seen) -> bool {
        // Made of the targets that are seen.
        true
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// The table `deployment_targets`.
#[derive(Debug)]
struct DeploymentTargets(Arc<Shared>);

impl DeploymentTargets {
    /// Endpoint and log of what is, or last was, in force.
    fn place(target: &TargetRecord) -> (u32, u32) {
        let last = target.assignments.list.last().map(|a| (a.endpoint, a.log));
        last.or_else(|| target.declarations.last().map(|d| (d.endpoint, d.log))).unwrap_or_default()
    }
}

impl Rows for DeploymentTargets {
    type Row = u32;

    fn table(&self) -> &'static TableSchema {
        &schema::DEPLOYMENT_TARGETS
    }

    fn chunks(&self) -> usize {
        self.0.tables.targets.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<u32> {
        chunk_of(self.0.tables.targets.len(), chunk).map(|i| i as u32).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "deployment_target_id" => |s, r| {
                let t = s.0.target(*r);
                let names = [t.workspace, t.application, t.workload, t.environment, t.name];
                Cell::Made(id("deployment_target", &names.map(|n| s.0.tables.text(n))))
            },
            "storage_type" => |s, r| s.0.storage_type(Self::place(s.0.target(*r)).0),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(Self::place(s.0.target(*r)).0)),
            "manifests_endpoint_raw" => |s, r| {
                let endpoint = s.0.tables.endpoints.get(Self::place(s.0.target(*r)).0);
                endpoint.map_or(Cell::Null, |e| Cell::Text(s.0.tables.text(e.raw)))
            },
            "repo" => |s, r| {
                let log = s.0.tables.logs.get(Self::place(s.0.target(*r)).1);
                log.map_or(Cell::Null, |l| Cell::Text(s.0.tables.text(l.repo)))
            },
            "ref" => |s, r| {
                let log = s.0.tables.logs.get(Self::place(s.0.target(*r)).1);
                log.map_or(Cell::Null, |l| Cell::Text(s.0.tables.text(l.branch)))
            },
            "labels" => |s, r| {
                let last = s.0.target(*r).assignments.list.last();
                last.map_or(Cell::Null, |a| Cell::some(s.0.tables.text(a.labels)))
            },
            "first_declared_at" => |s, r| Cell::time(s.0.target(*r).assignments.declared_at),
            "retired_at" => |s, r| s.0.target(*r).assignments.retired_at().map_or(Cell::Null, Cell::time),
            "endpoint_no" => |s, r| Cell::Number(i64::from(Self::place(s.0.target(*r)).0)),
            "log_no" => |s, r| Cell::Number(i64::from(Self::place(s.0.target(*r)).1)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.targets.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.target(*row)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &u32) -> Option<u32> {
        Some(*row)
    }
}

/// The table `workload_versions`.
#[derive(Debug)]
struct WorkloadVersions(Arc<Shared>);

impl WorkloadVersions {
    fn text(&self, id: u32, name: fn(&VersionRecord) -> u32) -> Cell<'_> {
        self.0.tables.versions.get(id).map_or(Cell::Null, |v| Cell::Text(self.0.tables.text(name(v))))
    }
}

impl Rows for WorkloadVersions {
    type Row = u32;

    fn table(&self) -> &'static TableSchema {
        &schema::WORKLOAD_VERSIONS
    }

    fn chunks(&self) -> usize {
        self.0.tables.versions.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<u32> {
        chunk_of(self.0.tables.versions.len(), chunk).map(|i| i as u32).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "workload_version_id" => |s, r| {
                let names = s.0.tables.versions.get(*r).map(|v| [v.workspace, v.application, v.workload, v.version]);
                Cell::Made(id("workload_version", &names.unwrap_or_default().map(|n| s.0.tables.text(n))))
            },
            "workspace" => |s, r| s.text(*r, |v| v.workspace),
            "application" => |s, r| s.text(*r, |v| v.application),
            "workload" => |s, r| s.text(*r, |v| v.workload),
            "version" => |s, r| s.text(*r, |v| v.version),
            "build" => |s, r| s.0.version_detail(*r, |v| v.build),
            "build_time" => {
                |s, r| s.0.tables.versions.get(*r).and_then(|v| v.build_time).map_or(Cell::Null, Cell::time)
            }
            "image_digest" => |s, r| s.0.version_detail(*r, |v| v.image_digest),
            "source_repo" => |s, r| s.0.version_detail(*r, |v| v.source_repo),
            "source_branch" => |s, r| s.0.version_detail(*r, |v| v.source_branch),
            "source_path" => |s, r| s.0.version_detail(*r, |v| v.source_path),
            "source_commit" => |s, r| s.0.version_detail(*r, |v| v.source_commit),
            "first_declared_at" => {
                |s, r| s.0.tables.versions.get(*r).map_or(Cell::Null, |v| Cell::time(v.first_seen_at))
            }
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.versions.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        self.0.tables.versions.get(*row).is_some_and(|v| seen.workspace(v.workspace))
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}

/// The table `commit_log`: a row is (log, position in it).
#[derive(Debug)]
struct CommitLog(Arc<Shared>);

impl CommitLog {
    fn log_text(&self, log: u32, name: fn(&crate::state::commit_log::LogRecord) -> u32) -> Cell<'_> {
        self.0.tables.logs.get(log).map_or(Cell::Null, |l| Cell::Text(self.0.tables.text(name(l))))
    }
}

impl Rows for CommitLog {
    type Row = (u32, LogEntry);

    fn table(&self) -> &'static TableSchema {
        &schema::COMMIT_LOG
    }

    fn chunks(&self) -> usize {
        self.0.tables.logs.len().div_ceil(64)
    }

    fn chunk(&self, chunk: usize) -> Vec<Self::Row> {
        let logs = self.0.assigned().logs.iter().zip(0u32..).skip(chunk * 64).take(64);
        logs.flat_map(|(log, n)| log.commits.iter().map(move |e| (n, *e))).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "repo" => |s, r| s.log_text(r.0, |l| l.repo),
            "ref" => |s, r| s.log_text(r.0, |l| l.branch),
            "commit" => |s, r| Cell::Text(s.0.tables.text(r.1.commit)),
            "place" => |s, r| s.0.assigned().place(r.0, r.1.commit).map_or(Cell::Null, Cell::Number),
            "returns" => |_, r| Cell::Number(i64::from(r.1.returns)),
            "first_seen_at" => |_, r| Cell::time(r.1.first_seen_at),
            "placed_at" => |_, r| Cell::time(r.1.placed_at),
            "log_no" => |_, r| Cell::Number(i64::from(r.0)),
            "commit_no" => |_, r| Cell::Number(i64::from(r.1.commit)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.assigned().logs.iter().map(|l| l.commits.len()).sum())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        seen.log(row.0)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}

/// The table `manifests_endpoints`.
#[derive(Debug)]
struct ManifestsEndpoints(Arc<Shared>);

impl Rows for ManifestsEndpoints {
    type Row = u32;

    fn table(&self) -> &'static TableSchema {
        &schema::MANIFESTS_ENDPOINTS
    }

    fn chunks(&self) -> usize {
        self.0.tables.endpoints.len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<u32> {
        chunk_of(self.0.tables.endpoints.len(), chunk).map(|i| i as u32).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "manifests_endpoint_id" => |s, r| {
                let names = s.0.tables.endpoints.get(*r).map(|e| [e.storage_type, e.canonical]).unwrap_or_default();
                Cell::Made(id("manifests_endpoint", &names.map(|n| s.0.tables.text(n))))
            },
            "storage_type" => |s, r| s.0.storage_type(*r),
            "manifests_endpoint" => |s, r| Cell::Text(s.0.tables.endpoint_text(*r)),
            "manifests_endpoint_raw" => |s, r| {
                let endpoint = s.0.tables.endpoints.get(*r);
                endpoint.map_or(Cell::Null, |e| Cell::Text(s.0.tables.text(e.raw)))
            },
            "endpoint_no" => |_, r| Cell::Number(i64::from(*r)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.endpoints.len())
    }

    fn shows(&self, row: &Self::Row, seen: &Seen) -> bool {
        self.0.shows_endpoint(seen, *row)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}

/// The table `sources`.
#[derive(Debug)]
struct Sources(Arc<Shared>);

impl Rows for Sources {
    type Row = crate::state::tables::SourceRecord;

    fn table(&self) -> &'static TableSchema {
        &schema::SOURCES
    }

    fn chunks(&self) -> usize {
        1
    }

    fn chunk(&self, _: usize) -> Vec<Self::Row> {
        self.0.tables.sources.iter().map(|(_, s)| s.clone()).collect()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "source_id" => |s, r| Cell::Made(id("source", &[s.0.tables.text(r.name)])),
            "source" => |s, r| Cell::Text(s.0.tables.text(r.name)),
            "first_received_at" => |_, r| Cell::time(r.first_received_at),
            "last_received_at" => |_, r| Cell::time(r.last_received_at),
            "changes" => |_, r| Cell::Number(i64::try_from(r.changes).unwrap_or(i64::MAX)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.tables.sources.len())
    }

    fn shows(&self, _: &Self::Row, _: &Seen) -> bool {
        // Who speaks to the hub, and how much, is told to those who see all of it.
        false
    }

    fn shared(&self) -> &Shared {
        &self.0
    }
}
