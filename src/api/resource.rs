//! What the lists and views of the API are, as data: which SQL table or view, in which order, in which span of time.
//!
//! Invariant: nothing here gives a meaning to a column. Columns, their types and their words come from [`crate::snapshot::schema`],
//! so that a path, its filters, its SQL and its OpenAPI entry cannot drift apart from the tables.

use std::sync::LazyLock;

use crate::snapshot::schema::{self, TableSchema};

/// A filter by equality with any of the listed values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// The query parameter, and the column.
    pub(super) name: &'static str,
    /// How the value is read and compared.
    pub(super) kind: Kind,
}

/// How a filter's values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, compared as it is.
    Text,
    /// A commit in any spelling, brought into normal form.
    Commit,
    /// `true` or `false`.
    Flag,
}

/// What `from` and `to` mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    /// Rows whose instant lies in `[from, to)`.
    At(&'static str),
    /// Rows whose interval touches `[from, to)`; a null end is "still".
    During(&'static str, &'static str),
    /// Rows whose time from start to end touches `[from, to)`; without an end it is the instant of the start.
    Mark(&'static str, &'static str),
    /// The rows are the state of now; the parameters are taken (dashboards send them everywhere) and change nothing.
    Now,
}

/// One list or view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    /// The last part of the path.
    pub(super) name: &'static str,
    /// The SQL table or view.
    pub(super) table: &'static str,
    /// The total order of the rows.
    pub(super) order: &'static [&'static str],
    /// Whether they come in the reverse of it.
    pub(super) newest_first: bool,
    /// How many leading columns of `order` are the cursor of a list; they are never null.
    pub(super) key: usize,
    /// The columns that name one row in `/{id}`; empty where there is no such path.
    pub(super) id: &'static [&'static str],
    /// The time filter.
    pub(super) span: Span,
}

const APPLICATION: &[&str] = &["workspace", "application"];
const WORKLOAD: &[&str] = &["workspace", "application", "workload"];
pub(super) const TARGET: &[&str] = &["workspace", "application", "workload", "environment", "deployment_target"];

const fn list(
    name: &'static str,
    table: &'static str,
    order: &'static [&'static str],
    id: &'static [&'static str],
) -> Resource {
    Resource { name, table, order, newest_first: false, key: order.len(), id, span: Span::Now }
}

pub(super) const fn view(name: &'static str, table: &'static str, order: &'static [&'static str]) -> Resource {
    list(name, table, order, &[])
}

/// The lists, `GET /api/v1/{name}`.
pub(super) static LISTS: [Resource; 11] = [
    list("workspaces", "workspaces", &["workspace"], &["workspace_id", "workspace"]),
    list("applications", "applications", APPLICATION, &["application_id"]),
    list("workloads", "workloads", WORKLOAD, &["workload_id"]),
    list("environments", "environments", &["environment"], &["environment_id", "environment"]),
    list("deployment-targets", "deployment_targets", TARGET, &["deployment_target_id"]),
    list(
        "workload-versions",
        "workload_versions",
        &["workspace", "application", "workload", "version"],
        &["workload_version_id"],
    ),
    Resource {
        span: Span::During("assigned_at", "ended_at"),
        ..list(
            "assignments",
            "assignments",
            &["workspace", "application", "workload", "environment", "deployment_target", "sequence"],
            &["assignment_id"],
        )
    },
    list("hosts", "hosts", &["host"], &["host_id", "host"]),
    list("reconcilers", "reconcilers", &["host", "reconciler"], &["reconciler_id"]),
    Resource {
        span: Span::During("deployed_at", "ended_at"),
        ..list("deployments", "deployments", &["host", "reconciler", "sequence"], &["deployment_id"])
    },
    Resource {
        span: Span::At("reported_at"),
        ..list("transitions", "transitions", &["seq", "transition_id"], &["transition_id", "seq"])
    },
];

/// The dashboard views, `GET /api/v1/views/{name}`.
pub(super) static VIEWS: [Resource; 16] = [
    view(
        "environment-state",
        "environment_state",
        &["workspace", "application", "environment", "workload", "deployment_target", "deployed_version", "status"],
    ),
    view(
        "host-state",
        "host_state",
        &["host", "reconciler", "workspace", "application", "environment", "workload", "deployment_target"],
    ),
    Resource {
        span: Span::During("first_deployed_at", "last_deployed_at"),
        ..view(
            "environment-history",
            "environment_history",
            &[
                "workspace",
                "application",
                "environment",
                "workload",
                "deployment_target",
                "first_deployed_at",
                "commit",
                "version",
            ],
        )
    },
    view(
        "environment-discrepancies",
        "environment_discrepancies",
        &["workspace", "application", "workload", "deployment_target", "environment", "deployed_version"],
    ),
    view(
        "drift",
        "drift",
        &["workspace", "application", "environment", "workload", "deployment_target", "host", "reconciler"],
    ),
    view("target-health", "target_health", TARGET),
    view("environment-matrix", "environment_matrix", TARGET),
    view(
        "environment-comparison",
        "environment_comparison",
        &["environment", "other_environment", "workspace", "application", "workload"],
    ),
    view(
        "silent-hosts",
        "silent_hosts",
        &["workspace", "application", "workload", "environment", "deployment_target", "contact"],
    ),
    Resource {
        span: Span::During("assigned_at", "ended_at"),
        newest_first: true,
        ..view(
            "application-history",
            "application_history",
            &["assigned_at", "workspace", "application", "workload", "environment", "deployment_target", "sequence"],
        )
    },
    Resource {
        span: Span::During("first_assigned_at", "last_assigned_at"),
        newest_first: true,
        ..view(
            "workload-history",
            "workload_history",
            &["last_assigned_at", "workspace", "application", "workload", "version", "environment"],
        )
    },
    view("rollout-durations", "rollout_durations", TARGET),
    view(
        "promotion-waits",
        "promotion_waits",
        &["workspace", "application", "workload", "environment", "next_environment"],
    ),
    Resource {
        span: Span::At("week"),
        ..view("dora-metrics", "dora_metrics", &["week", "workspace", "application", "workload", "environment"])
    },
    Resource {
        span: Span::At("reported_at"),
        newest_first: true,
        ..view(
            "reports",
            "reports",
            &[
                "reported_at",
                "seq",
                "workspace",
                "application",
                "workload",
                "environment",
                "deployment_target",
                "version",
            ],
        )
    },
    Resource {
        span: Span::During("time", "ended_at"),
        ..view(
            "host-timeline",
            "host_timeline",
            &[
                "time",
                "host",
                "reconciler",
                "workspace",
                "application",
                "workload",
                "environment",
                "deployment_target",
                "status",
            ],
        )
    },
];

/// The annotations, `GET /api/v1/annotations`, the newest first.
pub(super) static ANNOTATIONS: Resource = Resource {
    span: Span::Mark("time", "time_end"),
    newest_first: true,
    ..view(
        "annotations",
        "annotations",
        &[
            "time",
            "kind",
            "workspace",
            "application",
            "workload",
            "environment",
            "deployment_target",
            "version",
            "title",
            "text",
        ],
    )
};

/// The columns that name a deployment target; filters that nearly everything has.
pub(super) const NAMES: &[&str] = &["workspace", "application", "environment", "workload", "deployment_target"];

/// The rollouts, `GET /api/v1/rollouts`.
pub(super) static ROLLOUTS: Resource = Resource {
    span: Span::During("started_at", "over_at"),
    ..view(
        "rollouts",
        "rollouts",
        &[
            "workspace",
            "application",
            "workload",
            "environment",
            "deployment_target",
            "started_at",
            "version",
            "commit",
        ],
    )
};

/// The verifications, `GET /api/v1/rollouts/verifications`.
pub(super) static VERIFICATIONS: Resource = Resource {
    span: Span::At("reported_at"),
    ..list("rollouts/verifications", "verifications", &["name", "verification_id", "sequence"], &[])
};

/// The promotions, `GET /api/v1/promotions`, the newest first; a version belongs to one source commit, so no two rows are alike.
pub(super) static PROMOTIONS: Resource = Resource {
    span: Span::At("assigned_at"),
    newest_first: true,
    ..view(
        "promotions",
        "promotions",
        &["assigned_at", "workspace", "application", "workload", "environment", "version"],
    )
};

/// Text that is read, not filtered by.
const PROSE: [&str; 15] = [
    "labels",
    "message",
    "raw_status",
    "raw_result",
    "link",
    "manifests_endpoint_raw",
    "title",
    "text",
    "tags",
    "deployed",
    "other_deployed",
    "desired",
    "other_desired",
    "commit_url",
    "source_commit_url",
];

impl Resource {
    /// The columns, as the tables declare them.
    pub(super) fn schema(&self) -> &'static TableSchema {
        static EMPTY: TableSchema = TableSchema { name: "", doc: "", columns: &[] };
        let mut all = schema::TABLES.iter().copied().chain(schema::VIEWS.iter().map(|v| &v.schema));
        all.find(|t| t.name == self.table).unwrap_or(&EMPTY)
    }

    /// The filters: every column of text that is a name or a word, every flag.
    pub(super) fn filters(&self) -> impl Iterator<Item = Filter> + use<> {
        self.schema().columns.iter().filter_map(|c| {
            let kind = match c.kind {
                schema::Kind::Text if PROSE.contains(&c.name) => return None,
                schema::Kind::Text if c.name == "commit" || c.name.ends_with("_commit") => Kind::Commit,
                schema::Kind::Text => Kind::Text,
                schema::Kind::Flag => Kind::Flag,
                schema::Kind::Count | schema::Kind::Time | schema::Kind::Share => return None,
            };
            Some(Filter { name: c.name, kind })
        })
    }

    /// What a column holds.
    pub(super) fn kind(&self, column: &str) -> Option<schema::Kind> {
        self.schema().columns.iter().find(|c| c.name == column).map(|c| c.kind)
    }

    /// The columns that rows are picked by when a page goes on.
    pub(super) fn key(&self) -> &'static [&'static str] {
        &self.order[..self.key]
    }
}

/// Every resource that answers rows.
pub(super) static ALL: LazyLock<Vec<&'static Resource>> = LazyLock::new(|| {
    LISTS.iter().chain(&VIEWS).chain([&ROLLOUTS, &PROMOTIONS, &VERIFICATIONS, &ANNOTATIONS]).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_orders_names_or_filters_by_time_exists() {
        for resource in ALL.iter() {
            let columns: Vec<&str> = resource.schema().columns.iter().map(|c| c.name).collect();
            let span: &[&str] = match resource.span {
                Span::Now => &[],
                Span::At(at) => &[at],
                Span::During(start, end) | Span::Mark(start, end) => &[start, end],
            };
            for name in resource.order.iter().chain(resource.id).chain(span) {
                assert!(columns.contains(name), "{}.{name}", resource.table);
            }
        }
    }

    #[test]
    fn the_keys_of_lists_are_never_null() {
        for resource in LISTS.iter().chain([&PROMOTIONS, &VERIFICATIONS]) {
            for name in resource.key() {
                let column = resource.schema().columns.iter().find(|c| c.name == *name).unwrap();
                assert!(!column.nullable, "{}.{name}", resource.table);
            }
        }
    }

    #[test]
    fn no_parameter_has_two_meanings() {
        for resource in ALL.iter() {
            for filter in resource.filters() {
                assert!(
                    !["from", "to", "limit", "cursor", "fresh", "min_seq"].contains(&filter.name),
                    "{}",
                    filter.name
                );
            }
        }
    }
}
