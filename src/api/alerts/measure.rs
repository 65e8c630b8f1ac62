//! What each alert measures, as data: whose rows, what of them, and from when on it is too much.
//!
//! Invariant: what is measured comes from the views; here it is only compared with the thresholds of the target it was measured on.

use serde_json::{Map, Value};

use super::super::resource::{Resource, TARGET, view};
use crate::rollout::{Policies, Thresholds};

/// An alert.
pub(super) struct Alert {
    /// The last part of its path.
    pub(super) name: &'static str,
    /// The view whose rows are measured.
    pub(super) of: &'static Resource,
    /// Rows for which this does not hold are fine under any threshold.
    pub(super) some: &'static str,
    /// The texts of a row, beside contact and action.
    pub(super) labels: &'static [&'static str],
    /// What to do.
    pub(super) action: &'static str,
    /// What was measured, when it is over the threshold.
    pub(super) over: fn(&Map<String, Value>, &Policies) -> Option<u64>,
}

static HEALTH: Resource = view("target-health", "target_health", TARGET);
static SILENT: Resource = view(
    "silent-hosts",
    "silent_hosts",
    &["workspace", "application", "workload", "environment", "deployment_target", "contact"],
);
static WAITS: Resource = view(
    "promotion-waits",
    "promotion_waits",
    &["workspace", "application", "workload", "environment", "next_environment"],
);

const PLACE: &[&str] = &["workspace", "application", "environment", "workload", "deployment_target"];
const PLACE_AND_VERSION: &[&str] =
    &["workspace", "application", "environment", "workload", "deployment_target", "version"];

/// All but those on the hub itself.
pub(super) static ALERTS: [Alert; 6] = [
    Alert {
        name: "failed-rollouts",
        of: &HEALTH,
        some: "rollout_failures > 0",
        labels: PLACE_AND_VERSION,
        action: "Read what the failing hosts say (views/host-state?status=failure), then fix forward or roll back.",
        over: |row, policies| more(number(row, "rollout_failures"), of(row, policies).failed_hosts),
    },
    Alert {
        name: "stalled-rollouts",
        of: &HEALTH,
        some: "unchanged_seconds > 0",
        labels: PLACE_AND_VERSION,
        action: "See who holds the rollout up (rollouts/hosts), and whether their reconcilers run.",
        over: |row, policies| {
            let thresholds = of(row, policies);
            // What fails has an alert of its own.
            let failed = number(row, "rollout_failures") > thresholds.failed_hosts;
            more(number(row, "unchanged_seconds"), thresholds.stalled_after).filter(|_| !failed)
        },
    },
    Alert {
        name: "drift",
        of: &HEALTH,
        some: "drifted > 0",
        labels: PLACE_AND_VERSION,
        action: "See what runs instead (views/drift), and who changed it.",
        over: |row, policies| {
            let drifted = number(row, "drifted");
            let percent =
                drifted as f64 * 100.0 / (number(row, "reconcilers") + number(row, "missing")).max(drifted) as f64;
            (percent > of(row, policies).drift_percent).then_some(percent.ceil() as u64)
        },
    },
    Alert {
        name: "silent-hosts",
        of: &SILENT,
        some: "silent_hosts > 0",
        labels: PLACE,
        action: "Check the hosts and their way to the hub (hosts?liveness=silent); retire those that are gone.",
        over: |row, policies| more(number(row, "silent_hosts"), of(row, policies).silent_hosts),
    },
    Alert {
        name: "unknown-commits",
        of: &HEALTH,
        some: "unknown_commit > 0",
        labels: PLACE,
        action: "Find out where these commits come from (views/drift?drift=unknown_commit): no descriptor names them.",
        over: |row, policies| more(number(row, "unknown_commit"), of(row, policies).unknown_commits),
    },
    Alert {
        name: "promotion-lag",
        of: &WAITS,
        some: "waiting > 0",
        labels: &["workspace", "application", "environment", "next_environment", "workload", "version"],
        action: "Promote it, or say why not (promotions).",
        over: |row, policies| {
            let after = &policies.of(&next(row)).after;
            // Where a policy names what comes before the environment, that is the way; else the way that changes usually take.
            let follows = match after.is_empty() {
                true => row.get("usual").and_then(Value::as_bool).unwrap_or(false),
                false => after.iter().any(|before| before == text(row, "environment")),
            };
            let lag = policies.alerts().of(&next(row)).promotion_lag;
            more(number(row, "waiting_seconds"), lag).filter(|_| follows)
        },
    },
];

/// The contact of the target, else that of the thresholds.
pub(super) fn contact(row: &Map<String, Value>, policies: &Policies) -> Option<String> {
    let said = text(row, "contact");
    if said.is_empty() { of(row, policies).contact } else { Some(said.to_owned()) }
}

/// A text of a row; empty where there is none. A row about what is wanted calls its version so.
pub(super) fn text<'a>(row: &'a Map<String, Value>, column: &str) -> &'a str {
    let found = row.get(column).or_else(|| row.get("desired_version").filter(|_| column == "version"));
    found.and_then(Value::as_str).unwrap_or_default()
}

fn number(row: &Map<String, Value>, column: &str) -> u64 {
    row.get(column).and_then(Value::as_u64).unwrap_or(0)
}

fn more(measured: u64, may: u64) -> Option<u64> {
    (measured > may).then_some(measured)
}

/// The thresholds of the target of a row; of a promotion those of where it should go.
fn of(row: &Map<String, Value>, policies: &Policies) -> Thresholds {
    let target = if row.contains_key("next_environment") { next(row) } else { target(row, "environment") };
    policies.alerts().of(&target)
}

fn next(row: &Map<String, Value>) -> [&str; 5] {
    target(row, "next_environment")
}

fn target<'a>(row: &'a Map<String, Value>, environment: &str) -> [&'a str; 5] {
    ["workspace", "application", "workload", environment, "deployment_target"].map(|column| text(row, column))
}
