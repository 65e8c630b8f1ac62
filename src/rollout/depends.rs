//! What an answer depends on besides the policies: when it must be made anew.
//!
//! Invariant: as long as it stands, an answer made anew differs in nothing but its own time and how fresh the reports are.

use crate::model::Micros;
use crate::state::State;

/// What one answer depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depends {
    /// The endpoints whose subscribers it is about.
    endpoints: Vec<u32>,
    moves: u64,
    due: Option<Micros>,
}

impl Depends {
    /// What an answer depends on that was made of this state.
    pub(super) fn new(state: &State, endpoints: Vec<u32>, due: Option<Micros>) -> Depends {
        Depends { moves: moves(state, &endpoints), endpoints, due }
    }

    /// Whether the answer is still the one that would be made at `now`.
    pub fn stands(&self, state: &State, now: Micros) -> bool {
        self.due.is_none_or(|due| now < due) && moves(state, &self.endpoints) == self.moves
    }

    /// When time alone may change it; `None` when only news can.
    pub fn due(&self) -> Option<Micros> {
        self.due
    }
}

/// All of these counters only grow, so their sum is the same only when each of them is.
fn moves(state: &State, endpoints: &[u32]) -> u64 {
    let index = state.index();
    let reports = endpoints.iter().filter_map(|e| index.current(*e)).map(|s| s.moves());
    index.desired_moves() + index.verifications_changed() + reports.sum::<u64>()
}
