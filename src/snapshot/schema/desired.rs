//! Tables of the desired side: what is wanted where, as of which GitOps commit.

use super::*;

/// `workspaces`
pub static WORKSPACES: TableSchema = TableSchema {
    name: "workspaces",
    doc: "One row per workspace (a team).",
    columns: &[
        text("workspace_id", "Stable id: hash of the natural key."),
        WORKSPACE,
        FIRST_DECLARED_AT,
        time_or_null("retired_at", "When its last deployment target was retired; null while one lives."),
    ],
};

/// `applications`
pub static APPLICATIONS: TableSchema = TableSchema {
    name: "applications",
    doc: "One row per application (or dial-tone service) of a workspace.",
    columns: &[
        text("application_id", "Stable id: hash of the natural key."),
        WORKSPACE,
        APPLICATION,
        FIRST_DECLARED_AT,
        time_or_null("retired_at", "When its last deployment target was retired; null while one lives."),
    ],
};

/// `workloads`
pub static WORKLOADS: TableSchema = TableSchema {
    name: "workloads",
    doc: "One row per workload: a deployable part of an application.",
    columns: &[
        text("workload_id", "Stable id: hash of the natural key."),
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        FIRST_DECLARED_AT,
        time_or_null("retired_at", "When its last deployment target was retired; null while one lives."),
    ],
};

/// `environments`
pub static ENVIRONMENTS: TableSchema = TableSchema {
    name: "environments",
    doc: "One row per environment that any deployment target names.",
    columns: &[
        text("environment_id", "Stable id: hash of the natural key."),
        ENVIRONMENT,
        FIRST_DECLARED_AT,
        time_or_null("retired_at", "When its last deployment target was retired; null while one lives."),
    ],
};

/// `deployment_targets`
pub static DEPLOYMENT_TARGETS: TableSchema = TableSchema {
    name: "deployment_targets",
    doc: "One row per deployment target. What is wanted there now is the row of `assignments` without an end.",
    columns: &[
        text("deployment_target_id", "Stable id: hash of the natural key."),
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text("manifests_endpoint_raw", "The endpoint as the source spelled it."),
        text("repo", "Repository of the manifests, canonical: with `ref` the commit log its commits belong to."),
        text("ref", "Branch or other ref of the manifests."),
        text_or_null("labels", "Labels as a JSON object with sorted keys; null when there are none."),
        FIRST_DECLARED_AT,
        RETIRED_AT,
        TARGET_NO,
        ENDPOINT_NO,
        LOG_NO,
    ],
};

/// `workload_versions`
pub static WORKLOAD_VERSIONS: TableSchema = TableSchema {
    name: "workload_versions",
    doc: "One row per version of a workload, with where it was built from as last declared.",
    columns: &[
        text("workload_version_id", "Stable id: hash of the natural key."),
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        VERSION,
        text_or_null("build", "Build id."),
        time_or_null("build_time", "When it was built."),
        text_or_null("image_digest", "Digest of the image."),
        text_or_null("source_repo", "Source repository, canonical."),
        text_or_null("source_branch", "Source branch."),
        text_or_null("source_path", "Path in the source repository."),
        text_or_null("source_commit", "Source commit it was built from, normal form."),
        FIRST_DECLARED_AT,
    ],
};

/// `assignments`
pub static ASSIGNMENTS: TableSchema = TableSchema {
    name: "assignments",
    doc: "One row per assignment: a version was wanted on a target from `assigned_at` until `ended_at`.",
    columns: &[
        text("assignment_id", "Stable id: hash of the natural key (target, sequence)."),
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        count("sequence", "1 for the first assignment of the target, 2 for the next."),
        VERSION,
        text_or_null("commit", "First GitOps commit of the assignment, normal form; null while nobody knows it."),
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text_or_null("author", "Author of the change."),
        text_or_null("pull_request", "Pull request of the change."),
        text_or_null("contact", "Whom to ask."),
        time("assigned_at", "Wanted since."),
        time_or_null("ended_at", "Wanted until; null while it is in force."),
        count_or_null("last_place", "Latest place in the commit log that it covers; null when no commit is known."),
        ASSIGNMENT_NO,
        TARGET_NO,
        ENDPOINT_NO,
    ],
};

/// `assignment_commits`
pub static ASSIGNMENT_COMMITS: TableSchema = TableSchema {
    name: "assignment_commits",
    doc: "One row per commit that an assignment covers: recorded by the target itself, or passed while it was in force and \
          deployed by anybody at its endpoint. On one target a commit of a branch belongs to one assignment.",
    columns: &[
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        VERSION,
        text("commit", "GitOps commit, normal form."),
        count_or_null("place", "Its latest place in the commit log of the target's repository and ref."),
        flag("recorded", "True when a declaration of the target named the commit, false when it was in force at it."),
        count("sequence", "Sequence of the assignment on its target."),
        MANIFESTS_ENDPOINT,
        ASSIGNMENT_NO,
        TARGET_NO,
        ENDPOINT_NO,
        COMMIT_NO,
    ],
};

/// `running_commits`
pub static RUNNING_COMMITS: TableSchema = TableSchema {
    name: "running_commits",
    doc: "One row per living target and commit that any living reconciler runs there: what the commit stands for. \
          Commits that nothing explains and that have no place are left out.",
    columns: &[
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        text_or_null("version", "Version of the assignment that covers the commit; null: none does."),
        text("commit", "GitOps commit, normal form."),
        count_or_null("place", "Its latest place in the commit log of the target's repository and ref."),
        count_or_null("sequence", "Sequence of the assignment on its target."),
        time_or_null(
            "missed_at",
            "Start of the next assignment of the target, which this commit lacks; null if it is the last.",
        ),
        count_or_null("assignment_no", "Number of the assignment, inside one generation."),
        TARGET_NO,
        COMMIT_NO,
    ],
};

/// `commit_log`
pub static COMMIT_LOG: TableSchema = TableSchema {
    name: "commit_log",
    doc: "One row per commit seen on a repository and ref by those who watch it. Places compare inside one log only.",
    columns: &[
        text("repo", "Repository of the manifests, canonical."),
        text("ref", "Branch or other ref."),
        text("commit", "GitOps commit, normal form."),
        count("place", "Position: a greater one is later."),
        count("returns", "How often the ref came back to this commit after leaving it."),
        time("first_seen_at", "When the ref first was at the commit."),
        time("placed_at", "When the commit took its place: its newest return."),
        LOG_NO,
        COMMIT_NO,
    ],
};

/// `manifests_endpoints`
pub static MANIFESTS_ENDPOINTS: TableSchema = TableSchema {
    name: "manifests_endpoints",
    doc: "One row per manifests endpoint that a descriptor described or a reconciler reports for.",
    columns: &[
        text("manifests_endpoint_id", "Stable id: hash of the natural key."),
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text("manifests_endpoint_raw", "As it was first spelled."),
        ENDPOINT_NO,
    ],
};

/// `expectations`
pub static EXPECTATIONS: TableSchema = TableSchema {
    name: "expectations",
    doc: "One row per living target that a host is expected to run, by its names (in any workspace and application) or by a \
          selector of its labels; target columns are null when nobody described what was named.",
    columns: &[
        HOST,
        text_or_null("workspace", "The team; null when no target matches."),
        text_or_null("application", "Application; null when no target matches."),
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        time("expected_since", "Event time of the newest word on what the host is expected to run."),
        flag("reported", "A reconciler of the host ever reported for the target's endpoint."),
        HOST_NO,
        count_or_null(
            "target_no",
            "Number of the deployment target, inside one generation; null when no target matches.",
        ),
    ],
};

/// `rollout_states`
pub static ROLLOUT_STATES: TableSchema = TableSchema {
    name: "rollout_states",
    doc: "One row per assignment with its verdict and buckets under the default policy; the view `rollouts` shows it.",
    columns: &[
        WORKSPACE,
        APPLICATION,
        WORKLOAD,
        ENVIRONMENT,
        DEPLOYMENT_TARGET,
        VERSION,
        text_or_null("commit", "First GitOps commit of the assignment."),
        text("verdict", "complete, superseded, failed, stalled or in_progress."),
        time("started_at", "Start of the assignment."),
        time_or_null("completed_at", "When the last of its reconcilers first succeeded; null unless complete."),
        time(
            "changed_at",
            "When a reconciler of the target last changed endpoint, commit or status, or the start of the assignment.",
        ),
        count("total", "Reconcilers counted, retired ones left out."),
        count("success", "Success at the assignment's commits or past them."),
        count("failure", "Failing at the assignment's commits."),
        count("in_progress", "Being applied, or status unknown."),
        count("behind", "Still before the assignment, rolled back, or on an unknown commit."),
        count("silent", "Their host is silent."),
        count("never_reported", "Expected and never heard."),
        count("retired", "Retired; not in `total`."),
        ASSIGNMENT_NO,
        TARGET_NO,
    ],
};
