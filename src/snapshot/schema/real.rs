//! Tables of the real side: what hosts and reconcilers say, now and in time.

use super::*;

/// `hosts`
pub static HOSTS: TableSchema = TableSchema {
    name: "hosts",
    doc: "One row per host (cluster, VM, device).",
    columns: &[
        text("host_id", "Stable id: hash of the natural key."),
        HOST,
        text_or_null("external_id", "Id outside the hub, such as a cloud resource id."),
        text_or_null("host_type", "Kind of host."),
        text_or_null("cluster_type", "Label clusterType or cluster_type."),
        text_or_null("ring", "Label ring."),
        text_or_null("region", "Label region."),
        text_or_null("labels", "All labels as a JSON object with sorted keys; null when there are none."),
        text_or_null(
            "class",
            "Declared class, else its label hub.kalypso.io/class: after how long without a word it is late or silent.",
        ),
        text_or_null("contact", "Whom to ask."),
        text_or_null(
            "expects_selector",
            "Declared selector, as JSON, of the deployment targets that it is expected to run by their labels.",
        ),
        text("liveness", "online, late, silent, unknown or retired."),
        time_or_null("liveness_since", "Since when."),
        time_or_null("first_heard_at", "First heard or declared, by event time."),
        time_or_null("last_heard_at", "Last heard, by event time."),
        RETIRED_AT,
        HOST_NO,
    ],
};

/// `host_transitions`
pub static HOST_TRANSITIONS: TableSchema = TableSchema {
    name: "host_transitions",
    doc: "One row per stretch of one liveness of a host.",
    columns: &[
        HOST,
        text("liveness", "online, late, silent, unknown or retired."),
        time("started_at", "From."),
        time_or_null("ended_at", "Until; null while it lasts."),
        HOST_NO,
    ],
};

/// `reconcilers`
pub static RECONCILERS: TableSchema = TableSchema {
    name: "reconcilers",
    doc: "One row per reconciler of a host with its last word, whichever source said it.",
    columns: &[
        text("reconciler_id", "Stable id: hash of the natural key (host, name)."),
        HOST,
        RECONCILER,
        text("reconciler_type", "flux, argocd, ansible …"),
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text_or_null("commit", "What runs: the commit last applied at this endpoint, normal form."),
        text_or_null("attempted_commit", "The commit last attempted at this endpoint, normal form."),
        text("status", "success, failure, in_progress or unknown: its word on the attempted commit."),
        text("raw_status", "The source's own word."),
        text_or_null("message", "The source's message, scrubbed of secrets; null when there is none."),
        text("liveness", "Whether its host is heard: online, late, silent, unknown or retired."),
        flag("rolled_back", "What runs had been deployed here before, with another commit in between."),
        time_or_null("deployed_at", "Start of the current deployment; null while no commit is known."),
        time("status_since", "Since when endpoint, attempted commit and status are as they are."),
        time("reported_at", "Event time of the last word."),
        time_or_null("received_at", "When the hub received the first report that said so."),
        time("first_reported_at", "Event time of the first word."),
        SOURCE,
        RETIRED_AT,
        RECONCILER_NO,
        HOST_NO,
        ENDPOINT_NO,
        count_or_null("commit_no", "Number of the commit that runs, inside one generation."),
    ],
};

/// `reconciler_sources`
pub static RECONCILER_SOURCES: TableSchema = TableSchema {
    name: "reconciler_sources",
    doc: "One row per reconciler and source: the last word of each. The freshest one is the reconciler's.",
    columns: &[
        HOST,
        RECONCILER,
        SOURCE,
        flag("prevails", "True for the word that the reconciler's row shows."),
        MANIFESTS_ENDPOINT,
        text_or_null("attempted_commit", "The commit this source says is attempted."),
        text("status", "success, failure, in_progress or unknown."),
        time("reported_at", "Event time."),
        RECONCILER_NO,
    ],
};

/// `deployments`
pub static DEPLOYMENTS: TableSchema = TableSchema {
    name: "deployments",
    doc: "One row per deployment: a run of words of one reconciler on one endpoint and commit, from `deployed_at` until `ended_at`.",
    columns: &[
        text("deployment_id", "Stable id: start of the reconciler's id, and the sequence."),
        HOST,
        RECONCILER,
        count("sequence", "1 for the first deployment of the reconciler, 2 for the next."),
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text("commit", "The commit, normal form."),
        text("status", "Its last word in this run."),
        flag("rolled_back", "The reconciler had deployed this commit here before, with another in between."),
        time("deployed_at", "Start."),
        time_or_null("ended_at", "End: the next deployment or the retirement; null while it lasts."),
        time("reported_at", "Event time of the last word in this run."),
        RECONCILER_NO,
        HOST_NO,
        ENDPOINT_NO,
        COMMIT_NO,
    ],
};

/// `transitions`
pub static TRANSITIONS: TableSchema = TableSchema {
    name: "transitions",
    doc: "One row per change of endpoint, commit or status of a reconciler, and per first word after a retirement. \
          A new message alone is none.",
    columns: &[
        text(
            "transition_id",
            "Stable id: hash of the natural key (host, reconciler, reported_at, endpoint, commit, status).",
        ),
        count(
            "seq",
            "Position in order of receipt, unique: what was received later, or became a transition later, has a greater \
             one. Rows of a day that is archived are shown when they are archived, with the position of their receipt. Local to \
             one store.",
        ),
        HOST,
        RECONCILER,
        MANIFESTS_ENDPOINT,
        text_or_null("commit", "The commit attempted, normal form."),
        text_or_null("applied_commit", "The commit applied, when the report named another than the attempted one."),
        text("status", "success, failure, in_progress or unknown."),
        text("raw_status", "The source's own word."),
        text_or_null("message", "Message."),
        time("reported_at", "Event time."),
        time("received_at", "When the hub received it."),
        time("last_confirmed_at", "Event time of the last report that said the same."),
        SOURCE,
        flag(
            "time_refused",
            "The source claimed a time more than five minutes ahead; the time of receipt stands for it.",
        ),
        RECONCILER_NO,
    ],
};

/// `endpoint_commits`
pub static ENDPOINT_COMMITS: TableSchema = TableSchema {
    name: "endpoint_commits",
    doc: "One row per endpoint and commit deployed there, all time, also by reconcilers that are retired.",
    columns: &[
        STORAGE_TYPE,
        MANIFESTS_ENDPOINT,
        text("commit", "The commit, normal form."),
        count("success", "Reconcilers whose last word on the commit is success."),
        count("failure", "… failure."),
        count("in_progress", "… in progress."),
        count("unknown", "… unknown."),
        count("rollbacks", "Reconcilers that came back to the commit after another one."),
        time_or_null(
            "first_deployed_at",
            "First start of a deployment; null when it was only ever said to be applied.",
        ),
        time_or_null("last_deployed_at", "Last start of a deployment."),
        time("last_reported_at", "Event time of the last word on it."),
        ENDPOINT_NO,
        COMMIT_NO,
    ],
};

/// `sources`
pub static SOURCES: TableSchema = TableSchema {
    name: "sources",
    doc: "One row per source that ever said something.",
    columns: &[
        text("source_id", "Stable id: hash of the name."),
        SOURCE,
        time("first_received_at", "When the hub first received a statement of it."),
        time("last_received_at", "When the hub last received one that changed anything."),
        count("changes", "Statements that changed anything."),
    ],
};

/// `generation`
pub static GENERATION: TableSchema = TableSchema {
    name: "generation",
    doc: "One row: the generation that all tables and views of a statement show.",
    columns: &[
        text("generation", "Its id; also the entity tag of answers."),
        count("seq", "Everything up to this sequence number of the ledger is in it."),
        count("epoch", "Epoch of the store; a restore starts a new one."),
        time("taken_at", "\"Now\" of the views."),
        time("stalled_before", "What is in progress since before this instant counts as stalled."),
    ],
};
