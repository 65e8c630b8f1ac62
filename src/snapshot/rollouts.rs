//! How each assignment spread over the reconcilers that subscribe to its target.

use std::sync::Arc;

use super::generation::Shared;
use super::scan::{chunk_of, Cell, Reader, Rows, CHUNK};
use super::schema::{self, TableSchema};

/// One assignment's rollout.
#[derive(Clone, Debug)]
pub struct RolloutState {
    pub(super) target: u32,
    pub(super) index: u32,
    pub(super) verdict: &'static str,
    pub(super) buckets: [u32; 7],
}

/// The table `rollout_states`.
#[derive(Debug)]
pub(super) struct RolloutStates(pub(super) Arc<Shared>);

impl RolloutStates {
    fn rows(&self) -> &[RolloutState] {
        self.0.rollouts.get_or_init(Vec::new)
    }
}

impl Rows for RolloutStates {
    type Row = RolloutState;

    fn table(&self) -> &'static TableSchema {
        &schema::ROLLOUT_STATES
    }

    fn chunks(&self) -> usize {
        self.rows().len().div_ceil(CHUNK)
    }

    fn chunk(&self, chunk: usize) -> Vec<RolloutState> {
        self.rows()[chunk_of(self.rows().len(), chunk)].to_vec()
    }

    fn reader(column: &str) -> Option<Reader<Self>> {
        Some(match column {
            "version" => |s, r| Cell::Text(s.0.tables.version_text(s.0.assignment((r.target, r.index)).version)),
            "commit" => |s, r| {
                let a = s.0.assigned();
                Cell::some(s.0.tables.text(a.first_commit(a.number(r.target, r.index as usize))))
            },
            "verdict" => |_, r| Cell::Text(r.verdict),
            "started_at" => |s, r| Cell::time(s.0.assignment((r.target, r.index)).start),
            "total" => |_, r| Cell::Number(r.buckets[..6].iter().map(|n| i64::from(*n)).sum()),
            "success" => |_, r| Cell::Number(i64::from(r.buckets[0])),
            "failure" => |_, r| Cell::Number(i64::from(r.buckets[1])),
            "in_progress" => |_, r| Cell::Number(i64::from(r.buckets[2])),
            "behind" => |_, r| Cell::Number(i64::from(r.buckets[3])),
            "silent" => |_, r| Cell::Number(i64::from(r.buckets[4])),
            "never_reported" => |_, r| Cell::Number(i64::from(r.buckets[5])),
            "retired" => |_, r| Cell::Number(i64::from(r.buckets[6])),
            "completed_at" => |_, _| Cell::Null,
            "assignment_no" => |s, r| Cell::Number(s.0.assigned().number(r.target, r.index as usize)),
            _ => return None,
        })
    }

    fn count(&self) -> Option<usize> {
        self.0.rollouts.get().map(Vec::len)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    fn target(row: &RolloutState) -> Option<u32> {
        Some(row.target)
    }
}
