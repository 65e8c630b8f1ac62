//! The writer: the one thread that changes the ledger and the state.
//!
//! Invariant: append, fsync, fold, publish, acknowledge, in this order. After an error of the store nothing is folded or
//! acknowledged any more; readers keep the state as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use parking_lot::RwLockWriteGuard;
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::checkpoint::Checkpoint;
use super::confirmations::Confirmations;
use super::cut::Cut;
use super::feed::Change;
use super::group::{Backlog, Queued};
use super::journal;
use super::record::Packer;
use super::store::{Lock, Store};
use super::trimming::{Trim, Trimming};
use super::{AppendError, Options, Receipt, Shared, Trouble};
use crate::model::{Body, CarrierKey, Clock, Fact, LivenessChange, Micros};
use crate::state::{Heartbeats, Novelty};

/// Facts folded before waiting readers get their turn.
const FOLD_CHUNK: usize = 64;
/// Confirmations are journaled before their time when so many wait: they occupy memory.
const CONFIRMATIONS: usize = 32_768;
/// Changes of liveness in one fact.
const LIVENESS_CHUNK: usize = 1_000;

/// What the handles ask of the writer.
#[derive(Debug)]
pub(super) enum Message {
    Append { facts: Vec<Fact>, reply: Answer<Receipt>, room: OwnedSemaphorePermit, asked: tracing::Span },
    Checkpoint(Answer<()>),
    Sweep(Answer<()>),
    Heartbeats(Heartbeats),
    Trim(Box<Trim>),
    Cut(Answer<Cut>),
    Read(Answer<(ReadTransaction, u64)>),
    Stop,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, AppendError>>;

/// The parts of the writer that can change.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// Where the database is.
    pub(super) store: Store,
    /// Absent while it cannot be opened again.
    pub(super) db: Option<Database>,
    /// Dropped after the database.
    pub(super) lock: Option<Lock>,
    pub(super) options: Options,
    pub(super) messages: Receiver<Message>,
    pub(super) packer: Packer,
    /// Since when silence counts.
    pub(super) listening_since: Micros,
    /// The last sequence in the journal.
    pub(super) seq: u64,
    /// The checkpoint that a restart reads.
    pub(super) checkpointed: u64,
    /// When hosts were looked at last.
    pub(super) swept: Micros,
    pub(super) pending: Pending,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) backlog: Backlog,
    confirmations: Confirmations,
    /// When the oldest waiting confirmation came.
    confirming_since: Option<Instant>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) trimming: Option<Trimming>,
    /// Those who wait for the checkpoint under way, and those who came after it began.
    pub(super) promised: Vec<Answer<()>>,
    pub(super) wanted: Vec<Answer<()>>,
    /// Packed bytes journaled since the last checkpoint began.
    journaled: u64,
    next_sweep: Instant,
    next_checkpoint: Instant,
    pub(super) stopping: bool,
}

impl Pending {
    /// Nothing yet.
    pub(super) fn starting(options: &Options) -> Pending {
        let now = Instant::now();
        Pending {
            backlog: Backlog::default(),
            confirmations: Confirmations::default(),
            confirming_since: None,
            checkpoint: None,
            trimming: None,
            promised: Vec::new(),
            wanted: Vec::new(),
            journaled: 0,
            next_sweep: now + options.sweep_every,
            next_checkpoint: now + options.checkpoint_every,
            stopping: false,
        }
    }
}

impl Writer {
    /// Runs until it is told to stop, or every handle is gone; begins with the trouble that its store has.
    pub(super) fn run(mut self, trouble: Option<Trouble>) {
        let mut trouble = trouble.map(|trouble| (trouble, true));
        loop {
            // Waiting too: the storage engine may stumble over what it finds when it opens the file again.
            let go = || match trouble.take().is_none_or(|(trouble, whole)| self.outlast(trouble, whole)) {
                true => self.work(),
                false => Ok(()),
            };
            trouble = Some(match catch_unwind(AssertUnwindSafe(go)) {
                Ok(Ok(())) => break,
                Ok(Err(error)) => (Trouble::of(&error), true),
                Err(_) => (Trouble::Failed("the writer ran into a bug; its message is in the log".to_owned()), false),
            });
        }
        let Writer { db, lock, .. } = self;
        drop(db);
        drop(lock);
    }

    fn work(&mut self) -> Result<(), redb::Error> {
        loop {
            self.receive()?;
            if !self.pending.backlog.is_empty() {
                let group = self.pending.backlog.take_group(&self.shared.state.read(), self.options.group_facts);
                self.commit(group)?;
            }
            self.keep_time()?;
            if self.pending.stopping && self.pending.backlog.is_empty() {
                return self.finish();
            }
        }
    }

    /// Takes what is queued, up to a group; waits for it only when there is nothing else to do.
    fn receive(&mut self) -> Result<(), redb::Error> {
        let busy = |p: &Pending| !p.backlog.is_empty() || p.checkpoint.is_some() || p.trimming.is_some() || p.stopping;
        if !busy(&self.pending) {
            match self.messages.recv_timeout(self.idle_time()) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => self.pending.stopping = true,
            }
        }
        while self.pending.backlog.len() < self.options.group_facts && !self.pending.stopping {
            match self.messages.try_recv() {
                Ok(message) => self.take(message)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.pending.stopping = true,
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), redb::Error> {
        match message {
            Message::Append { facts, reply, room, asked } => self.pending.backlog.add(facts, reply, room, asked),
            Message::Checkpoint(reply) => self.pending.wanted.push(reply),
            Message::Sweep(reply) => {
                let swept = self.sweep();
                self.answer(reply, swept)?;
            }
            Message::Heartbeats(heartbeats) => self.set_heartbeats(heartbeats),
            // One at a time: who comes while another is under way takes its place.
            Message::Trim(trim) => self.begin_trimming(*trim)?,
            Message::Cut(reply) => {
                // What was confirmed is part of the cut, so its sequence has to say so.
                let flushed = self.flush();
                let _ = reply.send(Ok(self.cut()));
                flushed?;
            }
            Message::Read(reply) => {
                let _ = reply.send(Ok((self.db()?.begin_read()?, self.checkpointed)));
            }
            Message::Stop => self.pending.stopping = true,
        }
        Ok(())
    }

    /// Answers what went well; what did not is answered with the trouble that it makes.
    fn answer(&mut self, reply: Answer<()>, done: Result<(), redb::Error>) -> Result<(), redb::Error> {
        match done {
            Ok(()) => drop(reply.send(Ok(()))),
            Err(_) => self.pending.promised.push(reply),
        }
        done
    }

    pub(super) fn set_heartbeats(&mut self, heartbeats: Heartbeats) {
        self.options.heartbeats = heartbeats.in_force((self.options.clock)());
        self.pending.next_sweep = Instant::now();
    }

    fn db(&self) -> Result<&Database, redb::Error> {
        self.db.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    /// All that is folded; nothing is folded by half between groups.
    pub(super) fn cut(&self) -> Cut {
        Cut::of_state(self.shared.state.read().view(), self.shared.lineage.clone(), self.seq)
    }

    fn idle_time(&self) -> Duration {
        if !self.pending.wanted.is_empty() {
            return Duration::ZERO;
        }
        let flush = self.pending.confirming_since.map(|since| since + self.options.confirm_flush_every);
        let due = self.pending.next_sweep.min(self.pending.next_checkpoint);
        flush.map_or(due, |flush| flush.min(due)).saturating_duration_since(Instant::now())
    }

    /// Makes a group durable, folds it and answers.
    pub(super) fn commit(&mut self, group: Vec<Queued>) -> Result<(), redb::Error> {
        let _span = self.pending.backlog.span(&group).entered();
        // News of a carrier ends the run that its waiting confirmation belongs to, so that goes first.
        let confirmed: Vec<Fact> = (group.iter().filter(|queued| queued.is_news()))
            .filter_map(|queued| self.pending.confirmations.take(&queued.fact.carrier))
            .collect();
        let news = group.iter().filter(|queued| queued.is_news()).map(|queued| &queued.fact);
        let seqs = match self.append(confirmed.iter().chain(news)) {
            Ok(seqs) => seqs,
            Err(error) => {
                self.pending.confirmations.put_back(confirmed);
                return Err(error);
            }
        };
        self.fold(group, seqs.into_iter().skip(confirmed.len()));
        Ok(())
    }

    /// Journals facts that are folded already or will be now; gives the sequence of each. The sequence moves, unpublished.
    fn append<'a>(&mut self, facts: impl IntoIterator<Item = &'a Fact>) -> Result<Vec<u64>, redb::Error> {
        let entries = journal::entries(self.seq + 1, facts, &mut self.packer);
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let began = Instant::now();
        journal::append(self.db()?, &entries)?;
        let bytes = entries.iter().map(|e| e.packed.len() as u64).sum();
        self.shared.stats.committed(bytes, began.elapsed());
        self.seq += entries.len() as u64;
        self.pending.journaled += bytes;
        Ok(entries.iter().flat_map(|e| std::iter::repeat_n(e.seq, e.facts)).collect())
    }

    /// Folds a group of which the news are journaled under `seqs`, publishes it, and answers.
    fn fold(&mut self, group: Vec<Queued>, mut seqs: impl Iterator<Item = u64>) {
        let mut changes = Vec::new();
        let mut settled = Vec::with_capacity(group.len());
        let mut again = Vec::new();
        let mut changed = false;
        let mut state = self.shared.state.write();
        for (nth, queued) in group.into_iter().enumerate() {
            if nth % FOLD_CHUNK == FOLD_CHUNK - 1 {
                RwLockWriteGuard::bump(&mut state);
            }
            if queued.is_news() {
                let seq = seqs.next().expect("every news of the group was journaled");
                let touched = state.apply(seq, &queued.fact);
                changes.extend(touched.into_iter().map(|object| Change { seq, object }));
                settled.push((queued.ticket, seq, true));
                changed = true;
                continue;
            }
            // What is news of another carrier may have made this one news.
            match if changed { state.novelty(&queued.fact) } else { queued.novelty } {
                Novelty::Changed => again.push(queued),
                Novelty::Known => settled.push((queued.ticket, self.seq, false)),
                Novelty::Confirmed => {
                    // Blocks count as changed by the next entry: the one that journals this confirmation is not before it.
                    state.apply(self.seq + 1, &queued.fact);
                    settled.push((queued.ticket, self.seq, false));
                    self.pending.confirmations.insert(queued.fact);
                    self.pending.confirming_since.get_or_insert_with(Instant::now);
                }
            }
        }
        drop(state);
        self.pending.backlog.put_back(again);
        self.shared.publish(self.seq, changes);
        for (ticket, seq, news) in settled {
            self.pending.backlog.settle(ticket, seq, news);
        }
    }

    /// Does what is due besides groups: confirmations, silence, a slice of a checkpoint.
    fn keep_time(&mut self) -> Result<(), redb::Error> {
        let now = Instant::now();
        let waited = |since: Instant| now.duration_since(since) >= self.options.confirm_flush_every;
        if self.pending.confirming_since.is_some_and(waited) || self.pending.confirmations.len() >= CONFIRMATIONS {
            self.flush()?;
        }
        if now >= self.pending.next_sweep {
            self.sweep()?;
            self.pending.next_sweep = Instant::now() + self.options.sweep_every;
        }
        self.step_trimming();
        let due = now >= self.pending.next_checkpoint || self.pending.journaled >= self.options.journal_bytes;
        if self.pending.checkpoint.is_none() && (due || !self.pending.wanted.is_empty()) {
            self.begin_checkpoint()?;
        }
        self.step_checkpoint()
    }

    /// Journals the waiting confirmations.
    fn flush(&mut self) -> Result<(), redb::Error> {
        self.pending.confirming_since = None;
        if !self.pending.confirmations.is_empty() {
            let confirmed = self.pending.confirmations.drain();
            if let Err(error) = self.append(&confirmed) {
                self.pending.confirmations.put_back(confirmed);
                return Err(error);
            }
            self.shared.publish(self.seq, Vec::new());
        }
        Ok(())
    }

    /// Records which hosts turned late or silent, or are so no more.
    fn sweep(&mut self) -> Result<(), redb::Error> {
        let now = (self.options.clock)();
        let gap = now.since(std::mem::replace(&mut self.swept, now));
        if gap < 0 || Duration::from_micros(gap.unsigned_abs()) > self.options.longest_gap {
            // The clock was set, or the process was stopped, or its disk hung: nobody was listened to meanwhile.
            tracing::warn!(
                seconds = gap / 1_000_000,
                "time jumped since hosts were looked at last: silence counts anew from now on"
            );
            self.listening_since = now;
        }
        let turned = self.shared.state.read().overdue(&mut self.options.heartbeats, now, self.listening_since);
        for changes in turned.chunks(LIVENESS_CHUNK) {
            let fact = concluded(now, changes.to_vec());
            self.commit(vec![Queued { fact, ticket: Backlog::NOBODY, novelty: Novelty::Changed }])?;
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<(), redb::Error> {
        self.flush()?;
        self.pending.next_checkpoint = Instant::now() + self.options.checkpoint_every;
        self.pending.journaled = 0;
        self.pending.promised.append(&mut self.pending.wanted);
        let checkpoint = Checkpoint::new(self.shared.state.read().view(), self.checkpointed, self.seq);
        self.pending.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn step_checkpoint(&mut self) -> Result<(), redb::Error> {
        let Some(checkpoint) = &mut self.pending.checkpoint else { return Ok(()) };
        if checkpoint.seq() > self.checkpointed || checkpoint.stands() {
            let db = self.db.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            checkpoint.step(db, &mut self.packer, self.options.slice_bytes)?;
            if checkpoint.stands() {
                self.checkpointed = checkpoint.seq();
                self.shared.stats.checkpointed(self.checkpointed, (self.options.clock)());
            }
            if !checkpoint.is_done() {
                return Ok(());
            }
        }
        self.pending.checkpoint = None;
        for waiting in self.pending.promised.drain(..) {
            let _ = waiting.send(Ok(()));
        }
        Ok(())
    }

    /// Leaves a store that opens without replay.
    fn finish(&mut self) -> Result<(), redb::Error> {
        while self.pending.checkpoint.is_some() {
            self.step_checkpoint()?;
        }
        self.begin_checkpoint()?;
        while self.pending.checkpoint.is_some() {
            self.step_checkpoint()?;
        }
        self.pack()
    }

    /// Gives back the room that the journal and replaced blocks took, when it is most of the file. A crash meanwhile costs nothing
    /// but a slower start.
    fn pack(&mut self) -> Result<(), redb::Error> {
        let txn = self.db()?.begin_write()?;
        let stats = txn.stats()?;
        txn.abort()?;
        if stats.fragmented_bytes() > self.options.pack_bytes.max(stats.stored_bytes()) {
            self.db.as_mut().ok_or(redb::Error::DatabaseClosed)?.compact()?;
        }
        Ok(())
    }
}

/// What the hub concludes by its own clock, as a fact.
pub(super) fn concluded(now: Micros, changes: Vec<LivenessChange>) -> Fact {
    Fact {
        source: "hub".to_owned(),
        carrier: CarrierKey(0),
        at: now,
        clock: Clock::Said,
        identity: 0,
        received_at: now,
        body: Body::Liveness(changes),
    }
}
