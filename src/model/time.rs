//! Instants as UTC microseconds: what the ledger stores and the tables show.
//!
//! The model never asks for the time; whoever needs "now" passes it in.

use crate::ledger::record::{Decode, Encode};

use std::fmt;

/// How far a claimed time may lie ahead of its receipt before it is not believed: 5 minutes.
pub const FUTURE_TOLERANCE: i64 = 5 * 60 * 1_000_000;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Micros(pub i64);

impl Micros {
    /// Earlier than every instant a source can name.
    pub const MIN: Micros = Micros(i64::MIN);
    /// Later than every instant a source can name: "until now" in an interval.
    pub const MAX: Micros = Micros(i64::MAX);

    /// The wall clock; only thin edges (sources, the ledger's writer, handlers) call this.
    pub fn now() -> Micros {
        Micros(jiff::Timestamp::now().as_microsecond())
    }

    /// Reads RFC 3339 with any number of fraction digits and any offset.
    pub fn parse(text: &str) -> Result<Micros, jiff::Error> {
        let text = text.trim();
        match text.parse::<jiff::Timestamp>() {
            Ok(t) => Ok(Micros(t.as_microsecond())),
            Err(_) if end_of_time(text) => Ok(Micros(jiff::Timestamp::MAX.as_microsecond())),
            Err(error) => Err(error),
        }
    }

    /// This instant, later (or earlier, when negative) by `micros`, without overflow.
    pub fn plus(self, micros: i64) -> Micros {
        Micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this instant, without overflow.
    pub fn since(self, earlier: Micros) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// True for the last two days of the year 9999, which RFC 3339 can spell and no [`jiff::Timestamp`] can hold; "never" is often
/// written so.
fn end_of_time(text: &str) -> bool {
    jiff::fmt::temporal::Pieces::parse(text).is_ok_and(|pieces| {
        pieces.date() >= jiff::civil::date(9999, 12, 30) && pieces.time().is_some() && pieces.offset().is_some()
    })
}

/// A span in microseconds; one that is too long for that is as long as can be.
pub fn micros(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Reads a span of time: `90s`, `15m`, `1h 30m`, `2d`, or ISO 8601.
pub fn span(text: &str) -> Result<std::time::Duration, String> {
    let teach = || format!("'{text}' is not a span of time; write 90s, 15m, 1h or 2d");
    let span: jiff::Span = text.trim().parse().map_err(|_| teach())?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| teach())?;
    std::time::Duration::try_from(signed).map_err(|_| teach())
}

/// RFC 3339, UTC, milliseconds: the one spelling of times in answers.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => f.write_str("out of range"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_offsets_are_read_and_milliseconds_written() {
        let t = Micros::parse("2026-01-02T03:04:05.678912+01:00").unwrap();
        assert_eq!(t.to_string(), "2026-01-02T02:04:05.678Z");
        assert_eq!(Micros::parse("2026-01-02T02:04:05Z").unwrap().to_string(), "2026-01-02T02:04:05.000Z");
        assert!(Micros::parse("yesterday").is_err());
    }

    #[test]
    fn every_time_that_rfc_3339_can_spell_is_read() {
        let last = Micros(jiff::Timestamp::MAX.as_microsecond());
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999-23:59", "9999-12-30T23:00:00Z"] {
            assert_eq!(Micros::parse(never).ok(), Some(last), "{never}");
        }
        assert!(Micros::parse("9999-12-30T21:59:59Z").unwrap() < last);
        for none in ["9999-12-31", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "10000-01-01T00:00:00Z"] {
            assert!(Micros::parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        use std::time::Duration;
        assert_eq!(span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(span("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(span("PT1H"), Ok(Duration::from_secs(3600)));
        assert!(span("soon").is_err());
        assert!(span("-5m").is_err());
        assert!(span("15").is_err());
    }
}
