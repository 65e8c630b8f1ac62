//! Times of receipt, of which no two statements share one: the order of receipt is then also a sequence.

use std::sync::atomic::{AtomicI64, Ordering};

use super::{FUTURE_TOLERANCE, Micros};

/// When a statement was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// By the clock: what a statement without a time counts as of, and what claimed times are held against.
    pub at: Micros,
    /// No other statement has the same, and what comes later has a later one, whatever becomes of the clock.
    pub stamp: Micros,
}

impl From<Micros> for Received {
    fn from(at: Micros) -> Received {
        Received { at, stamp: at }
    }
}

/// Gives each statement a time of receipt of its own.
///
/// Invariant: every stamp is later than the one before it, and an even number of microseconds. The odd ones are left for what
/// becomes a statement of its own when a late one is filed: the end of a run that it splits. Times go back with a clock that was far
/// ahead, and only then: what was received while it was so must not date what comes after.
#[derive(Debug)]
pub struct Receipts {
    at: AtomicI64,
    stamp: AtomicI64,
}

impl Receipts {
    /// Goes on after a stamp that is in use already.
    pub fn after(last: Micros) -> Receipts {
        Receipts { at: AtomicI64::new(last.0), stamp: AtomicI64::new(last.0) }
    }

    /// The receipt of a statement that came in `now`: later than now only while they come faster than the clock ticks, or, for its
    /// stamp, after the clock was set back.
    pub fn receive(&self, now: Micros) -> Received {
        let after = |last: i64| now.0.max(last.saturating_add(1)).saturating_add(1) & !1;
        let ahead = |last: i64| Micros(last).since(now) > FUTURE_TOLERANCE;
        let at = next(&self.at, |last| after(if ahead(last) { now.0.saturating_sub(1) } else { last }));
        Received { at: Micros(at), stamp: Micros(next(&self.stamp, after)) }
    }
}

fn next(last: &AtomicI64, next: impl Fn(i64) -> i64) -> i64 {
    let mut seen = last.load(Ordering::Relaxed);
    loop {
        let given = next(seen);
        match last.compare_exchange_weak(seen, given, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return given,
            Err(other) => seen = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_statements_share_a_stamp_whatever_the_clock_does() {
        let receipts = Receipts::after(Micros(1001));
        let received = [5, 2000, 2000, 2001, 1999, 3001].map(|now| receipts.receive(Micros(now)));
        assert_eq!(received.map(|r| r.stamp.0), [1002, 2000, 2002, 2004, 2006, 3002]);
        assert!(
            received.iter().all(|r| r.at == r.stamp),
            "a clock that is a little behind does not turn the order round"
        );
    }

    #[test]
    fn a_clock_that_was_far_ahead_dates_nothing_that_comes_after() {
        let (now, year) = (1_000_000_000_000, 31_536_000_000_000);
        let receipts = Receipts::after(Micros(now + year));
        let received = [now, now, now + year, now + 10].map(|now| receipts.receive(Micros(now)));
        assert_eq!(received.map(|r| r.at.0), [now, now + 2, now + year, now + 10]);
        assert_eq!(received.map(|r| r.stamp.0 - now - year), [2, 4, 6, 8]);
    }
}
