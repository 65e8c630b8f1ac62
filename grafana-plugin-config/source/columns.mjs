// What a column of the hub's answers is called, how it is typed, coloured and linked: said once for all dashboards.

import { ALL, link, page } from "./links.mjs";

/** The filters that dashboards share, in the order of their chain; each is a variable and a query parameter. */
export const CHAIN = ["workspace", "application", "workload", "environment", "deployment_target", "host"];

const TO_TARGET = Object.fromEntries(CHAIN.slice(0, 5).map((name) => [name, name]));
const TO_WORKLOAD = Object.fromEntries(CHAIN.slice(0, 3).map((name) => [name, name]));
const TO_APPLICATION = { workspace: "workspace", application: "application" };

function words(list, absent) {
  const options = Object.fromEntries(list.map(([word, color, text = word], index) => [word, { text, color, index }]));
  const mappings = [{ type: "value", options }];
  if (absent) mappings.push({ type: "special", options: { match: "null", result: { ...absent, index: list.length } } });
  return mappings;
}

/** Every word of an enumeration has a colour and a text; `lint` compares them with what the hub can say. */
export const WORDS = {
  status: words(
    [
      ["success", "green"],
      ["failure", "red"],
      ["in_progress", "blue", "in progress"],
      ["unknown", "orange"],
    ],
    { text: "nobody reports", color: "text" },
  ),
  verdict: words(
    [
      ["complete", "green"],
      ["failed", "red"],
      ["stalled", "orange"],
      ["in_progress", "blue", "in progress"],
      ["superseded", "purple"],
    ],
    { text: "none", color: "text" },
  ),
  drift: words([
    ["in_sync", "green", "in sync"],
    ["progressing", "blue"],
    ["behind", "yellow"],
    ["ahead", "purple"],
    ["stalled", "orange"],
    ["failing", "red"],
    ["silent", "dark-orange"],
    ["missing", "dark-red"],
    ["unknown_commit", "dark-yellow", "unknown commit"],
    ["unassigned", "text"],
  ]),
  liveness: words(
    [
      ["online", "green"],
      ["late", "yellow"],
      ["silent", "red"],
      ["unknown", "purple"],
      ["retired", "text"],
    ],
    { text: "not heard", color: "text" },
  ),
  state: words(
    [
      ["in_sync", "green", "in sync"],
      ["progressing", "blue"],
      ["drifted", "yellow"],
      ["stalled", "orange"],
      ["silent", "dark-orange"],
      ["failing", "red"],
      ["nobody", "text"],
    ],
    { text: "not there", color: "text" },
  ),
  difference: words([
    ["only_here", "purple", "only here"],
    ["only_there", "purple", "only there"],
    ["scheduled", "yellow", "scheduled"],
    ["deployed", "orange", "deployed"],
    ["same", "green", "same"],
  ]),
  flag: words([
    ["true", "orange", "yes"],
    ["false", "text", "no"],
  ]),
  code: words([
    ["1", "green", "success"],
    ["2", "blue", "in progress"],
    ["3", "red", "failure"],
    ["4", "orange", "unknown"],
    ["5", "green", "online"],
    ["6", "yellow", "late"],
    ["7", "red", "silent"],
    ["8", "text", "retired"],
  ]),
  query: words([
    ["running", "blue"],
    ["done", "green"],
    ["cancelled", "text"],
    ["busy", "orange"],
    ["invalid", "orange"],
    ["refused", "orange"],
    ["timeout", "red"],
    ["too_large", "red", "too large"],
    ["internal", "dark-red"],
  ]),
};

const word = (title, mappings, more = {}) => ({ title, mappings, cell: "color-text", ...more });
/** The first digits of commits, as everybody writes them, with their page in the forge. */
const commit = (title, column, more = {}) => ({
  title,
  width: 130,
  ...(column && page("Commit", column)),
  mappings: [
    { type: "regex", options: { pattern: "^(?:.*@)?[a-z0-9]+:([0-9a-f]{1,12})[0-9a-f]*$", result: { text: "$1", index: 0 } } },
  ],
  ...more,
});
const time = (title, more = {}) => ({ title, type: "timestamp", unit: "dateTimeAsIso", width: 165, ...more });
const count = (title, more = {}) => ({ title, type: "number", unit: "none", decimals: 0, width: 95, ...more });
const bad = (title, color, more = {}) =>
  count(title, {
    cell: "color-text",
    steps: [
      ["text", null],
      [color, 1],
    ],
    ...more,
  });
const seconds = (title, more = {}) => ({ title, type: "number", unit: "s", width: 130, ...more });

/** A column by the name that the hub gives it. */
export const COLUMNS = {
  workspace: { title: "Workspace" },
  application: { title: "Application", link: ["Application", link("kalypso-application", TO_APPLICATION)] },
  workload: { title: "Workload", link: ["Workload", link("kalypso-application", TO_WORKLOAD)] },
  environment: {
    title: "Environment",
    width: 115,
    link: ["Environment", link("kalypso-environment", { environment: "environment" })],
  },
  deployment_target: { title: "Target", link: ["Deployment target", link("kalypso-environment", TO_TARGET)] },
  component: { title: "Workload", width: 300 },
  host: { title: "Cluster", width: 140, link: ["Cluster", link("kalypso-cluster", { host: "host" })] },
  reconciler: { title: "Reconciler", width: 140 },
  reconciler_type: { title: "Kind", width: 80 },
  cluster_type: { title: "Cluster type" },
  ring: { title: "Ring", width: 70 },
  region: { title: "Region", width: 120 },
  labels: { title: "Labels" },
  contact: { title: "Contact" },
  source: { title: "Source" },
  author: { title: "Author" },
  message: { title: "Message", width: 380 },

  version: {
    title: "Version",
    link: ["Rollout of this version", link("kalypso-rollout", { ...TO_TARGET, version: "version" })],
  },
  desired_version: { title: "Scheduled" },
  deployed_version: { title: "Deployed", noValue: "unknown" },
  deployed: { title: "Deployed" },
  build: { title: "Build" },
  commit: commit("GitOps commit", "commit_url"),
  source_commit: commit("Source commit", "source_commit_url"),
  pull_request: { title: "Pull request", ...page("Pull request", "pull_request_url") },
  next_environment: {
    title: "Next environment",
    link: ["Environment", link("kalypso-environment", { environment: "next_environment" })],
  },

  status: word("Status", WORDS.status, { width: 120 }),
  verdict: word("Verdict", WORDS.verdict, { width: 120 }),
  drift: word("Drift", WORDS.drift, { width: 120 }),
  liveness: word("Liveness", WORDS.liveness, { width: 95 }),
  state: word("State", WORDS.state, { width: 110 }),
  rolled_back: word("Rolled back", WORDS.flag, { type: "boolean", width: 110 }),
  rollback: word("Rollback", WORDS.flag, { type: "boolean", width: 110 }),
  result: word(
    "Result",
    words([
      ["passed", "green"],
      ["failed", "red"],
      ["pending", "blue"],
    ]),
  ),
  current: word(
    "Current",
    words([
      ["true", "green", "yes"],
      ["false", "text", "no"],
    ]),
    { type: "boolean", width: 90 },
  ),
  name: { title: "Verification", ...page("Report", "link") },
  reported_by: { title: "Reported by" },

  other_environment: {
    title: "Compared with",
    width: 125,
    link: ["Environment", link("kalypso-environment", { environment: "other_environment" })],
  },
  difference: word("Difference", WORDS.difference, { width: 110 }),
  desired: { title: "Scheduled" },
  other_desired: { title: "Scheduled there", width: 140 },
  other_deployed: { title: "Deployed there", width: 140 },
  other_state: word("State there", WORDS.state, { width: 110 }),
  other_reconcilers: count("Reconcilers there", { width: 145 }),
  other_in_sync: count("In sync there", { width: 115 }),
  other_assigned_at: time("Scheduled there at"),

  hosts: count("Clusters", {
    width: 100,
    // Links get a field as it is shown, and words are shown as other words: so the status comes a second time, as it is.
    link: ["Clusters", link("kalypso-cluster", { ...TO_TARGET, status: "status_word" })],
    needs: { name: "status", as: "status_word", noValue: ALL },
  }),
  reconcilers: count("Reconcilers"),
  successful: count("Successful", {
    cell: "color-text",
    steps: [
      ["text", null],
      ["green", 1],
    ],
  }),
  success: count("Success", {
    cell: "color-text",
    steps: [
      ["text", null],
      ["green", 1],
    ],
  }),
  failure: bad("Failure", "red"),
  in_progress: bad("In progress", "blue"),
  unknown: bad("Unknown", "orange"),
  behind: bad("Behind", "yellow"),
  ahead: bad("Ahead", "purple"),
  failing: bad("Failing", "red"),
  stalled: bad("Stalled", "orange"),
  silent: bad("Silent", "dark-orange"),
  missing: bad("Missing", "dark-red"),
  unknown_commit: bad("Unknown commit", "dark-yellow", { width: 140 }),
  never_reported: bad("Never reported", "dark-red", { width: 130 }),
  progressing: bad("Progressing", "blue"),
  in_sync: count("In sync", {
    cell: "color-text",
    steps: [
      ["text", null],
      ["green", 1],
    ],
  }),
  retired: count("Retired"),
  total: count("Total"),
  targets: count("Targets"),
  complete: count("Complete"),
  completed: count("Complete"),
  failed: bad("Failed", "red"),
  rollouts: count("Rollouts"),
  behind_by: bad("Behind by", "yellow", { width: 100 }),

  behind_seconds: seconds("Behind for", { width: 110 }),
  waiting: count("Changes waiting", { width: 130 }),
  waiting_seconds: seconds("Waiting for"),
  lead_seconds: seconds("Lead time"),
  hop_seconds: seconds("From previous", { width: 130 }),
  p50_seconds: seconds("Median", { width: 100 }),
  p90_seconds: seconds("9 in 10", { width: 100 }),
  max_seconds: seconds("Longest", { width: 100 }),
  lead_p50_seconds: seconds("Lead time, median", { width: 150 }),
  lead_p90_seconds: seconds("Lead time, 9 in 10", { width: 150 }),
  restore_p50_seconds: seconds("Restored in, median", { width: 170 }),
  change_failure_percent: {
    title: "Change failure rate",
    type: "number",
    unit: "percent",
    width: 160,
    cell: "color-text",
    steps: [
      ["green", null],
      ["orange", 15],
      ["red", 30],
    ],
  },

  assigned_at: time("Scheduled at"),
  first_assigned_at: time("First scheduled"),
  last_assigned_at: time("Last scheduled"),
  build_time: time("Built"),
  started_at: time("Started"),
  completed_at: time("Completed"),
  complete_at: time("Completed"),
  ended_at: time("Ended"),
  deployed_at: time("Deployed on"),
  first_deployed_at: time("First deployed"),
  last_deployed_at: time("Deployed on"),
  reported_at: time("Last report"),
  last_reported_at: time("Last report"),
  since: time("Since"),
  liveness_since: time("Since"),
  waiting_since: time("Waiting since"),
  week: { ...time("Week"), width: 120, unit: "time:YYYY-MM-DD" },
  time: time("Time"),
};
