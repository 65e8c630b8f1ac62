//! Verifications in normal form: three outcomes out of many words, and links that anybody may follow.
//!
//! Invariant: a word without a known meaning is refused, for a gate may hang on it; a link that passed holds no credentials.

use super::{Rejection, commit, name, redact};
use crate::model::verification::{SELECTORS, WORKLOAD};
use crate::model::{Outcome, Subject, Verification, VerificationSaid};

/// Checks a verification and brings it into normal form.
pub(super) fn verification(said: VerificationSaid) -> Result<Verification, Rejection> {
    let VerificationSaid { name, selectors, subject, result, link, message, reported_by } = said;
    let mut checked: [Option<String>; 5] = Default::default();
    for ((what, raw), checked) in SELECTORS.iter().zip(selectors).zip(&mut checked) {
        *checked = name::optional(what, raw)?.filter(|name| name != "*");
    }
    let (kind, _) = subject.parts();
    let digest = |raw: String| {
        let raw = name::name(kind, raw)?;
        commit(&raw)
            .ok_or_else(|| Rejection::new(format!("{kind} names no commit"), "name the commit, in any spelling"))
    };
    let subject = match subject {
        Subject::Version(_) if checked[WORKLOAD].is_none() => {
            return Err(Rejection::new(
                "the verification of a version lacks workload",
                "versions of different workloads may be called the same; say which workload was judged",
            ));
        }
        Subject::Version(raw) => Subject::Version(name::name(kind, raw)?),
        Subject::Commit(raw) => Subject::Commit(digest(raw)?),
        Subject::SourceCommit(raw) => Subject::SourceCommit(digest(raw)?),
    };
    let result = name::name("result", result)?;
    let outcome = outcome(&result).ok_or_else(|| {
        let shown: String = redact::scrub(&result).chars().take(60).collect();
        Rejection::new(format!("the result `{shown}` is not known"), "a result is passed, failed or pending")
    })?;
    Ok(Verification {
        name: name::name("name", name)?,
        selectors: checked,
        subject,
        outcome,
        raw_result: result,
        link: name::optional("link", link)?.map(|raw| self::link(&raw)).transpose()?,
        message: redact::message(message),
        reported_by: name::optional("reported_by", reported_by)?.map(|by| redact::scrub(&by).into_owned()),
    })
}

/// What a word for a result means. Case, spaces, `-`, `_` and `.` do not matter.
fn outcome(word: &str) -> Option<Outcome> {
    let folded: String =
        word.chars().filter(|c| !matches!(c, ' ' | '-' | '_' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    Some(match folded.as_str() {
        "passed" | "pass" | "success" | "successful" | "succeeded" | "ok" | "approved" => Outcome::Passed,
        "failed" | "fail" | "failure" | "error" | "errored" | "timeout" | "timedout" | "cancelled" | "canceled"
        | "aborted" | "rejected" => Outcome::Failed,
        "pending" | "running" | "inprogress" | "queued" | "started" | "waiting" => Outcome::Pending,
        _ => return None,
    })
}

/// An address that may be shown and followed: user info is dropped, secrets among the parameters are scrubbed.
fn link(raw: &str) -> Result<String, Rejection> {
    let (scheme, rest) = raw.split_once("://").unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    // What it is instead may be a secret, and is not repeated.
    if !web || host.is_empty() || raw.contains(|c: char| c.is_whitespace() || c == '\\') {
        return Err(Rejection::new(
            "the link is no http or https address",
            "give the address of the run or report, for example https://ci.example/runs/7, or leave link out",
        ));
    }
    let slash = if path.starts_with(['?', '#']) { "/" } else { "" };
    Ok(redact::scrub(&format!("{}://{host}{slash}{path}", scheme.to_ascii_lowercase())).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(result: &str) -> VerificationSaid {
        VerificationSaid {
            name: "smoke".into(),
            selectors: [None, None, Some("web".into()), Some("prod".into()), Some("*".into())],
            subject: Subject::Version("1.2.0".into()),
            result: result.into(),
            link: None,
            message: String::new(),
            reported_by: None,
        }
    }

    #[test]
    fn usual_words_for_a_result_have_a_meaning_and_others_are_refused() {
        for (words, meant) in [
            (&["passed", "PASS", "success", "Succeeded", "ok", "approved"][..], Outcome::Passed),
            (&["failed", "Failure", "error", "timed_out", "rejected"], Outcome::Failed),
            (&["pending", "running", "in_progress", "In Progress"], Outcome::Pending),
        ] {
            for word in words {
                let told = verification(said(word)).unwrap();
                assert_eq!((told.outcome, told.raw_result.as_str()), (meant, *word));
            }
        }
        assert_eq!(verification(said("")).unwrap_err().title, "result is empty");
        let rejection = verification(said("purple")).unwrap_err();
        assert_eq!(rejection.title, "the result `purple` is not known");
        assert_eq!(rejection.detail, "a result is passed, failed or pending");
    }

    #[test]
    fn commits_have_one_spelling_and_a_star_selects_all() {
        let hex = "530af36eb38818ff7c4a8840f2068998ec8ec065";
        let spelled = |raw: String| {
            let subject = Subject::Commit(raw);
            verification(VerificationSaid { subject, ..said("passed") }).unwrap().subject
        };
        assert_eq!(spelled(format!("main@sha1:{hex}")), Subject::Commit(format!("sha1:{hex}")));
        assert_eq!(spelled(hex.to_uppercase()), Subject::Commit(format!("sha1:{hex}")));
        let selectors = verification(said("passed")).unwrap().selectors;
        assert_eq!(selectors, [None, None, Some("web".into()), Some("prod".into()), None]);
    }

    #[test]
    fn a_version_without_its_workload_is_refused_and_a_commit_needs_none() {
        let anywhere = VerificationSaid { selectors: Default::default(), ..said("passed") };
        let title = verification(anywhere.clone()).unwrap_err().title;
        assert_eq!(title, "the verification of a version lacks workload");
        assert!(
            verification(VerificationSaid { subject: Subject::SourceCommit("0ba6f0d".into()), ..anywhere }).is_ok()
        );
    }

    #[test]
    fn links_lead_to_the_web_and_carry_no_credentials() {
        for (raw, kept) in [
            ("HTTPS://ci.example/runs/7?tab=log#end", "https://ci.example/runs/7?tab=log#end"),
            ("https://bot:hunter2@ci.example:8443/runs/7", "https://ci.example:8443/runs/7"),
            ("http://ghp_abcdefghijklmnopqrst@ci.example", "http://ci.example"),
            ("https://ci.example?by=me@work", "https://ci.example/?by=me@work"),
            ("https://ci.example/log?sig=abc%2Fdef&run=7", "https://ci.example/log?sig=***&run=7"),
        ] {
            assert_eq!(link(raw).as_deref(), Ok(kept), "{raw}");
        }
        for bad in
            ["javascript:alert(1)", "ftp://ci.example/7", "ci.example/7", "https://", "https:///7", "http://a b/"]
        {
            assert_eq!(link(bad).unwrap_err().title, "the link is no http or https address", "{bad}");
        }
    }

    #[test]
    fn secrets_leave_the_message_and_the_name_of_the_reporter() {
        let told = verification(VerificationSaid {
            message: "password=hunter22 was wrong".into(),
            reported_by: Some("bot ghp_abcdefghijklmnopqrst".into()),
            ..said("failed")
        });
        let told = told.unwrap();
        assert_eq!((told.message.as_str(), told.reported_by.as_deref()), ("password=*** was wrong", Some("bot ***")));
    }

    proptest! {
        #[test]
        fn a_link_that_passed_passes_again_unchanged(raw in "(https?://)?\\PC{0,40}") {
            if let Ok(once) = link(&raw) {
                prop_assert_eq!(link(&once), Ok(once.clone()));
            }
        }
    }
}
