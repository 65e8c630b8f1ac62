//! From what a source said to a fact: names checked, spellings unified, messages scrubbed, event time judged.
//!
//! Invariant: deterministic in its arguments; the identity of a fact depends on its normal form and the time it claims,
//! never on when or in which spelling it arrived.

use super::selector::selector;
use super::verification::verification;
use super::{Rejection, commit, endpoint, keys, name, redact, repository, status};
use crate::model::{
    Body, Carrier, CarrierKey, Clock, Declaration, DescriptorSaid, Expectation, FUTURE_TOLERANCE, Fact,
    HostDeclaration, HostSaid, ManifestsSaid, Micros, Observation, Received, Report, ReportSaid, Said, Sighting,
    SightingSaid, When,
};

/// The most expectations one host may declare.
const MAX_EXPECTATIONS: usize = 1000;

/// Checks an observation and brings it into normal form.
pub fn fact(observation: Observation, received: impl Into<Received>) -> Result<Fact, Rejection> {
    let Received { at: now, stamp: received_at } = received.into();
    let Observation { source, carrier, when, said } = observation;
    let source = name::name("source", source)?;
    let (body, natural) = body(&source, said, matches!(carrier, Carrier::Natural))?;
    let carrier = match carrier {
        Carrier::Resource { kind, namespace, name: resource } => {
            let namespace = name::optional("namespace", Some(namespace))?.unwrap_or_default();
            let resource = name::name("metadata.name", resource)?;
            keys::resource(&source, kind, &namespace, &resource)
        }
        Carrier::Natural => natural.ok_or_else(|| {
            Rejection::new(
                "a deletion names nothing",
                "a deletion without a custom resource must name the target, reconciler or host that is gone",
            )
        })?,
    };
    let (at, clock) = match when.event {
        None => (now, Clock::Received),
        Some(at) if at < Micros(0) => {
            return Err(Rejection::new(
                format!("the event time {at} lies before 1970"),
                "give the time of the event in RFC 3339, or leave it out: then the time of receipt counts",
            ));
        }
        Some(at) if at.since(now) > FUTURE_TOLERANCE => (now, Clock::Future),
        Some(at) => (at, Clock::Said),
    };
    let identity = identity(carrier, &when, &body);
    Ok(Fact { source, carrier, at, clock, identity, received_at, body })
}

/// The body and, when there is no resource, the key of the object spoken of.
fn body(source: &str, said: Said, natural: bool) -> Result<(Body, Option<CarrierKey>), Rejection> {
    let key = |key: &dyn Fn() -> CarrierKey| natural.then(key);
    Ok(match said {
        Said::Report(report) => {
            let report = self::report(*report)?;
            let key = key(&|| keys::reconciler(source, &report.host, &report.reconciler));
            (Body::Report(Box::new(report)), key)
        }
        Said::Descriptor(descriptor) => {
            let declared = declaration(*descriptor)?;
            let key = key(&|| {
                let Declaration { workspace, application, workload, environment, deployment_target, .. } = &declared;
                keys::target(source, [workspace, application, workload, environment, deployment_target])
            });
            (Body::Declaration(Box::new(declared)), key)
        }
        Said::Host(said) => {
            let declared = host(*said)?;
            let key = key(&|| keys::host(source, &declared.name));
            (Body::Host(Box::new(declared)), key)
        }
        Said::Sighting(said) => {
            let key = key(&|| keys::watcher(source, &said.watcher));
            (Body::Sighting(Box::new(sighting(*said)?)), key)
        }
        Said::Verification(said) => {
            let told = verification(*said)?;
            let key = key(&|| keys::verification(source, &told));
            (Body::Verification(Box::new(told)), key)
        }
        Said::Deleted(of) => {
            let key = match of {
                Some(of) if natural => Some(named(source, *of)?),
                _ => None,
            };
            (Body::Gone, key)
        }
    })
}

/// The natural key a deletion names; nothing else of the statement matters.
fn named(source: &str, said: Said) -> Result<CarrierKey, Rejection> {
    match said {
        Said::Report(report) => {
            let host = name::name("host", report.host)?;
            Ok(keys::reconciler(source, &host, &name::name("reconciler", report.reconciler)?))
        }
        Said::Descriptor(d) => {
            let workspace = name::name("workspace", d.workspace)?;
            let application = name::name("application", d.application)?;
            let workload = name::name("workload", d.workload)?;
            let environment = name::name("environment", d.environment)?;
            let target = name::name("deployment target", d.deployment_target)?;
            Ok(keys::target(source, [&workspace, &application, &workload, &environment, &target]))
        }
        Said::Host(host) => Ok(keys::host(source, &name::name("host", host.name)?)),
        Said::Sighting(_) | Said::Verification(_) | Said::Deleted(_) => {
            Err(Rejection::new("a deletion of what is no object", "name the target, reconciler or host that is gone"))
        }
    }
}

fn report(said: ReportSaid) -> Result<Report, Rejection> {
    let attempted = self::digest("commit", said.commit)?;
    let applied = self::digest("applied commit", said.applied_commit)?;
    // One commit alone is both.
    let (commit, applied) = match (attempted, applied) {
        (None, Some(only)) => (Some(only), None),
        both => both,
    };
    let word = said.status.trim();
    let status = status(word);
    let raw_status = match name::optional("raw status", said.raw_status)? {
        Some(raw) => redact::message(raw),
        None => name::optional("status", Some(said.status))?.map(redact::message).unwrap_or_default(),
    };
    Ok(Report {
        host: name::name("host", said.host)?,
        reconciler: name::name("reconciler", said.reconciler)?,
        reconciler_type: name::name("reconciler type", said.reconciler_type)?,
        endpoint: endpoint(said.manifests)?.endpoint,
        commit,
        applied,
        status,
        raw_status,
        message: redact::message(said.message),
        labels: name::labels("labels", said.labels)?,
    })
}

fn declaration(said: DescriptorSaid) -> Result<Declaration, Rejection> {
    if matches!(said.manifests, ManifestsSaid::Endpoint { .. }) {
        return Err(Rejection::new(
            "a descriptor's manifests are one string",
            "name repo, branch and path of the manifests apart, so that the commit can be filed under its branch",
        ));
    }
    let place = endpoint(said.manifests)?;
    let source_repo = name::optional("source repo", said.source_repo)?;
    Ok(Declaration {
        workspace: name::name("workspace", said.workspace)?,
        application: name::name("application", said.application)?,
        workload: name::name("workload", said.workload)?,
        environment: name::name("environment", said.environment)?,
        deployment_target: name::name("deployment target", said.deployment_target)?,
        version: name::name("version", said.version)?,
        endpoint: place.endpoint,
        repo: place.repo,
        branch: place.branch,
        commit: digest("gitops revision", said.gitops_revision)?,
        source_repo: source_repo.map(|repo| repository(&repo)),
        source_branch: name::optional("source branch", said.source_branch)?,
        source_path: name::optional("source path", said.source_path)?,
        source_commit: digest("source commit", said.source_commit)?,
        build: name::optional("build", said.build)?,
        build_time: said.build_time,
        image_digest: name::optional("image digest", said.image_digest)?,
        author: name::optional("author", said.author)?,
        pull_request: name::optional("pull request", said.pull_request)?.map(|text| redact::scrub(&text).into_owned()),
        contact: name::optional("contact", said.contact)?,
        labels: name::labels("labels", said.labels)?,
    })
}

fn sighting(said: SightingSaid) -> Result<Sighting, Rejection> {
    let raw = said.commit;
    let commit = digest("commit", Some(raw.clone()))?.ok_or_else(|| {
        Rejection::new(format!("the revision `{raw}` names no commit"), "a sighting needs the commit that was seen")
    })?;
    Ok(Sighting {
        repo: repository(&name::name("repository", said.repo)?),
        branch: name::name("branch", said.branch)?,
        commit,
    })
}

fn host(said: HostSaid) -> Result<HostDeclaration, Rejection> {
    let expects = match said.expects {
        Some(expects) if expects.len() > MAX_EXPECTATIONS => {
            return Err(Rejection::new(
                format!("the host expects {} things", expects.len()),
                format!("a host may expect at most {MAX_EXPECTATIONS} deployment targets"),
            ));
        }
        Some(expects) => {
            let mut all = Vec::with_capacity(expects.len());
            for (workload, environment, target) in expects {
                all.push(Expectation {
                    workload: name::name("expected workload", workload)?,
                    environment: name::name("expected environment", environment)?,
                    deployment_target: name::name("expected deployment target", target)?,
                });
            }
            all.sort();
            all.dedup();
            Some(all)
        }
        // What is expected by name and by labels is one detail: who says one of them says both.
        None => said.selector.is_some().then(Vec::new),
    };
    Ok(HostDeclaration {
        name: name::name("host", said.name)?,
        external_id: name::optional("external id", said.external_id)?,
        host_type: name::optional("host type", said.host_type)?,
        labels: name::labels("labels", said.labels)?,
        class: name::optional("class", said.class)?,
        contact: name::optional("contact", said.contact)?,
        expects,
        heartbeat: said.heartbeat,
        retired: said.retired,
        selector: said.selector.map(selector).transpose()?.map(|s| s.to_string()).unwrap_or_default(),
    })
}

fn digest(what: &str, raw: Option<String>) -> Result<Option<String>, Rejection> {
    Ok(match raw {
        // Nearly all commits are in normal form already; whoever is not pays for the rest.
        Some(raw) if raw.len() == 45 && commit(&raw).is_some_and(|c| c == raw) => Some(raw),
        raw => name::optional(what, raw)?.and_then(|raw| commit(&raw)),
    })
}

/// By what a statement is known again: object version, idempotency key or content, always with the claimed time.
fn identity(carrier: CarrierKey, when: &When, body: &Body) -> u64 {
    let hash = keys::hash(|bytes| {
        bytes.extend_from_slice(&carrier.0.to_le_bytes());
        bytes.extend_from_slice(&when.event.map_or(i64::MIN, |at| at.0).to_le_bytes());
        bytes.push(match body {
            Body::Declaration(_) => 1,
            Body::Report(_) => 2,
            Body::Host(_) => 3,
            Body::Gone => 4,
            Body::Liveness(_) => 5,
            Body::Sighting(_) => 6,
            Body::Verification(_) => 7,
        });
        if let Some(version) = &when.object_version {
            bytes.push(b'v');
            keys::text(bytes, version);
        } else if let Some(key) = &when.idempotency {
            bytes.push(b'k');
            keys::text(bytes, key);
        } else {
            bytes.push(b'c');
            content(bytes, body);
        }
    });
    // The lower half of a 128-bit hash is as good a hash; its last bit tells contents from what names one statement.
    let is_content = when.object_version.is_none() && when.idempotency.is_none();
    (hash & u128::from(u64::MAX - 1)) as u64 | u64::from(is_content)
}

/// The normalised content. The raw spelling of an endpoint is no content.
fn content(bytes: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Report(r) => {
            for text in [&r.host, &r.reconciler, &r.reconciler_type, &r.endpoint.storage_type, &r.endpoint.canonical] {
                keys::text(bytes, text);
            }
            keys::optional(bytes, r.commit.as_deref());
            keys::optional(bytes, r.applied.as_deref());
            bytes.push(r.status as u8);
            for text in [&r.raw_status, &r.message, &r.labels] {
                keys::text(bytes, text);
            }
        }
        Body::Declaration(d) => {
            for text in [
                &d.workspace,
                &d.application,
                &d.workload,
                &d.environment,
                &d.deployment_target,
                &d.version,
                &d.endpoint.storage_type,
                &d.endpoint.canonical,
                &d.repo,
                &d.branch,
                &d.labels,
            ] {
                keys::text(bytes, text);
            }
            for text in [
                &d.commit,
                &d.source_repo,
                &d.source_branch,
                &d.source_path,
                &d.source_commit,
                &d.build,
                &d.image_digest,
                &d.author,
                &d.pull_request,
                &d.contact,
            ] {
                keys::optional(bytes, text.as_deref());
            }
            bytes.extend_from_slice(&d.build_time.map_or(i64::MIN, |at| at.0).to_le_bytes());
        }
        Body::Host(h) => {
            keys::text(bytes, &h.name);
            keys::text(bytes, &h.labels);
            for text in [&h.external_id, &h.host_type, &h.class, &h.contact] {
                keys::optional(bytes, text.as_deref());
            }
            bytes.push(u8::from(h.expects.is_some()));
            for e in h.expects.iter().flatten() {
                for text in [&e.workload, &e.environment, &e.deployment_target] {
                    keys::text(bytes, text);
                }
            }
            bytes.extend_from_slice(&[u8::from(h.heartbeat), u8::from(h.retired)]);
            // Without one the content is what it was before there were selectors, and is known again.
            if !h.selector.is_empty() {
                keys::text(bytes, &h.selector);
            }
        }
        Body::Sighting(s) => {
            for text in [&s.repo, &s.branch, &s.commit] {
                keys::text(bytes, text);
            }
        }
        // What it is about is in its carrier.
        Body::Verification(v) => {
            bytes.push(v.outcome as u8);
            keys::text(bytes, &v.raw_result);
            keys::text(bytes, &v.message);
            keys::optional(bytes, v.link.as_deref());
            keys::optional(bytes, v.reported_by.as_deref());
        }
        // A source never says these; a deletion has no content.
        Body::Gone | Body::Liveness(_) => {}
    }
}

#[cfg(test)]
mod tests;
