//! From when on something is worth an alert: thresholds by workspace, environment and workload, out of the file of policies.
//!
//! Invariant: of several entries for one target the first in the file applies, whole: what it does not name has its default, not
//! the value of a later entry. A measured number alerts when it is greater than its threshold, so it is never zero.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::policies::Scope;

/// What may be without an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Reconcilers that may fail in a rollout.
    pub failed_hosts: u64,
    /// Percent of a target's reconcilers that may drift.
    pub drift_percent: f64,
    /// Seconds for which nothing may change in a rollout that is not complete.
    pub stalled_after: u64,
    /// Hosts that may be silent.
    pub silent_hosts: u64,
    /// Reconcilers that may be on a commit that nothing explains.
    pub unknown_commits: u64,
    /// Seconds for which something complete may wait for the next environment.
    pub promotion_lag: u64,
    /// Whom to ask where the target names nobody.
    pub contact: Option<String>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            failed_hosts: 0,
            drift_percent: 0.0,
            stalled_after: 30 * 60,
            silent_hosts: 0,
            unknown_commits: 0,
            promotion_lag: 24 * 60 * 60,
            contact: None,
        }
    }
}

/// All entries, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts(Vec<(Scope, Thresholds)>);

const NAMES: [&str; 8] = [
    "for",
    "failed_hosts",
    "drift_percent",
    "stalled_after",
    "silent_hosts",
    "unknown_commits",
    "promotion_lag",
    "contact",
];

/// An entry as it is written; what is not known is collected, so that the error can say what is.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(default, rename = "for")]
    scope: Scope,
    failed_hosts: Option<u64>,
    drift_percent: Option<f64>,
    stalled_after: Option<String>,
    silent_hosts: Option<u64>,
    unknown_commits: Option<u64>,
    promotion_lag: Option<String>,
    contact: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl Entry {
    fn read(self) -> Result<(Scope, Thresholds), String> {
        if let Some(unknown) = self.rest.keys().next() {
            return Err(format!("there is no threshold '{unknown}'; there are {}", NAMES.join(", ")));
        }
        let default = Thresholds::default();
        let span = |name: &str, said: Option<String>, else_: u64| match said {
            None => Ok(else_),
            Some(said) => crate::model::span(&said).map(|s| s.as_secs()).map_err(|why| format!("{name}: {why}")),
        };
        let drift_percent = self.drift_percent.unwrap_or(default.drift_percent);
        if !(0.0..=100.0).contains(&drift_percent) {
            return Err(format!("drift_percent is a number from 0 to 100, not {drift_percent}"));
        }
        let thresholds = Thresholds {
            failed_hosts: self.failed_hosts.unwrap_or(default.failed_hosts),
            drift_percent,
            stalled_after: span("stalled_after", self.stalled_after, default.stalled_after)?,
            silent_hosts: self.silent_hosts.unwrap_or(default.silent_hosts),
            unknown_commits: self.unknown_commits.unwrap_or(default.unknown_commits),
            promotion_lag: span("promotion_lag", self.promotion_lag, default.promotion_lag)?,
            contact: self.contact.filter(|c| !c.trim().is_empty()),
        };
        Ok((self.scope, thresholds))
    }
}

impl Alerts {
    pub(super) fn read(entries: Vec<Entry>) -> Result<Alerts, String> {
        let read = |(entry, n): (Entry, usize)| entry.read().map_err(|why| format!("entry {n} of alerts: {why}"));
        entries.into_iter().zip(1..).map(read).collect::<Result<_, _>>().map(Alerts)
    }

    /// What applies to a target: workspace, application, workload, environment, deployment target.
    pub fn of(&self, target: &[&str; 5]) -> Thresholds {
        self.0.iter().find(|(scope, _)| scope.means(target)).map(|(_, t)| t.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policies;
    use super::*;

    fn alerts(text: &str) -> Result<Alerts, String> {
        Policies::parse(text).map(|p| p.alerts().clone())
    }

    #[test]
    fn the_first_entry_that_means_a_target_applies_whole() {
        let alerts = alerts(
            "
alerts:
  - {for: {environment: [prod], workload: [cart]}, failed_hosts: 2, contact: cart@shop.example}
  - {for: {environment: [prod]}, drift_percent: 7.5, stalled_after: 1h, promotion_lag: 7d}
  - {silent_hosts: 5, unknown_commits: 3}
",
        )
        .unwrap();
        let of = |environment, workload| alerts.of(&["team", "shop", workload, environment, "edge"]);
        let cart = of("prod", "cart");
        assert_eq!((cart.failed_hosts, cart.drift_percent, cart.stalled_after), (2, 0.0, 1800));
        assert_eq!(cart.contact.as_deref(), Some("cart@shop.example"));
        let web = of("prod", "web");
        assert_eq!((web.drift_percent, web.stalled_after, web.promotion_lag), (7.5, 3600, 604_800));
        let dev = of("dev", "web");
        assert_eq!((dev.silent_hosts, dev.unknown_commits, dev.promotion_lag), (5, 3, 86_400));
        assert_eq!(Alerts::default().of(&["", "", "", "", ""]), Thresholds::default());
    }

    #[test]
    fn an_entry_that_is_not_sound_is_refused_with_a_sentence() {
        let said = |text: &str| alerts(text).unwrap_err();
        let unknown = said("alerts: [{failed_hosts: 1}, {failed_host: 1}]");
        assert!(
            unknown.contains("entry 2 of alerts: there is no threshold 'failed_host'; there are for,"),
            "{unknown}"
        );
        assert!(said("alerts: [{drift_percent: 101}]").contains("from 0 to 100"));
        assert!(said("alerts: [{stalled_after: soon}]").contains("stalled_after"));
        assert!(said("alerts: [{for: {enviroment: [x]}}]").contains("enviroment"));
        assert!(said("alert: []").contains("alert"));
    }
}
