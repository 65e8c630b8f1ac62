//! All families of metrics, and the page `schema/metrics.md` about them.
//!
//! Invariant: names and units follow the conventions of Prometheus (base units; `_total`, `_seconds`, `_bytes`, `_info`), and a time
//! is a `_timestamp_seconds`, never an age: `time() - x` is its age whenever it is asked for.

use std::fmt::Write as _;

use super::family::{Family, Kind, bytes, counter, gauge, info, seconds};

pub(super) static RECONCILERS: Family = gauge(
    "koh_reconcilers",
    &["environment", "workload", "status"],
    "Living reconcilers by the status they reported last, once per deployment target they serve.",
);
pub(super) static DRIFT: Family = gauge(
    "koh_drift",
    &["environment", "workload", "drift"],
    "Reconcilers by how what they run differs from what is wanted, and hosts of which nothing ever reported (missing).",
);
pub(super) static HOSTS: Family =
    gauge("koh_hosts", &["liveness"], "Hosts that are not retired, by whether they are heard.");
pub(super) static TARGETS: Family =
    gauge("koh_deployment_targets", &["environment", "workload"], "Deployment targets on which something is wanted.");
pub(super) static ROLLOUTS: Family = gauge(
    "koh_rollouts",
    &["environment", "workload", "verdict"],
    "Rollouts of what is wanted now, one per deployment target, by the verdict of the gate under its default policy.",
);
pub(super) static PROMOTION_WAITING: Family = seconds(
    Kind::Gauge,
    "koh_promotion_waiting_since_timestamp",
    &["environment", "workload"],
    "When another environment completed the first change that is newer than all that was wanted here; absent where there is none.",
);
pub(super) static FLEET_COUNTED: Family = seconds(
    Kind::Gauge,
    "koh_fleet_counted_timestamp",
    &[],
    "As of when the fleet was counted: the families above are of this moment.",
);
pub(super) static FLEET_FAILURES: Family =
    counter("koh_fleet_count_failures", &[], "Attempts to count the fleet that failed; the counts before stay.");

pub(super) static STATEMENTS: Family = counter(
    "koh_ingest_statements",
    &["source", "kind", "outcome"],
    "What sources said since the start: accepted (something new), unchanged, or rejected.",
);
pub(super) static INGEST_BYTES: Family =
    bytes(Kind::Counter, "koh_ingest_read", &[], "Bytes of pushed bodies, after decompression.");
pub(super) static INGEST_STREAMS: Family = gauge("koh_ingest_streams", &[], "Pushes that are open.");
pub(super) static INGEST_STREAMS_MOST: Family =
    gauge("koh_ingest_streams_limit", &[], "Pushes that may be open; more are told to come back.");
pub(super) static SOURCE_HEARD: Family = seconds(
    Kind::Gauge,
    "koh_source_last_heard_timestamp",
    &["source", "kind"],
    "When a source last said something that was taken, also before the start.",
);
pub(super) static SOURCE_FAILED: Family = seconds(
    Kind::Gauge,
    "koh_source_last_error_timestamp",
    &["source", "kind"],
    "When something was last wrong with a source since the start: system.sources says what.",
);
pub(super) static WATCH_STATE: Family = gauge(
    "koh_source_watch_state",
    &["source", "object", "state"],
    "1 for the state that the watch of a kind of objects is in, 0 for the others. not_served: the API server does not know the kind.",
);
pub(super) static WATCH_SINCE: Family = seconds(
    Kind::Gauge,
    "koh_source_watch_since_timestamp",
    &["source", "object"],
    "Since when the watch is in its state.",
);
pub(super) static UNHEARD: Family = gauge(
    "koh_sources_unheard",
    &[],
    "Sources whose first complete scan is not in yet; the hub is not ready until there are none.",
);

pub(super) static SEQUENCE: Family = gauge("koh_ledger_sequence", &[], "The last acknowledged sequence.");
pub(super) static READ_ONLY: Family = gauge(
    "koh_ledger_read_only",
    &[],
    "1 while questions are answered and nothing is taken: the volume is full (until it has room), or the store failed (until a restart).",
);
pub(super) static GROUPS: Family = counter("koh_ledger_groups", &[], "Groups of statements made durable.");
pub(super) static JOURNAL_BYTES: Family =
    bytes(Kind::Counter, "koh_ledger_journal_written", &[], "Packed bytes of these groups.");
pub(super) static COMMITS: Family = seconds(
    Kind::Histogram,
    "koh_ledger_commit_duration",
    &[],
    "Time from handing a group to the store until it was safe on disk (fsync included).",
);
pub(super) static CHECKPOINT_SEQUENCE: Family =
    gauge("koh_ledger_checkpoint_sequence", &[], "The sequence of the checkpoint from which a restart begins.");
pub(super) static CHECKPOINT_TIME: Family = seconds(
    Kind::Gauge,
    "koh_ledger_checkpoint_timestamp",
    &[],
    "When the last checkpoint was complete; absent until there is one since the start.",
);
pub(super) static QUEUE: Family = gauge("koh_ledger_queue_statements", &[], "Statements on their way into the ledger.");
pub(super) static QUEUE_MOST: Family = gauge(
    "koh_ledger_queue_limit_statements",
    &[],
    "Statements that may be on their way; then pushes are not read any further.",
);

pub(super) static GENERATION_SEQUENCE: Family = gauge(
    "koh_generation_sequence",
    &[],
    "The sequence up to which lists, views and SQL show everything; koh_ledger_sequence less this is their lag.",
);
pub(super) static GENERATION_TIME: Family = seconds(
    Kind::Gauge,
    "koh_generation_timestamp",
    &[],
    "When the generation that lists, views and SQL answer from was taken; a scrape asks for a recent one.",
);
pub(super) static EXPORT_SEQUENCE: Family = gauge(
    "koh_export_sequence",
    &[],
    "The sequence that the newest exported files show; absent where nothing is exported.",
);
pub(super) static EXPORT_TIME: Family = seconds(
    Kind::Gauge,
    "koh_export_timestamp",
    &[],
    "When the generation in the newest exported files was taken; nothing new is exported while nothing changes.",
);
pub(super) static EXPORTS: Family =
    seconds(Kind::Histogram, "koh_export_duration", &[], "Time that an export took, failed ones included.");
pub(super) static EXPORT_FAILURES: Family =
    counter("koh_export_failures", &[], "Exports that failed; the ledger is not affected.");

pub(super) static KEPT_SINCE: Family = seconds(
    Kind::Gauge,
    "koh_history_kept_since_timestamp",
    &[],
    "From when on everything that reconcilers reported is in the ledger; absent while all of it is.",
);
pub(super) static RETENTION: Family = seconds(
    Kind::Histogram,
    "koh_retention_duration",
    &[],
    "Time that a round of archiving and trimming took, failed ones included.",
);
pub(super) static RETENTION_FAILURES: Family =
    counter("koh_retention_failures", &[], "Rounds that failed; nothing was lost, and they are tried again.");
pub(super) static ARCHIVE_LOST: Family = gauge(
    "koh_archive_lost",
    &[],
    "1 while the archive is not there, ends too early or is of another ledger: then there are no backups, and nothing more is archived.",
);
pub(super) static FILE_REFUSED: Family = gauge(
    "koh_file_refused",
    &["file"],
    "1 while a file that the hub follows holds what it does not take: what it held before is in force, and a restart would fail.",
);
pub(super) static DATA_SIZE: Family = bytes(
    Kind::Gauge,
    "koh_data_size",
    &["part"],
    "What the data directory takes up: the ledger (as allocated), exports (copies of it), and the archive of history that left it.",
);
pub(super) static ARCHIVE_FILES: Family = gauge("koh_archive_files", &[], "Files of the archive.");
pub(super) static ARCHIVE_ROWS: Family = gauge("koh_archive_rows", &[], "Rows in them.");
pub(super) static VOLUME_SIZE: Family =
    bytes(Kind::Gauge, "koh_volume_size", &[], "Size of the volume that holds the data directory.");
pub(super) static VOLUME_FREE: Family =
    bytes(Kind::Gauge, "koh_volume_available", &[], "What the hub may still write to it.");

pub(super) static BACKUP_TIME: Family = seconds(
    Kind::Gauge,
    "koh_backup_timestamp",
    &[],
    "When the newest backup in the folder was begun, also before the start; absent until there is one, and where there is no folder.",
);
pub(super) static BACKUP_SIZE: Family = bytes(Kind::Gauge, "koh_backup_size", &[], "Size of that backup.");
pub(super) static BACKUPS: Family = seconds(
    Kind::Histogram,
    "koh_backup_duration",
    &[],
    "Time that a backup into the folder took, failed ones included.",
);
pub(super) static BACKUP_FAILURES: Family =
    counter("koh_backup_failures", &[], "Backups into the folder that failed; the hub is not affected.");

pub(super) static QUERIES: Family = counter(
    "koh_query_statements",
    &["engine", "outcome"],
    "SQL statements that ended: of lists and views (rows), or of clients (sql).",
);
pub(super) static QUERIES_RUNNING: Family = gauge("koh_query_running", &["engine"], "SQL statements that hold a slot.");
pub(super) static QUERIES_WAITING: Family =
    gauge("koh_query_waiting", &["engine"], "SQL statements that wait for a slot.");
pub(super) static QUERY_DURATION: Family = seconds(
    Kind::Histogram,
    "koh_query_duration",
    &["engine"],
    "Time from the acceptance of a statement to its last row, waiting included.",
);
pub(super) static QUERY_MEMORY: Family =
    bytes(Kind::Gauge, "koh_query_memory", &["engine"], "Memory that all statements of an engine have reserved.");
pub(super) static QUERY_MEMORY_MOST: Family =
    bytes(Kind::Gauge, "koh_query_memory_limit", &["engine"], "Memory that they may reserve together.");

pub(super) static WAITERS: Family = gauge("koh_gate_waiters", &[], "Requests that wait for an answer of the gate.");
pub(super) static QUESTIONS: Family = gauge("koh_gate_questions", &[], "Distinct questions they wait for.");
pub(super) static EVALUATIONS: Family = counter("koh_gate_evaluations", &[], "Answers that the gate made.");

pub(super) static REQUESTS: Family = counter(
    "koh_http_requests",
    &["route", "method", "status"],
    "HTTP requests answered, by the template of their route and the class of their status; (none) is no route of the hub.",
);
pub(super) static REQUEST_DURATION: Family = seconds(
    Kind::Histogram,
    "koh_http_request_duration",
    &["route"],
    "Time from the head of a request to the beginning of its answer; for a push that is its whole length.",
);
pub(super) static REQUESTS_OPEN: Family =
    gauge("koh_http_requests_in_flight", &[], "Requests whose answer has not begun.");

pub(super) static CPU: Family =
    seconds(Kind::Counter, "process_cpu", &[], "Processor time used, in user and kernel mode.");
pub(super) static RESIDENT: Family = bytes(Kind::Gauge, "process_resident_memory", &[], "Resident memory.");
pub(super) static VIRTUAL: Family = bytes(Kind::Gauge, "process_virtual_memory", &[], "Address space.");
pub(super) static FDS: Family = gauge("process_open_fds", &[], "Open file descriptors.");
pub(super) static FDS_MOST: Family = gauge("process_max_fds", &[], "File descriptors that may be open.");
pub(super) static STARTED: Family =
    seconds(Kind::Gauge, "process_start_time", &[], "When the process started, since the epoch.");
pub(super) static THREADS: Family = gauge("process_threads", &[], "Threads.");
pub(super) static BUILD: Family = info("koh_build", &["version", "os", "arch"], "What runs here.");
pub(super) static SERIES_LEFT_OUT: Family = gauge(
    "koh_metrics_series_left_out",
    &["family"],
    "Series that a family would have beyond the limit of 10,000 and that are not shown; absent while all are.",
);

/// Headings of the page, and what stands below them.
static SECTIONS: &[(&str, &[&Family])] = &[
    (
        "Fleet",
        &[&RECONCILERS, &DRIFT, &HOSTS, &TARGETS, &ROLLOUTS, &PROMOTION_WAITING, &FLEET_COUNTED, &FLEET_FAILURES],
    ),
    (
        "Sources and ingest",
        &[
            &STATEMENTS,
            &INGEST_BYTES,
            &INGEST_STREAMS,
            &INGEST_STREAMS_MOST,
            &SOURCE_HEARD,
            &SOURCE_FAILED,
            &WATCH_STATE,
            &WATCH_SINCE,
            &UNHEARD,
        ],
    ),
    (
        "Ledger",
        &[
            &SEQUENCE,
            &READ_ONLY,
            &GROUPS,
            &JOURNAL_BYTES,
            &COMMITS,
            &CHECKPOINT_SEQUENCE,
            &CHECKPOINT_TIME,
            &QUEUE,
            &QUEUE_MOST,
        ],
    ),
    (
        "Generations and exports",
        &[&GENERATION_SEQUENCE, &GENERATION_TIME, &EXPORT_SEQUENCE, &EXPORT_TIME, &EXPORTS, &EXPORT_FAILURES],
    ),
    (
        "Disk and retention",
        &[
            &DATA_SIZE,
            &VOLUME_SIZE,
            &VOLUME_FREE,
            &KEPT_SINCE,
            &ARCHIVE_FILES,
            &ARCHIVE_ROWS,
            &ARCHIVE_LOST,
            &RETENTION,
            &RETENTION_FAILURES,
        ],
    ),
    ("Backups", &[&BACKUP_TIME, &BACKUP_SIZE, &BACKUPS, &BACKUP_FAILURES]),
    ("Queries", &[&QUERIES, &QUERIES_RUNNING, &QUERIES_WAITING, &QUERY_DURATION, &QUERY_MEMORY, &QUERY_MEMORY_MOST]),
    ("Gate", &[&WAITERS, &QUESTIONS, &EVALUATIONS]),
    ("HTTP", &[&REQUESTS, &REQUEST_DURATION, &REQUESTS_OPEN]),
    (
        "Process",
        &[&CPU, &RESIDENT, &VIRTUAL, &FDS, &FDS_MOST, &STARTED, &THREADS, &BUILD, &FILE_REFUSED, &SERIES_LEFT_OUT],
    ),
];

/// Every family.
pub fn all() -> impl Iterator<Item = &'static Family> {
    SECTIONS.iter().flat_map(|(_, families)| families.iter().copied())
}

/// The text of `schema/metrics.md`.
pub fn metrics_md() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Generated from the code; do not edit. `GET /metrics` answers OpenMetrics 1.0 where `Accept` prefers it, else the classic\n\
         text format. Counters and histograms begin anew with the process; gauges say what is so. The fleet is counted at\n\
         most once per generation. A count that takes longer than a scrape may wait is shown by the next one;\n\
         `koh_fleet_counted_timestamp_seconds` says of when it is. Families of `process` are there on Linux only.\n",
    );
    for (heading, families) in SECTIONS {
        let _ = writeln!(out, "\n## {heading}\n\n| metric | type | labels | meaning |\n|---|---|---|---|");
        for f in *families {
            let labels = f.labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "| `{}` | {} | {labels} | {} |", f.full_name(), f.kind.as_str(), f.help);
        }
    }
    out
}
