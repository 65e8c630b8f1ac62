//! Frames: the parts of a backup that are packed and checked one by one, and the pieces inside them.
//!
//! Invariant: what is read is what was written, or an error; arbitrary bytes never allocate more than a frame may hold.

use twox_hash::xxhash3_128::Hasher;

use crate::ledger::Piece;
use crate::ledger::record::MAX_BYTES;

/// Bytes before the stored ones: kind, two lengths, checksum.
pub(super) const HEAD: usize = 1 + 4 + 4 + 16;
/// A frame of pieces is closed when they reach this size.
pub(super) const FRAME: usize = 1 << 20;
/// No frame is larger, unpacked: one that is nearly full, and the largest record.
const MOST: usize = FRAME + MAX_BYTES + 64;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head = 1,
    Pieces = 2,
    End = 3,
}

const BLOCK: u8 = 1;
const ENTRY: u8 = 2;
const FILE: u8 = 3;

/// What a backup is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A piece of the ledger.
    Piece(Piece),
    /// Some bytes of a file of the archive.
    File {
        /// Its path in the archive.
        path: String,
        /// Where the bytes begin; those of one file come in order.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// What stands before the stored bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) kind: Kind,
    pub(super) stored: usize,
    pub(super) plain: usize,
    checksum: u128,
}

/// The bytes of a frame.
pub(super) fn frame(
    number: u64,
    kind: Kind,
    plain: &[u8],
    packer: &mut zstd::bulk::Compressor<'_>,
) -> std::io::Result<Vec<u8>> {
    let stored = packer.compress(plain)?;
    let lengths = u32::try_from(stored.len()).and_then(|s| Ok((s, u32::try_from(plain.len())?)));
    let (stored_len, plain_len) = lengths.map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEAD + stored.len());
    bytes.push(kind as u8);
    bytes.extend(stored_len.to_le_bytes());
    bytes.extend(plain_len.to_le_bytes());
    bytes.extend(checksum(number, &bytes, &stored).to_le_bytes());
    bytes.extend(stored);
    Ok(bytes)
}

fn checksum(number: u64, head: &[u8], stored: &[u8]) -> u128 {
    let mut hasher = Hasher::new();
    hasher.write(&number.to_le_bytes());
    hasher.write(head);
    hasher.write(stored);
    hasher.finish_128()
}

impl FrameHead {
    /// Reads it; an error says how it shows that it was never written.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Result<FrameHead, String> {
        let mut rest = Bytes(bytes);
        let short = || "it is cut short".to_owned();
        let kind = match rest.u8().ok_or_else(short)? {
            1 => Kind::Head,
            2 => Kind::Pieces,
            3 => Kind::End,
            other => return Err(format!("there is no kind of frame {other}")),
        };
        let (stored, plain) = (rest.u32().ok_or_else(short)? as usize, rest.u32().ok_or_else(short)? as usize);
        let checksum = u128::from_le_bytes(rest.array().ok_or_else(short)?);
        // What cannot be packed grows a little.
        if plain > MOST || stored > MOST + (MOST >> 7) {
            return Err(format!("it claims to hold {} bytes", plain.max(stored)));
        }
        Ok(FrameHead { kind, stored, plain, checksum })
    }

    /// The bytes that the frame holds.
    pub(super) fn unpack(&self, number: u64, head: &[u8; HEAD], stored: &[u8]) -> Result<Vec<u8>, String> {
        if checksum(number, &head[..HEAD - 16], stored) != self.checksum {
            return Err("its checksum is another one".to_owned());
        }
        let plain = zstd::bulk::decompress(stored, self.plain).map_err(|error| error.to_string())?;
        if plain.len() == self.plain {
            Ok(plain)
        } else {
            Err(format!("{} bytes where {} were said", plain.len(), self.plain))
        }
    }
}

/// Adds a piece to what a frame will hold.
pub(super) fn push(plain: &mut Vec<u8>, piece: &Piece) {
    let record = match piece {
        Piece::Block { table, block, record } => {
            plain.extend([BLOCK, *table]);
            plain.extend(block.to_le_bytes());
            record
        }
        Piece::Entry { seq, record } => {
            plain.push(ENTRY);
            plain.extend(seq.to_le_bytes());
            record
        }
    };
    plain.extend(u32::try_from(record.len()).expect("a record is smaller than 64 MiB").to_le_bytes());
    plain.extend(record);
}

/// The pieces that a frame holds; `None` when it holds something else.
pub(super) fn parts(plain: &[u8]) -> Option<Vec<Part>> {
    let mut rest = Bytes(plain);
    let mut parts = Vec::new();
    while !rest.0.is_empty() {
        parts.push(match rest.u8()? {
            BLOCK => Part::Piece(Piece::Block { table: rest.u8()?, block: rest.u32()?, record: rest.record()? }),
            ENTRY => Part::Piece(Piece::Entry { seq: u64::from_le_bytes(rest.array()?), record: rest.record()? }),
            FILE => Part::File { path: rest.path()?, offset: u64::from_le_bytes(rest.array()?), bytes: rest.record()? },
            _ => return None,
        });
    }
    Some(parts)
}

/// Adds some bytes of a file to what a frame will hold.
pub(super) fn push_file(plain: &mut Vec<u8>, path: &str, offset: u64, bytes: &[u8]) {
    plain.push(FILE);
    plain.extend(u16::try_from(path.len()).expect("paths of the archive are short").to_le_bytes());
    plain.extend(path.as_bytes());
    plain.extend(offset.to_le_bytes());
    plain.extend(u32::try_from(bytes.len()).expect("bytes come in pieces").to_le_bytes());
    plain.extend(bytes);
}

/// Bytes that are read from their begin.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn path(&mut self) -> Option<String> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (path, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(path.to_vec()).ok()
    }

    fn record(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()? as usize;
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(record.to_vec())
    }
}
