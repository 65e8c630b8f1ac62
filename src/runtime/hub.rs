//! The hub as its readers and writers see it: append facts, read the state, get a generation that is fresh enough.
//!
//! Invariant: a generation is taken at most once at a time and at most every [`PAUSE`] unless a reader needs a newer one, so
//! that any number of readers cost one snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::backups::Backups;
use super::heard::Sources;
use super::kept::Kept;
use super::pasts::Pasts;
use super::reload::RefusedFiles;
use super::retention::Rounds;
use super::waiters::{Crowded, Topic, Waiter, Waiters};
use crate::access::reviews::Reviews;
use crate::access::{Restriction, Tokens};
use crate::ledger::{AppendError, Ledger, Receipt, Since, Trouble};
use crate::model::{Fact, Micros, Receipts, Received};
use crate::query::{Catalog, Engine};
use crate::rollout::Policies;
use crate::snapshot::{Generation, Made, schema};
use crate::state::State;

/// The least time between two generations that nobody asked for by sequence.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a reader waits for the sequence it names.
const PATIENCE: Duration = Duration::from_secs(10);
/// A generation older than this is renewed although nothing was said, for its views know what time it is.
const STALE: Duration = Duration::from_secs(4);

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Freshness {
    /// Not older than a moment.
    #[default]
    Recent,
    /// Everything acknowledged before the question.
    Now,
    /// Everything up to this sequence.
    AtLeast(u64),
}

/// The ledger did not get to the sequence a reader named in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("sequence {wanted} has not been reached; the ledger is at {reached}")]
pub struct Stale {
    /// The sequence asked for.
    pub wanted: u64,
    /// Where the ledger is.
    pub reached: u64,
}

/// A generation and what is needed to question it.
#[derive(Debug)]
pub struct Published {
    /// The generation.
    pub generation: Generation,
    /// Its tables and views.
    pub catalog: Arc<Catalog>,
    /// It holds everything that was said before.
    taken: Instant,
    /// The same for those who see less.
    parts: Mutex<HashMap<Arc<Restriction>, Arc<Published>>>,
}

impl Published {
    /// The part of it that somebody sees.
    pub fn seen_by(self: &Arc<Published>, sees: &Arc<Restriction>) -> Arc<Published> {
        if sees.is_none() {
            return Arc::clone(self);
        }
        let part = || {
            let generation = self.generation.seen_by(sees);
            let catalog = Arc::new(generation.catalog().closed());
            Arc::new(Published { generation, catalog, taken: self.taken, parts: Mutex::default() })
        };
        Arc::clone(self.parts.lock().entry(Arc::clone(sees)).or_insert_with(part))
    }
}

/// Two engines with threads, memory and slots of their own, so that no statement of a client holds up a list or a view.
#[derive(Debug)]
pub struct Engines {
    /// For lists and views.
    pub rows: Engine,
    /// For whatever clients write.
    pub sql: Engine,
}

/// What the hub knows of itself: the tables of the schema `system` read it.
#[derive(Clone, Debug)]
struct Watched {
    sources: Arc<Sources>,
    kept: Arc<Kept>,
    waiters: Arc<Waiters>,
}

/// The running hub.
#[derive(Debug)]
pub struct Hub {
    ledger: Ledger,
    receipts: Receipts,
    watched: Watched,
    engines: Engines,
    current: RwLock<Arc<Published>>,
    taking: tokio::sync::Mutex<()>,
    parts: tokio::sync::Mutex<()>,
    awaited: Mutex<Awaited>,
    pasts: Pasts,
    policies: RwLock<(u64, Arc<Policies>)>,
    backups: Backups,
    rounds: Rounds,
    refused_files: Arc<RefusedFiles>,
    tokens: RwLock<Option<Arc<Tokens>>>,
    reviews: OnceLock<Arc<Reviews>>,
    stop: CancellationToken,
}

/// The sources that must be heard before the hub is ready.
#[derive(Debug, Default)]
struct Awaited {
    unheard: BTreeSet<String>,
    /// When the last of them was heard: nothing that was taken earlier is shown any more.
    heard: Option<Instant>,
}

impl Hub {
    /// Over an open ledger; takes the first generation.
    pub fn new(ledger: Ledger, engines: Engines, max_waiters: usize, stop: CancellationToken) -> Hub {
        let waiters = Arc::new(Waiters::new(max_waiters));
        let watched = Watched { sources: Arc::default(), kept: Arc::default(), waiters };
        let first = Arc::new(publish(&ledger, &watched));
        let last_receipt = ledger.read(|s| s.view().sources.iter().map(|(_, s)| s.last_received_at).max());
        Hub {
            ledger,
            receipts: Receipts::after(last_receipt.unwrap_or_default()),
            watched,
            engines,
            current: RwLock::new(first),
            taking: tokio::sync::Mutex::new(()),
            parts: tokio::sync::Mutex::new(()),
            awaited: Mutex::default(),
            pasts: Pasts::default(),
            policies: RwLock::default(),
            backups: Backups::default(),
            rounds: Rounds::default(),
            refused_files: Arc::default(),
            tokens: RwLock::default(),
            reviews: OnceLock::new(),
            stop,
        }
    }

    /// Stores facts; returns when they are safe. A full ledger is waited for: this is how back-pressure reaches a stream.
    pub async fn append(&self, facts: Vec<Fact>) -> Result<Receipt, AppendError> {
        self.ledger.append_waiting(facts).await
    }

    /// Held while what a restricted token tells is judged and stored.
    pub(super) fn parts(&self) -> &tokio::sync::Mutex<()> {
        &self.parts
    }

    /// The receipt of a statement that came in `now`.
    pub fn receipt(&self, now: Micros) -> Received {
        self.receipts.receive(now)
    }

    /// Reads the state as of the last acknowledged sequence.
    pub fn read<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        self.ledger.read(f)
    }

    /// Reads the state for an answer of the gate: these are counted.
    pub fn evaluate<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        self.waiters().evaluated();
        self.read(f)
    }

    /// The last acknowledged sequence.
    pub fn seq(&self) -> u64 {
        self.ledger.seq()
    }

    /// Follows the acknowledged sequence.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.ledger.watch()
    }

    /// What changed after a sequence, in pieces of about `most`.
    pub fn changes(&self, seq: u64, most: usize) -> Since {
        self.ledger.feed().since(seq, most)
    }

    /// The epoch of the store.
    pub fn epoch(&self) -> u64 {
        self.ledger.epoch()
    }

    /// The engine for statements of the hub itself: lists and views.
    pub fn rows(&self) -> &Engine {
        &self.engines.rows
    }

    /// The engine for statements of clients.
    pub fn sql(&self) -> &Engine {
        &self.engines.sql
    }

    /// Begins to wait for an answer of the gate.
    pub async fn wait_for(self: &Arc<Self>, topic: Topic) -> Result<Waiter, Crowded> {
        self.watched.waiters.join(self, topic).await
    }

    /// A place among those who wait, for who follows the changes; dropping it is going away.
    pub fn place_to_wait(&self) -> Result<OwnedSemaphorePermit, Crowded> {
        self.watched.waiters.place()
    }

    pub(super) fn waiters(&self) -> &Waiters {
        &self.watched.waiters
    }

    pub(super) fn pasts(&self) -> &Pasts {
        &self.pasts
    }

    /// The tokens of the file; `None` when there is none.
    pub fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.read().clone()
    }

    pub(super) fn set_tokens(&self, mut tokens: Tokens) {
        let mut known = self.tokens.write();
        if known.as_ref().is_some_and(|known| tokens.keep_accounts(known)) {
            tracing::error!(
                "the file of tokens lists no accounts any more; those that it listed stay in force until a restart. Write accounts: [] \
                 to let none in, or name system:serviceaccounts to let all in"
            );
        }
        *known = Some(Arc::new(tokens));
    }

    /// Backups in numbers.
    pub fn backups(&self) -> &Backups {
        &self.backups
    }

    /// What became of the rounds that trim history.
    pub fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// The files that are followed, and whether what they hold now is refused.
    pub fn refused_files(&self) -> &Arc<RefusedFiles> {
        &self.refused_files
    }

    /// Takes a generation at once, for what it shows besides the ledger is another.
    pub(super) fn take_again(&self) {
        let next = Arc::new(publish(&self.ledger, &self.watched));
        *self.current.write() = next;
    }

    /// Who asks a cluster about the tokens of its accounts; `None` when these are not taken.
    pub fn reviews(&self) -> Option<Arc<Reviews>> {
        self.reviews.get().cloned()
    }

    pub(super) fn set_reviews(&self, reviews: Reviews) {
        // Set once, at the start.
        let _ = self.reviews.set(Arc::new(reviews));
    }

    /// The named policies, and how often they changed.
    pub fn policies(&self) -> (u64, Arc<Policies>) {
        let known = self.policies.read();
        (known.0, Arc::clone(&known.1))
    }

    pub(super) fn set_policies(&self, policies: Policies) {
        {
            let mut known = self.policies.write();
            *known = (known.0 + 1, Arc::new(policies));
        }
        self.waiters().wake();
    }

    /// What each source said since the start.
    pub fn sources(&self) -> &Sources {
        &self.watched.sources
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The sequence of the current generation, however old it is, and when it was taken.
    pub(super) fn newest_generation(&self) -> (u64, Micros) {
        let current = self.current.read();
        (current.generation.seq, current.generation.taken_at)
    }

    /// Which generations and exports there are.
    pub(super) fn kept(&self) -> &Kept {
        &self.watched.kept
    }

    /// How many exports failed since one went well.
    pub fn failed_exports(&self) -> u64 {
        self.watched.kept.failed_exports()
    }

    /// Drains and checkpoints the ledger, and closes its file.
    pub(super) fn close(&self) -> Result<(), AppendError> {
        self.ledger.clone().shutdown()
    }

    /// Cancelled when the hub is shutting down: long streams end then.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Why the hub answers questions and takes nothing, if it is so: its volume is full, or its store failed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.ledger.trouble()
    }

    /// The sources whose first complete scan is not in yet; the hub is ready when there are none.
    pub fn unheard(&self) -> Vec<String> {
        self.awaited.lock().unheard.iter().cloned().collect()
    }

    /// The watch of a source broke at that time, or is whole again.
    pub(super) fn watching(&self, source: &str, broken_since: Option<Micros>) {
        self.ledger.watching(source, broken_since);
    }

    /// Says that a source must be heard before the hub is ready.
    pub(super) fn await_source(&self, source: &str) {
        self.awaited.lock().unheard.insert(source.to_owned());
    }

    /// Says that a source has been heard once.
    pub(super) fn heard_source(&self, source: &str) {
        let mut awaited = self.awaited.lock();
        if awaited.unheard.remove(source) {
            awaited.heard = Some(Instant::now());
        }
    }

    /// A generation that is fresh enough.
    pub async fn generation(self: &Arc<Self>, freshness: Freshness) -> Result<Arc<Published>, Stale> {
        let asked = Instant::now();
        let wanted = match freshness {
            Freshness::Recent => None,
            // A confirmation moves no sequence, so only a generation taken since then is sure to hold it.
            Freshness::Now => Some(u64::MAX),
            Freshness::AtLeast(seq) => {
                self.reach(seq).await?;
                Some(seq)
            }
        };
        if let Some(enough) = self.enough(wanted) {
            return Ok(enough);
        }
        let _one_at_a_time = self.taking.lock().await;
        let current = Arc::clone(&self.current.read());
        if current.taken >= asked {
            return Ok(current);
        }
        if let Some(enough) = self.enough(wanted) {
            return Ok(enough);
        }
        let hub = Arc::clone(self);
        let span = tracing::debug_span!(target: crate::TRACES, "snapshot");
        let take = move || span.in_scope(|| Arc::new(publish(&hub.ledger, &hub.watched)));
        let taken = tokio::task::spawn_blocking(take).await;
        match taken {
            Ok(next) => {
                *self.current.write() = Arc::clone(&next);
                Ok(next)
            }
            // A generation that could not be taken leaves the last one in place; the panic is in the log.
            Err(_) => Ok(Arc::clone(&self.current.read())),
        }
    }

    /// The current generation, if it will do.
    fn enough(&self, wanted: Option<u64>) -> Option<Arc<Published>> {
        let current = self.current.read();
        let reached = current.generation.seq;
        let enough = match wanted {
            _ if self.awaited.lock().heard > Some(current.taken) => false,
            Some(seq) => reached >= seq,
            None => {
                let age = current.taken.elapsed();
                age < PAUSE || (reached >= self.seq() && age < STALE)
            }
        };
        enough.then(|| Arc::clone(&current))
    }

    /// Waits until the ledger has got to a sequence.
    pub async fn reach(&self, wanted: u64) -> Result<(), Stale> {
        let mut watch = self.ledger.watch();
        let reached = tokio::time::timeout(PATIENCE, watch.wait_for(|seq| *seq >= wanted)).await;
        if matches!(reached, Ok(Ok(_))) || self.seq() >= wanted {
            Ok(())
        } else {
            Err(Stale { wanted, reached: self.seq() })
        }
    }
}

fn publish(ledger: &Ledger, watched: &Watched) -> Published {
    // Before anything is read: what was said while the generation was being taken may not be in it.
    let taken = Instant::now();
    let (seq, tables) = ledger.tables();
    let Watched { sources, kept, waiters } = watched.clone();
    let (reached, known) = (ledger.watch(), tables.clone());
    let about = vec![
        Made::of(&schema::SYSTEM_GATE, move || waiters.rows()),
        Made::of(&schema::SYSTEM_SOURCES, move || sources.rows(&known)),
        Made::of(&schema::SYSTEM_SNAPSHOTS, move || kept.rows(*reached.borrow())),
    ];
    let generation = Generation::take(ledger.epoch(), seq, tables, Micros::now()).with_archive(watched.kept.archive());
    let catalog = Arc::new(generation.catalog().with_system_tables(about));
    watched.kept.took(&generation, &catalog);
    Published { generation, catalog, taken, parts: Mutex::default() }
}

#[cfg(test)]
mod tests;
