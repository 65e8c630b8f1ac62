//! The fleet in numbers: counts over the views, of one generation at a time.
//!
//! Invariant: the meaning is that of the views; a generation is counted at most once, and by one count at a time. A scrape waits
//! only a moment for a count of the generation that is current now: where that takes longer it shows the count before, and the next
//! scrape shows this one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;

use super::catalogue;
use super::exposition::{Exposition, Value};
use super::family::Family;
use crate::model::Micros;
use crate::query::arrow::array::AsArray;
use crate::query::arrow::datatypes::Float64Type;
use crate::query::{Catalog, QueryError, Statement};
use crate::runtime::{Freshness, Hub};

/// A scrape waits so long for a new count where there is another one to show ...
const MOMENT: Duration = Duration::from_millis(25);
/// ... that is not older than this,
const OLD: Duration = Duration::from_secs(120);
/// and so long where there is none.
const PATIENCE: Duration = Duration::from_secs(9);

/// One family of the fleet.
struct Question {
    family: &'static Family,
    /// Answers the labels and, last, a number.
    sql: &'static str,
    /// All values of the last label, where they are known: each has a series, be it 0.
    closed: &'static [&'static str],
}

static QUESTIONS: [Question; 6] = [
    Question {
        family: &catalogue::RECONCILERS,
        sql: "SELECT environment, workload, status, CAST(sum(reconcilers) AS DOUBLE) FROM environment_state
              WHERE status IS NOT NULL GROUP BY environment, workload, status",
        closed: &["success", "failure", "in_progress", "unknown"],
    },
    Question {
        family: &catalogue::DRIFT,
        sql: "SELECT coalesce(environment, ''), coalesce(workload, ''), drift, CAST(count(*) AS DOUBLE) FROM drift
              GROUP BY environment, workload, drift",
        closed: &[
            "missing", "unassigned", "silent", "failing", "unknown_commit", "ahead", "stalled", "progressing", "behind",
            "in_sync",
        ],
    },
    Question {
        family: &catalogue::HOSTS,
        sql: "SELECT liveness, CAST(count(*) AS DOUBLE) FROM hosts WHERE retired_at IS NULL GROUP BY liveness",
        closed: &["online", "late", "silent", "unknown"],
    },
    Question {
        family: &catalogue::TARGETS,
        sql: "SELECT environment, workload, CAST(count(*) AS DOUBLE) FROM deployment_targets WHERE retired_at IS NULL
              GROUP BY environment, workload",
        closed: &[],
    },
    Question {
        family: &catalogue::ROLLOUTS,
        // An earlier assignment may be complete as well: only what is wanted now counts.
        sql: "SELECT s.environment, s.workload, s.verdict, CAST(count(*) AS DOUBLE) FROM rollout_states s
              JOIN assignments a ON a.assignment_no = s.assignment_no
              WHERE a.ended_at IS NULL GROUP BY s.environment, s.workload, s.verdict",
        closed: &["complete", "failed", "stalled", "in_progress"],
    },
    Question {
        family: &catalogue::PROMOTION_WAITING,
        // What came to another environment after the newest that was ever wanted here, and was completed there. What was wanted
        // here is not among it: it would be the newest.
        sql: "WITH living AS (SELECT DISTINCT workspace, application, workload, environment FROM deployment_targets
                              WHERE retired_at IS NULL),
              newest AS (SELECT p.workspace, p.application, p.workload, p.environment, max(p.assigned_at) AS assigned_at
                         FROM promotions p
                         JOIN living l ON l.workspace = p.workspace AND l.application = p.application
                                      AND l.workload = p.workload AND l.environment = p.environment
                         GROUP BY p.workspace, p.application, p.workload, p.environment)
              SELECT h.environment, h.workload, CAST(date_part('epoch', min(p.complete_at)) AS DOUBLE)
              FROM newest h
              JOIN promotions p ON p.workspace = h.workspace AND p.application = h.application AND p.workload = h.workload
              WHERE p.environment <> h.environment AND p.complete_at IS NOT NULL AND p.assigned_at > h.assigned_at
              GROUP BY h.environment, h.workload",
        closed: &[],
    },
];

/// The series of one family, by their labels.
type Series = BTreeMap<Vec<String>, f64>;

/// A counted generation.
#[derive(Debug)]
pub(super) struct Counted {
    generation: String,
    taken_at: Micros,
    counted: Instant,
    families: Vec<(&'static Family, Series)>,
}

/// Counts of the fleet: the newest, and whether another one is under way.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    newest: RwLock<Option<Arc<Counted>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    failures: Counter,
}

impl Fleet {
    /// A count that is fresh enough; none where there was never one.
    pub(super) async fn counted(self: &Arc<Self>, hub: &Arc<Hub>) -> Option<Arc<Counted>> {
        let known = self.newest.read().clone();
        let patience = if known.is_some_and(|c| c.counted.elapsed() < OLD) { MOMENT } else { PATIENCE };
        let (fleet, hub) = (Arc::clone(self), Arc::clone(hub));
        // A task of its own: it goes on when nobody waits for it any more.
        let counting = tokio::spawn(async move { fleet.count(&hub).await });
        let _ = tokio::time::timeout(patience, counting).await;
        self.newest.read().clone()
    }

    async fn count(&self, hub: &Arc<Hub>) {
        let asked = Instant::now();
        let _one = self.one_at_a_time.lock().await;
        if self.newest.read().as_ref().is_some_and(|c| c.counted >= asked) {
            return;
        }
        let Ok(published) = hub.generation(Freshness::Recent).await else { return };
        let generation = &published.generation;
        let counted = Instant::now();
        let known = self.newest.read().clone().filter(|c| c.generation == generation.id);
        let families = match known {
            Some(known) => known.families.clone(),
            None => match count(hub, &published.catalog).await {
                Ok(families) => families,
                Err(error) => {
                    self.failures.inc();
                    tracing::warn!(title = error.title, detail = error.detail, "the fleet could not be counted");
                    return;
                }
            },
        };
        let (generation, taken_at) = (generation.id.clone(), generation.taken_at);
        *self.newest.write() = Some(Arc::new(Counted { generation, taken_at, counted, families }));
    }

    pub(super) fn expose(&self, out: &mut Exposition<'_>) -> fmt::Result {
        out.one(&catalogue::FLEET_FAILURES, Value::Count(self.failures.get()))
    }
}

impl Counted {
    pub(super) fn expose(&self, out: &mut Exposition<'_>) -> fmt::Result {
        for (family, series) in &self.families {
            let labels = |labels: &'_ [String]| labels.iter().map(|l| Cow::Owned(l.clone())).collect();
            out.family(family, series.iter().map(|(l, n)| (labels(l), Value::Gauge(*n))))?;
        }
        out.one(&catalogue::FLEET_COUNTED, Value::Gauge(self.taken_at.0 as f64 / 1e6))
    }
}

async fn count(hub: &Hub, catalog: &Arc<Catalog>) -> Result<Vec<(&'static Family, Series)>, QueryError> {
    let mut families = Vec::with_capacity(QUESTIONS.len());
    for question in &QUESTIONS {
        let mut series = Series::new();
        let rows = hub.rows().rows(Arc::clone(catalog), Statement::new(question.sql)).await?;
        let labels = question.family.labels.len();
        for batch in &rows.batches {
            let texts: Vec<_> = (0..labels).map(|i| batch.column(i).as_string::<i32>()).collect();
            let numbers = batch.column(labels).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let key = texts.iter().map(|t| t.value(row).to_owned()).collect();
                *series.entry(key).or_default() += numbers.value(row);
            }
        }
        fill(&mut series, labels, question.closed);
        families.push((question.family, series));
    }
    Ok(families)
}

/// Gives each of the closed values a series beside the others: what is 0 must not look like what is not known.
fn fill(series: &mut Series, labels: usize, closed: &[&str]) {
    let Some(last) = labels.checked_sub(1).filter(|_| !closed.is_empty()) else { return };
    let mut before: Vec<Vec<String>> = series.keys().map(|key| key[..last].to_vec()).collect();
    if last == 0 {
        before.push(Vec::new());
    }
    before.dedup();
    for key in before {
        for value in closed {
            let mut key = key.clone();
            key.push((*value).to_owned());
            series.entry(key).or_default();
        }
    }
}
