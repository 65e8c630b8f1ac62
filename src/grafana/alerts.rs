//! Alert rules for Prometheus, its operator and Grafana, from one list of alerts.
//!
//! Invariant: thresholds, severities and texts stand once, in `alerts.yaml`; each dialect gets them in its own spelling. A rule of
//! Grafana asks for the hub's rows, which always are at least one, so that no data means that something is broken.

mod dialects;

use serde::Deserialize;

use dialects::{grafana, grafana_operator, grafana_sidecar, operator, prometheus};

/// The list of alerts, below the folder of the configuration.
pub const SOURCE: &str = "alerts.yaml";

/// A text that is no list of alerts.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// It cannot be read.
    #[error("the alerts are not readable")]
    Read(#[from] serde_saphyr::Error),
    /// The rules cannot be written.
    #[error("the rules cannot be written")]
    Write(#[from] serde_saphyr::SerializeError),
    /// An alert that no dialect shows, or a name that is there twice.
    #[error("alert {name}: {why}")]
    Alert {
        /// Which.
        name: String,
        /// Why not.
        why: &'static str,
    },
}

/// All alerts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alerts {
    group: String,
    folder: String,
    interval: String,
    datasource: String,
    alerts: Vec<Alert>,
}

/// One alert.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    name: String,
    severity: Severity,
    r#for: String,
    contact: String,
    threshold: f64,
    summary: String,
    description: String,
    runbook: String,
    prometheus: Option<Query>,
    grafana: Option<Rows>,
}

#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    Warning,
    Info,
}

/// A query of metrics that answers what is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
}

/// Rows of the hub: labels, and one number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    rows: String,
    labels: Vec<String>,
    /// Where a person sees more.
    panel: Panel,
    /// What the rule says when the hub cannot be asked.
    #[serde(default)]
    unreachable: Unreachable,
}

/// A panel of a dashboard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    dashboard: String,
    id: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, serde::Serialize)]
enum Unreachable {
    #[default]
    KeepLast,
    Alerting,
}

/// What is written from a list of alerts: paths below the folder of the configuration, and their texts.
pub fn generate(source: &str) -> Result<Vec<(&'static str, String)>, AlertsError> {
    let alerts: Alerts = serde_saphyr::from_str(source)?;
    alerts.check()?;
    Ok(vec![
        ("prometheus/rules.yaml", written(&prometheus(&alerts))?),
        ("k8s/prometheusrule.yaml", written(&operator(&alerts))?),
        ("provisioning/alerting/kalypso-rules.yaml", written(&grafana(&alerts))?),
        ("k8s/operator/alerts.yaml", written(&grafana_operator(&alerts))?),
        ("k8s/sidecar/alerts.yaml", written(&grafana_sidecar(&alerts)?)?),
    ])
}

impl Alerts {
    fn check(&self) -> Result<(), AlertsError> {
        for (nth, alert) in self.alerts.iter().enumerate() {
            let refused = |why| Err(AlertsError::Alert { name: alert.name.clone(), why });
            if self.alerts[..nth].iter().any(|other| other.name == alert.name) {
                return refused("there are two of this name");
            }
            if alert.prometheus.is_none() && alert.grafana.is_none() {
                return refused("it has neither a query of metrics nor rows of the hub");
            }
        }
        Ok(())
    }
}

fn written(rules: &impl serde::Serialize) -> Result<String, AlertsError> {
    let rules = serde_saphyr::to_string(rules)?;
    Ok(format!("# Generated from {SOURCE} by `koh grafana generate`; do not edit.\n{rules}"))
}

#[cfg(test)]
mod tests;
