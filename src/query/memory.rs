//! Memory of statements: a pool each, under a total for all.
//!
//! Invariant: what all statements have reserved never exceeds the total by more than the reservations the engine makes
//! without asking; a statement's slot is given back when the last holder of its pool is gone, so that a statement that
//! cannot be stopped at once keeps its slot until it has stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that all statements together may reserve.
#[derive(Debug)]
pub(super) struct Total {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl Total {
    pub(super) fn new(limit: usize) -> Arc<Total> {
        Arc::new(Total { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    /// Sets the limit; what is reserved already stays so.
    pub(super) fn set(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes that may be reserved.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes reserved now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn try_grow(&self, bytes: usize) -> bool {
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit());
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }
}

/// Of those that spill, one may have a share of so many of a statement's memory, as long as all together have less than half: a plan
/// has dozens of them, and few hold much at a time.
const SHARES: usize = 4;

/// One statement's pool.
pub(super) struct StatementPool {
    limit: usize,
    own: Mutex<Own>,
    total: Arc<Total>,
    /// Held, not used: the slot this statement occupies.
    _slot: Option<OwnedSemaphorePermit>,
}

/// What one statement has reserved.
#[derive(Debug, Default)]
struct Own {
    /// Consumers that spill when they get no more.
    spillers: usize,
    /// What those hold, and what the others do.
    spillable: usize,
    pinned: usize,
}

impl Own {
    fn held_by(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        if consumer.can_spill() { &mut self.spillable } else { &mut self.pinned }
    }

    /// Reserves, if there is room: of what is not pinned, those that spill get an equal part each, whatever the others have, and more
    /// while there is plenty.
    fn try_grow(&mut self, limit: usize, reservation: &MemoryReservation, bytes: usize) -> bool {
        let consumer = reservation.consumer();
        let unpinned = limit.saturating_sub(self.pinned);
        let (held, together) = (reservation.size() + bytes, self.spillable + bytes);
        let fits = match consumer.can_spill() {
            true => held <= unpinned / self.spillers.max(1) || (held <= unpinned / SHARES && together <= unpinned / 2),
            false => together <= unpinned,
        };
        if fits {
            *self.held_by(consumer) += bytes;
        }
        fits
    }
}

impl StatementPool {
    pub(super) fn new(limit: usize, total: Arc<Total>, slot: Option<OwnedSemaphorePermit>) -> StatementPool {
        StatementPool { limit, own: Mutex::default(), total, _slot: slot }
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.lock().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.lock().spillers -= usize::from(consumer.can_spill());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.own.lock().held_by(reservation.consumer()) += additional;
        self.total.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.own.lock().held_by(reservation.consumer()) -= shrink;
        self.total.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if !self.own.lock().try_grow(self.limit, reservation, additional) {
            let who = reservation.consumer().name();
            return Err(DataFusionError::ResourcesExhausted(format!("{who} gets no more memory than it has")));
        }
        if self.total.try_grow(additional) {
            return Ok(());
        }
        *self.own.lock().held_by(reservation.consumer()) -= additional;
        Err(DataFusionError::ResourcesExhausted("the memory of all statements together is used up".into()))
    }

    fn reserved(&self) -> usize {
        let own = self.own.lock();
        own.spillable + own.pinned
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Debug for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementPool({} bytes reserved)", self.reserved())
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_bound_by_its_own_limit_and_by_the_total() {
        let total = Total::new(150);
        let one: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(100, Arc::clone(&total), None));
        let two: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(100, Arc::clone(&total), None));
        let a = MemoryConsumer::new("a").register(&one);
        let b = MemoryConsumer::new("b").register(&two);
        a.try_grow(100).unwrap();
        assert!(a.try_grow(1).is_err());
        b.try_grow(50).unwrap();
        assert!(b.try_grow(1).is_err());
        drop(a);
        b.try_grow(50).unwrap();
        assert_eq!(total.used(), 100);
        total.set(90);
        assert!(b.try_grow(0).is_err(), "what is reserved stays, and nothing is added");
        drop(b);
        assert_eq!(total.used(), 0);
    }

    #[test]
    fn what_spills_gets_a_share_however_many_others_there_are_and_leaves_room_for_what_does_not() {
        let pool: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(100, Total::new(1_000), None));
        let spills = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let alone = spills("alone");
        alone.try_grow(100).unwrap();
        alone.shrink(100);
        let others: Vec<_> = (0..19).map(|_| spills("idle")).collect();
        alone.try_grow(25).unwrap();
        assert!(alone.try_grow(1).is_err(), "a quarter");
        others[0].try_grow(25).unwrap();
        assert!(others[1].try_grow(6).is_err(), "half of it is used");
        others[1].try_grow(5).unwrap();
        let pinned = MemoryConsumer::new("pinned").register(&pool);
        pinned.try_grow(45).unwrap();
        assert!(pinned.try_grow(1).is_err(), "all of it is used");
        assert!(others[2].try_grow(3).is_err(), "an equal part of what is not pinned");
        others[2].try_grow(2).unwrap();
        assert_eq!(pool.reserved(), 102, "whoever has little gets his part");
        drop((alone, others, pinned));
        assert_eq!(pool.reserved(), 0);
    }
}
