//! Trimming histories between groups, some reconcilers at a time.
//!
//! Invariant: the window moves before anything goes, so that nobody reads half of what is older: readers leave all of it out from then
//! on. What a crash interrupts is done again, for blocks and window are parts of one checkpoint.

use crate::model::Micros;
use crate::state::Tables;
use crate::state::tables::Window;
use crate::state::trim::Trimmer;

use super::group::{Backlog, Queued};
use super::writer::{Answer, Writer, concluded};
use crate::state::Novelty;

/// Reconcilers of one step: some milliseconds.
const STEP: u32 = 32;

/// What is to be trimmed.
#[derive(Debug)]
pub(super) struct Trim {
    pub(super) window: Window,
    /// What is kept elsewhere; nothing else goes.
    pub(super) archived: Option<Tables>,
    pub(super) reply: Answer<u64>,
}

/// Trimming under way.
#[derive(Debug)]
pub(super) struct Trimming {
    trim: Trim,
    trimmer: Trimmer,
    next: u32,
    went: u64,
}

impl Trimming {
    pub(super) fn into_reply(self) -> Answer<u64> {
        self.trim.reply
    }
}

impl Writer {
    pub(super) fn begin_trimming(&mut self, trim: Trim) -> Result<(), redb::Error> {
        let mut state = self.shared.state.write();
        let before = state.view().window.get(0).copied();
        // A window only moves on: what is gone does not come back.
        let (since, forgotten) = before.map_or((Micros::MIN, Micros::MIN), |w| (w.since, w.forgotten));
        let window = Window { since: since.max(trim.window.since), forgotten: forgotten.max(trim.window.forgotten) };
        state.set_window(self.seq + 1, window);
        state.forget_silences(self.seq + 1, window.forgotten);
        drop(state);
        self.pending.trimming =
            Some(Trimming { trim: Trim { window, ..trim }, trimmer: Trimmer::default(), next: 0, went: 0 });
        // An entry that says nothing: with it the sequence moves, and whoever follows it reads anew.
        let fact = concluded((self.options.clock)(), Vec::new());
        self.commit(vec![Queued { fact, ticket: Backlog::NOBODY, novelty: Novelty::Changed }])
    }

    pub(super) fn step_trimming(&mut self) {
        let Some(mut trimming) = self.pending.trimming.take() else { return };
        let (from, window) = (trimming.next, trimming.trim.window);
        let archived = trimming.trim.archived.as_ref();
        // Nobody else changes the state: readers go on while histories are read.
        let state = self.shared.state.read();
        let all = u32::try_from(state.view().reconcilers.len()).unwrap_or(u32::MAX);
        trimming.next = from.saturating_add(STEP).min(all);
        let trimmed = state.trim(from..trimming.next, window, archived, &mut trimming.trimmer);
        drop(state);
        if !trimmed.is_empty() {
            // Blocks count as changed by the next entry: the checkpoint before it does not know of this.
            trimming.went += self.shared.state.write().put_trimmed(self.seq + 1, trimmed) as u64;
        }
        if trimming.next < all {
            self.pending.trimming = Some(trimming);
        } else {
            let _ = trimming.trim.reply.send(Ok(trimming.went));
        }
    }
}
