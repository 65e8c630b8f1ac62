//! How a ledger runs: sizes, times and the clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Micros;
use crate::state::Heartbeats;

/// How a ledger runs; the default suits a fleet of 10,000 hosts.
#[derive(Clone)]
pub struct Options {
    /// redb's page cache.
    pub cache_bytes: usize,
    /// Facts that may be on their way at once; more are refused.
    pub queue_facts: usize,
    /// Facts in one commit.
    pub group_facts: usize,
    /// A checkpoint begins this long after the one before it,
    pub checkpoint_every: Duration,
    /// or when so many bytes were journaled since.
    pub journal_bytes: u64,
    /// A checkpoint is written in slices of about this size, between commits.
    pub slice_bytes: usize,
    /// At the end a file is packed together when more than this, and more than what it holds, would come free: it grows with the
    /// journal and never shrinks by itself.
    pub pack_bytes: u64,
    /// How often it is tried whether a volume that was full has room again,
    pub room_every: Duration,
    /// which it has when so many bytes can be written.
    pub room_bytes: usize,
    /// The longest that a confirmation waits to be journaled.
    pub confirm_flush_every: Duration,
    /// How often hosts that fell silent are looked for.
    pub sweep_every: Duration,
    /// After a longer time between two looks, or a negative one, nobody was listened to meanwhile: the clock was set, or the process
    /// was stopped. Without end by default, for a clock that is told what to say may say anything.
    pub longest_gap: Duration,
    /// When hosts turn late and silent.
    pub heartbeats: Heartbeats,
    /// Sources that watch what they report, so that its silence means nothing.
    pub watched_sources: Vec<String>,
    /// The time, as far as the ledger concludes something from it.
    pub clock: Arc<dyn Fn() -> Micros + Send + Sync>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 32 << 20,
            queue_facts: 32_768,
            group_facts: 4_000,
            checkpoint_every: Duration::from_secs(60),
            journal_bytes: 256 << 20,
            slice_bytes: 512 << 10,
            pack_bytes: 4 << 20,
            room_every: Duration::from_secs(5),
            room_bytes: 4 << 20,
            confirm_flush_every: Duration::from_secs(10),
            sweep_every: Duration::from_secs(1),
            longest_gap: Duration::MAX,
            heartbeats: Heartbeats::default(),
            watched_sources: Vec::new(),
            clock: Arc::new(Micros::now),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cache_bytes,
            queue_facts,
            group_facts,
            checkpoint_every,
            journal_bytes,
            slice_bytes,
            pack_bytes,
            room_every,
            room_bytes,
            confirm_flush_every,
            sweep_every,
            longest_gap,
            heartbeats,
            watched_sources,
            clock: _,
        } = self;
        f.debug_struct("Options")
            .field("cache_bytes", cache_bytes)
            .field("queue_facts", queue_facts)
            .field("group_facts", group_facts)
            .field("checkpoint_every", checkpoint_every)
            .field("journal_bytes", journal_bytes)
            .field("slice_bytes", slice_bytes)
            .field("pack_bytes", pack_bytes)
            .field("room_every", room_every)
            .field("room_bytes", room_bytes)
            .field("confirm_flush_every", confirm_flush_every)
            .field("sweep_every", sweep_every)
            .field("longest_gap", longest_gap)
            .field("heartbeats", heartbeats)
            .field("watched_sources", watched_sources)
            .finish_non_exhaustive()
    }
}
