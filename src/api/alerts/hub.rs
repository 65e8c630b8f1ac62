//! The alert on the hub itself: one row per check, always.
//!
//! Invariant: it is asked of the running hub, not of a generation, for one that cannot be taken is one of the things it tells.

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::App;
use super::super::answers::FRESHNESS;
use super::super::params::Params;
use super::super::problem::{Problem, ProblemBody};
use super::super::rows;
use super::AlertRow;
use crate::ledger::Trouble;
use crate::model::Micros;
use crate::runtime::Freshness;

/// A generation that is older than this although something was said since is stale, in seconds.
const STALE: u64 = 60;

/// How the hub itself is: one row per check, 0 when it is fine.
#[utoipa::path(
    get, path = "/alerts/hub", tag = "views", operation_id = "list_alert_hub",
    description = "`check` is store (1: its volume is full or it failed, the hub is read-only), snapshot (seconds that answers are behind, when more than 60), \
export (exports that failed in a row), or source (1 per source whose watch is broken or which was not heard yet; its name is in `source`).",
    params(
        ("from" = Option<String>, Query, description = "Taken and without effect."),
        ("to" = Option<String>, Query, description = "Taken and without effect."),
    ),
    responses(
        (status = 200, description = "One row per check.", body = Vec<AlertRow>),
        (status = 400, description = "The question is malformed.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn alert(State(app): State<App>, OriginalUri(uri): OriginalUri) -> Result<Response, Problem> {
    Params::of(&uri)?.only(["from", "to"].into_iter().chain(FRESHNESS))?;
    let row = |check: &str, source: &str, action: &str, value: u64| json!({"check": check, "source": source, "contact": app.default_contact.as_ref(), "action": action, "value": value});
    let trouble = app.hub.trouble();
    let store = match trouble {
        Some(Trouble::NoRoom(_)) => "Make room on the hub's volume, or enlarge it: the hub goes on by itself.",
        _ => "Restart the hub once its disk is well; the cause is in its log.",
    };
    let mut checks: Vec<Value> = vec![
        row("store", "", store, u64::from(trouble.is_some())),
        row("snapshot", "", "Look at the hub's log and at its load: answers are old.", behind(&app).await),
        row("export", "", "Look at the hub's log: exports fail, the ledger is not affected.", app.hub.failed_exports()),
    ];
    let mut broken = app.hub.unheard();
    broken.extend(app.hub.read(|state| state.broken_watches().map(str::to_owned).collect::<Vec<_>>()));
    broken.sort_unstable();
    broken.dedup();
    let action = "See whether the source can be reached; what it says is not heard now.";
    if broken.is_empty() {
        checks.push(row("source", "", action, 0));
    }
    checks.extend(broken.iter().map(|source| row("source", source, action, 1)));
    let mut response = rows::written(&checks)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// By how many seconds answers are behind what was acknowledged, when that is too long.
async fn behind(app: &App) -> u64 {
    let Ok(published) = app.hub.generation(Freshness::Recent).await else { return STALE };
    let age = u64::try_from(Micros::now().since(published.generation.taken_at) / 1_000_000).unwrap_or(0);
    if age > STALE && published.generation.seq < app.hub.seq() { age } else { 0 }
}
