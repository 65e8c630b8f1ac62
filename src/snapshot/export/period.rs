//! The spans of time that files of history are of: days, and months once they are long over.
//!
//! Invariant: which period a day belongs to follows from the day and from when on days stay by themselves, and from nothing else; so
//! two exports of the same rows write the same files.

use std::ops::Range;

use crate::model::Micros;

const DAY: i64 = 86_400_000_000;

/// The day of an instant, counted from 1970.
pub(in crate::snapshot) fn day_of(at: Micros) -> i64 {
    at.0.div_euclid(DAY)
}

/// Midnight of a day.
pub(in crate::snapshot) fn midnight(day: i64) -> Micros {
    Micros(day.saturating_mul(DAY))
}

/// A day, or a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::snapshot) struct Period {
    /// `2026-01-31` or `2026-01`.
    pub(in crate::snapshot) name: String,
    /// The days in it.
    pub(in crate::snapshot) days: Range<i64>,
}

impl Period {
    /// The period of a day: its month where that ended by the day `closed`, else itself.
    pub(in crate::snapshot) fn of(day: i64, closed: i64) -> Period {
        let date = date(day);
        let month = month(&date).filter(|(_, days)| days.end <= closed);
        let (name, days) = month.unwrap_or_else(|| (date, day..day.saturating_add(1)));
        Period { name, days }
    }

    /// `day=2026-01-31` or `month=2026-01`: the name of its folder.
    pub(in crate::snapshot) fn folder(&self) -> String {
        let kind = if self.days.end - self.days.start > 1 { "month" } else { "day" };
        format!("{kind}={}", self.name)
    }
}

/// `2026-01-31`.
fn date(day: i64) -> String {
    midnight(day).to_string().split('T').next().unwrap_or_default().to_owned()
}

/// The month of a date: its name and its days.
fn month(date: &str) -> Option<(String, Range<i64>)> {
    let (name, _) = date.rsplit_once('-')?;
    let (year, number) = name.rsplit_once('-')?;
    let (year, number): (i32, u8) = (year.parse().ok()?, number.parse().ok()?);
    let first = |year: i32, number: u8| Micros::parse(&format!("{year:04}-{number:02}-01T00:00:00Z")).ok().map(day_of);
    let end = if number == 12 { first(year.checked_add(1)?, 1) } else { first(year, number + 1) };
    Some((name.to_owned(), first(year, number)?..end?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str) -> i64 {
        day_of(Micros::parse(&format!("{date}T12:00:00Z")).unwrap())
    }

    #[test]
    fn a_month_is_one_period_once_all_of_it_is_closed() {
        let of = |date: &str, closed: &str| Period::of(day(date), day(closed)).folder();
        assert_eq!(of("2025-12-31", "2025-12-31"), "day=2025-12-31");
        assert_eq!(of("2025-12-31", "2026-01-01"), "month=2025-12");
        assert_eq!(of("2024-02-01", "2024-02-29"), "day=2024-02-01");
        assert_eq!(of("2024-02-01", "2024-03-01"), "month=2024-02");
        assert_eq!(of("1969-12-31", "2024-03-01"), "month=1969-12");
        let leap = Period::of(day("2024-02-10"), day("2030-01-01"));
        assert_eq!(leap.days, day("2024-02-01")..day("2024-03-01"));
    }
}
