//! Formats, escaping, limits, and what the declarations promise.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::exposition::Value;
use super::family::{Family, Kind, gauge};
use super::*;

static NAMED: Family = gauge("koh_test", &["environment", "workload"], "Help with a \\ in it.");

/// A collector of whatever a test writes.
struct Writes<F>(F);

impl<F> fmt::Debug for Writes<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writes")
    }
}

impl<F: Fn(DescriptorEncoder<'_>) -> fmt::Result + Send + Sync + 'static> Collector for Writes<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0(encoder)
    }
}

fn written(write: impl Fn(DescriptorEncoder<'_>) -> fmt::Result + Send + Sync + 'static) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Writes(write)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn whatever_an_environment_is_called_its_line_stays_one_line() {
    let text = written(|encoder| {
        let mut out = Exposition::new(encoder);
        let labels: Vec<Cow<'_, str>> = vec!["a\"b\\c\nd".into(), "{}, =\u{1F680}".into()];
        out.family(&NAMED, [(labels, Value::Gauge(1.0))])
    });
    let line = text.lines().last().unwrap();
    assert_eq!(line, "koh_test{environment=\"a\\\"b\\\\c\\nd\",workload=\"{}, =\u{1F680}\"} 1.0");
}

#[test]
fn beyond_the_limit_the_last_series_are_left_out_and_counted() {
    let text = written(|encoder| {
        let mut out = Exposition::at_most(encoder, 2);
        let series = (0..5).map(|n| (vec![format!("e{n}").into(), "w".into()], Value::Gauge(f64::from(n))));
        out.family(&NAMED, series)?;
        out.finish()
    });
    assert!(text.contains("environment=\"e1\"") && !text.contains("environment=\"e2\""), "{text}");
    assert!(text.contains("koh_metrics_series_left_out{family=\"koh_test\"} 3.0"), "{text}");
}

#[test]
fn names_and_units_keep_to_the_conventions_and_no_family_is_told_by_host() {
    let mut names = BTreeSet::new();
    for family in catalogue::all() {
        let name = family.full_name();
        assert!(name.starts_with("koh_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert_eq!(name.contains("timestamp"), name.ends_with("_timestamp_seconds"), "{name}");
        assert!(!name.contains("_age"), "{name}: tell the time, not the age");
        assert!(family.help.ends_with('.') && !family.help.contains(['\n', '|']), "{name}");
        assert!(!family.labels.iter().any(|l| ["host", "reconciler", "le", "quantile"].contains(l)), "{name}");
    }
}

#[test]
fn the_committed_page_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/metrics.md");
    let wanted = catalogue::metrics_md();
    if std::env::var_os("KOH_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "schema/metrics.md is stale: run this test with KOH_BLESS=1 and commit the file");
}

#[test]
fn openmetrics_is_for_those_who_prefer_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.2";
    for accept in [prometheus, newer, "Application/OpenMetrics-Text", "application/openmetrics-text; version=\"1.0.0\""]
    {
        assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
    }
    let others = [
        "",
        "*/*",
        "text/plain",
        "text/html,*/*;q=0.8",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;version=0.0.1",
    ];
    for accept in others {
        assert_eq!(Format::accepted(accept), Format::Text, "{accept}");
    }
    assert_eq!(Format::accepted("application/openmetrics-text;q=0.2, text/plain;q=0.9"), Format::Text);
}
