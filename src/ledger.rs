//! The ledger: what the hub was told, durable; and the state folded from it, in memory.
//!
//! ```text
//!  append ─► queue ─► group ─► journal (fsync) ─► fold ─► publish ─► acknowledge
//!                       │                          │
//!                  repeats wait              tables ─► checkpoint, in slices ─► journal trimmed
//! ```
//!
//! Invariant: an acknowledgement means fsynced, and nothing is shown that the journal does not say. The one exception are
//! confirmations (a report that repeats the last one): they are shown at once and journaled within seconds, so a crash may
//! lose some seconds of a last-heard time, and nothing else.
//!
//! One thread, the [writer], owns the file. Handles send it facts through a queue that is bounded by facts, and read the
//! state beside it.

mod checkpoint;
mod confirmations;
mod cut;
pub mod feed;
mod former;
mod group;
mod inspect;
pub mod journal;
mod lineage;
pub mod migrations;
mod options;
mod overlay;
pub mod record;
mod restore;
mod room;
mod stats;
mod store;
pub mod tables;
mod trimming;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

pub use cut::{Cut, Origin, Piece};
pub use feed::{Change, FEED_LENGTH, Feed, Since};
pub use inspect::{Inspected, inspect};
pub use lineage::Lineage;
pub use options::Options;
pub use restore::{Rebuild, RestoreError};
pub use room::Trouble;
pub use stats::Stats;
pub use store::{OpenError, Store};

use crate::model::{Fact, Micros};
use crate::state::tables::Window;
use crate::state::{Heartbeats, State, Tables};
use record::Packer;
use trimming::Trim;
use writer::{Message, Pending, Writer};

/// After a full queue: the time in which the writer empties it, roughly.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A handle on an open ledger; clones are the same ledger.
///
/// The ledger closes when it is [shut down](Ledger::shutdown) or the last handle is dropped; both wait for the final
/// checkpoint and for the file to be released.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The sequence from which on readers see all of it.
    pub seq: u64,
    /// Facts that said something new.
    pub changed: usize,
    /// Facts that repeated what was known.
    pub unchanged: usize,
}

/// Why facts were not taken.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// The queue is full; nothing was taken.
    #[error("the ledger's queue is full: send it again in {} s", retry_after.as_secs())]
    Full {
        /// When there will be room.
        retry_after: Duration,
    },
    /// The volume is full. Of this batch an unknown part is stored; sending it again later is safe.
    #[error("the ledger's volume is full: the hub is read-only until there is room")]
    NoRoom,
    /// The store failed, now or before. Of this batch an unknown part is stored; sending it again later is safe.
    #[error("the ledger's store failed: the hub is read-only until it is restarted")]
    Failed,
    /// The ledger is shutting down.
    #[error("the ledger is closed")]
    Closed,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: Sender<Message>,
    room: Arc<Semaphore>,
    capacity: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer shows to the handles.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    seq: AtomicU64,
    published: watch::Sender<u64>,
    feed: Feed,
    lineage: Lineage,
    closed: AtomicBool,
    trouble: RwLock<Option<Trouble>>,
    stats: Stats,
}

/// What a ledger starts with.
#[derive(Debug)]
struct Loaded {
    /// Absent where the volume is too full to open it.
    db: Option<Database>,
    lock: Option<store::Lock>,
    lineage: Lineage,
    checkpoint: u64,
    seq: u64,
    state: State,
    trouble: Option<Trouble>,
}

fn load(store: &Store, options: &Options) -> Result<Loaded, OpenError> {
    let store::Opened { db, lineage, checkpoint, lock } = store::open(store, options.cache_bytes)?;
    let mut state = checkpoint::load(&db, checkpoint)?;
    let seq = journal::replay(&db, checkpoint, |seq, fact| drop(state.apply(seq, fact)))?;
    Ok(Loaded { db: Some(db), lock, lineage, checkpoint, seq, state, trouble: None })
}

impl Ledger {
    /// Opens or creates a ledger: reads the checkpoint, replays the journal after it, starts the writer.
    ///
    /// One whose volume is full opens all the same, to be read.
    pub fn open(store: Store, options: Options) -> Result<Ledger, OpenError> {
        let mut loaded = load(&store, &options).or_else(|error| room::load_without(&store, error))?;
        // These are watched by who reads them now, whatever a replay said.
        options.watched_sources.iter().for_each(|source| loaded.state.watch_source(source, None));
        let Loaded { db, lock, lineage, checkpoint, seq, state, trouble } = loaded;
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            seq: AtomicU64::new(seq),
            published: watch::Sender::new(seq),
            feed: Feed::starting_at(seq, FEED_LENGTH),
            lineage,
            closed: AtomicBool::new(false),
            trouble: RwLock::new(trouble.clone()),
            stats: Stats::starting_at(checkpoint),
        });
        let (queue, messages) = std::sync::mpsc::channel();
        let cannot_start = |error| OpenError::Io { path: "the writer's thread".into(), error };
        let now = (options.clock)();
        let capacity = options.queue_facts.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let writer = Writer {
            shared: Arc::clone(&shared),
            store,
            db,
            lock,
            messages,
            packer: Packer::new().map_err(cannot_start)?,
            listening_since: now,
            swept: now,
            seq,
            checkpointed: checkpoint,
            pending: Pending::starting(&options),
            options,
        };
        let thread = std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || writer.run(trouble))
            .map_err(cannot_start)?;
        let room = Arc::new(Semaphore::new(capacity));
        Ok(Ledger(Arc::new(Inner { shared, queue, room, capacity, thread: Mutex::new(Some(thread)) })))
    }

    /// Stores facts; returns when they are durable and shown. A full queue is an error at once.
    ///
    /// Once the future has been polled the facts are on their way, also when it is dropped.
    pub async fn append(&self, facts: Vec<Fact>) -> Result<Receipt, AppendError> {
        self.writable()?;
        let room =
            Arc::clone(&self.0.room).try_acquire_many_owned(self.permits(&facts)).map_err(|error| match error {
                TryAcquireError::NoPermits => AppendError::Full { retry_after: RETRY_AFTER },
                TryAcquireError::Closed => self.0.shared.refusal(),
            })?;
        self.submit(facts, room).await
    }

    /// The same, but waits for room in the queue: for sources that can stop reading.
    pub async fn append_waiting(&self, facts: Vec<Fact>) -> Result<Receipt, AppendError> {
        self.writable()?;
        let room = Arc::clone(&self.0.room).acquire_many_owned(self.permits(&facts)).await;
        self.submit(facts, room.map_err(|_| self.0.shared.refusal())?).await
    }

    /// Reads the state; the writer waits meanwhile, so `f` must be short, and must not use the ledger itself.
    pub fn read<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        f(&self.0.shared.state.read())
    }

    /// An immutable snapshot of the tables, and the sequence of which it shows everything.
    ///
    /// It may also show a part of the next group, which is durable by then.
    pub fn tables(&self) -> (u64, Tables) {
        let state = self.0.shared.state.read();
        (self.seq(), state.tables())
    }

    /// The last published sequence: readers see everything up to it.
    pub fn seq(&self) -> u64 {
        self.0.shared.seq.load(Ordering::Acquire)
    }

    /// Follows the published sequence.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.shared.published.subscribe()
    }

    /// The changes behind the published sequences.
    pub fn feed(&self) -> &Feed {
        &self.0.shared.feed
    }

    /// The store epoch: sequences of another epoch mean nothing here.
    pub fn epoch(&self) -> u64 {
        self.0.shared.lineage.epoch
    }

    /// Where the store comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.0.shared.lineage
    }

    /// The watch of a source broke at that time, or is whole again: whether its silence means nothing.
    pub fn watching(&self, source: &str, broken_since: Option<Micros>) {
        self.0.shared.state.write().watch_source(source, broken_since);
    }

    /// Why the ledger takes nothing, if it does not: its volume is full, or its store failed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.shared.trouble.read().clone()
    }

    /// What the writer counted since the start.
    pub fn stats(&self) -> &Stats {
        &self.0.shared.stats
    }

    /// Facts on their way, and how many may be at once.
    pub fn queue(&self) -> (usize, usize) {
        (self.0.capacity.saturating_sub(self.0.room.available_permits()), self.0.capacity)
    }

    /// Writes a checkpoint now, and clears away what it replaces.
    pub async fn checkpoint(&self) -> Result<(), AppendError> {
        self.ask(Message::Checkpoint).await
    }

    /// Looks for hosts that turned late or silent now.
    pub async fn sweep(&self) -> Result<(), AppendError> {
        self.ask(Message::Sweep).await
    }

    /// Drops what reconcilers said before the window, but for their last words; gives how many statements went. Where `archived` is
    /// given, only those go that are in it. Returns when that is done; it is kept with the next checkpoint.
    pub async fn trim(&self, window: Window, archived: Option<Tables>) -> Result<u64, AppendError> {
        self.ask(|reply| Message::Trim(Box::new(Trim { window, archived, reply }))).await
    }

    /// When hosts turn late and silent from now on; what was concluded before is looked at anew.
    pub fn set_heartbeats(&self, heartbeats: Heartbeats) {
        // Nobody at the other end: nothing is concluded any more.
        let _ = self.0.queue.send(Message::Heartbeats(heartbeats));
    }

    /// Takes nothing more, stores what is queued, writes a checkpoint and releases the file. Blocks until that is done.
    pub fn shutdown(self) -> Result<(), AppendError> {
        self.0.stop();
        self.trouble().map_or(Ok(()), |trouble| Err(trouble.refusal()))
    }

    /// All of it at one sequence, for a backup; also when the store failed.
    pub async fn cut(&self) -> Result<Cut, AppendError> {
        if self.0.shared.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        self.send(Message::Cut).await
    }

    /// Reads every block and every entry of the file, as a restart would; gives how many there are. The hub goes on meanwhile.
    pub async fn examine(&self) -> Result<Result<(u64, u64), OpenError>, AppendError> {
        let (txn, checkpoint) = self.ask(Message::Read).await?;
        let read = tokio::task::spawn_blocking(move || inspect::examine(&txn, checkpoint));
        Ok(read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())))
    }

    fn writable(&self) -> Result<(), AppendError> {
        let shared = &self.0.shared;
        if shared.closed.load(Ordering::Acquire) || shared.trouble.read().is_some() {
            return Err(shared.refusal());
        }
        Ok(())
    }

    fn permits(&self, facts: &[Fact]) -> u32 {
        // A batch beyond the queue's size has the queue for itself.
        u32::try_from(facts.len().min(self.0.capacity)).unwrap_or(u32::MAX)
    }

    async fn submit(&self, facts: Vec<Fact>, room: OwnedSemaphorePermit) -> Result<Receipt, AppendError> {
        if facts.is_empty() {
            return Ok(Receipt { seq: self.seq(), changed: 0, unchanged: 0 });
        }
        self.ask(|reply| Message::Append { facts, reply, room, asked: tracing::Span::current() }).await
    }

    async fn ask<T>(&self, message: impl FnOnce(writer::Answer<T>) -> Message) -> Result<T, AppendError> {
        self.writable()?;
        self.send(message).await
    }

    async fn send<T>(&self, message: impl FnOnce(writer::Answer<T>) -> Message) -> Result<T, AppendError> {
        let (reply, answer) = oneshot::channel();
        // Nobody at the other end, or gone before the answer: the writer has stopped.
        self.0.queue.send(message(reply)).map_err(|_| self.0.shared.refusal())?;
        answer.await.unwrap_or_else(|_| Err(self.0.shared.refusal()))
    }
}

impl Inner {
    fn stop(&self) {
        self.shared.closed.store(true, Ordering::Release);
        // It may have stopped by itself.
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the writer is recorded as its failure.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn publish(&self, seq: u64, changes: Vec<Change>) {
        self.seq.store(seq, Ordering::Release);
        self.feed.publish(seq, changes);
        self.published.send_if_modified(|published| std::mem::replace(published, seq) != seq);
    }

    fn refusal(&self) -> AppendError {
        self.trouble.read().as_ref().map_or(AppendError::Closed, Trouble::refusal)
    }
}
