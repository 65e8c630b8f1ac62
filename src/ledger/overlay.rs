//! A file that is looked at and never changed: what the storage engine writes to it (its mark of being open, a repair) stays in
//! memory.
//!
//! Invariant: the file is opened for reading only, so that looking at a damaged ledger, or at one of an older format, costs nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use parking_lot::Mutex;
use redb::StorageBackend;

/// The unit in which changed bytes are kept.
const PAGE: u64 = 4096;

/// The file, and what would have been written to it.
#[derive(Debug)]
pub(super) struct Overlay(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// The file's own length; beyond it are zeros.
    stored: u64,
    len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Over an existing file.
    pub(super) fn over(path: &Path) -> io::Result<Overlay> {
        let file = File::open(path)?;
        let stored = file.metadata()?.len();
        Ok(Overlay(Mutex::new(Inner { file, stored, len: stored, pages: BTreeMap::new() })))
    }
}

impl Inner {
    /// What the file itself holds at a place.
    fn below(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.stored.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (held, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(held)
    }

    fn page(&mut self, number: u64) -> io::Result<&mut Vec<u8>> {
        if !self.pages.contains_key(&number) {
            let mut page = vec![0; PAGE as usize];
            self.below(number * PAGE, &mut page)?;
            self.pages.insert(number, page);
        }
        Ok(self.pages.entry(number).or_default())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.0.lock();
        if offset + out.len() as u64 > inner.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inner.below(offset, out)?;
        let end = offset + out.len() as u64;
        for (number, page) in inner.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let (from, to) = ((number * PAGE).max(offset), (number * PAGE + PAGE).min(end));
            let within = (from - number * PAGE) as usize..(to - number * PAGE) as usize;
            out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&page[within]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.0.lock();
        if len < inner.len {
            // What grows back later is zeros, wherever it lay before.
            inner.stored = inner.stored.min(len);
            inner.pages.split_off(&len.div_ceil(PAGE));
            if let Some(page) = inner.pages.get_mut(&(len / PAGE)) {
                page[(len % PAGE) as usize..].fill(0);
            }
        }
        inner.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock();
        let end = offset + data.len() as u64;
        for number in offset / PAGE..end.div_ceil(PAGE) {
            let (from, to) = ((number * PAGE).max(offset), (number * PAGE + PAGE).min(end));
            let within = (from - number * PAGE) as usize..(to - number * PAGE) as usize;
            inner.page(number)?[within].copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
        }
        inner.len = inner.len.max(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Length(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let write =
            (0..20_000u64, proptest::collection::vec(any::<u8>(), 1..6_000)).prop_map(|(at, b)| Step::Write(at, b));
        prop_oneof![3 => write, 1 => (1..30_000u64).prop_map(Step::Length)]
    }

    proptest! {
        #[test]
        fn it_reads_as_a_file_that_was_written_to_and_leaves_the_file_alone(
            stored in proptest::collection::vec(any::<u8>(), 0..12_000),
            steps in proptest::collection::vec(step(), 0..12),
        ) {
            let place = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(place.path(), &stored).unwrap();
            let overlay = Overlay::over(place.path()).unwrap();
            let mut model = stored.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        overlay.write(at, &bytes).unwrap();
                        model.resize(model.len().max(at as usize + bytes.len()), 0);
                        model[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
                    }
                    Step::Length(len) => {
                        overlay.set_len(len).unwrap();
                        model.resize(len as usize, 0);
                    }
                }
                let mut read = vec![0; model.len()];
                overlay.read(0, &mut read).unwrap();
                prop_assert_eq!(&read, &model);
                prop_assert!(overlay.read(1, &mut read).is_err());
            }
            prop_assert_eq!(std::fs::read(place.path()).unwrap(), stored);
        }
    }
}
