//! `koh grafana generate`: writes what Grafana and Prometheus read from the files that people edit.
//!
//! Invariant: what is written is what `grafana-plugin-config/` holds; the tests compare the two.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::grafana::alerts;

/// What is for Grafana.
#[derive(Debug, Args)]
pub(super) struct GrafanaArgs {
    #[command(subcommand)]
    command: GrafanaCommand,
}

#[derive(Debug, Subcommand)]
enum GrafanaCommand {
    /// Write the alert rules for Prometheus, its operator and Grafana from alerts.yaml.
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
struct GenerateArgs {
    /// The folder of the configuration: alerts.yaml is read there, and rules are written below it.
    #[arg(long, env = "KOH_GRAFANA_DIR", value_name = "DIR", default_value = "grafana-plugin-config")]
    dir: PathBuf,
}

impl GrafanaArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let GrafanaCommand::Generate(GenerateArgs { dir }) = self.command;
        let source = dir.join(alerts::SOURCE);
        let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        for (path, text) in alerts::generate(&text)? {
            let path = dir.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
