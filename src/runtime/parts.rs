//! Stores what restricted tokens tell, as far as it is about their part of the fleet.
//!
//! Invariant: what is stored was judged by a state that holds all that restricted tokens told before, for one batch is judged at a
//! time: of two tokens that claim the same manifests one comes first. An unrestricted statement that slips in between changes nothing:
//! the state does not hang on the order of arrival, so it is as if it had come after.

use super::Hub;
use crate::access::Restriction;
use crate::access::telling::Part;
use crate::ledger::{AppendError, Receipt};
use crate::model::Fact;
use crate::normalize::Rejection;

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Filed {
    /// What was stored.
    pub receipt: Receipt,
    /// What was refused, by its place in the batch.
    pub refused: Vec<(usize, Rejection)>,
    /// Why the rest was neither.
    pub failed: Option<AppendError>,
}

impl Hub {
    /// Stores the facts that are about a part of the fleet alone.
    pub async fn append_within(&self, part: &Restriction, facts: Vec<Fact>) -> Filed {
        let _one_at_a_time = self.parts().lock().await;
        let mut filed = Filed::default();
        let mut left: Vec<(usize, Fact)> = facts.into_iter().enumerate().collect();
        loop {
            let mut taken = Vec::new();
            let mut refused = Vec::new();
            self.read(|state| {
                let part = Part::of(part, state);
                for (place, fact) in left.drain(..) {
                    match part.judge(&fact) {
                        Ok(()) => taken.push(fact),
                        Err(why) => refused.push((place, fact, why)),
                    }
                }
            });
            // Once what could be taken is stored, what hangs on it can be: a report on its descriptor, a deletion on its object.
            let done = taken.is_empty() || refused.is_empty();
            if !taken.is_empty() {
                match self.append(taken).await {
                    Ok(receipt) => {
                        filed.receipt.seq = filed.receipt.seq.max(receipt.seq);
                        filed.receipt.changed += receipt.changed;
                        filed.receipt.unchanged += receipt.unchanged;
                    }
                    Err(error) => {
                        filed.failed = Some(error);
                        return filed;
                    }
                }
            }
            if done {
                filed.refused = refused.into_iter().map(|(place, _, why)| (place, why)).collect();
                return filed;
            }
            left = refused.into_iter().map(|(place, fact, _)| (place, fact)).collect();
        }
    }
}
