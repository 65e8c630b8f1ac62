//! What a family of metrics is called, what it counts, and what tells its series apart.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A number that only grows, from the start of the process.
    Counter,
    /// How many observations fell below which bounds.
    Histogram,
    /// Words in labels; the value is 1.
    Info,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }

    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        }
    }
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// Its name without the unit and without `_total` or `_info`.
    pub(super) name: &'static str,
    /// The unit, which ends the name.
    pub(super) unit: Option<Unit>,
    /// What its numbers are.
    pub kind: Kind,
    /// What tells its series apart.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence or two.
    pub help: &'static str,
}

impl Family {
    /// The name as queries spell it.
    pub fn full_name(&self) -> String {
        let unit = self.unit.as_ref().map_or(String::new(), |unit| format!("_{}", unit.as_str()));
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }
}

pub(super) const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, unit: None, kind: Kind::Gauge, labels, help }
}

pub(super) const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, unit: None, kind: Kind::Counter, labels, help }
}

pub(super) const fn seconds(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, unit: Some(Unit::Seconds), kind, labels, help }
}

pub(super) const fn bytes(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, unit: Some(Unit::Bytes), kind, labels, help }
}

pub(super) const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, unit: None, kind: Kind::Info, labels, help }
}
