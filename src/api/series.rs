//! Series over time: how many of something there were at evenly spaced instants.
//!
//! Invariant: every series has a row at every instant, sorted by time, and no null, so that a graph has no gap and Grafana's long
//! format turns into a wide one. The cost is one pass over what is counted, whatever the number of points: what begins and ends
//! between two instants is summed first, and then summed up.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{OriginalUri, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::answers::FRESHNESS;
use super::openapi;
use super::params::Params;
use super::problem::Problem;
use super::resource::{Resource, Span, view};
use super::rows;
use super::select::Select;
use super::sql::json_rows;
use crate::model::Micros;
use crate::runtime::Published;
use crate::snapshot::schema::{self, TableSchema};

/// How many steps the range is cut into when nobody says.
const POINTS: u64 = 60;
/// The most steps.
const POINTS_MAX: u64 = 240;
/// The most series of an answer: those that count most.
const SERIES_MAX: usize = 80;
/// The range when nobody says: a day.
const RANGE: i64 = 24 * 60 * 60 * 1_000_000;

/// Series that are answered.
struct Series {
    name: &'static str,
    /// The time, then the labels of a series, then the count.
    rows: &'static TableSchema,
    /// What is counted.
    counted: Resource,
    /// From when on, and until when, a row of it counts.
    span: Span,
}

static SERIES: [Series; 4] = [
    Series {
        name: "rollout-progress",
        rows: &schema::ROLLOUT_PROGRESS,
        counted: view("rollout-progress", "rollout_successes", &[]),
        span: Span::During("started_at", "ended_at"),
    },
    Series {
        name: "versions-over-time",
        rows: &schema::VERSIONS_OVER_TIME,
        counted: view("versions-over-time", "version_spans", &[]),
        span: Span::During("started_at", "ended_at"),
    },
    Series {
        name: "hosts-over-time",
        rows: &schema::HOSTS_OVER_TIME,
        counted: view("hosts-over-time", "liveness_spans", &[]),
        span: Span::During("started_at", "ended_at"),
    },
    Series {
        name: "transitions-over-time",
        rows: &schema::TRANSITIONS_OVER_TIME,
        counted: view("transitions-over-time", "transitions", &[]),
        span: Span::At("reported_at"),
    },
];

pub(super) fn routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new();
    for series in &SERIES {
        let route = get(
            async move |State(app): State<App>,
                        Extension(published): Extension<Arc<Published>>,
                        OriginalUri(uri): OriginalUri| { answer(&app, &published, series, &uri).await },
        );
        let more = [
            ("from", "RFC 3339 or epoch milliseconds; a day before `to` when absent.".to_owned()),
            ("to", "RFC 3339 or epoch milliseconds; now when absent, and never later.".to_owned()),
            ("points", format!("Steps that the range is cut into, 2 to {POINTS_MAX}; {POINTS} when absent.")),
        ];
        let filters = series.counted.filters().map(|f| f.name);
        router = router.routes(openapi::made(&format!("/views/{}", series.name), series.rows, filters, &more, route));
    }
    router
}

async fn answer(app: &App, published: &Published, series: &'static Series, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    let filters = series.counted.filters().map(|f| f.name);
    params.only(filters.chain(["from", "to", "points"]).chain(FRESHNESS))?;
    let points = params.number("points", 2, POINTS_MAX)?.unwrap_or(POINTS) as i64;
    let (from, to) = params.range()?;
    let now = published.generation.taken_at;
    let to = to.map_or(now, |to| to.min(now));
    let from = from.unwrap_or(to.plus(-RANGE));
    if from >= to {
        return Ok(rows::json("[]".into()));
    }
    let body = json_rows(app, published, series.statement(&params, (from, to), points)?).await?;
    let all: Vec<&RawValue> = serde_json::from_slice(&body).map_err(|e| Problem::internal(&e))?;
    let most = all.len() >= SERIES_MAX * usize::try_from(points).unwrap_or(usize::MAX);
    let mut response = rows::json(body);
    if most {
        rows::truncated(&mut response);
    }
    Ok(response)
}

impl Series {
    /// The statement for `points` steps of the range.
    fn statement(
        &'static self,
        params: &Params,
        (from, to): (Micros, Micros),
        points: i64,
    ) -> Result<(String, Vec<Value>), Problem> {
        let [time, labels @ .., count] = self.rows.columns else {
            return Err(Problem::internal(&"a series without columns"));
        };
        let columns = |table: &str| labels.iter().map(|c| format!("{table}{}", c.name)).collect::<Vec<_>>().join(", ");
        let (plain, shown) = (columns(""), columns("s."));
        let same = labels.iter().map(|c| format!("s.{0} = c.{0}", c.name)).collect::<Vec<_>>().join(" AND ");
        let (start, end, first) = match self.span {
            Span::During(start, end) | Span::Mark(start, end) => (start, end, 0),
            Span::At(at) => (at, "NULL", 1),
            Span::Now => return Err(Problem::internal(&"a series without a time")),
        };
        // Instants hold what came since the instant before, spans all that began and did not end.
        let reach = if first == 0 { "" } else { "ROWS BETWEEN CURRENT ROW AND CURRENT ROW" };
        let grid = (first..=points).map(|step| format!("({step})")).collect::<Vec<_>>().join(", ");

        let width = ((to.since(from)) / points).max(1);
        let mut select = Select::new(&self.counted, params)?;
        select.within(self.span, Some(from), Some(to));
        let (origin, step) = (select.bind(from.0.into()), select.bind(width.into()));
        let (condition, bound) = select.condition();
        let at = |time: &str| {
            format!("CAST(ceil(greatest(date_part('epoch', {time}) * 1000000.0 - {origin}, 0) / {step}) AS BIGINT)")
        };
        let sql = format!(
            "WITH spans AS (SELECT {plain}, {start} AS started_at, {end} AS ended_at FROM {table}{condition}),
             changes AS (
               SELECT {plain}, {began} AS step, 1 AS change FROM spans WHERE started_at IS NOT NULL
               UNION ALL
               SELECT {plain}, {ended}, -1 FROM spans WHERE started_at IS NOT NULL AND ended_at IS NOT NULL
             ),
             sums AS (SELECT {plain}, step, sum(change) AS change FROM changes GROUP BY {plain}, step),
             series AS (SELECT {plain} FROM spans GROUP BY {plain} ORDER BY count(*) DESC, {plain} LIMIT {SERIES_MAX}),
             grid AS (SELECT column1 AS step FROM (VALUES {grid}))
             SELECT CAST(to_timestamp_micros({origin} + g.step * {step}) AS TIMESTAMP WITH TIME ZONE) AS {time}, {shown},
                    CAST(sum(coalesce(c.change, 0)) OVER (PARTITION BY {shown} ORDER BY g.step {reach}) AS BIGINT) AS {count}
             FROM series s CROSS JOIN grid g LEFT JOIN sums c ON c.step = g.step AND {same}
             ORDER BY {time}, {shown}",
            table = self.counted.table,
            began = at("started_at"),
            ended = at("ended_at"),
            time = time.name,
            count = count.name,
        );
        Ok((sql, bound))
    }
}
