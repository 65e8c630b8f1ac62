//! Integration tests: one binary, modules by subject.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod api_answers;
mod api_changes;
mod api_command_line;
mod api_connections;
mod api_ingest;
mod api_questions;
mod api_rows;
mod api_verifications;
mod demo;
mod gate_bad_input;
mod gate_histories;
mod gate_policies;
mod gate_waits;
mod github_action;
mod grafana_alerts;
mod grafana_rows;
mod histories;
mod hub;
mod ledger_disk;
mod ledger_facts;
mod ledger_store;
mod meanings;
mod power_loss;
mod reference;
mod rollout_wait;
mod sql_limits;
mod views_dashboards;
mod views_exports;
mod views_generation;
mod views_history;
mod views_now;
mod views_promotions;
mod views_support;
