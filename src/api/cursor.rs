//! Cursors of lists: the key of the last row, the list and filters it belongs to, and the epoch of the store.
//!
//! Invariant: opaque to clients, and useless elsewhere: a cursor of another list, other filters or another store is refused, never
//! misread.

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::resource::Resource;
use crate::model::Micros;
use crate::normalize::NAME_LIMIT;
use crate::snapshot::schema::Kind;
use axum::http::StatusCode;

#[derive(Serialize, Deserialize)]
struct Wire {
    e: u64,
    q: u64,
    k: Vec<serde_json::Value>,
}

/// The hash of what a cursor belongs to.
fn question(resource: &Resource, filters: &[(String, String)]) -> u64 {
    let mut text = resource.name.to_owned();
    for (name, value) in filters.iter().filter(|(n, _)| !matches!(n.as_str(), "cursor" | "limit" | "fresh" | "min_seq"))
    {
        // With its length, for a value may hold whatever else would tell where the next begins.
        for part in [name, value] {
            text.push_str(&format!("{}:{part}", part.len()));
        }
    }
    twox_hash::XxHash3_128::oneshot(text.as_bytes()) as u64
}

/// Writes the cursor that goes on after `key`.
pub(super) fn write(
    epoch: u64,
    resource: &Resource,
    filters: &[(String, String)],
    key: Vec<serde_json::Value>,
) -> String {
    let wire = Wire { e: epoch, q: question(resource, filters), k: key };
    let json = serde_json::to_vec(&wire).unwrap_or_default();
    json.iter().fold(String::with_capacity(json.len() * 2), |mut out, byte| {
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        out
    })
}

/// Reads a cursor back into the key to go on after.
pub(super) fn read(
    text: &str,
    epoch: u64,
    resource: &Resource,
    filters: &[(String, String)],
) -> Result<Vec<serde_json::Value>, Problem> {
    let bad = || {
        Problem::parameter(
            "the cursor is not one of this hub",
            "Take it from the Link header as it is, or start without one.",
        )
    };
    let nibbles: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let nibbles = nibbles.filter(|n| n.len() % 2 == 0).ok_or_else(bad)?;
    let bytes: Vec<u8> = nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    if wire.e != epoch {
        return Err(Problem::new(
            StatusCode::GONE,
            "stale-cursor",
            "the cursor belongs to an earlier store; start over without it",
            "The hub was restored or its data replaced since the page with this cursor was read.",
        ));
    }
    if wire.q != question(resource, filters) || wire.k.len() != resource.key {
        return Err(Problem::parameter(
            "the cursor belongs to another list or other filters",
            "Follow the Link header as it is; to change a filter, start without a cursor.",
        ));
    }
    let fits = resource.key().iter().zip(&wire.k).all(|(column, value)| match resource.kind(column) {
        Some(Kind::Count) => value.is_i64(),
        Some(Kind::Time) => value.as_str().is_some_and(|text| Micros::parse(text).is_ok()),
        _ => value.as_str().is_some_and(|text| text.len() <= NAME_LIMIT),
    });
    if fits { Ok(wire.k) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::super::resource::{LISTS, PROMOTIONS};
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_belongs_to_its_list_its_filters_and_its_store() {
        let filters = [("workspace".to_owned(), "a".to_owned()), ("limit".to_owned(), "5".to_owned())];
        let key: Vec<serde_json::Value> = vec!["a".into(), "b".into()];
        let text = write(7, &LISTS[1], &filters, key.clone());
        assert_eq!(read(&text, 7, &LISTS[1], &filters).unwrap(), key);
        assert_eq!(read(&text, 8, &LISTS[1], &filters).unwrap_err().status(), StatusCode::GONE);
        assert!(read(&text, 7, &LISTS[2], &filters).is_err());
        assert!(read(&text, 7, &LISTS[1], &[]).is_err());
        assert!(read("zz", 7, &LISTS[1], &filters).is_err());
        assert!(read("7b7d", 7, &LISTS[1], &filters).is_err());
    }

    #[test]
    fn a_cursor_that_no_page_ends_with_is_refused() {
        let transitions = LISTS.iter().find(|r| r.name == "transitions").unwrap();
        let forged = |seq: serde_json::Value, id: &str| {
            let text = write(7, transitions, &[], vec![seq, id.into()]);
            read(&text, 7, transitions, &[])
        };
        assert!(forged(7.into(), "0a").is_ok());
        for wrong in [forged((1u64 << 63).into(), "0a"), forged("7".into(), "0a"), forged(7.into(), &"h".repeat(5000))]
        {
            assert_eq!(wrong.unwrap_err().title(), "the cursor is not one of this hub");
        }
        let promoted = |at: &str| {
            let text = write(7, &PROMOTIONS, &[], [at, "w", "a", "l", "e", "v"].map(serde_json::Value::from).to_vec());
            read(&text, 7, &PROMOTIONS, &[])
        };
        assert!(promoted("2026-01-01T00:00:00.000Z").is_ok());
        assert!(promoted("soon").is_err());
    }
}
