//! For how long a request is let in: a question may wait for minutes, and a stream or a push go on for days, and none outlives its
//! token or what its account may do.
//!
//! Invariant: what is taken back or made narrower ends what it let in, within seconds of when a new request would be refused. An
//! API server that cannot be asked takes nothing back; what the file says counts all the same.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;

use super::App;
use super::access::permit;
use super::grant::Grant;
use super::problem::Problem;

/// How often it is looked at: as often as the file of tokens is.
const LOOK: Duration = Duration::from_secs(5);

/// Marks an answer that goes on for as long as the client listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoesOn;

/// What let a request in.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) app: App,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) presented: Option<String>,
    pub(super) grant: Grant,
}

impl Lease {
    /// Returns when the request would not be let in any more, or not as it was, and says why.
    pub(super) async fn over(self) -> Problem {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(problem) = self.grant.check(self.app.hub.tokens().as_deref()) {
                return problem;
            }
            match permit(&self.app, &self.method, &self.path, self.presented.as_deref()).await {
                Err(problem) if problem.status() != StatusCode::SERVICE_UNAVAILABLE => return problem,
                _ => {}
            }
        }
    }

    /// The answer, if it comes while the lease lasts; one that goes on ends with it.
    pub(super) async fn hold(self, answer: impl Future<Output = Response>) -> Result<Response, Problem> {
        let mut response = tokio::select! {
            biased;
            response = answer => response,
            problem = self.clone().over() => return Err(problem),
        };
        Ok(match response.extensions_mut().remove::<GoesOn>() {
            None => response,
            Some(GoesOn) => response.map(|body| {
                let over = Box::pin(self.over());
                Body::from_stream(body.into_data_stream().take_until(over))
            }),
        })
    }
}
