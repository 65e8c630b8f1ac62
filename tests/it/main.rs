//! Integration tests: one binary, modules by subject.

mod histories;
mod ledger_disk;
mod ledger_facts;
mod ledger_store;
mod meanings;
mod power_loss;
mod views_exports;
mod views_generation;
mod views_history;
mod views_now;
mod views_support;
mod reference;
