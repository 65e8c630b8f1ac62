import { WORDS } from "../columns.mjs";
import { dashboard } from "../dashboard.mjs";
import { is, stats, table } from "../panels.mjs";
import { orange, red } from "../shared.mjs";

/** Fixed statements: no variable ever becomes part of one. */
const sql = (statement) => ({ url: "/api/v1/sql", params: [is("q", statement), is("format", "json")] });

export default dashboard({
  uid: "kalypso-hub",
  title: "Hub",
  description: "The hub itself: what it hears, keeps and is asked.",
  rows: [
    [
      stats({
        title: "Generation",
        description: "What SQL and views show, and how far it lags behind what was acknowledged.",
        ...sql(
          "SELECT max(seq) AS seq, max(behind) AS behind, count(DISTINCT snapshot_id) AS held, sum(rows) AS rows FROM system.snapshots WHERE kind = 'generation'",
        ),
        columns: [
          { name: "seq", title: "Sequence" },
          { name: "behind", title: "Behind", steps: orange },
          { name: "held", title: "Generations held" },
          { name: "rows", title: "Rows", unit: "short" },
        ],
        empty: "The hub does not answer.",
      }),
    ],
    [
      table({
        title: "Checks",
        description: "What the alert about the hub looks at: 0 is fine.",
        url: "/api/v1/alerts/hub",
        params: [],
        columns: [
          { name: "check", title: "Check", width: 140 },
          { name: "source", width: 180 },
          { name: "value", title: "Value", type: "number", unit: "none", width: 90, cell: "color-text", steps: red },
          { name: "action", title: "What to do" },
        ],
        sort: [["check"]],
        empty: "The hub does not answer.",
        height: 6,
      }),
    ],
    [
      table({
        title: "Sources",
        description: "Who speaks to the hub since it started, and what was refused.",
        ...sql("SELECT * FROM system.sources ORDER BY source"),
        columns: [
          "source",
          { name: "kind", title: "Kind" },
          { name: "accepted", title: "Accepted", type: "number", unit: "none" },
          { name: "unchanged", title: "Unchanged", type: "number", unit: "none" },
          {
            name: "rejected",
            title: "Rejected",
            type: "number",
            unit: "none",
            cell: "color-text",
            steps: [
              ["text", null],
              ["red", 1],
            ],
          },
          { name: "last_received_at", title: "Last received", type: "timestamp", unit: "dateTimeAsIso" },
          { name: "last_error_at", title: "Last error", type: "timestamp", unit: "dateTimeAsIso" },
          { name: "last_error", title: "Error", width: 320 },
        ],
        sort: [["source"]],
        empty: "No source has spoken yet.",
      }),
    ],
    [
      table({
        title: "Tables",
        description: "Rows of the newest generation and the export on disk.",
        ...sql(
          "SELECT table_name, kind, rows, files, bytes, taken_at FROM system.snapshots WHERE newest ORDER BY table_name, kind",
        ),
        columns: [
          { name: "table_name", title: "Table", width: 190 },
          { name: "kind", title: "Kind" },
          { name: "rows", title: "Rows", type: "number", unit: "none" },
          { name: "files", title: "Files", type: "number", unit: "none" },
          { name: "bytes", title: "Size", type: "number", unit: "bytes" },
          { name: "taken_at", title: "Taken", type: "timestamp", unit: "dateTimeAsIso", width: 165 },
        ],
        sort: [["table_name"]],
        empty: "No generation yet.",
        width: 12,
        height: 11,
      }),
      table({
        title: "Statements",
        description: "SQL that clients asked lately.",
        ...sql("SELECT started_at, duration_ms, rows, status, sql FROM system.queries ORDER BY started_at DESC LIMIT 100"),
        columns: [
          { name: "started_at", width: 180 },
          { name: "duration_ms", title: "Took", type: "number", unit: "ms", width: 90 },
          { name: "rows", title: "Rows", type: "number", unit: "none", width: 90 },
          { name: "status", title: "Outcome", mappings: WORDS.query, width: 100 },
          { name: "sql", title: "Statement" },
        ],
        sort: [["started_at", true]],
        empty: "Nobody asked anything yet.",
        width: 12,
        height: 11,
      }),
    ],
    [
      table({
        title: "Waiting for the gate",
        description: "Questions about rollouts that somebody waits for.",
        ...sql("SELECT question, waiting, verdict, due_at FROM system.gate ORDER BY question"),
        columns: [
          { name: "question", title: "Question" },
          { name: "waiting", title: "Clients", type: "number", unit: "none", width: 100 },
          { name: "verdict", mappings: undefined, cell: undefined },
          { name: "due_at", title: "Time may change it at", type: "timestamp", unit: "dateTimeAsIso" },
        ],
        sort: [["question"]],
        empty: "Nobody waits.",
        height: 7,
      }),
    ],
  ],
});
