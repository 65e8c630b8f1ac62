//! Tests of the engine over a small catalog in memory.
