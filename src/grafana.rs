//! What is generated for Grafana and Prometheus, out of files of `grafana-plugin-config/`.
//!
//! Invariant: a pure function of those files, so that what is committed can be compared with them.

pub mod alerts;
