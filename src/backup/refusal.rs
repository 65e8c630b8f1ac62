//! What an object store would not do, in words that say what to do about it.
//!
//! Invariant: of what came back only the code, the first line of the message and the last cause are told, never an address that was
//! asked, a header or a body: those may hold signatures and tokens.

use std::error::Error as _;

use object_store::Error;

use crate::normalize::scrub;

/// Whose store an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    Amazon,
    Azure,
    Google,
}

impl Cloud {
    /// By the scheme of an address.
    pub(super) fn of(scheme: &str) -> Option<Cloud> {
        match scheme {
            "s3" => Some(Cloud::Amazon),
            "az" | "abfs" | "abfss" => Some(Cloud::Azure),
            "gs" => Some(Cloud::Google),
            _ => None,
        }
    }

    /// The variables that say who asks.
    pub(super) fn variables(self) -> &'static str {
        match self {
            Cloud::Amazon => {
                "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN"
            }
            Cloud::Azure => {
                "AZURE_STORAGE_ACCOUNT_NAME, with AZURE_STORAGE_ACCOUNT_KEY, or with AZURE_CLIENT_ID, AZURE_TENANT_ID and \
                 AZURE_FEDERATED_TOKEN_FILE or AZURE_CLIENT_SECRET"
            }
            Cloud::Google => "GOOGLE_APPLICATION_CREDENTIALS",
        }
    }

    /// The variables that say where it is.
    fn whereabouts(self) -> &'static str {
        match self {
            Cloud::Amazon => "AWS_ENDPOINT_URL and AWS_REGION",
            Cloud::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
            Cloud::Google => "the name of the bucket",
        }
    }
}

/// What is asked where nothing else says who asks.
const METADATA: [&str; 4] = ["/latest/api/token", "/latest/meta-data", "/metadata/identity", "/computeMetadata/"];

/// What went wrong, and what to do.
pub(super) fn explained(cloud: Cloud, error: &Error) -> String {
    let whole = error.to_string();
    let (said, variables) = (said(error, &whole), cloud.variables());
    if METADATA.iter().any(|path| whole.contains(path)) || (cloud == Cloud::Google && whole.contains("metadata.google"))
    {
        return format!(
            "there are no credentials in the environment ({variables}), and this machine gets none from its cloud: {said}"
        );
    }
    match code(&whole) {
        "NoSuchBucket" | "ContainerNotFound" => {
            format!(
                "{said}. Make it, or correct the address; where it is looked for is said by {}",
                cloud.whereabouts()
            )
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" => {
            format!("{said}. Is the region right? It is said by AWS_REGION")
        }
        _ if is_absent(error) => format!("there is no such object: {said}"),
        _ if ["401", "403"].iter().any(|status| answered(&whole, status)) => format!(
            "{said}. The credentials of the environment ({variables}) are other ones than the store knows, or do not include to list, \
             read, write and delete there"
        ),
        _ if whole.contains("incorrectly configured region") => format!("{said}. It is said by AWS_REGION"),
        _ if said == "URL scheme is not allowed" => {
            format!(
                "{said}: over plain HTTP credentials would be for everybody to read. Name an endpoint that begins with https://"
            )
        }
        _ if whole.contains("HTTP error") => {
            format!("the store is not reached: {said}. Look at the network, and at {}", cloud.whereabouts())
        }
        // What the client misses before it asks anybody.
        _ if !whole.contains("Error performing") => {
            format!("{said}. Credentials are taken from the environment: {variables}")
        }
        _ => said,
    }
}

/// Whether an object is not there; its bucket is.
pub(super) fn is_absent(error: &Error) -> bool {
    let whole = error.to_string();
    answered(&whole, "404") && matches!(code(&whole), "" | "NoSuchKey" | "BlobNotFound")
}

/// The store's own word for what is wrong.
fn code(whole: &str) -> &str {
    between(whole, "<Code>", "</Code>").unwrap_or_default()
}

fn answered(whole: &str, status: &str) -> bool {
    whole.split_once(STATUS).is_some_and(|(_, after)| after.starts_with(status))
}

/// What stands before the status of an answer.
const STATUS: &str = "status code: ";

/// The words of the store, or those of whatever did not get to it.
fn said(error: &Error, whole: &str) -> String {
    let line = |text: &str| {
        let first = text.trim().lines().next().unwrap_or_default();
        let text: String = first.chars().filter(|c| !c.is_control()).take(300).collect();
        scrub(text.trim_end_matches(['.', ' ', ':'])).into_owned()
    };
    if let Some(code) = between(whole, "<Code>", "</Code>") {
        let message = between(whole, "<Message>", "</Message>").map(line).unwrap_or_default();
        return format!("{}: {message}", line(code)).trim_end_matches([':', ' ']).to_owned();
    }
    if let Some((_, status)) = whole.split_once(STATUS) {
        return format!("it answered {}", line(status.split_once(':').map_or(status, |(status, _)| status)));
    }
    let mut cause = error.source();
    let mut last = None;
    while let Some(deeper) = cause {
        last = Some(deeper.to_string());
        cause = deeper.source();
    }
    line(&last.unwrap_or_else(|| whole.to_owned()))
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    text.split_once(begin)?.1.split_once(end).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, body: &str) -> String {
        format!(
            "Error performing GET https://b.example/k?sig=topsecret in 3ms - Server returned non-2xx status code: {status}: {body}"
        )
    }

    #[test]
    fn of_an_answer_the_code_and_one_line_of_the_message_are_told_and_what_to_do() {
        let source = answer(
            "403 Forbidden",
            "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Not you.\nRequestId:1</Message>\
             <AuthenticationErrorDetail>signature topsecret</AuthenticationErrorDetail></Error>",
        );
        let told = explained(Cloud::Azure, &Error::PermissionDenied { path: "k".into(), source: source.into() });
        assert!(
            told.starts_with("AuthenticationFailed: Not you. The credentials of the environment (AZURE_"),
            "{told}"
        );
        assert!(!told.contains("topsecret") && !told.contains("RequestId"), "{told}");
        let gone = "<Error><Code>NoSuchBucket</Code><Message>The bucket is not there</Message></Error>";
        let source = answer("404 Not Found", gone).into();
        let told = explained(Cloud::Amazon, &Error::NotFound { path: "k".into(), source });
        assert!(told.contains("Make it, or correct the address") && told.contains("AWS_ENDPOINT_URL"), "{told}");
        let source = answer("404 Not Found", "").into();
        let told = explained(Cloud::Amazon, &Error::NotFound { path: "k".into(), source });
        assert_eq!(told, "there is no such object: it answered 404 Not Found");
        let source = answer("500 Internal Server Error", "").into();
        let told = explained(Cloud::Amazon, &Error::Generic { store: "S3", source });
        assert_eq!(told, "it answered 500 Internal Server Error");
    }
}
