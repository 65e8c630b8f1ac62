//! The declaration of every SQL table and view: name, type, nullability and meaning of each column, once.
//!
//! Invariant: whatever the tables hold, the files export or the data dictionary says comes from these declarations, so the
//! three cannot disagree. Column names and meanings are public; numbers ending in `_no` join tables inside one generation only.

mod answers;
mod dashboards;
mod desired;
mod real;
mod system;
mod verifications;
mod views;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use answers::{
    ANSWERS, GRAPH_EDGES, GRAPH_NODES, HOSTS_OVER_TIME, ROLLOUT_PROGRESS, SUMMARY, TRANSITIONS_OVER_TIME,
    VERSIONS_OVER_TIME,
};
pub use views::{HOST_STATE, VIEWS, View};

/// The type of a column as the tables show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    Count,
    /// An instant, UTC microseconds.
    Time,
    /// True or false.
    Flag,
    /// A number from 0 to 1.
    Share,
}

impl Kind {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Count => DataType::Int64,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Flag => DataType::Boolean,
            Kind::Share => DataType::Float64,
        }
    }

    /// The word the data dictionary uses.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Count => "bigint",
            Kind::Time => "timestamp (UTC, µs)",
            Kind::Flag => "boolean",
            Kind::Share => "double",
        }
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name, snake_case.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    /// Name in SQL.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// The columns, in order.
    pub columns: &'static [Column],
}

impl TableSchema {
    /// The Arrow schema.
    pub fn arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(|c| Field::new(c.name, c.kind.arrow(), c.nullable)).collect::<Vec<_>>(),
        ))
    }
}

pub use desired::{
    APPLICATIONS, ASSIGNMENT_COMMITS, ASSIGNMENTS, COMMIT_LOG, DEPLOYMENT_TARGETS, ENVIRONMENTS, EXPECTATIONS,
    MANIFESTS_ENDPOINTS, ROLLOUT_STATES, RUNNING_COMMITS, WORKLOAD_VERSIONS, WORKLOADS, WORKSPACES,
};
pub use real::{
    DEPLOYMENTS, ENDPOINT_COMMITS, GENERATION, HOST_TRANSITIONS, HOSTS, RECONCILER_SOURCES, RECONCILERS, SOURCES,
    TRANSITIONS,
};
pub use system::{SYSTEM, SYSTEM_GATE, SYSTEM_QUERIES, SYSTEM_SNAPSHOTS, SYSTEM_SOURCES};
pub use verifications::VERIFICATIONS;

/// Every table, in the order of the data dictionary.
pub static TABLES: [&TableSchema; 23] = [
    &WORKSPACES,
    &APPLICATIONS,
    &WORKLOADS,
    &ENVIRONMENTS,
    &DEPLOYMENT_TARGETS,
    &WORKLOAD_VERSIONS,
    &ASSIGNMENTS,
    &ASSIGNMENT_COMMITS,
    &RUNNING_COMMITS,
    &COMMIT_LOG,
    &MANIFESTS_ENDPOINTS,
    &EXPECTATIONS,
    &ROLLOUT_STATES,
    &VERIFICATIONS,
    &HOSTS,
    &HOST_TRANSITIONS,
    &RECONCILERS,
    &RECONCILER_SOURCES,
    &DEPLOYMENTS,
    &TRANSITIONS,
    &ENDPOINT_COMMITS,
    &SOURCES,
    &GENERATION,
];

const fn text(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Text, nullable: false, doc }
}

const fn text_or_null(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Text, nullable: true, doc }
}

const fn count(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Count, nullable: false, doc }
}

const fn count_or_null(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Count, nullable: true, doc }
}

const fn time(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Time, nullable: false, doc }
}

const fn time_or_null(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Time, nullable: true, doc }
}

const fn share(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Share, nullable: false, doc }
}

const fn flag(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Flag, nullable: false, doc }
}

const WORKSPACE: Column = text("workspace", "The team.");
const APPLICATION: Column = text("application", "Application or dial-tone service of the workspace.");
const WORKLOAD: Column = text("workload", "Deployable part of the application.");
const ENVIRONMENT: Column = text("environment", "Environment.");
const DEPLOYMENT_TARGET: Column = text("deployment_target", "Where, logically, the workload goes in the environment.");
const VERSION: Column = text("version", "Version of the workload.");
const HOST: Column = text("host", "Cluster, VM or device.");
const RECONCILER: Column = text("reconciler", "Name of the reconciler on its host.");
const STORAGE_TYPE: Column = text("storage_type", "Kind of storage of the manifests: git, bucket, oci …");
const MANIFESTS_ENDPOINT: Column =
    text("manifests_endpoint", "Where the manifests lie: repository, branch and path in canonical form.");
const SOURCE: Column = text("source", "The source that said it.");
const FIRST_DECLARED_AT: Column = time("first_declared_at", "First declared, by event time.");
const RETIRED_AT: Column = time_or_null("retired_at", "Since when it is retired; null while it lives.");
const TARGET_NO: Column = count("target_no", "Number of the deployment target, inside one generation.");
const ENDPOINT_NO: Column = count("endpoint_no", "Number of the manifests endpoint, inside one generation.");
const COMMIT_NO: Column = count("commit_no", "Number of the commit, inside one generation.");
const ASSIGNMENT_NO: Column = count("assignment_no", "Number of the assignment, inside one generation.");
const HOST_NO: Column = count("host_no", "Number of the host, inside one generation.");
const RECONCILER_NO: Column = count("reconciler_no", "Number of the reconciler, inside one generation.");
const LOG_NO: Column = count("log_no", "Number of the commit log (repository and ref), inside one generation.");
