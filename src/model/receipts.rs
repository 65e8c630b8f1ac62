//! Times of receipt, of which no two statements share one: the order of receipt is then also a sequence.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Micros;

/// Gives each statement a time of receipt of its own.
///
/// Invariant: every time is later than the one before it, and an even number of microseconds. The odd ones are left for what
/// becomes a statement of its own when a late one is filed: the end of a run that it splits.
#[derive(Debug)]
pub struct Receipts(AtomicI64);

impl Receipts {
    /// Goes on after a time of receipt that is in use already.
    pub fn after(last: Micros) -> Receipts {
        Receipts(AtomicI64::new(last.0))
    }

    /// The time of receipt of a statement that came in `now`: later than now only while they come faster than the clock ticks,
    /// or after the clock was set back.
    pub fn stamp(&self, now: Micros) -> Micros {
        let next = |last: i64| now.0.max(last.saturating_add(1)).saturating_add(1) & !1;
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            let stamp = next(last);
            match self.0.compare_exchange_weak(last, stamp, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Micros(stamp),
                Err(other) => last = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_statements_share_a_time_of_receipt_whatever_the_clock_does() {
        let receipts = Receipts::after(Micros(1001));
        let stamps: Vec<i64> = [5, 2000, 2000, 2001, 1999, 3001].map(|now| receipts.stamp(Micros(now)).0).to_vec();
        assert_eq!(stamps, [1002, 2000, 2002, 2004, 2006, 3002]);
    }
}
