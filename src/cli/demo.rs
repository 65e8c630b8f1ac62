//! `koh demo`: options and wiring of the simulated fleet.

use std::process::ExitCode;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {}

impl DemoArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
