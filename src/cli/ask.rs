//! Asking a hub over HTTP, for the commands that do.
//!
//! Invariant: what the hub says about a refused request is shown, not only its status code.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::foreign;

/// Which hub.
#[derive(Debug, Args)]
pub(super) struct HubArgs {
    /// Address of the hub.
    #[arg(long, env = "KOH_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(super) url: String,
    /// Give up on one request after this long.
    #[arg(long, env = "KOH_REQUEST_TIMEOUT", default_value = "60s", value_parser = crate::model::span, value_name = "SPAN")]
    pub(super) request_timeout: Duration,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// Who asks, and whom he trusts.
#[derive(Debug, Args)]
pub(super) struct IdentityArgs {
    /// File that holds the token to present; else the variable KOH_TOKEN is the token itself.
    #[arg(long, env = "KOH_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File of certificates (PEM) to trust beside those of the system, for a hub whose certificate is private.
    #[arg(long, env = "KOH_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The token itself. There is no option for it: command lines are for everybody to see.
const TOKEN: &str = "KOH_TOKEN";

impl HubArgs {
    /// The address of a path of this hub, with query parameters.
    pub(super) fn at(&self, path: &str, query: &[(impl AsRef<str>, String)]) -> anyhow::Result<reqwest::Url> {
        let text = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut url =
            reqwest::Url::parse(&text).context("--url is not an address; write it as http://127.0.0.1:8080")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// The address as it may stand in a log: without a password.
    pub(super) fn shown(&self) -> String {
        let Ok(mut url) = reqwest::Url::parse(&self.url) else { return "this address".to_owned() };
        // An address that can hold no user and no password is one without them.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.as_str().trim_end_matches('/').to_owned()
    }

    pub(super) fn client(&self) -> anyhow::Result<reqwest::Client> {
        self.builder()?.timeout(self.request_timeout).build().context("cannot make an HTTP client")
    }

    /// A client that presents the token, if there is one.
    pub(super) fn builder(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        self.identity.builder()
    }

    /// Sends a request and insists on success.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let response = request.send().await.map_err(explained);
        let response = response.with_context(|| format!("cannot reach the hub at {}", self.shown()))?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

/// An error, with what to do where a certificate is the cause: what TLS itself says of that names neither.
pub(super) fn explained(error: reqwest::Error) -> anyhow::Error {
    let error = anyhow!(error.without_url());
    let said = format!("{error:#}");
    let what = if said.contains("UnknownIssuer") {
        "nobody that is trusted here signed the certificate of the hub: name the authority's certificate with --ca-file"
    } else if said.contains("CaUsedAsEndEntity") {
        "the hub shows the certificate of an authority as its own: give it one for its name, signed by that authority, and name the \
         authority's with --ca-file"
    } else if said.contains("NotValidForName") {
        "the certificate of the hub is for other names than the one it is asked under"
    } else {
        return error;
    };
    error.context(what)
}

impl IdentityArgs {
    /// A client that presents the token, if there is one.
    pub(super) fn builder(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        let mut builder = reqwest::Client::builder();
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .with_context(|| format!("{}: there is no certificate (PEM) in it", path.display()))?;
            builder = builder.tls_certs_merge(trusted);
        }
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => std::env::var(TOKEN).unwrap_or_default(),
        };
        if token.trim().is_empty() {
            return Ok(builder);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| anyhow!("the token holds characters that no token has; is the file the right one?"))?;
        value.set_sensitive(true);
        Ok(builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)])))
    }
}

/// What the hub says about a request that it refused.
pub(super) async fn refusal(response: reqwest::Response) -> anyhow::Error {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let part = |name: &str| foreign::clean(problem.get(name).and_then(|v| v.as_str()).unwrap_or_default());
    match (part("title"), part("detail")) {
        (title, _) if title.is_empty() => anyhow!("the hub answered {status}"),
        (title, detail) if detail.is_empty() => anyhow!("{title}"),
        (title, detail) => anyhow!("{title}\n{detail}"),
    }
}

/// Runs one conversation.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    let outcome = runtime.block_on(work);
    // A name that is still being looked up must not hold up whoever interrupted the wait for it.
    runtime.shutdown_background();
    outcome
}
