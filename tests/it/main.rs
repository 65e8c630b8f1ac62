//! Integration tests: one binary, modules by subject.

mod ledger_disk;
mod ledger_facts;
mod ledger_store;
mod power_loss;
