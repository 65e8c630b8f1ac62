//! Checksums of files: XXH3-128 of all bytes.
//!
//! Invariant: the sum is a function of the bytes and of nothing else; it tells damage, not malice.

use std::fmt;
use std::io::Read;
use std::path::Path;

use twox_hash::xxhash3_128::Hasher;

use crate::plain_file;

/// The checksum of a file, as it is read.
#[derive(Default)]
pub struct Sum {
    hasher: Hasher,
    bytes: u64,
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sum").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Sum {
    /// Some more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many there were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// XXH3-128, in hexadecimal.
    pub(in crate::snapshot) fn text(&self) -> String {
        format!("{:032x}", self.hasher.finish_128())
    }
}

/// The checksum of a file on disk.
pub(in crate::snapshot) fn sum_of(path: &Path) -> std::io::Result<Sum> {
    let mut file = plain_file::open(path)?;
    let (mut sum, mut piece) = (Sum::default(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(sum),
            read => sum.add(&piece[..read]),
        }
    }
}
