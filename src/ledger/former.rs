//! Facts as journals of former versions hold them.
//!
//! Invariant: a shape here never changes. Its numbers in enums and the order of its fields are those of the files.

use super::record::Decode;
#[cfg(test)]
use super::record::Encode;
use crate::model::{
    Body, CarrierKey, Clock, Declaration, Expectation, Fact, HostDeclaration, LivenessChange, Micros, Report, Sighting,
    Verification,
};

/// A fact of version 1: hosts had no selectors. Files of formats 1 and 2 hold such; verifications are in the latter only.
#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
pub(super) struct FactV1 {
    source: String,
    carrier: CarrierKey,
    at: Micros,
    clock: Clock,
    identity: u64,
    received_at: Micros,
    body: BodyV1,
}

#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
enum BodyV1 {
    Declaration(Box<Declaration>),
    Report(Box<Report>),
    Host(Box<HostDeclarationV1>),
    Gone,
    Liveness(Vec<LivenessChange>),
    Sighting(Box<Sighting>),
    Verification(Box<Verification>),
}

#[derive(Decode)]
#[cfg_attr(test, derive(Encode))]
struct HostDeclarationV1 {
    name: String,
    external_id: Option<String>,
    host_type: Option<String>,
    labels: String,
    class: Option<String>,
    contact: Option<String>,
    expects: Option<Vec<Expectation>>,
    heartbeat: bool,
    retired: bool,
}

impl From<FactV1> for Fact {
    fn from(old: FactV1) -> Fact {
        Fact {
            source: old.source,
            carrier: old.carrier,
            at: old.at,
            clock: old.clock,
            identity: old.identity,
            received_at: old.received_at,
            body: match old.body {
                BodyV1::Declaration(declaration) => Body::Declaration(declaration),
                BodyV1::Report(report) => Body::Report(report),
                BodyV1::Host(host) => Body::Host(Box::new(HostDeclaration::from(*host))),
                BodyV1::Gone => Body::Gone,
                BodyV1::Liveness(changes) => Body::Liveness(changes),
                BodyV1::Sighting(sighting) => Body::Sighting(sighting),
                BodyV1::Verification(verification) => Body::Verification(verification),
            },
        }
    }
}

impl From<HostDeclarationV1> for HostDeclaration {
    fn from(old: HostDeclarationV1) -> HostDeclaration {
        HostDeclaration {
            name: old.name,
            external_id: old.external_id,
            host_type: old.host_type,
            labels: old.labels,
            class: old.class,
            contact: old.contact,
            expects: old.expects,
            heartbeat: old.heartbeat,
            retired: old.retired,
            selector: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::journal::{ENTRY_VERSION, facts};
    use crate::ledger::record::encode;
    use crate::model::{Outcome, Subject};

    fn fact(body: BodyV1) -> FactV1 {
        FactV1 {
            source: "push".into(),
            carrier: CarrierKey(7),
            at: Micros(1),
            clock: Clock::Said,
            identity: 9,
            received_at: Micros(2),
            body,
        }
    }

    fn host() -> HostDeclarationV1 {
        let expects = Expectation { workload: "w".into(), environment: "e".into(), deployment_target: "t".into() };
        HostDeclarationV1 {
            name: "h".into(),
            external_id: None,
            host_type: Some("vm".into()),
            labels: String::new(),
            class: None,
            contact: None,
            expects: Some(vec![expects]),
            heartbeat: true,
            retired: false,
        }
    }

    fn verification() -> Verification {
        Verification {
            name: "v".into(),
            selectors: [None, None, Some("w".into()), Some("e".into()), None],
            subject: Subject::Version("1".into()),
            outcome: Outcome::Passed,
            raw_result: "ok".into(),
            link: None,
            message: String::new(),
            reported_by: None,
        }
    }

    #[test]
    fn a_journal_of_version_1_is_read_and_its_hosts_select_nothing() {
        let sighting = || Box::new(Sighting { repo: "r".into(), branch: "b".into(), commit: "c".into() });
        let judged = || Box::new(verification());
        let bodies = || {
            let host = BodyV1::Host(Box::new(host()));
            [host, BodyV1::Gone, BodyV1::Sighting(sighting()), BodyV1::Verification(judged())]
        };
        let old = encode(1, &bodies().map(fact).into_iter().collect::<Vec<_>>());
        let read = facts(&old).unwrap();
        assert_eq!(read, bodies().map(|body| Fact::from(fact(body))));
        let Body::Host(read_host) = &read[0].body else { panic!("{read:?}") };
        assert_eq!((read_host.host_type.as_deref(), read_host.selector.as_str()), (Some("vm"), ""));
        assert_eq!(facts(&encode(ENTRY_VERSION, &read)).unwrap(), read, "and written in the new shape");
    }

    #[test]
    fn the_numbers_of_version_1_are_those_of_the_files() {
        let bytes = encode(1, &fact(BodyV1::Host(Box::new(host()))));
        #[rustfmt::skip]
        let golden = [
            1,                                             // version
            4, b'p', b'u', b's', b'h', 7, 2, 0, 9, 4,      // source, carrier, at, clock: said, identity, received_at
            2,                                             // body: host
            1, b'h', 0, 1, 2, b'v', b'm', 0, 0, 0,         // name, external id, host type, labels, class, contact
            1, 1, 1, b'w', 1, b'e', 1, b't',               // one expectation
            1, 0,                                          // heartbeat, not retired
        ];
        assert_eq!(bytes, golden);
        let bytes = encode(1, &fact(BodyV1::Verification(Box::new(verification()))));
        #[rustfmt::skip]
        let golden = [
            1, 4, b'p', b'u', b's', b'h', 7, 2, 0, 9, 4,   // as above
            6,                                             // body: verification
            1, b'v', 0, 0, 1, 1, b'w', 1, 1, b'e', 0,      // name, selectors
            0, 1, b'1', 1, 2, b'o', b'k', 0, 0, 0,         // subject: version; passed, raw result, link, message, reported by
        ];
        assert_eq!(bytes, golden);
    }
}
