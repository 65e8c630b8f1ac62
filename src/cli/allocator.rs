//! What the allocator is told before a hub starts.
//!
//! Invariant: the program is started anew at most once, in the same process: same id, arguments and open files.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// mimalloc reads these from the environment, before `main`.
///
/// With huge pages a state of many small blocks that come and go takes half as much memory again. And what is freed is given back
/// after two seconds, not after ten milliseconds: batches take and free the same pages again and again, and fetching them anew
/// each time costs a third of the ingest rate.
const SETTINGS: [(&str, &str); 2] = [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "2000")];

/// Sets what the environment says nothing about.
pub(super) fn settle() {
    let missing: Vec<_> = SETTINGS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    let error = Command::new(program).arg0(name).args(words).envs(missing).exec();
    tracing::debug!(%error, "the allocator could not be told how to behave; memory will be larger and pushes slower");
}
