//! The dialects: plain rule files of Prometheus, the resource of its operator, and provisioned rules of Grafana.
//!
//! Invariant: Grafana expands variables of its environment in labels of rules, so that those hold no `$`; annotations hold none in
//! braces (`${...}`), which newer Grafanas expand too.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Alert, Alerts, Rows, Severity, Unreachable};

/// How far back a rule of Grafana may look, in seconds: the rows are of now, but a range there must be.
const LOOK_BACK: u32 = 600;

#[derive(Serialize)]
pub(super) struct RuleFile<'a> {
    groups: [Group<'a>; 1],
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    interval: &'a str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    alert: &'a str,
    expr: String,
    r#for: &'a str,
    labels: Labels<'a>,
    annotations: Annotations<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    severity: Severity,
    contact: &'a str,
}

#[derive(Serialize)]
struct Annotations<'a> {
    summary: String,
    description: String,
    runbook: &'a str,
    /// Of Grafana only: whom the row names, else the contact of the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    /// Of Grafana's operator only, whose rules have no fields for the panel.
    #[serde(rename = "__dashboardUid__", skip_serializing_if = "Option::is_none")]
    dashboard: Option<&'a str>,
    #[serde(rename = "__panelId__", skip_serializing_if = "Option::is_none")]
    panel: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Value,
    spec: RuleFile<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provisioned<'a> {
    api_version: u8,
    groups: [ProvisionedGroup<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvisionedGroup<'a> {
    org_id: u8,
    name: &'a str,
    folder: &'a str,
    interval: &'a str,
    rules: Vec<ProvisionedRule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvisionedRule<'a> {
    uid: String,
    title: &'a str,
    condition: &'a str,
    r#for: &'a str,
    no_data_state: &'a str,
    exec_err_state: Unreachable,
    #[serde(skip_serializing_if = "Option::is_none")]
    dashboard_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    panel_id: Option<u32>,
    labels: ProvisionedLabels,
    annotations: Annotations<'a>,
    data: [Value; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrafanaGroup<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Value,
    spec: GrafanaGroupSpec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrafanaGroupSpec<'a> {
    instance_selector: Value,
    folder_ref: String,
    interval: &'a str,
    rules: Vec<ProvisionedRule<'a>>,
}

#[derive(Serialize)]
struct ProvisionedLabels {
    severity: Severity,
    product: &'static str,
}

/// How a dialect says the measured number, and the same as a time.
#[derive(Clone, Copy)]
struct Spelling {
    value: &'static str,
    duration: &'static str,
}

const PROMETHEUS: Spelling = Spelling { value: "{{ $value | humanize }}", duration: "{{ $value | humanizeDuration }}" };
const GRAFANA: Spelling =
    Spelling { value: "{{ humanize $values.A.Value }}", duration: "{{ humanizeDuration $values.A.Value }}" };

/// A rule file of Prometheus.
pub(super) fn prometheus(alerts: &Alerts) -> RuleFile<'_> {
    let rules = alerts.alerts.iter().filter_map(|alert| {
        let query = alert.prometheus.as_ref()?;
        Some(Rule {
            alert: &alert.name,
            expr: query.query.replace("{threshold}", &alert.threshold.to_string()),
            r#for: &alert.r#for,
            labels: Labels { severity: alert.severity, contact: &alert.contact },
            annotations: annotations(alert, PROMETHEUS),
        })
    });
    RuleFile { groups: [Group { name: &alerts.group, interval: &alerts.interval, rules: rules.collect() }] }
}

/// The same for the operator of Prometheus.
pub(super) fn operator(alerts: &Alerts) -> Resource<'_> {
    Resource {
        api_version: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        metadata: json!({"name": alerts.group, "labels": {"app.kubernetes.io/name": "koh"}}),
        spec: prometheus(alerts),
    }
}

/// Rules that Grafana provisions.
pub(super) fn grafana(alerts: &Alerts) -> Provisioned<'_> {
    let rules = grafana_rules(alerts).map(|(rows, rule)| ProvisionedRule {
        dashboard_uid: Some(&rows.panel.dashboard),
        panel_id: Some(rows.panel.id),
        ..rule
    });
    let group = ProvisionedGroup {
        org_id: 1,
        name: &alerts.group,
        folder: &alerts.folder,
        interval: &alerts.interval,
        rules: rules.collect(),
    };
    Provisioned { api_version: 1, groups: [group] }
}

/// The same for the operator of Grafana.
pub(super) fn grafana_operator(alerts: &Alerts) -> GrafanaGroup<'_> {
    let rules = grafana_rules(alerts).map(|(rows, rule)| ProvisionedRule {
        annotations: Annotations {
            dashboard: Some(&rows.panel.dashboard),
            panel: Some(rows.panel.id.to_string()),
            ..rule.annotations
        },
        ..rule
    });
    GrafanaGroup {
        api_version: "grafana.integreatly.org/v1beta1",
        kind: "GrafanaAlertRuleGroup",
        metadata: json!({"name": alerts.group}),
        spec: GrafanaGroupSpec {
            instance_selector: json!({"matchLabels": {"dashboards": "grafana"}}),
            folder_ref: alerts.folder.to_lowercase(),
            interval: &alerts.interval,
            rules: rules.collect(),
        },
    }
}

/// The same for the sidecar of Grafana's chart, which looks for ConfigMaps with this label.
pub(super) fn grafana_sidecar(alerts: &Alerts) -> Result<Value, serde_saphyr::SerializeError> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": format!("{}-alerts", alerts.group), "labels": {"grafana_alert": "1"}},
        "data": {"kalypso-rules.yaml": serde_saphyr::to_string(&grafana(alerts))?},
    }))
}

fn grafana_rules(alerts: &Alerts) -> impl Iterator<Item = (&Rows, ProvisionedRule<'_>)> {
    alerts.alerts.iter().filter_map(|alert| {
        let rows = alert.grafana.as_ref()?;
        let contact = format!("{{{{ with $labels.contact }}}}{{{{ . }}}}{{{{ else }}}}{}{{{{ end }}}}", alert.contact);
        let rule = ProvisionedRule {
            uid: format!("kalypso-{}", rows.rows),
            title: &alert.name,
            condition: "C",
            r#for: &alert.r#for,
            no_data_state: "NoData",
            exec_err_state: rows.unreachable,
            dashboard_uid: None,
            panel_id: None,
            labels: ProvisionedLabels { severity: alert.severity, product: "kalypso" },
            annotations: Annotations { contact: Some(contact), ..annotations(alert, GRAFANA) },
            data: [asked(alerts, rows), above_zero()],
        };
        Some((rows, rule))
    })
}

/// The query of rows: labels are texts, the value is a number.
fn asked(alerts: &Alerts, rows: &Rows) -> Value {
    let column = |name: &str, kind: &str| json!({"selector": name, "text": name, "type": kind});
    let labels = rows.labels.iter().map(|label| column(label, "string"));
    let columns: Vec<Value> = labels.chain([column("value", "number")]).collect();
    json!({
        "refId": "A",
        "datasourceUid": alerts.datasource,
        "relativeTimeRange": {"from": LOOK_BACK, "to": 0},
        "model": {
            "refId": "A",
            "type": "json",
            "source": "url",
            "parser": "backend",
            "format": "table",
            "url": format!("/api/v1/alerts/{}", rows.rows),
            "url_options": {"method": "GET", "params": []},
            "root_selector": "",
            "filters": [],
            "columns": columns,
        },
    })
}

/// The condition: what is below its threshold is no row, or one of 0.
fn above_zero() -> Value {
    json!({
        "refId": "C",
        "datasourceUid": "__expr__",
        "relativeTimeRange": {"from": LOOK_BACK, "to": 0},
        "model": {
            "refId": "C",
            "type": "threshold",
            "expression": "A",
            "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
        },
    })
}

fn annotations(alert: &Alert, spelling: Spelling) -> Annotations<'_> {
    let spelled = |text: &str| text.replace("{value}", spelling.value).replace("{duration}", spelling.duration);
    Annotations {
        summary: spelled(&alert.summary),
        description: spelled(&alert.description),
        runbook: &alert.runbook,
        contact: None,
        dashboard: None,
        panel: None,
    }
}
