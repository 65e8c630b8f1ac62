//! The wiring: the one module that knows everybody. It owns the ledger, the query engine and the current generation, and hands
//! the API a [`Hub`] that shows none of them.
//!
//! Invariant: readers hold an immutable generation; a new one is published by swapping a pointer, never by changing what a reader
//! holds, and a generation that says sequence n holds everything acknowledged up to n.

mod background;
mod files;
mod heard;
mod hub;
mod kept;
pub mod kubernetes;
mod manifests;
mod start;
mod watched;

pub use files::{FileAnswer, sql_over_files};
pub use heard::{SourceKind, Sources};
pub use hub::{Engines, Freshness, Hub, Published, Stale};
pub use start::{Config, Running, StartError, start};

/// Reads a span of time: `90s`, `15m`, `1h 30m`, `2d`, or ISO 8601.
pub fn span(text: &str) -> Result<std::time::Duration, String> {
    let teach = || format!("'{text}' is not a span of time; write 90s, 15m, 1h or 2d");
    let span: jiff::Span = text.trim().parse().map_err(|_| teach())?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| teach())?;
    std::time::Duration::try_from(signed).map_err(|_| teach())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(super::span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(super::span("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(super::span("PT1H"), Ok(Duration::from_secs(3600)));
        assert!(super::span("soon").is_err());
        assert!(super::span("-5m").is_err());
        assert!(super::span("15").is_err());
    }
}
