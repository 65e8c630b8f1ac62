//! What the sources that the hub watches have in common: their statements are stored, and what is gone is told gone.
//!
//! Invariant: every statement gets a time of receipt of its own, and what was refused is counted, whatever source it came from.

use std::collections::HashSet;

use super::heard::SourceKind;
use super::hub::Hub;
use crate::ledger::AppendError;
use crate::model::{Body, CarrierKey, Clock, Fact, Micros, Observation};
use crate::normalize::{self, Rejection};
use crate::state::ObjectKind;

/// Stores what a source says, also counting what could not be read; answers for each statement what was wrong with it.
pub(super) async fn take(
    hub: &Hub,
    source: &str,
    kind: SourceKind,
    said: Vec<Result<Observation, Rejection>>,
) -> Result<Vec<Option<Rejection>>, AppendError> {
    let now = Micros::now();
    let mut facts = Vec::with_capacity(said.len());
    let mut answers = Vec::with_capacity(said.len());
    for said in said {
        match said.and_then(|observation| normalize::fact(observation, hub.receipt(now))) {
            Ok(fact) => {
                facts.push(fact);
                answers.push(None);
            }
            Err(rejection) => answers.push(Some(rejection)),
        }
    }
    let receipt = hub.append(facts).await?;
    // Counted when the ledger has taken the rest: until then all of it is said again.
    hub.sources().taken(source, kind, &receipt, now);
    for rejection in answers.iter().flatten() {
        let why = format!("{}: {}", rejection.title, rejection.detail);
        hub.sources().refused(source, kind, 1, &why, now);
    }
    Ok(answers)
}

/// Tells gone what a source carried and does not carry any more; answers how many those were.
pub(super) async fn retire_absent(
    hub: &Hub,
    source: &str,
    kind: Option<ObjectKind>,
    present: &HashSet<CarrierKey>,
) -> Result<usize, AppendError> {
    let living = hub.read(|s| s.living_carriers(source, kind));
    let gone: Vec<Fact> =
        living.into_iter().filter(|c| !present.contains(c)).map(|carrier| farewell(source, carrier)).collect();
    let count = gone.len();
    hub.append(gone).await?;
    Ok(count)
}

/// A carrier is gone, as of now: nobody was there to see when it went.
fn farewell(source: &str, carrier: CarrierKey) -> Fact {
    let now = Micros::now();
    let mut name = [0u8; 24];
    name[..16].copy_from_slice(&carrier.0.to_le_bytes());
    name[16..].copy_from_slice(&now.0.to_le_bytes());
    Fact {
        source: source.to_owned(),
        carrier,
        at: now,
        clock: Clock::Received,
        identity: twox_hash::XxHash3_128::oneshot(&name) as u64,
        received_at: now,
        body: Body::Gone,
    }
}
