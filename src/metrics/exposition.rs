//! Writing families: names, help, labels and values, in whichever format the encoder speaks.
//!
//! Invariant: a family has at most [`MOST`] series, the first by its labels, so that a fleet of any shape costs Prometheus a bounded
//! amount; how many were left out is a metric itself. Escaping is the encoder's.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::histogram::Histogram;

use super::catalogue;
use super::family::Family;

/// Series of one family.
pub(super) const MOST: usize = 10_000;

/// One number of a family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Gauge(f64),
    Count(u64),
    /// A counter of what is no whole number.
    Amount(f64),
    Histogram(&'a Histogram),
    Info,
}

/// The values of a family's labels, in their order.
pub(super) type Labels<'a> = Vec<Cow<'a, str>>;

/// An answer in the making.
pub(super) struct Exposition<'a> {
    encoder: DescriptorEncoder<'a>,
    most: usize,
    left_out: Vec<(&'static Family, usize)>,
}

impl<'a> Exposition<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Exposition<'a> {
        Exposition { encoder, most: MOST, left_out: Vec::new() }
    }

    /// Fewer series, for tests.
    #[cfg(test)]
    pub(super) fn at_most(encoder: DescriptorEncoder<'a>, most: usize) -> Exposition<'a> {
        Exposition { most, ..Exposition::new(encoder) }
    }

    /// A family of one number.
    pub(super) fn one(&mut self, family: &'static Family, value: Value<'_>) -> fmt::Result {
        self.family(family, [(Labels::new(), value)])
    }

    /// A family of a gauge that may have nothing to say.
    pub(super) fn known(&mut self, family: &'static Family, value: Option<f64>) -> fmt::Result {
        self.family(family, value.map(|v| (Labels::new(), Value::Gauge(v))))
    }

    /// A family. The series come in the order of their labels.
    pub(super) fn family<'v, 'l>(
        &mut self,
        family: &'static Family,
        series: impl IntoIterator<Item = (Labels<'l>, Value<'v>)>,
    ) -> fmt::Result {
        let mut encoder = self.encoder.encode_descriptor(
            family.name,
            family.help,
            family.unit.as_ref(),
            family.kind.metric_type(),
        )?;
        let mut left_out = 0;
        for (nth, (labels, value)) in series.into_iter().enumerate() {
            if nth >= self.most {
                left_out += 1;
                continue;
            }
            let labels: Vec<(&str, Cow<'_, str>)> = family.labels.iter().copied().zip(labels).collect();
            match value {
                // The words of an info are all of its labels.
                Value::Info => encoder.encode_info(&labels)?,
                value => put(encoder.encode_family(&labels)?, value)?,
            }
        }
        if left_out > 0 {
            self.left_out.push((family, left_out));
        }
        Ok(())
    }

    /// Says what was left out.
    pub(super) fn finish(mut self) -> fmt::Result {
        let left_out = std::mem::take(&mut self.left_out);
        let series = left_out.iter().map(|(f, n)| (vec![f.full_name().into()], Value::Gauge(*n as f64)));
        self.family(&catalogue::SERIES_LEFT_OUT, series)
    }
}

fn put(mut encoder: MetricEncoder<'_>, value: Value<'_>) -> fmt::Result {
    match value {
        Value::Gauge(v) => encoder.encode_gauge(&v),
        Value::Count(n) => encoder.encode_counter::<NoLabelSet, u64, f64>(&n, None),
        Value::Amount(v) => encoder.encode_counter::<NoLabelSet, f64, f64>(&v, None),
        Value::Histogram(histogram) => histogram.encode(encoder),
        Value::Info => Ok(()),
    }
}
