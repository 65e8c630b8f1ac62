//! Integration tests: one binary, modules by subject.

mod histories;
mod ledger_disk;
mod ledger_facts;
mod ledger_store;
mod meanings;
mod power_loss;
mod reference;
