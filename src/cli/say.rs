//! Standard output and standard error of commands whose exit code says more than their words.
//!
//! Invariant: nothing here panics: a reader that went away wants no more, and what cannot be written elsewhere is an error to handle.

use std::fmt::Display;
use std::io::{ErrorKind, Result, Write};

/// Writes to standard output.
pub(super) fn out(text: impl Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to standard error; where that cannot be written, nobody can be told.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
