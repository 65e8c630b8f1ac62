//! Reading a backup, frame by frame.
//!
//! Invariant: a reader is [whole](Reader::finish) only after the last frame, when all that came before it is what that says and
//! nothing follows it.

use std::io::{BufReader, Read};
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::frame::{FrameHead, HEAD, Kind, Part, parts};
use super::write::hexadecimal;
use super::{BackupError, End, Head, MAGIC, Progress, VERSION, Whole};
use crate::ledger::Piece;

/// A backup that is being read.
pub struct Reader<R> {
    from: R,
    head: Head,
    hash: Context,
    frame: u64,
    bytes: u64,
    blocks: u64,
    entries: u64,
    files: u64,
    end: Option<End>,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("head", &self.head).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Reads a backup to its end, and tells what it is if it is whole.
pub fn verify(from: impl Read, progress: Progress<'_>) -> Result<Whole, BackupError> {
    let mut reader = Reader::open(from)?;
    while reader.next()?.is_some() {
        progress(reader.bytes(), None);
    }
    reader.finish()
}

/// The same for a file.
pub fn verify_file(path: &Path) -> Result<Whole, BackupError> {
    let io = |error| BackupError::Io { what: format!("cannot read {}", path.display()), error };
    verify(BufReader::with_capacity(1 << 18, crate::plain_file::open(path).map_err(io)?), &mut |_, _| {})
}

impl<R: Read> Reader<R> {
    /// Reads what it is of.
    pub fn open(from: R) -> Result<Reader<R>, BackupError> {
        let nothing = Head {
            koh: String::new(),
            taken_at: String::new(),
            format: 0,
            epoch: 0,
            checkpoint: 0,
            seq: 0,
            former: Vec::new(),
        };
        let hash = Context::new(&SHA256);
        let mut reader =
            Reader { from, head: nothing, hash, frame: 0, bytes: 0, blocks: 0, entries: 0, files: 0, end: None };
        let mut begin = [0; MAGIC.len()];
        let read = reader.fill(&mut begin)?;
        if begin[..read] != MAGIC[..read] {
            return Err(BackupError::Foreign);
        }
        let mut version = [0; 4];
        if reader.fill(&mut version)? < 4 {
            return Err(BackupError::Short { at: reader.bytes, within: "before it says what it is of" });
        }
        let found = u32::from_le_bytes(version);
        if found == 0 || found > VERSION {
            return Err(if found == 0 { BackupError::Foreign } else { BackupError::Newer { found } });
        }
        let at = reader.bytes;
        match reader.frame()? {
            Some((Kind::Head, plain)) => {
                let head: Option<Head> = serde_json::from_slice(&plain).ok();
                reader.head = head
                    .filter(|h| h.checkpoint <= h.seq)
                    .ok_or_else(|| damaged(0, at, "it does not say what it is of"))?;
            }
            Some(_) => return Err(damaged(0, at, "it does not say what it is of")),
            None => return Err(BackupError::Short { at, within: "before it says what it is of" }),
        }
        Ok(reader)
    }

    /// What it is of.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pieces of the next frame; `None` at the end.
    #[allow(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Vec<Part>>, BackupError> {
        let (at, frame) = (self.bytes, self.frame);
        let so_far = (self.blocks, self.entries, self.files, self.bytes, self.hash.clone());
        let wrong = |what: &str| damaged(frame, at, what);
        match self.frame()? {
            None => Err(BackupError::Short { at, within: "before its end" }),
            Some((Kind::Head, _)) => Err(wrong("it begins a second time")),
            Some((Kind::Pieces, plain)) => {
                let parts = parts(&plain).ok_or_else(|| wrong("its pieces are not read as such"))?;
                for part in &parts {
                    match part {
                        Part::Piece(Piece::Block { .. }) => self.blocks += 1,
                        Part::Piece(Piece::Entry { .. }) => self.entries += 1,
                        Part::File { offset, .. } => self.files += u64::from(*offset == 0),
                    }
                }
                Ok(Some(parts))
            }
            Some((Kind::End, plain)) => {
                let end: End =
                    serde_json::from_slice(&plain).map_err(|_| wrong("it does not say what came before it"))?;
                let (blocks, entries, files, bytes, hash) = so_far;
                if end != (End { blocks, entries, files, bytes, sha256: hexadecimal(hash) }) {
                    return Err(wrong("what came before it is not what was written"));
                }
                if self.fill(&mut [0])? > 0 {
                    return Err(wrong("something follows it"));
                }
                self.end = Some(end);
                Ok(None)
            }
        }
    }

    /// What it was, after its end.
    pub fn finish(self) -> Result<Whole, BackupError> {
        let Reader { head, end, bytes, .. } = self;
        end.map(|end| Whole { head, end }).ok_or(BackupError::Short { at: bytes, within: "before its end" })
    }

    /// The next frame; `None` where the bytes end.
    fn frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, BackupError> {
        let (at, number) = (self.bytes, self.frame);
        let mut bytes = [0; HEAD];
        match self.fill(&mut bytes)? {
            0 => return Ok(None),
            HEAD => {}
            _ => return Err(BackupError::Short { at: self.bytes, within: "within the head of a frame" }),
        }
        let wrong = |what: String| damaged(number, at, what);
        let head = FrameHead::read(&bytes).map_err(wrong)?;
        let mut stored = Vec::new();
        // Grows as it is read: a length that was never written does not decide how much is allocated.
        let read = self.from.by_ref().take(head.stored as u64).read_to_end(&mut stored).map_err(failed)?;
        self.hash.update(&stored);
        self.bytes += read as u64;
        if read < head.stored {
            return Err(BackupError::Short { at: self.bytes, within: "within a frame" });
        }
        self.frame += 1;
        head.unpack(number, &bytes, &stored).map(|plain| Some((head.kind, plain))).map_err(wrong)
    }

    /// Reads as much as there is, up to what fits.
    fn fill(&mut self, out: &mut [u8]) -> Result<usize, BackupError> {
        let mut read = 0;
        while read < out.len() {
            match self.from.read(&mut out[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.hash.update(&out[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

fn damaged(frame: u64, at: u64, what: impl Into<String>) -> BackupError {
    BackupError::Damaged { frame, at, what: what.into() }
}

fn failed(error: std::io::Error) -> BackupError {
    BackupError::Io { what: "the backup could not be read".to_owned(), error }
}
