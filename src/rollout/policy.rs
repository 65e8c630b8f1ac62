//! When a rollout is complete, failed or stalled: the clauses of a policy, and what follows from the counts alone.
//!
//! Invariant: a clause that is not named has its default, and every verdict but `complete` names the clause it hangs on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::freeze::Freeze;
use super::{Buckets, Clause, Verdict};

/// What to do with silent hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilentPolicy {
    /// They count, and are no success.
    #[default]
    Block,
    /// They do not count.
    Ignore,
    /// They count as failures.
    Fail,
}

/// Which hosts count, by their labels: for each key any of the values; no key means all.
pub type Hosts = BTreeMap<String, BTreeSet<String>>;

/// The clauses.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Policy {
    /// Its name; `default` when nobody named one.
    pub name: String,
    /// Percentage of the reconcilers that must be in success.
    pub min_success_percent: f64,
    /// At least so many reconcilers must be in success.
    pub min_success: u64,
    /// More failures than this fail the rollout.
    pub max_failures: u64,
    /// At least so many hosts must be in success.
    pub min_hosts: u64,
    /// Silent hosts.
    pub silent: SilentPolicy,
    /// Microseconds without a change of any bucket until the rollout is stalled.
    #[serde(rename = "stall_after_seconds", serialize_with = "as_seconds")]
    #[schema(value_type = f64)]
    pub stall_after: i64,
    /// Microseconds for which a failure must stand until it is final.
    #[serde(rename = "failure_grace_seconds", serialize_with = "as_seconds")]
    #[schema(value_type = f64)]
    pub failure_grace: i64,
    /// Microseconds for which enough must have succeeded until the rollout is complete.
    #[serde(rename = "soak_seconds", serialize_with = "as_seconds")]
    #[schema(value_type = f64)]
    pub soak: i64,
    /// Only hosts with these labels count.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    pub hosts: Hosts,
    /// Times in which nothing is complete.
    pub freeze: Vec<Freeze>,
    /// Verifications that must have passed.
    pub verifications: Vec<String>,
    /// Environments in which the same source commit must be complete first.
    pub after: Vec<String>,
}

const SECOND: i64 = 1_000_000;

impl Default for Policy {
    fn default() -> Self {
        Policy {
            name: "default".to_owned(),
            min_success_percent: 100.0,
            min_success: 0,
            max_failures: 0,
            min_hosts: 1,
            silent: SilentPolicy::Block,
            stall_after: 30 * 60 * SECOND,
            failure_grace: 2 * 60 * SECOND,
            soak: 0,
            hosts: Hosts::new(),
            freeze: Vec::new(),
            verifications: Vec::new(),
            after: Vec::new(),
        }
    }
}

/// Clauses as they are named in a file or in a question; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clauses {
    /// See [`Policy`].
    pub min_success_percent: Option<f64>,
    /// See [`Policy`].
    pub min_success: Option<u64>,
    /// See [`Policy`].
    pub max_failures: Option<u64>,
    /// See [`Policy`].
    pub min_hosts: Option<u64>,
    /// See [`Policy`].
    pub silent: Option<SilentPolicy>,
    /// In microseconds.
    #[serde(deserialize_with = "span")]
    pub stall_after: Option<i64>,
    /// In microseconds.
    #[serde(deserialize_with = "span")]
    pub failure_grace: Option<i64>,
    /// In microseconds.
    #[serde(deserialize_with = "span")]
    pub soak: Option<i64>,
    /// See [`Policy`].
    pub hosts: Option<Hosts>,
    /// See [`Policy`].
    pub freeze: Option<Vec<Freeze>>,
    /// See [`Policy`].
    pub verifications: Option<Vec<String>>,
    /// See [`Policy`].
    pub after: Option<Vec<String>>,
}

impl Clauses {
    /// Replaces what is named. A count of successes alone stands for the percentage.
    pub fn apply(&self, p: &mut Policy) {
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(value) = from {
                *to = value.clone();
            }
        }
        if self.min_success.is_some() && self.min_success_percent.is_none() {
            p.min_success_percent = 0.0;
        }
        set(&mut p.min_success_percent, &self.min_success_percent);
        set(&mut p.min_success, &self.min_success);
        set(&mut p.max_failures, &self.max_failures);
        set(&mut p.min_hosts, &self.min_hosts);
        set(&mut p.silent, &self.silent);
        set(&mut p.stall_after, &self.stall_after);
        set(&mut p.failure_grace, &self.failure_grace);
        set(&mut p.soak, &self.soak);
        set(&mut p.hosts, &self.hosts);
        set(&mut p.freeze, &self.freeze);
        set(&mut p.verifications, &self.verifications);
        set(&mut p.after, &self.after);
    }

    /// What is out of bounds, if anything.
    pub fn fault(&self) -> Option<String> {
        if let Some(percent) = self.min_success_percent
            && !(0.0..=100.0).contains(&percent)
        {
            return Some(format!("min_success_percent is a number from 0 to 100, not {percent}"));
        }
        for (clause, names) in [("verifications", &self.verifications), ("after", &self.after)] {
            if let Some(none) = names.iter().flatten().find(|name| ["", "*"].contains(&name.trim())) {
                return Some(format!("{clause} lists names, and '{none}' is none"));
            }
        }
        self.freeze.iter().flatten().find_map(Freeze::fault)
    }
}

impl Policy {
    /// How many of `total` must succeed.
    pub(super) fn wanted(&self, b: &Buckets) -> u64 {
        let total = self.counted(b);
        let percent = (self.min_success_percent * total as f64 / 100.0 - 1e-9).ceil().max(0.0) as u64;
        percent.max(self.min_success).max(1)
    }

    fn counted(&self, b: &Buckets) -> u64 {
        if self.silent == SilentPolicy::Ignore { b.total() - b.silent } else { b.total() }
    }

    /// Reconcilers that count as failures.
    pub(super) fn failures(&self, b: &Buckets) -> u64 {
        if self.silent == SilentPolicy::Fail { b.failure + b.silent } else { b.failure }
    }

    /// The verdict on one target by its counts, first that applies, and the clause it hangs on. `success_hosts` may stop at
    /// `min_hosts`; `unchanged` is the time since a bucket changed.
    pub fn verdict(
        &self,
        b: &Buckets,
        success_hosts: u64,
        superseded: bool,
        unchanged: i64,
    ) -> (Verdict, Option<Clause>) {
        let Some(unmet) = self.unmet(b, success_hosts) else { return (Verdict::Complete, None) };
        let verdict = if superseded {
            Verdict::Superseded
        } else if self.failures(b) > self.max_failures {
            Verdict::Failed
        } else if b.total() > 0 && unchanged >= self.stall_after {
            let detail =
                format!("no bucket has changed for {} or longer; {}", in_words(self.stall_after), unmet.detail);
            return (Verdict::Stalled, Some(Clause { clause: "stall_after", detail }));
        } else {
            Verdict::InProgress
        };
        (verdict, Some(unmet))
    }

    /// The first clause about counts that is not met.
    fn unmet(&self, b: &Buckets, success_hosts: u64) -> Option<Clause> {
        let clause = |clause, detail| Some(Clause { clause, detail });
        let (total, failures) = (self.counted(b), self.failures(b));
        if total == 0 {
            return clause("min_hosts", "nobody subscribes".to_owned());
        }
        if failures > self.max_failures {
            return clause("max_failures", format!("{failures} failed, {} may", self.max_failures));
        }
        let percent = b.success as f64 * 100.0 / total as f64;
        if b.success as f64 * 100.0 < self.min_success_percent * total as f64 {
            let detail = format!("{percent:.1} % succeeded, {} % must", self.min_success_percent);
            return clause("min_success_percent", detail);
        }
        if b.success < self.min_success.max(1) {
            return clause("min_success", format!("{} succeeded, {} must", b.success, self.min_success.max(1)));
        }
        if success_hosts < self.min_hosts {
            return clause("min_hosts", format!("{success_hosts} hosts succeeded, {} must", self.min_hosts));
        }
        None
    }
}

/// A span of time, in words: `45 s`, `12 min`, `3.5 h`.
pub(super) fn in_words(micros: i64) -> String {
    let seconds = micros as f64 / 1e6;
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

fn as_seconds<S: serde::Serializer>(micros: &i64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(*micros as f64 / 1e6)
}

fn span<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let span = crate::model::span(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(crate::model::micros(span)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(success: u64, failure: u64, silent: u64) -> Buckets {
        Buckets { success, failure, silent, ..Buckets::default() }
    }

    #[test]
    fn every_verdict_but_complete_names_the_clause_it_hangs_on() {
        let policy = Policy::default();
        let of = |b: Buckets, superseded, unchanged| {
            let (verdict, clause) = policy.verdict(&b, b.success, superseded, unchanged);
            (verdict, clause.map(|c| c.clause))
        };
        assert_eq!(of(buckets(2, 0, 0), false, 0), (Verdict::Complete, None));
        assert_eq!(of(buckets(2, 1, 0), false, 0), (Verdict::Failed, Some("max_failures")));
        assert_eq!(of(buckets(2, 0, 1), false, 0), (Verdict::InProgress, Some("min_success_percent")));
        assert_eq!(of(buckets(2, 0, 1), false, i64::MAX), (Verdict::Stalled, Some("stall_after")));
        assert_eq!(of(buckets(2, 0, 1), true, i64::MAX), (Verdict::Superseded, Some("min_success_percent")));
        assert_eq!(of(buckets(0, 0, 0), false, i64::MAX), (Verdict::InProgress, Some("min_hosts")));
    }

    #[test]
    fn silent_hosts_block_are_ignored_or_fail() {
        let with = |silent| Policy { silent, ..Policy::default() }.verdict(&buckets(2, 0, 1), 2, false, 0).0;
        assert_eq!(with(SilentPolicy::Block), Verdict::InProgress);
        assert_eq!(with(SilentPolicy::Ignore), Verdict::Complete);
        assert_eq!(with(SilentPolicy::Fail), Verdict::Failed);
        let nobody = Policy { silent: SilentPolicy::Ignore, ..Policy::default() };
        assert_eq!(nobody.verdict(&buckets(0, 0, 3), 0, false, 0).0, Verdict::InProgress, "zero hosts is no success");
    }

    #[test]
    fn a_count_of_successes_stands_for_the_percentage_unless_both_are_named() {
        let mut policy = Policy::default();
        Clauses { min_success: Some(3), ..Clauses::default() }.apply(&mut policy);
        assert_eq!(policy.verdict(&buckets(3, 0, 7), 3, false, 0).0, Verdict::Complete);
        assert_eq!(policy.verdict(&buckets(2, 0, 7), 2, false, 0).1.map(|c| c.clause), Some("min_success"));
        Clauses { min_success: Some(3), min_success_percent: Some(50.0), ..Clauses::default() }.apply(&mut policy);
        assert_eq!(policy.verdict(&buckets(3, 0, 7), 3, false, 0).0, Verdict::InProgress);
    }

    #[test]
    fn so_many_must_succeed_as_the_verdict_asks_for() {
        for percent in [0.0, 0.1, 33.3, 50.0, 66.7, 99.9, 100.0] {
            for total in 1..40 {
                let policy = Policy { min_success_percent: percent, ..Policy::default() };
                let enough = |n| {
                    let b = Buckets { success: n, behind: total - n, ..Buckets::default() };
                    policy.verdict(&b, n, false, 0).0 == Verdict::Complete
                };
                let first = (0..=total).find(|n| enough(*n));
                let b = Buckets { behind: total, ..Buckets::default() };
                assert_eq!(first, Some(policy.wanted(&b)), "{percent} % of {total}");
            }
        }
    }
}
