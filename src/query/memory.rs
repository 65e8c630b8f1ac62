//! Memory of statements: a pool each, under a total for all.
//!
//! Invariant: what all statements have reserved never exceeds the total by more than the reservations the engine makes
//! without asking; a statement's slot is given back when the last holder of its pool is gone, so that a statement that
//! cannot be stopped at once keeps its slot until it has stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
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

/// One statement's pool.
pub(super) struct StatementPool {
    own: FairSpillPool,
    total: Arc<Total>,
    /// Held, not used: the slot this statement occupies.
    _slot: Option<OwnedSemaphorePermit>,
}

impl StatementPool {
    pub(super) fn new(limit: usize, total: Arc<Total>, slot: Option<OwnedSemaphorePermit>) -> StatementPool {
        StatementPool { own: FairSpillPool::new(limit), total, _slot: slot }
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statement"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.total.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.total.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        if self.total.try_grow(additional) {
            return Ok(());
        }
        self.own.shrink(reservation, additional);
        Err(DataFusionError::ResourcesExhausted("the memory of all statements together is used up".into()))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
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
}
