//! The byte form of a reconciler's earlier statements: varints, times as differences.
//!
//! Invariant: `unpack(pack(statements)) == statements`. The bytes are also what checkpoints store, so the form only changes
//! together with the version of the stored block.

use crate::model::{Micros, Status};

use super::history::Statement;

/// Bytes of a statement, usually not more.
pub const USUAL: usize = 24;

const HAS_SPAN: u8 = 1 << 2;
const GONE: u8 = 1 << 3;
const SAME_ENDPOINT: u8 = 1 << 4;
const HAS_APPLIED: u8 = 1 << 5;
const SAME_SOURCE: u8 = 1 << 6;
const FUTURE: u8 = 1 << 7;

pub(super) fn put(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push((v as u8) | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let (&b, rest) = bytes.split_first()?;
        *bytes = rest;
        v |= u64::from(b & 0x7f) << shift;
        if b < 0x80 {
            return Some(v);
        }
    }
    None
}

/// Differences of times are mostly whole seconds (sources report seconds), so the lowest bit tells the unit.
pub(super) fn put_time(out: &mut Vec<u8>, micros: i64) {
    let (v, whole) = if micros % 1_000_000 == 0 { (micros / 1_000_000, 1) } else { (micros, 0) };
    let zigzag = ((v << 1) ^ (v >> 63)) as u64;
    put(out, zigzag << 1 | whole);
}

pub(super) fn take_time(bytes: &mut &[u8]) -> Option<i64> {
    let v = take(bytes)?;
    let zigzag = v >> 1;
    let n = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    Some(if v & 1 == 1 { n.wrapping_mul(1_000_000) } else { n })
}

/// Appends one statement; `before` is the statement packed before it.
pub fn push(out: &mut Vec<u8>, s: &Statement, before: Option<&Statement>) {
    let mut flags = s.status as u8;
    let same_endpoint = before.is_some_and(|b| b.endpoint == s.endpoint);
    let same_source = before.is_some_and(|b| b.source == s.source);
    for (set, flag) in [
        (s.last != s.first, HAS_SPAN),
        (s.gone, GONE),
        (same_endpoint, SAME_ENDPOINT),
        (s.applied != 0, HAS_APPLIED),
        (same_source, SAME_SOURCE),
        (s.future, FUTURE),
    ] {
        if set {
            flags |= flag;
        }
    }
    out.push(flags);
    put_time(out, s.first.0 - before.map_or(0, |b| b.first.0));
    put_time(out, s.received_at.0 - s.first.0);
    put(out, u64::from(s.commit));
    if s.applied != 0 {
        put(out, u64::from(s.applied));
    }
    if !same_endpoint {
        put(out, u64::from(s.endpoint));
    }
    if !same_source {
        put(out, u64::from(s.source));
    }
    put(out, u64::from(s.raw));
    put(out, u64::from(s.message));
    if s.last != s.first {
        put_time(out, s.last.0 - s.first.0);
    }
}

/// Reads statements back, oldest first; a damaged tail ends the iteration.
#[derive(Debug)]
pub struct Unpack<'a> {
    bytes: &'a [u8],
    before: Option<Statement>,
}

/// Starts reading packed statements.
pub fn unpack(bytes: &[u8]) -> Unpack<'_> {
    Unpack { bytes, before: None }
}

impl Iterator for Unpack<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let b = &mut self.bytes;
        let (&flags, rest) = b.split_first()?;
        *b = rest;
        let before = self.before;
        let first = before.map_or(0, |s| s.first.0).wrapping_add(take_time(b)?);
        let received_at = first.wrapping_add(take_time(b)?);
        let commit = take(b)? as u32;
        let applied = if flags & HAS_APPLIED != 0 { take(b)? as u32 } else { 0 };
        let endpoint = if flags & SAME_ENDPOINT != 0 { before?.endpoint } else { take(b)? as u32 };
        let source = if flags & SAME_SOURCE != 0 { before?.source } else { take(b)? as u32 };
        let raw = take(b)? as u32;
        let message = take(b)? as u32;
        let last = if flags & HAS_SPAN != 0 { first.wrapping_add(take_time(b)?) } else { first };
        let s = Statement {
            first: Micros(first),
            last: Micros(last),
            received_at: Micros(received_at),
            endpoint,
            commit,
            applied,
            source,
            raw,
            message,
            status: Status::from_u8(flags & 3),
            gone: flags & GONE != 0,
            future: flags & FUTURE != 0,
        };
        self.before = Some(s);
        Some(s)
    }
}
