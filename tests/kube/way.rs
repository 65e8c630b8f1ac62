//! The way of a hub to the API server, in the hands of a test: it can be cut, and pages of lists can be kept waiting.
//!
//! It is the witness of what expired: a `410 Gone` goes over it, as the answer to a request or as the last event of a watch.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::Cluster;

/// A way that is open.
pub struct Way(Arc<Shared>);

struct Shared {
    address: String,
    server: String,
    http: reqwest::Client,
    is_open: watch::Sender<bool>,
    pages_go: watch::Sender<bool>,
    held: Mutex<Vec<String>>,
    expired: Mutex<Vec<String>>,
}

impl Way {
    /// To that cluster.
    pub async fn to(cluster: &Cluster) -> Way {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let authority = reqwest::Certificate::from_pem(&fs::read(cluster.home().join("ca.crt")).unwrap()).unwrap();
        let shared = Arc::new(Shared {
            address: format!("http://{}", listener.local_addr().unwrap()),
            server: cluster.address(),
            http: reqwest::Client::builder().tls_certs_only([authority]).build().unwrap(),
            is_open: watch::Sender::new(true),
            pages_go: watch::Sender::new(true),
            held: Mutex::default(),
            expired: Mutex::default(),
        });
        let app = axum::Router::new().fallback(carry).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Way(shared)
    }

    /// The kubeconfig of an account that goes this way.
    pub fn kubeconfig(&self, account: &std::path::Path) -> PathBuf {
        let mut config: Value = serde_json::from_str(&fs::read_to_string(account).unwrap()).unwrap();
        config["clusters"][0]["cluster"] = json!({"server": self.0.address});
        let file = account.with_extension("way");
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// Ends every watch, and lets nothing through until it is mended.
    pub fn cut(&self) {
        self.0.is_open.send_replace(false);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.0.is_open.send_replace(true);
    }

    /// Whoever asks for the next page of a list waits for it.
    pub fn hold_pages(&self) {
        self.0.pages_go.send_replace(false);
    }

    /// Pages that were waited for are asked for now.
    pub fn release_pages(&self) {
        self.0.pages_go.send_replace(true);
    }

    /// The lists of which a page was kept waiting: `list reconcilers`.
    pub fn held(&self) -> Vec<String> {
        self.0.held.lock().clone()
    }

    /// What the API server said is expired: `list reconcilers`, `watch clusters`.
    pub fn expired(&self) -> Vec<String> {
        self.0.expired.lock().clone()
    }
}

async fn carry(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let does = if query.contains("watch=") { "watch" } else { "list" };
    let what = format!("{does} {}", parts.uri.path().rsplit('/').next().unwrap_or_default());
    let (mut pages_go, mut is_open) = (shared.pages_go.subscribe(), shared.is_open.subscribe());
    if query.contains("continue=") && !*pages_go.borrow() {
        shared.held.lock().push(what.clone());
        pages_go.wait_for(|go| *go).await.unwrap();
    }
    if !*is_open.borrow() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let url = format!("{}{}", shared.server, parts.uri);
    parts.headers.remove(header::HOST);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let sent = shared.http.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    // Both an answer and an event that say so are small enough to come in one piece.
    let ended = br#""code":410"#;
    let noted = answer.bytes_stream().inspect(move |piece| {
        if piece.as_ref().is_ok_and(|piece| piece.windows(ended.len()).any(|window| window == ended)) {
            shared.expired.lock().push(what.clone());
        }
    });
    let cut = async move {
        // The way outlives what goes over it.
        let _ = is_open.wait_for(|open| !open).await;
    };
    *response.body_mut() = Body::from_stream(noted.take_until(Box::pin(cut)));
    response
}
