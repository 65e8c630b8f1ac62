//! Traces: what the hub did for a request or a push, sent to a collector by OTLP. Off unless a collector is named.
//!
//! Invariant: a trace holds what the access log holds, and no more: no parameters, no bodies, no tokens. A collector that does not
//! answer costs spans, never a request: they wait in a bounded queue, and a thread of its own sends them.

use anyhow::Context;
use clap::Args;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// Options of traces.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Send traces to this OTLP collector (HTTP), as in http://collector:4318; OTEL_EXPORTER_OTLP_HEADERS holds what it asks for.
    #[arg(long, env = "KOH_TRACE_ENDPOINT", value_name = "URL", global = true)]
    trace_endpoint: Option<String>,
    /// Trace this part of what no caller traces already, from 0 to 1.
    #[arg(long, env = "KOH_TRACE_SAMPLE", value_name = "PART", default_value_t = 1.0, value_parser = part, global = true)]
    trace_sample: f64,
}

fn part(text: &str) -> Result<f64, String> {
    let part: f64 = text.parse().map_err(|_| "a number from 0 to 1, as in 0.1".to_owned())?;
    if (0.0..=1.0).contains(&part) { Ok(part) } else { Err("a number from 0 to 1, as in 0.1".to_owned()) }
}

/// Sends what is left when it is dropped.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::debug!(%error, "the last spans could not be sent");
        }
    }
}

impl TraceArgs {
    /// The layer that sends spans, and what keeps it going; `None` where no collector is named.
    pub(super) fn layer<S>(&self) -> anyhow::Result<Option<(impl Layer<S> + use<S>, Traces)>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(endpoint) = &self.trace_endpoint else { return Ok(None) };
        let mut url = reqwest::Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .with_context(|| "--trace-endpoint is not an address; write it as http://collector:4318")?;
        let traces = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&traces);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .build()
            .context("traces cannot be sent")?;
        let resource = Resource::builder().with_service_name("koh");
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(self.trace_sample))))
            .with_resource(resource.with_attribute(version).build())
            .build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        // Spans that are meant for it, and no log lines.
        let spans = filter_fn(|metadata| metadata.is_span() && metadata.target() == crate::TRACES);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("koh"))
            .with_location(false)
            .with_threads(false)
            .with_filter(spans);
        Ok(Some((layer, Traces(provider))))
    }
}
