//! Integration tests: one binary, modules by subject.

mod api_answers;
mod api_command_line;
mod api_ingest;
mod api_rows;
mod hub;
mod ledger_disk;
mod ledger_facts;
mod ledger_store;
mod power_loss;
