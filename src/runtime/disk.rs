//! What the hub takes up on its volume, and what is left there.
//!
//! Invariant: this only asks the file system, and answers nothing where that does not answer.

use std::path::Path;

use super::hub::Hub;
use crate::backup::ledger_of;
use crate::snapshot::archive::Holds;

/// One moment of a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes that the ledger occupies.
    pub ledger: u64,
    /// Bytes of exports, the ones that are about to go included.
    pub export: u64,
    /// What is archived.
    pub archive: Holds,
    /// Size of the volume, and bytes that the hub may still write to it.
    pub volume: Option<(u64, u64)>,
}

impl Hub {
    /// The data directory in numbers; `None` for a hub that keeps nothing.
    pub fn disk(&self) -> Option<Disk> {
        let data = self.kept().directory()?.parent()?;
        let archive = self.kept().archive().map(|archive| archive.holds()).unwrap_or_default();
        let ledger = occupied(&ledger_of(data)).unwrap_or_default();
        Some(Disk { ledger, export: self.kept().export_bytes(), archive, volume: volume(data) })
    }
}

#[cfg(unix)]
fn occupied(file: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    // Files of the storage engine have holes.
    Some(file.metadata().ok()?.blocks() * 512)
}

#[cfg(not(unix))]
fn occupied(file: &Path) -> Option<u64> {
    Some(file.metadata().ok()?.len())
}

#[cfg(unix)]
fn volume(path: &Path) -> Option<(u64, u64)> {
    let of = rustix::fs::statvfs(path).ok()?;
    Some((of.f_blocks * of.f_frsize, of.f_bavail * of.f_frsize))
}

#[cfg(not(unix))]
fn volume(_: &Path) -> Option<(u64, u64)> {
    None
}
