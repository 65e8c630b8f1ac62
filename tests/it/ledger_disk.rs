//! A disk that remembers the order of everything written to it, and what was synced: the power can be cut at any moment of
//! its past. It can also fail, be full, and hold syncs back.
//!
//! Invariant: what a sync covered survives every cut after it. What no sync covered survives whole, torn at a sector, or not at
//! all, each write by itself - as on real disks.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;

const SECTOR: usize = 512;

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Platter>);

#[derive(Debug, Default)]
struct Platter {
    inner: Mutex<Inner>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// What reads see.
    bytes: Vec<u8>,
    history: Vec<Event>,
    failing: bool,
    /// How many more writes it has room for.
    room: Option<usize>,
    held: bool,
}

/// Something that happened to the disk.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes were written.
    Write(u64, Vec<u8>),
    /// The length was set.
    Length(u64),
    /// Everything before it is durable.
    Sync,
    /// The test was told that batch n is stored.
    Acknowledged(usize),
}

impl Disk {
    /// A disk with these bytes.
    pub fn with(bytes: Vec<u8>) -> Disk {
        let disk = Disk::default();
        disk.0.inner.lock().bytes = bytes;
        disk
    }

    /// Everything as it is now, synced or not: what a process that is killed leaves.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.inner.lock().bytes.clone()
    }

    /// Everything that happened.
    pub fn history(&self) -> Vec<Event> {
        self.0.inner.lock().history.clone()
    }

    /// Notes that the test was told that batch `n` is stored.
    pub fn acknowledged(&self, n: usize) {
        self.0.inner.lock().history.push(Event::Acknowledged(n));
    }

    /// From now on every write and sync fails.
    pub fn fail(&self) {
        self.0.inner.lock().failing = true;
    }

    /// Has room for so many more writes, and then for none; or for any number again.
    pub fn room(&self, writes: Option<usize>) {
        self.0.inner.lock().room = writes;
    }

    /// From now on syncs wait; or do so no longer.
    pub fn hold(&self, held: bool) {
        self.0.inner.lock().held = held;
        self.0.released.notify_all();
    }
}

impl Inner {
    fn works(&self) -> io::Result<()> {
        if self.failing { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.inner.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.inner.lock();
        let from = offset as usize;
        let bytes = inner.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.0.inner.lock();
        inner.works()?;
        inner.bytes.resize(len as usize, 0);
        inner.history.push(Event::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.0.inner.lock();
        while inner.held {
            self.0.released.wait(&mut inner);
        }
        inner.works()?;
        inner.history.push(Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.0.inner.lock();
        inner.works()?;
        if let Some(room) = &mut inner.room {
            *room = room.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
        write(&mut inner.bytes, offset, data);
        inner.history.push(Event::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let from = offset as usize;
    if bytes.len() < from + data.len() {
        bytes.resize(from + data.len(), 0);
    }
    bytes[from..from + data.len()].copy_from_slice(data);
}

/// What is left when the power is cut after the first `at` events; `dice` decides on what was not synced.
pub fn cut(start: &[u8], history: &[Event], at: usize, dice: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let synced = history[..at].iter().rposition(|e| matches!(e, Event::Sync)).unwrap_or(0);
    let mut bytes = start.to_vec();
    for (nth, event) in history[..at].iter().enumerate() {
        match (event, if nth < synced { 0 } else { dice(3) }) {
            (Event::Write(offset, data), 0) => write(&mut bytes, *offset, data),
            (Event::Write(offset, data), 1) => {
                let sectors = dice(data.len() / SECTOR + 1);
                write(&mut bytes, *offset, &data[..sectors * SECTOR]);
            }
            (Event::Length(len), 0) => bytes.resize(*len as usize, 0),
            _ => {}
        }
    }
    bytes
}

/// A dice that falls the same way for the same seed.
pub fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |sides| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ((x >> 33) as usize) % sides
    }
}
