//! HTTP requests in numbers.
//!
//! Invariant: routes are templates out of the router's table, methods and classes of status are closed sets, so that no client makes
//! series by what it asks for; a request is counted once, when its answer begins. One whose client has gone before is not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Semaphore;

use super::catalogue;
use super::exposition::{Exposition, Labels, Value};

/// From an answer out of memory to one that was waited for.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];
/// The route of what no route serves.
const NONE: &str = "(none)";

/// Requests since the start.
#[derive(Debug)]
pub struct Traffic {
    requests: Mutex<BTreeMap<(String, &'static str, &'static str), u64>>,
    durations: Mutex<BTreeMap<String, Histogram>>,
    in_flight: AtomicUsize,
    /// Bytes of pushed bodies that were read.
    pub pushed: Counter,
    /// Places for pushes, and how many there are.
    streams: (Arc<Semaphore>, usize),
}

/// A request under way.
#[derive(Debug)]
pub struct Request<'a> {
    traffic: &'a Traffic,
    method: &'static str,
    began: Instant,
}

impl Traffic {
    /// None yet; `streams` are the places for pushes that are free, out of so many.
    pub fn new(streams: Arc<Semaphore>, most: usize) -> Traffic {
        Traffic {
            requests: Mutex::default(),
            durations: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            pushed: Counter::default(),
            streams: (streams, most),
        }
    }

    /// A request begins.
    pub fn begin(&self, method: &Method) -> Request<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Request { traffic: self, method: known(method), began: Instant::now() }
    }

    pub(super) fn expose(&self, out: &mut Exposition<'_>) -> fmt::Result {
        out.one(&catalogue::INGEST_BYTES, Value::Count(self.pushed.get()))?;
        let (free, most) = (self.streams.0.available_permits(), self.streams.1);
        out.one(&catalogue::INGEST_STREAMS, Value::Gauge(most.saturating_sub(free) as f64))?;
        out.one(&catalogue::INGEST_STREAMS_MOST, Value::Gauge(most as f64))?;
        let requests = self.requests.lock().clone();
        let series = requests.iter().map(|((route, method, class), n)| {
            let labels: Labels<'_> = vec![route.into(), (*method).into(), (*class).into()];
            (labels, Value::Count(*n))
        });
        out.family(&catalogue::REQUESTS, series)?;
        let durations = self.durations.lock().clone();
        let series = durations.iter().map(|(route, h)| (vec![Cow::from(route)], Value::Histogram(h)));
        out.family(&catalogue::REQUEST_DURATION, series)?;
        out.one(&catalogue::REQUESTS_OPEN, Value::Gauge(self.in_flight.load(Ordering::Relaxed) as f64))
    }
}

impl Request<'_> {
    /// Its answer begins; `route` is the template that matched.
    pub fn answered(self, route: Option<&str>, status: StatusCode) {
        let route = route.unwrap_or(NONE);
        let mut durations = self.traffic.durations.lock();
        let histogram = durations.entry(route.to_owned()).or_insert_with(|| Histogram::new(SECONDS));
        histogram.observe(self.began.elapsed().as_secs_f64());
        drop(durations);
        let key = (route.to_owned(), self.method, class(status));
        *self.traffic.requests.lock().entry(key).or_default() += 1;
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.traffic.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "OPTIONS" => "OPTIONS",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
