//! The hub in numbers, for Prometheus: families of metrics, read when they are asked for.
//!
//! ```text
//!  hub (ledger, generations, engines, sources, gate)  ─┐
//!  fleet: counts of the current generation            ─┼─► Scrape ─► OpenMetrics 1.0, or the classic text
//!  traffic: HTTP requests                             ─┤
//!  process: /proc                                     ─┘
//! ```
//!
//! Invariants: the number of series is bounded whatever the fleet and its clients are called, never per host, and what was left out
//! is counted; a label comes from a closed set or is a name that the hub already limits; nothing here waits for a writer. Every family
//! is declared once, in [`catalogue`], with its help; `schema/metrics.md` is written from there.

pub mod catalogue;
mod exposition;
mod family;
mod fleet;
mod hub;
mod process;
mod traffic;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::runtime::{Hub, Vitals};
use exposition::Exposition;
use fleet::{Counted, Fleet};

pub use traffic::{Request, Traffic};

/// The media type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text";

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
}

impl Format {
    /// The one that a header `Accept` prefers; text where it names neither.
    pub fn accepted(accept: &str) -> Format {
        let (mut open, mut text) = (0.0f32, 0.0f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
            let value = |wanted: &str| parameters.iter().find(|(k, _)| k.eq_ignore_ascii_case(wanted)).map(|(_, v)| *v);
            let weight: f32 = value("q").map_or(Some(1.0), |q| q.parse().ok()).unwrap_or(0.0);
            match name.as_str() {
                OPENMETRICS if value("version").is_none_or(|v| v.trim_matches('"') == "1.0.0") => {
                    open = weight.max(open)
                }
                "text/plain" | "text/*" => text = weight.max(text),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
    }

    /// The `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// What is kept between scrapes.
#[derive(Debug)]
pub struct Metrics {
    /// HTTP requests, counted by the API.
    pub traffic: Traffic,
    fleet: Arc<Fleet>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(traffic: Traffic) -> Metrics {
        Metrics { traffic, fleet: Arc::default() }
    }

    /// The metrics of a hub as text.
    pub async fn text(self: &Arc<Self>, hub: &Arc<Hub>, format: Format) -> Result<String, fmt::Error> {
        let fleet = self.fleet.counted(hub).await;
        let scrape = Scrape { metrics: Arc::clone(self), vitals: hub.vitals(), hub: Arc::clone(hub), fleet };
        scrape.text(format)
    }
}

/// Everything one answer is made of.
struct Scrape {
    metrics: Arc<Metrics>,
    hub: Arc<Hub>,
    vitals: Vitals,
    fleet: Option<Arc<Counted>>,
}

impl Scrape {
    fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut text, &registry)?,
            Format::Text => prometheus_text::encode(&mut text, &registry)?,
        }
        Ok(text)
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("vitals", &self.vitals).finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Exposition::new(encoder);
        self.fleet.iter().try_for_each(|counted| counted.expose(&mut out))?;
        self.metrics.fleet.expose(&mut out)?;
        hub::expose(&self.hub, &self.vitals, &mut out)?;
        self.metrics.traffic.expose(&mut out)?;
        process::expose(&mut out)?;
        out.finish()
    }
}

#[cfg(test)]
mod tests;
