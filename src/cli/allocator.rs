//! What the allocator is told before a hub starts.
//!
//! Invariant: the program is started anew at most once, in the same process: same id, arguments and open files.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// mimalloc reads this from the environment, before `main`.
const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

/// Turns huge pages off unless the environment says something about them: with them a state of many small blocks that come and go
/// takes about half as much again of memory.
pub(super) fn without_huge_pages() {
    if std::env::var_os(HUGE_PAGES).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    let error = Command::new(program).arg0(name).args(words).env(HUGE_PAGES, "0").exec();
    tracing::debug!(%error, "cannot turn huge pages off; memory will be larger");
}
