//! Writing a backup, to anything that takes bytes, or to a file that is there whole or not at all.
//!
//! Invariant: what was written is announced by the last frame only, so whoever has a file without one knows that it is not whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::archive::Files;
use super::frame::{FRAME, Kind, frame, push, push_file};
use super::{BackupError, End, Head, MAGIC, Progress, Whole, verify_file};
use crate::ledger::{Cut, Piece};
use crate::model::Micros;
use crate::state::Tables;
use crate::state::tables::Window;

/// Packs well at some hundred MB a second.
const LEVEL: i32 = 3;

/// Writes a cut, and the archive beside it.
pub fn write(cut: Cut, files: Files, out: impl Write, progress: Progress<'_>) -> Result<Whole, BackupError> {
    let origin = cut.origin();
    let head = Head {
        koh: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: Micros::now().to_string(),
        format: origin.format,
        epoch: origin.epoch,
        checkpoint: origin.checkpoint,
        seq: origin.seq,
        former: cut.lineage().former.clone(),
    };
    let version = if files.is_empty() { 1 } else { 2 };
    let mut frames = Frames::begin(out, version)?;
    frames.put(Kind::Head, &json(&head))?;
    let (mut blocks, mut entries) = (0, 0);
    let mut plain = Vec::new();
    let (mut cut, mut window) = (cut, None);
    while let Some(piece) = cut.next() {
        let piece = piece?;
        if let Piece::Block { table, record, .. } = &piece {
            window = window.or_else(|| Tables::window_of(*table, record));
        }
        *(if matches!(piece, Piece::Block { .. }) { &mut blocks } else { &mut entries }) += 1;
        push(&mut plain, &piece);
        if plain.len() >= FRAME {
            frames.put(Kind::Pieces, &plain)?;
            plain.clear();
            progress(frames.bytes, Some(cut.pieces_left()));
        }
    }
    if !plain.is_empty() {
        frames.put(Kind::Pieces, &plain)?;
    }
    if let Some(since) = window.and_then(Window::archived).filter(|since| files.through < Some(*since)) {
        return Err(BackupError::NoArchive { since });
    }
    let count = files.count();
    files.each(|path, offset, bytes| {
        plain.clear();
        push_file(&mut plain, path, offset, bytes);
        frames.put(Kind::Pieces, &plain)?;
        progress(frames.bytes, None);
        Ok(())
    })?;
    let end = End { blocks, entries, files: count, bytes: frames.bytes, sha256: hexadecimal(frames.hash.clone()) };
    frames.put(Kind::End, &json(&end))?;
    frames.out.flush().map_err(failed)?;
    progress(frames.bytes, Some(0));
    Ok(Whole { head, end })
}

/// Writes a file: beside its place first, then, once it is durable and was read back, under its name. No file is overwritten.
pub fn write_file<E: From<BackupError>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<Whole, E> {
    let io = |path: &Path| {
        let what = format!("cannot write {}", path.display());
        move |error| BackupError::Io { what, error }
    };
    if path.exists() {
        let there =
            std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is there already, and is not overwritten");
        return Err(io(path)(there).into());
    }
    let unfinished = beside(path, PARTIAL);
    let put = || -> Result<Whole, E> {
        let file = File::create(&unfinished).map_err(io(&unfinished))?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        fill(&mut out)?;
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(io(&unfinished))?;
        let whole = verify_file(&unfinished)?;
        std::fs::rename(&unfinished, path).map_err(io(path))?;
        Ok(whole)
    };
    let put = put();
    if put.is_err() {
        // It is worth nothing; if it cannot be removed, its name says so.
        let _ = std::fs::remove_file(&unfinished);
        return put;
    }
    // The name is durable when the directory is; where directories cannot be synced, they need not be.
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    put
}

/// The name of a file with something after it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// How the name of a file ends that is not whole yet.
pub(super) const PARTIAL: &str = ".partial";

struct Frames<W> {
    out: W,
    packer: zstd::bulk::Compressor<'static>,
    hash: Context,
    number: u64,
    bytes: u64,
}

impl<W: Write> Frames<W> {
    fn begin(out: W, version: u32) -> Result<Frames<W>, BackupError> {
        let packer = zstd::bulk::Compressor::new(LEVEL).map_err(failed)?;
        let mut frames = Frames { out, packer, hash: Context::new(&SHA256), number: 0, bytes: 0 };
        frames.raw(&MAGIC)?;
        frames.raw(&version.to_le_bytes())?;
        Ok(frames)
    }

    fn put(&mut self, kind: Kind, plain: &[u8]) -> Result<(), BackupError> {
        let bytes = frame(self.number, kind, plain, &mut self.packer).map_err(failed)?;
        self.number += 1;
        self.raw(&bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes).map_err(failed)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn failed(error: std::io::Error) -> BackupError {
    BackupError::Io { what: "the backup could not be written".to_owned(), error }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers and texts are JSON")
}

pub(super) fn hexadecimal(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
