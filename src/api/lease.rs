//! For how long a request is let in: a question may wait for minutes and a stream go on for days, and neither outlives its token.
//!
//! Invariant: what is taken back or made narrower ends what it let in, within seconds of when a new request would be refused. An
//! API server that cannot be asked takes nothing back.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;

use super::App;
use super::access::{Viewer, permit};
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
    pub(super) viewer: Viewer,
}

impl Lease {
    /// Returns when the request would not be let in any more, and says why.
    async fn over(self) -> Problem {
        loop {
            tokio::time::sleep(LOOK).await;
            match permit(&self.app, &self.method, &self.path, self.presented.as_deref()).await {
                Ok((viewer, _)) if viewer == self.viewer => {}
                Ok(_) => {
                    return Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "unauthorized",
                        "the token sees another part of the fleet by now",
                        "Ask again: the answer is about what it sees now.",
                    );
                }
                Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                Err(problem) => return problem,
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
