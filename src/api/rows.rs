//! Lists and views: rows of a table or view as a bare JSON array of flat objects.
//!
//! Invariant: a list is paged by key, so that no row is given twice or left out while others come and go; a view is whole or an
//! error, never cut in silence. An empty answer is `[]` with 200.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::answers::FRESHNESS;
use super::cursor;
use super::few;
use super::openapi::{self, Shape};
use super::params::Params;
use super::problem::Problem;
use super::resource::{ANNOTATIONS, LISTS, PROMOTIONS, ROLLOUTS, Resource, VERIFICATIONS, VIEWS};
use super::select::Select;
use super::sql::json_rows;
use crate::normalize::NAME_LIMIT;
use crate::runtime::Published;

/// How many rows a page has when nobody says.
pub(super) const PAGE: usize = 500;
/// The most rows a page of a list can have.
pub(super) const PAGE_MAX: usize = 5_000;
/// How many rows a view answers before it asks for a filter.
pub(super) const VIEW: usize = 5_000;
/// The most rows of a view, for those who ask for so many.
pub(super) const VIEW_MAX: usize = 20_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new();
    for resource in &LISTS {
        router = router
            .routes(openapi::described(resource, Shape::Page, page_route(resource)))
            .routes(openapi::described(resource, Shape::One, one_route(resource)));
    }
    router = router.routes(openapi::described(&PROMOTIONS, Shape::Page, page_route(&PROMOTIONS)));
    for resource in VIEWS.iter().chain([&ROLLOUTS]) {
        router = router.routes(openapi::described(resource, Shape::Whole, whole_route(resource)));
    }
    router = router.routes(openapi::described(&ANNOTATIONS, Shape::Newest, newest_route(&ANNOTATIONS)));
    router.routes(openapi::described(&VERIFICATIONS, Shape::Page, page_route(&VERIFICATIONS)))
}

fn page_route(resource: &'static Resource) -> MethodRouter<App> {
    get(
        async move |State(app): State<App>,
                    Extension(published): Extension<Arc<Published>>,
                    OriginalUri(uri): OriginalUri| { page(&app, &published, resource, &uri).await },
    )
}

fn one_route(resource: &'static Resource) -> MethodRouter<App> {
    get(
        async move |State(app): State<App>,
                    Extension(published): Extension<Arc<Published>>,
                    Path(id): Path<String>,
                    OriginalUri(uri): OriginalUri| { one(&app, &published, resource, &id, &uri).await },
    )
}

fn whole_route(resource: &'static Resource) -> MethodRouter<App> {
    get(
        async move |State(app): State<App>,
                    Extension(published): Extension<Arc<Published>>,
                    OriginalUri(uri): OriginalUri| { whole(&app, &published, resource, &uri).await },
    )
}

fn newest_route(resource: &'static Resource) -> MethodRouter<App> {
    get(
        async move |State(app): State<App>,
                    Extension(published): Extension<Arc<Published>>,
                    OriginalUri(uri): OriginalUri| { newest(&app, &published, resource, &uri).await },
    )
}

/// The parameters a resource knows, beside its filters.
fn check(params: &Params, resource: &Resource, more: &[&'static str]) -> Result<(), Problem> {
    let filters = resource.filters().map(|f| f.name).chain(["from", "to"]);
    params.only(filters.chain(more.iter().copied()).chain(FRESHNESS))
}

/// One page of a list.
async fn page(app: &App, published: &Published, resource: &'static Resource, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    check(&params, resource, &["limit", "cursor"])?;
    let limit = params.limit(PAGE_MAX)?.unwrap_or(PAGE);
    let mut select = Select::new(resource, &params)?;
    let epoch = app.hub.epoch();
    if let Some(text) = params.one("cursor")? {
        select.after(resource, cursor::read(text, epoch, resource, params.pairs())?);
    }
    let body = rows(app, published, select, limit + 1).await?;
    let Some((cut, last_rows)) = beyond(&body, limit)? else { return Ok(json(body)) };
    let key = last_rows.last().map_or_else(|| Ok(Vec::new()), |row| key(resource, row))?;
    let cursor = cursor::write(epoch, resource, params.pairs(), key);
    let mut response = json(cut);
    leads_on(&mut response, &next(uri, &cursor));
    Ok(response)
}

/// One row by its id.
async fn one(
    app: &App,
    published: &Published,
    resource: &'static Resource,
    id: &str,
    uri: &Uri,
) -> Result<Response, Problem> {
    Params::of(uri)?.only(FRESHNESS)?;
    // No id is longer than a name, and a longer text would be refused as a value.
    let body = match id.len() {
        0..=NAME_LIMIT => rows(app, published, Select::by_id(resource, id), 1).await?,
        _ => Bytes::from_static(b"[]"),
    };
    let found: Vec<&RawValue> = serde_json::from_slice(&body).map_err(|e| Problem::internal(&e))?;
    match found.first() {
        Some(row) => Ok(json(Bytes::copy_from_slice(row.get().as_bytes()))),
        None => Err(Problem::not_found(
            format!("no {} '{id}'", resource.name),
            format!("GET /api/v1/{} lists them; the id is the column {}.", resource.name, resource.id.join(" or ")),
        )),
    }
}

/// A whole view.
async fn whole(app: &App, published: &Published, resource: &'static Resource, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    check(&params, resource, &["limit"])?;
    let asked = params.limit(VIEW_MAX)?;
    let limit = asked.unwrap_or(VIEW);
    let body = rows(app, published, Select::new(resource, &params)?, limit + 1).await?;
    let Some((cut, _)) = beyond(&body, limit)? else { return Ok(json(body)) };
    if asked.is_none() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "too-many-rows",
            format!("more than {VIEW} rows; filter by environment, workload or host, or set limit"),
            format!("With limit=N (at most {VIEW_MAX}) the first N rows are answered and X-Kalypso-Truncated says so."),
        ));
    }
    let mut response = json(cut);
    truncated(&mut response);
    Ok(response)
}

/// The newest rows of what comes newest first, the oldest of them first: what a graph wants.
async fn newest(app: &App, published: &Published, resource: &'static Resource, uri: &Uri) -> Result<Response, Problem> {
    let params = Params::of(uri)?;
    check(&params, resource, &["limit"])?;
    let limit = params.limit(PAGE_MAX)?.unwrap_or(PAGE);
    let body = rows(app, published, Select::new(resource, &params)?, limit + 1).await?;
    let mut all: Vec<&RawValue> = serde_json::from_slice(&body).map_err(|e| Problem::internal(&e))?;
    let more = all.len() > limit;
    all.truncate(limit);
    all.reverse();
    let mut response = json(array(&all));
    if more {
        truncated(&mut response);
    }
    Ok(response)
}

async fn rows(app: &App, published: &Published, select: Select, limit: usize) -> Result<Bytes, Problem> {
    if let Some(rows) = few::rows(app, published, &select, limit) {
        return rows;
    }
    json_rows(app, published, select.finish(limit)).await
}

/// Splits an answer of more than `limit` rows: its first `limit` rows as bytes, and the same rows for reading.
fn beyond(body: &Bytes, limit: usize) -> Result<Option<(Bytes, Vec<&RawValue>)>, Problem> {
    let mut all: Vec<&RawValue> = serde_json::from_slice(body).map_err(|e| Problem::internal(&e))?;
    if all.len() <= limit {
        return Ok(None);
    }
    all.truncate(limit);
    Ok(Some((array(&all), all)))
}

/// Rows as a JSON array.
fn array(rows: &[&RawValue]) -> Bytes {
    let rows: Vec<&str> = rows.iter().map(|row| row.get()).collect();
    Bytes::from(format!("[{}]", rows.join(",")))
}

/// Says that there were more rows.
pub(super) fn truncated(response: &mut Response) {
    response.headers_mut().insert("x-kalypso-truncated", HeaderValue::from_static("true"));
}

/// Says where the next page is.
pub(super) fn leads_on(response: &mut Response, next: &str) {
    if let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")) {
        response.headers_mut().insert(header::LINK, link);
    }
}

/// The key of a row.
fn key(resource: &Resource, row: &RawValue) -> Result<Vec<Value>, Problem> {
    let row: serde_json::Map<String, Value> = serde_json::from_str(row.get()).map_err(|e| Problem::internal(&e))?;
    Ok(resource.key().iter().map(|c| row.get(*c).cloned().unwrap_or(Value::Null)).collect())
}

/// The same address with another cursor.
fn next(uri: &Uri, cursor: &str) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty() && !p.starts_with("cursor="));
    let query: Vec<&str> = kept.collect();
    let cursor = format!("cursor={cursor}");
    let query = query.into_iter().chain([cursor.as_str()]).collect::<Vec<_>>().join("&");
    format!("{}?{query}", uri.path())
}

/// Rows that the hub made itself.
pub(super) fn written<T: Serialize>(rows: &[T]) -> Result<Response, Problem> {
    Ok(json(serde_json::to_vec(rows).map_err(|e| Problem::internal(&e))?.into()))
}

/// What is JSON already.
pub(super) fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_address_keeps_the_filters_and_changes_the_cursor() {
        let uri: Uri = "/api/v1/hosts?ring=a&cursor=00&limit=2".parse().unwrap();
        assert_eq!(next(&uri, "ff"), "/api/v1/hosts?ring=a&limit=2&cursor=ff");
    }

    #[test]
    fn an_answer_is_cut_only_where_there_are_more_rows() {
        let body = Bytes::from_static(br#"[{"a":1},{"a":2},{"a":3}]"#);
        assert!(beyond(&body, 3).unwrap().is_none());
        let (cut, rows) = beyond(&body, 2).unwrap().unwrap();
        assert_eq!(&cut[..], br#"[{"a":1},{"a":2}]"#);
        assert_eq!(rows.len(), 2);
    }
}
