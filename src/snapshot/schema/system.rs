//! Tables about the hub itself, in the SQL schema `system`.
//!
//! Invariant: what is declared here is what the running hub offers; a test asks one.

use super::*;

/// The tables of the schema `system`.
pub static SYSTEM: [&TableSchema; 4] = [&SYSTEM_GATE, &SYSTEM_QUERIES, &SYSTEM_SNAPSHOTS, &SYSTEM_SOURCES];

/// `system.gate`
pub static SYSTEM_GATE: TableSchema = TableSchema {
    name: "gate",
    doc: "One row per question that somebody waits for an answer to.",
    columns: &[
        text("question", "The question as the parameters of /rollouts/status."),
        count("waiting", "Clients that wait for it."),
        text("verdict", "The verdict they know."),
        time_or_null("due_at", "When time alone may change the answer; null when only news can."),
    ],
};

/// `system.queries`
pub static SYSTEM_QUERIES: TableSchema = TableSchema {
    name: "queries",
    doc: "One row per SQL statement that clients asked lately, running ones included; the last 200.",
    columns: &[
        text("id", "Number of the statement since the hub started."),
        text("sql", "Its text, cut at 1,000 bytes."),
        time("started_at", "When it was accepted."),
        count("duration_ms", "How long it took, or takes so far."),
        count_or_null("rows", "Rows it gave; null while it runs."),
        text("status", "running, done, cancelled, busy, invalid, refused, timeout, too_large or internal."),
    ],
};

/// `system.snapshots`
pub static SYSTEM_SNAPSHOTS: TableSchema = TableSchema {
    name: "snapshots",
    doc: "One row per table of each generation that is in memory, and of each export whose files are there.",
    columns: &[
        text("kind", "generation (in memory) or export (files)."),
        text("snapshot_id", "Id of the generation; exports have that of the generation they show."),
        count("seq", "Everything up to this sequence number of the ledger is in it."),
        count("behind", "Sequence numbers acknowledged since then."),
        time("taken_at", "When the generation was taken."),
        flag("newest", "The newest of its kind. Older generations are held by statements and exports that still read."),
        text("table_name", "The table."),
        count_or_null("rows", "Rows; null where nobody counted them."),
        count("files", "Files; of an older export those that the newest one does not use. 0 in memory."),
        count_or_null("bytes", "Bytes of these files; null in memory."),
        text_or_null("first_day", "First day of history among the files."),
        text_or_null("last_day", "Last day of history among the files."),
    ],
};

/// `system.sources`
pub static SYSTEM_SOURCES: TableSchema = TableSchema {
    name: "sources",
    doc: "One row per source that ever said something, and what it said since the hub started.",
    columns: &[
        SOURCE,
        text_or_null(
            "kind",
            "push, directory or hub (what the hub concludes itself); null: not heard since the start.",
        ),
        count("accepted", "Statements taken because they said something new."),
        count("unchanged", "Statements taken that said nothing new."),
        count("rejected", "Statements that were not taken."),
        time_or_null("first_received_at", "When the hub first took a statement of it, also in earlier lives."),
        time_or_null("last_received_at", "When the hub last took one, new or not."),
        time_or_null("last_error_at", "When one was last not taken."),
        text_or_null("last_error", "What was wrong with it, without secrets."),
    ],
};
