//! The flat shape of a verification.
//!
//! Invariant: strict, as the other shapes; a verification is about exactly one thing.

use serde::Deserialize;

use super::super::json::{self, Required};
use super::{advice, observation};
use crate::model::{Observation, Said, Subject, VerificationSaid};
use crate::normalize::Rejection;

/// A complete small verification.
pub const VERIFICATION_EXAMPLE: &str = r#"{"name":"smoke","result":"passed","workload":"l","environment":"dev","version":"1.0.0","link":"https://ci.example/runs/7","reported_at":"2026-01-31T12:00:00Z"}"#;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object")]
struct Verification {
    name: Option<String>,
    result: Option<String>,
    workspace: Option<String>,
    application: Option<String>,
    workload: Option<String>,
    environment: Option<String>,
    deployment_target: Option<String>,
    version: Option<String>,
    commit: Option<String>,
    source_commit: Option<String>,
    link: Option<String>,
    message: Option<String>,
    reported_by: Option<String>,
    reported_at: Option<String>,
}

/// Reads one flat verification.
pub fn verification(bytes: &[u8], source: &str) -> Result<Observation, Rejection> {
    let flat: Verification =
        json::read(bytes, "the verification", "see the verification's fields in the API description")?;
    let mut required = Required::default();
    let name = required.take("name", flat.name);
    let result = required.take("result", flat.result);
    // A pipeline that has nothing to fill in sends an empty text.
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let subjects = [
        given(flat.version).map(Subject::Version),
        given(flat.commit).map(Subject::Commit),
        given(flat.source_commit).map(Subject::SourceCommit),
    ];
    let mut subjects = subjects.into_iter().flatten();
    let subject = subjects.next().unwrap_or_else(|| {
        required.missing("version (or commit, or source_commit)");
        Subject::Version(String::new())
    });
    if let Err(lacking) = required.check("the verification", "") {
        return Err(Rejection { detail: advice(VERIFICATION_EXAMPLE), ..lacking });
    }
    if let Some(other) = subjects.next() {
        return Err(Rejection::new(
            format!("the verification names {} and {}", subject.parts().0, other.parts().0),
            "say what was judged by one of version, commit (of the GitOps repository) and source_commit",
        ));
    }
    let event = json::time("reported_at", flat.reported_at.as_deref())?;
    let said = VerificationSaid {
        name,
        selectors: [flat.workspace, flat.application, flat.workload, flat.environment, flat.deployment_target],
        subject,
        result,
        link: flat.link,
        message: flat.message.unwrap_or_default(),
        reported_by: flat.reported_by,
    };
    Ok(observation(source, event, false, Said::Verification(Box::new(said))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Micros;
    use crate::normalize;

    fn title(text: &str) -> String {
        verification(text.as_bytes(), "push").unwrap_err().title
    }

    #[test]
    fn the_example_is_complete() {
        let observed = verification(VERIFICATION_EXAMPLE.as_bytes(), "push").unwrap();
        normalize::fact(observed, Micros(1_800_000_000_000_000)).unwrap();
    }

    #[test]
    fn a_verification_is_about_exactly_one_thing() {
        assert_eq!(title("{}"), "the verification lacks name, result, version (or commit, or source_commit)");
        let two = r#"{"name":"smoke","result":"ok","version":"1","commit":"","source_commit":"0ba6f0d"}"#;
        assert_eq!(title(two), "the verification names version and source_commit");
        assert!(verification(two.replace(r#""version":"1","#, "").as_bytes(), "push").is_ok());
        assert!(title(r#"{"nome":"smoke"}"#).contains("unknown field `nome`"));
    }
}
