//! `koh crds`: the definitions of the custom resources as YAML documents.
//!
//! Invariant: what is printed is what `schema/crds/` holds; the tests compare the two.

use std::process::ExitCode;

use crate::cli::say;
use crate::sources::kubernetes::crds;

pub(super) fn print() -> anyhow::Result<ExitCode> {
    for definition in crds::all() {
        say::out(format_args!("---\n{}", crds::yaml(&definition)?))?;
    }
    Ok(ExitCode::SUCCESS)
}
