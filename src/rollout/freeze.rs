//! Times in which nothing may be promoted: once, or every week.
//!
//! Invariant: a window is half-open, [from, to); one whose time of day does not exist on a day, for the clock was put
//! forward, begins or ends at the next instant that does.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Micros;

/// A window: with `days` it is weekly and `from` and `to` are times of day, else they are instants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Days of the week on which it begins: `mon` … `sun`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// Its begin: `2026-12-20T00:00:00Z`, or a time of day, `16:00`.
    pub from: String,
    /// Its end; a time of day that is not later than `from` means the next day.
    pub to: String,
    /// Time zone of times of day, by its IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A readable window.
enum Window {
    Once(Micros, Micros),
    Weekly { days: Vec<Weekday>, from: NaiveTime, to: NaiveTime, zone: Tz },
}

impl Freeze {
    /// What cannot be read, if anything.
    pub fn fault(&self) -> Option<String> {
        self.read().err()
    }

    /// Whether it is so now, and when that changes next; `None` when it never does again.
    pub fn at(&self, now: Micros) -> (bool, Option<Micros>) {
        match self.read() {
            Ok(Window::Once(from, to)) => (from <= now && now < to, [from, to].into_iter().find(|at| *at > now)),
            Ok(Window::Weekly { days, from, to, zone }) => weekly(now, &days, (from, to), zone),
            // Windows are checked when they are read.
            Err(_) => (false, None),
        }
    }

    fn read(&self) -> Result<Window, String> {
        if self.days.is_empty() {
            if !["", "UTC"].contains(&self.timezone.as_str()) {
                return Err(format!(
                    "freeze: 'timezone' goes with days; an instant has an offset of its own, as {}+01:00",
                    self.from.trim_end_matches('Z')
                ));
            }
            let instant = |what: &str, text: &str| {
                Micros::parse(text).map_err(|_| {
                    format!("freeze: '{what}' is an instant, as 2026-12-20T00:00:00Z (or, with days, a time of day), not '{text}'")
                })
            };
            let (from, to) = (instant("from", &self.from)?, instant("to", &self.to)?);
            return if from < to {
                Ok(Window::Once(from, to))
            } else {
                Err(format!("freeze: 'to' ({}) is not later than 'from' ({})", self.to, self.from))
            };
        }
        let days = self.days.iter().map(|day| {
            day.parse::<Weekday>()
                .map_err(|_| format!("freeze: '{day}' is no day of the week: mon, tue, wed, thu, fri, sat, sun"))
        });
        let clock = |what: &str, text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M")
                .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S"))
                .map_err(|_| format!("freeze: with days, '{what}' is a time of day, as 16:00, not '{text}'"))
        };
        let zone = self.timezone.parse::<Tz>().map_err(|_| {
            format!("freeze: '{}' is no time zone; IANA names are meant, as Europe/Berlin", self.timezone)
        })?;
        Ok(Window::Weekly {
            days: days.collect::<Result<_, _>>()?,
            from: clock("from", &self.from)?,
            to: clock("to", &self.to)?,
            zone,
        })
    }
}

fn weekly(now: Micros, days: &[Weekday], (from, to): (NaiveTime, NaiveTime), zone: Tz) -> (bool, Option<Micros>) {
    let Some(utc) = DateTime::<Utc>::from_timestamp_micros(now.0) else { return (false, None) };
    let today = utc.with_timezone(&zone).date_naive();
    let overnight = u64::from(to <= from);
    let (mut frozen, mut next) = (false, None);
    // One week and a day back and forth: a window lasts a day at most.
    for date in (0..=9).filter_map(|n| today.checked_sub_days(Days::new(2))?.checked_add_days(Days::new(n))) {
        if !days.contains(&date.weekday()) {
            continue;
        }
        let end = date.checked_add_days(Days::new(overnight)).map(|date| local(date, to, zone));
        let (Some(start), Some(Some(end))) = (local(date, from, zone), end) else { continue };
        frozen |= start <= now && now < end;
        next = [start, end].into_iter().filter(|at| *at > now).chain(next).min();
    }
    (frozen, next)
}

/// A local time as an instant; one that does not exist is the first that does after it.
fn local(date: NaiveDate, time: NaiveTime, zone: Tz) -> Option<Micros> {
    let mut at: NaiveDateTime = date.and_time(time);
    for _ in 0..48 {
        if let Some(found) = zone.from_local_datetime(&at).earliest() {
            return Some(Micros(found.timestamp_micros()));
        }
        at += chrono::TimeDelta::minutes(30);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        Micros::parse(text).unwrap()
    }

    fn weekend() -> Freeze {
        Freeze {
            days: vec!["fri".into(), "sat".into(), "sun".into()],
            from: "16:00".into(),
            to: "08:00".into(),
            timezone: "Europe/Berlin".into(),
            reason: None,
        }
    }

    #[test]
    fn a_window_once_is_half_open() {
        let f = Freeze { from: "2026-12-20T00:00:00Z".into(), to: "2027-01-02T00:00:00Z".into(), ..Freeze::default() };
        assert_eq!(f.at(at("2026-12-19T23:59:59Z")), (false, Some(at("2026-12-20T00:00:00Z"))));
        assert_eq!(f.at(at("2026-12-20T00:00:00Z")), (true, Some(at("2027-01-02T00:00:00Z"))));
        assert_eq!(f.at(at("2027-01-02T00:00:00Z")), (false, None));
    }

    #[test]
    fn a_weekly_window_goes_over_midnight_in_its_own_time_zone() {
        let f = weekend();
        // Friday the 27th of November 2026, 15:59 and 16:00 in Berlin.
        assert_eq!(f.at(at("2026-11-27T14:59:00Z")), (false, Some(at("2026-11-27T15:00:00Z"))));
        assert_eq!(f.at(at("2026-11-27T15:00:00Z")), (true, Some(at("2026-11-28T07:00:00Z"))));
        assert!(f.at(at("2026-11-28T06:59:00Z")).0);
        assert_eq!(f.at(at("2026-11-28T07:00:00Z")), (false, Some(at("2026-11-28T15:00:00Z"))));
        assert_eq!(f.at(at("2026-11-30T07:00:00Z")), (false, Some(at("2026-12-04T15:00:00Z"))), "Monday to Friday");
    }

    #[test]
    fn an_hour_that_the_clock_leaves_out_is_no_hole() {
        let f = Freeze { days: vec!["sun".into()], from: "02:30".into(), to: "05:00".into(), ..weekend() };
        // On the 29th of March 2026 Berlin has no 02:30.
        assert_eq!(f.at(at("2026-03-29T00:00:00Z")), (false, Some(at("2026-03-29T01:00:00Z"))));
        assert_eq!(f.at(at("2026-03-29T01:30:00Z")), (true, Some(at("2026-03-29T03:00:00Z"))));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let said = |f: Freeze| f.fault().unwrap();
        assert!(said(Freeze { days: vec!["someday".into()], ..weekend() }).contains("no day of the week"));
        assert!(said(Freeze { timezone: "Mars/Base".into(), ..weekend() }).contains("Europe/Berlin"));
        assert!(said(Freeze { from: "4 pm".into(), ..weekend() }).contains("time of day"));
        assert!(said(Freeze { from: "16:00".into(), to: "17:00".into(), ..Freeze::default() }).contains("instant"));
        let zoned = Freeze { from: "2026-12-20T00:00:00Z".into(), days: Vec::new(), ..weekend() };
        assert!(said(zoned).contains("'timezone' goes with days"));
        let backwards =
            Freeze { from: "2027-01-02T00:00:00Z".into(), to: "2026-01-02T00:00:00Z".into(), ..Freeze::default() };
        assert!(said(backwards).contains("not later"));
        assert_eq!(weekend().fault(), None);
    }
}
