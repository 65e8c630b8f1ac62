//! The hub on a real kube-apiserver and etcd, with the real kustomize-controller of Flux. Everything the hub does here it does
//! as the ServiceAccount of `schema/rbac.yaml`.
//!
//! The servers come from `tests/assets/build.sh` and are found through `KUBEBUILDER_ASSETS`, helm for the tests of the charts comes
//! from `tests/install/build.sh` and is found through `KOH_CHART_TOOLS`; without them every test here says aloud that it is
//! skipped. One API server serves the whole process, and every test has a namespace of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod accounts;
mod captured;
mod chart_values;
mod charts;
mod cluster;
mod declared;
mod descriptors;
mod expiry;
mod flux;
mod helm;
mod hub;
mod pod;
mod races;
mod resilience;
mod restricted_accounts;
mod way;
