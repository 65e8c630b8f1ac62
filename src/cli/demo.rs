//! `koh demo`: starts a hub for the simulated fleet, unless it is told to drive another one.
//!
//! Invariant: the demo's hub is the hub: the same wiring as `koh serve`, on a directory of its own.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use futures::FutureExt;

use super::ask::IdentityArgs;
use crate::api;
use crate::demo::{self, Wanted};
use crate::runtime::{self, Config};

/// Options of the demo.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    options: demo::Options,
    #[command(flatten)]
    identity: IdentityArgs,
}

impl DemoArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let threads =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
        let DemoArgs { options, identity } = self;
        let http = identity.builder()?;
        threads.block_on(demo::run(options, http, |wanted| start(wanted).boxed()))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn start(wanted: Wanted) -> anyhow::Result<demo::Hub> {
    let Wanted { data, listen, late_after, silent_after } = wanted;
    if !listen.ip().is_loopback() {
        anyhow::bail!("the demo listens on loopback only; to serve others run koh serve and drive it with --url");
    }
    let running = runtime::start(Config {
        data: Some(data),
        listen,
        manifests: None,
        kubernetes: None,
        policies: None,
        classes: None,
        tokens: None,
        accounts: None,
        tls: Vec::new(),
        default_contact: String::new(),
        retention: runtime::Retention::default(),
        backups: None,
        max_waiters: runtime::MAX_WAITERS,
        late_after,
        silent_after,
        limits: api::Limits::default(),
        patience: api::listen::Patience::default(),
    })
    .await?;
    Ok(demo::Hub { address: running.address, stop: Box::new(|| running.stop().map(Ok).boxed()) })
}
