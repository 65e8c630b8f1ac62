//! A strict reader of the two text formats of metrics: what OpenMetrics 1.0 forbids, it refuses.
//!
//! Invariant: it shares no code with the hub; a series that it gives was written by the rules.

use std::collections::{BTreeMap, BTreeSet};

/// The series of an answer: `name{label="value",…}`, labels in order, to value.
pub(crate) type Series = BTreeMap<String, f64>;

#[derive(Clone, Copy, PartialEq)]
enum Format {
    OpenMetrics,
    Text,
}

/// What is known of the family that is being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: Option<String>,
    help: bool,
    unit: Option<String>,
    samples: usize,
}

/// Reads OpenMetrics.
#[track_caller]
pub(crate) fn openmetrics(text: &str) -> Series {
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF");
    read(body, Format::OpenMetrics).unwrap_or_else(|why| panic!("{why}"))
}

/// Reads the classic text format.
#[track_caller]
pub(crate) fn classic(text: &str) -> Series {
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "words of OpenMetrics only");
    read(text, Format::Text).unwrap_or_else(|why| panic!("{why}"))
}

fn read(text: &str, format: Format) -> Result<Series, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let (mut series, mut families, mut family) = (Series::new(), BTreeSet::new(), Family::default());
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(word), Some(name), Some(said)) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("a comment is a word, a name and a text"));
            };
            if family.name != name {
                finish(&family, &series)?;
                if !families.insert(name.to_owned()) {
                    return Err(wrong("a family comes twice or in pieces"));
                }
                family = Family { name: name.to_owned(), ..Family::default() };
            }
            if family.samples > 0 {
                return Err(wrong("what is said of a family stands before its samples"));
            }
            let first = match word {
                "HELP" => !std::mem::replace(&mut family.help, true),
                "TYPE" => family.kind.replace(said.to_owned()).is_none(),
                "UNIT" if format == Format::OpenMetrics => {
                    name.ends_with(&format!("_{said}")) && family.unit.replace(said.to_owned()).is_none()
                }
                _ => return Err(wrong("an unknown word")),
            };
            if !first {
                return Err(wrong("said twice, or a unit that the name does not end with"));
            }
            continue;
        }
        let (name, mut labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
        let kind = family.kind.as_deref().ok_or_else(|| wrong("no TYPE"))?;
        if !family.help {
            return Err(wrong("no HELP"));
        }
        let suffix = name.strip_prefix(&family.name).ok_or_else(|| wrong("a sample of another family"))?;
        let allowed: &[&str] = match (kind, format) {
            ("counter", Format::OpenMetrics) => &["_total"],
            ("info", Format::OpenMetrics) => &["_info"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("gauge" | "counter", _) => &[""],
            _ => return Err(wrong("an unknown type")),
        };
        if !allowed.contains(&suffix) {
            return Err(wrong("the name does not fit the type"));
        }
        if kind != "gauge" && !(value >= 0.0 && value.is_finite()) {
            return Err(wrong("what counts is neither negative nor endless"));
        }
        if kind == "info" && value != 1.0 {
            return Err(wrong("an info is 1"));
        }
        if labels.contains_key("le") != (suffix == "_bucket") {
            return Err(wrong("le belongs to buckets"));
        }
        family.samples += 1;
        // The two formats spell bounds differently: 1.0 and 1.
        let bound = labels.get("le").map(|le| le.trim_end_matches(".0").to_owned());
        labels.extend(bound.map(|le| ("le".to_owned(), le)));
        if series.insert(key(name, &labels), value).is_some() {
            return Err(wrong("a series comes twice"));
        }
    }
    finish(&family, &series)?;
    Ok(series)
}

/// A family is over: its histograms must be whole.
fn finish(family: &Family, series: &Series) -> Result<(), String> {
    if family.kind.as_deref() != Some("histogram") {
        return Ok(());
    }
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (name, n) in series.range(format!("{}_bucket", family.name)..) {
        let Some(labels) = name.strip_prefix(&format!("{}_bucket", family.name)) else { break };
        let (_, mut labels, _) = sample(&format!("x{labels} 0")).ok_or("a key of this reader")?;
        let le = labels.remove("le").unwrap_or_default();
        let le = if le == "+Inf" { f64::INFINITY } else { le.parse().map_err(|_| format!("{name}: no bound"))? };
        buckets.entry(key("", &labels)).or_default().push((le, *n));
    }
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !buckets.windows(2).all(|w| w[0].1 <= w[1].1) {
            return Err(format!("{}{labels}: buckets do not add up", family.name));
        }
        let count = series.get(&format!("{}_count{labels}", family.name));
        if buckets.last().is_none_or(|(le, n)| *le != f64::INFINITY || Some(n) != count) {
            return Err(format!("{}{labels}: the last bucket is +Inf and holds all", family.name));
        }
        if !series.contains_key(&format!("{}_sum{labels}", family.name)) {
            return Err(format!("{}{labels}: no sum", family.name));
        }
    }
    Ok(())
}

fn key(name: &str, labels: &BTreeMap<String, String>) -> String {
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Reads `name{labels} value`.
fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if label.is_empty() || !plain {
                return None;
            }
            let mut value = String::new();
            let mut chars = after.char_indices();
            let closed = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (_, c) => value.push(c),
                }
            };
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = &after[closed + 1..];
            rest = match rest.strip_prefix(',') {
                Some(more) if !more.starts_with('}') => more,
                Some(_) => return None,
                None => rest,
            };
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ')?;
    Some((name, labels, value.parse().ok()?))
}

#[test]
fn the_reader_refuses_what_the_rules_forbid() {
    let good =
        "# HELP a_seconds H.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds{x=\"\\\\ \\\" \\n\"} 1.5\n";
    assert_eq!(read(good, Format::OpenMetrics).unwrap().len(), 1);
    let counter = "# HELP c H.\n# TYPE c counter\nc_total 1\n";
    assert_eq!(read(counter, Format::OpenMetrics).unwrap()["c_total"], 1.0);
    let head = "# HELP h H.\n# TYPE h histogram\n";
    let bad = [
        "a 1\n".to_owned(),
        "# HELP a H.\n# TYPE a gauge\na 1".to_owned(),
        "# HELP a H.\n# TYPE a gauge\na 1\na 2\n".to_owned(),
        "# HELP a H.\n# TYPE a gauge\na{x=\"1\",} 1\n".to_owned(),
        "# HELP a H.\n# TYPE a gauge\na{x=\"\\t\"} 1\n".to_owned(),
        "# TYPE a gauge\na 1\n".to_owned(),
        "# HELP a H.\n# TYPE a gauge\n# UNIT a seconds\na 1\n".to_owned(),
        counter.replace("c_total", "c"),
        counter.replace(" 1\n", " -1\n"),
        format!("{counter}{good}{counter}"),
        format!("{head}h_bucket{{le=\"1.0\"}} 2\nh_bucket{{le=\"+Inf\"}} 1\nh_sum 1\nh_count 1\n"),
        format!("{head}h_bucket{{le=\"1.0\"}} 1\nh_sum 1\nh_count 1\n"),
        format!("{head}h_bucket{{le=\"+Inf\"}} 1\nh_count 1\n"),
    ];
    for text in bad {
        assert!(read(&text, Format::OpenMetrics).is_err(), "{text}");
    }
}
