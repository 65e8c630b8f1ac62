//! One of several hubs on a cluster is the leader: it writes statuses and events. A `coordination.k8s.io/v1` Lease says which.
//!
//! The lease guards no data: the file lock does that. Invariant: a holder stops to call itself the leader before anybody else
//! may take the lease; an undecided moment has no leader, never two.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who competes, and for which lease.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of this hub among those that compete.
    pub identity: String,
    /// Without renewal others may take it after this long.
    pub duration: Duration,
}

/// What to do about a lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nobody holds it, or the holder let it expire: write ourselves into it.
    Take,
    /// It is ours: write the time of renewal.
    Renew,
    /// Somebody else holds it.
    Wait,
}

/// Judges a lease. `unchanged_for` is how long, by our own clock, it has not been written: clocks of others are not trusted.
pub fn evaluate(spec: Option<&LeaseSpec>, identity: &str, unchanged_for: Duration) -> Decision {
    let Some(spec) = spec else { return Decision::Take };
    match spec.holder_identity.as_deref() {
        None | Some("") => Decision::Take,
        Some(holder) if holder == identity => Decision::Renew,
        Some(_) => {
            let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
            if unchanged_for >= Duration::from_secs(seconds) { Decision::Take } else { Decision::Wait }
        }
    }
}

/// Competes for the lease until cancelled, and then lets it go at once.
pub(super) async fn hold(client: Client, options: Options, leads: watch::Sender<bool>, cancel: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &options.namespace);
    let every = options.duration / 4;
    let mut holder = Holder { api, options, seen: None, renewed: None };
    loop {
        match tokio::time::timeout(holder.options.duration / 2, holder.turn()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = holder.options.name, "the lease could not be looked after")
            }
            Err(_) => {
                tracing::warn!(lease = holder.options.name, "the API server did not answer about the lease in time")
            }
        }
        // Two thirds: we step down before the lease runs out for the others.
        let ours = holder.renewed.is_some_and(|at| at.elapsed() < holder.options.duration * 2 / 3);
        leads.send_if_modified(|leads| {
            let changed = *leads != ours;
            if changed {
                tracing::info!(
                    lease = holder.options.name,
                    identity = holder.options.identity,
                    leader = ours,
                    "leadership changed"
                );
            }
            *leads = ours;
            changed
        });
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(every) => {}
        }
    }
    leads.send_replace(false);
    if holder.renewed.is_some()
        && let Err(error) = holder.release().await
    {
        tracing::warn!(%error, "the lease could not be let go; it runs out by itself");
    }
}

struct Holder {
    api: Api<Lease>,
    options: Options,
    /// The lease as last seen, and since when it is so.
    seen: Option<(String, Instant)>,
    /// When we last wrote ourselves into it.
    renewed: Option<Instant>,
}

impl Holder {
    /// Looks once, and writes if it is ours to write.
    async fn turn(&mut self) -> Result<(), kube::Error> {
        let asked = Instant::now();
        let Some(lease) = self.api.get_opt(&self.options.name).await? else {
            let created = self.api.create(&PostParams::default(), &self.mine(None)).await;
            return self.wrote(created.map(|_| ()), asked);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((known, since)) if *known == version => *since,
            _ => asked,
        };
        self.seen = Some((version, since));
        match evaluate(lease.spec.as_ref(), &self.options.identity, since.elapsed()) {
            Decision::Wait => {
                self.renewed = None;
                Ok(())
            }
            Decision::Take | Decision::Renew => {
                let written =
                    self.api.replace(&self.options.name, &PostParams::default(), &self.mine(Some(&lease))).await;
                self.wrote(written.map(|_| ()), asked)
            }
        }
    }

    /// A conflict is no error: another hub was quicker.
    fn wrote(&mut self, outcome: Result<(), kube::Error>, asked: Instant) -> Result<(), kube::Error> {
        match outcome {
            Ok(()) => {
                self.renewed = Some(asked);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The lease with us in it. The resourceVersion it was read at goes along, so that only one of two writers succeeds.
    fn mine(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = current.and_then(|lease| lease.spec.as_ref());
        let renews = old.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.options.identity.as_str()));
        let transitions =
            old.and_then(|spec| spec.lease_transitions).unwrap_or_default() + i32::from(old.is_some() && !renews);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                resource_version: current.and_then(|lease| lease.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.options.identity.clone()),
                lease_duration_seconds: i32::try_from(self.options.duration.as_secs()).ok(),
                acquire_time: if renews { old.and_then(|spec| spec.acquire_time.clone()) } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.options.name).await? else { return Ok(()) };
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.options.identity))
        {
            spec.holder_identity = None;
            self.api.replace(&self.options.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()).filter(|h| !h.is_empty()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_of_nobody_is_taken() {
        assert_eq!(evaluate(None, "a", Duration::ZERO), Decision::Take);
        assert_eq!(evaluate(Some(&held_by("")), "a", Duration::ZERO), Decision::Take);
    }

    #[test]
    fn a_lease_of_our_own_is_renewed() {
        assert_eq!(evaluate(Some(&held_by("a")), "a", Duration::from_secs(100)), Decision::Renew);
    }

    #[test]
    fn a_lease_of_another_is_taken_only_when_it_was_not_written_for_its_duration() {
        assert_eq!(evaluate(Some(&held_by("b")), "a", Duration::from_secs(14)), Decision::Wait);
        assert_eq!(evaluate(Some(&held_by("b")), "a", Duration::from_secs(15)), Decision::Take);
    }
}
