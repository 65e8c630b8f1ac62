//! Query parameters, forgiving in spelling and strict in names.
//!
//! Invariant: a parameter that is not known is a 400 that names the known ones, so that a typing error never silently means "no
//! filter". A list may come as repeated keys, as a JSON array, as comma-separated values or as one bare value, for that is what
//! Grafana's variables turn into; nothing, `$__all`, `All` and `*` all mean "no filter".

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::model::{Micros, nearest};
use crate::normalize::NAME_LIMIT;

/// The values that stand for "everything".
const ALL: [&str; 4] = ["", "$__all", "All", "*"];
/// How many values one filter may list.
const VALUES_MAX: usize = 1000;
/// Numbers between nought and this are years or seconds, not epoch milliseconds: 1973 in milliseconds.
const EPOCH_MS_MIN: i64 = 100_000_000_000;
/// The instants that RFC 3339 can spell, in milliseconds: from the year 0 …
const EPOCH_MS_FIRST: i64 = -62_167_219_200_000;
/// … to the end of 9999.
const EPOCH_MS_LAST: i64 = 253_402_300_799_999;
/// What a time may look like.
const TIMES: &str = "Times are RFC 3339, as 2026-01-31T10:00:00Z, or milliseconds since 1970, as Grafana sends them.";

/// The decoded query string, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Decodes the query string of a URI.
    pub(super) fn of(uri: &Uri) -> Result<Params, Problem> {
        let pairs = pairs(uri.query().unwrap_or_default()).map_err(|Garbled(what)| {
            Problem::parameter(
                "the query string is not UTF-8",
                format!("Percent-encode the bytes of UTF-8; this does not decode to it: {what}"),
            )
        })?;
        Ok(Params { pairs })
    }

    /// Refuses every name that is not in `known`.
    pub(super) fn only<'n>(&self, known: impl IntoIterator<Item = &'n str>) -> Result<(), Problem> {
        let known: Vec<&str> = known.into_iter().collect();
        match self.pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let hint = nearest(name, &known).map(|near| format!("Did you mean {near}? ")).unwrap_or_default();
                Err(Problem::parameter(
                    format!("unknown parameter '{name}'"),
                    format!("{hint}Known here: {}.", known.join(", ")),
                ))
            }
        }
    }

    /// Every value of a name, undecoded lists and all.
    fn raw<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All pairs.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The one value of a name; nothing and empty are the same.
    pub(super) fn one<'a>(&'a self, name: &str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.raw(name).map(str::trim).filter(|v| !v.is_empty());
        match (values.next(), values.next()) {
            (Some(first), Some(second)) if first != second => Err(Problem::parameter(
                format!("'{name}' takes one value"),
                format!("It came as '{first}' and as '{second}'."),
            )),
            (first, _) => Ok(first),
        }
    }

    /// The values of a filter, or `None` when it filters nothing.
    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let mut values = Vec::new();
        for raw in self.raw(name) {
            if ALL.contains(&raw.trim()) {
                if raw.trim().is_empty() {
                    continue;
                }
                return Ok(None);
            }
            spread(name, raw.trim(), &mut values)?;
        }
        if values.iter().any(|v| !v.is_empty() && ALL.contains(&v.as_str())) {
            return Ok(None);
        }
        values.retain(|v| !v.is_empty());
        values.sort_unstable();
        values.dedup();
        if values.len() > VALUES_MAX {
            return Err(Problem::parameter(
                format!("'{name}' lists {} values; the limit is {VALUES_MAX}", values.len()),
                "Ask in several requests, or leave the filter out and pick from the answer.",
            ));
        }
        if let Some(long) = values.iter().find(|v| v.len() > NAME_LIMIT) {
            return Err(Problem::parameter(
                format!("a value of '{name}' is {} bytes long", long.len()),
                format!("No name is longer than {NAME_LIMIT} bytes, so nothing can match it."),
            ));
        }
        Ok((!values.is_empty()).then_some(values))
    }

    /// A whole number between bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(Problem::parameter(
                format!("'{name}' must be a whole number from {least} to {most}, not '{text}'"),
                format!("Write it in decimal digits, as {name}={least}, or leave it out for the default."),
            )),
        }
    }

    /// How many rows are asked for.
    pub(super) fn limit(&self, most: usize) -> Result<Option<usize>, Problem> {
        Ok(self.number("limit", 1, most as u64)?.and_then(|n| usize::try_from(n).ok()))
    }

    /// `true`, `false`, or absent (false).
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(Problem::parameter(
                format!("'{name}' is true or false, not '{other}'"),
                format!("Write {name}=true, or leave it out."),
            )),
        }
    }

    /// An instant: RFC 3339, or epoch milliseconds as Grafana sends them.
    pub(super) fn instant(&self, name: &str) -> Result<Option<Micros>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        if ALL.contains(&text) {
            return Ok(None);
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return epoch(name, text).map(Some);
        }
        // The plus sign of an offset that was not percent-encoded arrives as a blank.
        let at = Micros::parse(text).or_else(|_| Micros::parse(&text.replace(' ', "+")));
        match at {
            Ok(at) if at >= Micros(EPOCH_MS_FIRST * 1000) => Ok(Some(at)),
            _ => Err(Problem::parameter(format!("'{name}' is not a time: '{text}'"), TIMES)),
        }
    }

    /// The instants `from` and `to`, in this order.
    pub(super) fn range(&self) -> Result<(Option<Micros>, Option<Micros>), Problem> {
        let (from, to) = (self.instant("from")?, self.instant("to")?);
        match (from, to) {
            (Some(from), Some(to)) if from > to => {
                Err(Problem::parameter("'from' is later than 'to'", format!("It is from {from} to {to}; swap them.")))
            }
            range => Ok(range),
        }
    }

    /// A span of time: `90s`, `15m`, `1h`, `2d`, or ISO 8601.
    pub(super) fn span(&self, name: &str) -> Result<Option<std::time::Duration>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        crate::model::span(text)
            .map(Some)
            .map_err(|why| Problem::parameter(format!("'{name}': {why}"), "A number and its unit: s, m, h or d."))
    }
}

/// Reads milliseconds since 1970.
fn epoch(name: &str, text: &str) -> Result<Micros, Problem> {
    match text.parse::<i64>() {
        Ok(millis) if (1..EPOCH_MS_MIN).contains(&millis) => Err(Problem::parameter(
            format!("'{name}' is a year or seconds, not milliseconds since 1970: '{text}'"),
            TIMES,
        )),
        Ok(millis) if (EPOCH_MS_FIRST..=EPOCH_MS_LAST).contains(&millis) => Ok(Micros(millis * 1000)),
        _ => Err(Problem::parameter(
            format!("'{name}' lies outside the years 0 to 9999: '{text}'"),
            format!("Numbers are milliseconds since 1970, not micro- or nanoseconds. {TIMES}"),
        )),
    }
}

/// A pair of a form that does not decode to UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled(pub(super) String);

/// Decodes `application/x-www-form-urlencoded`: query strings and the bodies of forms.
pub(super) fn pairs(form: &str) -> Result<Vec<(String, String)>, Garbled> {
    let decode = |text: &str| {
        let blanks: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
        let decoded = percent_decode_str(&blanks).decode_utf8().map(Cow::into_owned);
        decoded.map_err(|_| Garbled(text.chars().take(200).collect()))
    };
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// One parameter value, spread into the values it lists.
fn spread(name: &str, raw: &str, into: &mut Vec<String>) -> Result<(), Problem> {
    if raw.starts_with('[') {
        let items: Vec<serde_json::Value> = serde_json::from_str(raw)
            .map_err(|e| Problem::parameter(format!("'{name}' starts like a JSON array but is none"), e.to_string()))?;
        for item in items {
            into.push(match item {
                serde_json::Value::String(text) => text,
                serde_json::Value::Null => "null".to_owned(),
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(Problem::parameter(
                        format!("'{name}' must list plain values"),
                        "A JSON array of strings, as [\"dev\",\"prod\"]; no arrays or objects inside it.",
                    ));
                }
                scalar => scalar.to_string(),
            });
        }
        return Ok(());
    }
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => into.push(std::mem::take(&mut field).trim().to_owned()),
            other => field.push(other),
        }
    }
    into.push(field.trim().to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn lists_come_as_repeated_keys_json_arrays_csv_and_bare_values() {
        for query in ["e=dev&e=prod", "e=%5B%22dev%22,%22prod%22%5D", "e=dev,prod", "e=prod&e=dev,dev"] {
            assert_eq!(params(query).list("e").unwrap().unwrap(), ["dev", "prod"], "{query}");
        }
        assert_eq!(params("e=x'%3B+drop+table+t%3B--").list("e").unwrap().unwrap(), ["x'; drop table t;--"]);
        assert_eq!(params("e=%22a,b%22,c").list("e").unwrap().unwrap(), ["a,b", "c"]);
    }

    #[test]
    fn forms_are_decoded_strictly() {
        let one = |name: &str, value: &str| Ok(vec![(name.to_owned(), value.to_owned())]);
        assert_eq!(pairs("sql=SELECT 1 # 50%&"), one("sql", "SELECT 1 # 50%"));
        assert_eq!(pairs("a%20b=c+%2B"), one("a b", "c +"));
        assert_eq!(pairs("a=%ff"), Err(Garbled("%ff".to_owned())));
    }

    #[test]
    fn all_in_any_spelling_is_no_filter() {
        for query in ["", "e=", "e=$__all", "e=All", "e=*", "e=dev&e=*", "e=%5B%5D", "e=%5B%22All%22%5D", "e=%22%22"] {
            assert_eq!(params(query).list("e").unwrap(), None, "{query}");
        }
    }

    #[test]
    fn an_unknown_parameter_lists_the_known_ones() {
        let problem = params("envronment=dev").only(["environment", "host"]).unwrap_err();
        assert_eq!(problem.title(), "unknown parameter 'envronment'");
    }

    #[test]
    fn times_are_rfc_3339_or_epoch_milliseconds() {
        let want = Micros::parse("2026-11-20T10:00:00.25Z").unwrap();
        for query in
            ["t=2026-11-20T10:00:00.25Z", "t=2026-11-20T11:00:00.250%2B01:00", "t=2026-11-20T11:00:00.250+01:00"]
        {
            assert_eq!(params(query).instant("t").unwrap(), Some(want), "{query}");
        }
        assert_eq!(params("t=1795132800000").instant("t").unwrap(), Some(Micros(1_795_132_800_000_000)));
        assert_eq!(params("t=0").instant("t").unwrap(), Some(Micros(0)));
        assert_eq!(params("t=-86400000").instant("t").unwrap(), Some(Micros(-86_400_000_000)));
        assert!(params("t=9999-12-31T23:59:59Z").instant("t").unwrap().is_some());
        let refused = |query: &str| params(query).instant("t").unwrap_err().title().to_owned();
        assert!(refused("t=yesterday").contains("is not a time"));
        assert!(refused("t=-").contains("is not a time"));
        assert!(refused("t=2026").contains("a year or seconds"));
        assert!(refused("t=1795132800").contains("a year or seconds"));
        for far in ["1795132800000000", "-99999999999999999", "99999999999999999999999"] {
            assert!(refused(&format!("t={far}")).contains("outside the years 0 to 9999"), "{far}");
        }
    }
}
