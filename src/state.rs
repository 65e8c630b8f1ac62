//! The fold: facts in, current state, counters and intervals out. Pure and in memory; no clock, no I/O.

pub mod blocks;
