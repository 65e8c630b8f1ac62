//! How many files the process may have open: every connection is one.
//!
//! Invariant: more connections than there are file descriptors are never admitted, for the store and its exports need some too.

/// What is left for everything but connections.
const RESERVE: u64 = 256;

/// Raises the limit as far as an ordinary process may, and tells how many connections fit.
pub(super) fn connections(wanted: usize) -> usize {
    let target = (wanted as u64).saturating_add(RESERVE);
    let allowed = match rlimit::increase_nofile_limit(target) {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be read; --max-connections is taken as it is");
            return wanted;
        }
    };
    let fit = usize::try_from(allowed.saturating_sub(RESERVE).max(RESERVE)).unwrap_or(wanted).min(wanted);
    if fit < wanted {
        tracing::warn!(
            wanted,
            fit,
            allowed,
            "{allowed} files may be open, so {fit} connections are taken at once and not {wanted}; raise the limit (ulimit -n)"
        );
    }
    fit
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_more_connections_are_taken_than_files_may_be_open() {
        assert_eq!(super::connections(10), 10);
        let all = super::connections(usize::MAX);
        assert!(
            all as u64 + super::RESERVE <= rlimit::Resource::NOFILE.get().unwrap().1.max(2 * super::RESERVE),
            "{all}"
        );
    }
}
