//! Trouble with the store: a volume without room passes, anything else lasts until a restart.
//!
//! Invariant: while there is trouble nothing is folded or acknowledged, and readers keep the state as it was. It ends when the store
//! is open again, was proven to have room, and everything that its journal says is shown: nobody knows whether the group that met
//! the trouble got to the disk.

use std::io::ErrorKind;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use redb::Database;

use super::feed::Change;
use super::migrations::{MIGRATIONS, newest};
use super::store::{self, OpenError, Store, begin};
use super::tables::ROOM;
use super::writer::{Message, Writer};
use super::{AppendError, Loaded, checkpoint, journal};
use crate::state::State;

/// Why a ledger takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its volume is full; it goes on by itself when there is room.
    NoRoom(String),
    /// Its store failed; it goes on after a restart.
    Failed(String),
}

impl Trouble {
    pub(super) fn of(error: &redb::Error) -> Trouble {
        match error {
            redb::Error::Io(io) => Trouble::of_io(io),
            other => Trouble::Failed(format!("the store failed: {other}")),
        }
    }

    fn of_opening(error: &OpenError) -> Trouble {
        match error {
            OpenError::Io { error, .. } => Trouble::of_io(error),
            OpenError::Database(error) => Trouble::of(error),
            other => Trouble::Failed(format!("the store failed: {other}")),
        }
    }

    fn of_io(error: &std::io::Error) -> Trouble {
        if is_full(error) {
            Trouble::NoRoom(format!("the volume of the store is full: {error}"))
        } else {
            Trouble::Failed(format!("the store failed: {error}"))
        }
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        match self {
            Trouble::NoRoom(reason) | Trouble::Failed(reason) => reason,
        }
    }

    /// What it means for whoever asks the hub; the reason itself is for its log.
    pub fn advice(&self) -> &'static str {
        match self {
            Trouble::NoRoom(_) => "the volume is full: nothing is taken until there is room",
            Trouble::Failed(_) => "the store failed: nothing is taken until the hub is restarted",
        }
    }

    pub(super) fn refusal(&self) -> AppendError {
        match self {
            Trouble::NoRoom(_) => AppendError::NoRoom,
            Trouble::Failed(_) => AppendError::Failed,
        }
    }
}

/// Reads a store whose volume is too full to open it; what cannot be read either, or has other trouble, is the error it was.
pub(super) fn load_without(store: &Store, error: OpenError) -> Result<Loaded, OpenError> {
    let trouble @ Trouble::NoRoom(_) = Trouble::of_opening(&error) else { return Err(error) };
    // A file of an older format cannot be migrated now.
    let Some(Ok(looked)) = store.path().map(store::look) else { return Err(error) };
    if looked.format != newest(MIGRATIONS) {
        return Err(error);
    }
    let store::Looked { db, lineage, checkpoint, lock, .. } = looked;
    let (tables, _) = checkpoint::read(&db, checkpoint)?;
    let mut state = State::from_tables(tables);
    let seq = journal::replay(&db, checkpoint, |seq, fact| drop(state.apply(seq, fact)))?;
    tracing::error!(reason = trouble.reason(), "the ledger can only be read until there is room: {}", trouble.reason());
    Ok(Loaded { db: None, lock: Some(lock), lineage, checkpoint, seq, state, trouble: Some(trouble) })
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

impl Writer {
    /// Refuses what is asked until the trouble is over; false when the ledger is closed before. `whole` says that nothing is folded
    /// by half.
    pub(super) fn outlast(&mut self, trouble: Trouble, whole: bool) -> bool {
        let mut passes = self.begin_trouble(trouble);
        let mut next = Instant::now() + self.options.room_every;
        loop {
            let message = match passes {
                _ if self.pending.stopping => return false,
                true => self.messages.recv_timeout(next.saturating_duration_since(Instant::now())),
                false => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let refusal = self.shared.refusal();
            match message {
                Ok(Message::Append { reply, .. }) => drop(reply.send(Err(refusal))),
                Ok(Message::Checkpoint(reply) | Message::Sweep(reply)) => drop(reply.send(Err(refusal))),
                Ok(Message::Read(reply)) => drop(reply.send(Err(refusal))),
                Ok(Message::Heartbeats(heartbeats)) => self.set_heartbeats(heartbeats),
                Ok(Message::Trim(trim)) => drop(trim.reply.send(Err(refusal))),
                // The state is as it was acknowledged: now is when a copy of it is wanted.
                Ok(Message::Cut(reply)) => drop(reply.send(if whole { Ok(self.cut()) } else { Err(refusal) })),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.pending.stopping = true;
                    // There may be room by now for a last checkpoint.
                    return passes && self.go_on().is_ok();
                }
                Err(RecvTimeoutError::Timeout) => match self.go_on() {
                    Ok(()) => return true,
                    Err(trouble @ Trouble::Failed(_)) => passes = self.begin_trouble(trouble),
                    Err(Trouble::NoRoom(_)) => next = Instant::now() + self.options.room_every,
                },
            }
        }
    }

    /// Says so, and answers everybody who waits; true when it may pass.
    fn begin_trouble(&mut self, trouble: Trouble) -> bool {
        let passes = matches!(trouble, Trouble::NoRoom(_));
        let (reason, until) = (trouble.reason(), if passes { "there is room" } else { "the hub is restarted" });
        tracing::error!(reason, "the ledger is read-only until {until}: {reason}");
        let refusal = trouble.refusal();
        *self.shared.trouble.write() = Some(trouble);
        self.pending.backlog.fail(&refusal);
        self.pending.checkpoint = None;
        if let Some(trimming) = self.pending.trimming.take() {
            let _ = trimming.into_reply().send(Err(refusal.clone()));
        }
        for waiting in self.pending.promised.drain(..).chain(self.pending.wanted.drain(..)) {
            let _ = waiting.send(Err(refusal.clone()));
        }
        passes
    }

    /// Opens the store again if it has room now, and shows what its journal says.
    fn go_on(&mut self) -> Result<(), Trouble> {
        self.reopen().map_err(|error| Trouble::of_opening(&error))?;
        *self.shared.trouble.write() = None;
        tracing::info!(seq = self.seq, "the volume has room again: the ledger goes on");
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        // The storage engine takes nothing after an error, and lets nobody else open the file before it is closed.
        self.db = None;
        let (db, checkpoint) = store::reopen(&self.store, self.options.cache_bytes)?;
        prove_room(&db, self.options.room_bytes)?;
        checkpoint::clear(&db, checkpoint)?;
        let mut changes = Vec::new();
        let mut state = self.shared.state.write();
        let seq = journal::replay(&db, self.seq, |seq, fact| {
            let touched = state.apply(seq, fact);
            changes.extend(touched.into_iter().map(|object| Change { seq, object }));
        })?;
        drop(state);
        self.db = Some(db);
        self.seq = seq;
        self.checkpointed = checkpoint;
        // Whoever spoke meanwhile was refused.
        self.listening_since = (self.options.clock)();
        self.swept = self.listening_since;
        self.shared.publish(seq, changes);
        Ok(())
    }
}

/// Writes so much, and gives it back.
fn prove_room(db: &Database, bytes: usize) -> Result<(), redb::Error> {
    let txn = begin(db)?;
    txn.open_table(ROOM)?.insert((), vec![0x5a; bytes].as_slice())?;
    txn.commit()?;
    let txn = begin(db)?;
    txn.delete_table(ROOM)?;
    txn.commit()?;
    Ok(())
}
