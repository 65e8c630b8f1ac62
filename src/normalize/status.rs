//! Four statuses out of every source's words.
//!
//! Invariant: a word without a known meaning is `unknown`; it is never guessed to be progress, success or failure.

use crate::model::Status;

/// The longest word with a meaning, after folding; longer text is nobody's status.
const LONGEST: usize = 32;

/// What a source's word means. Case, spaces, `-`, `_` and `.` do not matter.
pub fn status(word: &str) -> Status {
    // The hub's own words come by far most often.
    match word {
        "success" => return Status::Success,
        "failure" => return Status::Failure,
        "in_progress" => return Status::InProgress,
        _ => {}
    }
    let mut folded = [0u8; LONGEST];
    let mut length = 0;
    for byte in word.bytes() {
        if matches!(byte, b' ' | b'-' | b'_' | b'.' | b'\t' | b'\r' | b'\n') {
            continue;
        }
        if length == LONGEST {
            return Status::Unknown;
        }
        folded[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    match &folded[..length] {
        b"success"
        | b"successful"
        | b"succeeded"
        | b"compliant"
        | b"ready"
        | b"healthy"
        | b"applied"
        | b"deployed"
        | b"complete"
        | b"completed"
        | b"ok"
        | b"reconciliationsucceeded"
        | b"installsucceeded"
        | b"upgradesucceeded"
        | b"testsucceeded"
        | b"rollbacksucceeded" => Status::Success,
        b"failure"
        | b"failed"
        | b"fail"
        | b"error"
        | b"errored"
        | b"noncompliant"
        | b"degraded"
        | b"unhealthy"
        | b"timeout"
        | b"timedout"
        | b"cancelled"
        | b"canceled"
        | b"cancellation"
        | b"aborted"
        | b"stalled"
        | b"reconciliationfailed"
        | b"buildfailed"
        | b"artifactfailed"
        | b"healthcheckfailed"
        | b"prunefailed"
        | b"installfailed"
        | b"upgradefailed"
        | b"testfailed" => Status::Failure,
        b"inprogress"
        | b"pending"
        | b"progressing"
        | b"progressingwithretry"
        | b"running"
        | b"reconciling"
        | b"executing"
        | b"finalizing"
        | b"queued"
        | b"started"
        | b"starting"
        | b"deploying"
        | b"installing"
        | b"upgrading"
        | b"updating"
        | b"creating"
        | b"terminating"
        | b"suspended"
        | b"outofsync"
        | b"missing"
        | b"dependencynotready" => Status::InProgress,
        _ => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_of_every_source_have_a_meaning_and_others_are_unknown() {
        for word in ["success", "Succeeded", "Compliant", "successful", "Healthy", "ReconciliationSucceeded"] {
            assert_eq!(status(word), Status::Success, "{word}");
        }
        for word in ["failure", "Failed", "Non-Compliant", "Noncompliant", "error", "Degraded", "BuildFailed"] {
            assert_eq!(status(word), Status::Failure, "{word}");
        }
        for word in ["in_progress", "In Progress", "Progressing", "Pending", "Running", "OutOfSync", "Suspended"] {
            assert_eq!(status(word), Status::InProgress, "{word}");
        }
        for word in ["", "unknown", "Unknown", "null", "purple", "successes", "not success"] {
            assert_eq!(status(word), Status::Unknown, "{word}");
        }
    }

    #[test]
    fn our_own_words_pass_through() {
        for ours in Status::ALL {
            assert_eq!(status(ours.as_str()), ours);
        }
    }

    proptest! {
        #[test]
        fn no_word_is_too_strange_for_a_status(word in any::<String>()) {
            let _ = status(&word);
        }
    }
}
